"""The sync of a practice into a SQLite file, in real Airflow, over a real socket."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from airflow_provider_drchrono.sandbox.churn import churn
from airflow_provider_drchrono.state import lease as variable_lease
from airflow_provider_drchrono.transfers import bulk_reading
from airflow_provider_drchrono.transfers.extraction import LOOKS_IN_VAIN, ListFacts, cost_of
from airflow_provider_drchrono.transfers.staging_files import StagingError
from airflow_provider_drchrono.warehouses.base import WarehouseError
from tests.airflow.warehouse_checks import EXAMPLE_DAG, RESOURCES, differences, listed, pages
from tests.support.answering import answering, refusing
from tests.support.slow import working_while_answered
from tests.support.stored import stored_text

pytestmark = pytest.mark.airflow

EXAMPLE = Path(__file__).resolve().parents[2] / "example_dags" / EXAMPLE_DAG
SIZES = {name: load().resource(name).paging.expected(verbose=False) for name in RESOURCES}  # type: ignore[union-attr]


@pytest.fixture
def home(airflow_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the warehouse and the staged pages."""
    # Tasks run one after another here, so a claim to the token need not acknowledge.
    monkeypatch.setattr(variable_lease, "Timing", partial(variable_lease.Timing, write_limit=30.0, settle=0.0))
    monkeypatch.setenv("AIRFLOW__DRCHRONO__STAGING_PATH", str(tmp_path / "staging"))
    connection = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_WAREHOUSE", json.dumps(connection))
    return tmp_path


@pytest.fixture
def practice(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Sandbox]]:
    """Starts a practice and connects Airflow with it."""
    started: list[Sandbox] = []

    def start(*, extra: dict[str, Any] | None = None, **options: Any) -> Sandbox:
        unlimited = {"quota_per_hour": None, "quota_per_second": None}
        sandbox = Sandbox(**unlimited | {"patients": 60, "appointments_per_patient": 3} | options).start()
        started.append(sandbox)
        connection = json.loads(sandbox.connection_json())
        connection["extra"] |= {"timezone": None} if options.get("doctor_timezones") else {}
        connection["extra"] |= extra or {}
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", json.dumps(connection))
        return sandbox

    yield start
    for sandbox in started:
        sandbox.stop()


@pytest.fixture
def fetch(home: Path) -> Callable[[str], list[tuple[Any, ...]]]:
    def run(query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(home / "warehouse.db")) as connection:
            return connection.execute(query).fetchall()

    return run


def sync(resource: str = "patients", *, run_id: str = "run 1", **arguments: Any) -> dict[str, Any]:
    """Execute the operator as a worker does, less the worker."""
    from airflow_provider_drchrono.transfers.drchrono_to_warehouse import DrChronoToWarehouseOperator

    # Bulk lists have tests of their own.
    by_pages = {"read_by": "pages"}
    operator = DrChronoToWarehouseOperator(
        task_id="sync", resource=resource, warehouse_conn_id="drchrono_warehouse", **by_pages | arguments
    )
    ti = SimpleNamespace(dag_id="dag", task_id="sync", map_index=-1, run_id=run_id)
    return operator.execute({"ti": ti})  # type: ignore[typeddict-item]


def staged(home: Path) -> list[Path]:
    return sorted((home / "staging").rglob("*.gz"))


def mapped_tasks(run: Any) -> list[Any]:
    return sorted(run.get_task_instances(), key=lambda ti: ti.map_index)  # type: ignore[no-any-return]


def calls(sandbox: Sandbox, resource: str = "patients") -> int:
    bulk = load().resource(resource).bulk
    in_bulk = sum(each.operation_id in (bulk.start, bulk.result) for each in sandbox.journal) if bulk else 0
    return len(sandbox.journal.calls(resource=resource)) + in_bulk


def outcome(kind: str) -> type[Exception]:
    from airflow.sdk import exceptions

    return getattr(exceptions, kind)  # type: ignore[no-any-return]


def first_load_calls(resource: str, records: int) -> int:
    cost = cost_of(ListFacts.of(load(), load().resource(resource)), records)
    return cost.calls - (LOOKS_IN_VAIN if cost.way == "bulk" else 0)


def test_the_example_dag_keeps_five_tables_equal_to_the_practice(
    run_dag: Callable[..., Any],
    practice: Callable[..., Sandbox],
    fetch: Callable[[str], list[tuple[Any, ...]]],
    airflow_db: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    # This practice makes its bulk lists at once.
    monkeypatch.setattr(bulk_reading, "LONGEST_LOOK", 0.01)
    sandbox = practice(patients=300, appointments_per_patient=4, bulk_polls=0)

    def run_once() -> dict[str, dict[str, Any]]:
        sandbox.journal.clear()
        run = run_dag(EXAMPLE)
        assert run.state == "success"
        results = [ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index) for ti in mapped_tasks(run)]
        return {result["resource"]: result for result in results}

    first = run_once()

    assert tuple(first) == RESOURCES
    for name, result in first.items():
        records = len(listed(sandbox, name))
        assert differences(sandbox, name, fetch) == []
        assert calls(sandbox, name) == result["calls"] == first_load_calls(name, records)
        assert [result[f"rows_{each}"] for each in ("read", "new", "changed", "in_table")] == [
            records,
            records,
            0,
            records,
        ]

    work = churn(sandbox.practice, seed=3, changes=150)
    second = run_once()

    for name, result in second.items():
        new, changed = work[name]["new"], work[name]["changed"]
        new, changed = (each if isinstance(each, int) else len(each) for each in (new, changed))
        assert differences(sandbox, name, fetch) == []
        assert (result["rows_new"], result["rows_changed"]) == (new, changed)
        assert calls(sandbox, name) <= pages(new + changed, SIZES[name])
        # What was deleted of the line items is asked for, too.
        assert calls(sandbox, name) + (name == "line_items") == result["calls"]
    assert len(sandbox.journal.calls()) == sum(result["calls"] for result in second.values())
    assert staged(home) == []

    written = "\n".join([caplog.text, *capfd.readouterr(), *stored_text(airflow_db).values()])
    assert "Synced patients into patients: calls 2, rows read 300" in written
    # Some patients have no address or no telephone.
    private = {each[name] for each in sandbox.practice.records("patients") for name in ("email", "cell_phone")} - {""}
    assert len(private) > 300
    assert [value for value in private if value in written] == []


