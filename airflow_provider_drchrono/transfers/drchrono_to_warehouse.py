"""The operator that keeps a table of a warehouse equal to a list of the API."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from airflow.sdk import BaseOperator

from airflow_provider_drchrono.assets.outlets import Outlet, list_asset, table_asset
from airflow_provider_drchrono.catalog import Catalog, Resource, UnknownNameError, load
from airflow_provider_drchrono.client.bulk_lists import LONGEST_POLL
from airflow_provider_drchrono.common import arguments
from airflow_provider_drchrono.common.file_fence import inside_fence, place_of
from airflow_provider_drchrono.common.masking import MasksTemplateFields
from airflow_provider_drchrono.common.outcomes import airflow_outcome, put_off
from airflow_provider_drchrono.compat import (
    AirflowException,
    configured_staging,
    instance_of,
    shortest_deferral,
    waits_in_triggerer,
)
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.hooks.many_hosts import staging_problem
from airflow_provider_drchrono.incremental.window import first_start
from airflow_provider_drchrono.transfers.bulk_reading import BulkPendingError
from airflow_provider_drchrono.transfers.deletions import (
    OnSuspiciousSync,
    grant_of,
    known_practice,
)
from airflow_provider_drchrono.transfers.extraction import WAYS, ReadBy
from airflow_provider_drchrono.transfers.shield import check_held, checked_policy, shield_of
from airflow_provider_drchrono.transfers.staging import Staging
from airflow_provider_drchrono.transfers.staging_files import staging_folder
from airflow_provider_drchrono.transfers.sync import Sync, SyncRequest, SyncResult, prepare
from airflow_provider_drchrono.transfers.verification import (
    MOST_SAMPLED,
    ON_DIFFERENCE,
    OnDifference,
    Verification,
    Verifier,
)
from airflow_provider_drchrono.transfers.warehouse_outcome import warehouse_outcome
from airflow_provider_drchrono.warehouses.deletions import CompleteEvery
from airflow_provider_drchrono.warehouses.registry import open_warehouse
from airflow_provider_drchrono.warehouses.table import table_for

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_drchrono.catalog.privacy import Profile
    from airflow_provider_drchrono.client.filters import Filters
    from airflow_provider_drchrono.privacy import MaskKind

log = logging.getLogger(__name__)

# After that the sync looks for itself, and starts what is gone.
_LONGEST_DEFERRAL = timedelta(minutes=30)

_YES_OR_NO = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False, "none": False}


class DrChronoToWarehouseOperator(MasksTemplateFields, BaseOperator):
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
    # Airflow declares it as an attribute of the instance.
    template_fields_renderers = {"filters": "json", "extra_filters": "json"}  # noqa: RUF012
    ui_color = "#e3f0ea"

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
        super().__init__(**kwargs)
        check_arguments(
            type(self).__name__,
            resource=resource,
            filters=filters,
            extra_filters=extra_filters,
            read_by=read_by,
            complete_every=complete_every,
            on_suspicious=on_suspicious,
            verify=verify,
            verify_sample=verify_sample,
            columns=columns,
            exclude=exclude,
            mask=mask,
            profile=profile,
            privacy_conn_id=privacy_conn_id,
            verbose=verbose,
            history=history,
        )
        self.columns = columns
        self.exclude = exclude
        self.mask = mask
        self.profile = profile
        self.privacy_conn_id = privacy_conn_id
        self.resource = resource
        self.warehouse_conn_id = warehouse_conn_id
        self.drchrono_conn_id = drchrono_conn_id
        self.table = table
        self.schema = schema
        self.filters = filters
        self.extra_filters = extra_filters
        self.verbose = verbose
        self.since = since
        self.lookback = lookback
        self.full_refresh = full_refresh
        self.complete_every = complete_every
        self.history = history
        self.read_by = read_by
        self.deferrable = deferrable
        self.on_suspicious = on_suspicious
        self.verify = verify
        self.verify_sample = verify_sample
        self.staging_path = staging_path
        self.staging_retention = staging_retention
        source = list_asset(resource, drchrono_conn_id)
        if source is not None:
            self.add_inlets([source])
        self._table = Outlet(self, table_asset(resource, drchrono_conn_id, warehouse_conn_id, table, schema))

    def execute(self, context: Context) -> dict[str, Any]:
        """Sync, and return counts and times.

        :raises AirflowFailException: an argument, a connection or the table has to be changed first.
        :raises AirflowRescheduleException: the quota is used up, or a bulk list takes long; what was read is kept.
        """
        started = monotonic()
        try:
            with airflow_outcome(), warehouse_outcome():
                hook = DrChronoHook(self.drchrono_conn_id)
                request = self._request(hook.catalog, hook.settings.timezone)
                with closing(hook):
                    result, verification = self._sync(request, hook, context)
        except BulkPendingError as error:
            pending = error
        else:
            return self._report(context, result, verification, request, monotonic() - started)
        self._come_back(pending)

    def execute_complete(self, context: Context, event: object) -> dict[str, Any]:
        """Go on after the triggerer has waited for a bulk list; whatever it says, the sync looks for itself."""
        return self.execute(context)

    def _come_back(self, pending: BulkPendingError) -> NoReturn:
        """Give the worker free until the pages of a bulk list are likely to be made."""
        if not waits_in_triggerer(self.deferrable):
            raise put_off(str(pending), pending.retry_at)
        from airflow_provider_drchrono.triggers.bulk import DrChronoBulkListTrigger
        from airflow_provider_drchrono.triggers.waiting import GRACE

        ends = pending.retry_at.timestamp() + _LONGEST_DEFERRAL.total_seconds()
        log.info("%s; waiting in the triggerer", pending)
        self.defer(
            # One of the pages is enough to wait for, as each look costs a call: they are made side by side.
            trigger=DrChronoBulkListTrigger(
                drchrono_conn_id=self.drchrono_conn_id,
                resource=pending.resource,
                uuids=[pending.uuid],
                ends=ends,
                poll_interval=LONGEST_POLL,
                not_before=max(pending.retry_at.timestamp(), time.time() + shortest_deferral()),
            ),
            method_name="execute_complete",
            timeout=_LONGEST_DEFERRAL + GRACE + max(pending.retry_at - datetime.now(UTC), timedelta(0)),
        )

    def _report(
        self,
        context: Context,
        result: SyncResult,
        verification: Verification | None,
        request: SyncRequest,
        seconds: float,
    ) -> dict[str, Any]:
        self._tell(context, result)
        summary = {
            "resource": request.resource.name,
            "table": request.table.label,
            "calls": result.calls + (verification.calls if verification else 0),
            "rows_read": result.counts.read,
            "rows_new": result.counts.new,
            "rows_changed": result.counts.changed,
            "rows_deleted": result.counts.deleted,
            "rows_in_table": result.counts.in_table,
            "records_set_aside": result.set_aside,
            "seconds": round(seconds, 3),
            "since": result.since,
            "watermark": result.watermark,
            "verified": verification.summary() if verification else None,
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
        self._table.update(
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

    def _sync(
        self, request: SyncRequest, hook: DrChronoHook, context: Context
    ) -> tuple[SyncResult, Verification | None]:
        grant_id = grant_of(hook)
        name = request.staging_name(hook.settings.base_url, grant_id, self.warehouse_conn_id)
        folder = staging_folder(self._staging_root(), name)
        task = instance_of(context, self)
        staging = Staging(folder, f"{task.dag_id}/{task.task_id}/{task.map_index}/{task.run_id}", request.shield)
        if not staging.acquire():
            raise AirflowException(
                f"Another process is syncing {request.resource.name} into {request.table.label} at this moment; give "
                f"the DAG max_active_runs=1, and let the task be retried"
            )
        try:
            swept = staging.sweep(self.staging_retention)
            if swept:
                log.info("Removed the staged pages of %s other syncs that nobody resumed", swept)
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
                run_id=task.run_id,
                practice=practice,
                is_widened=is_widened,
            ).run()
            if self.verify is None:
                return result, None
            verifier = Verifier(request, hook=hook, open_warehouse=open_it, key=key, set_aside=result.set_aside)
            return result, verifier.verify(self.verify_sample, self.verify)
        finally:
            staging.release()

    def _request(self, catalog: Catalog, zone: str | None) -> SyncRequest:
        """Check the arguments against the catalogue, before anything is asked of the API or the database.

        :param zone: IANA name of the practice's time zone, where the connection names it.
        """
        try:
            resource = _checked_resource(catalog, self.resource)
            operation = resource.list_operation
            extra = arguments.checked_extra_filters(operation.id, self.extra_filters) if operation else {}
            known = filters_of(resource, catalog, has_extra=bool(extra))
            filters = arguments.checked_filters(known, self.filters, zone=zone)
            _check_options(resource, self.verbose, self.since)
            lookback = _checked_lookback(resource, self.lookback)
            full_refresh = _as_bool(self.full_refresh)
        except (UnknownNameError, ValueError) as error:
            raise arguments.InvalidArgumentError(str(error)) from None
        policy = checked_policy(
            resource.name,
            columns=self.columns,
            exclude=self.exclude,
            mask=self.mask,
            profile=self.profile,
            privacy_conn_id=self.privacy_conn_id,
            verbose=self.verbose,
            history=self.history,
            catalog=catalog,
        )
        table = table_for(
            catalog,
            resource,
            name=self.table or resource.name,
            schema=self.schema or None,
            verbose=self.verbose,
            policy=policy,
        )
        return SyncRequest(
            resource=resource,
            table=table,
            filters=filters,
            extra_filters=extra,
            verbose=self.verbose,
            since=self.since or None,
            lookback=lookback,
            full_refresh=full_refresh,
            retention=self.staging_retention,
            complete_every=self.complete_every,
            history=self.history,
            read_by=self.read_by,
            on_suspicious=self.on_suspicious,
            shield=shield_of(policy, self.privacy_conn_id),
        )

    def _staging_root(self) -> str:
        if problem := staging_problem(self.staging_path):
            log.warning("%s", problem)
        if self.staging_path:
            # One that comes while the task runs; that of the configuration is the deployment's own.
            _check_staging_path(self.staging_path)
        configured = self.staging_path or configured_staging()
        home = os.environ.get("AIRFLOW_HOME", "~/airflow")
        return str(configured or os.path.join(os.path.expanduser(home), "drchrono", "staging"))


def _check_staging_path(path: str) -> None:
    try:
        inside_fence(place_of(path))
        return
    except ValueError as error:
        problem = str(error)
    raise arguments.InvalidArgumentError(f"staging_path {problem}")


def check_arguments(
    where: str,
    *,
    resource: object,
    filters: object = None,
    extra_filters: object = None,
    read_by: object = "auto",
    complete_every: object = "auto",
    on_suspicious: object = "warn",
    verify: object = None,
    verify_sample: object = 20,
    **held: Any,
) -> None:
    """Judge arguments of a sync while the DAG is parsed, as far as they are no templates.

    :param where: what has these arguments, for messages.
    :param held: those that say what may be held, as ``checked_policy`` takes them.
    :raises InvalidArgumentError: one of them cannot be right.
    """
    _check_literals(resource, filters, extra_filters)
    _check_way(where, resource, read_by, extra_filters)
    _check_complete_every(complete_every)
    arguments.check_choice(where, "on_suspicious", on_suspicious, get_args(OnSuspiciousSync))
    if verify is not None:
        arguments.check_choice(where, "verify", verify, ON_DIFFERENCE)
    if isinstance(verify_sample, bool) or not isinstance(verify_sample, int) or not 0 <= verify_sample <= MOST_SAMPLED:
        raise arguments.InvalidArgumentError(
            f"{where}: verify_sample has to be a number of rows from 0 to {MOST_SAMPLED}, not {verify_sample!r}"
        )
    checked_policy(resource, **held)


def _check_literals(resource: object, filters: object, extra_filters: object) -> None:
    """Judge, while the DAG is parsed, what is not a template.

    :raises InvalidArgumentError: the resource cannot be synced, or a filter cannot be right.
    """
    if not isinstance(resource, str) or arguments.is_template(resource):
        return
    try:
        found = _checked_resource(load(), resource)
    except (UnknownNameError, ValueError) as error:
        problem = str(error)
    else:
        known = filters_of(found, has_extra=bool(extra_filters))
        arguments.check_extra_filters(known.operation_id, extra_filters)
        arguments.check_filters(known, filters)
        return
    raise arguments.InvalidArgumentError(problem)


def _check_complete_every(complete_every: object) -> None:
    if complete_every not in ("auto", None) and not isinstance(complete_every, timedelta):
        raise arguments.InvalidArgumentError(
            f"complete_every has to be a timedelta, 'auto' or None, not {complete_every!r}"
        )


def filters_of(resource: Resource, catalog: Catalog | None = None, *, has_extra: bool = False) -> Filters:
    """Return the filters that a sync of a resource takes: all but the one that it sets by itself.

    :param catalog: the one with the facts of a connection; None while no connection is known.
    :param has_extra: whether filters are given beside that the catalogue does not know.
    """
    if resource.incremental is not None:
        return arguments.incremental_filters(resource.name, catalog, has_extra=has_extra)
    operation = resource.list_operation
    assert operation is not None  # noqa: S101 - the resource was judged before
    return arguments.operation_filters(operation.id, catalog, has_extra=has_extra)


def _checked_resource(catalog: Catalog, name: str) -> Resource:
    resource = catalog.resource(name)
    if resource.list_operation is None or resource.record is None:
        same = _served_in_bulk(catalog, resource)
        remedy = f"sync {same}, whose records these are" if same else "sync another resource"
        raise ValueError(f"{resource.name} cannot be synced into a table: the API has no list of them; {remedy}")
    return resource


def _served_in_bulk(catalog: Catalog, resource: Resource) -> str | None:
    """Return the resource whose records a resource serves in bulk."""
    starts = {each.bulk.start: each.name for each in catalog.resources.values() if each.bulk}
    return next((starts[name] for name in resource.operations if name in starts), None)


def _check_way(where: str, resource: object, read_by: object, extra_filters: object) -> None:
    """Judge the way of reading while the DAG is parsed.

    :param where: the operator's name, for the message.
    :raises InvalidArgumentError: there is no such way, or not to this list.
    """
    arguments.check_choice(where, "read_by", read_by, WAYS)
    if read_by == "bulk" and extra_filters:
        raise arguments.InvalidArgumentError(
            "extra_filters are sent page by page, as nobody knows whether a bulk list takes them; leave read_by out"
        )
    if read_by != "bulk" or not isinstance(resource, str) or arguments.is_template(resource):
        return
    catalog = load()
    if catalog.resource(resource).bulk is None:
        able = ", ".join(each.name for each in catalog.resources.values() if each.bulk)
        raise arguments.InvalidArgumentError(f"{resource} has no bulk list; leave read_by out, or sync one of {able}")


def _check_options(resource: Resource, verbose: bool, since: str | date | datetime | None) -> None:
    operation = resource.list_operation
    if verbose and operation and not any(each.name == "verbose" for each in operation.parameters):
        raise ValueError(f"{operation.id} has no verbose form; leave verbose out")
    if since and resource.incremental is None:
        raise ValueError(f"{resource.name} cannot be listed by time of change; leave since out")
    try:
        first_start(since, ("UTC",))
    except ValueError:
        raise ValueError(
            f"since is no date or time in ISO 8601 such as 2026-01-31 or 2026-01-31T08:00:00: {since!r}"
        ) from None


def _checked_lookback(resource: Resource, lookback: timedelta | float | None) -> timedelta:
    if lookback is None:
        return timedelta(seconds=resource.incremental.lookback if resource.incremental else 0)
    given = timedelta(seconds=lookback) if isinstance(lookback, int | float) else lookback
    if given < timedelta(0):
        raise ValueError("lookback may not be negative; give a timedelta or seconds")
    return given


def _as_bool(value: bool | str) -> bool:
    answer = _YES_OR_NO.get(str(value).strip().lower())
    if answer is None:
        raise ValueError(f"full_refresh has to be true or false, not {value!r}")
    return answer
