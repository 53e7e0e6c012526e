"""Explicit windows: when they are over, and what belongs to them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_drchrono.incremental.cursor import MemoryCursorStore
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.sensors.patients import DrChronoNewOrUpdatedPatientsSensor as Patients
from tests.support.running import connected_sandbox
from tests.unit.sensors.test_sensors import poke

# Clocks in New York go from 2:00 back to 1:00 at 06:00 UTC on this day.
SET_BACK = datetime(2026, 11, 1, 6, tzinfo=UTC)


def at(patch: pytest.MonkeyPatch, moment: datetime) -> None:
    patch.setattr("airflow_provider_drchrono.sensors.base.incremental.utcnow", lambda: moment)


def test_a_window_that_ends_in_an_hour_that_comes_twice_ends_the_second_time(
    monkeypatch: pytest.MonkeyPatch, store: MemoryCursorStore
) -> None:
    window: dict[str, Any] = {"since": "2026-10-31T00:00:00", "until": "2026-11-01T01:30:00", "lookback": 120}
    with connected_sandbox(monkeypatch, patients=1, start=SET_BACK, frozen=True):
        for minutes, is_over in ((-28, False), (31, False), (32, True)):
            at(monkeypatch, SET_BACK + timedelta(minutes=minutes))
            assert (poke(Patients, **window) is not None) is is_over


def test_a_window_of_creations_holds_who_was_changed_after_it(sandbox: Sandbox) -> None:
    times = {"created_at": "2026-01-15T08:00:00", "updated_at": "2026-01-20T08:00:00"}
    inside = sandbox.practice.create("patients", {"last_name": "Inside"} | times)["id"]
    later = {"created_at": "2026-01-16T00:00:00", "updated_at": "2026-01-20T08:00:00"}
    sandbox.practice.create("patients", {"last_name": "Later"} | later)

    found = poke(Patients, change="created", since="2026-01-15", until="2026-01-16")

    assert [each["id"] for each in found] == [inside]


def test_a_worker_whose_clock_is_a_little_behind_is_no_reason_to_fail(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    present = sandbox.clock.now().replace(microsecond=0)
    at(monkeypatch, present - timedelta(seconds=90))

    assert poke(Patients, since=present) is None
    with pytest.raises(AirflowFailException, match="since is in the future"):
        poke(Patients, since=present + timedelta(seconds=60))
