"""One sync: it decides what to read, has it read into staging, and loads what is staged."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_drchrono.catalog import Resource
from airflow_provider_drchrono.client.errors import PermissionDeniedError
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.incremental.canonical import canonical
from airflow_provider_drchrono.incremental.clocks import (
    ZoneWitness,
    is_ahead,
    own_clock,
)
from airflow_provider_drchrono.incremental.lists import moment_of, needed_start
from airflow_provider_drchrono.incremental.suspicion import (
    ReadFacts,
    Suspicion,
    SuspiciousReadError,
    act_on,
    is_believable,
)
from airflow_provider_drchrono.incremental.window import (
    BEGINNING,
    Practice,
    SyncState,
    current_practice,
    first_start,
    next_start,
)
from airflow_provider_drchrono.transfers.deletions import (
    OnSuspiciousSync,
    logged_deletions,
    settle_missing,
)
from airflow_provider_drchrono.transfers.extraction import ReadBy
from airflow_provider_drchrono.transfers.reading import ListReader
from airflow_provider_drchrono.transfers.shield import RecordShield
from airflow_provider_drchrono.transfers.staging import Checkpoint, Plan, Staging, StagingDamagedError
from airflow_provider_drchrono.warehouses.base import (
    CompleteRead,
    KnownPractice,
    LoadCounts,
    LoggedDeletion,
    Run,
    SyncKey,
    SyncTarget,
    Warehouse,
)
from airflow_provider_drchrono.warehouses.deletions import CompleteEvery, complete_is_due
from airflow_provider_drchrono.warehouses.table import EXTRA, Row, RowMaker, Table

if TYPE_CHECKING:
    from airflow_provider_drchrono.transfers.verification import Verification

log = logging.getLogger(__name__)

CATCH_UP_AFTER = timedelta(minutes=15)
"""A sync whose reading began longer ago than this, because it was interrupted, reads once more what changed since."""


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """What is to be synced, checked against the catalogue.

    :param extra_filters: filters that the catalogue does not know.
    :param since: where to begin, see :class:`DrChronoToWarehouseOperator`.
    :param lookback: how much earlier than the last extraction the next one begins.
    :param retention: how long staged pages may be used.
    :param complete_every: how often a list that goes by change is read as a whole.
    :param history: whether each version of a row is kept.
    :param read_by: the way of reading that is asked for.
    :param on_suspicious: what follows where the list may hide records.
    :param shield: what may be held of the records; None: everything.
    """

    resource: Resource
    table: Table
    filters: Mapping[str, Any]
    verbose: bool
    since: str | date | datetime | None
    lookback: timedelta
    full_refresh: bool
    retention: timedelta
    complete_every: CompleteEvery = "auto"
    history: bool = False
    read_by: ReadBy = "auto"
    on_suspicious: OnSuspiciousSync = "warn"
    extra_filters: Mapping[str, Any] = field(default_factory=dict)
    shield: RecordShield | None = None

    @property
    def selection(self) -> str:
        """A hash of what chooses the records: another choice is another sync."""
        extra = {"extra_filters": self.extra_filters} if self.extra_filters else {}
        chosen = _hash({"filters": self.filters, "verbose": self.verbose, **extra})
        return f"{chosen}-{self.shield.identity}" if self.shield else chosen

    @property
    def selects_all(self) -> bool:
        """Whether no filter narrows the list."""
        shown_by = self.resource.deletions.shown_by if self.resource.deletions else None
        return set(self.filters) <= {shown_by} and not self.extra_filters

    @property
    def change_filters(self) -> dict[str, Any]:
        """The filters of a read of changes: a list that leaves out what is deleted is asked for that, too.

        A read of the whole list is not: there a deletion shows by what is missing.
        """
        shown_by = self.resource.deletions.shown_by if self.resource.deletions else None
        return ({shown_by: True} if shown_by else {}) | dict(self.filters)

    def since_filter(self, since: str | None) -> dict[str, Any]:
        """Return the filter that selects what has changed since a time; none where the list has none."""
        incremental = self.resource.incremental
        return {incremental.filter: since} if since and incremental else {}

    def zone_of_rows(self, practice: Practice, named: str | None) -> str | None:
        """Return the IANA name of the zone of the records' timestamps; None where it is not known.

        :param named: the zone that the connection names.
        """
        incremental = self.resource.incremental
        # Only the change times of such a list are in that zone; of the others it is known what the connection says.
        return named if incremental is not None and incremental.timezone is not None else practice.timezone

    def key(self, base_url: str, practice: str) -> SyncKey:
        """Return what the state of this sync is kept under."""
        return SyncKey(base_url, practice, self.resource.name, self.table.name, self.selection)

    def staging_name(self, base_url: str, grant_id: str, destination: str) -> str:
        """Return the name of the folder that this sync stages in: the same one for every run of it.

        :param destination: where the table is: a connection id, or the URL of a folder.
        """
        key = self.key(base_url, grant_id)
        return f"{self.resource.name}-{_hash([asdict(key), self.table.schema, destination])}"


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What a sync did; numbers and times only.

    :param set_aside: records that came without a usable key, and so became no rows.
    :param watermark: up to when the table is complete, as the warehouse has it; None where nothing was ever loaded.
    :param verification: what a comparison with the API has found; None where nothing was compared.
    """

    calls: int
    counts: LoadCounts
    set_aside: int
    since: str | None
    watermark: str | None
    verification: Verification | None = None

    def after(self, earlier: SyncResult) -> SyncResult:
        """Return what this run and an earlier one did together."""
        counts = LoadCounts(
            read=earlier.counts.read + self.counts.read,
            new=earlier.counts.new + self.counts.new,
            changed=earlier.counts.changed + self.counts.changed,
            in_table=self.counts.in_table,
            deleted=earlier.counts.deleted + self.counts.deleted,
        )
        return replace(
            self,
            calls=earlier.calls + self.calls,
            counts=counts,
            set_aside=earlier.set_aside + self.set_aside,
            since=earlier.since,
        )


