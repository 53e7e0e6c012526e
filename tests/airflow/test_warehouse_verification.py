"""A sync that compares its table with DrChrono: what it notices, what it lets pass, and what that costs."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from airflow_provider_drchrono.transfers import verification
from airflow_provider_drchrono.transfers.sync import Sync
from tests.airflow.test_warehouse_sync import fetch, home, outcome, practice, sync
from tests.airflow.warehouse_checks import listed

pytestmark = pytest.mark.airflow
__all__ = ["fetch", "home", "practice"]

Fetch = Callable[[str], list[tuple[Any, ...]]]
EQUAL = {"is_different": False, "missing": 0, "surplus": 0, "stale": 0, "gone": 0}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "LONGEST_LOOK", 0.02)


@pytest.fixture
def change(home: Path) -> Callable[[str], None]:
    """Changes the warehouse behind the sync's back."""

    def run(statement: str) -> None:
        with closing(sqlite3.connect(home / "warehouse.db")) as connection, connection:
            connection.execute(statement)

    return run


def found(result: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: result["verified"][name] for name in names or EQUAL}


@pytest.mark.parametrize("resource", ["patients", "appointments", "line_items"])
def test_a_table_that_agrees_costs_the_calls_that_are_told(practice: Callable[..., Sandbox], resource: str) -> None:
    sandbox = practice(bulk_polls=0)
    there = len(listed(sandbox, resource))

    for number in range(2):
        before = len(sandbox.journal)
        result = sync(resource, run_id=f"run {number}", verify="fail", verify_sample=10)
        assert found(result) == EQUAL
        assert found(result, "records", "sampled", "calls") == {"records": there, "sampled": 10, "calls": 14}
        # A record of the practice's zones is read by the way.
        assert result["calls"] <= len(sandbox.journal) - before <= result["calls"] + 3


def test_verbose_rows_agree_with_verbose_records(practice: Callable[..., Sandbox]) -> None:
    practice(bulk_polls=0)

    assert found(sync(verbose=True, verify="fail")) == EQUAL


def test_nothing_is_compared_unless_that_is_asked_for(practice: Callable[..., Sandbox]) -> None:
    sandbox = practice()

    assert sync()["verified"] is None
    assert not [each for each in sandbox.journal if each.operation_id == "patients_read"]


@pytest.mark.parametrize("on_difference", ["warn", "fail"])
def test_rows_that_are_lost_are_noticed(
    practice: Callable[..., Sandbox],
    change: Callable[[str], None],
    fetch: Fetch,
    caplog: pytest.LogCaptureFixture,
    on_difference: str,
) -> None:
    practice(bulk_polls=0)
    sync()
    change("DELETE FROM patients WHERE id IN (SELECT id FROM patients LIMIT 3)")

    if on_difference == "fail":
        with pytest.raises(outcome("AirflowFailException"), match="3 of 60 records are missing") as raised:
            sync(run_id="run 2", verify="fail")
        assert "full_refresh=True" in str(raised.value)
    else:
        result = sync(run_id="run 2", verify="warn")
        assert found(result) == EQUAL | {"is_different": True, "missing": 3}
        assert "3 of 60 records are missing" in caplog.text
    assert fetch("SELECT run_id FROM _drchrono_sync") == [("run 2",)], "the load is kept"
    assert found(sync(run_id="run 3", verify="fail", full_refresh=True)) == EQUAL


def test_a_record_that_comes_after_the_load_is_not_missing(
    practice: Callable[..., Sandbox], mocker: MockerFixture
) -> None:
    sandbox = practice(bulk_polls=0)
    run = Sync.run

    def then_more(self: Sync) -> Any:
        result = run(self)
        for number in range(3):
            sandbox.practice.create("patients", {"last_name": f"Late{number}"})
        return result

    mocker.patch.object(Sync, "run", autospec=True, side_effect=then_more)
    result = sync(verify="fail")

    assert found(result) == EQUAL
    assert result["verified"]["records"] == 63


def test_a_change_that_no_read_showed_is_noticed(practice: Callable[..., Sandbox]) -> None:
    """A record whose time of change lies before the last read, and that the last read did not show."""
    sandbox = practice(bulk_polls=0)
    sync()
    patients = sandbox.practice.table("patients")
    one = next(iter(patients))
    patients.put(one["id"], {**one, "city": "Elsewhere", "updated_at": "2025-02-03T04:05:06"})

    result = sync(run_id="run 2", verify="warn", verify_sample=60)
    assert found(result) == EQUAL | {"is_different": True, "stale": 1}
    with pytest.raises(outcome("AirflowFailException"), match="1 of 60 rows taken at random are older"):
        sync(run_id="run 3", verify="fail", verify_sample=60)
    assert found(sync(run_id="run 4", full_refresh=True, verify="fail", verify_sample=60)) == EQUAL


