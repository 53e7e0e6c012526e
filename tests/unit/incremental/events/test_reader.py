"""Windows that are read as one, and those that are not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.incremental.detection import Position, Window
from airflow_provider_drchrono.incremental.events.reader import merged
from airflow_provider_drchrono.incremental.lists import Change, IncrementalList
from airflow_provider_drchrono.incremental.poller import Selection


def position(number: int) -> Position:
    wall = datetime(2026, 7, 1, 12) + timedelta(minutes=number)
    return Position(wall.replace(tzinfo=UTC), wall, wall, {f"record{number}": "contents"})


def window(first: int, last: int) -> Window:
    return Window(position(first), position(last))


def selection(resource: str = "patients", change: Change = "any") -> Selection:
    return Selection(IncrementalList.of(load(), resource), {}, False, change, timedelta(minutes=2), "now")


MEETING = [window(0, 1), window(1, 2), window(2, 3)]


@pytest.mark.parametrize("change", ["any", "created"])
def test_windows_that_meet_are_read_as_one(change: Change) -> None:
    assert merged(MEETING, selection(change=change)) == [window(0, 3)]


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(selection(change="updated"), id="an update of what was created in the window before"),
        pytest.param(selection("lab_orders"), id="no time of change, so an end knows only its own poll"),
    ],
)
def test_windows_are_read_one_by_one_where_it_makes_a_difference(what: Selection) -> None:
    assert merged(MEETING, what) == MEETING


def test_a_window_between_two_belongs_to_another_run() -> None:
    assert merged([MEETING[0], MEETING[2]], selection()) == [MEETING[0], MEETING[2]]
    other = replace(position(1), fingerprints={})
    assert merged([window(0, 1), Window(other, position(2))], selection()) == [window(0, 1), Window(other, position(2))]
