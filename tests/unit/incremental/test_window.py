"""Where the next read of a list begins: nothing that changes may be missed, whatever clocks do."""

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_drchrono.incremental.window import (
    Practice,
    ReadStart,
    SyncState,
    current_practice,
    earliest_wall_clock,
    first_start,
    is_repeating,
    next_start,
    widened,
)

NEW_YORK = "America/New_York"
LOS_ANGELES = "America/Los_Angeles"
MINUTE = timedelta(minutes=1)
# Clocks in New York went from 2:00 back to 1:00 at 06:00 UTC on this day.
FALL_BACK = datetime(2026, 11, 1, 6, tzinfo=UTC)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("instant", "timezones", "expected"),
    [
        pytest.param(utc(2026, 1, 15, 12), (NEW_YORK,), datetime(2026, 1, 15, 7), id="winter"),
        pytest.param(utc(2026, 7, 15, 12), (NEW_YORK,), datetime(2026, 7, 15, 8), id="summer"),
        pytest.param(utc(2026, 7, 15, 12, 0, 30, 999), (NEW_YORK,), datetime(2026, 7, 15, 8, 0, 30), id="microseconds"),
        pytest.param(FALL_BACK - timedelta(hours=2), (NEW_YORK,), datetime(2026, 11, 1, 0), id="well before"),
        pytest.param(FALL_BACK - 10 * MINUTE, (NEW_YORK,), datetime(2026, 11, 1, 1), id="in the hour that comes again"),
        pytest.param(FALL_BACK, (NEW_YORK,), datetime(2026, 11, 1, 1), id="as clocks are set back"),
        pytest.param(FALL_BACK + 10 * MINUTE, (NEW_YORK,), datetime(2026, 11, 1, 1, 10), id="in the repeated hour"),
        pytest.param(utc(2026, 3, 8, 6, 59), (NEW_YORK,), datetime(2026, 3, 8, 1, 59), id="before clocks go forward"),
        pytest.param(utc(2026, 3, 8, 7, 1), (NEW_YORK,), datetime(2026, 3, 8, 3, 1), id="after clocks went forward"),
        pytest.param(utc(2026, 1, 15, 12), (NEW_YORK, LOS_ANGELES), datetime(2026, 1, 15, 4), id="two zones"),
        pytest.param(utc(2026, 4, 4, 14, 50), ("Australia/Lord_Howe",), datetime(2026, 4, 5, 1, 30), id="half an hour"),
        pytest.param(utc(2026, 10, 25, 0, 30), ("Antarctica/Troll",), datetime(2026, 10, 25, 1), id="two hours"),
    ],
)
def test_earliest_wall_clock(instant: datetime, timezones: tuple[str, ...], expected: datetime) -> None:
    assert earliest_wall_clock(instant, timezones) == expected


@given(
    start=st.datetimes(datetime(2015, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC)),
    later=st.integers(0, 48 * 60),
    zone=st.sampled_from([NEW_YORK, LOS_ANGELES, "Australia/Lord_Howe", "Antarctica/Troll", "Pacific/Honolulu"]),
)
@example(start=FALL_BACK - MINUTE, later=1, zone=NEW_YORK)
@example(start=FALL_BACK - 59 * MINUTE, later=62, zone=NEW_YORK)
def test_no_later_change_bears_a_smaller_time(start: datetime, later: int, zone: str) -> None:
    changed = (start + later * MINUTE).astimezone(ZoneInfo(zone)).replace(tzinfo=None)

    assert earliest_wall_clock(start, (zone,)) <= changed


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        pytest.param(None, None, id="nothing"),
        pytest.param("", None, id="an empty template"),
        pytest.param("2026-01-31", datetime(2026, 1, 31), id="date as text"),
        pytest.param(date(2026, 1, 31), datetime(2026, 1, 31), id="date"),
        pytest.param("2026-01-31T08:00:00", datetime(2026, 1, 31, 8), id="wall clock as text"),
        pytest.param("2026-01-31T08:00:00Z", datetime(2026, 1, 31, 3), id="UTC as text"),
        pytest.param(utc(2026, 1, 31, 8), datetime(2026, 1, 31, 3), id="aware"),
        pytest.param(datetime(2026, 1, 31, 8, 0, 0, 5), datetime(2026, 1, 31, 8), id="microseconds"),
    ],
)
def test_first_start(since: str | date | datetime | None, expected: datetime | None) -> None:
    assert first_start(since, (NEW_YORK,)) == expected


