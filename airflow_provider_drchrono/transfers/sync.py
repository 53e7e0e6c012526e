"""One sync: it decides what to read, reads pages into staging, and loads what is staged."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from time import monotonic
from typing import Any

from airflow_provider_drchrono.catalog import Resource
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.incremental.lists import needed_start
from airflow_provider_drchrono.incremental.window import (
    Practice,
    SyncState,
    current_practice,
    first_start,
    next_start,
)
from airflow_provider_drchrono.transfers.staging import Checkpoint, Plan, Staging, StagingDamagedError
from airflow_provider_drchrono.warehouses.base import LoadCounts, Run, SyncKey, Warehouse
from airflow_provider_drchrono.warehouses.table import EXTRA, RowMaker, Table

log = logging.getLogger(__name__)

CATCH_UP_AFTER = timedelta(minutes=15)
"""A sync whose reading began longer ago than this, because it was interrupted, reads once more what changed since."""

# Seconds between two lines that say how far the reading of a long list has come.
_PROGRESS_EVERY = 60.0


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """What is to be synced, checked against the catalogue.

    :param since: where to begin, see :class:`DrChronoToWarehouseOperator`.
    :param lookback: how much earlier than the last extraction the next one begins.
    :param retention: how long staged pages may be used.
    """

    resource: Resource
    table: Table
    filters: Mapping[str, Any]
    verbose: bool
    since: str | date | datetime | None
    lookback: timedelta
    full_refresh: bool
    retention: timedelta

    @property
    def selection(self) -> str:
        """A hash of what chooses the records: another choice is another sync."""
        return _hash({"filters": self.filters, "verbose": self.verbose})

    def key(self, base_url: str, client_id: str) -> SyncKey:
        """Return what the state of this sync is kept under."""
        source = f"{base_url}#{_hash(client_id)}"
        return SyncKey(source, self.resource.name, self.table.name, self.selection)

    def staging_name(self, key: SyncKey, warehouse_conn_id: str) -> str:
        """Return the name of the folder that this sync stages in: the same one for every run of it."""
        return f"{self.resource.name}-{_hash([asdict(key), self.table.schema, warehouse_conn_id])}"


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What a sync did; numbers and times only.

    :param set_aside: records that came without a usable key, and so became no rows.
    """

    calls: int
    counts: LoadCounts
    set_aside: int
    since: str | None
    watermark: str

    def after(self, earlier: SyncResult) -> SyncResult:
        """Return what this run and an earlier one did together."""
        counts = LoadCounts(
            read=earlier.counts.read + self.counts.read,
            new=earlier.counts.new + self.counts.new,
            changed=earlier.counts.changed + self.counts.changed,
            in_table=self.counts.in_table,
        )
        return replace(
            self,
            calls=earlier.calls + self.calls,
            counts=counts,
            set_aside=earlier.set_aside + self.set_aside,
            since=earlier.since,
        )


