"""What becomes of the task of a sensor: it waits, is retried or skipped as its author chose, and says what for."""

import logging
import re
import time
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException, AirflowSkipException, TaskDeferred

from airflow_provider_drchrono.client import DrChronoError
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from airflow_provider_drchrono.sensors.patients import DrChronoNewOrUpdatedPatientsSensor as Patients
from airflow_provider_drchrono.triggers.incremental import DrChronoIncrementalTrigger, PollEvent
from tests.support.running import execute
from tests.unit.sensors.test_sensors import again, context, deferral, event_of


def in_task(mode: str) -> dict[str, Any]:
    made = context()
    made["ti"].get_first_reschedule_date = lambda context: None
    return made


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
@pytest.mark.parametrize("option", ["never_fail", "soft_fail"])
def test_a_spent_quota_makes_a_sensor_wait_and_never_skips_it(sandbox: Sandbox, mode: str, option: str) -> None:
    sandbox.faults.add(Fault(kind="throttle", seconds=1200, times=None))
    sensor = Patients(task_id="changes", mode=mode, **{option: True})

    with pytest.raises(AirflowRescheduleException) as caught:
        execute(sensor, in_task(mode))

    assert caught.value.reschedule_date.timestamp() > time.time() + 600


def test_what_is_to_be_skipped_is_skipped(sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault(kind="status", status=403, resource="patients", times=None))

    with pytest.raises(AirflowSkipException):
        execute(Patients(task_id="changes", mode="poke", never_fail=True), in_task("poke"))


@pytest.mark.parametrize(("transient", "outcome"), [(True, DrChronoError), (False, AirflowSkipException)])
def test_a_fault_in_the_triggerer_that_may_pass_is_retried_with_soft_fail(
    transient: bool, outcome: type[Exception]
) -> None:
    event = PollEvent("failed", "patients", message="the API answered 500", transient=transient).payload()
    sensor = Patients(task_id="changes", deferrable=True, soft_fail=True)

    # What Airflow calls when the trigger has fired: it decides what is skipped.
    with pytest.raises(outcome, match=r"500|soft_fail"):
        sensor.resume_execution("execute_complete", {"event": event}, context())


def test_with_never_fail_no_fault_in_the_triggerer_fails_the_task() -> None:
    event = PollEvent("failed", "patients", message="the API answered 500", transient=True).payload()
    sensor = Patients(task_id="changes", deferrable=True, never_fail=True)

    with pytest.raises(AirflowSkipException):
        sensor.resume_execution("execute_complete", {"event": event}, context())


def test_an_error_in_the_triggerer_that_is_not_ours_is_retried_and_told_without_its_words(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = again(deferral(Patients).trigger)

    async def broken(*arguments: Any, **options: Any) -> None:
        raise OSError("a patient's name")

    monkeypatch.setattr(DrChronoIncrementalTrigger, "wait_for_changes", broken)
    event = event_of(trigger)

    assert (event["status"], event["transient"]) == ("failed", True)
    assert "OSError in " in event["message"]
    assert "patient's" not in event["message"]


def test_a_connection_that_is_not_there_is_final_in_the_triggerer_too(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = again(deferral(Patients).trigger)
    monkeypatch.delenv("AIRFLOW_CONN_DRCHRONO_DEFAULT")

    event = event_of(trigger)

    assert (event["status"], event["transient"]) == ("failed", False)
    with pytest.raises(AirflowFailException, match="drchrono_default"):
        Patients(task_id="changes").execute_complete(context(), event)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, r"nothing is new since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC .*cursor reset a_dag changes\); next look in "),
        ({"since": "2026-01-01", "until": "2030-01-02"}, r"the window ends at 2030-01-02 00:00:00 .*; next look in "),
        ({"since": "2026-01-01", "filters": {"last_name": "nobody"}}, r"nothing has changed since 2026-01-01 00:00:00"),
    ],
)
@pytest.mark.parametrize("deferrable", [False, True])
def test_a_sensor_that_waits_says_what_for(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, options: dict[str, Any], line: str, deferrable: bool
) -> None:
    caplog.set_level(logging.INFO)
    sensor = Patients(task_id="changes", deferrable=deferrable, **options)

    with pytest.raises((AirflowRescheduleException, TaskDeferred)):
        execute(sensor, in_task("reschedule"))

    assert [each for each in caplog.messages if re.search(line, each)]
