"""The sync in bulk: it goes over to bulk lists where that takes fewer calls, and no worker waits for them."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from airflow_provider_drchrono.state import lease as variable_lease
from airflow_provider_drchrono.transfers import bulk_reading
from airflow_provider_drchrono.transfers.extraction import LOOKS_IN_VAIN, ListFacts, cost_of
from tests.airflow.warehouse_checks import differences

pytestmark = pytest.mark.airflow


@pytest.fixture
def practice(airflow_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Sandbox]]:
    """Starts a practice, and connects Airflow with it and with a SQLite file."""
    monkeypatch.setattr(variable_lease, "Timing", partial(variable_lease.Timing, write_limit=30.0, settle=0.0))
    monkeypatch.setattr(bulk_reading, "LONGEST_LOOK", 0.02)
    monkeypatch.setattr(bulk_reading, "WORKER_PATIENCE", 0.5)
    monkeypatch.setenv("AIRFLOW__DRCHRONO__STAGING_PATH", str(tmp_path / "staging"))
    warehouse = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_WAREHOUSE", json.dumps(warehouse))
    started: list[Sandbox] = []

    def start(**options: Any) -> Sandbox:
        unlimited = {"quota_per_hour": None, "quota_per_second": None, "bulk_polls": 0}
        started.append(Sandbox(**unlimited | {"patients": 60, "appointments_per_patient": 3} | options).start())
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", started[-1].connection_json())
        return started[-1]

    yield start
    for sandbox in started:
        sandbox.stop()


@pytest.fixture
def fetch(tmp_path: Path) -> Callable[[str], list[tuple[Any, ...]]]:
    def run(query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(tmp_path / "warehouse.db")) as connection:
            return connection.execute(query).fetchall()

    return run


def operator(resource: str = "appointments", **arguments: Any) -> Any:
    from airflow_provider_drchrono.transfers.drchrono_to_warehouse import DrChronoToWarehouseOperator

    return DrChronoToWarehouseOperator(
        task_id="sync", resource=resource, warehouse_conn_id="drchrono_warehouse", **arguments
    )


def context(run_id: str = "run 1") -> Any:
    return {"ti": SimpleNamespace(dag_id="dag", task_id="sync", map_index=-1, run_id=run_id)}


def sync(resource: str = "appointments", *, run_id: str = "run 1", **arguments: Any) -> dict[str, Any]:
    result: dict[str, Any] = operator(resource, **arguments).execute(context(run_id))
    return result


PAGE, START, LOOK = "appointments_list", "appointments_list_create", "appointments_list_list"


def bulk_calls(sandbox: Sandbox) -> str:
    """The calls, in order: p for a page of the list, P for a bulk page that was started, G for a look at one."""
    names = {PAGE: "p", START: "P", LOOK: "G"}
    return "".join(names.get(each.operation_id or "", "") for each in sandbox.journal)


def test_a_long_first_load_goes_on_in_bulk(practice: Callable[..., Sandbox], fetch: Any) -> None:
    sandbox = practice(patients=70, appointments_per_patient=30)

    result = sync()

    assert bulk_calls(sandbox) == "ppp" + "PG" + "PPGG"
    assert (result["calls"], result["rows_read"], result["rows_new"]) == (9, 2100, 2100)
    assert differences(sandbox, "appointments", fetch) == []
    facts = ListFacts.of(load(), load().resource("appointments"))
    # This practice makes its lists at once.
    assert cost_of(facts, 2100).calls - LOOKS_IN_VAIN == result["calls"]


def test_few_changes_are_read_by_pages_and_many_in_bulk(practice: Callable[..., Sandbox], fetch: Any) -> None:
    sandbox = practice()
    sync()
    ids = [each["id"] for each in sandbox.practice.records("appointments")]
    for count, expected in ((25, "pp"), (100, "ppp" + "PG")):
        sandbox.clock.advance(600)
        sandbox.journal.clear()
        for each in ids[:count]:
            sandbox.practice.change("appointments", each, {"status": f"Status {count}"})

        result = sync(run_id=f"run {count}")

        assert bulk_calls(sandbox) == expected
        assert (result["rows_new"], result["rows_changed"]) == (0, count)
        assert differences(sandbox, "appointments", fetch) == []


@pytest.mark.parametrize(("read_by", "expected"), [("pages", "p" * 9), ("bulk", "PG")])
def test_either_way_can_be_insisted_on(
    practice: Callable[..., Sandbox], fetch: Any, read_by: str, expected: str
) -> None:
    sandbox = practice()

    sync(read_by=read_by)

    assert bulk_calls(sandbox) == expected
    assert differences(sandbox, "appointments", fetch) == []


def test_extra_filters_are_sent_page_by_page(practice: Callable[..., Sandbox]) -> None:
    sandbox = practice(patients=70, appointments_per_patient=30)

    sync(extra_filters={"shoe_size": 43})

    assert set(bulk_calls(sandbox)) == {"p"}
    assert {each.query["shoe_size"] for each in sandbox.journal.calls(operation_id=PAGE)} == {"43"}
    with pytest.raises(ValueError, match="extra_filters are sent page by page"):
        operator(extra_filters={"shoe_size": 43}, read_by="bulk")


def test_filters_that_bulk_lists_may_not_know_are_sent_to_the_list(practice: Callable[..., Sandbox]) -> None:
    sandbox = practice()

    sync(extra_filters={"new": "1"})

    assert bulk_calls(sandbox) == "p" * 9
    assert all(each.query.get("new") == "1" for each in sandbox.journal.calls(resource="appointments"))


def test_a_row_is_the_same_either_way(practice: Callable[..., Sandbox]) -> None:
    practice()
    sync(read_by="pages")

    result = sync(read_by="bulk", full_refresh=True, run_id="run 2")

    assert (result["rows_read"], result["rows_new"], result["rows_changed"]) == (180, 0, 0)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(kind="status", status=403, operation=START), id="refused"),
        pytest.param(
            Fault(kind="status", status=200, operation=LOOK, body={"status": "Failed"}, times=None), id="never made"
        ),
    ],
)
def test_where_bulk_lists_do_not_work_pages_do(practice: Callable[..., Sandbox], fetch: Any, fault: Fault) -> None:
    sandbox = practice()
    sandbox.faults.add(fault)

    result = sync()

    assert bulk_calls(sandbox).endswith("p" * 9)
    assert result["rows_read"] == 180
    assert differences(sandbox, "appointments", fetch) == []


def test_it_is_learned_how_long_pages_take(
    practice: Callable[..., Sandbox], fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_reading, "LONGEST_LOOK", 30.0)
    monkeypatch.setattr(bulk_reading, "WORKER_PATIENCE", 30.0)
    sandbox = practice(patients=70, appointments_per_patient=30, bulk_seconds=7.0, start=datetime.now(UTC), frozen=True)
    clock = SimpleNamespace(
        time=lambda: sandbox.clock.now().timestamp(), monotonic=time.monotonic, sleep=sandbox.clock.advance
    )
    monkeypatch.setattr(bulk_reading, "time", clock)
    monkeypatch.setattr("airflow_provider_drchrono.client.synchronous.time", clock)

    sync()

    # The first page was not made after three seconds; the others are looked at when they are.
    assert bulk_calls(sandbox) == "ppp" + "PGG" + "PPGG"
    assert differences(sandbox, "appointments", fetch) == []


def test_the_task_is_rescheduled_while_a_bulk_list_is_made(practice: Callable[..., Sandbox], fetch: Any) -> None:
    from airflow.sdk.exceptions import AirflowRescheduleException

    sandbox = practice(bulk_seconds=300.0)
    with pytest.raises(AirflowRescheduleException):
        sync()
    sandbox.clock.advance(400)

    result = sync()

    assert bulk_calls(sandbox).count("P") == 1
    assert result["calls"] == len(bulk_calls(sandbox))
    assert differences(sandbox, "appointments", fetch) == []


def test_the_triggerer_waits_where_the_task_may_defer(practice: Callable[..., Sandbox], fetch: Any) -> None:
    from airflow.sdk.exceptions import TaskDeferred

    sandbox = practice(bulk_seconds=300.0)
    waiting = operator(deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        waiting.execute(context())
    path, arguments = deferred.value.trigger.serialize()
    assert path == "airflow_provider_drchrono.triggers.bulk.DrChronoBulkListTrigger"
    assert (arguments["resource"], len(arguments["uuids"])) == ("appointments", 1)
    sandbox.clock.advance(400)

    result = getattr(waiting, deferred.value.method_name)(context(), event={})

    assert result["rows_read"] == 180
    assert bulk_calls(sandbox).count("P") == 1
    assert differences(sandbox, "appointments", fetch) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"read_by": "bulky"}, "read_by must be one of 'auto', 'pages', 'bulk', not 'bulky'"),
        ({"read_by": "bulk", "extra_filters": {"new": 1}}, "extra_filters are sent page by page.*leave read_by out"),
        ({"resource": "problems", "read_by": "bulk"}, "problems has no bulk list; leave read_by out, or sync one of"),
    ],
)
def test_a_way_that_there_is_not_is_refused_when_the_dag_is_parsed(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=message):
        operator(**arguments)