def test_a_change_after_the_load_is_not_stale(practice: Callable[..., Sandbox], mocker: MockerFixture) -> None:
    sandbox = practice(bulk_polls=0)
    run = Sync.run

    def then_changed(self: Sync) -> Any:
        result = run(self)
        for record in list(sandbox.practice.records("patients"))[:5]:
            sandbox.practice.change("patients", record["id"], {"city": "Elsewhere"})
        return result

    mocker.patch.object(Sync, "run", autospec=True, side_effect=then_changed)

    assert found(sync(verify="fail", verify_sample=60)) == EQUAL


def test_a_deletion_that_is_not_noticed_yet_is_counted_and_no_difference(practice: Callable[..., Sandbox]) -> None:
    sandbox = practice(bulk_polls=0)
    sync()
    sandbox.practice.table("patients").remove(sandbox.practice.records("patients")[0]["id"])

    result = sync(run_id="run 2", verify="fail", verify_sample=60)
    assert found(result) == EQUAL | {"surplus": 1, "gone": 1}


@pytest.mark.parametrize("status", [403, 500])
def test_an_api_that_does_not_answer_fails_nothing(
    practice: Callable[..., Sandbox], caplog: pytest.LogCaptureFixture, status: int
) -> None:
    sandbox = practice(bulk_polls=0, extra={"max_attempts": 1})
    bulk = load().resource("patients").bulk
    assert bulk is not None
    sandbox.faults.add(Fault(kind="status", operation=bulk.start, status=status, times=None))

    result = sync(verify="fail")
    assert (result["verified"], result["rows_new"]) == (None, 60)
    assert "patients was loaded, and could not be compared" in caplog.text


def test_a_count_that_takes_long_is_done_without(
    practice: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    practice(bulk_polls=1_000)
    monkeypatch.setattr(verification, "WORKER_PATIENCE", 0.05)

    result = sync(verify="fail", verify_sample=4)
    assert found(result, "records", "missing", "sampled") == {"records": None, "missing": None, "sampled": 4}


def test_a_list_that_is_not_counted_is_compared_by_rows(practice: Callable[..., Sandbox]) -> None:
    practice()

    result = sync("tasks", verify="fail", verify_sample=5)
    assert found(result, "records", "sampled", "stale") == {"records": None, "sampled": 5, "stale": 0}


def test_what_only_grows_is_not_compared(practice: Callable[..., Sandbox]) -> None:
    practice()

    assert found(sync("audit_log", verify="fail"), "records", "sampled") == {"records": None, "sampled": 0}


def test_rows_of_another_selection_are_neither_counted_nor_taken(practice: Callable[..., Sandbox]) -> None:
    sandbox = practice(bulk_polls=0)
    doctor = sandbox.practice.records("patients")[0]["doctor"]
    sync()

    result = sync(run_id="run 2", filters={"doctor": doctor}, verify="fail")
    assert found(result, "is_different", "records", "missing") == {
        "is_different": False,
        "records": None,
        "missing": None,
    }


def test_masked_ids_are_counted_and_not_looked_up(
    practice: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = practice(bulk_polls=0)
    monkeypatch.setenv("AIRFLOW_CONN_PRIVACY", json.dumps({"conn_type": "generic", "password": "k" * 64}))

    result = sync(profile="safe_harbor", privacy_conn_id="privacy", verify="fail")
    assert found(result, "records", "missing", "sampled") == {"records": 60, "missing": 0, "sampled": 0}
    assert not [each for each in sandbox.journal if each.operation_id == "patients_read"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"verify": "maybe"}, "verify"),
        ({"verify": "warn", "verify_sample": -1}, "verify_sample has to be a number of rows from 0 to 200, not -1"),
        ({"verify": "warn", "verify_sample": 201}, "not 201"),
        ({"verify": "warn", "verify_sample": "20"}, "not '20'"),
        ({"verify": "warn", "verify_sample": True}, "not True"),
    ],
)
def test_arguments_that_cannot_be(arguments: dict[str, Any], problem: str) -> None:
    from airflow_provider_drchrono.transfers.drchrono_to_warehouse import DrChronoToWarehouseOperator
    from airflow_provider_drchrono.transfers.sync_dags import drchrono_sync

    with pytest.raises(InvalidArgumentError, match=problem):
        DrChronoToWarehouseOperator(task_id="sync", resource="patients", warehouse_conn_id="warehouse", **arguments)
    with pytest.raises(InvalidArgumentError, match=problem):
        drchrono_sync(warehouse_conn_id="warehouse", resources=["patients"], **arguments)
