"""What a read may conclude about rows that it did not see, and when a whole list is read for that."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from airflow_provider_drchrono.catalog import Deletions, load
from airflow_provider_drchrono.incremental.window import Practice, SyncState
from airflow_provider_drchrono.transfers.forecast import LARGE_PRACTICE, forecast
from airflow_provider_drchrono.warehouses.deletions import (
    CompleteEvery,
    complete_is_due,
    last_turn,
)

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
TELLS = Deletions(flag="deleted_flag", shown_by="show_archived")
ARCHIVED = Deletions(flag="archived")


def state(completed: timedelta | None, start: datetime | None = None) -> SyncState:
    return SyncState(NOW, start, Practice(("UTC",), None), None if completed is None else NOW - completed)


@pytest.mark.parametrize(
    ("known", "deletions", "every", "due"),
    [
        pytest.param(None, None, timedelta(0), False, id="the first read is a whole one"),
        pytest.param(state(timedelta(days=7)), None, "auto", True, id="after a week"),
        pytest.param(state(timedelta(hours=23)), None, "auto", False, id="it has just been read whole"),
        pytest.param(state(timedelta(days=7)), ARCHIVED, "auto", True, id="archived records are not all deletions"),
        pytest.param(state(timedelta(days=70)), TELLS, "auto", False, id="the list tells of deletions"),
        pytest.param(state(timedelta(days=70)), None, None, False, id="never"),
        pytest.param(state(timedelta(hours=1)), TELLS, timedelta(hours=1), True, id="as it was said"),
        pytest.param(state(None), None, "auto", True, id="never read whole"),
        pytest.param(state(None, datetime(2026, 1, 1)), None, timedelta(0), False, id="a sync with a start"),
    ],
)
def test_a_whole_read_is_due(
    known: SyncState | None, deletions: Deletions | None, every: CompleteEvery, due: bool
) -> None:
    assert complete_is_due("patients", known, deletions, every, NOW) == due


def test_a_list_is_read_whole_once_a_week_and_never_later() -> None:
    names = [each.name for each in load().resources.values() if each.incremental]
    for name in names:
        for first in range(0, 7 * 24, 5):
            completed = [NOW + timedelta(hours=first)]
            for hour in range(first, first + 6 * 7 * 24):
                now = NOW + timedelta(hours=hour)
                if complete_is_due(name, replace(state(None), completed_at=completed[-1]), None, "auto", now):
                    completed.append(now)
            apart = [later - earlier for earlier, later in pairwise(completed)]
            assert timedelta(days=1) <= apart[0] <= timedelta(days=7), name
            assert max(apart) <= timedelta(days=7), name
            assert set(apart[2:]) == {timedelta(days=7)}, name


def test_lists_are_not_read_whole_on_the_same_day() -> None:
    """What a large practice takes in a week, on its busiest day: hours of quota if all lists had the same."""
    planned = forecast(load(), list(LARGE_PRACTICE), LARGE_PRACTICE, calls_per_hour=None)
    days: Counter[int] = Counter()
    for each in planned.lists:
        days[last_turn(each.resource, NOW).weekday()] += each.weekly

    assert planned.weekly == days.total() == 2_468
    assert max(days.values()) <= 838, "the transactions alone take 805"


def test_lists_that_tell_of_every_deletion() -> None:
    found = {each.name for each in load().resources.values() if each.deletions and each.deletions.come_as_changes}
    assert found == {"appointments", "appointments_list", "line_items"}
