"""A sensor polled by hand against the sandbox: what it costs, what it refuses, how it waits in the triggerer."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)

from airflow_provider_drchrono.client import DrChronoError
from airflow_provider_drchrono.incremental.cursor import CursorName, MemoryCursorStore, read_cursor
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from airflow_provider_drchrono.sensors.appointments import DrChronoNewOrUpdatedAppointmentsSensor as Appointments
from airflow_provider_drchrono.sensors.base import IncrementalSensor, InvalidArgumentError
from airflow_provider_drchrono.sensors.documents import DrChronoNewOrUpdatedDocumentsSensor as Documents
from airflow_provider_drchrono.sensors.messaging import DrChronoNewOrUpdatedMessagesSensor as Messages
from airflow_provider_drchrono.sensors.patients import DrChronoNewOrUpdatedPatientsSensor as Patients
from airflow_provider_drchrono.triggers.incremental import DrChronoIncrementalTrigger, PollEvent
from tests.support.running import execute, unlimited


def context(run_id: str = "a_run", map_index: int = -1, iteration: int | None = None) -> dict[str, Any]:
    ti = SimpleNamespace(dag_id="a_dag", task_id="changes", run_id=run_id, map_index=map_index, try_number=1)
    return {"ti": ti} | ({} if iteration is None else {"loop": SimpleNamespace(index=iteration)})


def poke(
    kind: type[IncrementalSensor], run_id: str = "a_run", *, iteration: int | None = None, **arguments: Any
) -> Any:
    """Poll once as a process of its own; return the records, or None."""
    found = kind(task_id="changes", **arguments).poke(context(run_id, iteration=iteration))
    return found.xcom_value if found else None


def calls(sandbox: Sandbox) -> list[str]:
    made = [entry.operation_id for entry in sandbox.journal.calls()]
    return [each for each in made if not each.startswith("oauth")]


def test_an_empty_poll_costs_one_call_and_stores_nothing(sandbox: Sandbox, store: MemoryCursorStore) -> None:
    assert poke(Patients) is None
    begun = store.texts[CursorName("a_dag", "changes")]

    for number in range(3):
        assert poke(Patients, f"run-{number}") is None

    assert calls(sandbox) == ["patients_list"] * 4
    assert store.texts[CursorName("a_dag", "changes")] == begun


def test_the_zones_are_asked_for_once_a_day(
    sandbox: Sandbox, store: MemoryCursorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox, timezone=None))

    for _ in range(3):
        assert poke(Patients) is None
    assert calls(sandbox).count("doctors_list") == 1

    present = datetime.now(UTC)
    monkeypatch.setattr(
        "airflow_provider_drchrono.sensors.base.incremental.utcnow", lambda: present + timedelta(hours=25)
    )
    for _ in range(3):
        assert poke(Patients) is None
    assert calls(sandbox).count("doctors_list") == 2


def test_a_practice_with_a_new_zone_is_looked_at_again(
    sandbox: Sandbox, store: MemoryCursorStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert poke(Patients) is None
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox, timezone="America/Los_Angeles"))

    assert poke(Patients) is None

    position = read_cursor(store.texts[CursorName("a_dag", "changes")]).position
    assert position is not None
    assert "the practice has another time zone now" in caplog.text
    assert position.since is not None
    assert position.until.replace(tzinfo=None) - position.since > timedelta(hours=6)


def test_a_worker_whose_clock_is_ahead_begins_at_the_servers_time(
    sandbox: Sandbox, store: MemoryCursorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=1)
    monkeypatch.setattr("airflow_provider_drchrono.sensors.base.incremental.utcnow", lambda: ahead)
    patient = sandbox.practice.records("patients")[0]["id"]
    sandbox.practice.change("patients", patient, {"city": "Springfield"})

    assert poke(Patients) is None
    sandbox.practice.change("patients", patient, {"city": "Shelbyville"})

    assert [each["city"] for each in poke(Patients)] == ["Shelbyville"]


def test_an_iteration_of_a_loop_is_given_what_the_one_before_was_not(sandbox: Sandbox) -> None:
    first = poke(Patients, iteration=0, start="beginning")
    late = sandbox.practice.create("patients", {"last_name": "Late"})

    assert [each["id"] for each in poke(Patients, iteration=1)] == [late["id"]]
    assert poke(Patients, iteration=0) == first
    assert poke(Patients, iteration=2) is None


def test_a_retry_and_a_cleared_task_are_given_the_same(sandbox: Sandbox) -> None:
    first = poke(Patients, "run-1", start="beginning")
    sandbox.practice.create("patients", {"last_name": "Late"})

    assert poke(Patients, "run-1") == first
    assert [each["last_name"] for each in poke(Patients, "run-2")] == ["Late"]
    assert poke(Patients, "run-1") == first


def test_instances_of_a_mapped_sensor_have_cursors_of_their_own(sandbox: Sandbox, store: MemoryCursorStore) -> None:
    for index in range(2):
        sensor = Patients(task_id="changes", start="beginning")
        assert sensor.poke(context(map_index=index)).xcom_value

    assert set(store.texts) == {CursorName("a_dag", "changes", 0), CursorName("a_dag", "changes", 1)}


def test_other_filters_are_noted_and_not_stored(
    sandbox: Sandbox, store: MemoryCursorStore, caplog: pytest.LogCaptureFixture
) -> None:
    poke(Patients, "run-1", start="beginning")
    poke(Patients, "run-2", filters={"last_name": "Canary"})

    assert "the filters are not those of the last run" in caplog.text
    assert "Canary" not in caplog.text + str(store.texts)


def test_a_long_range_of_dates_is_split(sandbox: Sandbox) -> None:
    visits = sandbox.practice.records("appointments")
    days = [each["scheduled_time"][:10] for each in visits]
    last = datetime.fromisoformat(max(days)).date()
    first = min(datetime.fromisoformat(min(days)).date(), last - timedelta(days=400))

    found = poke(Appointments, start="beginning", filters={"date_range": f"{first}/{last}"})

    assert {each["id"] for each in found} == {each["id"] for each in visits if not each["deleted_flag"]}
    ranges = {entry.query["date_range"] for entry in sandbox.journal.calls(resource="appointments")}
    assert len(ranges) >= 3


def test_too_many_records_move_nothing(sandbox: Sandbox) -> None:
    with pytest.raises(AirflowFailException, match=r"more than 3 records are new.*output_path"):
        poke(Patients, "run-1", start="beginning", max_records=3)

    assert len(poke(Patients, "run-1", start="beginning")) == 4


def test_messages_go_by_a_filter_of_another_name(sandbox: Sandbox) -> None:
    poke(Messages, start="2026-01-01")

    assert sandbox.journal.calls(resource="messages")[0].query["updated_since"] == "2026-01-01T00:00:00"


WRONG: list[Any] = [
    pytest.param(
        Patients, {"filters": {"doktor": 1}}, "no filter 'doktor'.*did you mean 'doctor'", id="unknown filter"
    ),
    pytest.param(Patients, {"filters": {"since": "2026-01-01"}}, "use the argument since", id="since as a filter"),
    pytest.param(Messages, {"filters": {"updated_since": "2026-01-01"}}, "use the argument since", id="its own filter"),
    pytest.param(Patients, {"filters": ["doctor"]}, "filters must be a mapping", id="filters in a list"),
    pytest.param(Patients, {"change": "deleted"}, "change must be one of 'any'", id="unknown change"),
    pytest.param(Patients, {"since": "yesterday"}, "since must be a date or a time", id="since in words"),
    pytest.param(Patients, {"start": "soon"}, "start must be 'now', 'beginning', a date", id="start in words"),
    pytest.param(Patients, {"until": "2026-01-01"}, "until needs since", id="until alone"),
    pytest.param(Patients, {"lookback": -1}, "lookback must be a timedelta", id="negative lookback"),
    pytest.param(Patients, {"max_records": 0}, "max_records must be a number", id="no records"),
    pytest.param(Patients, {"batch_size": True}, "batch_size must be a number", id="no batches"),
    pytest.param(
        Patients, {"batch_size": 5, "output_path": "file:///x"}, "batch_size has no effect", id="batches of a file"
    ),
    pytest.param(Patients, {"poke_interval": 30}, "poke_interval must be 60 seconds or more", id="hasty reschedules"),
]


@pytest.mark.parametrize(("kind", "arguments", "problem"), WRONG)
def test_what_cannot_work_fails_when_the_dag_is_parsed(
    kind: type[IncrementalSensor], arguments: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=problem):
        kind(task_id="changes", **arguments)


def test_creations_are_not_told_apart_where_nothing_tells(sandbox: Sandbox) -> None:
    with pytest.raises(InvalidArgumentError, match="do not say when they were created"):
        Documents(task_id="changes", change="created")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        pytest.param({"filters": "{{ doctor }}"}, "must be a mapping of filters, not str", id="filters as text"),
        pytest.param({"filters": {"doctor": ""}}, r"filters\['doctor'\] is empty", id="an empty filter"),
        pytest.param({"filters": {"doctor": "Who"}}, r"doctor'\] must be a whole number", id="a name for an id"),
        pytest.param({"fields": ["last_nam"]}, "no field 'last_nam'.*did you mean 'last_name'", id="unknown field"),
        pytest.param({"fields": "last_name"}, "fields must be a list", id="one field"),
        pytest.param({"since": "2999-01-01"}, "since is in the future", id="since in the future"),
        pytest.param({"since": "{{ since }}"}, "since is no date", id="no time"),
        pytest.param(
            {"since": datetime(2026, 1, 1, tzinfo=UTC), "until": "2025-01-01"}, "not after since", id="backwards"
        ),
        pytest.param(
            {"since": "2026-01-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "DataInterval", id="no interval"
        ),
    ],
)
def test_what_cannot_work_fails_before_any_call(sandbox: Sandbox, arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(AirflowFailException, match=problem):
        poke(Patients, **arguments)

    assert calls(sandbox) == []


def test_an_empty_template_says_that_there_is_no_interval(sandbox: Sandbox) -> None:
    sensor = Patients(task_id="changes", since="{{ data_interval_start }}")
    sensor.since = ""

    with pytest.raises(AirflowFailException, match="has no data interval; leave since and until out"):
        sensor.poke(context())


def test_windows_that_meet_share_nothing_and_lose_nothing(sandbox: Sandbox) -> None:
    ids = [each["id"] for each in sandbox.practice.records("patients")]
    for hour, patient in enumerate(ids):
        sandbox.practice.change("patients", patient, {"updated_at": f"2026-01-15T{hour:02}:00:00"})
    edges = ["2026-01-15", "2026-01-15T06:00:00+00:00", datetime(2026, 1, 15, 2), "2026-01-15T23:59:59"]

    windows = [poke(Patients, since=since, until=until) for since, until in pairwise(edges)]

    assert [[each["id"] for each in window] for window in windows] == [[ids[0]], [ids[1]], ids[2:]]


def test_a_window_is_waited_for_until_it_is_over(sandbox: Sandbox) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=1)

    assert poke(Patients, since="2026-01-01", until=soon.isoformat()) is None
    assert calls(sandbox) == []
    assert poke(Patients, since="2026-01-01T00:00:00", until="2026-01-01T00:00:01") == []


def test_since_alone_waits_for_a_change(sandbox: Sandbox) -> None:
    present = datetime.now(UTC)

    assert poke(Patients, since=present) is None
    patient = sandbox.practice.records("patients")[0]["id"]
    sandbox.practice.change(
        "patients", patient, {"updated_at": (sandbox.clock.local() + timedelta(seconds=1)).isoformat()}
    )
    assert [each["id"] for each in poke(Patients, since=present)] == [patient]


def test_an_used_up_quota_frees_the_worker(sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault(kind="throttle", resource="patients", seconds=900, times=2))

    with pytest.raises(AirflowRescheduleException):
        poke(Patients)
    deferred = deferral(Patients)
    assert deferred.trigger.not_before > time.time() + 800


def deferral(kind: type[IncrementalSensor], **arguments: Any) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as caught:
        execute(kind(task_id="changes", deferrable=True, **arguments), context())
    return caught.value


def test_the_trigger_is_stored_without_a_persons_name(sandbox: Sandbox) -> None:
    doctor = sandbox.practice.records("doctors")[0]["id"]
    deferred = deferral(Patients, filters={"doctor": doctor, "last_name": "Canary", "date_of_birth": "1950-01-31"})

    path, arguments = deferred.trigger.serialize()

    assert path == "airflow_provider_drchrono.triggers.incremental.DrChronoIncrementalTrigger"
    assert arguments["filters"] == {"doctor": doctor}
    assert DrChronoIncrementalTrigger(**arguments).serialize() == (path, arguments)
    assert "Canary" not in str(arguments)


def event_of(trigger: DrChronoIncrementalTrigger) -> dict[str, Any]:
    async def first() -> dict[str, Any]:
        async for event in trigger.run():
            payload: dict[str, Any] = event.payload
            return payload
        raise AssertionError("a trigger ended without an event")

    return asyncio.run(first())


def again(trigger: DrChronoIncrementalTrigger, **changes: Any) -> DrChronoIncrementalTrigger:
    return DrChronoIncrementalTrigger(**trigger.serialize()[1] | {"poll_interval": 0.01} | changes)


def test_the_event_carries_window_count_and_ids_and_the_task_reads(sandbox: Sandbox) -> None:
    deferred = deferral(Patients)
    patient = sandbox.practice.records("patients")[1]["id"]
    sandbox.practice.change("patients", patient, {"last_name": "Canary"})

    event = event_of(again(deferred.trigger))

    assert (event["status"], event["resource"], event["count"], event["ids"]) == ("changes", "patients", 1, [patient])
    assert event["since"]
    assert event["until"]
    assert "Canary" not in str(event)
    sensor = Patients(task_id="changes", deferrable=True)
    assert [each["last_name"] for each in sensor.execute_complete(context(), event)] == ["Canary"]
    with pytest.raises(TaskDeferred):
        Patients(task_id="changes", deferrable=True).execute_complete(context("run-2"), event)


def test_a_deferred_task_stays_away_until_its_worker_has_noticed(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "4")
    before = time.time()

    assert before + 6 <= deferral(Patients).trigger.not_before <= time.time() + 6


def test_a_window_is_waited_for_in_the_triggerer_without_a_call(sandbox: Sandbox) -> None:
    window = {"since": "1990-01-01", "until": datetime.now(UTC)}
    deferred = deferral(Patients, lookback=600, **window)
    assert deferred.trigger.not_before > time.time() + 300

    event = event_of(again(deferred.trigger, not_before=time.time() + 0.1))

    assert calls(sandbox) == []
    found = Patients(task_id="changes", lookback=0, **window).execute_complete(context(), event)
    assert len(found) == len(sandbox.practice.records("patients"))


def test_a_trigger_gives_up_in_time(sandbox: Sandbox) -> None:
    event = event_of(again(deferral(Patients).trigger, ends=time.time() + 0.3))

    assert event["status"] == "timeout"
    with pytest.raises(AirflowSensorTimeout, match="nothing changed within"):
        Patients(task_id="changes").execute_complete(context(), event)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param({"status": 403}, AirflowFailException, id="refused"),
        pytest.param({"status": 500}, DrChronoError, id="broken"),
    ],
)
def test_a_trigger_that_cannot_poll_says_why(
    sandbox: Sandbox, fault: dict[str, Any], error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = again(deferral(Patients).trigger)
    monkeypatch.setattr("random.random", lambda: 0.0)
    sandbox.faults.add(Fault(kind="status", resource="patients", times=None, **fault))

    event = event_of(trigger)

    assert event["status"] == "failed"
    with pytest.raises(error, match="waiting for changes failed: patients_list"):
        Patients(task_id="changes").execute_complete(context(), event)


@pytest.mark.parametrize("event", [None, {}, {"status": "success"}, {"status": "changes"}], ids=str)
def test_an_event_of_somebody_else_is_refused(event: object) -> None:
    with pytest.raises(AirflowFailException, match="clear it to start again"):
        Patients(task_id="changes").execute_complete(context(), event)


def test_a_reset_cursor_wakes_the_task(sandbox: Sandbox, store: MemoryCursorStore) -> None:
    trigger = again(deferral(Patients).trigger)
    store.texts.clear()

    assert PollEvent.read(event_of(trigger)).status == "changes"


@pytest.mark.parametrize("option", ["soft_fail", "never_fail"])
def test_a_deferrable_sensor_is_skipped_where_asked_for(sandbox: Sandbox, option: str) -> None:
    sandbox.faults.add(Fault(kind="status", status=403, resource="patients"))

    with pytest.raises(AirflowSkipException, match="Skipped instead of failing"):
        execute(Patients(task_id="changes", deferrable=True, **{option: True}), context())


def test_sensors_leave_calls_to_actions(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox, quota_per_hour=100))

    assert Patients(task_id="changes").hook.quota_reserve == 20
