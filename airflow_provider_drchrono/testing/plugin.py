"""The fixtures for pytest. Every start of pytest imports this module, so it imports nothing but pytest.

Nothing of Airflow is imported before a test asks for a fixture that needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from airflow_provider_drchrono.compat.dag_runs import DagRun
    from airflow_provider_drchrono.sandbox import Sandbox

CONN_ID = "drchrono_default"


@pytest.fixture
def drchrono_sandbox_options() -> dict[str, Any]:
    """What the practice of ``drchrono_sandbox`` holds; override it with the options of the sandbox that you want."""
    return {}


@pytest.fixture
def drchrono_sandbox(drchrono_sandbox_options: Mapping[str, Any]) -> Iterator[Sandbox]:
    """A practice of five patients that is served on a free port of this machine, without a limit on calls.

    It is a :class:`~airflow_provider_drchrono.sandbox.Sandbox`: ``practice`` has its records and changes them,
    ``faults`` takes a script of what goes wrong, ``journal`` has the calls that were made.
    """
    from airflow_provider_drchrono.sandbox import Sandbox

    usual: dict[str, Any] = {"patients": 5, "quota_per_hour": None, "quota_per_second": None}
    with Sandbox(**usual | dict(drchrono_sandbox_options)) as sandbox:
        yield sandbox


@pytest.fixture
def drchrono_conn_id(
    request: pytest.FixtureRequest, drchrono_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The id of an Airflow connection to the sandbox: ``drchrono_default``, or the parameter of an indirect fixture.

    Tokens, cursors, the count of calls and staged pages are kept for this test alone.
    """
    from airflow_provider_drchrono.compat.variables import variables_in_memory

    conn_id: str = getattr(request, "param", CONN_ID)
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", drchrono_sandbox.connection_json())
    for name in ("quota", "staging"):
        monkeypatch.setenv(f"AIRFLOW__DRCHRONO__{name.upper()}_PATH", str(tmp_path / "drchrono" / name))
    with variables_in_memory():
        yield conn_id


@pytest.fixture
def drchrono_run_dag(drchrono_conn_id: str) -> Iterator[Callable[..., DagRun]]:
    """Runs a DAG in this process, as ``dag.test()`` does, and returns its DAG run: ``drchrono_run_dag(dag)``.

    The DAG may be defined in the test. Further arguments are those of ``dag.test()``. A task that fails also fails the
    test, with its id and the reason. Airflow needs a migrated database.
    """
    from airflow.sdk import DAG

    from airflow_provider_drchrono.compat.dag_runs import NoDatabaseError, one_api_server, run

    def run_dag(dag: DAG, **arguments: Any) -> DagRun:
        __tracebackhide__ = True
        given: object = dag
        if not isinstance(given, DAG):
            pytest.fail(
                f"drchrono_run_dag takes a DAG, not {type(given).__name__}; call the function that @dag decorates",
                pytrace=False,
            )
        try:
            ended, failed = run(dag, **arguments)
        except NoDatabaseError as error:
            pytest.fail(str(error), pytrace=False)
        if failed:
            reasons = "\n".join(f"  {each.name}: {each.reason}" for each in failed)
            pytest.fail(f"Tasks of the DAG {dag.dag_id} failed:\n{reasons}", pytrace=False)
        return ended

    with one_api_server():
        yield run_dag
