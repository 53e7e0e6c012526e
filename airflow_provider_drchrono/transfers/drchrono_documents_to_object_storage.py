"""The operator that copies the files of records, such as documents, into a folder or an object store."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from airflow.sdk import BaseOperator

from airflow_provider_drchrono.catalog import UnknownNameError, load
from airflow_provider_drchrono.common.arguments import InvalidArgumentError, check_choice, is_template, path_id
from airflow_provider_drchrono.common.colours import COLOURS
from airflow_provider_drchrono.common.masking import MasksTemplateFields
from airflow_provider_drchrono.common.outcomes import airflow_outcome
from airflow_provider_drchrono.compat import AirflowFailException

if TYPE_CHECKING:
    from airflow.sdk import Context, ObjectStoragePath, XComArg

    from airflow_provider_drchrono.client import Download, DrChronoClient

Records: TypeAlias = "Sequence[int | str | Mapping[str, Any]] | XComArg | str"

MOST_WITHOUT_VERSION = 400
"""Records that are named by their ids alone. The quota has 500 calls an hour, and what is not known by its version is
asked for again when a task is continued in the next hour."""


class _Wanted(NamedTuple):
    """A record whose file is wanted.

    :param version: tells versions of a file apart in its name; empty where nothing says which one it is.
    """

    key: int | str
    version: str


class DrChronoDocumentsToObjectStorageOperator(MasksTemplateFields, BaseOperator):
    """Copy the files of records, each version once, into a folder of this machine or of an object store.

    For each record: ``GET`` of the record, and the file from where its link leads, over https and without the token
    unless it is at the connection's own host. A link that has expired is asked for again.

    Each file is written whole or not at all, as ``<path>/<resource>/<id>/<version>-<sha256>.<type>``: the version is
    the time of the change, and 16 characters of the checksum follow. A version that is there already is neither
    fetched nor written, so the task can be repeated, killed, and continued after a spent quota, and does nothing
    twice::

        documents = DrChronoNewOrUpdatedDocumentsSensor(task_id="documents", fields=["id", "updated_at"])
        DrChronoDocumentsToObjectStorageOperator(
            task_id="archive", records=documents.output, path="s3://aws_default@archive/drchrono"
        )

    It returns, and pushes to XCom, no name of a person: ``files``, a list of ``id``, ``path``, ``bytes``, ``sha256``,
    ``content_type`` and ``new``; and ``without_file``, the ids of records that have no file, or not yet. A file that
    was there before has ``new`` false, and no ``sha256`` and ``content_type``.

    :param records: ids, or records with an ``id`` and an ``updated_at``, as a sensor gives them. At most 400 without
        ``updated_at``.
    :param path: folder or object storage URL, such as ``s3://aws_default@bucket/folder``.
    :param resource: of the records: ``documents``, ``lab_documents``, or another one whose records link to a file.
    :param field: the field that holds the link; by default the record's only file.
    :param max_bytes: how large a file may be, in bytes; by default 512 MiB.
    :param on_missing: what a record means that is not there any more: ``fail`` fails the task, after all others are
        copied, and ``skip`` leaves it out.
    :param drchrono_conn_id: id of the Airflow connection of type ``drchrono``.
    """

    template_fields: Sequence[str] = ("records", "path", "resource", "field", "drchrono_conn_id")
    masked_fields = ("records",)
    ui_color = COLOURS["documents"]

    def __init__(
        self,
        *,
        records: Records,
        path: str,
        resource: str = "documents",
        field: str | None = None,
        max_bytes: int | None = None,
        on_missing: str = "fail",
        drchrono_conn_id: str = "drchrono_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choice(type(self).__name__, "on_missing", on_missing, ("fail", "skip"))
        if not is_template(resource):
            _read_operation(resource)
        self.records = records
        self.path = path
        self.resource = resource
        self.field = field
        self.max_bytes = max_bytes
        self.on_missing = on_missing
        self.drchrono_conn_id = drchrono_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Copy the files, and return what is where.

        :raises AirflowFailException: an argument is wrong, a file cannot be fetched, or a record is not there.
        :raises AirflowRescheduleException: the quota is used up; the files that were copied stay.
        """
        from airflow_provider_drchrono.client import NotFoundError
        from airflow_provider_drchrono.common.result_files import check_output_path
        from airflow_provider_drchrono.hooks.drchrono import DrChronoHook

        files: list[dict[str, Any]] = []
        without_file: list[int | str] = []
        missing: list[int | str] = []
        with airflow_outcome(), closing(DrChronoHook(self.drchrono_conn_id)) as hook:
            wanted = self._wanted()
            folder = check_output_path(self.path) / self.resource
            for each in wanted:
                try:
                    files.append(self._copied(hook.get_conn(), folder / str(each.key), each))
                except NotFoundError as error:
                    (without_file if error.status is None else missing).append(each.key)
        new = [each for each in files if each["new"]]
        self.log.info(
            "%s: copied %d files of %d bytes, %d were there before, %d records have no file, %d are not there",
            self.resource,
            len(new),
            sum(each["bytes"] for each in new),
            len(files) - len(new),
            len(without_file),
            len(missing),
        )
        if missing and self.on_missing == "fail":
            raise AirflowFailException(
                f"{self.resource}: there is no record {', '.join(map(str, missing[:10]))}"
                f"{' and more' if len(missing) > 10 else ''}; the files of the others are copied. Set "
                f"on_missing='skip' if records may have been deleted"
            )
        return {"files": files, "without_file": without_file}

    def _copied(self, drchrono: DrChronoClient, folder: ObjectStoragePath, wanted: _Wanted) -> dict[str, Any]:
        from airflow_provider_drchrono.common.result_files import write_file

        there = _version_in(folder, wanted.version)
        if there is not None:
            return {"id": wanted.key, "path": str(there), "bytes": there.stat().st_size, "new": False}
        with drchrono.download(self.resource, wanted.key, self.field, max_bytes=self.max_bytes) as download:
            target = folder / f"{wanted.version or 'file'}-{download.sha256[:16]}{_suffix(download)}"
            new = not target.exists()
            if new:
                write_file(target, download.content)
            return {
                "id": wanted.key,
                "path": str(target),
                "bytes": download.size,
                "sha256": download.sha256,
                "content_type": download.content_type,
                "new": new,
            }

    def _wanted(self) -> list[_Wanted]:
        operation = _read_operation(self.resource)
        given: Any = self.records
        if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
            raise InvalidArgumentError(f"records has to be a list of ids or of records, not {type(given).__name__}")
        wanted = [_one(operation.id, each, operation.parameter("id")) for each in given]
        nameless = sum(not each.version for each in wanted)
        if nameless > MOST_WITHOUT_VERSION:
            raise InvalidArgumentError(
                f"records has {nameless:,} entries without updated_at, and more than {MOST_WITHOUT_VERSION} could not "
                f"be continued when the quota is used up; give records with id and updated_at, or map over batches"
            )
        return list(dict.fromkeys(wanted))