def test_first_start_refuses_what_is_no_time() -> None:
    with pytest.raises(ValueError, match=r"Invalid isoformat"):
        first_start("yesterday", (NEW_YORK,))


def test_rows_have_a_zone_only_where_there_is_one() -> None:
    assert Practice((NEW_YORK,), None).timezone == NEW_YORK
    assert Practice((NEW_YORK, LOS_ANGELES), utc(2026, 1, 14, 12)).timezone is None


@pytest.mark.parametrize(
    ("instant", "zone", "repeating"),
    [
        pytest.param(FALL_BACK - timedelta(minutes=61), NEW_YORK, False, id="before the hour"),
        pytest.param(FALL_BACK - timedelta(minutes=59), NEW_YORK, True, id="the first time"),
        pytest.param(FALL_BACK + timedelta(minutes=30), NEW_YORK, True, id="the second time"),
        pytest.param(FALL_BACK + timedelta(minutes=61), NEW_YORK, False, id="after the hour"),
        pytest.param(utc(2026, 3, 8, 7, 1), NEW_YORK, False, id="clocks gone forward"),
        pytest.param(FALL_BACK, "Pacific/Honolulu", False, id="clocks that are never set"),
    ],
)
def test_an_hour_that_comes_twice(instant: datetime, zone: str, repeating: bool) -> None:
    assert is_repeating(instant, (zone,)) is repeating


ASKED = utc(2026, 1, 14, 12)
WATERMARK = utc(2026, 1, 15, 12)
NAMED = Practice((NEW_YORK,), None)
FOUND = Practice((NEW_YORK,), ASKED)
RECENT = Practice((NEW_YORK,), WATERMARK - timedelta(hours=23))
START = datetime(2024, 1, 1)


@pytest.mark.parametrize(
    ("state", "practice", "start", "full_refresh", "expected"),
    [
        pytest.param(None, NAMED, None, False, ReadStart(None, None), id="first run"),
        pytest.param(None, NAMED, START, False, ReadStart(START, START), id="first run from a start"),
        pytest.param(
            SyncState(WATERMARK, None, NAMED),
            NAMED,
            None,
            False,
            ReadStart(datetime(2026, 1, 15, 6, 59), None),
            id="next run",
        ),
        pytest.param(SyncState(WATERMARK, None, NAMED), NAMED, None, True, ReadStart(None, None), id="full refresh"),
        pytest.param(
            SyncState(WATERMARK, START, NAMED),
            NAMED,
            START,
            True,
            ReadStart(START, START),
            id="full refresh from a start",
        ),
        pytest.param(
            SyncState(WATERMARK, START, NAMED),
            NAMED,
            START,
            False,
            ReadStart(datetime(2026, 1, 15, 6, 59), START),
            id="next run from the same start",
        ),
        pytest.param(
            SyncState(WATERMARK, START, NAMED),
            NAMED,
            datetime(2025, 1, 1),
            False,
            ReadStart(datetime(2026, 1, 15, 6, 59), START),
            id="a later start changes nothing",
        ),
        pytest.param(
            SyncState(WATERMARK, START, NAMED),
            NAMED,
            datetime(2023, 1, 1),
            False,
            ReadStart(datetime(2023, 1, 1), datetime(2023, 1, 1)),
            id="an earlier start is read",
        ),
        pytest.param(
            SyncState(WATERMARK, START, NAMED),
            NAMED,
            None,
            False,
            ReadStart(None, None),
            id="a start that is taken away",
        ),
        pytest.param(
            SyncState(WATERMARK, None, Practice((NEW_YORK, LOS_ANGELES), ASKED)),
            FOUND,
            None,
            False,
            ReadStart(datetime(2026, 1, 15, 6, 59), None),
            id="a zone is gone",
        ),
        pytest.param(
            SyncState(WATERMARK, None, FOUND),
            Practice((LOS_ANGELES, NEW_YORK), WATERMARK),
            None,
            False,
            ReadStart(datetime(2026, 1, 14, 3, 59), None),
            id="a new zone reads again since zones were last asked for",
        ),
        pytest.param(
            SyncState(WATERMARK, None, NAMED),
            Practice((LOS_ANGELES,), None),
            None,
            False,
            ReadStart(None, None),
            id="another zone named by the connection reads everything",
        ),
    ],
)
def test_a_sync_reads_from(
    state: SyncState | None, practice: Practice, start: datetime | None, full_refresh: bool, expected: ReadStart
) -> None:
    assert next_start(state, practice, start, MINUTE, full_refresh=full_refresh) == expected


