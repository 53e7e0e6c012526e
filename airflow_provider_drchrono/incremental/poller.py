"""Polls one list for one task: gives each DAG run what is new, and remembers what it gave."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any

from airflow_provider_drchrono.incremental.clocks import (
    CLOCKS_DIFFER,
    EARLIEST,
    ZoneWitness,
    earlier_clock,
    is_ahead,
    own_clock,
    warn_of_difference,
)
from airflow_provider_drchrono.incremental.cursor import (
    Cursor,
    CursorError,
    CursorName,
    CursorSource,
    CursorStore,
    read_cursor,
)
from airflow_provider_drchrono.incremental.detection import EPOCH, ChangeDetector, Position, Window
from airflow_provider_drchrono.incremental.lists import Selection
from airflow_provider_drchrono.incremental.suspicion import ReadFacts
from airflow_provider_drchrono.incremental.watched_fields import FieldComparison, FieldMemory, WindowChanges
from airflow_provider_drchrono.incremental.window import (
    Practice,
    TimezoneSource,
    current_practice,
    first_start,
    read_from,
    widened,
)

if TYPE_CHECKING:
    from airflow_provider_drchrono.client import DrChronoClient, Page
    from airflow_provider_drchrono.client.paging import Record

log = logging.getLogger(__name__)

START_NOW = "now"
START_BEGINNING = "beginning"

MOST_PASSES = 10
"""How many times a window is read in which records change all the time."""

WORTH_STORING = 100
"""A cursor for which nothing else has changed is stored if it gets smaller by so many fingerprints."""

Deliver = Callable[[Iterator["Record"]], Any]
"""Takes all records that a run is given, and returns what becomes of them. It may be called again from the start."""


Judge = Callable[[ReadFacts], bool]
"""Takes the counts of a read and returns whether it may hide records; it raises an error where that is to fail."""


def trusting(read: ReadFacts) -> bool:
    """Take every read for whole."""
    return False


@dataclass(slots=True)
class Poll:
    """The pages of one poll.

    :param what: what is polled, for log lines.
    :param now: this machine's clock.
    :ivar began: when it was asked for, by the earlier one of the server's clock and ours.
    :ivar server_time: the server's clock with the first page.
    """

    what: str
    now: Callable[[], datetime] = own_clock
    began: datetime | None = None
    server_time: datetime | None = None
    pages: int = 0
    read: int = 0
    gaps: int = 0

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
        self.read += len(page.records)
        self.gaps += page.gaps
        if self.began is None:
            own = self.now()
            warn_of_difference(page.server_time, own, self.what)
            # The server may have looked for the records as early as it was asked.
            began = max(earlier_clock(page.server_time, own) - timedelta(seconds=waited), EARLIEST)
            self.began, self.server_time = began.replace(microsecond=0), page.server_time

    @property
    def facts(self) -> ReadFacts:
        """What is known of the read, in counts."""
        return ReadFacts(self.read, gaps=self.gaps)


class Poller:
    """Gives one DAG run what is new.

    :param run_id: the DAG run, or the iteration of a loop in it.
    :param cleared_from: see :func:`~airflow_provider_drchrono.incremental.cursor.cleared_from`.
    :param timezones: the hook of the connection, which knows the practice's zones.
    :param now: this machine's clock.
    :param source: returns whose list is read, given what the cursor remembers of that; see
        :func:`~airflow_provider_drchrono.incremental.cursor.continued_source`.
    :param judge: says whether a read may hide records. If it does and came back empty, nothing is remembered of it.
    :ivar polled_at: when the last poll was asked for, by the server's clock; None before the first one.
    :ivar quiet_since: the last time, by the server's clock, up to which all was given, where nothing is new; None for
        the beginning.
    :ivar window: what the run was given, once it was given something.
    """

    def __init__(
        self,
        selection: Selection,
        *,
        store: CursorStore,
        name: CursorName,
        run_id: str,
        cleared_from: datetime | None = None,
        timezones: TimezoneSource,
        now: Callable[[], datetime] = own_clock,
        source: Callable[[CursorSource | None], CursorSource | None] = lambda known: known,
        judge: Judge = trusting,
    ) -> None:
        self._selection = selection
        self._list = selection.incremental_list
        self._store = store
        self._name = name
        self._run_id = run_id
        self._cleared_from = cleared_from
        self._timezones = timezones
        self._now = now
        self._source = source
        self._judge = judge
        self.polled_at: datetime | None = None
        self.quiet_since: datetime | None = None
        self.window: Window | None = None
        self._lists = len(self._list.queries(selection.filters, None))

    def poll(self, drchrono: DrChronoClient, deliver: Deliver) -> tuple[bool, Any]:
        """Poll once; return whether there was anything new, and what ``deliver`` made of it.

        What a run is given is stored before it is returned, and a run that was given something is given the same again.

        :raises CursorError: the stored cursor cannot be used, or is of another practice.
        """
        while True:
            text = self._store.load(self._name)
            cursor = self._opened(text)
            source = self._source(cursor.source)
            is_new_source = cursor.source is not None and source != cursor.source
            cursor = replace(cursor, source=source)
            window = self._window_to_repeat(cursor)
            if window is not None:
                log.info("%s: giving this run again what changed until %s", self._name, window.after.until)
                self.window = window
                return True, deliver(
                    read_again(drchrono, self._selection, cursor, window, now=self._now, judge=self._judge)
                )
            practice = current_practice(self._timezones, cursor.practice, self._now(), self._list.timezone)
            cursor = self._repaired(drchrono, cursor, practice)
            moved, found, result = self._advance(drchrono, cursor, practice, deliver)
            if moved is None and is_new_source:
                # Or each poll would ask for the practice again.
                moved = cursor
            if moved is None:
                return False, None
            if self._saved(text, moved):
                return found, result
            log.info("%s: another run has moved the cursor meanwhile; polling again", self._name)

    def _window_to_repeat(self, cursor: Cursor) -> Window | None:
        """Return the window that is to be given again, if there is one."""
        return cursor.delivered_to(self._run_id, self._cleared_from)

    def _after_delivery(self, cursor: Cursor, position: Position, result: Any, changes: WindowChanges | None) -> Cursor:
        """Return the cursor after all that is new up to a position was given."""
        return cursor.with_delivery(self._run_id, position, changes)

    def _opened(self, text: str | None) -> Cursor:
        if text is None:
            log.info(
                "%s has no cursor yet and begins at %r. If it had another name before, changes since then would be "
                "missed: carry the old cursor's time over with: airflow drchrono cursor set %s --to TIME",
                self._name,
                self._selection.start,
                self._name.arguments,
            )
            cursor = Cursor(self._list.resource)
            return replace(cursor, selection=cursor.hash_of(self._selection.identity))
        cursor = read_cursor(text, self._list.resource)
        selection = cursor.hash_of(self._selection.identity)
        if cursor.position and cursor.selection != selection:
            log.warning(
                "%s: the filters are not those of the last run; what changed before %s and only the new ones select "
                "is not given",
                self._name,
                cursor.position.until,
            )
        return replace(cursor, resource=self._list.resource, selection=selection)

    def _advance(
        self, drchrono: DrChronoClient, cursor: Cursor, practice: Practice, deliver: Deliver
    ) -> tuple[Cursor | None, bool, Any]:
        """Return the cursor to store, None if storing gains nothing; whether anything is new; and the result of it."""
        before = self._position(cursor, practice)
        if before is None:
            position, memory = self._baseline(drchrono, cursor, practice)
            self.quiet_since = position.until
            return replace(cursor, practice=practice, memory=memory).moved_to(position), False, None
        poll = self._begun()
        fields = self._compared_fields(cursor)
        detector = ChangeDetector(self._list, cursor.salt, before, self._selection.change, fields=fields)
        new_records = self._new_records(drchrono, detector, before.since, poll)
        first = next(new_records, None)
        result = None if first is None else deliver(chain([first], new_records))
        assert poll.began is not None  # noqa: S101 - every list has a first page
        self._warn_of_zone(detector, poll, practice)
        if self._judge(poll.facts) and first is None:
            # What it hides is looked for again from the same position.
            return None, False, None
        self.polled_at = poll.began
        self.quiet_since = None if before.until == EPOCH else before.until
        position = detector.position_after(poll.began, self._selection.lookback, practice.timezones, self._lists)
        known = replace(cursor, practice=practice, position=before, memory=fields.memory if fields else None)
        if first is not None:
            changes = fields.changes if fields else None
            self.window = Window(before, position, changes)
            return self._after_delivery(known, position, result, changes), True, result
        # An empty poll is stored only where the next one gets cheaper by it.
        shrinks = len(before.fingerprints) > len(position.fingerprints) + WORTH_STORING
        if poll.pages > self._lists or detector.unwanted or shrinks or practice != cursor.practice:
            return known.moved_to(position), False, None
        return None, False, None

    def _position(self, cursor: Cursor, practice: Practice) -> Position | None:
        """Return where the poll begins; None for now, which only the server's clock can say."""
        if cursor.position is not None:
            return self._widened(cursor.position, cursor.practice, practice)
        start = cursor.start or self._selection.start
        if start == START_NOW:
            return None
        if start == START_BEGINNING:
            return Position.at_start(None)
        try:
            return Position.at_start(first_start(start, practice.timezones))
        except ValueError:
            raise CursorError(f"the start {start[:40]!r}, which is no time in ISO 8601") from None

    def _widened(self, position: Position, known: Practice | None, practice: Practice) -> Position:
        """Let a poll begin earlier after the practice got another zone, by which earlier polls began too late."""
        if known is None or position.since is None or not practice.has_new_zone(known):
            return position
        since = widened(position.since, position.until, known, practice, self._selection.lookback)
        log.warning(
            "%s: the practice has another time zone now; changes since %s by the practice's clock are looked for again "
            "and may come twice",
            self._name,
            since,
        )
        return replace(position, since=since)

    def _baseline(
        self, drchrono: DrChronoClient, cursor: Cursor, practice: Practice
    ) -> tuple[Position, FieldMemory | None]:
        """Return the present position, with what changed so shortly before that the next poll returns it again.

        Where fields are watched, return also what is known of them now.
        """
        instant = self._now() - CLOCKS_DIFFER
        while True:
            poll = self._begun()
            since = read_from(instant, self._selection.lookback, practice.timezones)
            fields = self._compared_fields(cursor)
            detector = ChangeDetector(self._list, cursor.salt, Position.at_start(since), fields=fields)
            for _ in self._new_records(drchrono, detector, since, poll):
                pass
            assert poll.began is not None  # noqa: S101 - every list has a first page
            self.polled_at = poll.began
            position = detector.position_after(poll.began, self._selection.lookback, practice.timezones)
            if read_from(poll.began, self._selection.lookback, practice.timezones) >= since:
                self._warn_of_zone(detector, poll, practice)
                self._judge(poll.facts)
                log.info("%s: changes are given from %s on", self._name, position.until)
                return position, fields.memory if fields else None
            # This machine's clock is ahead of the server's.
            instant = poll.began

    def _compared_fields(self, cursor: Cursor) -> FieldComparison | None:
        """Return what compares the watched fields of a poll's records; None where none are watched."""
        watched = self._selection.watched
        if watched is None:
            return None
        if cursor.memory is not None and not cursor.memory.serves(watched, cursor.salt):
            log.warning(
                "%s: other fields are watched than before, or the client secret is another one. What is known of "
                "records does not serve any more, so the next change of each is given as first_seen",
                self._name,
            )
        return FieldComparison(watched, cursor.salt, cursor.memory)

    def _begun(self) -> Poll:
        return Poll(str(self._name), self._now)

    def _warn_of_zone(self, detector: ChangeDetector, poll: Poll, practice: Practice) -> None:
        witness = ZoneWitness(str(self._name))
        witness.note(detector.newest)
        if poll.server_time is not None:
            witness.warn(max(poll.server_time, self._now()), practice.timezones)

    def _repaired(self, drchrono: DrChronoClient, cursor: Cursor, practice: Practice) -> Cursor:
        """Return a cursor that does not lie in the future, where no poll would find anything until then."""
        now = self._now()
        if cursor.position is None or not is_ahead(cursor.position.until, now):
            return cursor
        poll = self._begun()
        since = read_from(now, self._selection.lookback, practice.timezones)
        next(poll.records(self._selection.pages(drchrono, since)))
        assert poll.server_time is not None  # noqa: S101 - every list has a first page
        if not is_ahead(cursor.position.until, now, poll.server_time):
            return cursor
        repaired = cursor.before(now, lambda until: read_from(until, self._selection.lookback, practice.timezones))
        assert repaired.position is not None  # noqa: S101 - a repaired cursor has one
        log.warning(
            "%s: the stored cursor lies in the future, at %s: a clock was wrong when it was stored. It goes on from "
            "%s by the practice's clock; changes since then are given, some of them perhaps twice. If there may be "
            "changes from before, set it to an earlier time with: airflow drchrono cursor set %s --to TIME",
            self._name,
            cursor.position.until.isoformat(timespec="seconds"),
            repaired.position.since,
            self._name.arguments,
        )
        return repaired

    def _new_records(
        self, drchrono: DrChronoClient, detector: ChangeDetector, since: datetime | None, poll: Poll
    ) -> Iterator[Record]:
        for records in poll.records(self._selection.pages(drchrono, since)):
            yield from detector.new_records(records)

    def _saved(self, text: str | None, cursor: Cursor) -> bool:
        """Store a cursor, unless another run has stored one since ``text`` was read."""
        with self._store.lease(self._name):
            if self._store.load(self._name) != text:
                return False
            self._store.save(self._name, cursor.dump())
            return True


