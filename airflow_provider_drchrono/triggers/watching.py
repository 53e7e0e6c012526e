"""Watches a list for an asset: never ends, makes one event of each window, and survives whatever goes wrong meanwhile.

Airflow stores an event a moment after it was yielded, and does not report when it has. So an event counts as stored
only some seconds later. A triggerer that is killed before then yields the event again; its readers ignore the second.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from airflow_provider_drchrono.client.errors import DrChronoError, RateLimitedError
from airflow_provider_drchrono.compat import AirflowNotFoundException
from airflow_provider_drchrono.incremental.cursor import CursorError, CursorName

if TYPE_CHECKING:
    from airflow_provider_drchrono.catalog import Catalog
    from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
    from airflow_provider_drchrono.incremental.events.event import ChangeEvent
    from airflow_provider_drchrono.incremental.events.writer import EventWriter
    from airflow_provider_drchrono.incremental.lists import Selection
    from airflow_provider_drchrono.incremental.subscribers import PollSummary, Subscriber

log = logging.getLogger(__name__)

ACKNOWLEDGE_AFTER = 5.0
"""Seconds after which Airflow has stored an event; a triggerer hands its events on every second."""

LONGEST_PAUSE = 3600.0
"""Seconds between two tries at most, however often they have failed."""


class WatchingTrigger(Protocol):
    """The trigger of an asset, as far as watching needs it."""

    drchrono_conn_id: str
    poll_interval: float

    def selection(self, catalog: Catalog) -> Selection:
        """Return what is watched."""

    def subscriber(self, catalog: Catalog) -> Subscriber:
        """Return the subscriber that takes part in the shared polls for the trigger."""

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
            subscriber = subscriber or trigger.subscriber(await asyncio.to_thread(watcher.catalog))
            if begun:
                await trigger.wait_for_changes(subscriber)
            event = await asyncio.to_thread(watcher.next_event)
        except Exception as error:
            failures += 1
            pause = _pause_after(error, failures, trigger.poll_interval)
            problem = CursorName.of_asset(asset).explain(error) if isinstance(error, CursorError) else _described(error)
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
            log.warning("Asset %s: its last event may come twice, and is read once: %s", asset, _described(error))


class _Watcher:
    """The blocking part of a watcher: it polls like a sensor, and keeps its cursor."""

    def __init__(self, trigger: WatchingTrigger, asset: str) -> None:
        self._trigger = trigger
        self._asset = asset
        self.polled_at: datetime | None = None

    def catalog(self) -> Catalog:
        """Return the catalogue with the facts of the connection."""
        return self._hook().catalog

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

    def acknowledge(self, event: ChangeEvent) -> None:
        """Note that an event has arrived."""
        self._writer(self._hook()).acknowledge(event)

    def _hook(self) -> DrChronoHook:
        from airflow_provider_drchrono.hooks.drchrono import polling_hook

        return polling_hook(self._trigger.drchrono_conn_id)

    def _writer(self, hook: DrChronoHook) -> EventWriter:
        from airflow_provider_drchrono.incremental.events.writer import EventWriter
        from airflow_provider_drchrono.state.cursor_store import VariableCursorStore

        return EventWriter(
            self._trigger.selection(hook.catalog), store=VariableCursorStore(), asset=self._asset, timezones=hook
        )


def _pause_after(error: Exception, failures: int, poll_interval: float) -> float:
    if isinstance(error, RateLimitedError) and error.retry_at is not None:
        return max(poll_interval, error.retry_at.timestamp() - time.time())
    return min(poll_interval * failures, max(poll_interval, LONGEST_PAUSE))


def _described(error: Exception) -> str:
    """Describe an error without patient data: of errors that are not ours, only the type and the place are named."""
    if isinstance(error, DrChronoError | CursorError | AirflowNotFoundException):
        return str(error)
    places = traceback.extract_tb(error.__traceback__)[-1:]
    return " ".join([type(error).__name__, *(f"in {each.filename}, line {each.lineno}" for each in places)])
