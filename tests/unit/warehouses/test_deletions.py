"""What a read may conclude about rows that it did not see, and when a whole list is read for that."""

from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_drchrono.catalog import Deletions, load
from airflow_provider_drchrono.incremental.window import Practice, SyncState
from airflow_provider_drchrono.warehouses.deletions import CompleteEvery, complete_is_due, is_believable

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
TELLS = Deletions(flag="deleted_flag", shown_by="show_archived")
ARCHIVED = Deletions(flag="archived")


@pytest.mark.parametrize(
    ("known", "missing", "believed"),
    [
        pytest.param(0, 0, True, id="an empty table"),
        pytest.param(60, 0, True, id="all seen"),
        pytest.param(60, 60, False, id="nothing seen"),
        pytest.param(1, 1, False, id="the only one not seen"),
        pytest.param(12, 3, True, id="fewer than few"),
        pytest.param(12, 10, True, id="few"),
        pytest.param(60, 11, False, id="many of few"),
        pytest.param(1000, 100, True, id="a tenth"),
        pytest.param(1000, 101, False, id="more than a tenth"),
    ],
)
def test_a_read_is_believed_if_it_saw_most(known: int, missing: int, believed: bool) -> None:
    assert is_believable(known, missing) == believed


def state(completed: timedelta | None, start: datetime | None = None) -> SyncState:
    return SyncState(NOW, start, Practice(("UTC",), None), None if completed is None else NOW - completed)


@pytest.mark.parametrize(
    ("known", "deletions", "every", "due"),
    [
        pytest.param(None, None, timedelta(0), False, id="the first read is a whole one"),
        pytest.param(state(timedelta(days=7)), None, "auto", True, id="after a week"),
        pytest.param(state(timedelta(days=6, hours=23)), None, "auto", False, id="before"),
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
    assert complete_is_due(known, deletions, every, NOW) == due


def test_lists_that_tell_of_every_deletion() -> None:
    found = {each.name for each in load().resources.values() if each.deletions and each.deletions.come_as_changes}
    assert found == {"appointments", "appointments_list", "line_items"}
