"""Waits until something in a list has changed, and reports it by ids and counts; the task reads the records.

No patient data and no filter that names a person passes through here, since arguments and events of triggers are kept
in Airflow's database.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_drchrono.incremental.cursor import CursorName
from airflow_provider_drchrono.triggers.waiting import described, may_pass, sleep_until

if TYPE_CHECKING:
    from airflow_provider_drchrono.catalog import Catalog
    from airflow_provider_drchrono.incremental.lists import Change, IncrementalList, Selection
    from airflow_provider_drchrono.incremental.subscribers import PollSummary, Subscriber
    from airflow_provider_drchrono.incremental.suspicion import OnSuspicious
    from airflow_provider_drchrono.incremental.watched_fields import WatchedFields
    from airflow_provider_drchrono.triggers.shared_polls import PolledList

Status = Literal["changes", "timeout", "failed"]

VERSION = 1
"""Of the event's payload; a task may be resumed by another release than the one that deferred it."""


@dataclass(frozen=True, slots=True)
class PollEvent:
    """What the trigger reports to a task.

    :param status: ``changes``: there are some, or it is time to poll; ``timeout``: there were none in time; ``failed``:
        see ``message``.
    :param resource: what was polled.
    :param since: where the window begins, by the practice's clock; None for everything.
    :param until: when it was polled, by the server's clock.
    :param count: how many records are new in what was read of it.
    :param ids: their ids, of a great many the first.
    :param ends: when to give up, in seconds since the epoch.
    :param message: one line, without patient data, on what went wrong.
    :param transient: whether trying again may help.
    """

    status: Status
    resource: str
    since: str | None = None
    until: str | None = None
    count: int = 0
    ids: tuple[int | str, ...] = ()
    ends: float = 0.0
    message: str = ""
    transient: bool = False

    @classmethod
    def read(cls, payload: object) -> PollEvent:
        """Return the event that a task was resumed with.

        :raises ValueError: it is none of ours, so nothing may be concluded from it.
        """
        if not isinstance(payload, Mapping) or payload.get("status") not in get_args(Status):
            raise ValueError(
                "The task was resumed with an event that this trigger did not make; clear it to start again"
            )
        if payload.get("version") != VERSION:
            raise ValueError(
                f"The task was resumed with an event in version {str(payload.get('version'))[:20]!r}, and this release "
                f"reads version {VERSION}; clear it to start again"
            )
        known = {name: payload[name] for name in cls.__dataclass_fields__ if name in payload}
        try:
            return cls(**known | {"ids": tuple(known.get("ids", ())), "ends": float(known.get("ends", 0.0))})
        except TypeError:
            pass
        raise ValueError("The task was resumed with an event that names no list; clear it to start again")

    def payload(self) -> dict[str, Any]:
        """Return the event as Airflow stores it."""
        return asdict(self) | {"version": VERSION, "ids": list(self.ids)}


