"""The stored text of a cursor: what survives in it, what does not, and what is said of a spoilt one."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from airflow_provider_drchrono.incremental.cursor import (
    MOST_CHARACTERS,
    MOST_FORGOTTEN,
    MOST_RUNS,
    Cursor,
    CursorError,
    CursorName,
    ForgottenRunError,
    cleared_from,
    read_cursor,
)
from airflow_provider_drchrono.incremental.detection import Position, Window
from airflow_provider_drchrono.incremental.events.event import ChangeEvent
from airflow_provider_drchrono.incremental.window import Practice

UNTIL = datetime(2026, 7, 1, 16, tzinfo=UTC)


def position(number: int, fingerprints: int = 0) -> Position:
    wall = datetime(2026, 7, 1, 12) + timedelta(minutes=number)
    seen = {f"{number:04}{number_of_one:04}": "contents" for number_of_one in range(fingerprints)}
    return Position(UNTIL + timedelta(minutes=number), wall, wall, seen)


def after_runs(count: int, fingerprints: int = 0) -> Cursor:
    cursor = Cursor("patients", practice=Practice(("America/New_York",), UNTIL)).moved_to(position(0, fingerprints))
    for number in range(count):
        cursor = cursor.with_delivery(f"run-{number}", position(number + 1, fingerprints))
    return cursor


def with_events(count: int) -> Cursor:
    """The cursor of an asset's watcher after so many events, the last of which is not acknowledged."""
    cursor = after_runs(0)
    for number in range(1, count + 1):
        after = position(number)
        ids = tuple(range(number))
        cursor = cursor.with_event(
            ChangeEvent("an asset", "patients", None, after.until.isoformat(), number, ids), after
        )
    return cursor


@pytest.mark.parametrize(
    "cursor",
    [
        pytest.param(after_runs(3, fingerprints=2), id="of a sensor"),
        pytest.param(with_events(3), id="of an asset"),
        pytest.param(with_events(3).acknowledged(), id="of an asset, acknowledged"),
    ],
)
def test_everything_survives(cursor: Cursor) -> None:
    assert read_cursor(cursor.dump(), "patients") == cursor


def test_an_event_is_kept_until_it_is_acknowledged_and_its_window_for_longer() -> None:
    cursor = with_events(2)

    assert cursor.pending_event is not None
    assert cursor.pending_event.count == 2
    assert cursor.acknowledged().pending_event is None
    window = cursor.acknowledged().delivered_to(cursor.pending_event.until)
    assert window is not None
    assert (window.before, window.after) == (position(1), position(2))
    assert cursor.restarted("2026-01-01").pending_event == cursor.pending_event


def test_of_many_events_the_oldest_are_forgotten() -> None:
    cursor = read_cursor(with_events(MOST_RUNS + 3).dump())

    assert len(cursor.runs) == MOST_RUNS
    with pytest.raises(ForgottenRunError):
        cursor.delivered_to(position(1).until.isoformat())
    assert cursor.pending_event is not None
    assert cursor.pending_event.until in cursor.runs


@pytest.mark.parametrize(
    ("name", "told", "words"),
    [
        pytest.param(CursorName("a_dag", "changes"), "a_dag.changes", "a_dag changes", id="task"),
        pytest.param(CursorName("a_dag", "changes", 0), "a_dag.changes[0]", "a_dag changes --map-index 0", id="mapped"),
        pytest.param(CursorName.of_asset("patients"), "asset patients", "--asset patients", id="asset"),
        pytest.param(CursorName.of_asset("my asset"), "asset my asset", "--asset 'my asset'", id="asset with a space"),
    ],
)
def test_a_name_is_told_to_people_and_to_a_shell(name: CursorName, told: str, words: str) -> None:
    assert (str(name), name.arguments) == (told, words)


def test_runs_that_meet_share_a_position() -> None:
    assert len(json.loads(after_runs(3).dump())["positions"]) == 4


def test_many_runs_are_forgotten_but_not_taken_for_new() -> None:
    cursor = read_cursor(after_runs(MOST_RUNS + 5).dump())

    assert len(cursor.runs) == MOST_RUNS
    assert cursor.delivered_to("run-never") is None
    assert cursor.delivered_to(f"run-{MOST_RUNS}") is not None
    with pytest.raises(ForgottenRunError, match="give since and until"):
        cursor.delivered_to("run-2")


def after_stored_runs(count: int) -> Cursor:
    """The cursor after so many runs, stored and read again on the way."""
    cursor = after_runs(0)
    for number in range(count):
        cursor = cursor.with_delivery(f"run-{number}", position(number + 1))
        if number % 50 == 0:
            cursor = read_cursor(cursor.dump())
    return read_cursor(cursor.dump())


