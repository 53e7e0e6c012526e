"""Decides, record by record, what one poll found that no run has been given yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_drchrono.incremental.canonical import canonical, comparable
from airflow_provider_drchrono.incremental.hashes import hashed
from airflow_provider_drchrono.incremental.lists import Change, IncrementalList
from airflow_provider_drchrono.incremental.window import is_repeating, read_from

if TYPE_CHECKING:
    from airflow_provider_drchrono.client.paging import Record
    from airflow_provider_drchrono.incremental.watched_fields import FieldComparison, WindowChanges


class Fingerprinter:
    """Makes the fingerprints of one poll's records: two hashes each, one of the identity and one of the content.

    A record without a usable key is told apart by its content, and by how many equal ones came before it.

    :param salt: makes the fingerprints of one cursor useless for another.
    :param key: names of the fields that tell two records apart; empty where nothing does.
    :param compared: returns the bytes that equal records share.
    """

    def __init__(
        self, salt: str, key: tuple[str, ...], compared: Callable[[Mapping[str, Any]], bytes] | None = None
    ) -> None:
        self._salt = salt.encode()
        self._key = key
        self._compared = compared or _compared
        self._equal: Counter[str] = Counter()

    def fingerprint(self, record: Mapping[str, Any]) -> tuple[str, str]:
        """Return the hashes of a record's identity and of its content."""
        content = self._hash(self._compared(record))
        if key := key_of(record, self._key):
            return self._hash(canonical(key)), content
        self._equal[content] += 1
        return self._hash(f"{content}{self._equal[content]}".encode()), content

    def _hash(self, content: bytes) -> str:
        return hashed(content, self._salt)


class ComparedCache:
    """The bytes that are compared of the records of a page, made once for all who take fingerprints of them."""

    def __init__(self) -> None:
        self._known: dict[int, bytes] = {}

    def __call__(self, record: Mapping[str, Any]) -> bytes:
        """Return the bytes of a record, which must live until :meth:`clear`."""
        known = self._known.get(id(record))
        if known is None:
            known = self._known[id(record)] = _compared(record)
        return known

    def clear(self) -> None:
        """Drop the records of the page."""
        self._known.clear()


def key_of(record: Mapping[str, Any], names: tuple[str, ...]) -> list[Any]:
    """Return the values that identify a record; none where its list has no key, or the record lacks it."""
    values = [record.get(name) for name in names]
    return values if all(map(_is_usable, values)) else []


def _is_usable(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool) and value != ""


def _compared(record: Mapping[str, Any]) -> bytes:
    return comparable(canonical(record))


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Position:
    """The point up to which the changes of a list have been read.

    :param until: instant, by the server's clock, at which they were last asked for.
    :param since: wall-clock time of the practice from which on the next poll asks again; None: from the beginning.
    :param created_since: wall-clock time from which on a record that is created and has no fingerprint here was never
        met before.
    :param fingerprints: of the contents of the records that a poll from there on returns again, by their identities.
    """

    until: datetime
    since: datetime | None
    created_since: datetime | None
    fingerprints: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def at_start(cls, since: datetime | None) -> Position:
        """Return the position before the first poll, from which everything since then is new."""
        return cls(EPOCH, since, since)


@dataclass(frozen=True, slots=True)
class Window:
    """What one DAG run was given: the changes between two positions.

    :param changes: what had changed in each record, where fields are watched.
    """

    before: Position
    after: Position
    changes: WindowChanges | None = None


