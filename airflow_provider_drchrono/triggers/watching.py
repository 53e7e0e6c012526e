"""Watches a list for an asset: never ends, announces each change once, and survives whatever goes wrong meanwhile.

Airflow stores an event a moment after it was yielded, and says nothing when it has. So an announcement counts as made
only some seconds later; a triggerer that is killed before then makes it again, and who reads it reads it once.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_provider_drchrono.client.errors import DrChronoError, RateLimitedError
from airflow_provider_drchrono.compat import AirflowNotFoundException
from airflow_provider_drchrono.incremental.cursor import CursorError, CursorName

if TYPE_CHECKING:
    from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
    from airflow_provider_drchrono.incremental.events.event import ChangeEvent
    from airflow_provider_drchrono.incremental.events.writer import EventWriter
    from airflow_provider_drchrono.triggers.incremental import DrChronoIncrementalTrigger

log = logging.getLogger(__name__)

SETTLING = 5.0
"""Seconds after which Airflow has stored an event; a triggerer hands its events on every second."""

LONGEST_PAUSE = 3600.0
"""Seconds between two tries at most, however often they have failed."""


async def announcements(trigger: DrChronoIncrementalTrigger, asset: str) -> AsyncIterator[ChangeEvent]:
    """Yield what there is to announce, for ever.

    Nothing that can go wrong with the connection, the API or the cursor ends it, since Airflow would begin anew at
    once: it is logged, with what to do, and tried again after a pause.

    :param asset: name of the asset.
    """
    watch = _Watch(trigger, asset)
    listener = trigger.listener()
    begun, failures = False, 0
    while True:
        try:
            if begun:
                await trigger.news(listener)
            announcement = await asyncio.to_thread(watch.announce)
        except Exception as error:
            failures += 1
            pause = _pause_after(error, failures, trigger.poll_interval)
            told = CursorName.of_asset(asset).refused(error) if isinstance(error, CursorError) else _told(error)
            log.error("Asset %s: watching failed; trying again in %.0f seconds: %s", asset, pause, told)
            await asyncio.sleep(pause)
            continue
        begun, failures = True, 0
        if announcement is None:
            listener.rested(watch.rested_at)
            continue
        log.info("Asset %s: %d records of %s are new", asset, announcement.count, announcement.resource)
        yield announcement
        await asyncio.sleep(SETTLING)
        try:
            await asyncio.to_thread(watch.settle, announcement)
        except Exception as error:
            log.warning("Asset %s: its last event may come once more, and is read once: %s", asset, _told(error))


class _Watch:
    """What a watcher does by itself, in a thread: it polls like a sensor, and keeps its cursor."""

    def __init__(self, trigger: DrChronoIncrementalTrigger, asset: str) -> None:
        self._trigger = trigger
        self._asset = asset
        self.rested_at: datetime | None = None

    def announce(self) -> ChangeEvent | None:
        """Return what may not have arrived the last time, or else poll, and return what is new."""
        hook = self._hook()
        try:
            announcer = self._announcer(hook)
            announcement = announcer.announce(hook.get_conn())
        finally:
            hook.close()
        self.rested_at = announcer.looked_at
        return announcement

    def settle(self, announcement: ChangeEvent) -> None:
        """Note that an announcement has arrived."""
        self._announcer(self._hook()).settle(announcement)

    def _hook(self) -> DrChronoHook:
        from airflow_provider_drchrono.hooks.polling import polling_hook

        return polling_hook(self._trigger.drchrono_conn_id)

    def _announcer(self, hook: DrChronoHook) -> EventWriter:
        from airflow_provider_drchrono.hooks.practice_timezones import PracticeClocks
        from airflow_provider_drchrono.incremental.events.writer import EventWriter
        from airflow_provider_drchrono.state.cursor_store import VariableCursorStore

        return EventWriter(
            self._trigger.followed(), store=VariableCursorStore(), asset=self._asset, clocks=PracticeClocks(hook)
        )


def _pause_after(error: Exception, failures: int, poll_interval: float) -> float:
    if isinstance(error, RateLimitedError) and error.retry_at is not None:
        return max(poll_interval, error.retry_at.timestamp() - time.time())
    return min(poll_interval * failures, max(poll_interval, LONGEST_PAUSE))


def _told(error: Exception) -> str:
    """Return an error in words that hold no patient data: ours are made so, and of others kind and place are told."""
    if isinstance(error, DrChronoError | CursorError | AirflowNotFoundException):
        return str(error)
    places = traceback.extract_tb(error.__traceback__)[-1:]
    return " ".join([type(error).__name__, *(f"in {each.filename}, line {each.lineno}" for each in places)])
