"""Runs an operator's execute as a task does, without a DAG run around it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from airflow.sdk.bases.operator import ExecutorSafeguard

from airflow_provider_drchrono.compat.variables import variables_in_memory
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.testing import MemoryTaskInstance, MemoryTaskStateStore


class MemoryStore(MemoryTaskStateStore):
    """Also knows what was done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []

    def set(self, key: str, value: Any, **options: Any) -> None:
        self.log.append(f"set {key}")
        super().set(key, value, **options)

    def delete(self, key: str) -> None:
        self.log.append(f"delete {key}")
        super().delete(key)


def context_of(store: MemoryStore | None = None) -> dict[str, Any]:
    """Return as much of a task's context as the operators look at, always of the same run of the same task."""
    ti = MemoryTaskInstance(dag_id="a_dag", run_id="a_run", task_id="a_task")
    return {"ti": ti, "task_state_store": store or MemoryStore()}


def execute(operator: Any, context: dict[str, Any] | None = None) -> Any:
    """Call an operator's ``execute`` with the token by which Airflow tells its own calls from others."""
    sentinel = {f"{type(operator).__name__}__sentinel": ExecutorSafeguard.sentinel_value}
    return operator.execute(context_of() if context is None else context, **sentinel)


@contextmanager
def connected_sandbox(patch: pytest.MonkeyPatch, **options: Any) -> Iterator[Sandbox]:
    """Serve a sandbox that ``drchrono_default`` leads to; what Airflow keeps in variables is kept in memory."""
    quiet = {"quota_per_hour": None, "quota_per_second": None}
    with variables_in_memory(), Sandbox(**quiet | options) as sandbox:
        patch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox))
        yield sandbox


def unlimited(sandbox: Sandbox, **extra: Any) -> str:
    """Return the sandbox's connection as JSON, without a quota of the client's own, so that no test waits."""
    import json

    connection = json.loads(sandbox.connection_json())
    connection["extra"] |= {"quota_per_hour": 0, "quota_per_second": 0} | extra
    return json.dumps(connection)
