"""What becomes of the records that a sensor found: an XCom of bounded size, whole or in batches, or a file."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import TextIOWrapper
from typing import IO, Any, cast

from airflow.sdk import ObjectStoragePath

from airflow_provider_drchrono.changes.marks import Record
from airflow_provider_drchrono.sensors.base.arguments import InvalidArgumentError


@dataclass(frozen=True, slots=True)
class Output:
    """How records are handed on.

    :param fields: names of the fields to keep; None keeps all.
    :param batch_size: records in a list of lists; None for one list.
    :param path: where to write them instead.
    """

    operation_id: str
    fields: tuple[str, ...] | None
    max_records: int
    batch_size: int | None
    path: str | None

    def deliver(self, records: Iterator[Record]) -> Any:
        """Return the records, or write them and return ``{"path": ..., "count": ...}``.

        :raises InvalidArgumentError: there are too many for an XCom. Nothing is cut off silently.
        """
        chosen = (self._only(record) for record in records)
        if self.path:
            return write_records(self.path, chosen)
        kept: list[Record] = []
        for record in chosen:
            if len(kept) == self.max_records:
                raise InvalidArgumentError(
                    f"{self.operation_id}: more than {self.max_records:,} records are new, the bound for an XCom: "
                    "write them to a file with output_path, or raise max_records. They are kept for the next try"
                )
            kept.append(record)
        if self.batch_size is None:
            return kept
        return [kept[place : place + self.batch_size] for place in range(0, len(kept), self.batch_size)]

    def _only(self, record: Record) -> Record:
        return record if self.fields is None else {name: record[name] for name in self.fields if name in record}


def write_records(path: str, records: Iterator[Record]) -> dict[str, Any]:
    """Write one JSON object a line, compressed where the name ends in ``.gz``.

    :raises Exception: what went wrong; an unfinished file is removed, so that nobody takes it for a whole one.
    """
    target, count = ObjectStoragePath(path), 0
    if target.protocol in ("", "file", "local"):
        target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as stack:
            file = stack.enter_context(target.open("wb"))  # type: ignore[no-untyped-call]
            # Without a time stamp, so that equal records make an equal file.
            packed = gzip.GzipFile(fileobj=file, mode="wb", mtime=0) if path.endswith(".gz") else file
            text = stack.enter_context(TextIOWrapper(cast("IO[bytes]", packed), encoding="utf-8", newline="\n"))
            for record in records:
                text.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
                count += 1
    except BaseException:
        with suppress(Exception):
            target.unlink()
        raise
    return {"path": str(target), "count": count}
