"""From when on a sync reads: nothing that changed may be missed, whatever clocks do."""

from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_drchrono.incremental.wall_clock import Practice
from airflow_provider_drchrono.transfers.window import CATCH_UP_AFTER, Window, is_stale, next_window
from airflow_provider_drchrono.warehouses.sync_state import SyncState

NEW_YORK = "America/New_York"
LOS_ANGELES = "America/Los_Angeles"
MINUTE = timedelta(minutes=1)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


ASKED = utc(2026, 1, 14, 12)
WATERMARK = utc(2026, 1, 15, 12)
NAMED = Practice((NEW_YORK,), None)
FOUND = Practice((NEW_YORK,), ASKED)
START = datetime(2024, 1, 1)


@pytest.mark.parametrize(
    ("memory", "practice", "start", "afresh", "expected"),
    [
        pytest.param(None, NAMED, None, False, Window(None, None), id="first run"),
        pytest.param(None, NAMED, START, False, Window(START, START), id="first run from a start"),
        pytest.param(
            SyncState(WATERMARK, None, NAMED),
            NAMED,
            None,
            False,
            Window(datetime(2026, 1, 15, 6, 59), None),
            id="next run",
        ),
        pytest.param(SyncState(WATERMARK, None, NAMED), NAMED, None, True, Window(None, None), id="full refresh"),
        pytest.param(
            SyncState(WATERMARK, START, NAMED), NAMED, START, True, Window(START, START), id="full refresh from a start"
        ),
        pytest.param(
            SyncState(WATERMARK, START, NAMED),
            NAMED,
            START,
            False,
            Window(datetime(2026, 1, 15, 6, 59), START),
            id="next run from the same start",
        ),
        pytest.param(
            SyncState(WATERMARK, START, NAMED),
            NAMED,
            datetime(2025, 1, 1),
            False,
            Window(datetime(2026, 1, 15, 6, 59), START),
            id="a later start changes nothing",
        ),
        pytest.param(
            SyncState(WATERMARK, START, NAMED),
            NAMED,
            datetime(2023, 1, 1),
            False,
            Window(datetime(2023, 1, 1), datetime(2023, 1, 1)),
            id="an earlier start is read",
        ),
        pytest.param(
            SyncState(WATERMARK, START, NAMED), NAMED, None, False, Window(None, None), id="a start that is taken away"
        ),
        pytest.param(
            SyncState(WATERMARK, None, Practice((NEW_YORK, LOS_ANGELES), ASKED)),
            FOUND,
            None,
            False,
            Window(datetime(2026, 1, 15, 6, 59), None),
            id="a zone is gone",
        ),
        pytest.param(
            SyncState(WATERMARK, None, FOUND),
            Practice((LOS_ANGELES, NEW_YORK), WATERMARK),
            None,
            False,
            Window(datetime(2026, 1, 14, 3, 59), None),
            id="a new zone reads again since zones were last asked for",
        ),
        pytest.param(
            SyncState(WATERMARK, None, NAMED),
            Practice((LOS_ANGELES,), None),
            None,
            False,
            Window(None, None),
            id="another zone named by the connection reads everything",
        ),
    ],
)
def test_next_window(
    memory: SyncState | None, practice: Practice, start: datetime | None, afresh: bool, expected: Window
) -> None:
    assert next_window(memory, practice, start, MINUTE, afresh=afresh) == expected


def test_only_an_old_extraction_is_stale() -> None:
    assert not is_stale(WATERMARK, WATERMARK + CATCH_UP_AFTER)
    assert is_stale(WATERMARK, WATERMARK + CATCH_UP_AFTER + timedelta(seconds=1))
