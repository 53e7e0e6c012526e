"""Lets all triggers of a process that wait for changes of one list share one poll.

What polling costs depends on how many lists are followed and how often, and not on how many sensors and watchers follow
them. Airflow's shared streams are not used: Airflow 3.2 has none, and who subscribes late misses what was broadcast.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from airflow_provider_drchrono.triggers.waiting import pause_after

if TYPE_CHECKING:
    from airflow_provider_drchrono.client import AsyncDrChronoClient, Page
    from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
    from airflow_provider_drchrono.incremental.lists import IncrementalList
    from airflow_provider_drchrono.incremental.subscribers import PollSummary, Subscriber

log = logging.getLogger(__name__)

# Many threads that read cursors at the same time would keep the event loop from its turns.
_reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="drchrono-cursors")

LONGEST_TURN = 0.02
"""Seconds of work after which the other triggers of the process are let in."""


@dataclass(frozen=True, slots=True)
class PolledList:
    """A list that is polled.

    :param filters: what every poll of it sends, as sorted JSON; filters by ids are left to who listens.
    """

    drchrono_conn_id: str
    resource: str
    verbose: bool
    filters: str


@dataclass(eq=False, slots=True)
class _Waiting:
    """One who waits.

    :param interval: seconds between two polls that he asks for.
    :param not_before: epoch seconds before which he does not want to be told.
    :ivar knows: whether there is something to tell, which only has to wait until then.
    """

    listener: Subscriber
    interval: float
    not_before: float
    told: asyncio.Future[PollSummary] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    knows: bool = False

    def tell(self, news: PollSummary) -> None:
        self.knows = True
        self.told.get_loop().call_later(max(0.0, self.not_before - time.time()), self._tell, news)

    def _tell(self, news: PollSummary) -> None:
        if not self.told.done():
            self.told.set_result(news)

    def fail(self, error: Exception) -> None:
        if not self.told.done():
            self.told.set_exception(error)


class SharedPolls:
    """The lists that the triggers of one event loop follow."""

    def __init__(self) -> None:
        self._groups: dict[PolledList, _Group] = {}

    async def wait(
        self, polled: PolledList, listener: Subscriber, *, interval: float, not_before: float = 0.0, ends: float | None
    ) -> PollSummary | None:
        """Wait for something new; the first poll is an interval away, or sooner if others wait for it.

        :param interval: seconds between two polls, as far as this one cares.
        :param not_before: epoch seconds before which nothing may be told.
        :param ends: epoch seconds at which to give up; None for never.
        :return: what is new; None if there was nothing in time.
        :raises DrChronoError: polling fails, and trying again does not help.
        """
        with self._joined(polled, _Waiting(listener, interval, not_before)) as waiting:
            try:
                async with asyncio.timeout(None if ends is None else max(0.0, ends - time.time())):
                    return await waiting.told
            except TimeoutError:
                return None

    @contextmanager
    def _joined(self, polled: PolledList, waiting: _Waiting) -> Iterator[_Waiting]:
        group = self._groups.get(polled)
        if group is None or group.is_over:
            group = self._groups[polled] = _Group(polled)
        group.join(waiting)
        try:
            yield waiting
        finally:
            group.leave(waiting)
            if group.is_over and self._groups.get(polled) is group:
                del self._groups[polled]


_polls: WeakKeyDictionary[asyncio.AbstractEventLoop, SharedPolls] = WeakKeyDictionary()


def shared_polls() -> SharedPolls:
    """Return what the triggers of the running event loop share."""
    return _polls.setdefault(asyncio.get_running_loop(), SharedPolls())


class _Group:
    """All who follow one list, and the task that polls for them."""

    def __init__(self, polled: PolledList) -> None:
        self._polled = polled
        self._waiting: set[_Waiting] = set()
        self._next = float("inf")
        self._sooner = asyncio.Event()
        # In a context of its own, or its log lines would be taken for those of the trigger that came first.
        self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())

    @property
    def is_over(self) -> bool:
        """Whether nobody polls here any more."""
        return self._task.done() or (not self._waiting and self._task.cancelling() > 0)

    def join(self, waiting: _Waiting) -> None:
        """Poll for one more."""
        self._waiting.add(waiting)
        now = time.time()
        due = now + max(waiting.interval, waiting.not_before - now)
        if due < self._next:
            self._next = due
            self._sooner.set()

    def leave(self, waiting: _Waiting) -> None:
        """Poll for one less, and no more after the last."""
        self._waiting.discard(waiting)
        if not self._waiting:
            self._task.cancel()

    async def _run(self) -> None:
        failures = 0
        while True:
            await self._until_due()
            polled_for = [each for each in self._waiting if not each.knows]
            try:
                self._next = time.time() + await self._poll(polled_for)
                failures = 0
            except Exception as error:
                failures += 1
                pause = self._pause_after(error, failures)
                if pause is None:
                    failures = 0
                    for each in polled_for:
                        each.fail(error)
                self._next = time.time() + (self._interval if pause is None else pause)

    async def _until_due(self) -> None:
        while (left := self._next - time.time()) > 0:
            self._sooner.clear()
            try:
                async with asyncio.timeout(left if left < float("inf") else None):
                    await self._sooner.wait()
            except TimeoutError:
                return

    @property
    def _interval(self) -> float:
        return min((each.interval for each in self._waiting), default=0.0)

    def _pause_after(self, error: Exception, failures: int) -> float | None:
        """Return the seconds to wait after a poll that failed; None where waiting does not help."""
        from airflow_provider_drchrono.client import DrChronoError

        if not isinstance(error, DrChronoError):
            return None
        try:
            pause = pause_after(error, failures, self._interval)
        except DrChronoError:
            return None
        log.warning("Polling %s failed; trying again in %.0f seconds: %s", self._polled.resource, pause, error)
        return pause

    async def _poll(self, polled_for: Sequence[_Waiting]) -> float:
        """Poll once, tell who has to know, and return the seconds until the next poll."""
        from airflow_provider_drchrono.hooks.polling import next_interval, polling_hook
        from airflow_provider_drchrono.incremental.subscribers import PollSummary

        if not polled_for:
            return self._interval
        hook: DrChronoHook = await asyncio.to_thread(polling_hook, self._polled.drchrono_conn_id)
        try:
            located = await locate([each.listener for each in polled_for])
            told = await self._listened(hook, located) if located else {}
            for each in polled_for:
                # Who does not know where to listen from is told that something is to be seen to.
                news = told.get(each.listener, PollSummary())
                if news is not None:
                    each.tell(news)
            return await asyncio.to_thread(next_interval, hook, self._interval)
        finally:
            await hook.aclose()

    async def _listened(
        self, hook: DrChronoHook, listeners: Sequence[Subscriber]
    ) -> dict[Subscriber, PollSummary | None]:
        from airflow_provider_drchrono.catalog import load
        from airflow_provider_drchrono.incremental.lists import IncrementalList

        subject = IncrementalList.of(load(), self._polled.resource)
        drchrono = await hook.get_async_conn()
        filters = json.loads(self._polled.filters)
        return await poll_for(drchrono, subject, filters, listeners, verbose=self._polled.verbose)


async def locate(listeners: Sequence[Subscriber]) -> list[Subscriber]:
    """Return those who know where to listen from. The others have to be told, so that they find out why."""
    reading = copy_context().run
    return await asyncio.get_running_loop().run_in_executor(_reader, reading, _those_located, listeners)


def _those_located(listeners: Sequence[Subscriber]) -> list[Subscriber]:
    return [listener for listener in listeners if listener.locate()]


async def poll_for(
    drchrono: AsyncDrChronoClient,
    subject: IncrementalList,
    filters: Mapping[str, Any],
    listeners: Sequence[Subscriber],
    *,
    verbose: bool,
) -> dict[Subscriber, PollSummary | None]:
    """Poll a list once for all who listen, as far as one poll can serve them, and return what each has to be told.

    :param filters: what every poll sends, beside the ids that all of them ask for.
    """
    told: dict[Subscriber, PollSummary | None] = {}
    left = list(listeners)
    while left:
        since = _earliest(left)
        together = [listener for listener in left if listener.can_judge(since)]
        left = [listener for listener in left if not listener.can_judge(since)]
        told |= await _one_poll(drchrono, subject, filters, since, together, verbose=verbose)
    return told


async def _one_poll(
    drchrono: AsyncDrChronoClient,
    subject: IncrementalList,
    filters: Mapping[str, Any],
    since: datetime | None,
    listeners: Sequence[Subscriber],
    *,
    verbose: bool,
) -> dict[Subscriber, PollSummary | None]:
    from airflow_provider_drchrono.incremental.fingerprints import CanonicalCache
    from airflow_provider_drchrono.incremental.poller import Poll
    from airflow_provider_drchrono.incremental.subscribers import common_filters

    queries = subject.queries({**filters, **common_filters(listeners)}, since)
    canonicals = CanonicalCache()
    for listener in listeners:
        listener.begin(since, canonicals)
    poll, turn = Poll(), _Turn()
    asked_at = time.monotonic()
    async for page in _pages(drchrono, subject, queries, verbose=verbose):
        poll.note(page, time.monotonic() - asked_at)
        for listener in listeners:
            listener.hear(page.records)
            await turn.pass_on()
        canonicals.clear()
        if all(listener.has_news for listener in listeners):
            break
    assert poll.began is not None  # noqa: S101 - every list has a first page
    told = {}
    for listener in listeners:
        told[listener] = listener.end(poll.began, len(queries))
        await turn.pass_on()
    return told


async def _pages(
    drchrono: AsyncDrChronoClient, subject: IncrementalList, queries: Sequence[Mapping[str, Any]], *, verbose: bool
) -> AsyncIterator[Page]:
    for query in queries:
        async for page in drchrono.pages(subject.operation_id, query, verbose=verbose):
            yield page


class _Turn:
    """Lets others in after some work."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    async def pass_on(self) -> None:
        if time.perf_counter() - self._since > LONGEST_TURN:
            await asyncio.sleep(0)
            self._since = time.perf_counter()


def _earliest(listeners: Sequence[Subscriber]) -> datetime | None:
    sinces = [listener.since for listener in listeners]
    times = [since for since in sinces if since is not None]
    return min(times) if len(times) == len(sinces) else None