def read_again(
    drchrono: DrChronoClient,
    selection: Selection,
    cursor: Cursor,
    window: Window,
    *,
    now: Callable[[], datetime] = own_clock,
    judge: Judge = trusting,
) -> Iterator[Record]:
    """Read a window that a cursor remembers: what was new in it then, less what has changed since.

    :param cursor: the one that remembers it, with the salt of its fingerprints.
    :param now: this machine's clock.
    :param judge: says whether a read may hide records.
    """
    incremental_list = selection.incremental_list
    # Records whose changes nobody has told apart yet are given like those of which nothing is known.
    given = window.changes if selection.watched else None
    fields = FieldComparison(selection.watched, cursor.salt, None) if selection.watched and given is None else None
    detector = ChangeDetector(
        incremental_list, cursor.salt, window.before, selection.change, window.after, fields=fields, given=given
    )
    zones = cursor.practice.timezones if cursor.practice else ()
    return read_closed_window(drchrono, detector, window.before.since, selection, zones, now=now, judge=judge)


def read_closed_window(
    drchrono: DrChronoClient,
    detector: ChangeDetector,
    since: datetime | None,
    selection: Selection,
    timezones: Sequence[str],
    *,
    now: Callable[[], datetime] = own_clock,
    judge: Judge = trusting,
) -> Iterator[Record]:
    """Read a window, and after it what slipped through between its pages because it changed meanwhile.

    Where any change counts, a later window holds what changes meanwhile. A creation is in no other.

    :param since: where the window begins, by the practice's clock.
    :param timezones: the practice's; without them there is one pass.
    :param now: this machine's clock.
    :param judge: says whether a read may hide records.
    """
    lists = len(selection.incremental_list.queries(selection.filters, None))
    for _ in range(MOST_PASSES):
        poll = Poll(selection.incremental_list.resource, now)
        for records in poll.records(selection.pages(drchrono, since)):
            yield from detector.new_records(records)
        judge(poll.facts)
        if selection.change != "created" or poll.pages == lists or poll.began is None or not timezones:
            return
        since = read_from(poll.began, selection.lookback, timezones)
