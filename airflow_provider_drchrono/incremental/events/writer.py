"""Follows a list for the watcher of an asset, as a sensor does for a DAG run: each window is announced once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.incremental.cursor import Cursor, CursorName, read_cursor
from airflow_provider_drchrono.incremental.events.event import MOST_IDS, ChangeEvent
from airflow_provider_drchrono.incremental.poller import Poller

if TYPE_CHECKING:
    from airflow_provider_drchrono.client import DrChronoClient
    from airflow_provider_drchrono.incremental.cursor_store import CursorStore
    from airflow_provider_drchrono.incremental.detection import Position, Window
    from airflow_provider_drchrono.incremental.fingerprints import Record
    from airflow_provider_drchrono.incremental.poller import Clocks, Selection


class _UnsettledError(DrChronoError):
    """There is an announcement that may not have arrived."""

    def __init__(self, announcement: ChangeEvent) -> None:
        super().__init__("an announcement may not have arrived")
        self.announcement = announcement


class EventWriter(Poller):
    """Says what is new in a list, to whoever is listening.

    An announcement is stored with its window before it is made, and held for unsettled until it must have arrived.
    Until then whoever follows the asset makes it again and goes no further, so that it may come twice but is never
    lost.

    :param asset: name of the asset.
    """

    def __init__(
        self,
        followed: Selection,
        *,
        store: CursorStore,
        asset: str,
        clocks: Clocks,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(followed, store=store, name=CursorName.of_asset(asset), run_id="", clocks=clocks, now=now)
        self._asset = asset
        self._announcement: ChangeEvent | None = None

    def announce(self, drchrono: DrChronoClient) -> ChangeEvent | None:
        """Poll once, and return what there is to announce, after it was stored; first comes what is unsettled.

        :raises CursorError: the stored cursor cannot be gone on with.
        """
        try:
            found, _ = self.look(drchrono, self._counted)
        except _UnsettledError as unsettled:
            return unsettled.announcement
        return self._announcement if found else None

    def settle(self, announcement: ChangeEvent) -> None:
        """Store that an announcement has arrived.

        :raises CursorError: the stored cursor cannot be gone on with.
        """
        with self._store.lease(self._name):
            text = self._store.load(self._name)
            cursor = None if text is None else read_cursor(text, self._subject.resource)
            if cursor is not None and cursor.announcement == announcement:
                self._store.save(self._name, cursor.settled().dump())

    def _counted(self, records: Iterator[Record]) -> tuple[int, tuple[int | str, ...]]:
        count = 0
        ids: list[int | str] = []
        for record in records:
            count += 1
            if self._subject.key and len(ids) < MOST_IDS:
                ids.append(record[self._subject.key[0]])
        return count, tuple(ids)

    def _given(self, cursor: Cursor) -> Window | None:
        # Going on would forget it, and nobody knows whether it has arrived.
        if cursor.announcement is not None:
            raise _UnsettledError(cursor.announcement)
        return None

    def _gave(self, cursor: Cursor, position: Position, result: Any) -> Cursor:
        count, ids = result
        since = cursor.position.since if cursor.position else None
        until = position.until
        while until.isoformat() in cursor.runs:
            # Two polls in one second are two announcements.
            until += timedelta(microseconds=1)
        announcement = ChangeEvent(
            asset=self._asset,
            resource=self._subject.resource,
            since=since.isoformat() if since else None,
            until=until.isoformat(),
            count=count,
            ids=ids,
        )
        return cursor.announced(announcement, position)

    def _saved(self, text: str | None, cursor: Cursor) -> bool:
        is_saved = super()._saved(text, cursor)
        if is_saved:
            self._announcement = cursor.announcement
        return is_saved
