"""Decides which instant counts for a read, where DrChrono's clock and this machine's disagree.

What sensors, watchers and syncs remember of a read only ever rises. One answer with a clock of the future would hide
all that changes until then. So an instant that is remembered is never ahead of either clock: reading a little twice
costs a call, and reading too late loses changes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

log = logging.getLogger(__name__)

CLOCKS_DIFFER = timedelta(minutes=1)
"""Clocks that differ by no more are taken for equal."""

ZONES_DIFFER = timedelta(minutes=15)
"""A record that changed so much later than the practice's clock shows has its times from another zone."""

EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)
"""No record is older, and no arithmetic with zones and lookbacks fails from here on."""


def own_clock() -> datetime:
    """Return the present by this machine's clock."""
    return datetime.now(UTC)


def earlier_clock(server: datetime, own: datetime) -> datetime:
    """Return the instant of an answer that counts: the earlier one of two clocks.

    :param server: the ``Date`` of the answer, aware.
    :param own: this machine's clock when it came, aware.
    """
    return max(min(server, own), EARLIEST)


def warn_of_difference(server: datetime, own: datetime, what: str) -> None:
    """Say that two clocks differ by more than a minute.

    :param what: what was read, as the subject of the line.
    """
    if abs(server - own) > CLOCKS_DIFFER:
        log.warning(
            "%s: DrChrono's clock shows %s UTC and this machine's %s UTC. The earlier one counts, so that no change is "
            "missed; if it stays so, set this machine's clock by NTP",
            what,
            server.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
            own.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        )


def is_ahead(stored: datetime, *clocks: datetime) -> bool:
    """Tell whether a stored instant lies in the future, whichever of the clocks is right.

    :param stored: aware.
    :param clocks: what they show now, at least one.
    """
    return stored > max(clocks) + CLOCKS_DIFFER


class ZoneWitness:
    """Notes when the records of a read changed, and compares that with the practice's clock.

    :param what: what is read, as the subject of the warning.
    :param since: where a read of changes would have begun, by the practice's clock; None where this is one.
    :ivar shown: how many records such a read would have shown.
    """

    def __init__(self, what: str, since: datetime | None = None) -> None:
        self._what = what
        self._since = since
        self._newest: datetime | None = None
        self.shown = 0

    def note(self, changed_at: datetime | None) -> None:
        """Note when a record changed, by the practice's clock; None where that is not known."""
        if self._since is None or changed_at is None or changed_at >= self._since:
            self.shown += 1
        if changed_at is not None and (self._newest is None or changed_at > self._newest):
            self._newest = changed_at

    def warn_of_late(self, changed: int, timezones: Sequence[str]) -> None:
        """Say that a read of everything found changes that a read of changes would have missed.

        That is how times show that are behind the practice's clock: nothing that changes ever reaches the start of the
        next read.

        :param changed: how many records are not as they were when they were read the last time.
        :param timezones: the practice's as they are assumed, IANA names.
        """
        if self._since is not None and changed > self.shown:
            log.warning(
                "%s: %s records are new or have changed, and bear times before %s by the practice's clock, so that a "
                "read of changes would not have shown them. Either the times of the records are those of a zone to the "
                "west of %s, or lists show changes later than the lookback, or the grant sees more than before: "
                "compare a record that you change now with your clock, and set timezone on the connection to the zone "
                "that fits",
                self._what,
                f"{changed - self.shown:,}",
                self._since.isoformat(" ", "seconds"),
                ", ".join(timezones),
            )

    def warn(self, server: datetime, timezones: Sequence[str]) -> None:
        """Say that a record changed later than any clock of the practice shows.

        :param server: DrChrono's clock after the read.
        :param timezones: the practice's as they are assumed, IANA names; without any nothing is said.
        """
        if self._newest is None or not timezones:
            return
        shown = max(server.astimezone(ZoneInfo(name)).replace(tzinfo=None) for name in timezones)
        if self._newest > shown + ZONES_DIFFER:
            log.warning(
                "%s: a record changed at %s by the practice's clock, which shows %s in %s. So the times of the records "
                "are those of another zone, or DrChrono's clock is wrong: compare a record that you change now with "
                "your clock, and set timezone on the connection to the zone that fits",
                self._what,
                self._newest.isoformat(" ", "seconds"),
                shown.isoformat(" ", "seconds"),
                ", ".join(timezones),
            )
