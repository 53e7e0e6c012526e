"""Watches a list for an asset: never ends, makes one event of each window, and survives whatever goes wrong meanwhile.

Airflow stores an event a moment after it was yielded, and does not report when it has. So an event counts as stored
only some seconds later. A triggerer that is killed before then yields the event again; its readers ignore the second.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from airflow_provider_drchrono.client.errors import RateLimitedError
from airflow_provider_drchrono.incremental.cursor import CursorError, CursorName
from airflow_provider_drchrono.triggers.waiting import described

if TYPE_CHECKING:
    from airflow_provider_drchrono.catalog import Catalog
    from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
    from airflow_provider_drchrono.incremental.events.event import ChangeEvent
    from airflow_provider_drchrono.incremental.events.writer import EventWriter
    from airflow_provider_drchrono.incremental.lists import Selection
    from airflow_provider_drchrono.incremental.subscribers import PollSummary, Subscriber
    from airflow_provider_drchrono.incremental.suspicion import ReadFacts

log = logging.getLogger(__name__)

ACKNOWLEDGE_AFTER = 5.0
"""Seconds after which Airflow has stored an event; a triggerer hands its events on every second."""

LONGEST_PAUSE = 3600.0
"""Seconds between two tries at most, however often they have failed."""


class WatchingTrigger(Protocol):
    """The trigger of an asset, as far as watching needs it."""

    drchrono_conn_id: str
    poll_interval: float

    def selection(self, catalog: Catalog, hash_key: bytes) -> Selection:
        """Return what is watched."""

    def subscriber(self, catalog: Catalog, hash_key: bytes) -> Subscriber:
        """Return the subscriber that takes part in the shared polls for the trigger."""

    def due(self) -> float | None:
        """Return when the next poll is due after one in this process; None where it is due now."""

    def note_poll(self) -> None:
        """Note that the list was polled just now."""

    async def wait_for_changes(self, subscriber: Subscriber) -> PollSummary | None:
        """Wait for something new."""


async def watch(trigger: WatchingTrigger, asset: str) -> AsyncIterator[ChangeEvent]:
    """Yield the events of an asset, for ever.

    Nothing that can go wrong with the connection, the API or the cursor ends it, since Airflow would begin anew at
    once: it is logged, with what to do, and tried again after a pause.

    :param asset: name of the asset.
    """
    watcher = _Watcher(trigger, asset)
    subscriber: Subscriber | None = None
    begun, failures = False, 0
    while True:
        try:
            subscriber = subscriber or trigger.subscriber(*await asyncio.to_thread(watcher.facts))
            event = None
            if not begun and trigger.due() is not None:
                # Airflow has begun the watcher anew, and the list was polled a moment ago.
                begun, event = await asyncio.to_thread(watcher.resume)
            if event is None:
                if begun:
                    await trigger.wait_for_changes(subscriber)
                event = await asyncio.to_thread(watcher.next_event)
                trigger.note_poll()
        except Exception as error:
            failures += 1
            pause = _pause_after(error, failures, trigger.poll_interval)
            problem = CursorName.of_asset(asset).explain(error) if isinstance(error, CursorError) else described(error)
            log.error("Asset %s: watching failed; trying again in %.0f seconds: %s", asset, pause, problem)
            await asyncio.sleep(pause)
            continue
        begun, failures = True, 0
        if event is None:
            subscriber.advance(watcher.polled_at)
            continue
        log.info("Asset %s: %d records of %s are new", asset, event.count, event.resource)
        yield event
        await asyncio.sleep(ACKNOWLEDGE_AFTER)
        try:
            await asyncio.to_thread(watcher.acknowledge, event)
        except Exception as error:
            log.warning("Asset %s: its last event may come twice, and is read once: %s", asset, described(error))


class _Watcher:
    """The blocking part of a watcher: it polls like a sensor, and keeps its cursor."""

    def __init__(self, trigger: WatchingTrigger, asset: str) -> None:
        self._trigger = trigger
        self._asset = asset
        self.polled_at: datetime | None = None

    def facts(self) -> tuple[Catalog, bytes]:
        """Return the catalogue with the facts of the connection, and the key by which watched fields are compared."""
        hook = self._hook()
        return hook.catalog, hook.hash_key

    def next_event(self) -> ChangeEvent | None:
        """Return the event that may not have arrived the last time, or else poll, and return what is new."""
        hook = self._hook()
        try:
            writer = self._writer(hook)
            event = writer.next_event(hook.get_conn())
        finally:
            hook.close()
        self.polled_at = writer.polled_at
        return event

    def resume(self) -> tuple[bool, ChangeEvent | None]:
        """Return whether the asset has been polled before, and the event that may not have arrived; poll nothing."""
        return self._writer(self._hook()).resume()

    def acknowledge(self, event: ChangeEvent) -> None:
        """Note that an event has arrived."""
        self._writer(self._hook()).acknowledge(event)

    def _hook(self) -> DrChronoHook:
        from airflow_provider_drchrono.hooks.drchrono import polling_hook

        return polling_hook(self._trigger.drchrono_conn_id)

    def _writer(self, hook: DrChronoHook) -> EventWriter:
        from airflow_provider_drchrono.incremental.events.writer import EventWriter
        from airflow_provider_drchrono.incremental.suspicion import act_on
        from airflow_provider_drchrono.state.cursor_store import VariableCursorStore

        selection = self._trigger.selection(hook.catalog, hook.hash_key)

        def judge(read: ReadFacts) -> bool:
            found = hook.suspicions(selection.incremental_list.operation_id, read)
            act_on(found, "warn")
            return bool(found)

        return EventWriter(
            selection,
            store=VariableCursorStore(),
            asset=self._asset,
            timezones=hook,
            source=hook.continued_source,
            judge=judge,
        )


def _pause_after(error: Exception, failures: int, poll_interval: float) -> float:
    if isinstance(error, RateLimitedError) and error.retry_at is not None:
        return max(poll_interval, error.retry_at.timestamp() - time.time())
    return min(poll_interval * failures, max(poll_interval, LONGEST_PAUSE))
