"""Waits until DrChrono has made the pages of a bulk list.

What comes back to the task is one event of ids and counts; the task fetches the records itself, so that no patient
data passes through Airflow's database.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_drchrono.triggers.waiting import MOST_FAILURES

if TYPE_CHECKING:
    from airflow_provider_drchrono.client import AsyncDrChronoClient

Status = Literal["complete", "timeout", "failed"]

VERSION = 1
"""Of the event's payload; a task may be resumed by another release than the one that deferred it."""


@dataclass(frozen=True, slots=True)
class BulkEvent:
    """What the trigger reports to the task.

    :param status: ``complete``: all pages can be fetched; ``timeout``: they are not done by the deadline; ``failed``:
        see ``message``.
    :param uuids: the pages that were waited for.
    :param ends: when to give up, in seconds since the epoch.
    :param pages: how many pages the whole list has, by the last page that is done.
    :param count: how many records the whole list has, where the API says.
    :param message: one line, without patient data, on what went wrong.
    :param transient: whether starting the list again may help.
    """

    status: Status
    uuids: tuple[str, ...]
    ends: float = 0.0
    pages: int = 0
    count: int | None = None
    message: str = ""
    transient: bool = False

    @classmethod
    def read(cls, payload: object) -> BulkEvent:
        """Return the event that a task was resumed with.

        :raises ValueError: it is none of ours, so nothing may be concluded from it.
        """
        if not isinstance(payload, Mapping) or payload.get("status") not in get_args(Status):
            raise ValueError(
                "The task was resumed with an event that is not one of a bulk list; clear it to start again"
            )
        uuids = payload.get("uuids")
        if not isinstance(uuids, list | tuple) or not all(isinstance(each, str) for each in uuids):
            raise ValueError("The task was resumed with an event that names no bulk list; clear it to start again")
        if payload.get("version") != VERSION:
            raise ValueError(
                f"The task was resumed with an event in version {str(payload.get('version'))[:20]!r}, and this release "
                f"reads version {VERSION}; clear it to start again"
            )
        known = {name: payload[name] for name in cls.__dataclass_fields__ if name in payload}
        return cls(**known | {"uuids": tuple(uuids)})

    def payload(self) -> dict[str, Any]:
        """Return the event as Airflow stores it."""
        return asdict(self) | {"version": VERSION, "uuids": list(self.uuids)}


class DrChronoBulkListTrigger(BaseTrigger):
    """Asks for the pages of a bulk list until all are done.

    :param drchrono_conn_id: the Airflow connection.
    :param resource: the resource that is listed, such as ``patients``.
    :param uuids: one for each page that was started.
    :param ends: when to give up, in seconds since the epoch: the wait is bounded however often a triggerer restarts.
    :param poll_interval: seconds between two looks at the same page; each look is a call of the quota.
    :param not_before: do not look earlier, in seconds since the epoch.
    """

    def __init__(
        self,
        *,
        drchrono_conn_id: str,
        resource: str,
        uuids: Sequence[str],
        ends: float,
        poll_interval: float,
        not_before: float = 0.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.drchrono_conn_id = drchrono_conn_id
        self.resource = resource
        self.uuids = list(uuids)
        self.ends = ends
        self.poll_interval = poll_interval
        self.not_before = not_before

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, as Airflow stores them."""
        return (
            "airflow_provider_drchrono.triggers.bulk.DrChronoBulkListTrigger",
            {
                "drchrono_conn_id": self.drchrono_conn_id,
                "resource": self.resource,
                "uuids": self.uuids,
                "ends": self.ends,
                "poll_interval": self.poll_interval,
                "not_before": self.not_before,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield one :class:`BulkEvent`."""
        event = await self._wait()
        yield TriggerEvent(event.payload())  # type: ignore[no-untyped-call]

    async def _wait(self) -> BulkEvent:
        from airflow_provider_drchrono.client import DrChronoError
        from airflow_provider_drchrono.hooks.drchrono import DrChronoHook

        hook = DrChronoHook(self.drchrono_conn_id)
        try:
            drchrono = await hook.get_async_conn()
            return await self._poll(drchrono)
        except DrChronoError as error:
            return self._event("failed", message=str(error), transient=bool(error.transient))
        finally:
            await hook.aclose()

    async def _poll(self, drchrono: AsyncDrChronoClient) -> BulkEvent:
        from airflow_provider_drchrono.client import BulkPacing

        pages, count = 0, None
        pacing = BulkPacing(
            self.ends, longest=self.poll_interval, not_before=self.not_before, most_failures=MOST_FAILURES
        )
        for uuid in self.uuids:
            result = await drchrono.bulk_wait(self.resource, uuid, pacing)
            if result is None:
                return self._event("timeout", pages=pages, count=count)
            pages, count = result.pages, result.count
        return self._event("complete", pages=pages, count=count)

    def _event(self, status: Status, **details: Any) -> BulkEvent:
        return BulkEvent(status, tuple(self.uuids), self.ends, **details)
