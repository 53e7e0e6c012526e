"""Lets all triggers of a process that wait for changes of one list share one poll.

What polling costs depends on how many lists are polled and how often, and not on how many sensors and watchers wait for
their changes. Airflow's shared streams are not used: Airflow 3.2 has none, and a late subscriber misses what was sent.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

from airflow_provider_drchrono.incremental.suspicion import OnSuspicious, Suspicion, act_on, refusal_of
from airflow_provider_drchrono.triggers.waiting import pause_after

if TYPE_CHECKING:
    from airflow_provider_drchrono.client import AsyncDrChronoClient, Page
    from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
    from airflow_provider_drchrono.incremental.lists import IncrementalList
    from airflow_provider_drchrono.incremental.subscribers import PollSummary, Subscriber
    from airflow_provider_drchrono.incremental.suspicion import ReadFacts

log = logging.getLogger(__name__)

# Many threads that read cursors at the same time would keep the event loop from running.
_reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="drchrono-cursors")

AsyncJudge: TypeAlias = "Callable[[ReadFacts], Awaitable[bool]]"

LONGEST_TURN = 0.02
"""Seconds of work after which the other triggers of the process get a turn."""


@dataclass(frozen=True, slots=True)
class PolledList:
    """A list that is polled.

    :param filters: what every poll of it sends, as sorted JSON; filters by ids are left to the subscribers.
    """

    drchrono_conn_id: str
    resource: str
    verbose: bool
    filters: str


@dataclass(eq=False, slots=True)
class _Waiter:
    """A trigger that waits.

    :param interval: seconds between two polls that it asks for.
    :param not_before: epoch seconds before which it does not want to be notified.
    :param on_suspicious: whether a poll that may hide records is to ``fail`` it.
    :param first: epoch seconds at which it wants the first poll; None for an interval from now.
    :ivar has_summary: whether there is something new, of which it is notified at that time.
    """

    subscriber: Subscriber
    interval: float
    not_before: float
    on_suspicious: OnSuspicious = "warn"
    first: float | None = None
    notified: asyncio.Future[PollSummary] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    has_summary: bool = False

    def notify(self, summary: PollSummary) -> None:
        self.has_summary = True
        self.notified.get_loop().call_later(max(0.0, self.not_before - time.time()), self._notify, summary)

    def _notify(self, summary: PollSummary) -> None:
        if not self.notified.done():
            self.notified.set_result(summary)

    def fail(self, error: Exception) -> None:
        if not self.notified.done():
            self.notified.set_exception(error)


class SharedPolls:
    """The lists whose changes the triggers of one event loop wait for."""

    def __init__(self) -> None:
        self._groups: dict[PolledList, _Group] = {}
        self._polled_at: dict[PolledList, float] = {}

    def note(self, polled: PolledList) -> None:
        """Note that a list was polled just now, by this group or by a watcher itself."""
        self._polled_at[polled] = time.time()

    def due(self, polled: PolledList, interval: float) -> float | None:
        """Return when a list is to be polled again that was polled in this process; None where it is due.

        Airflow may begin a watcher anew at any time, such as when its arguments change; that alone is no reason to
        poll sooner.

        :param interval: seconds between two polls.
        """
        due = self._polled_at.get(polled, 0.0) + interval
        return due if due > time.time() else None

    async def wait(
        self,
        polled: PolledList,
        subscriber: Subscriber,
        *,
        interval: float,
        not_before: float = 0.0,
        ends: float | None,
        on_suspicious: OnSuspicious = "warn",
        first: float | None = None,
    ) -> PollSummary | None:
        """Wait for something new; the first poll is an interval away, or sooner if others wait for it.

        :param interval: seconds between two polls that this trigger asks for.
        :param not_before: epoch seconds before which the trigger is not notified.
        :param ends: epoch seconds at which to give up; None for never.
        :param on_suspicious: whether a poll that may hide records ends the wait with an error.
        :param first: epoch seconds of the first poll; None for an interval from now.
        :return: what is new; None if there was nothing in time.
        :raises DrChronoError: polling fails, and trying again does not help.
        """
        with self._joined(polled, _Waiter(subscriber, interval, not_before, on_suspicious, first)) as waiter:
            try:
                async with asyncio.timeout(None if ends is None else max(0.0, ends - time.time())):
                    return await waiter.notified
            except TimeoutError:
                return None

    @contextmanager
    def _joined(self, polled: PolledList, waiter: _Waiter) -> Iterator[_Waiter]:
        group = self._groups.get(polled)
        if group is None or group.is_over:
            group = self._groups[polled] = _Group(polled, self.note)
        group.join(waiter)
        try:
            yield waiter
        finally:
            group.leave(waiter)
            if group.is_over and self._groups.get(polled) is group:
                del self._groups[polled]


_polls: WeakKeyDictionary[asyncio.AbstractEventLoop, SharedPolls] = WeakKeyDictionary()


def shared_polls() -> SharedPolls:
    """Return what the triggers of the running event loop share."""
    return _polls.setdefault(asyncio.get_running_loop(), SharedPolls())


class _Group:
    """The triggers that wait for changes of one list, and the asyncio task that polls for them."""

    def __init__(self, polled: PolledList, note: Callable[[PolledList], None]) -> None:
        self._polled = polled
        self._note = note
        self._waiters: set[_Waiter] = set()
        self._next = float("inf")
        self._sooner = asyncio.Event()
        # In a context of its own, or its log lines would be taken for those of the trigger that came first.
        self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())

    @property
    def is_over(self) -> bool:
        """Whether the group has stopped polling."""
        return self._task.done() or (not self._waiters and self._task.cancelling() > 0)

    def join(self, waiter: _Waiter) -> None:
        """Add a trigger to those for which the list is polled."""
        self._waiters.add(waiter)
        now = time.time()
        due = max(waiter.not_before, now + waiter.interval if waiter.first is None else waiter.first)
        if due < self._next:
            self._next = due
            self._sooner.set()

    def leave(self, waiter: _Waiter) -> None:
        """Take a trigger away; after the last one polling stops."""
        self._waiters.discard(waiter)
        if not self._waiters:
            self._task.cancel()

    async def _run(self) -> None:
        failures = 0
        # A library below may swallow a cancellation. Without waiters nothing here would ever give up the event loop.
        while self._waiters:
            await self._until_due()
            polled_for = [each for each in self._waiters if not each.has_summary]
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
        return min((each.interval for each in self._waiters), default=0.0)

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

    async def _poll(self, polled_for: Sequence[_Waiter]) -> float:
        """Poll once, notify the triggers with new records, and return the seconds until the next poll."""
        from airflow_provider_drchrono.hooks.drchrono import next_interval, polling_hook
        from airflow_provider_drchrono.incremental.subscribers import PollSummary

        if not polled_for:
            return self._interval
        hook: DrChronoHook = await asyncio.to_thread(polling_hook, self._polled.drchrono_conn_id)
        try:
            located = await locate([each.subscriber for each in polled_for])
            found: list[Suspicion] = []
            summaries = await self._poll_for(hook, located, found) if located else {}
            if located:
                self._note(self._polled)
            act_on(found, "warn")
            for each in polled_for:
                if found and each.on_suspicious == "fail":
                    each.fail(refusal_of(found))
                    continue
                # A subscriber without a position is notified, so that its task finds out what is wrong with the cursor.
                summary = summaries.get(each.subscriber, PollSummary())
                if summary is not None:
                    each.notify(summary)
            return await asyncio.to_thread(next_interval, hook, self._interval)
        finally:
            await hook.aclose()

    async def _poll_for(
        self, hook: DrChronoHook, subscribers: Sequence[Subscriber], found: list[Suspicion]
    ) -> dict[Subscriber, PollSummary | None]:
        """Poll, and add to ``found`` why the read may hide records."""
        from airflow_provider_drchrono.incremental.lists import IncrementalList

        drchrono = await hook.get_async_conn()
        incremental_list = IncrementalList.of(hook.catalog, self._polled.resource)
        filters = json.loads(self._polled.filters)

        async def judge(read: ReadFacts) -> bool:
            suspected = await asyncio.to_thread(hook.suspicions, incremental_list.operation_id, read)
            found.extend(suspected)
            return bool(suspected)

        return await poll_for(
            drchrono, incremental_list, filters, subscribers, verbose=self._polled.verbose, judge=judge
        )


async def trusting(read: ReadFacts) -> bool:
    """Take every read for whole."""
    return False


async def locate(subscribers: Sequence[Subscriber]) -> list[Subscriber]:
    """Return the subscribers that have a position. The tasks of the others have to find out why they have none."""
    run = copy_context().run
    return await asyncio.get_running_loop().run_in_executor(_reader, run, _those_located, subscribers)


def _those_located(subscribers: Sequence[Subscriber]) -> list[Subscriber]:
    return [subscriber for subscriber in subscribers if subscriber.locate()]


async def poll_for(
    drchrono: AsyncDrChronoClient,
    incremental_list: IncrementalList,
    filters: Mapping[str, Any],
    subscribers: Sequence[Subscriber],
    *,
    verbose: bool,
    judge: AsyncJudge = trusting,
) -> dict[Subscriber, PollSummary | None]:
    """Poll a list once for all subscribers that one poll can serve, and again for others; return a summary for each.

    :param filters: what every poll sends, beside the ids that all of them ask for.
    :param judge: says whether a read may hide records. If it does and came back empty, no position is moved.
    """
    summaries: dict[Subscriber, PollSummary | None] = {}
    left = list(subscribers)
    while left:
        since = _earliest(left)
        together = [subscriber for subscriber in left if subscriber.can_share(since)]
        left = [subscriber for subscriber in left if not subscriber.can_share(since)]
        summaries |= await _one_poll(drchrono, incremental_list, filters, since, together, verbose=verbose, judge=judge)
    return summaries


async def _one_poll(
    drchrono: AsyncDrChronoClient,
    incremental_list: IncrementalList,
    filters: Mapping[str, Any],
    since: datetime | None,
    subscribers: Sequence[Subscriber],
    *,
    verbose: bool,
    judge: AsyncJudge,
) -> dict[Subscriber, PollSummary | None]:
    from airflow_provider_drchrono.incremental.detection import ComparedCache
    from airflow_provider_drchrono.incremental.poller import Poll
    from airflow_provider_drchrono.incremental.subscribers import common_filters

    queries = incremental_list.queries({**filters, **common_filters(subscribers)}, since)
    cache = ComparedCache()
    for subscriber in subscribers:
        subscriber.begin(since, cache)
    poll, turn = Poll(incremental_list.resource), _Turn()
    asked_at = time.monotonic()
    async for page in _pages(drchrono, incremental_list, queries, verbose=verbose):
        poll.note(page, time.monotonic() - asked_at)
        for subscriber in subscribers:
            subscriber.feed(page.records)
            await turn.pass_on()
        cache.clear()
        if all(subscriber.has_new_records for subscriber in subscribers):
            break
    assert poll.began is not None  # noqa: S101 - every list has a first page
    if await judge(poll.facts) and not poll.read:
        return dict.fromkeys(subscribers)
    summaries = {}
    for subscriber in subscribers:
        summaries[subscriber] = subscriber.finish(poll.began, len(queries))
        await turn.pass_on()
    return summaries


async def _pages(
    drchrono: AsyncDrChronoClient,
    incremental_list: IncrementalList,
    queries: Sequence[Mapping[str, Any]],
    *,
    verbose: bool,
) -> AsyncIterator[Page]:
    for query in queries:
        async for page in drchrono.pages(incremental_list.operation_id, query, verbose=verbose):
            yield page


class _Turn:
    """Lets other triggers run after some work."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    async def pass_on(self) -> None:
        if time.perf_counter() - self._since > LONGEST_TURN:
            await asyncio.sleep(0)
            self._since = time.perf_counter()


def _earliest(subscribers: Sequence[Subscriber]) -> datetime | None:
    sinces = [subscriber.since for subscriber in subscribers]
    times = [since for since in sinces if since is not None]
    return min(times) if len(times) == len(sinces) else None
