"""The stored text of a cursor: what survives in it, what does not, and what is said of a spoilt one."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_drchrono.changes.clock import Practice
from airflow_provider_drchrono.changes.cursor import (
    MOST_CHARACTERS,
    MOST_RUNS,
    Cursor,
    CursorError,
    ForgottenRunError,
    read_cursor,
)
from airflow_provider_drchrono.changes.reading import Position

UNTIL = datetime(2026, 7, 1, 16, tzinfo=UTC)


def position(number: int, marks: int = 0) -> Position:
    wall = datetime(2026, 7, 1, 12) + timedelta(minutes=number)
    seen = {f"{number:04}{mark:04}": "contents" for mark in range(marks)}
    return Position(UNTIL + timedelta(minutes=number), wall, wall, seen)


def after_runs(count: int, marks: int = 0) -> Cursor:
    cursor = Cursor("patients", practice=Practice(("America/New_York",), UNTIL)).moved(position(0, marks))
    for number in range(count):
        cursor = cursor.gave(f"run-{number}", position(number + 1, marks))
    return cursor


def test_everything_survives() -> None:
    cursor = after_runs(3, marks=2)

    assert read_cursor(cursor.dump(), "patients") == cursor


def test_runs_that_meet_share_a_position() -> None:
    assert len(json.loads(after_runs(3).dump())["positions"]) == 4


def test_many_runs_are_forgotten_but_not_taken_for_new() -> None:
    cursor = read_cursor(after_runs(MOST_RUNS + 5).dump())

    assert len(cursor.runs) == MOST_RUNS
    assert cursor.given_to("run-never") is None
    assert cursor.given_to(f"run-{MOST_RUNS}") is not None
    with pytest.raises(ForgottenRunError, match="give since and until"):
        cursor.given_to("run-2")


def test_the_text_stays_small() -> None:
    text = after_runs(60, marks=1_000).dump()

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
    ],
)
def test_a_spoilt_cursor_says_what_was_found(text: str, found: str) -> None:
    with pytest.raises(CursorError, match=found):
        read_cursor(text)


def test_the_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(CursorError, match="the cursor of patients, not of tasks"):
        read_cursor(after_runs(1).dump(), "tasks")


def test_a_restarted_cursor_still_knows_what_runs_were_given() -> None:
    cursor = after_runs(2).restarted("2026-01-01")

    assert (cursor.position, cursor.start) == (None, "2026-01-01")
    assert read_cursor(cursor.dump()).given_to("run-1") is not None
