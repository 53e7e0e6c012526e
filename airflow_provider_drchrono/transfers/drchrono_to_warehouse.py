"""The operator that keeps a table of a warehouse equal to a list of the API."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_drchrono.assets.outlets import table_asset
from airflow_provider_drchrono.common.lineage import DatasetName
from airflow_provider_drchrono.compat import instance_of
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.transfers.base.list_transfer import ListTransferOperator
from airflow_provider_drchrono.transfers.deletions import OnSuspiciousSync, known_practice
from airflow_provider_drchrono.transfers.extraction import ReadBy
from airflow_provider_drchrono.transfers.shield import check_held
from airflow_provider_drchrono.transfers.staging import Staging
from airflow_provider_drchrono.transfers.sync import Sync, SyncRequest, SyncResult, prepare
from airflow_provider_drchrono.transfers.verification import OnDifference, Verifier, check_verification
from airflow_provider_drchrono.warehouses.deletions import CompleteEvery
from airflow_provider_drchrono.warehouses.registry import open_warehouse, table_dataset

if TYPE_CHECKING:
    from airflow.sdk import Asset, Context

    from airflow_provider_drchrono.catalog.privacy import Profile
    from airflow_provider_drchrono.privacy import MaskKind

log = logging.getLogger(__name__)


class DrChronoToWarehouseOperator(ListTransferOperator):
    """Bring a table of a SQL database up to date with a list of DrChrono.

    The first run reads the whole list; later ones read what changed since. Pages are staged as they arrive, so a task
    that is killed, or stopped by the hourly quota, resumes where it was. Rows are added or replaced by the record's
    id in one transaction, together with the time up to which the table is current.

    The table is made from the catalogue: a typed column for each field, nested values as JSON, and four columns of
    the sync's own: ``_drchrono_digest``, ``_drchrono_extra`` (fields that the catalogue does not know and values that
    do not fit their columns), ``_drchrono_timezone`` (of the timestamps, which are the practice's wall clock) and
    ``_drchrono_synced_at``. A row of a record that was deleted in DrChrono stays, with the time in
    ``_drchrono_deleted_at``.

    It returns, and pushes to XCom, counts and times and no record: ``resource``, ``table``, ``calls``, ``rows_read``,
    ``rows_new``, ``rows_changed``, ``rows_deleted``, ``rows_in_table``, ``records_set_aside``, ``seconds``, ``since``,
    ``watermark``, ``verified``. A record without its id is set aside, since its row could not be found again; the
    others are loaded.

    Where records have no key, as those of ``audit_log``, rows are only ever added, each record once.

    :param resource: what to sync, such as ``patients``: any resource that can be listed.
    :param warehouse_conn_id: Airflow connection of the database, of type ``sqlite``, ``postgres``, ``duckdb``, or one
        for which another package offers a warehouse.
    :param drchrono_conn_id: Airflow connection of DrChrono.
    :param table: name of the table; the resource's by default.
    :param schema: schema of the table, for databases that have schemas; the connection's own by default.
    :param filters: filters of the list, such as ``{"doctor": 123}``. Each set of filters is a sync of its own.
    :param extra_filters: filters that the provider does not know, by name; they are sent as they are, and the list is
        read page by page.
    :param verbose: read the verbose fields too; pages are smaller then, so it takes more calls.
    :param since: sync only records changed since then: a date, a time of the practice's wall clock, a time with an
        offset, or one of these as ISO 8601 text. Making it earlier later on reads the list again from there.
    :param lookback: read again what changed so shortly before the last run, as lists may show changes late; a timedelta
        or seconds. None: two minutes, or a day where the list goes by the time of creation.
    :param full_refresh: read the list again from ``since``, or from its beginning. It may be a template.
    :param complete_every: how often a list that goes by change is read as a whole, which shows what was deleted: a
        timedelta, ``auto`` or None for never. ``auto`` is once a week where the list does not tell of
        deletions, and never where it does.
    :param history: keep each version of each row, with the time from which and to which it held, in a table beside that
        is named after this one with ``_history``. It begins with the rows that are there, and once begun it is kept up.
    :param read_by: ``auto`` reads each time in the way that takes the fewest calls: page by page, or in bulk where the
        API makes bulk lists of the resource and there is much to read. ``pages`` and ``bulk`` insist on one of them.
    :param deferrable: wait for bulk lists that take long in the triggerer; None leaves it to ``[operators]
        default_deferrable``. Otherwise the task is rescheduled meanwhile; a worker is held by neither.
    :param on_suspicious: what follows where a list may hide records: it came back empty to a token that lacks its
        scopes, a page in the middle of it was empty, or a read of everything did not show many rows that the table has.
        ``warn`` in the log and mark none of these as deleted, ``fail``, or ``accept`` the list as it is.
    :param verify: compare the table with DrChrono after the load, and ``warn`` in the log or ``fail`` where it lacks
        what it should have: records are counted where the API makes bulk lists of them, and rows taken at random are
        looked up. What it found is in ``verified``. None: do not compare.
    :param verify_sample: rows to look up for that, up to 200; each costs a call.
    :param columns: the fields to hold, by name; a field within another is named with a dot, such as
        ``primary_insurance.subscriber_zip_code``. The id, and a field by which deletions are noticed, are held beside.
    :param exclude: fields to leave out; ``class:free_text`` stands for all fields of a privacy class.
    :param mask: fields to mask, with the mask: ``hash``, ``year``, ``shift``, ``zip3`` or ``number``.
    :param profile: ``limited_data_set`` or ``safe_harbor``: leave out and mask by the field's privacy class.
    :param privacy_conn_id: Airflow connection whose password is the key of ``hash``, ``shift`` and profiles.
    :param staging_path: folder or object storage URL for pages until they are loaded. By default ``staging_path`` in
        section ``[drchrono]`` of Airflow's configuration, else ``drchrono/staging`` in the folder ``AIRFLOW_HOME``.
    :param staging_retention: how long pages are kept that no run has resumed.
    """

    template_fields: Sequence[str] = (
        "resource",
        "warehouse_conn_id",
        "drchrono_conn_id",
        "table",
        "schema",
        "filters",
        "extra_filters",
        "since",
        "full_refresh",
        "privacy_conn_id",
        "staging_path",
    )

    def __init__(
        self,
        *,
        resource: str,
        warehouse_conn_id: str,
        drchrono_conn_id: str = DrChronoHook.default_conn_name,
        table: str | None = None,
        schema: str | None = None,
        filters: Mapping[str, Any] | None = None,
        extra_filters: Mapping[str, Any] | None = None,
        verbose: bool = False,
        since: str | date | datetime | None = None,
        lookback: timedelta | float | None = None,
        full_refresh: bool | str = False,
        complete_every: CompleteEvery = "auto",
        history: bool = False,
        read_by: ReadBy = "auto",
        deferrable: bool | None = None,
        on_suspicious: OnSuspiciousSync = "warn",
        verify: OnDifference | None = None,
        verify_sample: int = 20,
        columns: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
        mask: Mapping[str, MaskKind] | None = None,
        profile: Profile | None = None,
        privacy_conn_id: str | None = None,
        staging_path: str | None = None,
        staging_retention: timedelta = timedelta(hours=24),
        **kwargs: Any,
    ) -> None:
        self.warehouse_conn_id = warehouse_conn_id
        self.table = table
        self.schema = schema
        self.verify = verify
        self.verify_sample = verify_sample
        check_verification(type(self).__name__, verify, verify_sample)
        super().__init__(
            resource=resource,
            drchrono_conn_id=drchrono_conn_id,
            filters=filters,
            extra_filters=extra_filters,
            verbose=verbose,
            since=since,
            lookback=lookback,
            full_refresh=full_refresh,
            complete_every=complete_every,
            history=history,
            read_by=read_by,
            deferrable=deferrable,
            on_suspicious=on_suspicious,
            columns=columns,
            exclude=exclude,
            mask=mask,
            profile=profile,
            privacy_conn_id=privacy_conn_id,
            staging_path=staging_path,
            staging_retention=staging_retention,
            **kwargs,
        )

    def _asset(self) -> Asset | None:
        return table_asset(self.resource, self.drchrono_conn_id, self.warehouse_conn_id, self.table, self.schema)

    def _destination(self) -> str:
        return self.warehouse_conn_id

    def _written(self, request: SyncRequest) -> DatasetName:
        return table_dataset(self.warehouse_conn_id, request.table.schema, request.table.name)

    def execute(self, context: Context) -> dict[str, Any]:
        """Sync, and return counts and times.

        :raises AirflowFailException: an argument, a connection or the table has to be changed first.
        :raises AirflowRescheduleException: the quota is used up, or a bulk list takes long; what was read is kept.
        """
        return self._run_once(context)

    def _transfer(
        self, request: SyncRequest, hook: DrChronoHook, staging: Staging, grant_id: str, context: Context
    ) -> SyncResult:
        open_it = partial(open_warehouse, self.warehouse_conn_id)
        with closing(open_it()) as warehouse:
            is_widened = prepare(warehouse, request)
            check_held(warehouse, request.table, request.shield)
            practice = known_practice(hook, warehouse, request.table, grant_id, staging.checkpoint())
        key = request.key(hook.settings.base_url, practice.practice)
        result = Sync(
            request,
            hook=hook,
            open_warehouse=open_it,
            key=key,
            staging=staging,
            run_id=instance_of(context, self).run_id,
            practice=practice,
            is_widened=is_widened,
        ).run()
        if self.verify is None:
            return result
        verifier = Verifier(request, hook=hook, open_warehouse=open_it, key=key, set_aside=result.set_aside)
        found = verifier.verify(self.verify_sample, self.verify)
        return result if found is None else replace(result, calls=result.calls + found.calls, verification=found)

    def _report(self, context: Context, result: SyncResult, request: SyncRequest, seconds: float) -> dict[str, Any]:
        self._tell(context, result)
        summary = {
            "resource": request.resource.name,
            "table": request.table.label,
            "calls": result.calls,
            "rows_read": result.counts.read,
            "rows_new": result.counts.new,
            "rows_changed": result.counts.changed,
            "rows_deleted": result.counts.deleted,
            "rows_in_table": result.counts.in_table,
            "records_set_aside": result.set_aside,
            "seconds": round(seconds, 3),
            "since": result.since,
            "watermark": result.watermark,
            "verified": result.verification.summary() if result.verification else None,
        }
        log.info(
            "Synced %(resource)s into %(table)s: calls %(calls)s, rows read %(rows_read)s, new %(rows_new)s, "
            "changed %(rows_changed)s, deleted %(rows_deleted)s, in the table %(rows_in_table)s, seconds %(seconds)s",
            summary,
        )
        return summary

    def _tell(self, context: Context, result: SyncResult) -> None:
        counts = result.counts
        # A try before this one may have loaded rows and been killed before it could say so.
        repeated = getattr(instance_of(context, self), "try_number", 1) > 1
        self._outlet.update(
            self,
            context,
            counts.new + counts.changed + counts.deleted,
            even_if_none=repeated,
            new=counts.new,
            changed=counts.changed,
            deleted=counts.deleted,
            since=result.since,
            until=result.watermark,
        )