def _read_operation(resource: str) -> Any:
    """Return the operation that reads a record.

    :raises InvalidArgumentError: there is no such resource, or its records cannot be read one by one.
    """
    try:
        found = load().resource(resource)
    except UnknownNameError as error:
        problem = str(error)
    else:
        operation = next((each for each in found.operations.values() if each.kind == "read"), None)
        if operation is not None and found.record and any(each.name == "id" for each in operation.parameters):
            return operation
        problem = f"{resource} has no operation that reads one record; take another resource"
    raise InvalidArgumentError(problem)


def _one(operation_id: str, value: Any, parameter: Any) -> _Wanted:
    version = ""
    if isinstance(value, Mapping):
        value, version = value.get("id"), _compact(value.get("updated_at"))
    return _Wanted(path_id(operation_id, "records", value, parameter), version)


def _compact(moment: object) -> str:
    """Return a time as a part of a file name, such as ``20260131T081500``."""
    return re.sub(r"[^0-9T]", "", str(moment).replace(" ", "T"))[:21] if moment else ""


def _version_in(folder: ObjectStoragePath, version: str) -> ObjectStoragePath | None:
    if not version or not folder.exists():
        return None
    return next((each for each in folder.iterdir() if each.name.startswith(f"{version}-")), None)


def _suffix(download: Download) -> str:
    """Return the end of a file's name: the one of its type, or else that of its own name."""
    known = mimetypes.guess_extension(download.content_type)
    own = re.search(r"\.[A-Za-z0-9]{1,5}$", download.file_name)
    return known or (own[0].lower() if own else "")
