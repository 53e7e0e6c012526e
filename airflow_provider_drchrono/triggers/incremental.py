"""Waits until something in a list has changed, and says so by ids and counts; whoever is told reads the records.

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
from airflow_provider_drchrono.triggers.waiting import sleep_until

if TYPE_CHECKING:
    from airflow_provider_drchrono.incremental.lists import Change, IncrementalList
    from airflow_provider_drchrono.incremental.poller import Selection
    from airflow_provider_drchrono.incremental.subscribers import PollSummary, Subscriber

Status = Literal["changes", "timeout", "failed"]


@dataclass(frozen=True, slots=True)
class PollEvent:
    """What the trigger tells a task.

    :param status: ``changes``: there are some, or it is time to look; ``timeout``: there were none in time; ``failed``:
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
            raise ValueError("The task was resumed with an event that tells no changes; clear it to start again")
        known = {name: payload[name] for name in cls.__dataclass_fields__ if name in payload}
        try:
            return cls(**known | {"ids": tuple(known.get("ids", ())), "ends": float(known.get("ends", 0.0))})
        except TypeError:
            pass
        raise ValueError("The task was resumed with an event that names no list; clear it to start again")

    def payload(self) -> dict[str, Any]:
        """Return the event as Airflow stores it."""
        return asdict(self) | {"ids": list(self.ids)}


