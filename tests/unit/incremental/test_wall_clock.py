"""Wall clocks of a practice: nothing that changes may bear a smaller time than what was asked for."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_drchrono.incremental.wall_clock import Practice, earliest_wall_clock, first_start, is_repeating

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