class ChangeDetector:
    """One poll.

    The first version of a record that it meets counts: one that changes while pages are read belongs to the next poll.

    :param before: where the poll begins.
    :param again: where it ended when it was made the first time; exactly what was new then is new now, less what has
        changed since, which a later poll is given.
    :param compared: returns the bytes of a record that are compared.
    :param fields: compares the watched fields; a record in which none of them has changed is not wanted.
    :param given: what had changed when the poll was made the first time, where fields are watched. Exactly these
        records are new now, as they are by now: a later poll may be silent about what has changed since.
    :ivar pages: how many pages were read.
    :ivar unwanted: how many records have changed, but not in the way that counts.
    """

    def __init__(
        self,
        incremental_list: IncrementalList,
        salt: str,
        before: Position,
        change: Change = "any",
        again: Position | None = None,
        compared: Callable[[Mapping[str, Any]], bytes] | None = None,
        fields: FieldComparison | None = None,
        given: WindowChanges | None = None,
    ) -> None:
        self.pages = 0
        self.unwanted = 0
        self._list = incremental_list
        self._fingerprinter = Fingerprinter(salt, incremental_list.key, compared)
        self._before = before
        self._change = change
        self._again = again
        self._fields = fields
        self._given = given
        self._met: dict[str, tuple[str, datetime | None]] = {}

    def new_records(self, records: Iterable[Record]) -> Iterator[Record]:
        """Take the records of a page, and yield those that are wanted and were not met before."""
        self.pages += 1
        for record in records:
            identity, content = self._fingerprinter.fingerprint(record)
            if identity in self._met:
                continue
            moved_at = self._list.moved_at(record)
            self._met[identity] = content, moved_at
            if self._given is not None:
                if change := self._given.changes.get(identity):
                    yield change.added_to(record)
            elif self._before.fingerprints.get(identity) == content:
                if self._fields is not None:
                    self._fields.note(record, identity)
            elif self._again is None or self._was_there(self._again, record, identity, content, moved_at):
                yield from self._wanted(record, identity)

    @property
    def newest(self) -> datetime | None:
        """The newest time of change that was met, by the practice's clock; None where none is known."""
        return max((moved_at for _, moved_at in self._met.values() if moved_at is not None), default=None)

    def position_after(
        self, began: datetime, lookback: timedelta, timezones: Sequence[str], lists: int = 1
    ) -> Position:
        """Return the position after the whole poll.

        :param began: when it began, by the server's clock.
        :param lookback: how long a change may take until lists show it.
        :param timezones: the practice's.
        :param lists: how many lists were read, each of at least one page.
        """
        until = max(self._before.until, began)
        since = read_from(until, lookback, timezones)
        if self._before.since is not None:
            since = max(since, self._before.since)
        # A record that changes while several pages are read may slip through between them, and be met for the first
        # time long after it was created. In an hour that comes twice, one may change earlier than it was created.
        tells_created = self._change != "any" or self._fields is not None
        slipping = tells_created and self.pages > lists
        keep_all = slipping or is_repeating(until - lookback, timezones) or is_repeating(until, timezones)
        fingerprints = dict(self._before.fingerprints) if keep_all else {}
        for identity, (content, moved_at) in self._met.items():
            if keep_all or moved_at is None or moved_at >= since:
                fingerprints[identity] = content
        return Position(until, since, self._before.created_since if slipping else since, fingerprints)

    def _is_wanted(self, record: Record, identity: str) -> bool:
        if self._change == "any":
            return True
        return self._is_created(record, identity) == (self._change == "created")

    def _is_created(self, record: Record, identity: str) -> bool:
        """Tell whether a record was created since the last poll."""
        created_at = self._list.created_at(record)
        start = self._before.created_since
        in_time = start is None or (created_at is not None and created_at >= start)
        return in_time and identity not in self._before.fingerprints

    def _wanted(self, record: Record, identity: str) -> Iterator[Record]:
        if self._fields is not None:
            yield from self._with_change(self._fields, record, identity)
        elif self._is_wanted(record, identity):
            yield record
        else:
            self.unwanted += 1

    def _with_change(self, fields: FieldComparison, record: Record, identity: str) -> Iterator[Record]:
        """Yield a record in which a watched field has changed, with what has."""
        # A list whose records do not say when they were created cannot tell.
        is_created = self._list.created_field is not None and self._is_created(record, identity)
        change = fields.change_of(record, identity, is_created=is_created)
        if change is None or not self._is_wanted(record, identity):
            self.unwanted += 1
        else:
            fields.give(identity, change)
            yield change.added_to(record)

    def _was_there(
        self, after: Position, record: Record, identity: str, content: str, moved_at: datetime | None
    ) -> bool:
        if self._change == "created":
            # Later polls never give it as created, so its present version is given, whatever it was then.
            created_at = self._list.created_at(record)
            return identity in after.fingerprints or _is_before(created_at, after.created_since)
        return after.fingerprints.get(identity) == content or _is_before(moved_at, after.since)


def _is_before(moment: datetime | None, bound: datetime | None) -> bool:
    return moment is not None and bound is not None and moment < bound


def within(
    incremental_list: IncrementalList, records: Iterable[Record], until: datetime | None, change: Change = "any"
) -> Iterator[Record]:
    """Yield the records that changed, or were created, before a time, and those that do not say when.

    :param until: naive wall-clock time of the practice; None for no bound.
    """
    for record in records:
        moment = incremental_list.created_at(record) if change == "created" else incremental_list.changed_at(record)
        if until is None or moment is None or moment < until:
            yield record