@pytest.mark.parametrize(
    ("known", "practice", "expected"),
    [
        pytest.param(FOUND, FOUND, datetime(2026, 1, 15, 6, 58), id="the same zones"),
        pytest.param(
            Practice((NEW_YORK, LOS_ANGELES), ASKED), FOUND, datetime(2026, 1, 15, 6, 58), id="a zone is gone"
        ),
        pytest.param(
            FOUND,
            Practice((LOS_ANGELES, NEW_YORK), WATERMARK),
            datetime(2026, 1, 14, 3, 58),
            id="a new zone reads again since zones were last asked for",
        ),
        pytest.param(
            NAMED,
            Practice((LOS_ANGELES,), None),
            datetime(2026, 1, 15, 3, 58),
            id="another zone named by the connection reads again since the last poll",
        ),
    ],
)
def test_a_sensor_reads_from(known: Practice, practice: Practice, expected: datetime) -> None:
    assert widened(datetime(2026, 1, 15, 6, 58), WATERMARK, known, practice, 2 * MINUTE) == expected


class Hook:
    """A connection that names a zone or none, and a practice that tells its zones."""

    def __init__(self, timezone: str | None) -> None:
        self.settings = SimpleNamespace(timezone=timezone)
        self.asked = 0

    def practice_timezones(self) -> tuple[str, ...]:
        self.asked += 1
        return (LOS_ANGELES,)


@pytest.mark.parametrize(
    ("named", "known", "expected", "calls"),
    [
        pytest.param(NEW_YORK, None, NAMED, 0, id="the connection names a zone"),
        pytest.param(None, RECENT, RECENT, 0, id="asked for within a day"),
        pytest.param(None, None, Practice((LOS_ANGELES,), WATERMARK), 1, id="nothing is known"),
        pytest.param(None, NAMED, Practice((LOS_ANGELES,), WATERMARK), 1, id="the connection named one before"),
        pytest.param(
            None,
            Practice((NEW_YORK,), WATERMARK - timedelta(days=1)),
            Practice((LOS_ANGELES,), WATERMARK),
            1,
            id="asked for a day ago",
        ),
        pytest.param(
            None,
            Practice((NEW_YORK,), WATERMARK + timedelta(days=3650)),
            Practice((LOS_ANGELES,), WATERMARK),
            1,
            id="asked for when a clock was wrong",
        ),
    ],
)
def test_zones_are_asked_for_once_a_day(
    named: str | None, known: Practice | None, expected: Practice, calls: int
) -> None:
    hook = Hook(named)

    assert current_practice(hook, known, WATERMARK) == expected
    assert hook.asked == calls