class DrChronoIncrementalTrigger(BaseEventTrigger):
    """Waits for changes of a list, for a task or for the watcher of an asset.

    For a task it goes on from the stored cursor of a sensor, which it reads before each poll and never writes, or from
    an explicit time, and yields one :class:`PollEvent`. With ``watch`` it never ends: it keeps a cursor for the
    asset, and yields one :class:`~airflow_provider_drchrono.incremental.events.event.ChangeEvent` for each poll that
    found something, after the cursor was stored.

    All triggers of a process that follow the same list share its polls.

    :param drchrono_conn_id: the Airflow connection.
    :param resource: the resource that is polled, such as ``patients``.
    :param filters: filters of the list, without such as name a person; a mapping, or one in JSON.
    :param change: which changes count.
    :param verbose: whether marks in the cursor are of verbose records.
    :param poll_interval: seconds between two polls.
    :param lookback: seconds that a change may take until the list shows it; None for what the catalogue says.
    :param watch: name of the asset to watch for; None to wait for a task.
    :param start: where watching begins: ``now``, ``beginning``, or a time in ISO 8601.
    :param cursor: DAG id, task id and map index of the sensor whose cursor counts; None where ``since`` does.
    :param since: wall-clock time of the practice, in ISO 8601, without a zone.
    :param timezones: the practice's, with ``since``.
    :param rested_at: when the task has polled by itself and found nothing, by the server's clock, in ISO 8601.
    :param not_before: do not tell anything earlier, in seconds since the epoch.
    :param look: poll; without it only ``not_before`` is waited for.
    :param ends: when to give up, in seconds since the epoch: the wait is bounded however often a triggerer restarts.
    """

    def __init__(
        self,
        *,
        drchrono_conn_id: str,
        resource: str,
        filters: Mapping[str, Any] | str | None = None,
        change: Change = "any",
        verbose: bool = False,
        poll_interval: float = 360.0,
        lookback: float | None = None,
        watch: str | None = None,
        start: str = "now",
        cursor: Sequence[Any] | None = None,
        since: str | None = None,
        timezones: Sequence[str] = (),
        rested_at: str | None = None,
        not_before: float = 0.0,
        look: bool = True,
        ends: float = 0.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.drchrono_conn_id = drchrono_conn_id
        self.resource = resource
        self.filters: dict[str, Any] = json.loads(filters) if isinstance(filters, str) else dict(filters or {})
        self.change: Change = change
        self.verbose = verbose
        self.poll_interval = poll_interval
        self.lookback = lookback
        self.watch = watch
        self.start = start
        self.cursor = list(cursor) if cursor is not None else None
        self.since = since
        self.timezones = list(timezones)
        self.rested_at = rested_at
        self.not_before = not_before
        self.look = look
        self.ends = ends

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, as Airflow stores them."""
        arguments: dict[str, Any] = {
            "drchrono_conn_id": self.drchrono_conn_id,
            "resource": self.resource,
            "filters": self.filters,
            "change": self.change,
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
                "rested_at": self.rested_at,
                "not_before": self.not_before,
                "look": self.look,
                "ends": self.ends,
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
        from airflow_provider_drchrono.triggers.watching import announcements

        async for announcement in announcements(self, self.watch):
            yield TriggerEvent(announcement.payload())  # type: ignore[no-untyped-call]

    async def _wait(self) -> PollEvent:
        from airflow_provider_drchrono.client import DrChronoError

        if not self.look:
            in_time = await sleep_until(self.ends, self.not_before - time.time())
            return self._event("changes" if in_time else "timeout")
        try:
            news = await self.news(self.listener(), not_before=self.not_before, ends=self.ends)
        except DrChronoError as error:
            return self._event("failed", message=str(error), transient=bool(error.transient))
        if news is None:
            return self._event("timeout")
        return self._event(
            "changes",
            since=news.since.isoformat() if news.since else None,
            until=news.until.isoformat() if news.until else None,
            count=news.count,
            ids=news.ids,
        )

    async def news(
        self, listener: Subscriber, *, not_before: float = 0.0, ends: float | None = None
    ) -> PollSummary | None:
        """Wait, together with all who follow the same list, for something that is new to a listener.

        :param not_before: epoch seconds before which nothing may be told.
        :param ends: epoch seconds at which to give up; None for never.
        :return: what is new; None if there was nothing in time.
        :raises DrChronoError: polling fails, and trying again does not help.
        """
        from airflow_provider_drchrono.catalog import load
        from airflow_provider_drchrono.incremental.subscribers import group_of, told_apart
        from airflow_provider_drchrono.triggers.shared_polls import PolledList, shared_polls

        sent, _ = told_apart(load(), self.resource, self.filters)
        polled = PolledList(self.drchrono_conn_id, self.resource, self.verbose, group_of(sent))
        return await shared_polls().wait(
            polled, listener, interval=self.poll_interval, not_before=not_before, ends=ends
        )

    def listener(self) -> Subscriber:
        """Return who hears the polls for this trigger."""
        from airflow_provider_drchrono.catalog import load
        from airflow_provider_drchrono.incremental.detection import Position
        from airflow_provider_drchrono.incremental.lists import IncrementalList
        from airflow_provider_drchrono.incremental.subscribers import Subscriber, SubscriberPosition, told_apart
        from airflow_provider_drchrono.state.cursor_store import VariableCursorStore

        _, filters = told_apart(load(), self.resource, self.filters)
        subject = IncrementalList.of(load(), self.resource)
        name = CursorName.of_asset(self.watch) if self.watch is not None else None
        if name is None and self.cursor is not None:
            name = CursorName(*self.cursor)
        since = datetime.fromisoformat(self.since) if self.since else None
        return Subscriber(
            subject,
            filters=filters,
            change=self.change,
            lookback=self._lookback(subject),
            load=(lambda: VariableCursorStore().load(name)) if name else None,
            at=None if name else SubscriberPosition("", Position.at_start(since), since, tuple(self.timezones)),
            rested_at=datetime.fromisoformat(self.rested_at) if self.rested_at else None,
        )

    def followed(self) -> Selection:
        """Return what is followed, for those who poll by themselves."""
        from airflow_provider_drchrono.catalog import load
        from airflow_provider_drchrono.incremental.lists import IncrementalList
        from airflow_provider_drchrono.incremental.poller import Selection

        subject = IncrementalList.of(load(), self.resource)
        return Selection(
            subject=subject,
            filters=self.filters,
            verbose=self.verbose,
            change=self.change,
            lookback=self._lookback(subject),
            start=self.start,
        )

    def _lookback(self, subject: IncrementalList) -> timedelta:
        return subject.lookback if self.lookback is None else timedelta(seconds=self.lookback)

    def _event(self, status: Status, **details: Any) -> PollEvent:
        return PollEvent(status, self.resource, ends=self.ends, **details)


def _load() -> None:
    """Load what waiting takes, if no other trigger has."""
    from airflow_provider_drchrono import client
    from airflow_provider_drchrono.catalog import load
    from airflow_provider_drchrono.hooks import polling
    from airflow_provider_drchrono.incremental import subscribers
    from airflow_provider_drchrono.state import cursor_store
    from airflow_provider_drchrono.triggers import shared_polls, watching

    load()
    _ = client, subscribers, cursor_store, polling, shared_polls, watching
