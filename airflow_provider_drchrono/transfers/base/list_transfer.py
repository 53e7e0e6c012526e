"""What operators share that keep a copy of a list: their arguments, the lock on what is staged, and waiting."""

from __future__ import annotations

import logging
import os
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator

from airflow_provider_drchrono.assets.outlets import Outlet, list_asset
from airflow_provider_drchrono.catalog import Catalog, UnknownNameError
from airflow_provider_drchrono.client.bulk_lists import LONGEST_POLL
from airflow_provider_drchrono.common import arguments
from airflow_provider_drchrono.common.lineage import DatasetName, ReportsLineage
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
from airflow_provider_drchrono.transfers.base.list_arguments import (
    as_bool,
    check_arguments,
    check_options,
    checked_lookback,
    checked_place,
    checked_resource,
    filters_of,
)
from airflow_provider_drchrono.transfers.bulk_reading import BulkPendingError
from airflow_provider_drchrono.transfers.deletions import OnSuspiciousSync, grant_of
from airflow_provider_drchrono.transfers.extraction import ReadBy
from airflow_provider_drchrono.transfers.flows import flow_of
from airflow_provider_drchrono.transfers.shield import checked_policy, shield_of
from airflow_provider_drchrono.transfers.staging import Staging
from airflow_provider_drchrono.transfers.staging_files import staging_folder
from airflow_provider_drchrono.transfers.sync import SyncRequest, SyncResult
from airflow_provider_drchrono.warehouses.deletions import CompleteEvery
from airflow_provider_drchrono.warehouses.table import table_for

if TYPE_CHECKING:
    from airflow.sdk import Asset, Context

    from airflow_provider_drchrono.catalog.privacy import Profile
    from airflow_provider_drchrono.privacy import MaskKind

log = logging.getLogger(__name__)

# After that the sync looks for itself, and starts what is gone.
_LONGEST_DEFERRAL = timedelta(minutes=30)


class ListTransferOperator(ReportsLineage, MasksTemplateFields, BaseOperator):
    """Reads what changed in a list into staging, and puts it somewhere together with the state.

    :param resource: what to read; the other parameters are those of
        :class:`~airflow_provider_drchrono.transfers.drchrono_to_warehouse.DrChronoToWarehouseOperator`.
    """

    # Airflow declares it as an attribute of the instance.
    template_fields_renderers = {"filters": "json", "extra_filters": "json"}  # noqa: RUF012
    ui_color = "#e3f0ea"

    table: str | None = None
    schema: str | None = None
    complete_every: CompleteEvery = None
    history: bool = False

    def __init__(
        self,
        *,
        resource: str,
        drchrono_conn_id: str,
        filters: Mapping[str, Any] | None,
        extra_filters: Mapping[str, Any] | None,
        verbose: bool,
        since: str | date | datetime | None,
        lookback: timedelta | float | None,
        full_refresh: bool | str,
        read_by: ReadBy,
        deferrable: bool | None,
        on_suspicious: OnSuspiciousSync,
        columns: Sequence[str] | None,
        exclude: Sequence[str] | None,
        mask: Mapping[str, MaskKind] | None,
        profile: Profile | None,
        privacy_conn_id: str | None,
        staging_path: str | None,
        staging_retention: timedelta,
        complete_every: CompleteEvery = None,
        history: bool = False,
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
        self.drchrono_conn_id = drchrono_conn_id
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
        self.staging_path = staging_path
        self.staging_retention = staging_retention
        source = list_asset(resource, drchrono_conn_id)
        if source is not None:
            self.add_inlets([source])
        self._outlet = Outlet(self, self._asset())

    @abstractmethod
    def _asset(self) -> Asset | None:
        """Return what is updated; None where it is not known while the DAG is parsed."""

    @abstractmethod
    def _destination(self) -> str:
        """Return what tells the place that is written from others, such as a connection id."""

    @abstractmethod
    def _transfer(
        self, request: SyncRequest, hook: DrChronoHook, staging: Staging, grant_id: str, context: Context
    ) -> SyncResult:
        """Sync, with a staging folder that this process has taken."""

    @abstractmethod
    def _report(self, context: Context, result: SyncResult, request: SyncRequest, seconds: float) -> dict[str, Any]:
        """Log what was done, update the asset, and return what goes to XCom."""

    @abstractmethod
    def _written(self, request: SyncRequest) -> DatasetName:
        """Return what is written, as OpenLineage names it."""

    def _label(self, request: SyncRequest) -> str:
        """Return what is written, for messages."""
        return request.table.label

    def _run_once(self, context: Context) -> dict[str, Any]:
        """Read and write, and return counts and times: what ``execute`` does."""
        started = monotonic()
        try:
            with airflow_outcome():
                hook = DrChronoHook(self.drchrono_conn_id)
                request = self._request(hook.catalog, hook.settings.timezone)
                with closing(hook):
                    result = self._sync(request, hook, context)
        except BulkPendingError as error:
            pending = error
        else:
            summary = self._report(context, result, request, monotonic() - started)
            files = summary.get("files")
            self.note_flow(
                lambda: flow_of(
                    hook.catalog, self.drchrono_conn_id, request, result, self._written(request), files=files
                )
            )
            return summary
        self._come_back(pending)

    def execute_complete(self, context: Context, event: object) -> dict[str, Any]:
        """Go on after the triggerer has waited for a bulk list; whatever it says, the sync looks for itself."""
        result: dict[str, Any] = self.execute(context)
        return result

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

    def _sync(self, request: SyncRequest, hook: DrChronoHook, context: Context) -> SyncResult:
        grant_id = grant_of(hook)
        name = request.staging_name(hook.settings.base_url, grant_id, self._destination())
        folder = staging_folder(self._staging_root(), name)
        task = instance_of(context, self)
        staging = Staging(folder, f"{task.dag_id}/{task.task_id}/{task.map_index}/{task.run_id}", request.shield)
        if not staging.acquire():
            raise AirflowException(
                f"Another process is syncing {request.resource.name} into {self._label(request)} at this moment; give "
                f"the DAG max_active_runs=1, and let the task be retried"
            )
        try:
            swept = staging.sweep(self.staging_retention)
            if swept:
                log.info("Removed the staged pages of %s other syncs that nobody resumed", swept)
            return self._transfer(request, hook, staging, grant_id, context)
        finally:
            staging.release()

    def _request(self, catalog: Catalog, zone: str | None) -> SyncRequest:
        """Check the arguments against the catalogue, before anything is asked of the API or the database.

        :param zone: IANA name of the practice's time zone, where the connection names it.
        """
        try:
            resource = checked_resource(catalog, self.resource)
            operation = resource.list_operation
            extra = arguments.checked_extra_filters(operation.id, self.extra_filters) if operation else {}
            known = filters_of(resource, catalog, has_extra=bool(extra))
            filters = arguments.checked_filters(known, self.filters, zone=zone)
            check_options(resource, self.verbose, self.since)
            lookback = checked_lookback(resource, self.lookback)
            full_refresh = as_bool(self.full_refresh)
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
            checked_place("staging_path", self.staging_path)
        configured = self.staging_path or configured_staging()
        home = os.environ.get("AIRFLOW_HOME", "~/airflow")
        return str(configured or os.path.join(os.path.expanduser(home), "drchrono", "staging"))
