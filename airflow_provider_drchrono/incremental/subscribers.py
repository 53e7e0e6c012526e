"""Decides which records of a shared poll are new to one subscriber. Nothing here calls or stores.

Sensors and watchers of one list come from different positions and select different records. One poll from the earliest
of their positions has all that they need, and each is given only what a poll of its own would have returned.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_drchrono.catalog import Catalog
from airflow_provider_drchrono.incremental.cursor import Cursor, CursorError, read_cursor
from airflow_provider_drchrono.incremental.detection import ChangeDetector, ComparedCache, Position, key_of
from airflow_provider_drchrono.incremental.events.event import MOST_IDS
from airflow_provider_drchrono.incremental.lists import Change, IncrementalList
from airflow_provider_drchrono.incremental.watched_fields import FieldComparison
from airflow_provider_drchrono.incremental.window import read_from

if TYPE_CHECKING:
    from airflow_provider_drchrono.client.paging import Record
    from airflow_provider_drchrono.incremental.watched_fields import FieldMemory, WatchedFields


@dataclass(frozen=True, slots=True)
class PollSummary:
    """What a poll found for a subscriber.

    :param since: where the poll began, by the practice's clock; None for everything.
    :param until: when it was asked for, by the server's clock.
    :param count: how many records are new in the pages that were read; 0 where the subscriber has no position, so that
        its task or watcher has to find out why.
    :param ids: their ids, of a great many the first.
    """

    since: datetime | None = None
    until: datetime | None = None
    count: int = 0
    ids: tuple[int | str, ...] = ()


@dataclass(frozen=True, slots=True)
class SubscriberPosition:
    """The position from which a subscriber wants records.

    :param known_since: wall-clock time from which on the fingerprints of ``position`` know every record; None: all.
    :param timezones: the practice's; empty where they are not known, and then the position is never moved.
    :param memory: what is known of the watched fields of records.
    """

    salt: str
    position: Position
    known_since: datetime | None
    timezones: tuple[str, ...]
    memory: FieldMemory | None = None

    @classmethod
    def of_cursor(cls, cursor: Cursor, incremental_list: IncrementalList) -> SubscriberPosition | None:
        """Return the position of a cursor; None before its first poll."""
        position = cursor.position
        if position is None:
            return None
        known_since = position.since
        if incremental_list.moving_field is None:
            # Fingerprints are kept of all that the last window returned, and that began earlier.
            befores = [window.before.since for window in cursor.runs.values() if window.after == position]
            known_since = befores[-1] if befores else known_since
        zones = cursor.practice.timezones if cursor.practice else ()
        return cls(cursor.salt, position, known_since, zones, cursor.memory)

    def advanced_to(self, until: datetime, lookback: timedelta) -> SubscriberPosition:
        """Return the position after its owner has polled by itself and found nothing new.

        :param until: when that was, by the server's clock.
        """
        if not self.timezones or until < self.position.until:
            return self
        since = read_from(until, lookback, self.timezones)
        before = self.position.since
        return replace(
            self, position=replace(self.position, until=until, since=since if before is None else max(since, before))
        )


class Subscriber:
    """A trigger that waits for changes of a list, and its position.

    :param filters: ids that a record has to have, by the names of its fields.
    :param lookback: how long a change may take until lists show it.
    :param watched: the fields whose changes count; None for all.
    :param load: returns the stored cursor, whose position counts. It may block.
    :param at: the position, where there is no cursor.
    :param polled_at: when the owner has polled by itself and found nothing new, by the server's clock.
    """

    def __init__(
        self,
        incremental_list: IncrementalList,
        *,
        filters: Mapping[str, int],
        change: Change,
        lookback: timedelta,
        watched: WatchedFields | None = None,
        load: Callable[[], str | None] | None = None,
        at: SubscriberPosition | None = None,
        polled_at: datetime | None = None,
    ) -> None:
        self.filters = dict(filters)
        self._list = incremental_list
        self._change = change
        self._lookback = lookback
        self._watched = watched
        self._load = load
        self._at = at
        self._text: str | None = None
        self._polled_at = polled_at
        self._detector: ChangeDetector | None = None
        self._fields: FieldComparison | None = None
        self._polled_since: datetime | None = None
        self._count = 0
        self._ids: list[int | str] = []

    def advance(self, until: datetime | None) -> None:
        """Note that the owner has polled by itself and found nothing new.

        :param until: when that was, by the server's clock.
        """
        self._polled_at = until
        self._text = None

    def locate(self) -> bool:
        """Find the position; return whether there is one. It blocks.

        The task or watcher deals with a cursor that is gone, or that cannot be read.
        """
        if self._load is not None:
            text = self._load()
            if text is None:
                return False
            if text != self._text:
                try:
                    at = SubscriberPosition.of_cursor(read_cursor(text, self._list.resource), self._list)
                except CursorError:
                    return False
                if at is not None and self._polled_at is not None:
                    at = at.advanced_to(self._polled_at, self._lookback)
                # It is about the cursor as it was then, and not about one that was set since.
                self._polled_at = None
                self._at, self._text = at, text
        return self._at is not None

    @property
    def since(self) -> datetime | None:
        """The wall-clock time from which on a poll has all that is wanted; None for everything."""
        return self._position.position.since

    def can_share(self, since: datetime | None) -> bool:
        """Tell whether a poll that begins at an earlier time can serve in place of one of its own."""
        if self._list.moving_field is not None or since == self.since:
            return True
        known_since = self._position.known_since
        return known_since is None or (since is not None and since >= known_since)

    def begin(self, since: datetime | None, cache: ComparedCache) -> None:
        """Begin a poll.

        :param since: where it begins.
        :param cache: shared by all subscribers of the poll.
        """
        at = self._position
        self._fields = FieldComparison(self._watched, at.salt, at.memory) if self._watched else None
        self._detector = ChangeDetector(
            self._list, at.salt, at.position, self._change, compared=cache, fields=self._fields
        )
        self._polled_since = since
        self._count, self._ids = 0, []

    def feed(self, records: Iterable[Record]) -> None:
        """Take the records of one page."""
        assert self._detector is not None  # noqa: S101 - begin comes first
        for record in self._detector.new_records(self._concerning(records)):
            self._count += 1
            if len(self._ids) < MOST_IDS:
                self._ids.extend(key_of(record, self._list.key)[:1])

    @property
    def has_new_records(self) -> bool:
        """Whether any record was new so far."""
        return self._count > 0

    def finish(self, began: datetime, lists: int) -> PollSummary | None:
        """Return what the poll found. If nothing is new, return None and move on, so that the next poll is shorter.

        :param began: when the poll was asked for, by the server's clock.
        :param lists: how many lists were read.
        """
        assert self._detector is not None  # noqa: S101 - begin comes first
        at, detector = self._position, self._detector
        self._detector = None
        if self._count:
            return PollSummary(self.since, began, self._count, tuple(self._ids))
        if at.timezones:
            position = detector.position_after(began, self._lookback, at.timezones, lists)
            known_since = self._polled_since if self._list.moving_field is None else position.since
            memory = self._fields.memory if self._fields else None
            self._at = replace(at, position=position, known_since=known_since, memory=memory)
        return None

    def _concerning(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the records that a poll for this subscriber alone would have returned."""
        since = self.since
        for record in records:
            if any(record.get(name) not in (None, value) for name, value in self.filters.items()):
                continue
            moved_at = self._list.moved_at(record)
            if moved_at is None or since is None or moved_at >= since:
                yield record

    @property
    def _position(self) -> SubscriberPosition:
        assert self._at is not None  # noqa: S101 - locate comes first
        return self._at


def split_filters(catalog: Catalog, resource: str, filters: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the filters that a poll has to send, and those that a record itself shows to meet.

    Only ids are compared here, since it is not known how the API compares text and times.
    """
    operation = catalog.operation(IncrementalList.of(catalog, resource).operation_id)
    record = catalog.record_of(resource)
    sent: dict[str, Any] = {}
    compared: dict[str, int] = {}
    for name, value in filters.items():
        known = record.fields.get(name) if record is not None else None
        number = _number(value)
        if number is not None and known and operation.parameter(name).type == known.type == "integer":
            compared[name] = number
        else:
            sent[name] = value
    return sent, compared


def common_filters(subscribers: Sequence[Subscriber]) -> dict[str, int]:
    """Return the ids that all subscribers ask for; a poll may send these as filters."""
    first, *others = (subscriber.filters for subscriber in subscribers)
    return {name: value for name, value in first.items() if all(each.get(name) == value for each in others)}


def filters_key(filters: Mapping[str, Any]) -> str:
    """Return a text that is the same for filters that select the same."""
    return json.dumps(dict(filters), sort_keys=True, default=str)


def _number(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        return int(value)
    except ValueError:
        return None
