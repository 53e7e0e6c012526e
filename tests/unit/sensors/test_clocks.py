"""What sensors remember where a clock is wrong: never a time ahead of either clock, so that no change is skipped."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_drchrono.incremental.cursor import CursorName, MemoryCursorStore, read_cursor
from airflow_provider_drchrono.incremental.detection import Position
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.sensors.patients import DrChronoNewOrUpdatedPatientsSensor as Patients
from tests.support.dates import ODD_DATES, DateHeader
from tests.support.running import unlimited
from tests.unit.sensors.test_sensors import poke

NAME = CursorName("a_dag", "changes")


@pytest.fixture
def date_header(monkeypatch: pytest.MonkeyPatch) -> DateHeader:
    return DateHeader(monkeypatch)


def change(sandbox: Sandbox, city: str) -> None:
    sandbox.practice.change("patients", sandbox.practice.records("patients")[0]["id"], {"city": city})


def found(records: list[dict[str, Any]] | None) -> list[str]:
    return [each["city"] for each in records or []]


def until(store: MemoryCursorStore) -> datetime:
    position = read_cursor(store.texts[NAME]).position
    assert position is not None
    return position.until


@pytest.mark.parametrize("text", ODD_DATES)
@pytest.mark.parametrize("first", [True, False], ids=["the first poll", "a later poll"])
def test_an_answer_with_a_wrong_clock_hides_no_change(
    sandbox: Sandbox, store: MemoryCursorStore, date_header: DateHeader, text: str, first: bool
) -> None:
    if not first:
        assert poke(Patients) is None
        change(sandbox, "Utica")
    date_header.set(text)
    assert found(poke(Patients, "run-1", max_records=4)) == ([] if first else ["Utica"])
    assert until(store) <= datetime.now(UTC)
    date_header.set(None)
    change(sandbox, "Ithaca")

    assert "Ithaca" in found(poke(Patients, "run-2"))


def into_the_future(store: MemoryCursorStore) -> None:
    cursor = read_cursor(store.texts[NAME])
    assert cursor.position is not None
    ahead = Position(datetime(2200, 1, 1, tzinfo=UTC), datetime(2200, 1, 1), datetime(2200, 1, 1))
    cursor = cursor.with_delivery("at the wrong time", ahead) if cursor.runs else cursor.moved_to(ahead)
    store.texts[NAME] = cursor.dump()


@pytest.mark.parametrize("zone", ["America/New_York", None])
def test_a_cursor_in_the_future_is_set_back_with_a_warning(
    sandbox: Sandbox,
    store: MemoryCursorStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    zone: str | None,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox, timezone=zone))
    assert poke(Patients) is None
    into_the_future(store)
    change(sandbox, "Utica")

    assert found(poke(Patients, "run-2")) == ["Utica"]

    assert "a_dag.changes: the stored cursor lies in the future, at 2200-01-01" in caplog.text
    assert "airflow drchrono cursor set a_dag changes --to TIME" in caplog.text
    assert until(store) <= datetime.now(UTC)
    caplog.clear()
    assert poke(Patients, "run-3") is None
    assert "future" not in caplog.text


def test_a_cursor_that_is_set_back_goes_on_from_the_last_time_that_can_be_true(
    sandbox: Sandbox, store: MemoryCursorStore
) -> None:
    assert poke(Patients) is None
    change(sandbox, "Utica")
    assert found(poke(Patients, "run-1")) == ["Utica"]
    into_the_future(store)
    change(sandbox, "Ithaca")

    assert found(poke(Patients, "run-2")) == ["Ithaca"]


def test_a_worker_whose_clock_is_behind_does_not_take_the_cursor_for_the_future(
    sandbox: Sandbox, store: MemoryCursorStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert poke(Patients) is None
    stored = until(store)
    behind = datetime.now(UTC) - timedelta(minutes=5)
    monkeypatch.setattr("airflow_provider_drchrono.sensors.base.incremental.utcnow", lambda: behind)
    change(sandbox, "Utica")

    assert found(poke(Patients, "run-2")) == ["Utica"]
    assert "future" not in caplog.text
    assert until(store) >= stored


@pytest.mark.parametrize(
    ("ahead", "told"), [(timedelta(seconds=50), False), (timedelta(seconds=70), True), (-timedelta(hours=1), True)]
)
def test_clocks_that_differ_by_more_than_a_minute_are_told(
    sandbox: Sandbox, date_header: DateHeader, caplog: pytest.LogCaptureFixture, ahead: timedelta, told: bool
) -> None:
    date_header.set(datetime.now(UTC) + ahead)

    poke(Patients)

    assert ("DrChrono's clock shows" in caplog.text) == told


def test_times_of_another_zone_than_the_connections_are_told(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    change(sandbox, "Utica")
    poke(Patients, "run-1", start="beginning")
    assert "of another zone" not in caplog.text

    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox, timezone="America/Los_Angeles"))
    change(sandbox, "Ithaca")
    poke(Patients, "run-2")

    assert "times of the records are those of another zone" in caplog.text


def test_a_lost_create_does_not_trust_a_clock_of_the_future(date_header: DateHeader) -> None:
    from airflow_provider_drchrono.state.sent_marker import SentCreate

    checked_at: Callable[[datetime], datetime | None] = lambda moment: SentCreate.of((), moment, "").checked_at  # noqa: E731
    past = datetime(2026, 1, 15, tzinfo=UTC)

    assert checked_at(past) == past
    ahead = checked_at(datetime(2200, 1, 1, tzinfo=UTC))
    assert ahead is not None
    assert ahead <= datetime.now(UTC)
