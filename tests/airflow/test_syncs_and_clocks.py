"""What a sync makes of a wrong clock: it reads a little twice, says so, and never skips what changed."""

import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.sandbox import Sandbox
from tests.airflow.test_warehouse_sync import fetch, home, practice, sync
from tests.support.dates import ODD_DATES, DateHeader

pytestmark = pytest.mark.airflow
__all__ = ["fetch", "home", "practice"]

Fetch = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture
def date_header(monkeypatch: pytest.MonkeyPatch) -> DateHeader:
    return DateHeader(monkeypatch)


def change(sandbox: Sandbox, city: str) -> None:
    sandbox.practice.change("patients", sandbox.practice.records("patients")[0]["id"], {"city": city})


def cities(fetch: Fetch) -> list[str]:
    return [city for (city,) in fetch("SELECT city FROM patients ORDER BY id LIMIT 1")]


@pytest.mark.parametrize("text", ODD_DATES)
def test_an_answer_with_a_wrong_clock_hides_no_change(
    practice: Callable[..., Sandbox], fetch: Fetch, date_header: DateHeader, text: str
) -> None:
    sandbox = practice(patients=2)
    sync()
    change(sandbox, "Utica")
    date_header.set(text)
    sync(run_id="run 2")
    date_header.set(None)
    change(sandbox, "Ithaca")

    sync(run_id="run 3")

    assert cities(fetch) == ["Ithaca"]
    ((watermark,),) = fetch("SELECT watermark FROM _drchrono_sync")
    assert datetime.fromisoformat(watermark) <= datetime.now(UTC)


@pytest.mark.parametrize("text", ODD_DATES)
def test_a_first_sync_survives_a_wrong_clock(
    practice: Callable[..., Sandbox], fetch: Fetch, date_header: DateHeader, text: str
) -> None:
    sandbox = practice(patients=2)
    date_header.set(text)
    assert sync()["rows_read"] == 2
    date_header.set(None)
    change(sandbox, "Ithaca")

    sync(run_id="run 2")

    assert cities(fetch) == ["Ithaca"]


def test_clocks_that_differ_by_more_than_a_minute_are_told(
    practice: Callable[..., Sandbox], date_header: DateHeader, caplog: pytest.LogCaptureFixture
) -> None:
    practice(patients=1)
    sync()
    assert "clock shows" not in caplog.text

    date_header.set(datetime.now(UTC) + timedelta(minutes=2))
    sync(run_id="run 2")

    assert "patients: DrChrono's clock shows" in caplog.text


def test_a_watermark_in_the_future_is_set_back_with_a_warning(
    practice: Callable[..., Sandbox], fetch: Fetch, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox = practice(patients=3)
    sync()
    with closing(sqlite3.connect(home / "warehouse.db")) as connection:
        connection.execute("UPDATE _drchrono_sync SET watermark = '2200-01-01 00:00:00+00:00'")
        connection.execute("UPDATE patients SET _drchrono_synced_at = '2200-01-01 00:00:00+00:00'")
        connection.commit()
    change(sandbox, "Utica")

    result = sync(run_id="run 2")

    assert result["rows_read"] == 3
    assert cities(fetch) == ["Utica"]
    assert "The stored watermark of patients lies in the future, at 2200-01-01" in caplog.text
    ((watermark,),) = fetch("SELECT watermark FROM _drchrono_sync")
    assert datetime.fromisoformat(watermark) <= datetime.now(UTC)
    caplog.clear()
    sync(run_id="run 3")
    assert "future" not in caplog.text


def test_a_worker_whose_clock_is_behind_does_not_take_the_watermark_for_the_future(
    practice: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    practice(patients=3)
    sync()
    behind = datetime.now(UTC) - timedelta(minutes=5)
    monkeypatch.setattr("airflow_provider_drchrono.transfers.sync.own_clock", lambda: behind)

    assert sync(run_id="run 2")["rows_read"] == 0
    assert "future" not in caplog.text


def test_the_watermark_that_is_returned_is_the_one_that_is_stored(
    practice: Callable[..., Sandbox], fetch: Fetch, date_header: DateHeader
) -> None:
    practice(patients=1)
    first = sync()
    date_header.set(datetime.now(UTC) - timedelta(hours=3))

    second = sync(run_id="run 2")
    third = sync(run_id="run 3", full_refresh=True)

    assert second["watermark"] == first["watermark"]
    assert third["watermark"] < first["watermark"]
    ((stored,),) = fetch("SELECT watermark FROM _drchrono_sync")
    assert datetime.fromisoformat(stored) == datetime.fromisoformat(third["watermark"])


def test_times_of_another_zone_than_the_connections_are_told(
    practice: Callable[..., Sandbox], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    sandbox = practice(patients=2, extra={"timezone": "America/Los_Angeles"})
    sync()
    caplog.clear()
    change(sandbox, "Utica")

    sync(run_id="run 2")

    assert "patients: a record changed at " in caplog.text
    assert "in America/Los_Angeles" in caplog.text


def test_a_read_of_everything_tells_of_changes_that_no_other_read_would_show(
    practice: Callable[..., Sandbox], fetch: Fetch, caplog: pytest.LogCaptureFixture
) -> None:
    """The practice is in New York and the connection says UTC: what changes is always five hours too old."""
    sandbox = practice(patients=5, extra={"timezone": "UTC"})
    sync()
    change(sandbox, "Utica")
    assert sync(run_id="run 2")["rows_read"] == 0

    assert sync(run_id="run 3", full_refresh=True)["rows_changed"] == 1

    assert "patients: 1 records are new or have changed, and bear times before" in caplog.text
    assert "a zone to the west of UTC" in caplog.text


def test_a_read_of_everything_without_anything_late_says_nothing(
    practice: Callable[..., Sandbox], caplog: pytest.LogCaptureFixture
) -> None:
    sandbox = practice(patients=5)
    sync()
    change(sandbox, "Utica")

    assert sync(run_id="run 2", full_refresh=True)["rows_changed"] == 1
    assert sync("appointments", run_id="run 3", full_refresh=True)["rows_new"] > 0
    assert "are new or have changed" not in caplog.text
