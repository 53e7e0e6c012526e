"""Polls a list for the watcher of an asset, as a sensor does for a DAG run, and makes an event of each window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.incremental.clocks import own_clock
from airflow_provider_drchrono.incremental.cursor import Cursor, CursorName, read_cursor
from airflow_provider_drchrono.incremental.detection import key_of
from airflow_provider_drchrono.incremental.events.event import MOST_IDS, ChangeEvent
from airflow_provider_drchrono.incremental.poller import Judge, Poller, trusting

if TYPE_CHECKING:
    from airflow_provider_drchrono.client import DrChronoClient
    from airflow_provider_drchrono.client.paging import Record
    from airflow_provider_drchrono.incremental.cursor import CursorSource, CursorStore
    from airflow_provider_drchrono.incremental.detection import Position, Window
    from airflow_provider_drchrono.incremental.lists import Selection
    from airflow_provider_drchrono.incremental.watched_fields import WindowChanges
    from airflow_provider_drchrono.incremental.window import TimezoneSource


class _UnacknowledgedError(DrChronoError):
    """There is an event that may not have arrived."""

    def __init__(self, event: ChangeEvent) -> None:
        super().__init__("an event may not have arrived")
        self.event = event


class EventWriter(Poller):
    """Makes the events of an asset.

    An event is stored with its window before Airflow gets it, and is pending until it must have arrived. As long as one
    is pending, a watcher of the asset gives Airflow the same event again and polls no further: so an event may come
    twice, and none is lost.

    :param asset: name of the asset.
    """

    def __init__(
        self,
        selection: Selection,
        *,
        store: CursorStore,
        asset: str,
        timezones: TimezoneSource,
        now: Callable[[], datetime] = own_clock,
        source: Callable[[CursorSource | None], CursorSource | None] = lambda known: known,
        judge: Judge = trusting,
    ) -> None:
        name = CursorName.of_asset(asset)
        super().__init__(
            selection, store=store, name=name, run_id="", timezones=timezones, now=now, source=source, judge=judge
        )
        self._asset = asset
        self._event: ChangeEvent | None = None

    def next_event(self, drchrono: DrChronoClient) -> ChangeEvent | None:
        """Return the pending event if there is one; else poll once, and return the event of what is new, if anything.

        :raises CursorError: the stored cursor cannot be used.
        """
        try:
            found, _ = self.poll(drchrono, self._counted)
        except _UnacknowledgedError as pending:
            return pending.event
        return self._event if found else None

    def resume(self) -> tuple[bool, ChangeEvent | None]:
        """Return whether there is a position to go on from, and the event that may not have arrived yet.

        :raises CursorError: the stored cursor cannot be used.
        """
        text = self._store.load(self._name)
        cursor = None if text is None else read_cursor(text, self._list.resource)
        return (False, None) if cursor is None else (cursor.position is not None, cursor.pending_event)

    def acknowledge(self, event: ChangeEvent) -> None:
        """Store that an event has arrived.

        :raises CursorError: the stored cursor cannot be used.
        """
        with self._store.lease(self._name):
            text = self._store.load(self._name)
            cursor = None if text is None else read_cursor(text, self._list.resource)
            if cursor is not None and cursor.pending_event == event:
                self._store.save(self._name, cursor.acknowledged().dump())

    def _counted(self, records: Iterator[Record]) -> tuple[int, tuple[int | str, ...]]:
        count = 0
        ids: list[int | str] = []
        for record in records:
            count += 1
            if len(ids) < MOST_IDS:
                ids.extend(key_of(record, self._list.key)[:1])
        return count, tuple(ids)

    def _window_to_repeat(self, cursor: Cursor) -> Window | None:
        # Polling on would drop the event, and it is not known whether Airflow has stored it.
        if cursor.pending_event is not None:
            raise _UnacknowledgedError(cursor.pending_event)
        return None

    def _after_delivery(self, cursor: Cursor, position: Position, result: Any, changes: WindowChanges | None) -> Cursor:
        count, ids = result
        since = cursor.position.since if cursor.position else None
        until = position.until
        while until.isoformat() in cursor.runs:
            # Two polls in one second are two events.
            until += timedelta(microseconds=1)
        event = ChangeEvent(
            asset=self._asset,
            resource=self._list.resource,
            since=since.isoformat() if since else None,
            until=until.isoformat(),
            count=count,
            ids=ids,
        )
        return cursor.with_event(event, position, changes)

    def _saved(self, text: str | None, cursor: Cursor) -> bool:
        is_saved = super()._saved(text, cursor)
        if is_saved:
            self._event = cursor.pending_event
        return is_saved
