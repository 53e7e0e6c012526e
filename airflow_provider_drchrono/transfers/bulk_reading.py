"""Reads a list in bulk into staging: several pages are made at once, and what was started is not paid for again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_drchrono.catalog import Bulk
from airflow_provider_drchrono.client.errors import (
    BadRequestError,
    BulkExpiredError,
    DrChronoError,
    NotFoundError,
    PermissionDeniedError,
    UnexpectedAnswerError,
)
from airflow_provider_drchrono.incremental.clocks import earlier_clock, own_clock
from airflow_provider_drchrono.transfers.extraction import jobs_at_once
from airflow_provider_drchrono.transfers.staging import BulkProgress, Checkpoint, Job, Staging

if TYPE_CHECKING:
    from airflow_provider_drchrono.client import BulkPacing, BulkResult, DrChronoClient

log = logging.getLogger(__name__)

WORKER_PATIENCE = 30.0
"""Seconds for which a worker is held while no page is made."""

SHORTEST_ABSENCE = 60.0
"""Seconds after which it is worth coming back."""

LONGEST_LOOK = 30.0
"""Seconds between two questions at most."""

MOST_FAILURES = 3
"""So many pages may be lost one after the other before the list is not read in bulk any more."""


STARTED_TOGETHER = 60.0
"""Seconds between the starts of pages that live and expire together."""


class BulkPendingError(DrChronoError):
    """The pages that were started are not made yet, and nobody need hold a worker for them.

    :param resource: whose bulk list it is.
    :param uuid: the page that was started last; those before it are made when it is.
    :param retry_at: when to look again, aware, in UTC.
    """

    def __init__(self, resource: str, uuid: str, retry_at: datetime) -> None:
        super().__init__(f"DrChrono is still making the bulk list of {resource}", transient=True)
        self.resource = resource
        self.uuid = uuid
        self.retry_at = retry_at


class BulkUnusableError(DrChronoError):
    """The bulk list is refused, or not made: the list has to be read page by page."""


class BulkReader:
    """Reads one selection of a list.

    :param bulk: the facts of the bulk list.
    :param filters: of the selection, the one by time of change included.
    :param calls_left: returns the calls that are left of this hour; None where nothing is counted.
    """

    def __init__(
        self,
        client: DrChronoClient,
        resource: str,
        bulk: Bulk,
        filters: Mapping[str, Any],
        *,
        verbose: bool,
        staging: Staging,
        calls_left: Callable[[], int | None],
    ) -> None:
        from airflow_provider_drchrono.client import BulkPacing

        self._client = client
        self._resource = resource
        self._bulk = bulk
        self._filters = filters
        self._verbose = verbose
        self._staging = staging
        self._calls_left = calls_left
        self._pacing: BulkPacing = BulkPacing(0.0, longest=LONGEST_LOOK, clock=lambda: time.time())

    def read(self, checkpoint: Checkpoint) -> Checkpoint:
        """Read to the end, from where the checkpoint says.

        :param checkpoint: of a read in bulk; the one that is returned is complete.
        :raises BulkPendingError: the pages take long to be made.
        :raises BulkUnusableError: the list cannot be read in bulk.
        """
        while not checkpoint.complete:
            checkpoint = self._fetch(self._start(self._without_expired(checkpoint)))
        return checkpoint

    def _without_expired(self, checkpoint: Checkpoint) -> Checkpoint:
        """Give up the pages that are gone by now, for which a look would be a call in vain."""
        bulk = checkpoint.in_bulk
        oldest = time.time() - self._bulk.lifetime - bulk.seconds
        expired = [each for each in bulk.jobs if each.at < oldest]
        if not expired:
            return checkpoint
        log.info("%s pages of the bulk list of %s have expired and are started again", len(expired), self._resource)
        return self._staging.note(checkpoint, bulk.lost(expired), calls=0)

    def _start(self, checkpoint: Checkpoint) -> Checkpoint:
        """Start as many pages as may be underway, and note each before the next."""
        bulk = checkpoint.in_bulk
        most = self._most_jobs(bulk)
        while len(bulk.jobs) < most and (page := bulk.page_to_start) is not None:
            calls, asked_at = self._client.calls, time.monotonic()
            try:
                uuid = self._client.bulk_start(
                    self._resource, self._filters, verbose=self._verbose, page_size=self._bulk.size, page=page
                )
            except (PermissionDeniedError, NotFoundError, BadRequestError) as error:
                raise BulkUnusableError(str(error)) from None
            # The server may have looked for the records as early as it was asked.
            waited = timedelta(seconds=time.monotonic() - asked_at)
            own = own_clock()
            asked = earlier_clock(self._client.server_time or own, own) - waited
            bulk = bulk.started(Job(page, uuid, asked.astimezone(UTC).isoformat(), time.time()))
            checkpoint = self._staging.note(checkpoint, bulk, began=asked, calls=self._client.calls - calls)
        return checkpoint

    def _most_jobs(self, bulk: BulkProgress) -> int:
        if bulk.page_to_start is None:
            return 0
        left = self._calls_left()
        # Those that are underway have yet to be fetched, too.
        return jobs_at_once(None if left is None else left + len(bulk.jobs))

    def _fetch(self, checkpoint: Checkpoint) -> Checkpoint:
        """Fetch the page that was started first, and stage it."""
        bulk = checkpoint.in_bulk
        job = bulk.jobs[0]
        calls = self._client.calls
        try:
            result = self._result(job, bulk.seconds)
        except (BulkExpiredError, UnexpectedAnswerError) as error:
            if bulk.failures + 1 >= MOST_FAILURES:
                raise BulkUnusableError(str(error)) from None
            log.info("Page %s of the bulk list of %s is lost and is started again", job.page, self._resource)
            # What was started with it has expired with it.
            expired = isinstance(error, BulkExpiredError)
            lost = [each for each in bulk.jobs if each is job or (expired and each.at - job.at < STARTED_TOGETHER)]
            return self._staging.note(checkpoint, bulk.lost(lost, failures=1), calls=self._client.calls - calls)
        calls = self._client.calls - calls
        elapsed = time.time() - job.at
        if result is None:
            bulk = bulk.slower(elapsed)
            self._staging.note(checkpoint, bulk, calls=calls)
            raise self._pending(bulk, max(elapsed, SHORTEST_ABSENCE))
        # What was started with others waits for its turn, and tells nothing of how long it took.
        if calls > 1 or not bulk.seconds:
            bulk = bulk.slower(elapsed)
        return self._staging.add(
            checkpoint,
            result.records,
            read_at=datetime.fromisoformat(job.asked),
            began=datetime.fromisoformat(job.asked),
            next_url=None,
            calls=calls,
            bulk=bulk.fetched(job, pages=result.pages, count=result.count),
        )

    def _result(self, job: Job, seconds: float) -> BulkResult | None:
        """Look when the page is likely to be made; None if it is not made as long as a worker may wait.

        :param seconds: how long pages have taken.
        """
        now = time.time()
        due = job.at + seconds
        if due - now > WORKER_PATIENCE:
            return None
        self._pacing.not_before = due
        self._pacing.ends = max(due, now) + WORKER_PATIENCE
        return self._client.bulk_wait(self._resource, job.uuid, self._pacing, raw=True)

    def _pending(self, bulk: BulkProgress, seconds: float) -> BulkPendingError:
        last = bulk.jobs[-1]
        retry_at = max(last.at + bulk.seconds, time.time() + min(seconds, self._bulk.lifetime / 12))
        return BulkPendingError(self._resource, last.uuid, datetime.fromtimestamp(retry_at, UTC))
