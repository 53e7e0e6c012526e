"""Polls a list until something in it has changed, and says so by ids and counts; whoever is told reads the records.

No patient data and no filter that names a person passes through here, since arguments and events of triggers are kept
in Airflow's database.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_drchrono.changes.cursor import CursorName
from airflow_provider_drchrono.triggers.waiting import pause_after, sleep_until

if TYPE_CHECKING:
    from airflow_provider_drchrono.changes.reading import Position, Reading
    from airflow_provider_drchrono.changes.subject import Change, Subject
    from airflow_provider_drchrono.client import AsyncDrChronoClient
    from airflow_provider_drchrono.hooks.drchrono import DrChronoHook

Status = Literal["changes", "timeout", "failed"]

MOST_IDS = 1_000
"""So many ids an event names; it says how many there are in all."""


@dataclass(frozen=True, slots=True)
class ChangesEvent:
    """What the trigger tells.

    :param status: ``changes``: there are some, or it is time to look; ``timeout``: there were none in time; ``failed``:
        see ``message``.
    :param resource: what was polled.
    :param since: where the window begins, by the practice's clock; None for everything.
    :param until: when it was polled, by the server's clock.
    :param count: how many records are new in it.
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
    def read(cls, payload: object) -> ChangesEvent:
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


class DrChronoChangesTrigger(BaseEventTrigger):
    """Waits for changes of a list.

    It goes on from the stored cursor of a sensor, which it reads before each poll and never writes, or from an
    explicit time.

    :param drchrono_conn_id: the Airflow connection.
    :param resource: the resource that is polled, such as ``patients``.
    :param filters: filters of the list, without such as name a person.
    :param change: which changes count.
    :param verbose: whether marks in the cursor are of verbose records.
    :param cursor: DAG id, task id and map index of the sensor whose cursor counts; None where ``since`` does.
    :param since: wall-clock time of the practice, in ISO 8601, without a zone.
    :param poll_interval: seconds between two polls.
    :param not_before: do not poll earlier, in seconds since the epoch.
    :param look: poll; without it only ``not_before`` is waited for.
    :param ends: when to give up, in seconds since the epoch: the wait is bounded however often a triggerer restarts.
    """

    def __init__(
        self,
        *,
        drchrono_conn_id: str,
        resource: str,
        filters: Mapping[str, Any] | None = None,
        change: Change = "any",
        verbose: bool = False,
        cursor: Sequence[Any] | None = None,
        since: str | None = None,
        poll_interval: float = 360.0,
        not_before: float = 0.0,
        look: bool = True,
        ends: float,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.drchrono_conn_id = drchrono_conn_id
        self.resource = resource
        self.filters = dict(filters or {})
        self.change: Change = change
        self.verbose = verbose
        self.cursor = list(cursor) if cursor is not None else None
        self.since = since
        self.poll_interval = poll_interval
        self.not_before = not_before
        self.look = look
        self.ends = ends

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, as Airflow stores them."""
        return (
            "airflow_provider_drchrono.triggers.changes.DrChronoChangesTrigger",
            {
                "drchrono_conn_id": self.drchrono_conn_id,
                "resource": self.resource,
                "filters": self.filters,
                "change": self.change,
                "verbose": self.verbose,
                "cursor": self.cursor,
                "since": self.since,
                "poll_interval": self.poll_interval,
                "not_before": self.not_before,
                "look": self.look,
                "ends": self.ends,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield one :class:`ChangesEvent`."""
        event = await self._wait()
        yield TriggerEvent(event.payload())  # type: ignore[no-untyped-call]

    async def _wait(self) -> ChangesEvent:
        from airflow_provider_drchrono.changes.cursor import CursorError
        from airflow_provider_drchrono.client import DrChronoError
        from airflow_provider_drchrono.hooks.polling import polling_hook

        pause = max(self.not_before - time.time(), self.poll_interval if self.look else 0.0)
        if not await sleep_until(self.ends, pause):
            return self._event("timeout")
        if not self.look:
            return self._event("changes")
        hook: DrChronoHook | None = None
        try:
            hook = await asyncio.to_thread(polling_hook, self.drchrono_conn_id)
            return await self._poll(hook)
        except DrChronoError as error:
            return self._event("failed", message=str(error), transient=bool(error.transient))
        except CursorError:
            # The sensor meets it too, and says what to do.
            return self._event("changes")
        finally:
            if hook is not None:
                await hook.aclose()

    async def _poll(self, hook: DrChronoHook) -> ChangesEvent:
        from airflow_provider_drchrono.client import DrChronoError

        failures = 0
        while True:
            pause = self.poll_interval
            try:
                event = await self._look(await hook.get_async_conn())
            except DrChronoError as error:
                failures += 1
                pause = pause_after(error, failures, self.poll_interval)
            else:
                failures = 0
                if event is not None:
                    return event
            if not await sleep_until(self.ends, pause):
                return self._event("timeout")

    async def _look(self, drchrono: AsyncDrChronoClient) -> ChangesEvent | None:
        """Poll once, and return an event if there is anything to tell."""
        from airflow_provider_drchrono.catalog import load
        from airflow_provider_drchrono.changes.reading import Reading
        from airflow_provider_drchrono.changes.subject import Subject

        subject = Subject.of(load(), self.resource)
        salt, position = await asyncio.to_thread(self._position)
        if position is None:
            return self._event("changes")
        reading = Reading(subject, salt, position, self.change)
        return await self._read(drchrono, subject, position, reading)

    async def _read(
        self, drchrono: AsyncDrChronoClient, subject: Subject, position: Position, reading: Reading
    ) -> ChangesEvent | None:
        ids: list[int | str] = []
        count = 0
        for query in subject.queries(self.filters, position.since):
            async for page in drchrono.pages(subject.operation_id, query, verbose=self.verbose):
                for record in reading.fresh(page.records):
                    count += 1
                    if subject.key and len(ids) < MOST_IDS:
                        ids.append(record[subject.key[0]])
        if not count:
            return None
        until = drchrono.server_time
        return self._event(
            "changes",
            since=position.since.isoformat() if position.since else None,
            until=until.isoformat() if until else None,
            count=count,
            ids=tuple(ids),
        )

    def _position(self) -> tuple[str, Position | None]:
        """Return salt and position to poll from; None where the sensor has to begin anew. It blocks."""
        from airflow_provider_drchrono.changes.cursor import read_cursor
        from airflow_provider_drchrono.changes.reading import Position
        from airflow_provider_drchrono.hooks.cursor_store import VariableCursorStore

        if self.cursor is None:
            return "", Position.at_start(datetime.fromisoformat(self.since) if self.since else None)
        text = VariableCursorStore().load(CursorName(*self.cursor))
        if text is None:
            return "", None
        cursor = read_cursor(text, self.resource)
        return cursor.salt, cursor.position

    def _event(self, status: Status, **details: Any) -> ChangesEvent:
        return ChangesEvent(status, self.resource, ends=self.ends, **details)
