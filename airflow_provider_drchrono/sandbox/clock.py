"""The one source of time: tests set it forward, and everything dated or counted in the sandbox follows."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

FIRST_YEAR, LAST_YEAR = 1900, 2900
"""Beyond these, dates that are worked out from the clock's would be none."""

LONGEST_STEP = 4 * 10**9
"""Seconds; more than a hundred years."""


class Clock:
    """A clock that runs with real time from where it was set, or stands still.

    :param zone: IANA name of the practice's time zone.
    :param start: aware moment to begin at; the present when left out.
    :param frozen: move only when it is set or moved on.
    """

    def __init__(self, zone: str, start: datetime | None = None, *, frozen: bool = False) -> None:
        self.zone = ZoneInfo(zone)
        self.frozen = frozen
        self.set(start or datetime.now(UTC))

    def set(self, moment: datetime) -> None:
        """Go to an aware moment, forwards or backwards."""
        if moment.tzinfo is None:
            raise ValueError("The clock needs a moment with a time zone; add tzinfo=UTC")
        if not FIRST_YEAR <= moment.year <= LAST_YEAR:
            raise ValueError(f"The clock goes from the year {FIRST_YEAR} to {LAST_YEAR}")
        self._moment = moment.astimezone(UTC)
        self._set_at = time.monotonic()

    def advance(self, seconds: float) -> None:
        """Go forward by so many seconds."""
        if not math.isfinite(seconds) or abs(seconds) > LONGEST_STEP:
            raise ValueError(f"The clock is moved by {LONGEST_STEP} seconds at most")
        self.set(self.now() + timedelta(seconds=seconds))

    def now(self) -> datetime:
        """Return the present as an aware moment in UTC."""
        if self.frozen:
            return self._moment
        return self._moment + timedelta(seconds=time.monotonic() - self._set_at)

    def local(self) -> datetime:
        """Return the practice's wall clock without a zone, in whole seconds."""
        return self.now().astimezone(self.zone).replace(tzinfo=None, microsecond=0)

    def in_zone(self, stamp: str, zone: str) -> str:
        """Return a time of the practice's wall clock by the wall clock of another zone."""
        moment = datetime.fromisoformat(stamp).replace(tzinfo=self.zone)
        return moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None).isoformat()

    def stamp(self, zone: str | None = None) -> str:
        """Return a wall clock as the API writes it: ISO 8601 without a zone.

        :param zone: IANA name of another zone than the practice's.
        """
        if zone is None:
            return self.local().isoformat()
        return self.now().astimezone(ZoneInfo(zone)).replace(tzinfo=None, microsecond=0).isoformat()
