"""Words for what the catalogue says: what a field or parameter holds, what it may be, and which rules it keeps.

The reference pages and ``airflow drchrono describe`` use the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from airflow_provider_drchrono.catalog.model import Catalog, Field, Operation, Parameter, Resource

KIND_TITLES = {
    "any": "anything",
    "array": "list",
    "boolean": "true or false",
    "file": "file",
    "integer": "integer",
    "number": "number",
    "object": "object",
    "string": "text",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table of fields. ``name`` has the names of the objects around the field before its own."""

    name: str
    field: Field


def rows_of(catalog: Catalog, fields: Iterable[Field], *, writable: bool, before: str = "") -> Iterator[Row]:
    """Yield a row for each field, and one for each field of the objects inside it.

    :param writable: leave out what a write cannot set.
    """
    for each in fields:
        if writable and each.read_only:
            continue
        name = f"{before}{each.name}{'[]' if each.items and _inner(catalog, each.items) else ''}"
        yield Row(name, each)
        yield from rows_of(catalog, _inner(catalog, each.items or each), writable=writable, before=f"{name}.")


def type_label(field: Field) -> str:
    """Say in a word or two what a field holds."""
    if field.type == "array" and field.items:
        return f"list of {type_label(field.items)}"
    if field.format:
        return "timestamp" if field.format == "date-time" else field.format
    return KIND_TITLES[field.type]


def parameter_label(parameter: Parameter) -> str:
    """Say in a word or two what a parameter takes."""
    if parameter.type == "array" and parameter.items:
        return f"list of {KIND_TITLES[parameter.items]}"
    return parameter.format or KIND_TITLES[parameter.type]


def values_label(thing: Field | Parameter) -> str:
    """Say what a field or parameter may hold: all values of an enumeration, or whose id it is."""
    enum = thing.items.enum if isinstance(thing, Field) and thing.items and thing.items.enum else thing.enum
    if enum:
        return ", ".join(f"`{each}`" if each != "" else "empty" for each in enum)
    return f"id in `{thing.refers_to}`" if thing.refers_to else ""


def rules_of(catalog: Catalog, operation: Operation) -> list[str]:
    """Return in sentences what an operation asks for and does beyond the types of its arguments."""
    resource = catalog.resource(operation.resource)
    return [*_of_operation(operation, resource), *_of_parameters(operation), *_of_body(catalog, operation)]


def _of_operation(operation: Operation, resource: Resource) -> Iterator[str]:
    if operation.beta:
        yield "The vendor calls it a beta: it may change."
    if operation.kind in ("list", "bulk_start") and resource.requires_one_of:
        yield f"It needs one of the filters {_names(resource.requires_one_of)}."
    if operation.kind == "list" and resource.may_require_one_of:
        yield f"It is reported to be refused at times without one of the filters {_names(resource.may_require_one_of)}."
    if resource.own_application_only:
        yield "Only what the API application itself created can be seen and changed."
    if resource.practice_access:
        switches = _names(resource.practice_access)
        yield f"Records of other doctors show only where the practice has switched on {switches}."
    if operation.order:
        yield f"Records come in the order of `{operation.order}`."
    if operation.create_or_update:
        yield "It changes the record if it is there already."
    if operation.soft_delete:
        yield f"The record stays, with `{operation.soft_delete}` set."
    if operation.conflict is not None:
        meaning = {
            "overlap": "the time overlaps another appointment",
            "locked": "the note is locked",
            "duplicate": "there is such a record already",
        }[operation.conflict.meaning]
        remedy = f"; `{operation.conflict.remedy}` lets it through" if operation.conflict.remedy else ""
        yield f"409 means that {meaning}{remedy}."


def _of_parameters(operation: Operation) -> Iterator[str]:
    for each in operation.parameters:
        if each.longest_days:
            yield f"`{each.name}` spans {each.longest_days} days at most; a longer one is answered with an empty list."
        if each.keywords:
            yield f"`{each.name}` also takes {_names(each.keywords)}."


def _of_body(catalog: Catalog, operation: Operation) -> Iterator[str]:
    if operation.body is not None and operation.body.multipart_only:
        yield "It is always sent as a form, one record at a time."
    writable = [each for each in catalog.data_fields(operation) if not each.read_only]
    for row in rows_of(catalog, writable, writable=True):
        yield from (f"`{row.name}` {rule}" for rule in _of_field(row.field, operation))


def _of_field(field: Field, operation: Operation) -> Iterator[str]:
    element = field.items or field
    low, high = element.minimum, element.maximum
    said = {
        f"has to be given, unless `{field.required_unless}` is.": field.required_unless and operation.kind != "update",
        f"can be sent only together with `{field.only_with}`.": field.only_with,
        f"has to be before `{field.before}`.": field.before,
        f"goes from {low} to {high}.": low is not None and high is not None,
        f"is {low} or more.": low is not None and high is None,
        "must not be 0.": field.nonzero,
        f"has {field.max_items} elements at most.": field.max_items is not None,
        f"matches `{field.pattern}`.": field.pattern and "pattern" not in field.advisory,
        "is JSON as text; a list is written out.": field.json_text,
        "may have other values than the standard ones.": field.open_enum,
        f"is `{field.default}` where a create leaves it out.": field.default not in (None, ""),
    }
    return (sentence for sentence, holds in said.items() if holds)


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{each}`" for each in names)


def _inner(catalog: Catalog, field: Field) -> tuple[Field, ...]:
    return tuple(catalog.record(field.record).fields.values()) if field.record else field.fields
