"""Turns instants into wall-clock times of a practice, and back into something that misses nothing.

The API compares ``since`` with wall-clock times of the practice that carry no zone, while whoever polls remembers
instants. Wall clocks run backwards once a year and differ between offices, so the earliest reading counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

BEGINNING = datetime(1970, 1, 1)
"""What "everything" is called where a list insists on a start."""

ZONES_LAST = timedelta(days=1)
"""How long the practice's zones are believed: a doctor who joins in another zone is noticed after that time."""

# Clocks are set at quarters of an hour in UTC, and no clock is set back by more than a day.
_CLOCKS_CHANGE_EVERY = timedelta(minutes=15)
_LARGEST_STEP_BACK = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Practice:
    """What is known about the practice's clocks.

    :param timezones: IANA names, at least one.
    :param read_at: when the API was asked for them; None if the connection names one.
    """

    timezones: tuple[str, ...]
    read_at: datetime | None

    @property
    def timezone(self) -> str | None:
        """The zone of the records' timestamps, where there is no doubt about it."""
        return self.timezones[0] if len(self.timezones) == 1 else None


def earliest_wall_clock(instant: datetime, timezones: Sequence[str]) -> datetime:
    """Return the smallest time that a clock of the practice shows at ``instant`` or at any moment after it.

    That is the clock's reading at the instant, except shortly before clocks are set back: what changes in the
    repeated hour bears a smaller time than what changed before it.

    :param instant: an aware time.
    :param timezones: IANA names, at least one.
    :return: a naive time in whole seconds.
    """
    return min(_earliest_in_zone(instant, name) for name in timezones)


def is_repeating(instant: datetime, timezones: Sequence[str]) -> bool:
    """Tell whether a clock of the practice shows times, around an instant, that it shows twice.

    :param instant: an aware time.
    :param timezones: IANA names.
    """
    return any(_earliest_in_zone(instant, name) != _latest_in_zone(instant, name) for name in timezones)


# All who share a poll ask for the same instants.
@lru_cache(maxsize=256)
def _earliest_in_zone(instant: datetime, name: str) -> datetime:
    return min(_readings(instant, ZoneInfo(name), _LARGEST_STEP_BACK))


@lru_cache(maxsize=256)
def _latest_in_zone(instant: datetime, name: str) -> datetime:
    return max(_readings(instant, ZoneInfo(name), -_LARGEST_STEP_BACK))


def _readings(instant: datetime, zone: ZoneInfo, span: timedelta) -> list[datetime]:
    """Return what a clock shows at an instant and at all moments near it at which it may have been set."""
    start = instant.astimezone(UTC).replace(microsecond=0)
    end = start + span
    moment = min(start, end)
    moment = moment.replace(minute=moment.minute // 15 * 15, second=0)
    moments = [start]
    while (moment := moment + _CLOCKS_CHANGE_EVERY) <= max(start, end):
        # What a clock showed just before it was set counts on the way back.
        moments.append(moment if span > timedelta(0) else moment - timedelta(seconds=1))
    return [each.astimezone(zone).replace(tzinfo=None) for each in moments]


def first_start(since: str | date | datetime | None, timezones: Sequence[str]) -> datetime | None:
    """Return the explicit start as a wall-clock time of the practice.

    :param since: a date, a naive time of the practice, an aware time, or one of these in ISO 8601.
    :raises ValueError: a text is not ISO 8601.
    """
    if since is None or since == "":
        return None
    moment = datetime.fromisoformat(since) if isinstance(since, str) else since
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    if moment.tzinfo is not None:
        return earliest_wall_clock(moment, timezones)
    return moment.replace(microsecond=0)