def test_no_run_of_the_last_thousand_is_taken_for_new() -> None:
    count = MOST_RUNS + MOST_FORGOTTEN + 30
    cursor = after_stored_runs(count)

    for number in range(count - MOST_RUNS, count):
        assert cursor.delivered_to(f"run-{number}") == Window(position(number), position(number + 1))
    for number in range(count - MOST_RUNS - MOST_FORGOTTEN, count - MOST_RUNS):
        with pytest.raises(ForgottenRunError):
            cursor.delivered_to(f"run-{number}")
    assert len(cursor.dump()) < MOST_CHARACTERS / 4


def test_a_cleared_run_that_is_older_than_all_memory_is_not_taken_for_new() -> None:
    cursor = after_stored_runs(MOST_RUNS + MOST_FORGOTTEN + 1)
    oldest_remembered = position(MOST_FORGOTTEN + 2).until

    for due in (UNTIL, oldest_remembered):
        with pytest.raises(ForgottenRunError, match="give since and until"):
            cursor.delivered_to("run-0", due)
    assert cursor.delivered_to("never given anything", oldest_remembered + timedelta(minutes=1)) is None
    assert cursor.delivered_to("a backfill that runs for the first time", None) is None
    assert after_runs(MOST_RUNS + 5).delivered_to("never given anything", UNTIL) is None, "nothing was forgotten so far"


@pytest.mark.parametrize(
    ("dag_run", "expected"),
    [
        pytest.param(SimpleNamespace(run_after=UNTIL, clear_number=2), UNTIL, id="cleared"),
        pytest.param(SimpleNamespace(run_after=UNTIL, clear_number=0), None, id="first time"),
        pytest.param(SimpleNamespace(run_after=UNTIL), None, id="not told"),
        pytest.param(None, None, id="no run"),
    ],
)
def test_only_a_cleared_run_may_be_older_than_all_memory(dag_run: object, expected: datetime | None) -> None:
    assert cleared_from(dag_run) == expected


def test_runs_that_do_not_fit_into_the_text_are_not_taken_for_new() -> None:
    cursor = read_cursor(after_runs(60, fingerprints=1_000).dump())

    assert 1 <= len(cursor.runs) < 60
    assert list(cursor.runs) == [f"run-{number}" for number in range(60 - len(cursor.runs), 60)]
    for number in range(60 - len(cursor.runs)):
        with pytest.raises(ForgottenRunError):
            cursor.delivered_to(f"run-{number}")


def test_the_text_stays_small() -> None:
    text = after_runs(60, fingerprints=1_000).dump()

    assert len(text) < MOST_CHARACTERS
    assert read_cursor(text).position == position(60, 1_000)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("", "0 characters of text that is not JSON", id="empty"),
        pytest.param('{"version": 1', "13 characters of text that is not JSON", id="cut off"),
        pytest.param("[]", "JSON of type list without a version", id="another thing"),
        pytest.param('{"version": 2}', "version '2', and this release reads version 1", id="later release"),
        pytest.param('{"version": 1}', "nothing under 'positions'", id="too little"),
        pytest.param(
            after_runs(1).dump().replace("2026-07-01T16", "last July"), "values that cannot be read", id="no time"
        ),
        pytest.param(after_runs(1).dump().replace('"at": 1', '"at": 9'), "values that cannot be read", id="no place"),
        pytest.param(after_runs(1).dump().replace("+00:00", ""), "values that cannot be read", id="no zone"),
        pytest.param(
            with_events(1).dump().replace('"count": 1', '"count": "1"'),
            "values that cannot be read",
            id="no event",
        ),
    ],
)
def test_a_spoilt_cursor_says_what_was_found(text: str, found: str) -> None:
    with pytest.raises(CursorError, match=found):
        read_cursor(text)


def test_the_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(CursorError, match="the cursor of patients, not of tasks"):
        read_cursor(after_runs(1).dump(), "tasks")


def test_a_cursor_that_was_set_before_any_poll_is_of_any_list() -> None:
    cursor = Cursor("").restarted("2026-01-01")

    assert read_cursor(cursor.dump(), "patients") == read_cursor(cursor.dump(), "tasks") == cursor


def test_a_restarted_cursor_still_knows_what_runs_were_given() -> None:
    cursor = after_runs(2).restarted("2026-01-01")

    assert (cursor.position, cursor.start) == (None, "2026-01-01")
    assert read_cursor(cursor.dump()).delivered_to("run-1") is not None