class Sync:
    """One sync in one task.

    :param open_warehouse: connects to the warehouse. That is done when needed: between the first and the last time, the
        API may be read for so long that firewalls forget a connection.
    :param staging: a folder that this process has taken.
    :param run_id: the DAG run, for people who read the state table.
    """

    def __init__(
        self,
        request: SyncRequest,
        *,
        hook: DrChronoHook,
        open_warehouse: Callable[[], Warehouse],
        key: SyncKey,
        staging: Staging,
        run_id: str,
    ) -> None:
        self._request = request
        self._hook = hook
        self._open_warehouse = open_warehouse
        self._key = key
        self._staging = staging
        self._run_id = run_id

    def run(self) -> SyncResult:
        """Sync, resuming what an interrupted process has staged.

        :raises WarehouseError: the warehouse cannot be written.
        """
        table = self._request.table
        with closing(self._open_warehouse()) as warehouse:
            added = warehouse.prepare(table)
        if added:
            log.warning(
                "Table %s lacked columns that the catalogue now has and got them: %s. Rows that do not change keep "
                "these values in %s; full_refresh=True fills the columns",
                table.label,
                ", ".join(added),
                EXTRA,
            )
        result, began, resumed = self._run_once(full_refresh=self._request.full_refresh)
        if resumed and datetime.now(UTC) - began > CATCH_UP_AFTER:
            log.info("The pages loaded were read some time ago; reading what changed since")
            result = self._run_once(full_refresh=False)[0].after(result)
        return result

    def _run_once(self, *, full_refresh: bool) -> tuple[SyncResult, datetime, bool]:
        """Read and load once; also return when the reading began and whether another process had begun it."""
        calls_before = self._hook.get_conn().calls
        with closing(self._open_warehouse()) as warehouse:
            state = warehouse.state(self._request.table, self._key)
        plan = self._plan(state, full_refresh=full_refresh)
        calls = self._hook.get_conn().calls - calls_before
        checkpoint = self._staging.begin(plan, self._request.retention)
        resumed = checkpoint.began is not None
        if resumed:
            log.info("Resuming after %s rows that are staged already", f"{checkpoint.rows:,}")
        checkpoint = self._read(checkpoint)
        try:
            counts, set_aside = self._load(checkpoint)
        except StagingDamagedError:
            log.warning("The staged pages cannot be read any more; reading the list again")
            checkpoint = self._read(self._staging.restart(plan))
            counts, set_aside = self._load(checkpoint)
        self._staging.clear()
        operation = self._request.resource.list_operation
        if operation and not checkpoint.rows and plan.watermark is None:
            log.warning("%s", self._hook.why_empty(operation.id)[1])
        began = _began(checkpoint)
        watermark = began.isoformat(timespec="seconds")
        return SyncResult(calls + checkpoint.calls, counts, set_aside, plan.since, watermark), began, resumed

    def _plan(self, state: SyncState | None, *, full_refresh: bool) -> Plan:
        watermark = state.watermark.isoformat() if state else None
        practice = self._practice(state, watermark)
        incremental = self._request.resource.incremental
        since = start = None
        if incremental is not None:
            asked = first_start(self._request.since, practice.timezones)
            begin = next_start(state, practice, asked, self._request.lookback, full_refresh=full_refresh)
            since, start = (
                begin.since or needed_start(self._request.resource.requires_one_of, self._request.filters),
                begin.start,
            )
        return Plan(
            watermark=watermark,
            since=since.isoformat() if since else None,
            start=start.isoformat() if start else None,
            timezones=practice.timezones,
            timezones_read_at=practice.read_at.isoformat() if practice.read_at else None,
        )

    def _practice(self, state: SyncState | None, watermark: str | None) -> Practice:
        """Return the zones of the practice; a sync that is resumed keeps those that it began with."""
        staged = self._staging.checkpoint()
        resumes = staged is not None and staged.plan.watermark == watermark and staged.plan.timezones_read_at
        if staged is not None and resumes and not self._hook.settings.timezone:
            return staged.plan.practice
        incremental = self._request.resource.incremental
        named = incremental.timezone if incremental else None
        return current_practice(self._hook, state.practice if state else None, datetime.now(UTC), named)

    def _read(self, checkpoint: Checkpoint) -> Checkpoint:
        from airflow_provider_drchrono.client import BadRequestError, NotFoundError

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
        client = self._hook.get_conn()
        filters = dict(self._request.filters)
        if checkpoint.plan.since and self._request.resource.incremental:
            filters[self._request.resource.incremental.filter] = checkpoint.plan.since
        asked_at = reported_at = monotonic()
        calls = client.calls
        pages = client.raw_pages(
            self._request.resource.name, filters, verbose=self._request.verbose, next_url=checkpoint.next_url
        )
        for page in pages:
            # The server may have looked for the first page's records as early as it was asked.
            began = page.server_time - timedelta(seconds=monotonic() - asked_at)
            checkpoint = self._staging.add(
                checkpoint,
                page.records,
                read_at=page.server_time,
                began=began,
                next_url=page.next_url,
                calls=client.calls - calls,
            )
            calls = client.calls
            if monotonic() - reported_at > _PROGRESS_EVERY:
                reported_at = monotonic()
                log.info("Read %s rows with %s calls so far", f"{checkpoint.rows:,}", f"{checkpoint.calls:,}")
        return checkpoint

    def _load(self, checkpoint: Checkpoint) -> tuple[LoadCounts, int]:
        """Load what is staged; return the counts of rows, and of records that became none."""
        plan = checkpoint.plan
        state = SyncState(
            watermark=_began(checkpoint),
            start=datetime.fromisoformat(plan.start) if plan.start else None,
            practice=plan.practice,
        )
        incremental = self._request.resource.incremental
        # Only the change times of such a list are in that zone; of the others it is known what the connection says.
        apart = incremental is not None and incremental.timezone is not None
        zone = self._hook.settings.timezone if apart else plan.practice.timezone
        maker = RowMaker(self._request.table, zone)
        rows = maker.rows(self._staging.lines(checkpoint))
        run = Run(self._run_id, checkpoint.calls)
        with closing(self._open_warehouse()) as warehouse:
            counts = warehouse.load(self._request.table, rows, self._key, state, run)
        _report(maker, self._request.table)
        return counts, maker.without_key


def _began(checkpoint: Checkpoint) -> datetime:
    if checkpoint.began is None:
        raise RuntimeError("An extraction without a page cannot be loaded")
    return datetime.fromisoformat(checkpoint.began).replace(microsecond=0)


def _report(maker: RowMaker, table: Table) -> None:
    if maker.unknown:
        log.info("Fields that the catalogue does not know are in %s.%s: %s", table.label, EXTRA, _counts(maker.unknown))
    if maker.misfits:
        log.warning("Values that do not fit their columns are in %s.%s: %s", table.label, EXTRA, _counts(maker.misfits))
    if maker.without_key:
        log.warning(
            "%s records came without a usable %s and are not in %s, as their rows could not be found again; ask "
            "DrChrono about them",
            f"{maker.without_key:,}",
            " and ".join(table.key),
            table.label,
        )


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in sorted(counter.items()))


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
