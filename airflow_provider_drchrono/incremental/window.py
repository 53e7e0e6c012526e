"""Decides where the next read of a list begins, so that no write is missed, for sensors, assets and syncs alike.

Each reader of a list remembers the instant of its last read, by the server's clock. The next read begins
there, less a lookback, because lists show writes late. The API compares ``since`` with wall-clock times of the practice
that carry no zone; wall clocks run backwards once a year and differ between offices, so the earliest reading counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Protocol
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

    def has_new_zone(self, known: Practice) -> bool:
        """Tell whether a zone has come up that was not known before."""
        return not set(self.timezones) <= set(known.timezones)


class _Settings(Protocol):
    @property
    def timezone(self) -> str | None: ...


class TimezoneSource(Protocol):
    """Where the practice's zones come from: the hook of a connection."""

    @property
    def settings(self) -> _Settings:
        """The settings of the connection, which may name a zone."""

    def practice_timezones(self) -> tuple[str, ...]:
        """Return the zones of the practice's doctors, for which the API is called."""


@dataclass(frozen=True, slots=True)
class SyncState:
    """What a sync remembers of its last complete read. A sensor's cursor remembers more, as it gives nothing twice.

    :param watermark: instant, by the server's clock, at which it began.
    :param start: the earliest change, by the practice's clock, that was ever read; None: all were.
    :param practice: what was known about the practice's clocks then.
    :param completed_at: when a read of the whole list was loaded, by our own clock; None: there was none.
    """

    watermark: datetime
    start: datetime | None
    practice: Practice
    completed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ReadStart:
    """Where a read begins.

    :param since: naive wall-clock time of the practice; None: everything.
    :param start: the earliest change that was ever read, once this is; None: all were.
    """

    since: datetime | None
    start: datetime | None


def current_practice(
    source: TimezoneSource, known: Practice | None, now: datetime, named: str | None = None
) -> Practice:
    """Return the zones of the practice, asking the API no more often than once a day.

    :param known: what is remembered; None for nothing.
    :param named: the zone of the list's change times, where it is known to differ from the practice's.
    :raises ConfigurationError: neither the connection nor the API names the zones.
    """
    from airflow_provider_drchrono.client.errors import ConfigurationError, PermissionDeniedError

    if named := named or source.settings.timezone:
        return Practice((named,), None)
    # Where a clock was wrong they may have been read in the future, until when they would be believed.
    if known is not None and known.read_at is not None and abs(now - known.read_at) < ZONES_LAST:
        return known
    try:
        return Practice(source.practice_timezones(), now.replace(microsecond=0))
    except PermissionDeniedError:
        raise ConfigurationError(
            "The practice's time zone is not known, and the token may not read the doctors, whose records name it "
            "(403); set timezone on the connection to an IANA name such as America/New_York"
        ) from None


def read_from(instant: datetime, lookback: timedelta, timezones: Sequence[str]) -> datetime:
    """Return the wall-clock time at which a read has to begin that is to miss nothing since an instant.

    :param instant: of the last read, by the server's clock.
    :param lookback: how long a change may take until lists show it.
    :param timezones: the practice's, IANA names.
    """
    return earliest_wall_clock(instant - lookback, timezones)


def complete_until(until: datetime, known: Practice, practice: Practice) -> datetime | None:
    """Return the instant up to which a read has missed nothing, seen with what is known about the clocks now.

    Changes made by a clock that nobody knew of may have been looked for at the wrong time.

    :param until: when the read was made, by the server's clock.
    :param known: what was known about the practice's clocks then.
    :return: None where a new zone has come up, and it is not known since when it may have been there.
    """
    if not practice.has_new_zone(known):
        return until
    return None if known.read_at is None else min(until, known.read_at)


def next_start(
    state: SyncState | None, practice: Practice, start: datetime | None, lookback: timedelta, *, full_refresh: bool
) -> ReadStart:
    """Return where a sync reads from, so that everything since ``start`` is there and nothing since then is missed.

    :param start: the start that is asked for, by the practice's clock; None: everything.
    :param lookback: how long a change may take until lists show it.
    :param full_refresh: read from the start whatever is remembered.
    """
    if state is None or full_refresh or _is_earlier(start, state.start):
        return ReadStart(start, start)
    complete = complete_until(state.watermark, state.practice, practice)
    if complete is None:
        return ReadStart(start, start)
    return ReadStart(read_from(complete, lookback, practice.timezones), state.start)


def widened(since: datetime, until: datetime, known: Practice, practice: Practice, lookback: timedelta) -> datetime:
    """Return where a sensor reads from, which cannot begin at the start again: that would give everything twice.

    :param since: where the read would begin with the zones that were known, by the practice's clock.
    :param until: when the last one was made, by the server's clock.
    """
    if not practice.has_new_zone(known):
        return since
    return min(since, read_from(complete_until(until, known, practice) or until, lookback, practice.timezones))


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


# Subscribers that share a poll ask for the same instants.
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


def _is_earlier(start: datetime | None, than: datetime | None) -> bool:
    if than is None:
        return False
    return start is None or start < than
