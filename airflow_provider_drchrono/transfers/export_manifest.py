"""What a manifest says of one run of an export: its files, its window, and where the next run begins.

It holds names, counts, times, checksums and hashes of rows, and nothing of a record.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.incremental.hashes import unpack
from airflow_provider_drchrono.transfers.export_files import ExportedFile
from airflow_provider_drchrono.warehouses.table import Column

FORMAT = 1
"""Of the manifests that this release writes. A release refuses those of a later one."""


class ManifestError(DrChronoError):
    """A text is no manifest that this release can use. The message goes on after the file's name."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One run that is complete.

    :param number: of the run, from 1.
    :param resource: what is exported.
    :param source: base URL of the API.
    :param practice: tells the practice from others.
    :param selection: hash of what chooses the records, and of what is held of them.
    :param file_format: ``ndjson`` or ``parquet``.
    :param schema_version: hash of the columns: another one means that files have other columns.
    :param columns: name and kind of each column.
    :param key: columns that tell two records apart; empty where nothing does.
    :param complete: whether the files hold the whole list, so that they replace all that is in earlier manifests.
    :param window: ``since``, by the practice's clock, None for the beginning; and ``until``, an instant: the time
        between which the changes of the run lie.
    :param rows: in all files together.
    :param deletions: files with the keys of records that the API has logged as deleted.
    :param run: the DAG run, its counts, and a hash that tells the task and its run from others.
    :param state: where the next run begins.
    """

    number: int
    resource: str
    source: str
    practice: str
    selection: str
    file_format: str
    schema_version: str
    columns: tuple[Mapping[str, str], ...]
    key: tuple[str, ...]
    complete: bool
    window: Mapping[str, str | None]
    rows: int
    files: tuple[ExportedFile, ...]
    deletions: tuple[ExportedFile, ...]
    written_at: str
    run: Mapping[str, Any]
    state: Mapping[str, Any]
    format: int = field(default=FORMAT)

    def content(self) -> bytes:
        """Return the manifest as a file."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode()

    @classmethod
    def of(cls, content: bytes) -> Manifest:
        """Return what a file says.

        :raises ManifestError: it is no manifest, or one of a later release.
        """
        try:
            raw = json.loads(content)
            version = raw["format"]
            if isinstance(version, int) and version > FORMAT:
                raise ManifestError("was written by a later release of the provider; update the provider")
            raw |= {name: tuple(ExportedFile(**each) for each in raw[name]) for name in ("files", "deletions")}
            found = cls(**raw | {"columns": tuple(raw["columns"]), "key": tuple(raw["key"])})
            unpack(found.state["fingerprints"])
        except ManifestError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError):
            pass
        else:
            return found
        raise ManifestError("is no manifest of an export; restore it from a copy, or give the export another path")

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(each.bytes for each in self.files + self.deletions)


def schema_version(columns: tuple[Column, ...]) -> str:
    """Return what tells the columns of a file from others."""
    text = json.dumps([(column.name, column.kind) for column in columns])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
