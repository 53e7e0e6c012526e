"""Words for the tables of the reference pages: what a field or parameter holds, and what it may be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from airflow_provider_drchrono.catalog import Catalog, Field, Parameter
from airflow_provider_drchrono.codegen.plan import DomainPlan, OperatorPlan

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


def about_label(text: str) -> str:
    """Return a line of text for a cell of a table: Markdown instead of reStructuredText, with no bar in it."""
    return text.replace("``", "`").replace("|", "\\|").replace("\n", " ")


def fields_shown_at(operator: OperatorPlan, domain: DomainPlan) -> str:
    """Return the class whose section already lists the same fields of ``data``, or nothing where this is the first."""
    for each in domain.operators:
        if each is operator:
            return ""
        if each.data_fields == operator.data_fields:
            return each.class_name
    raise LookupError(f"{operator.class_name} is not in {domain.name}")


def record_shown_at(operator: OperatorPlan, domain: DomainPlan) -> str:
    """Return the class whose section already shows the same record, or nothing where this is the first."""
    for each in domain.operators:
        if each is operator:
            return ""
        if each.record is operator.record:
            return each.class_name
    raise LookupError(f"{operator.class_name} is not in {domain.name}")


def _inner(catalog: Catalog, field: Field) -> tuple[Field, ...]:
    return tuple(catalog.record(field.record).fields.values()) if field.record else field.fields
