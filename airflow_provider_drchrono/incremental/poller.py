"""Follows the changes of one list for one task: polls, gives each DAG run what is new, and remembers what it gave."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_drchrono.incremental.cursor import Cursor, CursorError, CursorName, read_cursor
from airflow_provider_drchrono.incremental.cursor_store import CursorStore
from airflow_provider_drchrono.incremental.detection import ChangeDetector, Position, Window
from airflow_provider_drchrono.incremental.fingerprints import Record
from airflow_provider_drchrono.incremental.lists import Change, IncrementalList
from airflow_provider_drchrono.incremental.wall_clock import ZONES_LAST, Practice, earliest_wall_clock, first_start

if TYPE_CHECKING:
    from airflow_provider_drchrono.client import DrChronoClient, Page

log = logging.getLogger(__name__)

START_NOW = "now"
START_BEGINNING = "beginning"

CLOCKS_DIFFER = timedelta(minutes=1)
"""A worker's clock that is no further ahead of the server's costs the first poll no second call."""

MOST_PASSES = 10
"""So many times a window is read on that never comes to rest."""

WORTH_STORING = 100
"""So many fewer marks to remember are worth storing a cursor for which nothing else has changed."""

Deliver = Callable[[Iterator[Record]], Any]
"""Takes all records that a run is given and returns what becomes of them. It may be called again from the start."""


class Clocks(Protocol):
    """Where to learn how the practice tells the time."""

    def named(self) -> str | None:
        """Return the zone that the connection names, if it does."""

    def asked(self) -> tuple[str, ...]:
        """Return the zones that the API tells, for which it is called."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What is followed.

    :param change: which changes count.
    :param lookback: how long a change may take until lists show it.
    :param start: where a cursor begins: ``now``, ``beginning``, or a time.
    """

    subject: IncrementalList
    filters: Mapping[str, Any] = field(repr=False)
    verbose: bool
    change: Change
    lookback: timedelta
    start: str

    @property
    def selection(self) -> str:
        """What is selected, as one text, for a hash of it."""
        return json.dumps([self.filters, self.verbose], sort_keys=True, default=str)


@dataclass(slots=True)
class Poll:
    """The pages of one poll; ``began`` is when it was asked for, by the server's clock."""

    began: datetime | None = None
    pages: int = 0

    def records(self, pages: Iterator[Page]) -> Iterator[list[Record]]:
        """Yield the records of each page."""
        asked_at = time.monotonic()
        for page in pages:
            self.note(page, time.monotonic() - asked_at)
            yield page.records

    def note(self, page: Page, waited: float) -> None:
        """Note a page.

        :param waited: seconds since the first page was asked for.
        """
        self.pages += 1
        if self.began is None:
            # The server may have looked for the records as early as it was asked.
            self.began = (page.server_time - timedelta(seconds=waited)).replace(microsecond=0)


