"""Which instant counts where two clocks disagree, and what is said of times that no clock of the practice shows."""

from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_drchrono.incremental.clocks import (
    EARLIEST,
    ZoneWitness,
    earlier_clock,
    is_ahead,
    own_clock,
    warn_of_difference,
)
from airflow_provider_drchrono.incremental.window import BEGINNING, read_from

NOON = datetime(2026, 7, 1, 16, tzinfo=UTC)
WALL = datetime(2026, 7, 1, 12)
NEW_YORK, LOS_ANGELES = "America/New_York", "America/Los_Angeles"
SECOND, MINUTE, QUARTER = timedelta(seconds=1), timedelta(minutes=1), timedelta(minutes=15)


@pytest.mark.parametrize(
    ("server", "own", "counts"),
    [
        pytest.param(NOON, NOON + timedelta(days=1), NOON, id="this machine's is ahead"),
        pytest.param(NOON + timedelta(days=1), NOON, NOON, id="DrChrono's is ahead"),
        pytest.param(datetime(1, 1, 1, tzinfo=UTC), NOON, EARLIEST, id="before all records"),
    ],
)
def test_the_earlier_clock_counts(server: datetime, own: datetime, counts: datetime) -> None:
    assert earlier_clock(server, own) == counts


def test_a_read_begins_at_a_time_that_can_be_written_however_wrong_the_clocks_are() -> None:
    counts = earlier_clock(datetime(1, 1, 1, tzinfo=UTC), NOON)

    assert read_from(counts, MINUTE, ("Pacific/Honolulu",)) >= BEGINNING


def test_the_own_clock_knows_its_zone() -> None:
    assert abs(own_clock() - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("apart", "said"),
    [(timedelta(0), False), (MINUTE, False), (MINUTE + SECOND, True), (timedelta(days=400), True)],
    ids=["equal", "a minute", "more", "more than a year"],
)
@pytest.mark.parametrize("sign", [1, -1], ids=["DrChrono's ahead", "ours ahead"])
def test_a_difference_of_more_than_a_minute_is_said(
    apart: timedelta, said: bool, sign: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = NOON + sign * apart

    warn_of_difference(server, NOON, "patients")

    assert bool(caplog.records) is said
    if said:
        assert "patients: DrChrono's clock shows" in caplog.text
        assert f"{server:%Y-%m-%d %H:%M:%S} UTC and this machine's 2026-07-01 16:00:00 UTC" in caplog.text


@pytest.mark.parametrize(
    ("stored", "ahead"),
    [
        pytest.param(NOON, False, id="past for one clock"),
        pytest.param(NOON + timedelta(hours=1), False, id="now by the other clock"),
        pytest.param(NOON + timedelta(hours=1) + MINUTE, False, id="hardly ahead"),
        pytest.param(NOON + timedelta(hours=1) + MINUTE + SECOND, True, id="ahead of both"),
    ],
)
def test_an_instant_is_ahead_only_of_all_clocks(stored: datetime, ahead: bool) -> None:
    assert is_ahead(stored, NOON, NOON + timedelta(hours=1)) is ahead
    assert is_ahead(stored, NOON + timedelta(hours=1), NOON) is ahead


@pytest.mark.parametrize(
    ("newest", "zones", "said"),
    [
        pytest.param(WALL + QUARTER, (NEW_YORK,), False, id="a quarter of an hour late"),
        pytest.param(WALL + QUARTER + SECOND, (NEW_YORK,), True, id="later than the clock shows"),
        pytest.param(WALL, (LOS_ANGELES,), True, id="of a zone to the east"),
        pytest.param(WALL, (LOS_ANGELES, NEW_YORK), False, id="of one of two zones"),
        pytest.param(WALL + timedelta(days=1), (), False, id="no zone is known"),
        pytest.param(None, (NEW_YORK,), False, id="no time is known"),
    ],
)
def test_a_time_that_no_clock_of_the_practice_shows_is_said(
    newest: datetime | None, zones: tuple[str, ...], said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    witness = ZoneWitness("patients")
    for each in (None, newest, datetime(2020, 1, 1), None):
        witness.note(each)

    witness.warn(NOON, zones)

    assert bool(caplog.records) is said
    if said:
        assert f"patients: a record changed at {newest} by the practice's clock, which shows" in caplog.text
        assert f"in {', '.join(zones)}." in caplog.text


@pytest.mark.parametrize(
    ("since", "changed", "late"),
    [
        pytest.param(WALL, 1, None, id="fewer have changed than would have been shown"),
        pytest.param(WALL, 3, None, id="all would have been shown"),
        pytest.param(WALL, 5, "2", id="some bear older times"),
        pytest.param(WALL, 1_003, "1,000", id="many bear older times"),
        pytest.param(None, 5, None, id="a read of changes"),
    ],
)
def test_changes_that_a_read_of_changes_would_have_missed_are_said(
    since: datetime | None, changed: int, late: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    witness = ZoneWitness("patients", since)
    for each in (WALL - SECOND, WALL, WALL + MINUTE, None):
        witness.note(each)
    assert witness.shown == (4 if since is None else 3), "a record without a time may always be shown"

    witness.warn_of_late(changed, (NEW_YORK, LOS_ANGELES))

    assert bool(caplog.records) is (late is not None)
    if late is not None:
        assert f"patients: {late} records are new or have changed, and bear times before {WALL}" in caplog.text
        assert f"to the west of {NEW_YORK}, {LOS_ANGELES}" in caplog.text
