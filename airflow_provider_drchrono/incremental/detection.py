"""Decides, record by record, what one poll found that nobody has been given yet, and where the next one begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_drchrono.incremental.fingerprints import Fingerprinter, Record
from airflow_provider_drchrono.incremental.lists import Change, IncrementalList
from airflow_provider_drchrono.incremental.wall_clock import earliest_wall_clock, is_repeating

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Position:
    """How far the changes of a list have been dealt with.

    :param until: instant, by the server's clock, at which they were last asked for.
    :param since: wall-clock time of the practice from which on the next poll asks again; None: from the beginning.
    :param born: wall-clock time from which on a record that is created and not among ``seen`` has never been met.
    :param seen: marks of the records that a poll from there on returns again, by their identity.
    """

    until: datetime
    since: datetime | None
    born: datetime | None
    seen: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def at_start(cls, since: datetime | None) -> Position:
        """Return the position before the first poll, from which everything since then is new."""
        return cls(EPOCH, since, since)


@dataclass(frozen=True, slots=True)
class Window:
    """What one DAG run was given: the changes between two positions."""

    before: Position
    after: Position


class ChangeDetector:
    """One poll.

    The first version of a record that it meets counts: one that changes while pages are read belongs to the next poll.

    :param before: where the poll begins.
    :param again: where it ended when it was made the first time; exactly what was new then is new now, less what has
        changed since, which a later poll is given.
    :param canonical: returns the bytes of a record that are marked.
    """

    def __init__(
        self,
        subject: IncrementalList,
        salt: str,
        before: Position,
        change: Change = "any",
        again: Position | None = None,
        canonical: Callable[[Mapping[str, Any]], bytes] | None = None,
    ) -> None:
        self.pages = 0
        self.returned = 0
        self.passed_over = 0
        self._subject = subject
        self._marker = Fingerprinter(salt, subject.key, canonical)
        self._before = before
        self._change = change
        self._again = again
        self._seen: dict[str, tuple[str, datetime | None]] = {}

    def fresh(self, records: Iterable[Record]) -> Iterator[Record]:
        """Take the records of a page, and yield those that are wanted and were not seen before."""
        self.pages += 1
        for record in records:
            self.returned += 1
            identity, content = self._marker.mark(record)
            if identity in self._seen:
                continue
            moved_at = self._subject.moved_at(record)
            self._seen[identity] = content, moved_at
            if self._before.seen.get(identity) == content:
                continue
            if not self._is_wanted(record, identity):
                self.passed_over += 1
            elif self._again is None or self._was_there(self._again, record, identity, content, moved_at):
                yield record

    def ended(self, began: datetime, lookback: timedelta, timezones: Sequence[str], lists: int = 1) -> Position:
        """Return the position after the whole poll.

        :param began: when it began, by the server's clock.
        :param lookback: how long a change may take until lists show it.
        :param timezones: the practice's.
        :param lists: how many lists were read, each of at least one page.
        """
        until = max(self._before.until, began)
        since = earliest_wall_clock(until - lookback, timezones)
        if self._before.since is not None:
            since = max(since, self._before.since)
        # A record that changes while several pages are read may slip through between them, and be met for the first
        # time long after it was created. In an hour that comes twice, one may change earlier than it was created.
        slipping = self._change != "any" and self.pages > lists
        keep_all = slipping or is_repeating(until - lookback, timezones) or is_repeating(until, timezones)
        seen = dict(self._before.seen) if keep_all else {}
        for identity, (content, moved_at) in self._seen.items():
            if keep_all or moved_at is None or moved_at >= since:
                seen[identity] = content
        return Position(until, since, self._before.born if slipping else since, seen)

    def _is_wanted(self, record: Record, identity: str) -> bool:
        if self._change == "any":
            return True
        created_at = self._subject.created_at(record)
        start = self._before.born
        in_time = start is None or (created_at is not None and created_at >= start)
        return (in_time and identity not in self._before.seen) == (self._change == "created")

    def _was_there(
        self, after: Position, record: Record, identity: str, content: str, moved_at: datetime | None
    ) -> bool:
        if self._change == "created":
            # Later polls never give it as created, so its present version is given, whatever it was then.
            created_at = self._subject.created_at(record)
            return identity in after.seen or _is_before(created_at, after.born)
        return after.seen.get(identity) == content or _is_before(moved_at, after.since)


def _is_before(moment: datetime | None, bound: datetime | None) -> bool:
    return moment is not None and bound is not None and moment < bound


def within(
    subject: IncrementalList, records: Iterable[Record], until: datetime | None, change: Change = "any"
) -> Iterator[Record]:
    """Yield the records that changed, or were created, before a time, and those that do not say when.

    :param until: naive wall-clock time of the practice; None for no bound.
    """
    for record in records:
        moment = subject.created_at(record) if change == "created" else subject.changed_at(record)
        if until is None or moment is None or moment < until:
            yield record
