"""Sensors that wait on a worker or are rescheduled: how long, when the calls of the hour run short."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowRescheduleException

from airflow_provider_drchrono.client.quota.state import QuotaState
from airflow_provider_drchrono.hooks.connection import quota_store_of
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.incremental.cursor import MemoryCursorStore
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.sensors.patients import DrChronoNewOrUpdatedPatientsSensor as Patients
from tests.support.clocked import clocked_sandbox
from tests.support.running import execute

SPENT = 388
"""Of the 400 that sensors may spend; a sensor that polls for the first time takes two more, and leaves ten."""

STRETCHED = 3600 / 10
"""Seconds: ten more polls, and the hour is over."""


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    store = MemoryCursorStore()
    monkeypatch.setattr("airflow_provider_drchrono.state.cursor_store.VariableCursorStore", lambda: store)
    with clocked_sandbox(monkeypatch, tmp_path) as running:
        yield running


def spend(calls: int) -> None:
    """Let others have made so many calls in this hour."""

    def write(state: QuotaState, now: float) -> None:
        state.turn_to(now)
        state.used["others"] = {"another-host": calls}

    quota_store_of(DrChronoHook().settings).update(write)


def context() -> dict[str, Any]:
    ti = SimpleNamespace(dag_id="a_dag", task_id="changes", run_id="a_run", map_index=-1, try_number=1)
    ti.get_first_reschedule_date = lambda _: None
    return {"ti": ti}


def rescheduled_after(**options: Any) -> float:
    """Return the seconds after which a sensor that found nothing is to poll again."""
    with pytest.raises(AirflowRescheduleException) as caught:
        execute(Patients(task_id="changes", **{"poke_interval": 60} | options), context())
    due: datetime = caught.value.reschedule_date
    return (due - datetime.now(UTC)).total_seconds()


def test_a_sensor_keeps_to_its_interval_while_calls_are_plenty(sandbox: Sandbox) -> None:
    assert rescheduled_after() == pytest.approx(60, abs=2)


def test_a_rescheduled_sensor_polls_later_when_they_run_short(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    spend(SPENT)
    caplog.set_level("INFO")

    assert rescheduled_after() == pytest.approx(STRETCHED, abs=2)
    assert "10 calls are left for polling until 10:00 UTC; next poll in 360 seconds" in caplog.text


def test_a_sensor_on_a_worker_sleeps_for_longer(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    spend(SPENT)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        sandbox.practice.create("patients", {"last_name": "Late"})

    monkeypatch.setattr(
        "airflow.sdk.bases.sensor.time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic, time=time.time)
    )

    records = execute(Patients(task_id="changes", mode="poke", poke_interval=60), context())

    assert slept == [pytest.approx(STRETCHED)]
    assert [each["last_name"] for each in records] == ["Late"]


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        pytest.param({"max_wait": 200}, 200, id="longest wait"),
        pytest.param({"timeout": 100.0}, 100, id="timeout"),
        pytest.param({"timeout": 30.0}, 60, id="interval beyond the timeout"),
        pytest.param({"poke_interval": 500}, 500, id="a longer interval"),
    ],
)
def test_it_stays_within_what_the_sensor_was_given(sandbox: Sandbox, options: dict[str, Any], seconds: float) -> None:
    spend(SPENT)

    assert rescheduled_after(**options) == pytest.approx(seconds, abs=2)


def test_growing_intervals_grow_as_airflow_says_and_are_stretched(sandbox: Sandbox) -> None:
    # Airflow draws the first interval between half and the whole of what is given.
    assert rescheduled_after(exponential_backoff=True) == pytest.approx(45, abs=15 + 2)

    sandbox.clock.advance(60)
    # The second poll takes one call, where the first one took two.
    spend(SPENT - 1)
    assert rescheduled_after(exponential_backoff=True) == pytest.approx(STRETCHED - 6, abs=2)
