"""Turns fields and parameters of the catalogue into Python annotations and TypedDicts."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from airflow_provider_drchrono.catalog import Catalog, Field, Parameter
from airflow_provider_drchrono.codegen import naming

# Longer enumerations would bury the editor's list of fields; the values are checked when the task runs.
LONGEST_LITERAL = 25

BY_FORMAT = {
    "base64": "File",
    "date": "Date",
    "date-time": "Moment",
    "decimal": "Number",
    "file": "File",
    "time": "Time",
}
BY_TYPE = {
    "any": "Any",
    "array": "Sequence[Any] | str | XComArg",
    "boolean": "Flag",
    "integer": "Whole",
    "number": "Number",
    "object": "Mapping[str, Any] | str | XComArg",
    "string": "Text",
}


@dataclass(frozen=True, slots=True)
class TypedField:
    """A key of a TypedDict."""

    name: str
    annotation: str
    required: bool
    about: str = ""


@dataclass(frozen=True, slots=True)
class TypedDictPlan:
    """A TypedDict; ``depth`` is how many others it is inside of, so that the innermost can come first."""

    name: str
    about: str
    fields: tuple[TypedField, ...]
    depth: int = 0
    base: str = "TypedDict"

    @classmethod
    def of_filters(cls, name: str, about: str, filters: Iterable[Parameter]) -> TypedDictPlan:
        """Plan the TypedDict of an operation's filters."""
        fields = (
            TypedField(each.name, _nullable(annotation_of(each), each.required), each.required, each.about)
            for each in filters
        )
        return cls(name, about, tuple(fields))


def annotation_of(parameter: Parameter) -> str:
    """Return the annotation of a path or query parameter; each admits a template or another task's output."""
    if parameter.type == "array":
        return f"Sequence[{BY_TYPE[parameter.items or 'any']}] | str | XComArg"
    if parameter.type == "string" and (parameter.name == "since" or parameter.name.endswith(("_since", "date"))):
        return "Date"
    return BY_TYPE[parameter.type]


def typed_dicts_of(
    catalog: Catalog, name: str, about: str, fields: Sequence[Field], required: Collection[str], depth: int = 0
) -> Iterator[TypedDictPlan]:
    """Yield the TypedDict of a body and those of the objects inside it."""
    typed = []
    for each in fields:
        annotation, inner = _field(catalog, name, each, depth)
        is_required = each.name in required
        # A field that another one makes up for is there all the same, and null.
        never_null = is_required and each.required_unless is None
        typed.append(TypedField(each.name, _nullable(annotation, never_null), is_required, each.about))
        yield from inner
    yield TypedDictPlan(name, about, tuple(typed), depth)


def without_doubles(types: Sequence[TypedDictPlan]) -> tuple[TypedDictPlan, ...]:
    """Return the types with one of each that have the same fields: objects inside bodies, and shared fields.

    The innermost come first, so that what is inside a type is known to be the same before the type itself.
    """
    kept: dict[tuple[TypedField, ...], str] = {}
    renamed: dict[str, str] = {}
    result = []
    for each in types:
        fields = tuple(replace(one, annotation=_renamed(one.annotation, renamed)) for one in each.fields)
        current = replace(each, fields=fields, base=renamed.get(each.base, each.base))
        if each.depth or each.name.endswith("Fields"):
            first = kept.setdefault(fields, each.name)
            if first != each.name:
                renamed[each.name] = first
                continue
        result.append(current)
    return tuple(result)


def _renamed(annotation: str, renamed: Mapping[str, str]) -> str:
    return re.sub(r"\w+", lambda found: renamed.get(found[0], found[0]), annotation)


def with_shared_fields(types: Iterable[TypedDictPlan]) -> Iterator[TypedDictPlan]:
    """Yield the types so that no field stands in the data of a record and in its update too.

    What both have alike moves to a type that both inherit from.
    """
    by_name = {each.name: each for each in types}
    updates = {naming.shared_type(name.removesuffix("Update")): name for name in by_name if name.endswith("Update")}
    paired = {updates[name] for name in map(naming.shared_type, by_name) if name in updates}
    for name, each in by_name.items():
        if name in paired and name.removesuffix("Update") + "Data" in by_name:
            continue
        yield from _shared(each, by_name.get(updates.get(naming.shared_type(name), "")))


def _shared(data: TypedDictPlan, update: TypedDictPlan | None) -> Iterator[TypedDictPlan]:
    if update is None or not data.name.endswith("Data"):
        yield data
        return
    alike = tuple(each for each in data.fields if each in update.fields)
    if alike == data.fields == update.fields:
        yield data
        yield replace(update, fields=(), base=data.name)
        return
    base = naming.shared_type(data.name)
    yield TypedDictPlan(base, f"What ``{data.name}`` and ``{update.name}`` have in common.", alike, data.depth)
    for each in (data, update):
        own = tuple(one for one in each.fields if one not in alike)
        yield replace(each, fields=own, base=base)


def _field(catalog: Catalog, outer: str, field: Field, depth: int) -> tuple[str, list[TypedDictPlan]]:
    if field.type == "array" and field.items:
        annotation, inner = _element(catalog, outer, field.name, field.items, depth)
        return f"Sequence[{annotation}] | str | XComArg", inner
    annotation, inner = _element(catalog, outer, field.name, field, depth)
    return (f"{annotation} | str | XComArg" if inner else annotation), inner


def _element(
    catalog: Catalog, outer: str, field_name: str, field: Field, depth: int
) -> tuple[str, list[TypedDictPlan]]:
    writable = _writable(catalog, field)
    if writable:
        name = naming.nested_type(outer, field_name)
        about = f"An object of the field ``{field_name}``."
        required = [each.name for each in writable if each.required]
        return name, list(typed_dicts_of(catalog, name, about, writable, required, depth + 1))
    return _scalar(field), []


def _writable(catalog: Catalog, field: Field) -> tuple[Field, ...]:
    if field.record:
        return catalog.record(field.record).writable_fields
    return tuple(each for each in field.fields if not each.read_only)


def _nullable(annotation: str, required: bool) -> str:
    # None empties an optional field, and leaves out a filter.
    return annotation if required else f"{annotation} | None"


def _scalar(field: Field) -> str:
    plain = BY_FORMAT[field.format] if field.format else BY_TYPE[field.type]
    if field.json_text:
        plain = f"Sequence[Any] | {plain}"
    if field.enum and len(field.enum) <= LONGEST_LITERAL:
        return f"Literal[{', '.join(repr(each) for each in field.enum)}] | {plain}"
    return plain
