"""``airflow drchrono drift``: in what an OpenAPI document of the vendor differs from the catalogue.

What the catalogue knows better, and says why, is no drift: a correction, a fact that stands only in the vendor's words,
a parameter that the contract leaves out, or what a newer edition has added.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass

from airflow_provider_drchrono.catalog import Catalog, Field, Operation, Parameter, RecordSchema, load
from airflow_provider_drchrono.cli.openapi_document import (
    Document,
    DocumentError,
    OperationOfDocument,
    Schema,
    load_document,
)

NEWER = "newer-contract"
"""The reason of facts that came with a newer edition than the one that the rest was read from."""

MEDIA_TYPES = {"json": "application/json", "multipart": "multipart/form-data"}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that the two say differently.

    :param kind: ``operation``, ``parameter``, ``body``, ``record`` or ``field``.
    :param where: the operation, or the record, and what of it.
    :param what: ``new`` or ``gone`` in the document, or the fact that differs.
    :param catalogue: what the catalogue says; empty where it says nothing.
    :param document: what the document says.
    """

    kind: str
    where: str
    what: str
    catalogue: str = ""
    document: str = ""


def drift(args: Namespace) -> None:
    """Print what differs.

    :param args: ``source``, a file or address, and ``output``, as parsed by Airflow.
    :raises SystemExit: 1 where something differs, or with a message where there is no document.
    """
    try:
        document = load_document(args.source)
    except DocumentError as error:
        raise SystemExit(str(error)) from None
    found = sorted(differences(load(), document), key=lambda each: (each.kind, each.where, each.what))
    if args.output == "json":
        print(json.dumps([asdict(each) for each in found], indent=2))
    elif found:
        from airflow.cli.simple_table import AirflowConsole

        AirflowConsole().print_as(data=[asdict(each) for each in found], output=args.output)
    if args.output != "json":
        counted = f"{len(found)} difference{'' if len(found) == 1 else 's'}"
        print(
            f"{counted} in {len(document.operations)} operations and {len(document.records)} records of the document."
        )
    if found:
        raise SystemExit(1)


def differences(catalog: Catalog, document: Document) -> Iterator[Difference]:
    """Yield what a document says differently than the catalogue, in no particular order."""
    corrected = catalog.sources.corrected
    ours = {(each.method, each.path): each for each in catalog.operations.values()}
    for method, path in document.operations.keys() - ours.keys():
        yield Difference("operation", f"{method} {path}", "new", document=document.operations[method, path].id)
    for (method, path), each in ours.items():
        theirs = document.operations.get((method, path))
        if theirs is not None:
            yield from _of_operation(catalog, each, theirs, corrected)
        elif each.because.get("id") != NEWER:
            yield Difference("operation", f"{method} {path}", "gone", each.id)
    newer = _newer_records(catalog)
    for name in document.records.keys() - catalog.records.keys():
        yield Difference("record", name, "new")
    for name, record in catalog.records.items():
        if name in document.records:
            yield from _of_record(record, document.records[name], corrected)
        elif name not in newer:
            yield Difference("record", name, "gone")


def _newer_records(catalog: Catalog) -> set[str]:
    """Return the records that only answers of a newer edition hold."""
    newer: set[str | None] = set()
    older: set[str | None] = set()
    for each in catalog.operations.values():
        is_newer = NEWER in (each.because.get("id"), each.response.because)
        names = {each.response.record, each.body.record if each.body else None}
        (newer if is_newer else older).update(names)
    return {name for name in newer - older if name is not None}


def _of_operation(
    catalog: Catalog, ours: Operation, theirs: OperationOfDocument, corrected: Collection[tuple[str, ...]]
) -> Iterator[Difference]:
    where = f"{ours.method} {ours.path}"
    if theirs.id and theirs.id != ours.id:
        yield Difference("operation", where, "operationId", ours.id, theirs.id)
    if theirs.scopes is not None and ("operation", ours.id, "scopes") not in corrected:
        yield from _differs("operation", where, "scopes", ours.named_scopes, theirs.scopes)
    expected = {ours.response.status, *ours.response.other_statuses}
    if theirs.statuses and ours.response.because is None and ("operation", ours.id, "response") not in corrected:
        yield from _differs("operation", where, "status", map(str, expected), map(str, theirs.statuses))
    parameters = {(each.place, each.name): each for each in ours.parameters}
    for place, name in theirs.parameters.keys() - parameters.keys():
        yield Difference(
            "parameter", f"{where} {name}", "new", document=f"{place} {theirs.parameters[place, name].type}"
        )
    for (place, name), each in parameters.items():
        found = theirs.parameters.get((str(place), name))
        if found is not None:
            yield from _of_parameter(f"{where} {name}", each, found)
        elif "name" not in each.because and each.type != "file":
            # A file has no place in a query: it goes with the body, whatever the vendor's document says.
            yield Difference("parameter", f"{where} {name}", "gone", f"{place} {each.type}")
    if theirs.body and ours.method != "GET":
        yield from _of_body(catalog, where, ours, theirs)


