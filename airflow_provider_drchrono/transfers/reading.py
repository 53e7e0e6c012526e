"""Reads one selection of a list into staging: page by page, and in bulk from where that takes fewer calls."""

from __future__ import annotations

import logging
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any

from airflow_provider_drchrono.client.errors import BadRequestError, NotFoundError
from airflow_provider_drchrono.incremental.clocks import EARLIEST, earlier_clock, own_clock, warn_of_difference
from airflow_provider_drchrono.transfers.bulk_reading import BulkReader, BulkUnusableError
from airflow_provider_drchrono.transfers.extraction import ListFacts, ReadSoFar, next_way
from airflow_provider_drchrono.transfers.staging import Checkpoint, Plan, Staging

if TYPE_CHECKING:
    from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
    from airflow_provider_drchrono.transfers.sync import SyncRequest

log = logging.getLogger(__name__)

# Seconds between two lines that say how far the reading of a long list has come.
_PROGRESS_EVERY = 60.0


class ListReader:
    """Reads what a sync selects.

    :param staging: a folder that this process has taken.
    """

    def __init__(self, request: SyncRequest, hook: DrChronoHook, staging: Staging) -> None:
        self._request = request
        self._hook = hook
        self._staging = staging

    def read(self, checkpoint: Checkpoint) -> Checkpoint:
        """Read to the end, from where the checkpoint says, and return the checkpoint that is complete.

        :raises BulkPendingError: the API takes long to make a bulk list.
        """
        if checkpoint.complete:
            return checkpoint
        try:
            return self._read_pages(checkpoint)
        except (BadRequestError, NotFoundError):
            latest = self._staging.checkpoint()
            if checkpoint.next_url is None or latest is None or latest.next_url != checkpoint.next_url:
                raise
        log.warning("The API does not know the page any more at which the reading stopped; reading the list again")
        return self._read_pages(self._staging.restart(checkpoint.plan))

    def _read_pages(self, checkpoint: Checkpoint) -> Checkpoint:
        if checkpoint.bulk is not None or self._goes_on_in_bulk(checkpoint):
            return self._read_in_bulk(checkpoint)
        client = self._hook.get_conn()
        filters = self._filters(checkpoint.plan)
        is_first = True
        asked_at = reported_at = monotonic()
        calls = client.calls
        pages = client.raw_pages(
            self._request.resource.name,
            filters,
            extra_filters=self._request.extra_filters,
            verbose=self._request.verbose,
            next_url=checkpoint.next_url,
        )
        for page in pages:
            own = own_clock()
            if is_first:
                warn_of_difference(page.server_time, own, self._request.resource.name)
                is_first = False
            read_at = earlier_clock(page.server_time, own)
            checkpoint = self._staging.add(
                checkpoint,
                page.records,
                read_at=read_at,
                # The server may have looked for the first page's records as early as it was asked.
                began=max(read_at - timedelta(seconds=monotonic() - asked_at), EARLIEST),
                next_url=page.next_url,
                calls=client.calls - calls,
                gaps=page.gaps,
            )
            calls = client.calls
            if monotonic() - reported_at > _PROGRESS_EVERY:
                reported_at = monotonic()
                log.info("Read %s rows with %s calls so far", f"{checkpoint.rows:,}", f"{checkpoint.calls:,}")
            if page.next_url is not None and self._goes_on_in_bulk(checkpoint):
                return self._read_in_bulk(checkpoint)
        return checkpoint

    def _filters(self, plan: Plan) -> dict[str, Any]:
        """Return the filters of a read from the plan's start on."""
        filters = self._request.filters if plan.is_complete else self._request.change_filters
        return {**filters, **self._request.since_filter(plan.since)}

    def _goes_on_in_bulk(self, checkpoint: Checkpoint) -> bool:
        request = self._request
        # A bulk list cannot be asked for what the catalogue does not know.
        if checkpoint.bulk_unusable or request.extra_filters:
            return False
        facts = ListFacts.of(
            self._hook.catalog, request.resource, self._filters(checkpoint.plan), verbose=request.verbose
        )
        read = ReadSoFar(pages=sum(checkpoint.parts.values()))
        return next_way(facts, read, request.read_by) == "bulk"

    def _read_in_bulk(self, checkpoint: Checkpoint) -> Checkpoint:
        resource = self._request.resource
        assert resource.bulk is not None  # noqa: S101 - the way was chosen by it
        if checkpoint.bulk is None:
            checkpoint = self._staging.begin_anew(checkpoint, in_bulk=True)
        reader = BulkReader(
            self._hook.get_conn(),
            resource.name,
            resource.bulk,
            self._filters(checkpoint.plan),
            verbose=self._request.verbose,
            staging=self._staging,
            calls_left=self._calls_left,
        )
        try:
            return reader.read(checkpoint)
        except BulkUnusableError as error:
            log.warning("%s cannot be read in bulk and are read page by page: %s", resource.plural, error)
        latest = self._staging.checkpoint() or checkpoint
        return self._read_pages(self._staging.begin_anew(latest, in_bulk=False))

    def _calls_left(self) -> int | None:
        quota = self._hook.quota
        return quota.status().left if quota else None
