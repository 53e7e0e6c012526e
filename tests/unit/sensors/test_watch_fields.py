"""A sensor that watches some fields: what it gives, what it says of a change, and what it keeps silent about."""

import json
import time
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.incremental.cursor import CursorName, MemoryCursorStore
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.sensors.appointments import DrChronoNewOrUpdatedAppointmentsSensor as Appointments
from airflow_provider_drchrono.sensors.system import DrChronoNewOrUpdatedAuditLogsSensor as AuditLog
from tests.unit.sensors.test_sensors import again, deferral, event_of, poke

NAME = CursorName("a_dag", "changes")
WATCHED = {"watch_fields": ["status", "scheduled_time"]}


def visits(sandbox: Sandbox) -> list[Any]:
    return sorted(each["id"] for each in sandbox.practice.records("appointments"))


def change(sandbox: Sandbox, number: int, **values: Any) -> Any:
    visit = visits(sandbox)[number]
    sandbox.practice.change("appointments", visit, values)
    return visit


def changes(records: list[dict[str, Any]] | None) -> dict[Any, tuple[str, list[str]]]:
    found = {each["id"]: each["_drchrono_change"] for each in records or ()}
    return {visit: (change["kind"], change["fields"]) for visit, change in found.items()}


def test_booked_moved_and_cancelled_are_told_apart(sandbox: Sandbox) -> None:
    poke(Appointments, "run-0", start="beginning", **WATCHED)
    moved = change(sandbox, 0, scheduled_time="2026-03-04T15:00:00")
    cancelled = change(sandbox, 1, status="Cancelled")
    change(sandbox, 2, notes="brings a friend")
    booked = sandbox.practice.create("appointments", {"reason": "new"})["id"]

    assert changes(poke(Appointments, "run-1", **WATCHED)) == {
        moved: ("updated", ["scheduled_time"]),
        cancelled: ("updated", ["status"]),
        booked: ("created", []),
    }
    change(sandbox, 2, notes="brings nobody")
    assert poke(Appointments, "run-2", **WATCHED) is None


def test_an_older_record_is_met_once_before_it_is_compared(sandbox: Sandbox) -> None:
    long_ago = (sandbox.clock.local() - timedelta(days=3)).isoformat()
    for number in range(len(visits(sandbox))):
        change(sandbox, number, updated_at=long_ago, created_at=long_ago)
    assert poke(Appointments, "run-0", **WATCHED) is None
    visit = change(sandbox, 0, status="Arrived")

    assert changes(poke(Appointments, "run-1", **WATCHED)) == {visit: ("first_seen", [])}
    change(sandbox, 0, status="Complete")
    assert changes(poke(Appointments, "run-2", **WATCHED)) == {visit: ("updated", ["status"])}


def test_a_retry_says_the_same_of_a_record_that_was_changed_unseen_since(sandbox: Sandbox) -> None:
    poke(Appointments, "run-0", start="beginning", **WATCHED)
    visit = change(sandbox, 0, status="Arrived")
    assert changes(poke(Appointments, "run-1", **WATCHED)) == {visit: ("updated", ["status"])}

    # No later run is given it for that.
    change(sandbox, 0, notes="came late")
    assert changes(poke(Appointments, "run-1", **WATCHED)) == {visit: ("updated", ["status"])}
    assert poke(Appointments, "run-2", **WATCHED) is None


def test_what_has_changed_comes_with_the_chosen_fields(sandbox: Sandbox) -> None:
    poke(Appointments, "run-0", start="beginning", **WATCHED)
    visit = change(sandbox, 0, status="Arrived")

    assert poke(Appointments, "run-1", fields=["id"], **WATCHED) == [
        {"id": visit, "_drchrono_change": {"kind": "updated", "fields": ["status"]}}
    ]


def test_a_creation_may_be_left_out(sandbox: Sandbox) -> None:
    poke(Appointments, "run-0", start="beginning", change="updated", **WATCHED)
    booked = sandbox.practice.create("appointments", {"status": "Confirmed"})["id"]
    assert poke(Appointments, "run-1", change="updated", **WATCHED) is None

    sandbox.practice.change("appointments", booked, {"status": "Arrived"})
    assert changes(poke(Appointments, "run-2", change="updated", **WATCHED)) == {booked: ("updated", ["status"])}


def test_another_client_secret_is_said_and_loses_nothing(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    poke(Appointments, "run-0", start="beginning", **WATCHED)
    visit = change(sandbox, 0, status="Arrived")
    monkeypatch.setattr("airflow_provider_drchrono.hooks.drchrono.DrChronoHook.hash_key", b"of another client secret")

    assert changes(poke(Appointments, "run-1", **WATCHED)) == {visit: ("first_seen", [])}
    assert "given as first_seen" in caplog.text


def test_neither_cursor_nor_trigger_holds_a_value(sandbox: Sandbox, store: MemoryCursorStore) -> None:
    poke(Appointments, "run-0", start="beginning", watch_fields=["status", "reason"])
    change(sandbox, 0, reason="Canary-Zq7")
    poke(Appointments, "run-1", watch_fields=["status", "reason"])
    deferred = deferral(Appointments, watch_fields=["status", "reason"])

    assert "Canary" not in store.texts[NAME]
    assert "Canary" not in json.dumps(deferred.trigger.serialize())
    assert deferred.trigger.serialize()[1]["watch_fields"] == ["status", "reason"]


def test_a_trigger_is_silent_about_other_fields(sandbox: Sandbox) -> None:
    poke(Appointments, "run-0", start="beginning", **WATCHED)
    trigger = deferral(Appointments, poke_interval=60, **WATCHED).trigger
    change(sandbox, 1, notes="brings a friend")
    assert event_of(at_once(trigger, ends=time.time() + 1))["status"] == "timeout"

    visit = change(sandbox, 0, status="Arrived")
    event = event_of(at_once(trigger))
    assert (event["status"], event["ids"]) == ("changes", [visit])


def at_once(trigger: Any, **arguments: Any) -> Any:
    return again(trigger, not_before=0.0, **arguments)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        pytest.param({"watch_fields": ["statuss"]}, "no field 'statuss' .did you mean 'status'", id="typo"),
        pytest.param({"watch_fields": "status"}, "watch_fields must be a list of names of fields", id="text"),
        pytest.param({"watch_fields": []}, "watch_fields must be a list of names of fields", id="none"),
        pytest.param({"watch_fields": ["status", "status"]}, "each of them once", id="twice"),
        pytest.param({"watch_fields": ["vitals"]}, "vitals comes? only with verbose=True", id="verbose"),
        pytest.param({"watch_fields": ["status"], "change": "created"}, "needs change='any'", id="created"),
        pytest.param({"watch_fields": ["status"], "since": "2026-01-01"}, "leave since out", id="since"),
    ],
)
def test_what_cannot_work_is_refused_when_the_dag_is_parsed(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidArgumentError, match=problem):
        Appointments(task_id="changes", **arguments)


def test_records_without_an_id_cannot_be_compared() -> None:
    with pytest.raises(InvalidArgumentError, match="the records have no id by which to find earlier values"):
        AuditLog(task_id="changes", watch_fields=["action"])
