"""The operator that exports a list to files, run by run, in a folder or an object store."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from airflow_provider_drchrono.assets.outlets import export_asset
from airflow_provider_drchrono.common import arguments
from airflow_provider_drchrono.common.lineage import DatasetName
from airflow_provider_drchrono.common.outcomes import airflow_outcome
from airflow_provider_drchrono.compat import instance_of
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.transfers.base.list_arguments import checked_place
from airflow_provider_drchrono.transfers.base.list_transfer import ListTransferOperator
from airflow_provider_drchrono.transfers.deletions import OnSuspiciousSync, known_practice
from airflow_provider_drchrono.transfers.export_files import FileFormat, check_format
from airflow_provider_drchrono.transfers.export_folder import ExportFolder, ExportRun
from airflow_provider_drchrono.transfers.export_manifest import Manifest
from airflow_provider_drchrono.transfers.extraction import ReadBy
from airflow_provider_drchrono.transfers.shield import checked_policy
from airflow_provider_drchrono.transfers.staging import Staging
from airflow_provider_drchrono.transfers.sync import Sync, SyncRequest, SyncResult
from airflow_provider_drchrono.warehouses.base import LoadCounts

if TYPE_CHECKING:
    from airflow.sdk import Asset, Context, ObjectStoragePath

    from airflow_provider_drchrono.catalog.privacy import Profile
    from airflow_provider_drchrono.privacy import MaskKind

log = logging.getLogger(__name__)


class DrChronoToObjectStorageOperator(ListTransferOperator):
    """Export a list to files: the whole list first, and in each later run what changed since.

    It reads as :class:`~airflow_provider_drchrono.transfers.drchrono_to_warehouse.DrChronoToWarehouseOperator` does: by
    time of change where the list has one, with staged pages from which a killed task resumes, and in bulk where that
    takes fewer calls. A list that cannot be asked for what changed is exported as a whole in each run.

    The files of a run are ``<path>/<resource>/date=<day of the run>/run=<number>-<hash>/part-00000.ndjson.gz``, and so
    on. Last of all comes ``<path>/<resource>/_manifests/<number>.json``, which lists them. Whoever reads the files that
    manifests list sees each run whole or not at all, and no row of it twice. The latest manifest also says where the
    next run begins. A run without a manifest is made again, and one that has its manifest is not.

    Rows have the columns of the warehouse's table: a typed value for each field, ``_drchrono_digest``,
    ``_drchrono_extra``, ``_drchrono_timezone`` and ``_drchrono_synced_at``. Where the API logs deletions, the keys of
    what was deleted are in files of their own, ``deleted-00000``.

    It returns, and pushes to XCom, counts and times and no record: ``resource``, ``manifest`` (its path, None where
    nothing was concluded from the read), ``number``, ``complete``, ``calls``, ``rows_read``, ``rows_written``,
    ``rows_unchanged``, ``rows_deleted``, ``records_set_aside``, ``files``, ``bytes``, ``seconds``, ``since``,
    ``watermark``.

    :param resource: what to export, such as ``patients``: any resource that can be listed.
    :param path: folder or object storage URL, such as ``s3://aws_default@bucket/drchrono``; it has one export of each
        resource.
    :param file_format: ``ndjson`` for gzipped lines of JSON, or ``parquet``, which the extra ``parquet`` installs.
    :param rows_per_file: how many rows a file has at most.
    :param drchrono_conn_id: Airflow connection of DrChrono.
    :param filters: filters of the list, such as ``{"doctor": 123}``. Another choice needs another path.
    :param extra_filters: filters that the provider does not know, by name; they are sent as they are, and the list is
        read page by page.
    :param verbose: read the verbose fields too; pages are smaller then, so it takes more calls.
    :param since: export only records changed since then: a date, a time of the practice's wall clock, a time with an
        offset, or one of these as ISO 8601 text.
    :param lookback: read again what changed so shortly before the last run, as lists may show changes late; a timedelta
        or seconds. None: two minutes, or a day where the list goes by the time of creation. Rows that come back as they
        were are not written again.
    :param full_refresh: export the whole list again, which shows what was deleted. It may be a template.
    :param read_by: ``auto``, ``pages`` or ``bulk``, as of the sync.
    :param deferrable: wait for bulk lists that take long in the triggerer; None leaves it to ``[operators]
        default_deferrable``. Otherwise the task is rescheduled meanwhile; a worker is held by neither.
    :param on_suspicious: what follows where a list may hide records: ``warn`` in the log, ``fail``, or ``accept`` the
        list as it is.
    :param columns: the fields to hold, by name, as of the sync.
    :param exclude: fields to leave out; ``class:free_text`` stands for all fields of a privacy class.
    :param mask: fields to mask, with the mask: ``hash``, ``year``, ``shift``, ``zip3`` or ``number``.
    :param profile: ``limited_data_set`` or ``safe_harbor``: leave out and mask by the field's privacy class. Where days
        are masked, ``full_refresh`` has to be true: files of what changed since the last run tell them.
    :param privacy_conn_id: Airflow connection whose password is the key of ``hash``, ``shift`` and profiles.
    :param staging_path: folder or object storage URL for pages until they are exported, as of the sync.
    :param staging_retention: how long pages are kept that no run has resumed.
    """

    template_fields: Sequence[str] = (
        "resource",
        "path",
        "drchrono_conn_id",
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
        path: str,
        file_format: FileFormat = "ndjson",
        rows_per_file: int = 250_000,
        drchrono_conn_id: str = DrChronoHook.default_conn_name,
        filters: Mapping[str, Any] | None = None,
        extra_filters: Mapping[str, Any] | None = None,
        verbose: bool = False,
        since: str | date | datetime | None = None,
        lookback: timedelta | float | None = None,
        full_refresh: bool | str = False,
        read_by: ReadBy = "auto",
        deferrable: bool | None = None,
        on_suspicious: OnSuspiciousSync = "warn",
        columns: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
        mask: Mapping[str, MaskKind] | None = None,
        profile: Profile | None = None,
        privacy_conn_id: str | None = None,
        staging_path: str | None = None,
        staging_retention: timedelta = timedelta(hours=24),
        **kwargs: Any,
    ) -> None:
        arguments.check_choice(type(self).__name__, "file_format", file_format, get_args(FileFormat))
        _check_bound(rows_per_file)
        if not arguments.is_template(path):
            _check_absolute(path)
        self.path = path
        self.file_format = file_format
        self.rows_per_file = rows_per_file
        super().__init__(
            resource=resource,
            drchrono_conn_id=drchrono_conn_id,
            filters=filters,
            extra_filters=extra_filters,
            verbose=verbose,
            since=since,
            lookback=lookback,
            full_refresh=full_refresh,
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
        policy = checked_policy(
            resource,
            columns=columns,
            exclude=exclude,
            mask=mask,
            profile=profile,
            privacy_conn_id=privacy_conn_id,
            verbose=verbose,
        )
        _check_days(resource, hidden=policy is not None and policy.hides_times, full_refresh=full_refresh)

    def execute(self, context: Context) -> dict[str, Any]:
        """Export, and return counts and times.

        :raises AirflowFailException: an argument, a connection or the folder has to be changed first.
        :raises AirflowRescheduleException: the quota is used up, or a bulk list takes long; what was read is kept.
        """
        with airflow_outcome():
            _check_absolute(self.path)
            check_format(self.file_format)
        return self._run_once(context)

    def _asset(self) -> Asset | None:
        return export_asset(self.resource, self.drchrono_conn_id, self.path)

    def _written(self, request: SyncRequest) -> DatasetName:
        folder = self._folder(request)
        return DatasetName(folder.namespace, folder.path if folder.namespace == "file" else folder.key)

    def _destination(self) -> str:
        return self.path.rstrip("/")

    def _label(self, request: SyncRequest) -> str:
        return f"{self._destination()}/{request.resource.name}"

    def _transfer(
        self, request: SyncRequest, hook: DrChronoHook, staging: Staging, grant_id: str, context: Context
    ) -> SyncResult:
        _check_days(request.resource.name, hidden=request.table.hides_times, full_refresh=request.full_refresh)
        run = self._run(request, context)
        folder = ExportFolder(self._folder(request), run)
        folder.prepare()
        # Kept on the task, which runs once in its process, for the report.
        self._target = folder
        practice = known_practice(hook, folder, request.table, grant_id, staging.checkpoint())
        key = request.key(hook.settings.base_url, practice.practice)
        folder.state(request.table, key)
        latest = folder.latest()
        if latest is not None and latest.run.get("token") == run.token:
            log.info(
                "This DAG run has its manifest already and reads nothing; a new DAG run exports what changed since"
            )
            staging.clear()
            folder.committed = latest
            return _result_of(latest)
        return Sync(
            request,
            hook=hook,
            open_warehouse=lambda: folder,
            key=key,
            staging=staging,
            run_id=instance_of(context, self).run_id,
            practice=practice,
            # A second read in one run would be a second manifest of it; the next run reads on from there.
            catches_up=False,
        ).run()

    def _folder(self, request: SyncRequest) -> ObjectStoragePath:
        from airflow.sdk import ObjectStoragePath

        place = checked_place("path", self.path)
        root = place if isinstance(place, ObjectStoragePath) else ObjectStoragePath(f"file://{place}")
        return root / request.resource.name

    def _run(self, request: SyncRequest, context: Context) -> ExportRun:
        task = instance_of(context, self)
        named = f"{task.dag_id}/{task.task_id}/{task.map_index}/{task.run_id}"
        dag_run: Any = context.get("dag_run")
        moment = getattr(dag_run, "run_after", None) or getattr(dag_run, "logical_date", None) or datetime.now(UTC)
        return ExportRun(
            token=hashlib.sha256(named.encode()).hexdigest()[:16],
            day=moment.astimezone(UTC).date(),
            file_format=self.file_format,
            rows_per_file=self.rows_per_file,
            lookback=request.lookback,
        )

    def _report(self, context: Context, result: SyncResult, request: SyncRequest, seconds: float) -> dict[str, Any]:
        manifest = self._target.committed
        rows, deleted = (manifest.rows, sum(each.rows for each in manifest.deletions)) if manifest else (0, 0)
        # A try before this one may have written the manifest and been killed before it could say so.
        repeated = getattr(instance_of(context, self), "try_number", 1) > 1
        self._outlet.update(
            self,
            context,
            rows + deleted,
            even_if_none=repeated,
            deleted=deleted,
            manifest=f"{manifest.number:06}" if manifest else None,
            since=result.since,
            until=result.watermark,
        )
        summary = {
            "resource": request.resource.name,
            "manifest": self._target.path_of(manifest) if manifest else None,
            "number": manifest.number if manifest else None,
            "complete": manifest.complete if manifest else None,
            "calls": result.calls,
            "rows_read": result.counts.read,
            "rows_written": rows,
            "rows_unchanged": manifest.run["rows_unchanged"] if manifest else 0,
            "rows_deleted": deleted,
            "records_set_aside": result.set_aside,
            "files": len(manifest.files) + len(manifest.deletions) if manifest else 0,
            "bytes": manifest.size if manifest else 0,
            "seconds": round(seconds, 3),
            "since": result.since,
            "watermark": result.watermark,
        }
        log.info(
            "Exported %(resource)s: calls %(calls)s, rows read %(rows_read)s, written %(rows_written)s, unchanged "
            "%(rows_unchanged)s, deleted %(rows_deleted)s, files %(files)s, bytes %(bytes)s, seconds %(seconds)s, "
            "manifest %(manifest)s",
            summary,
        )
        return summary


def _check_bound(rows_per_file: object) -> None:
    if isinstance(rows_per_file, bool) or not isinstance(rows_per_file, int) or rows_per_file < 1:
        raise arguments.InvalidArgumentError(f"rows_per_file has to be a whole number from 1, not {rows_per_file!r}")


def _check_days(resource: str, *, hidden: bool, full_refresh: bool | str) -> None:
    if hidden and not full_refresh:
        raise arguments.InvalidArgumentError(
            f"{resource}: days are masked, and files of what changed since the last run would tell them; say "
            f"full_refresh=True, which exports the whole list in each run"
        )


def _check_absolute(path: object) -> None:
    if not isinstance(path, str) or not path.strip("/"):
        raise arguments.InvalidArgumentError(
            "path has to name a folder, or an object storage URL such as s3://bucket/x"
        )
    if "://" not in path and not Path(path).expanduser().is_absolute():
        raise arguments.InvalidArgumentError(
            f"path {path!r} is relative, and each worker would take it for another folder; give an absolute path, or "
            f"an object storage URL such as s3://bucket/folder"
        )


def _result_of(manifest: Manifest) -> SyncResult:
    """Return what the run did that wrote a manifest."""
    counts = LoadCounts(
        read=manifest.run["rows_read"], new=manifest.rows, changed=0, in_table=manifest.state["rows_in_list"]
    )
    until = manifest.window["until"]
    return SyncResult(manifest.run["calls"], counts, 0, manifest.window["since"], until)
