"""What becomes of a list of records: an XCom of bounded size, or a file on any object storage."""

from __future__ import annotations

import gzip
import json
from collections.abc import Collection, Iterable
from contextlib import ExitStack, suppress
from io import TextIOWrapper
from typing import IO, Any, cast

from airflow.sdk import ObjectStoragePath

from airflow_provider_drchrono.catalog import Catalog, Operation, load
from airflow_provider_drchrono.operators.base.arguments import InvalidArgumentError, check_names

Record = dict[str, Any]


def checked_fields(operation_id: str, fields: object, *, verbose: bool) -> tuple[str, ...] | None:
    """Return the names of the fields to keep; None keeps all.

    :raises InvalidArgumentError: the record has no such field, or shows it only with ``verbose=True``.
    """
    if fields is None:
        return None
    catalog = load()
    record_name = _record_name(catalog, catalog.operation(operation_id))
    if record_name is None:
        known: Collection[str] = ()
        hidden: Collection[str] = ()
    else:
        known, hidden = catalog.record(record_name).fields, catalog.record(record_name).verbose_fields
    names = tuple(fields) if isinstance(fields, Iterable) and not isinstance(fields, str) else None
    if not names or not all(isinstance(name, str) for name in names):
        raise InvalidArgumentError(f"{operation_id}: fields must be a list of names of fields, or None for all")
    if known:
        check_names(operation_id, "fields", names, known)
    if not verbose and (needs := [name for name in names if name in hidden]):
        raise InvalidArgumentError(
            f"{operation_id}: {', '.join(needs)} come{'s' if len(needs) == 1 else ''} only with verbose=True; set it"
        )
    return names


def _record_name(catalog: Catalog, operation: Operation) -> str | None:
    if operation.answer.record:
        return operation.answer.record
    return catalog.resource(operation.resource).record


def only(record: Record, fields: Collection[str] | None) -> Record:
    """Return a record with the chosen fields; one that the API did not send is left out."""
    return record if fields is None else {name: record[name] for name in fields if name in record}


def collect(operation_id: str, records: Iterable[Record], max_records: int) -> list[Record]:
    """Return the records as a list, stopping as soon as there are more than the bound.

    :raises InvalidArgumentError: there are more. Nothing is cut off silently.
    """
    kept: list[Record] = []
    for record in records:
        if len(kept) == max_records:
            raise too_many(operation_id, max_records)
        kept.append(record)
    return kept


def too_many(operation_id: str, max_records: int) -> InvalidArgumentError:
    """Return the error for a list that is longer than its bound."""
    return InvalidArgumentError(
        f"{operation_id}: there are more than {max_records:,} records, the bound for an XCom: write them to a "
        "file with output_path, narrow the filters, or raise max_records"
    )


def checked_bound(operation_id: str, max_records: object) -> int:
    """Return the bound, which has to be a number of records from 1 up."""
    if isinstance(max_records, bool) or not isinstance(max_records, int) or max_records < 1:
        raise InvalidArgumentError(
            f"{operation_id}: max_records must be a number from 1 up; a list without bound goes to output_path"
        )
    return max_records


def write_records(path: str | ObjectStoragePath, records: Iterable[Record]) -> dict[str, Any]:
    """Write one JSON object a line, compressed where the name ends in ``.gz``, and never hold more than a page.

    :return: ``{"path": ..., "count": ...}``
    :raises Exception: what went wrong; an unfinished file is removed, so that nobody takes it for a whole one.
    """
    target, count = _prepared(path), 0
    try:
        with ExitStack() as stack:
            file = stack.enter_context(target.open("wb"))  # type: ignore[no-untyped-call]
            text = stack.enter_context(_text(file, target.name))
            for record in records:
                text.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
                count += 1
    except BaseException:
        with suppress(Exception):
            target.unlink()
        raise
    return {"path": str(target), "count": count}


def write_document(path: str | ObjectStoragePath, document: Any) -> dict[str, Any]:
    """Write a report: text and bytes as they are, anything else as JSON.

    :return: ``{"path": ..., "bytes": ...}``, the bytes before compression.
    """
    target = _prepared(path)
    text = document if isinstance(document, str | bytes) else json.dumps(document, ensure_ascii=False)
    content = text.encode() if isinstance(text, str) else text
    with target.open("wb") as file:  # type: ignore[no-untyped-call]
        file.write(gzip.compress(content, mtime=0) if target.name.endswith(".gz") else content)
    return {"path": str(target), "bytes": len(content)}


def _prepared(path: str | ObjectStoragePath) -> ObjectStoragePath:
    target = path if isinstance(path, ObjectStoragePath) else ObjectStoragePath(str(path))
    if target.protocol in ("", "file", "local"):
        target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _text(file: IO[bytes], name: str) -> TextIOWrapper:
    # Without a time stamp, so that equal records make an equal file.
    binary = gzip.GzipFile(fileobj=file, mode="wb", mtime=0) if name.endswith(".gz") else file
    return TextIOWrapper(cast("IO[bytes]", binary), encoding="utf-8", newline="\n")