class Poller:
    """Gives one DAG run what is new.

    :param run_id: the DAG run.
    :param cleared_from: see :func:`~airflow_provider_drchrono.incremental.cursor.cleared_from`.
    :param now: this machine's clock, for what the server's is not needed for.
    :ivar looked_at: when the last poll was asked for, by the server's clock; None before the first one.
    :ivar window: what the run was given, once it was given something.
    """

    def __init__(
        self,
        followed: Selection,
        *,
        store: CursorStore,
        name: CursorName,
        run_id: str,
        clocks: Clocks,
        cleared_from: datetime | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._followed = followed
        self._subject = followed.subject
        self._store = store
        self._name = name
        self._run_id = run_id
        self._cleared_from = cleared_from
        self._clocks = clocks
        self._now = now
        self.looked_at: datetime | None = None
        self.window: Window | None = None
        self._lists = len(followed.subject.queries(followed.filters, None))

    def look(self, drchrono: DrChronoClient, deliver: Deliver) -> tuple[bool, Any]:
        """Poll once; return whether there was anything new, and what ``deliver`` made of it.

        What a run is given is stored before it is returned, and a run that was given something is given the same again.

        :raises CursorError: the stored cursor cannot be gone on with.
        """
        while True:
            text = self._store.load(self._name)
            cursor = self._opened(text)
            given = self._given(cursor)
            if given is not None:
                log.info("%s: giving this run again what changed until %s", self._name, given.after.until)
                self.window = given
                return True, deliver(read_again(drchrono, self._followed, cursor, given))
            practice = self._practice(cursor.practice)
            moved, found, result = self._advance(drchrono, cursor, practice, deliver)
            if moved is None:
                return False, None
            if self._saved(text, moved):
                return found, result
            log.info("%s: another run went on meanwhile; looking again", self._name)

    def _given(self, cursor: Cursor) -> Window | None:
        """Return what is to be given again, if there is anything."""
        return cursor.given_to(self._run_id, self._cleared_from)

    def _gave(self, cursor: Cursor, position: Position, result: Any) -> Cursor:
        """Return the cursor after all that is new up to a position was given."""
        return cursor.gave(self._run_id, position)

    def _opened(self, text: str | None) -> Cursor:
        if text is None:
            log.info(
                "%s has no cursor yet and begins at %r. If it had another name before, changes since then would be "
                "missed: carry the old cursor's time over with: airflow drchrono cursor set %s --to TIME",
                self._name,
                self._followed.start,
                self._name.words,
            )
            cursor = Cursor(self._subject.resource)
            return replace(cursor, selection=cursor.hash_of(self._followed.selection))
        cursor = read_cursor(text, self._subject.resource)
        selection = cursor.hash_of(self._followed.selection)
        if cursor.position and cursor.selection != selection:
            log.warning(
                "%s: the filters are not those of the last run; what changed before %s and only the new ones select "
                "is not given",
                self._name,
                cursor.position.until,
            )
        return replace(cursor, resource=self._subject.resource, selection=selection)

    def _advance(
        self, drchrono: DrChronoClient, cursor: Cursor, practice: Practice, deliver: Deliver
    ) -> tuple[Cursor | None, bool, Any]:
        """Return the cursor to store, or None where nothing would be gained; whether there is anything new; and it."""
        opening = self._position(cursor, practice)
        if opening is None:
            position = self._baseline(drchrono, cursor, practice)
            return replace(cursor, practice=practice).moved(position), False, None
        poll = Poll()
        reading = self._reading(cursor, opening)
        fresh = self._fresh(drchrono, reading, opening.since, poll)
        first = next(fresh, None)
        result = None if first is None else deliver(chain([first], fresh))
        assert poll.began is not None  # noqa: S101 - every list has a first page
        self.looked_at = poll.began
        position = reading.ended(poll.began, self._followed.lookback, practice.timezones, self._lists)
        known = replace(cursor, practice=practice, position=opening)
        if first is not None:
            self.window = Window(opening, position)
            return self._gave(known, position, result), True, result
        # An empty poll is stored only where the next one gets cheaper by it.
        shrinks = len(opening.seen) > len(position.seen) + WORTH_STORING
        if poll.pages > self._lists or reading.passed_over or shrinks or practice != cursor.practice:
            return known.moved(position), False, None
        return None, False, None

    def _position(self, cursor: Cursor, practice: Practice) -> Position | None:
        """Return where the poll begins; None for now, which only the server's clock can say."""
        if cursor.position is not None:
            return self._widened(cursor.position, cursor.practice, practice)
        start = cursor.start or self._followed.start
        if start == START_NOW:
            return None
        if start == START_BEGINNING:
            return Position.at_start(None)
        try:
            return Position.at_start(first_start(start, practice.timezones))
        except ValueError:
            raise CursorError(f"the start {start[:40]!r}, which is no time in ISO 8601") from None

    def _widened(self, position: Position, before: Practice | None, practice: Practice) -> Position:
        """Let a poll begin earlier where a clock has come up by which changes may have been looked for too late."""
        if before is None or position.since is None or set(practice.timezones) <= set(before.timezones):
            return position
        known_at = min(position.until, before.read_at) if before.read_at else position.until
        since = min(position.since, earliest_wall_clock(known_at - self._followed.lookback, practice.timezones))
        log.warning(
            "%s: the practice has another time zone now; changes since %s are looked for again and may come twice",
            self._name,
            known_at,
        )
        return replace(position, since=since)

    def _baseline(self, drchrono: DrChronoClient, cursor: Cursor, practice: Practice) -> Position:
        """Return the present position, with what changed so shortly before that the next poll returns it again."""
        instant = self._now() - CLOCKS_DIFFER
        while True:
            poll = Poll()
            since = earliest_wall_clock(instant - self._followed.lookback, practice.timezones)
            before = Position.at_start(since)
            reading = ChangeDetector(self._subject, cursor.salt, before)
            for _ in self._fresh(drchrono, reading, since, poll):
                pass
            assert poll.began is not None  # noqa: S101 - every list has a first page
            self.looked_at = poll.began
            position = reading.ended(poll.began, self._followed.lookback, practice.timezones)
            if earliest_wall_clock(poll.began - self._followed.lookback, practice.timezones) >= since:
                log.info("%s: changes are given from %s on", self._name, position.until)
                return position
            # This machine's clock is ahead of the server's.
            instant = poll.began

    def _reading(self, cursor: Cursor, before: Position) -> ChangeDetector:
        return ChangeDetector(self._subject, cursor.salt, before, self._followed.change)

    def _fresh(
        self, drchrono: DrChronoClient, reading: ChangeDetector, since: datetime | None, poll: Poll
    ) -> Iterator[Record]:
        for records in poll.records(self.pages(drchrono, since)):
            yield from reading.fresh(records)

    def pages(self, drchrono: DrChronoClient, since: datetime | None) -> Iterator[Page]:
        """Iterate over the pages of all lists that hold the changes since a time."""
        return pages_of(drchrono, self._followed, since)

    def _practice(self, known: Practice | None) -> Practice:
        """Return how the practice tells the time, asking the API no more often than needed."""
        named = self._clocks.named()
        if named:
            return Practice((named,), None)
        now = self._now()
        if known is not None and known.read_at is not None and now - known.read_at < ZONES_LAST:
            return known
        return Practice(self._clocks.asked(), now.replace(microsecond=0))

    def _saved(self, text: str | None, cursor: Cursor) -> bool:
        """Store a cursor, unless another run has stored one since ``text`` was read."""
        with self._store.lease(self._name):
            if self._store.load(self._name) != text:
                return False
            self._store.save(self._name, cursor.dump())
            return True


def pages_of(drchrono: DrChronoClient, followed: Selection, since: datetime | None) -> Iterator[Page]:
    """Iterate over the pages of all lists that hold the changes since a time.

    :param since: naive wall-clock time of the practice; None for all records.
    """
    for query in followed.subject.queries(followed.filters, since):
        yield from drchrono.pages(followed.subject.operation_id, query, verbose=followed.verbose)


def read_again(drchrono: DrChronoClient, followed: Selection, cursor: Cursor, window: Window) -> Iterator[Record]:
    """Read a window that a cursor remembers: what was new in it then, less what has changed since.

    :param cursor: the one that remembers it, with the salt of its marks.
    """
    reading = ChangeDetector(followed.subject, cursor.salt, window.before, followed.change, window.after)
    zones = cursor.practice.timezones if cursor.practice else ()

    def pages(since: datetime | None) -> Iterator[Page]:
        return pages_of(drchrono, followed, since)

    return read_to_rest(pages, reading, window.before.since, followed, zones)


def read_to_rest(
    pages: Callable[[datetime | None], Iterator[Page]],
    reading: ChangeDetector,
    since: datetime | None,
    followed: Selection,
    timezones: Sequence[str],
) -> Iterator[Record]:
    """Read a closed window, and after it what slipped through between its pages because it changed meanwhile.

    Where any change counts, a later window holds what changes meanwhile. A creation is in no other.

    :param pages: asks for the lists of changes since a time.
    :param timezones: the practice's; without them there is one pass.
    """
    lists = len(followed.subject.queries(followed.filters, None))
    for _ in range(MOST_PASSES):
        poll = Poll()
        for records in poll.records(pages(since)):
            yield from reading.fresh(records)
        if followed.change != "created" or poll.pages == lists or poll.began is None or not timezones:
            return
        since = earliest_wall_clock(poll.began - followed.lookback, timezones)
