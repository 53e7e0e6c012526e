"""The example that fills the tables of one warehouse from two practices, of which one fails, and is shut out."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.sandbox import Fault, Sandbox
from tests.airflow.warehouse_checks import listed
from tests.support.example_dags import example_dag
from tests.support.running import unlimited

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("quick_dags")]

EXAMPLE = example_dag("drchrono_several_practices")
RESOURCES = ("patients", "appointments", "line_items", "transactions")
NAMES = {"north": 1, "south": 2}


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, list[str]]]:
    """Returns the ids in a table, by practice."""
    database = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW__DRCHRONO__STAGING_PATH", str(tmp_path / "pages"))
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(database)}))

    def read(table: str) -> dict[str, list[str]]:
        with closing(sqlite3.connect(database)) as connection:
            query = f"SELECT _drchrono_practice, id FROM {table} WHERE _drchrono_deleted_at IS NULL"
            found: dict[str, list[str]] = {}
            for practice, key in connection.execute(query):
                found.setdefault(practice, []).append(str(key))
        return found

    return read


def states(run: Any) -> dict[str, str]:
    return {each.rendered_map_index: each.state for each in run.get_task_instances()}


def test_two_practices_share_tables_and_no_fate(
    run_dag: Callable[..., Any],
    airflow_db: Path,
    monkeypatch: pytest.MonkeyPatch,
    rows: Callable[[str], dict[str, list[str]]],
) -> None:
    with ExitStack() as stack:
        sandboxes = {}
        for name, number in NAMES.items():
            options = {"quota_per_hour": None, "quota_per_second": None, "practice_group": number}
            sandboxes[name] = stack.enter_context(Sandbox(patients=5 * number, seed=number, **options))
            monkeypatch.setenv(f"AIRFLOW_CONN_DRCHRONO_{name.upper()}", unlimited(sandboxes[name]))

        def as_in_the_practices() -> bool:
            for resource in RESOURCES:
                found = rows(resource)
                assert {practice: sorted(ids) for practice, ids in found.items()} == {
                    f"practice_group:{number}": sorted(listed(sandboxes[name], resource))
                    for name, number in NAMES.items()
                }, resource
            return True

        # More often than the client itself asks again, so that the task has to be retried.
        sandboxes["north"].faults.add(Fault(kind="status", status=503, resource="line_items", times=8))
        first = run_dag(EXAMPLE)
        assert states(first) == {f"drchrono_{name}: {each}": "success" for name in NAMES for each in RESOURCES}
        tries = {each.rendered_map_index: each.try_number for each in first.get_task_instances()}
        assert tries.pop("drchrono_north: line_items") > 1
        assert set(tries.values()) == {1}
        assert as_in_the_practices()

        for sandbox in sandboxes.values():
            sandbox.journal.clear()
        assert run_dag(EXAMPLE).state == "success"
        assert as_in_the_practices()
        for sandbox in sandboxes.values():
            assert len([each for each in sandbox.journal if "/api/" in each.path]) <= 2 * len(RESOURCES)

        # Everything of the south is refused: the north goes on, and nothing of the south is taken for deleted.
        for sandbox in sandboxes.values():
            sandbox.practice.change("patients", sandbox.practice.records("patients")[0]["id"], {"city": "Elsewhere"})
        before = rows("patients")
        sandboxes["south"].faults.add(Fault(kind="status", status=403, times=None))
        third = run_dag(EXAMPLE)
        assert third.state == "failed"
        ended = states(third)
        assert {ended[f"drchrono_north: {each}"] for each in RESOURCES} == {"success"}
        assert {ended[f"drchrono_south: {each}"] for each in RESOURCES} == {"failed"}
        assert rows("patients") == before

        sandboxes["south"].faults.clear()
        assert run_dag(EXAMPLE).state == "success"
        assert as_in_the_practices()
