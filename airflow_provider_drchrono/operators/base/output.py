"""What becomes of a list of records that goes to an XCom: chosen fields, and no more records than its bound."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

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