def prepare(warehouse: Warehouse, request: SyncRequest) -> bool:
    """Make the table ready to be loaded, and say what that changed.

    :return: whether the table got columns.
    :raises WarehouseError: the table cannot be written.
    """
    table = request.table
    added = warehouse.prepare(table, history=request.history)
    if added:
        log.warning(
            "Table %s lacked columns that are known now and got them: %s. Rows that do not change keep what the API "
            "sent for them in %s; full_refresh=True fills the columns",
            table.label,
            ", ".join(added),
            EXTRA,
        )
    if not request.history and warehouse.keeps_history(table):
        log.warning(
            "Table %s has a history in %s, which is kept up although history is not asked for: a gap would make it "
            "untrue. To end it, rename or drop %s",
            table.label,
            table.history.label,
            table.history.label,
        )
    return bool(added)


class Sync:
    """One sync in one task, into a table that is prepared.

    :param open_warehouse: connects to the warehouse. That is done when needed: between the first and the last time, the
        API may be read for so long that firewalls forget a connection.
    :param staging: a folder that this process has taken.
    :param run_id: the DAG run, for people who read the state table.
    :param practice: the practice of the connection.
    :param is_widened: whether the table has just got columns.
    :param catches_up: whether it reads once more what changed while it was interrupted for long.
    """

    def __init__(
        self,
        request: SyncRequest,
        *,
        hook: DrChronoHook,
        open_warehouse: Callable[[], SyncTarget],
        key: SyncKey,
        staging: Staging,
        run_id: str,
        practice: KnownPractice | None = None,
        is_widened: bool = False,
        catches_up: bool = True,
    ) -> None:
        self._request = request
        self._hook = hook
        self._open_warehouse = open_warehouse
        self._key = key
        self._staging = staging
        self._run_id = run_id
        self._practice_known = practice
        self._is_widened = is_widened
        self._catches_up = catches_up

    def run(self) -> SyncResult:
        """Sync, resuming what an interrupted process has staged.

        :raises WarehouseError: the warehouse cannot be written.
        :raises SuspiciousReadError: the list may hide records, and the sync is to fail then.
        """
        result, began, resumed = self._run_once(full_refresh=self._request.full_refresh)
        if self._catches_up and resumed and datetime.now(UTC) - began > CATCH_UP_AFTER:
            log.info("The pages loaded were read some time ago; reading what changed since")
            result = self._run_once(full_refresh=False)[0].after(result)
        return result

    def _run_once(self, *, full_refresh: bool) -> tuple[SyncResult, datetime, bool]:
        """Read and load once; also return when the reading began and whether another process had begun it."""
        client = self._hook.get_conn()
        calls = -client.calls
        with closing(self._open_warehouse()) as warehouse:
            state = warehouse.state(self._request.table, self._key)
            compares = warehouse.compares
        anew = full_refresh or self._lies_in_future(state)
        plan = self._plan(state, full_refresh=anew)
        calls += client.calls
        usual = self._usual_start(state, plan) if full_refresh and compares else None
        checkpoint = self._staging.begin(plan, self._request.retention)
        resumed = checkpoint.began is not None
        if resumed:
            log.info("Resuming after %s rows that are staged already", f"{checkpoint.rows:,}")
        reader = ListReader(self._request, self._hook, self._staging)
        checkpoint = reader.read(checkpoint)
        calls -= client.calls
        hidden = self._hides_everything(checkpoint, state)
        if hidden:
            # A state of this read would say that the table is complete, and what it hides would never be read.
            counts, set_aside, stored = self._unchanged(), 0, state.watermark if state else None
        else:
            try:
                counts, set_aside, stored = self._load(checkpoint, anew=anew, usual=usual, resumed=resumed)
            except StagingDamagedError:
                log.warning("The staged pages cannot be read any more; reading the list again")
                checkpoint = reader.read(self._staging.restart(plan))
                counts, set_aside, stored = self._load(checkpoint, anew=anew, usual=usual, resumed=False)
        self._staging.clear()
        calls += client.calls
        self._judge(counts)
        result = SyncResult(calls + checkpoint.calls, counts, set_aside, plan.since, _text_of(stored))
        return result, _began(checkpoint), resumed and not hidden

    def _usual_start(self, state: SyncState | None, plan: Plan) -> datetime | None:
        """Return where a read of changes would have begun; None where rows may differ for another reason."""
        incremental = self._request.resource.incremental
        if state is None or incremental is None or self._is_widened or state.practice.timezones != plan.timezones:
            return None
        return next_start(state, plan.practice, state.start, self._request.lookback, full_refresh=False).since

    def _lies_in_future(self, state: SyncState | None) -> bool:
        """Tell whether the stored watermark lies in the future, whoever's clock is right; then all is read again."""
        if state is None or not is_ahead(state.watermark, own_clock()):
            return False
        client = self._hook.get_conn()
        if client.server_time is None:
            with suppress(PermissionDeniedError):
                client.current_user()
        if is_ahead(state.watermark, own_clock(), client.server_time or own_clock()):
            log.warning(
                "The stored watermark of %s lies in the future, at %s: a clock was wrong when it was stored. The list "
                "is read from its beginning, and the watermark is set back",
                self._request.table.label,
                _text_of(state.watermark),
            )
            return True
        return False

    def _hides_everything(self, checkpoint: Checkpoint, state: SyncState | None) -> bool:
        """Judge what was read before anything of it is loaded.

        :return: whether nothing came, and nothing can be concluded from that.
        :raises SuspiciousReadError: it may hide records, and the sync is to fail then.
        """
        if self._request.on_suspicious == "accept":
            return False
        read = self._facts(checkpoint)
        found = self._hook.suspicions(self._operation_id, read) or self._probed(read, checkpoint, state)
        if found and self._request.on_suspicious == "fail":
            # The next try is to read anew.
            self._staging.clear()
        act_on(found, self._request.on_suspicious)
        if not found and not read.records and checkpoint.plan.watermark is None:
            log.warning("%s", self._hook.why_empty(self._operation_id))
        return bool(found) and not read.records

    def _facts(self, checkpoint: Checkpoint) -> ReadFacts:
        complete = checkpoint.plan.since in (None, BEGINNING.isoformat()) and not self._request.filters
        return ReadFacts(
            checkpoint.rows,
            complete=complete,
            expected=self._expected() if complete else None,
            gaps=checkpoint.gaps,
        )

    def _expected(self) -> int | None:
        with closing(self._open_warehouse()) as warehouse:
            return warehouse.expected_rows(self._request.table, self._key)

    def _probed(self, read: ReadFacts, checkpoint: Checkpoint, state: SyncState | None) -> list[Suspicion]:
        """Once a day, ask after a read without changes whether the list shows anything at all.

        A user who lost the permission for a list is answered as a practice where nothing happens.
        """
        if read.records or state is None or state.watermark.date() >= _began(checkpoint).date():
            return []
        if self._request.filters or read.complete or not (expected := self._expected()):
            return []
        start = needed_start(self._request.resource.requires_one_of, ())
        filters = self._request.since_filter(start.isoformat() if start else None)
        first = next(self._hook.get_conn().pages(self._request.resource.name, filters, page_size=1))
        if first.records:
            return []
        return self._hook.suspicions(self._operation_id, ReadFacts(0, complete=True, expected=expected))

    @property
    def _operation_id(self) -> str:
        operation = self._request.resource.list_operation
        assert operation is not None  # noqa: S101 - only what can be listed is synced
        return operation.id

    def _unchanged(self) -> LoadCounts:
        with closing(self._open_warehouse()) as warehouse:
            in_table = warehouse.row_count(self._request.table)
        return LoadCounts(read=0, new=0, changed=0, in_table=in_table)

    def _plan(self, state: SyncState | None, *, full_refresh: bool) -> Plan:
        watermark = state.watermark.isoformat() if state else None
        practice = self._practice(state, watermark)
        incremental = self._request.resource.incremental
        since = start = None
        if incremental is not None:
            asked = first_start(self._request.since, practice.timezones)
            resource = self._request.resource
            due = complete_is_due(
                resource.name, state, resource.deletions, self._request.complete_every, datetime.now(UTC)
            )
            whole = full_refresh or (due and asked is None)
            begin = next_start(state, practice, asked, self._request.lookback, full_refresh=whole)
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
            practice_key=self._key.practice,
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

    def _witnessed(self, rows: Iterable[Row], witness: ZoneWitness) -> Iterator[Row]:
        """Yield the rows, and note when they changed."""
        incremental = self._request.resource.incremental
        # None also where the times are masked, which then say nothing about clocks.
        changed = self._request.table.changed
        if incremental is None or not incremental.tracks_updates or changed is None:
            yield from rows
            return
        place = [column.name for column in self._request.table.all_columns].index(changed)
        for row in rows:
            witness.note(moment_of(row[place]))
            yield row

    def _load(
        self, checkpoint: Checkpoint, *, anew: bool, usual: datetime | None, resumed: bool
    ) -> tuple[LoadCounts, int, datetime | None]:
        """Load what is staged; return the counts of rows, and of records that became none, and the new watermark.

        :param anew: whether everything was read again, so that an earlier watermark does not count.
        :param usual: where a read of changes would have begun.
        :param resumed: whether another process has read a part of it.
        """
        plan, request = checkpoint.plan, self._request
        state = SyncState(
            watermark=_began(checkpoint),
            start=datetime.fromisoformat(plan.start) if plan.start else None,
            practice=plan.practice,
            # By our own clock, as it is compared with that.
            completed_at=own_clock() if plan.is_complete else None,
        )
        complete = CompleteRead(
            began=state.watermark,
            selects_all=request.selects_all,
            continuous=not resumed and not checkpoint.gaps,
            is_believable=lambda known, missing: request.on_suspicious == "accept" or is_believable(known, missing),
            counts_if_doubtful=request.on_suspicious != "fail",
        )
        log_of = request.resource.deletions.log if request.resource.deletions else None
        deletions: list[LoggedDeletion] = []
        if log_of and not plan.is_complete:
            deletions = logged_deletions(self._hook, log_of, request.resource, plan.since, plan.practice)
            if request.shield:
                deletions = [replace(each, key=request.shield.masked_key(each.key)) for each in deletions]
        incremental = request.resource.incremental
        zone = request.zone_of_rows(plan.practice, self._hook.settings.timezone)
        maker = RowMaker(request.table, zone)
        witness = ZoneWitness(request.resource.name, usual)
        rows = self._witnessed(maker.rows(self._staging.lines(checkpoint)), witness)
        run = Run(self._run_id, checkpoint.calls, anew, self._practice_known, plan.since)
        with closing(self._open_warehouse()) as warehouse:
            counts = warehouse.load(
                request.table, rows, self._key, state, run,
                complete=complete if plan.is_complete else None, deletions=deletions,
            )  # fmt: skip
            # A run that was overtaken by another one finds a later watermark there.
            stored = warehouse.state(request.table, self._key) or state
            settled = None
            # By a masked id nothing can be looked up; the next complete read tells.
            by_known_id = request.shield is None or not request.shield.masks_the_key
            if isinstance(warehouse, Warehouse) and by_known_id:
                settled = settle_missing(
                    self._hook, warehouse, request.table, self._key, request.resource,
                    selects_all=request.selects_all, verbose=request.verbose, zone=zone,
                    held=request.shield.line if request.shield else canonical,
                )  # fmt: skip
        if settled:
            counts = replace(counts, changed=counts.changed + settled.changed, deleted=counts.deleted + settled.deleted)
        _report(maker, request.table)
        now = own_clock()
        if incremental is not None and incremental.tracks_updates:
            witness.warn_of_late(counts.new + counts.changed, plan.timezones)
        witness.warn(max(self._hook.get_conn().server_time or now, now), plan.timezones)
        return counts, maker.without_key, stored.watermark

    def _judge(self, counts: LoadCounts) -> None:
        """Say that a complete read came back with much less than the table holds.

        :raises SuspiciousReadError: that is to fail the task.
        """
        if counts.believed:
            return
        message = (
            f"A read of all {self._request.resource.plural} did not see {counts.missing:,} of {counts.known:,} rows of "
            f"{self._request.table.label}, so none of them was marked as deleted. Check what the connection may see: "
            f"airflow drchrono doctor {self._hook.drchrono_conn_id} --probe. If they are gone in DrChrono, say "
            f"on_suspicious='accept' once"
        )
        if self._request.on_suspicious == "fail":
            raise SuspiciousReadError(message)
        log.warning("%s", message)


def _began(checkpoint: Checkpoint) -> datetime:
    if checkpoint.began is None:
        raise RuntimeError("An extraction without a page cannot be loaded")
    return datetime.fromisoformat(checkpoint.began).replace(microsecond=0)


def _text_of(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat(timespec="seconds")


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
