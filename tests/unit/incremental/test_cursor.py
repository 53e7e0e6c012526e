"""The stored text of a cursor: what survives in it, what does not, and what is said of a spoilt one."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from airflow_provider_drchrono.incremental.cursor import (
    MOST_CHARACTERS,
    Cursor,
    CursorError,
    CursorName,
    CursorSource,
    ForgottenRunError,
    OtherPracticeError,
    cleared_from,
    continued_source,
    read_cursor,
)
from airflow_provider_drchrono.incremental.detection import Position, Window
from airflow_provider_drchrono.incremental.events.event import ChangeEvent
from airflow_provider_drchrono.incremental.window import Practice

UNTIL = datetime(2026, 7, 1, 16, tzinfo=UTC)

# As the documentation promises.
MOST_RUNS = 100
MOST_FORGOTTEN = 1_000


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
    assert len(cursor.forgotten) == MOST_FORGOTTEN
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
        pytest.param('{"version": 0}', "version '0', and this release reads version 1", id="earlier release"),
        pytest.param('{"version": 2}', "version '2', and this release reads version 1", id="later release"),
        pytest.param('{"version": 1}', "nothing under 'positions'", id="too little"),
        pytest.param(
            after_runs(1).dump().replace("2026-07-01T16", "last July"), "values that cannot be read", id="no time"
        ),
        pytest.param(after_runs(1).dump().replace('"at": 1', '"at": 9'), "values that cannot be read", id="no place"),
        pytest.param(
            after_runs(1).dump().replace('"at": 1', '"at": -1'), "values that cannot be read", id="from the end"
        ),
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


def test_the_newest_run_is_kept_however_long_its_positions_are() -> None:
    for count in (1, 2, 3):
        cursor = read_cursor(after_runs(count, fingerprints=8_000).dump())

        assert list(cursor.runs) == [f"run-{count - 1}"]


NORTH = CursorSource("north", "grant-1", "practice_group:1")


def spelt_anew(text: str) -> str:
    """An equal text that is another object, as what was stored is."""
    return "".join(list(text))


def never() -> str:
    raise AssertionError("The API was asked for the practice")


@pytest.mark.parametrize(
    ("known", "connection", "grant", "expected"),
    [
        pytest.param(None, "north", "grant-1", CursorSource("north", "grant-1"), id="a new cursor"),
        pytest.param(NORTH, "north", "grant-1", NORTH, id="nothing has changed"),
        pytest.param(NORTH, "other", "grant-1", replace(NORTH, connection="other"), id="the connection is renamed"),
    ],
)
def test_a_practice_is_not_asked_for_as_long_as_the_grant_is_the_same(
    known: CursorSource | None, connection: str, grant: str, expected: CursorSource
) -> None:
    assert continued_source(known, connection, spelt_anew(grant), never) == expected


@pytest.mark.parametrize("grant", ["grant-2", "grant-0"])
@pytest.mark.parametrize(
    ("practice", "connection"),
    [
        pytest.param("practice_group:1", "north", id="asked for before"),
        pytest.param("practice_group:1", "other", id="by another connection"),
        pytest.param("", "north", id="never asked for, and the connection is the same"),
    ],
)
def test_a_new_grant_of_the_same_practice_continues(practice: str, connection: str, grant: str) -> None:
    found = continued_source(
        replace(NORTH, practice=practice), connection, grant, lambda: spelt_anew("practice_group:1")
    )

    assert found == CursorSource(connection, grant, "practice_group:1")


@pytest.mark.parametrize(
    ("practice", "connection"),
    [
        pytest.param("practice_group:0", "north", id="a smaller text"),
        pytest.param("practice_group:2", "north", id="a greater text"),
        pytest.param("practice_group:2", "other", id="by another connection"),
        pytest.param("", "other", id="never asked for, and another connection"),
    ],
)
def test_a_new_grant_of_another_practice_is_refused(practice: str, connection: str) -> None:
    with pytest.raises(OtherPracticeError, match=f"the connection north, and {connection} leads to practice_group:1"):
        continued_source(replace(NORTH, practice=practice), connection, "grant-2", lambda: "practice_group:1")


def wall_clock(instant: datetime) -> datetime:
    return instant.replace(tzinfo=None) - timedelta(hours=4)


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        pytest.param(9, position(3), id="all positions lie in the past"),
        pytest.param(3, position(3), id="the last is of now"),
        pytest.param(2.5, position(2), id="the last lies in the future"),
        pytest.param(0, position(0), id="only the first does not"),
    ],
)
def test_of_a_clock_that_was_wrong_the_last_position_before_now_is_taken(minutes: float, expected: Position) -> None:
    cursor = after_runs(3)
    asked = cursor.before(UNTIL + timedelta(minutes=minutes), wall_clock)

    assert asked.position == expected
    assert asked.runs == cursor.runs


@pytest.mark.parametrize(
    ("read_at", "until"),
    [
        pytest.param(None, UNTIL - timedelta(days=1), id="nobody knows when"),
        pytest.param(UNTIL - timedelta(days=3), UNTIL - timedelta(days=3), id="zones asked for longer ago"),
        pytest.param(UNTIL - timedelta(hours=1), UNTIL - timedelta(days=1), id="zones asked for within a day"),
        pytest.param(UNTIL + timedelta(days=9), UNTIL - timedelta(days=1), id="zones asked for in the future"),
    ],
)
def test_a_cursor_that_remembers_no_position_before_now_goes_back_a_day(
    read_at: datetime | None, until: datetime
) -> None:
    practice = Practice(("America/New_York",), read_at) if read_at else None
    cursor = Cursor("patients", practice=practice).before(UNTIL, wall_clock)

    assert cursor.position == Position(until, wall_clock(until), wall_clock(until))


def test_the_cursor_of_an_unmapped_task_is_not_an_instance() -> None:
    assert CursorName("a_dag", "changes") == CursorName.of_instance(
        SimpleNamespace(dag_id="a_dag", task_id="changes", map_index=-1)
    )
    assert CursorName.of_instance(SimpleNamespace(dag_id="a_dag", task_id="changes", map_index=None)).map_index == -1