class DrChronoIncrementalTrigger(BaseEventTrigger):
    """Waits for changes of a list, for a task or for the watcher of an asset.

    For a task it continues from the stored cursor of a sensor, which it reads before each poll and never writes, or
    from an explicit time, and yields one :class:`PollEvent`. With ``watch`` it never ends: it keeps a cursor for the
    asset, and yields one :class:`~airflow_provider_drchrono.incremental.events.event.ChangeEvent` for each poll that
    found something, after the cursor was stored.

    All triggers of a process that wait for changes of the same list share its polls.

    :param drchrono_conn_id: the Airflow connection.
    :param resource: the resource that is polled, such as ``patients``.
    :param filters: filters of the list, but none that may name a person; a mapping, or one in JSON.
    :param change: which changes count.
    :param watch_fields: names of the fields of which one has to have another value; None for any change.
    :param verbose: whether the fingerprints in the cursor are of verbose records.
    :param poll_interval: seconds between two polls.
    :param lookback: seconds that a change may take until the list shows it; None for what the catalogue says.
    :param watch: name of the asset to watch for; None to wait for a task.
    :param start: where watching begins: ``now``, ``beginning``, or a time in ISO 8601.
    :param cursor: DAG id, task id and map index of the sensor whose cursor counts; None where ``since`` does.
    :param since: wall-clock time of the practice, in ISO 8601, without a zone.
    :param timezones: the practice's, with ``since``.
    :param polled_at: when the task has polled by itself and found nothing, by the server's clock, in ISO 8601.
    :param not_before: report nothing earlier, in seconds since the epoch.
    :param poll: without it only ``not_before`` is waited for.
    :param ends: when to give up, in seconds since the epoch: the wait is bounded however often a triggerer restarts.
    :param on_suspicious: whether a poll that may hide records is to ``fail`` the task; a watcher only warns.
    """

    def __init__(
        self,
        *,
        drchrono_conn_id: str,
        resource: str,
        filters: Mapping[str, Any] | str | None = None,
        change: Change = "any",
        watch_fields: Sequence[str] | None = None,
        verbose: bool = False,
        poll_interval: float = 360.0,
        lookback: float | None = None,
        watch: str | None = None,
        start: str = "now",
        cursor: Sequence[Any] | None = None,
        since: str | None = None,
        timezones: Sequence[str] = (),
        polled_at: str | None = None,
        not_before: float = 0.0,
        poll: bool = True,
        ends: float = 0.0,
        on_suspicious: OnSuspicious = "warn",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.drchrono_conn_id = drchrono_conn_id
        self.resource = resource
        self.filters: dict[str, Any] = json.loads(filters) if isinstance(filters, str) else dict(filters or {})
        self.change: Change = change
        self.watch_fields = list(watch_fields) if watch_fields is not None else None
        self.verbose = verbose
        self.poll_interval = poll_interval
        self.lookback = lookback
        self.watch = watch
        self.start = start
        self.cursor = list(cursor) if cursor is not None else None
        self.since = since
        self.timezones = list(timezones)
        self.polled_at = polled_at
        self.not_before = not_before
        self.poll = poll
        self.ends = ends
        self.on_suspicious: OnSuspicious = on_suspicious

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, as Airflow stores them."""
        arguments: dict[str, Any] = {
            "drchrono_conn_id": self.drchrono_conn_id,
            "resource": self.resource,
            "filters": self.filters,
            "change": self.change,
            "watch_fields": self.watch_fields,
            "verbose": self.verbose,
            "poll_interval": self.poll_interval,
            "lookback": self.lookback,
        }
        if self.watch is not None:
            # Airflow 3.2 does not restore a watcher's mappings.
            filters = json.dumps(self.filters, sort_keys=True)
            arguments |= {"filters": filters, "watch": self.watch, "start": self.start}
        else:
            arguments |= {
                "cursor": self.cursor,
                "since": self.since,
                "timezones": self.timezones,
                "polled_at": self.polled_at,
                "not_before": self.not_before,
                "poll": self.poll,
                "ends": self.ends,
                "on_suspicious": self.on_suspicious,
            }
        return "airflow_provider_drchrono.triggers.incremental.DrChronoIncrementalTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield one event for a task, or any number for an asset."""
        # The first time it takes longer than the loop should stand still.
        await asyncio.to_thread(_load)
        if self.watch is None:
            event = await self._wait()
            yield TriggerEvent(event.payload())  # type: ignore[no-untyped-call]
            return
        from airflow_provider_drchrono.triggers.watching import watch

        async for change in watch(self, self.watch):
            yield TriggerEvent(change.payload())  # type: ignore[no-untyped-call]

    async def _wait(self) -> PollEvent:
        if not self.poll:
            in_time = await sleep_until(self.ends, self.not_before - time.time())
            return self._event("changes" if in_time else "timeout")
        try:
            subscriber = self.subscriber(*await asyncio.to_thread(self._facts))
            summary = await self.wait_for_changes(subscriber, not_before=self.not_before, ends=self.ends)
        except Exception as error:
            # A trigger that raised it would have the task skipped with soft_fail, whatever it is.
            return self._event("failed", message=described(error), transient=may_pass(error))
        if summary is None:
            return self._event("timeout")
        return self._event(
            "changes",
            since=summary.since.isoformat() if summary.since else None,
            until=summary.until.isoformat() if summary.until else None,
            count=summary.count,
            ids=summary.ids,
        )

    async def wait_for_changes(
        self, subscriber: Subscriber, *, not_before: float = 0.0, ends: float | None = None
    ) -> PollSummary | None:
        """Wait for something that is new to a subscriber, and share the polls of the list with other triggers.

        :param not_before: epoch seconds before which nothing may be reported.
        :param ends: epoch seconds at which to give up; None for never.
        :return: what is new; None if there was nothing in time.
        :raises DrChronoError: polling fails, and trying again does not help.
        """
        from airflow_provider_drchrono.triggers.shared_polls import shared_polls

        return await shared_polls().wait(
            self._polled_list(),
            subscriber,
            interval=self.poll_interval,
            not_before=not_before,
            ends=ends,
            on_suspicious=self.on_suspicious,
            first=self.due() if self.watch is not None else None,
        )

    def due(self) -> float | None:
        """Return when the next poll is due after one in this process, in epoch seconds; None where it is due now."""
        from airflow_provider_drchrono.triggers.shared_polls import shared_polls

        return shared_polls().due(self._polled_list(), self.poll_interval)

    def note_poll(self) -> None:
        """Note that the list was polled just now."""
        from airflow_provider_drchrono.triggers.shared_polls import shared_polls

        shared_polls().note(self._polled_list())

    def _polled_list(self) -> PolledList:
        from airflow_provider_drchrono.catalog import load
        from airflow_provider_drchrono.incremental.subscribers import filters_key, split_filters
        from airflow_provider_drchrono.triggers.shared_polls import PolledList

        sent, _ = split_filters(load(), self.resource, self.filters)
        return PolledList(self.drchrono_conn_id, self.resource, self.verbose, filters_key(sent))

    def subscriber(self, catalog: Catalog, hash_key: bytes = b"") -> Subscriber:
        """Return the subscriber that takes part in the shared polls for this trigger.

        :param catalog: the one with the facts of the connection.
        :param hash_key: of the connection, by which watched fields are compared.
        """
        from airflow_provider_drchrono.catalog import load
        from airflow_provider_drchrono.incremental.detection import Position
        from airflow_provider_drchrono.incremental.lists import IncrementalList
        from airflow_provider_drchrono.incremental.subscribers import Subscriber, SubscriberPosition, split_filters
        from airflow_provider_drchrono.state.cursor_store import VariableCursorStore

        _, filters = split_filters(load(), self.resource, self.filters)
        incremental_list = IncrementalList.of(catalog, self.resource)
        name = CursorName.of_asset(self.watch) if self.watch is not None else None
        if name is None and self.cursor is not None:
            name = CursorName(*self.cursor)
        since = datetime.fromisoformat(self.since) if self.since else None
        return Subscriber(
            incremental_list,
            filters=filters,
            change=self.change,
            lookback=self._lookback(incremental_list),
            watched=self._watched(hash_key),
            load=(lambda: VariableCursorStore().load(name)) if name else None,
            at=None if name else SubscriberPosition("", Position.at_start(since), since, tuple(self.timezones)),
            polled_at=datetime.fromisoformat(self.polled_at) if self.polled_at else None,
        )

    def selection(self, catalog: Catalog, hash_key: bytes = b"") -> Selection:
        """Return what the watcher of an asset reads when it polls by itself.

        :param catalog: the one with the facts of the connection.
        :param hash_key: of the connection, by which watched fields are compared.
        """
        from airflow_provider_drchrono.incremental.lists import IncrementalList, Selection

        incremental_list = IncrementalList.of(catalog, self.resource)
        return Selection(
            incremental_list=incremental_list,
            filters=self.filters,
            verbose=self.verbose,
            change=self.change,
            lookback=self._lookback(incremental_list),
            start=self.start,
            watched=self._watched(hash_key),
        )

    def _facts(self) -> tuple[Catalog, bytes]:
        from airflow_provider_drchrono.hooks.drchrono import DrChronoHook

        hook = DrChronoHook(self.drchrono_conn_id)
        return hook.catalog, hook.hash_key

    def _watched(self, hash_key: bytes) -> WatchedFields | None:
        from airflow_provider_drchrono.incremental.watched_fields import WatchedFields

        return WatchedFields(tuple(self.watch_fields), hash_key) if self.watch_fields is not None else None

    def _lookback(self, incremental_list: IncrementalList) -> timedelta:
        return incremental_list.lookback if self.lookback is None else timedelta(seconds=self.lookback)

    def _event(self, status: Status, **details: Any) -> PollEvent:
        return PollEvent(status, self.resource, ends=self.ends, **details)


def _load() -> None:
    """Load what waiting takes, if no other trigger has."""
    from airflow_provider_drchrono import client
    from airflow_provider_drchrono.catalog import load
    from airflow_provider_drchrono.hooks import drchrono as polling
    from airflow_provider_drchrono.incremental import subscribers
    from airflow_provider_drchrono.state import cursor_store
    from airflow_provider_drchrono.triggers import shared_polls, watching

    load()
    _ = client, subscribers, cursor_store, polling, shared_polls, watching