def test_the_task_of_each_resource_bears_its_name(
    run_dag: Callable[..., Any], practice: Callable[..., Sandbox]
) -> None:
    practice(patients=1)
    run = run_dag(EXAMPLE)

    assert [ti.rendered_map_index for ti in mapped_tasks(run)] == list(RESOURCES)


def test_pages_that_only_one_host_has_are_told_once_in_the_log(
    practice: Callable[..., Sandbox],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    practice(patients=3)
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.delenv("AIRFLOW__DRCHRONO__STAGING_PATH", raising=False)
    sync()
    assert caplog.text.count("CeleryExecutor may run tasks on several hosts, and each host keeps the pages") == 1

    caplog.clear()
    sync(staging_path=str(tmp_path / "shared"), run_id="run 2")
    assert "several hosts" not in caplog.text


def test_a_first_run_reports_what_it_did(practice: Callable[..., Sandbox], caplog: pytest.LogCaptureFixture) -> None:
    practice(start=datetime(2026, 1, 15, 12, tzinfo=UTC), frozen=True)
    caplog.set_level(logging.INFO)

    result = sync("appointments")

    assert result.pop("seconds") > 0
    assert result == {
        "resource": "appointments",
        "table": "appointments",
        "calls": 9,
        "rows_read": 180,
        "rows_new": 180,
        "rows_changed": 0,
        "rows_deleted": 0,
        "rows_in_table": 180,
        "records_set_aside": 0,
        "verified": None,
        "since": "1970-01-01T00:00:00",
        "watermark": result["watermark"],
    }
    assert "2026-01-15T11:59:" in result["watermark"] or result["watermark"] == "2026-01-15T12:00:00+00:00"


def test_a_run_without_changes_takes_one_call(practice: Callable[..., Sandbox]) -> None:
    sandbox = practice()
    sync()
    sandbox.journal.clear()

    result = sync(run_id="run 2")

    assert (result["calls"], result["rows_new"], result["rows_changed"], result["rows_in_table"]) == (1, 0, 0, 60)
    assert len(sandbox.journal.calls()) == 1


def test_unchanged_rows_of_the_overlap_are_no_changes(practice: Callable[..., Sandbox]) -> None:
    sandbox = practice()
    sandbox.practice.change("patients", sandbox.practice.records("patients")[0]["id"], {"city": "Utica"})
    sync()

    result = sync(run_id="run 2")

    assert (result["rows_read"], result["rows_new"], result["rows_changed"]) == (1, 0, 0)


def test_records_that_change_place_while_they_are_read_are_all_there(
    practice: Callable[..., Sandbox], fetch: Any, mocker: MockerFixture
) -> None:
    from airflow_provider_drchrono.client import DrChronoClient

    sandbox = practice(order="updated_at")
    ids = [record["id"] for record in sandbox.practice.records("appointments")]
    read_pages = DrChronoClient.raw_pages

    def while_people_work(*arguments: Any, **options: Any) -> Iterator[Any]:
        for number, page in enumerate(read_pages(*arguments, **options)):
            yield page
            sandbox.practice.change("appointments", ids[number * 7], {"status": "Arrived"})

    mocker.patch.object(DrChronoClient, "raw_pages", autospec=True, side_effect=while_people_work)
    first = sync("appointments")
    mocker.stopall()
    sync("appointments", run_id="run 2")

    assert first["rows_read"] > first["rows_in_table"]
    assert differences(sandbox, "appointments", fetch) == []


QUOTA = 4


def test_the_hourly_quota_puts_a_sync_off_and_it_goes_on_where_it_was(
    practice: Callable[..., Sandbox], home: Path, fetch: Any
) -> None:
    sandbox = practice(
        quota_per_hour=QUOTA, start=datetime(2026, 1, 15, 12, 30, tzinfo=UTC), extra={"quota_per_hour": 0}
    )
    # The first run asks whose practice it is, which takes a call and the one that it leads to.
    for done in (QUOTA - 2, 2 * QUOTA - 2):
        with pytest.raises(outcome("AirflowRescheduleException")) as found:
            sync("appointments")
        assert found.value.reschedule_date > datetime.now(UTC) + timedelta(minutes=20)
        assert len(staged(home)) == done
        assert fetch("SELECT count(*) FROM appointments") == [(0,)]
        sandbox.clock.advance(3600)

    result = sync("appointments")

    assert (result["calls"], result["rows_in_table"]) == (9 + 1, 180)
    assert len(sandbox.journal.calls(resource="appointments", status=200)) == 9 + 1
    assert differences(sandbox, "appointments", fetch) == []
    assert staged(home) == []


def test_a_long_interrupted_sync_catches_up_in_the_same_run(practice: Callable[..., Sandbox], fetch: Any) -> None:
    sandbox = practice(start=datetime.now(UTC) - timedelta(hours=2))
    sandbox.faults.add(Fault(kind="status", status=403, resource="appointments", skip=4))
    with pytest.raises(outcome("AirflowFailException")):
        sync("appointments")
    sandbox.clock.advance(7200)
    changed = sandbox.practice.records("appointments")[0]["id"]
    sandbox.practice.change("appointments", changed, {"status": "Arrived"})

    result = sync("appointments", run_id="run 2")

    assert (result["calls"], result["rows_read"], result["rows_new"], result["rows_changed"]) == (10, 181, 180, 1)
    assert differences(sandbox, "appointments", fetch) == []


class EndOfProcessError(BaseException):
    """What a killed process would have looked like from inside, had it looked."""


@pytest.mark.parametrize("moment", ["while reading", "before the load", "in the load", "before tidying up"])
def test_a_run_that_ended_anywhere_is_gone_on_with_by_the_next(
    practice: Callable[..., Sandbox], fetch: Any, home: Path, mocker: MockerFixture, moment: str
) -> None:
    from airflow_provider_drchrono.transfers.staging import Staging
    from airflow_provider_drchrono.warehouses import sql
    from airflow_provider_drchrono.warehouses.sqlite import SqliteWarehouse

    sandbox = practice()
    end = EndOfProcessError()
    if moment == "while reading":
        add = Staging.add
        results = iter([add] * 4)

        def ending(*arguments: Any, **options: Any) -> Any:
            step = next(results, None)
            if step is None:
                raise end
            return step(*arguments, **options)

        mocker.patch.object(Staging, "add", autospec=True, side_effect=ending)
    elif moment == "before the load":
        mocker.patch.object(SqliteWarehouse, "load", side_effect=end)
    elif moment == "in the load":
        mocker.patch.object(sql, "write_state", side_effect=end)
    else:
        mocker.patch.object(Staging, "clear", side_effect=end)
    with pytest.raises(EndOfProcessError):
        sync("appointments")
    mocker.stopall()
    sandbox.journal.clear()
    rows = {"before tidying up": 180}.get(moment, 0)
    assert fetch("SELECT count(*) FROM appointments") == [(rows,)]

    sync("appointments", run_id="another run")

    remaining = {"while reading": 9 - 4, "before the load": 0, "in the load": 0, "before tidying up": 1}[moment]
    assert calls(sandbox, "appointments") == remaining
    assert differences(sandbox, "appointments", fetch) == []
    assert staged(home) == []


def test_a_page_that_the_api_no_longer_knows_starts_the_list_again(
    practice: Callable[..., Sandbox], fetch: Any
) -> None:
    sandbox = practice()
    sandbox.faults.add(Fault(kind="status", status=403, resource="appointments", skip=3))
    with pytest.raises(outcome("AirflowFailException")):
        sync("appointments")
    sandbox.faults.add(Fault(kind="status", status=404, resource="appointments"))

    result = sync("appointments")

    assert result["rows_read"] == 180
    assert differences(sandbox, "appointments", fetch) == []


def test_pages_that_were_damaged_are_read_again(practice: Callable[..., Sandbox], fetch: Any, home: Path) -> None:
    sandbox = practice()
    sandbox.faults.add(Fault(kind="status", status=403, resource="appointments", skip=3))
    with pytest.raises(outcome("AirflowFailException")):
        sync("appointments")
    staged(home)[1].write_bytes(b"")

    sync("appointments")

    assert differences(sandbox, "appointments", fetch) == []


def test_two_runs_do_not_read_the_same_list_at_once(
    practice: Callable[..., Sandbox], home: Path, mocker: MockerFixture
) -> None:
    from airflow_provider_drchrono.transfers.staging import Staging

    practice()
    add = Staging.add
    met: list[str] = []

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        mocker.stopall()
        with pytest.raises(
            outcome("AirflowException"), match=r"Another process is syncing patients into patients"
        ) as found:
            sync(run_id="another run")
        met.append(type(found.value).__name__)
        return add(*arguments, **options)

    mocker.patch.object(Staging, "add", autospec=True, side_effect=meanwhile)

    assert sync()["rows_in_table"] == 60
    assert met == ["AirflowException"]


@pytest.mark.parametrize("doctor_timezones", [("America/New_York", "America/Los_Angeles"), ("America/New_York",)])
def test_zones_are_asked_for_once_a_day(
    practice: Callable[..., Sandbox],
    fetch: Any,
    mocker: MockerFixture,
    doctor_timezones: tuple[str, ...],
) -> None:
    from airflow_provider_drchrono.transfers import sync as sync_module

    sandbox = practice(start=datetime.now(UTC), doctor_timezones=doctor_timezones)

    first = sync()
    second = sync(run_id="run 2")
    clock = mocker.patch.object(sync_module, "datetime", wraps=datetime)
    clock.now.return_value = datetime.now(UTC) + timedelta(days=1, seconds=1)
    third = sync(run_id="run 3")

    assert [each["calls"] for each in (first, second, third)] == [2, 1, 2]
    assert calls(sandbox, "doctors") == 2
    assert json.loads(fetch("SELECT timezones FROM _drchrono_sync")[0][0]) == sorted(doctor_timezones)
    zone = doctor_timezones[0] if len(doctor_timezones) == 1 else None
    assert fetch("SELECT DISTINCT _drchrono_timezone FROM patients") == [(zone,)]
    behind = timedelta(hours=3) if len(doctor_timezones) == 2 else timedelta(0)
    read_from = sandbox.clock.local() - behind - timedelta(seconds=120) - datetime.fromisoformat(second["since"])
    assert abs(read_from) < timedelta(seconds=30)


def test_zones_are_not_asked_for_again_after_an_interruption(practice: Callable[..., Sandbox]) -> None:
    sandbox = practice(doctor_timezones=("America/New_York",))
    sandbox.faults.add(Fault(kind="status", status=403, resource="appointments", skip=3))
    with pytest.raises(outcome("AirflowFailException")):
        sync("appointments")

    sync("appointments")

    assert calls(sandbox, "doctors") == 1


def test_a_token_that_may_not_read_doctors_asks_for_the_zone(practice: Callable[..., Sandbox]) -> None:
    sandbox = practice(doctor_timezones=("America/New_York",))
    sandbox.faults.add(Fault(kind="status", status=403, resource="doctors"))

    with pytest.raises(outcome("AirflowFailException"), match=r"set timezone on the connection to an IANA name"):
        sync()


def test_a_change_in_the_repeated_hour_is_not_missed(practice: Callable[..., Sandbox], fetch: Any) -> None:
    # 01:50 in New York, ten minutes before its clocks go back to 01:00.
    sandbox = practice(start=datetime(2026, 11, 1, 5, 50, tzinfo=UTC), frozen=True)
    patient = sandbox.practice.records("patients")[0]["id"]
    sandbox.practice.change("patients", patient, {"city": "before"})
    sync()
    sandbox.clock.advance(20 * 60)
    sandbox.practice.change("patients", patient, {"city": "after"})
    assert sandbox.practice.get("patients", patient)["updated_at"] == "2026-11-01T01:10:00"

    result = sync(run_id="run 2")

    assert result["rows_changed"] == 1
    assert fetch(f"SELECT city FROM patients WHERE id = {patient}") == [("after",)]


def test_a_write_that_lists_show_late_is_not_missed(practice: Callable[..., Sandbox], fetch: Any) -> None:
    sandbox = practice(write_lag=20, start=datetime(2026, 1, 15, 12, tzinfo=UTC), frozen=True, seed=5)
    sync()
    patient = sandbox.practice.records("patients")[0]["id"]
    sandbox.practice.change("patients", patient, {"city": "Utica"})
    sync(run_id="run 2")
    sandbox.clock.advance(40)

    sync(run_id="run 3")

    assert fetch(f"SELECT city FROM patients WHERE id = {patient}") == [("Utica",)]


@pytest.mark.parametrize("page", [0, 1], ids=["the first page", "a later page"])
def test_what_changes_while_a_page_is_slow_is_not_missed(
    practice: Callable[..., Sandbox], fetch: Any, page: int
) -> None:
    sandbox = practice(patients=10)
    visit = sandbox.practice.records("appointments")[0]["id"]

    def work() -> None:
        sandbox.practice.change("appointments", visit, {"status": "Arrived"})

    with working_while_answered(sandbox, "appointments", work, skip=page):
        assert sync("appointments", lookback=timedelta(0))["rows_new"] == 30

    assert sync("appointments", lookback=timedelta(0), run_id="run 2")["rows_changed"] == 1
    assert differences(sandbox, "appointments", fetch) == []


def test_a_longer_overlap_reads_more_and_changes_nothing(practice: Callable[..., Sandbox]) -> None:
    practice(start=datetime.now(UTC))
    first = sync()

    second = sync(lookback=timedelta(days=3650), run_id="run 2")

    assert second["rows_read"] == first["rows_read"] == 60
    assert (second["rows_new"], second["rows_changed"]) == (0, 0)


def test_a_change_of_a_list_that_goes_by_creation_arrives_on_the_day_of_the_creation(
    practice: Callable[..., Sandbox], fetch: Any
) -> None:
    sandbox = practice(start=datetime(2026, 1, 15, 12, tzinfo=UTC), frozen=True)
    message = sandbox.practice.create("prescription_messages", {"message_status": "Sent"})["id"]
    sync("prescription_messages")
    sandbox.clock.advance(3600)
    changed = sandbox.practice.change("prescription_messages", message, {"message_status": "Approved"})
    assert changed["created_at"] == "2026-01-15T07:00:00"

    results = [sync("prescription_messages", run_id=f"run {number}") for number in (2, 3)]

    assert [each["rows_changed"] for each in results] == [1, 0]
    assert timedelta(0) <= datetime(2026, 1, 14, 7) - datetime.fromisoformat(results[0]["since"]) < timedelta(minutes=1)
    assert fetch(f"SELECT message_status FROM prescription_messages WHERE id = {message}") == [("Approved",)]


def test_another_signature_of_a_link_is_no_changed_row(practice: Callable[..., Sandbox], fetch: Any) -> None:
    sandbox = practice()
    link = "https://files.example.com/photo.jpg?Signature="
    patient = sandbox.practice.records("patients")[0]["id"]
    sandbox.practice.change("patients", patient, {"patient_photo": f"{link}1"})
    sync()
    sandbox.practice.change(
        "patients",
        patient,
        {"patient_photo": f"{link}2", "updated_at": sandbox.practice.get("patients", patient)["updated_at"]},
    )

    result = sync(run_id="run 2")

    assert (result["rows_read"], result["rows_changed"]) == (1, 0)
    assert fetch(f"SELECT patient_photo FROM patients WHERE id = {patient}") == [(f"{link}1",)]


def test_filters_make_a_sync_of_their_own(practice: Callable[..., Sandbox], fetch: Any) -> None:
    sandbox = practice()
    doctors = sorted({record["doctor"] for record in sandbox.practice.records("patients")})
    assert len(doctors) > 1

    results = [sync(filters={"doctor": doctor}) for doctor in doctors]
    again = [sync(filters={"doctor": doctor}, run_id="run 2") for doctor in doctors]

    assert sum(result["rows_new"] for result in results) == results[-1]["rows_in_table"] == 60
    assert [result["calls"] for result in again] == [1] * len(doctors)
    assert differences(sandbox, "patients", fetch) == []
    assert fetch("SELECT count(*) FROM _drchrono_sync") == [(len(doctors),)]


def test_filters_are_not_logged(practice: Callable[..., Sandbox], caplog: pytest.LogCaptureFixture, fetch: Any) -> None:
    sandbox = practice(patients=300)
    caplog.set_level(logging.INFO)
    status = "Canary Complete"
    for visit in sandbox.practice.records("appointments")[:50]:
        sandbox.practice.change("appointments", visit["id"], {"status": status})

    assert sync("appointments", filters={"status": status})["calls"] == 3

    assert "Synced appointments" in caplog.text
    assert "Canary" not in caplog.text


def test_verbose_fields_make_columns(practice: Callable[..., Sandbox], fetch: Any) -> None:
    sandbox = practice()

    result = sync(table="patients_in_full", verbose=True)

    assert result["calls"] == pages(60, 50)
    patient = sandbox.practice.records("patients", verbose=True)[0]
    ((insurance,),) = fetch(f"SELECT primary_insurance FROM patients_in_full WHERE id = {patient['id']}")
    assert json.loads(insurance) == patient["primary_insurance"]


def test_a_start_can_be_made_earlier(practice: Callable[..., Sandbox], fetch: Any) -> None:
    sandbox = practice()
    times = sorted(record["updated_at"] for record in sandbox.practice.records("patients"))

    results = [
        sync(since=since, run_id=f"run {number}")
        for number, since in enumerate([times[40], times[50], times[20], None, None])
    ]

    assert [result["rows_in_table"] for result in results] == [
        sum(time >= since for time in times) for since in (times[40], times[40], times[20], "", "")
    ]
    assert results[1]["rows_read"] == results[4]["rows_read"] == 0


@pytest.mark.parametrize("full_refresh", [True, "True", "true"])
def test_a_full_refresh_reads_everything_again(
    practice: Callable[..., Sandbox], fetch: Any, full_refresh: bool | str
) -> None:
    sandbox = practice()
    sync()
    with closing(sqlite3.connect(fetch("PRAGMA database_list")[0][2])) as connection, connection:
        connection.execute("DELETE FROM patients WHERE id % 2")

    result = sync(full_refresh=full_refresh, run_id="run 2")

    assert result["rows_read"] == 60
    assert 0 < result["rows_new"] < 60
    assert differences(sandbox, "patients", fetch) == []


def test_lists_without_times_of_change_are_read_whole(practice: Callable[..., Sandbox], fetch: Any) -> None:
    sandbox = practice()
    first = sync("doctors")
    sandbox.practice.change("doctors", sandbox.practice.records("doctors")[0]["id"], {"specialty": "Other"})

    second = sync("doctors", run_id="run 2")

    assert first["rows_new"] == second["rows_read"] > 1
    assert (second["rows_new"], second["rows_changed"], second["since"]) == (0, 1, None)


def test_what_the_catalogue_does_not_know_is_kept_and_counted(
    practice: Callable[..., Sandbox], fetch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox = practice()
    caplog.set_level(logging.INFO)
    patient = sandbox.practice.records("patients")[0]["id"]
    sandbox.practice.change("patients", patient, {"date_of_birth": "canary in May", "city": "nul\0", "copay": "canary"})

    sync()

    ((extra, born, city),) = fetch(f"SELECT _drchrono_extra, date_of_birth, city FROM patients WHERE id = {patient}")
    assert json.loads(extra) == {"copay": "canary", "date_of_birth": "canary in May"}
    assert (born, city) == (None, "nul\ufffd")
    assert (
        "Values that do not fit their columns are in patients._drchrono_extra: copay (1), date_of_birth (1)"
        in caplog.text
    )
    assert "canary" not in caplog.text


def test_a_record_without_its_id_is_set_aside_and_the_others_are_loaded(
    practice: Callable[..., Sandbox], fetch: Any, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox = practice(patients=3)
    table = sandbox.practice.table("patients")
    key = table.keys[0]
    table.put(key, dict(table[key]) | {"id": None, "last_name": "canary"})

    results = [sync(), sync(run_id="run 2", full_refresh=True)]

    assert [(each["rows_in_table"], each["records_set_aside"]) for each in results] == [(2, 1), (2, 1)]
    assert caplog.text.count("1 records came without a usable id and are not in patients") == 2
    assert "canary" not in caplog.text + str(results)
    assert fetch("SELECT count(*) FROM patients") == [(2,)]
    assert staged(home) == []


BAD_ARGUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown resource": (
        {"resource": "patient"},
        r"no resource 'patient' \(did you mean 'patients'",
    ),
    "no list": (
        {"resource": "day_sheet_totals"},
        "day_sheet_totals cannot be synced into a table: the API has no list",
    ),
    "list in bulk only": ({"resource": "patients_list"}, "the API has no list of them; sync patients, whose records"),
    "no filter": (
        {"resource": "insurances"},
        r"insurances_list: filters need payer_type \(one of emdeon, gateway, ihcfa\)",
    ),
    "history without a key": ({"resource": "audit_log", "history": True}, "Rows of audit_log never change"),
    "no time between": ({"complete_every": "weekly"}, "complete_every has to be a timedelta, 'auto' or None"),
    "no choice": ({"on_suspicious": "shout"}, "on_suspicious must be one of .warn., .fail., .accept."),
    "unknown filter": (
        {"filters": {"docter": 1}},
        r"there is no filter 'docter' \(did you mean 'doctor'",
    ),
    "option as filter": ({"filters": {"page_size": 5}}, "there is no filter 'page_size'"),
    "since as filter": ({"filters": {"since": "2026-01-01"}}, "use the argument since or start, not the filter"),
    "filters that are no mapping": ({"filters": "doctor=1"}, "filters must be a mapping of filters, not str"),
    "no verbose form": ({"resource": "transactions", "verbose": True}, "transactions_list has no verbose form"),
    "no time of change": ({"resource": "doctors", "since": "2026-01-01"}, "doctors cannot be listed by time of change"),
    "no time": ({"since": "last week"}, "since is no date or time in ISO 8601 such as .*: 'last week'"),
    "negative lookback": ({"lookback": timedelta(seconds=-1)}, "lookback may not be negative"),
    "no truth": ({"full_refresh": "perhaps"}, "full_refresh has to be true or false, not 'perhaps'"),
    "name of a table": ({"table": "my.patients"}, "table 'my.patients' is not a name; use up to 63 letters"),
    "schema": ({"schema": "main"}, "The database of drchrono_warehouse has no schemas; leave schema out"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS)
def test_a_wrong_argument_is_named_before_any_call(
    practice: Callable[..., Sandbox], arguments: dict[str, Any], message: str
) -> None:
    sandbox = practice(patients=1)

    with pytest.raises(outcome("AirflowFailException"), match=message) as found:
        sync(**arguments)

    assert "\n" not in str(found.value)
    assert len(sandbox.journal) == 0


def test_a_table_that_cannot_be_written_is_named_before_any_call(practice: Callable[..., Sandbox], home: Path) -> None:
    sandbox = practice(patients=1)
    with closing(sqlite3.connect(home / "warehouse.db")) as connection:
        connection.execute("CREATE TABLE patients (id INTEGER PRIMARY KEY, name TEXT)")

    with pytest.raises(
        outcome("AirflowFailException"), match=r"The table patients in drchrono_warehouse was not made by"
    ):
        sync()

    assert len(sandbox.journal) == 0


def test_a_warehouse_that_is_busy_can_be_tried_again(
    practice: Callable[..., Sandbox], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_drchrono.warehouses import sqlite as sqlite_module

    practice(patients=1)
    monkeypatch.setattr(sqlite_module, "_BUSY_TIMEOUT", 50)
    with closing(sqlite3.connect(home / "warehouse.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(WarehouseError, match=r"it is locked by another process") as found:
            sync()
    assert found.value.transient
    assert sync()["rows_in_table"] == 1


def test_a_staging_folder_that_cannot_be_used_is_named(practice: Callable[..., Sandbox], home: Path) -> None:
    sandbox = practice(patients=1)
    (home / "file").write_text("")

    with pytest.raises(StagingError, match=r"The staging folder .*/file/patients-.* cannot be used"):
        sync(staging_path=str(home / "file"))

    assert len(sandbox.journal) == 0


def test_pages_are_staged_in_an_object_store(practice: Callable[..., Sandbox], fetch: Any) -> None:
    from airflow.sdk.io.store import attach
    from fsspec.implementations.memory import MemoryFileSystem

    sandbox = practice()
    store = MemoryFileSystem()
    attach("memory", fs=store)
    sandbox.faults.add(Fault(kind="status", status=403, resource="appointments", skip=3))
    with pytest.raises(outcome("AirflowFailException")):
        sync("appointments", staging_path="memory://bucket/staging")
    assert len([path for path in store.store if path.endswith(".ndjson.gz")]) == 3

    result = sync("appointments", staging_path="memory://bucket/staging", run_id="another run")

    assert result["calls"] == 9
    assert calls(sandbox, "appointments") == 9 + 1
    assert differences(sandbox, "appointments", fetch) == []
    assert store.store == {}


def test_pages_are_staged_in_airflows_home_unless_told_otherwise(
    practice: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch, airflow_db: Path
) -> None:
    practice(patients=1)
    monkeypatch.delenv("AIRFLOW__DRCHRONO__STAGING_PATH")

    sync()

    (folder,) = (airflow_db.parent / "drchrono" / "staging").iterdir()
    assert folder.name.startswith("patients-")
    assert [path.name for path in folder.iterdir()] == [".lock"]


def test_parsing_the_example_loads_no_heavy_library() -> None:
    import subprocess
    import sys

    script = (
        f"import sys; exec(open({str(EXAMPLE)!r}).read(), {{'__name__': 'dag', '__doc__': ''}}); "
        "print(sorted({'httpx', 'authlib', 'pydantic', 'psycopg', 'psycopg2', 'limits'} & set(sys.modules) - before))"
    )
    script = "import sys\nfrom airflow.sdk import DAG, BaseOperator, BaseHook\nbefore = set(sys.modules)\n" + script
    listing = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert listing.returncode == 0, listing.stderr
    assert listing.stdout.splitlines()[-1] == "[]"


def test_an_empty_list_names_the_scopes_that_are_not_granted(
    practice: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox = practice(missing_scope="empty")
    connection = json.loads(sandbox.connection_json())
    connection["extra"]["refresh_token"] = sandbox.new_refresh_token("calendar:read")
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", json.dumps(connection))

    result = sync()

    assert result["rows_read"] == 0
    (warning,) = [each.getMessage() for each in caplog.records if "came back empty" in each.getMessage()]
    assert "the scope patients:read or patients:write, and the token has only calendar:read" in warning
    assert "a user with the permission manage-patients" in warning
    assert "airflow drchrono doctor drchrono_default --probe" in warning


def test_an_empty_list_of_a_grant_that_has_the_scopes_names_the_permission(
    practice: Callable[..., Sandbox], caplog: pytest.LogCaptureFixture
) -> None:
    practice(patients=1, appointments_per_patient=0)

    assert sync("line_items")["rows_read"] == 0
    (warning,) = [each.getMessage() for each in caplog.records if "came back empty" in each.getMessage()]
    assert "scopes" not in warning
    assert "a user with the permission billing and show-billing-tab" in warning
    caplog.clear()
    assert sync("line_items")["rows_read"] == 0
    assert "came back empty" not in caplog.text


@pytest.mark.parametrize(
    ("resource", "field"), [("audit_log", "page"), ("telehealth_appointment_history", "description")]
)
def test_records_without_a_key_are_added_once(
    practice: Callable[..., Sandbox], fetch: Any, resource: str, field: str
) -> None:
    sandbox = practice(patients=5, records={resource: 30}, start=datetime(2026, 1, 15, 12, tzinfo=UTC), frozen=True)
    for text in ("twice", "twice", "once"):
        sandbox.practice.create(resource, {field: text})
    first = sync(resource)
    assert first["rows_new"] == first["rows_in_table"] == len(sandbox.practice.records(resource))

    sandbox.clock.advance(60)
    sandbox.practice.create(resource, {field: "later"})
    second = sync(resource, run_id="run 2")

    assert (second["rows_new"], second["rows_changed"], second["rows_deleted"]) == (1, 0, 0)
    rows = dict(fetch(f"SELECT {field}, count(*) FROM {resource} GROUP BY 1"))
    assert {name: rows[name] for name in ("twice", "once", "later")} == {"twice": 2, "once": 1, "later": 1}


def test_a_sync_asks_what_the_facts_of_its_connection_say(practice: Callable[..., Sandbox]) -> None:
    facts = {"lab_orders": {"page_size": 3, "requires_one_of": ["since", "doctor"], "lookback": 3600}}
    sandbox = practice(extra={"facts": facts})

    sync("lab_orders")
    first, *_ = (each.query for each in sandbox.journal.calls(resource="lab_orders"))
    assert (first["page_size"], first["since"]) == ("3", "1970-01-01T00:00:00")
    sandbox.journal.clear()
    sync("lab_orders", run_id="run 2")

    since = datetime.fromisoformat(sandbox.journal.calls(resource="lab_orders")[0].query["since"])
    assert timedelta(minutes=60) <= sandbox.clock.local() - since < timedelta(minutes=62)


def test_a_sync_reads_a_list_by_its_own_clock(
    practice: Callable[..., Sandbox], fetch: Callable[[str], list[tuple[Any, ...]]]
) -> None:
    sandbox = practice(extra={"facts": {"patients": {"timezone": "UTC"}}}, timezone="America/New_York")

    sync()
    sandbox.journal.clear()
    sync(run_id="run 2")

    since = datetime.fromisoformat(sandbox.journal.calls(resource="patients")[0].query["since"])
    ago = sandbox.clock.now().replace(tzinfo=None) - since
    assert timedelta(minutes=2) <= ago < timedelta(minutes=4)
    # The other times of the records are still the practice's.
    assert fetch("SELECT DISTINCT _drchrono_timezone FROM patients") == [("America/New_York",)]


def test_a_sync_of_a_list_that_needs_a_filter_says_so_before_it_asks(practice: Callable[..., Sandbox]) -> None:
    sandbox = practice(extra={"facts": {"lab_results": {"requires_one_of": ["doctor"]}}})

    with pytest.raises(outcome("AirflowFailException"), match="at least one of doctor"):
        sync("lab_results")
    assert calls(sandbox, "lab_results") == 0

    sync("lab_results", filters={"doctor": 1})
    assert sandbox.journal.calls(resource="lab_results")[0].query["doctor"] == "1"


def test_a_read_that_shows_too_little_marks_nothing_unless_that_is_accepted(
    practice: Callable[..., Sandbox], fetch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox = practice(patients=60, start=datetime(2026, 1, 15, 12, tzinfo=UTC), frozen=True)
    sync()
    sandbox.clock.advance(60)
    for patient in sandbox.practice.records("patients")[:20]:
        sandbox.practice.remove("patients", patient["id"])
    marked = "SELECT count(*) FROM patients WHERE _drchrono_deleted_at IS NOT NULL"

    whole = {"complete_every": timedelta(0)}
    assert sync(run_id="run 2", **whole)["rows_deleted"] == 0
    assert "did not see 20 of 60 rows of patients, so none of them was marked as deleted" in caplog.text
    with pytest.raises(outcome("AirflowFailException"), match="did not see 20 of 60 rows"):
        sync(run_id="run 3", on_suspicious="fail", **whole)
    assert fetch(marked) == [(0,)]

    accepted = sync(run_id="run 4", on_suspicious="accept", **whole)
    assert (accepted["rows_deleted"], accepted["rows_in_table"]) == (20, 60)
    assert fetch(marked) == [(20,)]
    assert sync(run_id="run 5", **whole)["rows_deleted"] == 0


def test_deletions_of_visits_and_line_items_come_with_the_changes(practice: Callable[..., Sandbox], fetch: Any) -> None:
    from airflow_provider_drchrono.hooks.drchrono import DrChronoHook

    sandbox = practice(patients=5, start=datetime(2026, 1, 15, 12, tzinfo=UTC), frozen=True)
    names = ("appointments", "line_items")
    for name in names:
        sync(name)
    visit = next(each for each in sandbox.practice.records("appointments") if not each["deleted_flag"])
    charge = sandbox.practice.records("line_items")[0]
    with DrChronoHook("drchrono_default") as client:
        sandbox.clock.advance(60)
        client.delete("appointments", visit["id"])
        client.delete("line_items", charge["id"])
    sandbox.clock.advance(60)
    sandbox.journal.clear()

    results = {name: sync(name, run_id="run 2") for name in names}

    assert {name: result["rows_deleted"] for name, result in results.items()} == dict.fromkeys(names, 1)
    assert [result["calls"] for result in results.values()] == [1, 2]
    for name, record in (("appointments", visit), ("line_items", charge)):
        assert fetch(f"SELECT id FROM {name} WHERE _drchrono_deleted_at IS NOT NULL") == [(record["id"],)]


@pytest.mark.parametrize("what", [{"deleted_flag": True}, {"recurring_days": ["Friday"]}], ids=str)
def test_days_of_a_series_that_are_gone_unsaid_are_marked(
    practice: Callable[..., Sandbox], fetch: Any, what: dict[str, Any]
) -> None:
    sandbox = practice(patients=5, start=datetime(2026, 1, 15, 12, tzinfo=UTC), frozen=True)
    doctor, office = (sandbox.practice.records(name)[0]["id"] for name in ("doctors", "offices"))
    series = sandbox.practice.create(
        "appointments",
        {
            "doctor": doctor, "office": office, "exam_room": 1, "duration": 15, "patient": None,
            "scheduled_time": "2026-02-02T09:00:00", "recurring_appointment": True,
            "recurring_days": ["Thursday"], "recur_end_date": "2026-02-28",
        },
    )  # fmt: skip
    sync("appointments")
    thursdays = [(f"2026-02-{day:02}_{series['id']}",) for day in (5, 12, 19, 26)]
    alive = f"SELECT id FROM appointments WHERE id LIKE '2026%_{series['id']}' AND _drchrono_deleted_at IS NULL"
    assert sorted(fetch(alive)) == thursdays

    sandbox.clock.advance(600)
    sandbox.practice.change("appointments", series["id"], what)
    sandbox.clock.advance(600)
    result = sync("appointments", run_id="run 2")

    there = [(each["id"],) for each in sandbox.practice.records("appointments") if str(series["id"]) in str(each["id"])]
    assert sorted(fetch(alive)) == sorted(set(there) - {(series["id"],)})
    assert not set(fetch(alive)) & set(thursdays)
    assert result["rows_deleted"] == len(thursdays) + ("deleted_flag" in what)


def test_a_list_that_demands_a_filter_is_synced_with_one_that_the_provider_does_not_know(
    practice: Callable[..., Sandbox], fetch: Callable[[str], list[tuple[Any, ...]]]
) -> None:
    sandbox = practice()
    rule = "changed_after parameter must be specified with since"
    with answering(sandbox, refusing("/api/patients", 400, {"detail": rule}, without="changed_after")):
        with pytest.raises(outcome("AirflowFailException"), match=r"\(400\).*field_errors"):
            sync()
        first = sync(run_id="run 2", extra_filters={"changed_after": "2020-01-01"})
        again = sync(run_id="run 3", extra_filters={"changed_after": "2020-01-01"})

    assert (first["rows_new"], again["rows_new"]) == (60, 0)
    assert again["since"] is not None
    assert {each.query["changed_after"] for each in sandbox.journal.calls(resource="patients", status=200)} == {
        "2020-01-01"
    }
    assert fetch("SELECT count(*) FROM patients") == [(60,)]


def test_extra_filters_that_cannot_be_right_are_refused_when_the_dag_is_parsed(home: Path) -> None:
    with pytest.raises(ValueError, match="doctor is a filter that is known: give it in filters"):
        sync(extra_filters={"doctor": 1})