def _of_parameter(where: str, ours: Parameter, theirs: Schema) -> Iterator[Difference]:
    if ours.type != theirs.type and "type" not in ours.because:
        yield Difference("parameter", where, "type", ours.type, theirs.type)
    if ours.required != theirs.required and "required" not in ours.because:
        yield Difference("parameter", where, "required", _word(ours.required), _word(theirs.required))
    if theirs.enum or "enum" not in ours.because:
        yield from _differs("parameter", where, "enum", map(str, ours.enum), theirs.enum)


def _of_body(catalog: Catalog, where: str, ours: Operation, theirs: OperationOfDocument) -> Iterator[Difference]:
    if ours.body is None:
        yield Difference("body", where, "new", document=", ".join(theirs.body))
        return
    media_type = MEDIA_TYPES.get(ours.body.encoding, "")
    if media_type not in theirs.body:
        yield Difference("body", where, "media type", media_type, ", ".join(theirs.body))
        return
    schema = theirs.body[media_type]
    if schema.record is not None:
        if schema.record != ours.body.record:
            yield Difference("body", where, "record", ours.body.record or "", schema.record)
        return
    fields = {each.name: each for each in catalog.body_fields(ours)}
    found = _of_fields(where, fields, schema.fields, frozenset(), where)
    # A change takes any of its fields, whatever the record of the same name requires.
    yield from (each for each in found if not (each.what == "required" and ours.kind == "update"))


def _of_record(ours: RecordSchema, theirs: Schema, corrected: Collection[tuple[str, ...]]) -> Iterator[Difference]:
    yield from _of_fields(ours.name, ours.fields, theirs.fields, corrected, ours.name)


def _of_fields(
    where: str,
    ours: Mapping[str, Field],
    theirs: Mapping[str, Schema],
    corrected: Collection[tuple[str, ...]],
    record: str,
) -> Iterator[Difference]:
    for name in theirs.keys() - ours.keys():
        yield Difference("field", f"{where}.{name}", "new", document=theirs[name].type)
    for name, field in ours.items():
        if name in theirs:
            keys = {each[3] for each in corrected if each[:3] == ("field", record, name)}
            yield from _of_field(f"{where}.{name}", field, theirs[name], keys)
        elif field.because.get("name") != NEWER:
            yield Difference("field", f"{where}.{name}", "gone", field.type)


def _of_field(where: str, ours: Field, theirs: Schema, known: Collection[str]) -> Iterator[Difference]:
    reasoned = {*ours.because, *known}
    is_file = ours.format == "file" and theirs.type == "file"
    if ours.type != theirs.type and not is_file and "type" not in reasoned:
        yield Difference("field", where, "type", ours.type, theirs.type)
        return
    for what, mine, other in (
        ("required", ours.required, theirs.required),
        ("readOnly", ours.read_only, theirs.read_only),
        ("nullable", ours.nullable, theirs.nullable),
        ("verbose", ours.verbose, theirs.verbose),
    ):
        if mine != other and what not in reasoned:
            yield Difference("field", where, what, _word(mine), _word(other))
    if "enum" not in known and (theirs.enum or "enum" not in ours.because):
        yield from _differs("field", where, "enum", map(str, ours.enum), theirs.enum)
    if ours.record != theirs.record and "record" not in reasoned:
        yield Difference("field", where, "record", ours.record or "", theirs.record or "")
    if ours.items is not None and theirs.items is not None:
        yield from _of_field(f"{where}[]", ours.items, theirs.items, known)
    if ours.fields or theirs.fields:
        yield from _of_fields(where, {each.name: each for each in ours.fields}, theirs.fields, (), where)


def _differs(kind: str, where: str, what: str, ours: object, theirs: object) -> Iterator[Difference]:
    mine, other = (set(each) for each in (ours, theirs))  # type: ignore[call-overload]
    if mine != other:
        more, less = ", ".join(sorted(mine - other)), ", ".join(sorted(other - mine))
        yield Difference(kind, where, what, more, less)


def _word(value: bool) -> str:
    return "yes" if value else "no"
