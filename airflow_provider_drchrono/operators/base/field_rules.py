"""The rules for the values of a body that stand only in the vendor's words, such as that a break has no patient.

A rule that the words state as one is kept by refusing what breaks it. Where the words only advise or describe, what
differs is sent, and the log says so. No text that is made here repeats a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from airflow_provider_drchrono.catalog import Catalog, Field
from airflow_provider_drchrono.catalog.model import OperationKind
from airflow_provider_drchrono.catalog.names import nearest, offered

NEAR = 0.8
"""From 0 to 1: how alike a value and a standard one are, for the value to look like a misspelling."""

WHOLE_BODIES: tuple[OperationKind, ...] = ("create", "replace")
"""Kinds of operations whose bodies have to hold all that is required; others send a part of a record."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A value that breaks a rule.

    :param place: where it stands, as in ``['vitals']['pain']``; empty for the body as a whole.
    :param problem: what comes behind the place in a sentence.
    :param advisory: the value is sent all the same.
    """

    place: str
    problem: str
    advisory: bool


def breaches(
    catalog: Catalog,
    fields: Iterable[Field],
    checked: Mapping[str, Any],
    extra: Mapping[str, Any],
    kind: OperationKind,
) -> Iterator[Breach]:
    """Yield what breaks the rules in a body whose values have their types already.

    :param fields: the fields that the body may hold.
    :param checked: the values to judge.
    :param extra: fields that are sent beside them, which count as given and are not judged.
    :param kind: the kind of the operation that sends the body.
    """
    record = {**checked, **extra}
    known = {each.name: each for each in fields}
    for each in known.values():
        if kind in WHOLE_BODIES and each.required_unless is not None:
            yield from _missing(each, known[each.required_unless], record, kind)
        if each.name in checked:
            yield from _relations(each, record)
            if each.required and each.type == "string":
                yield from _no_text(each, checked)
    yield from _inside(catalog, known.values(), checked, "")


def complete(fields: Iterable[Field], record: Mapping[str, Any], kind: OperationKind) -> dict[str, Any]:
    """Return a body with null in each required field that has nothing to say, such as the patient of a break.

    The contract wants the field to be there, and its words say that it is null then.
    """
    nothing = {
        each.name: None
        for each in fields
        if kind in WHOLE_BODIES
        and each.required
        and each.nullable
        and each.required_unless is not None
        and each.name not in record
        and _says_something(record.get(each.required_unless))
    }
    return {**record, **nothing}


def _says_something(value: object) -> bool:
    return value is not None and value is not False and value != ""


def _missing(field: Field, other: Field, record: Mapping[str, Any], kind: OperationKind) -> Iterator[Breach]:
    if _says_something(record.get(field.name)) or _says_something(record.get(other.name)):
        return
    advisory = "required_unless" in field.advisory
    if advisory and kind != "create":
        # What a replace leaves out is emptied, which may be what is wanted.
        return
    if other.required_unless == field.name:
        if field.name < other.name:
            yield Breach("", f"has neither {field.name} nor {other.name}; give one of them", advisory)
        return
    what = "is true" if other.type == "boolean" else "is given"
    yield Breach("", f"needs {field.name}, unless {other.name} {what}", advisory)


def _relations(field: Field, record: Mapping[str, Any]) -> Iterator[Breach]:
    value = record.get(field.name)
    if not _says_something(value):
        return
    if field.only_with is not None and not _says_something(record.get(field.only_with)):
        yield Breach(f"[{field.name!r}]", f"can be sent only together with {field.only_with}", False)
    later = record.get(field.before) if field.before is not None else None
    if isinstance(value, str) and isinstance(later, str) and later <= value:
        yield Breach(f"[{field.name!r}]", f"must be before {field.before}", False)


def _no_text(field: Field, record: Mapping[str, Any]) -> Iterator[Breach]:
    value = record.get(field.name)
    if isinstance(value, str) and value.strip() == "None":
        yield Breach(f"[{field.name!r}]", "is the word None (did its template or XCom find no value?)", False)


def _inside(catalog: Catalog, fields: Iterable[Field], record: Mapping[str, Any], place: str) -> Iterator[Breach]:
    for each in fields:
        if each.name in record:
            yield from _of_value(catalog, each, record[each.name], f"{place}[{each.name!r}]")


def _of_value(catalog: Catalog, field: Field, value: Any, place: str) -> Iterator[Breach]:
    if isinstance(value, list):
        if field.max_items is not None and len(value) > field.max_items:
            yield Breach(place, f"has more than {field.max_items} elements", "max_items" in field.advisory)
        if field.items is not None:
            for index, each in enumerate(value):
                yield from _of_value(catalog, field.items, each, f"{place}[{index}]")
    elif isinstance(value, Mapping):
        inner = catalog.record(field.record).fields.values() if field.record is not None else field.fields
        yield from _inside(catalog, inner, value, place)
    elif isinstance(value, str | int | float) and not isinstance(value, bool) and value != "":
        yield from _of_plain_value(field, value, place)


def _of_plain_value(field: Field, value: str | float, place: str) -> Iterator[Breach]:
    if problem := _of_number(field, value):
        yield Breach(place, problem, False)
    if field.pattern is not None and not re.fullmatch(field.pattern, str(value)):
        yield Breach(place, f"has another form than DrChrono describes ({field.about})", "pattern" in field.advisory)
    standard = {str(each) for each in field.enum}
    if field.open_enum and str(value) not in standard:
        by_folded = {each.casefold(): each for each in standard if each}
        if found := nearest(str(value).strip().casefold(), by_folded, cutoff=NEAR):
            near = offered([by_folded[each] for each in found])
            yield Breach(place, f"is not a standard value{near}; it is sent as one of the practice's own", True)


def _of_number(field: Field, value: str | float) -> str | None:
    low, high = field.least, field.maximum
    if low is None and high is None and not field.nonzero:
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    if (low is not None and number < low) or (high is not None and number > high):
        return f"must be from {low} to {high}" if None not in (low, high) else f"must be {low} or more"
    return "must not be 0" if field.nonzero and number == 0 else None
