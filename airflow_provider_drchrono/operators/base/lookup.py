"""Looks for the record that a create would make a second time.

The list operation is asked with those of the ``match_on`` fields that are also its filters, and the answer is compared
field by field, so that a match does not depend on how exactly the API filters.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from airflow_provider_drchrono.catalog import Field, Operation, load
from airflow_provider_drchrono.common.arguments import InvalidArgumentError, check_names

if TYPE_CHECKING:
    from airflow_provider_drchrono.client import DrChronoClient

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Lookup:
    """How an existing record is found.

    :param listing: the list operation.
    :param fields: the fields that make two records the same.
    :param filters: those of them that the list operation can filter by.
    :param days: filters by the day of one of the fields.
    :param verbose: whether one of the fields comes only in verbose answers.
    :param body: all fields of the body of the create.
    """

    listing: Operation
    fields: tuple[Field, ...]
    filters: tuple[str, ...]
    days: Mapping[str, str]
    verbose: bool
    body: tuple[Field, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the fields."""
        return tuple(each.name for each in self.fields)

    def key(self, record: Mapping[str, Any]) -> tuple[object, ...]:
        """Return what two records have in common that are the same."""
        return tuple(_comparable(each, record.get(each.name)) for each in self.fields)

    def selection(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the filters that select the records among which one that is the same as ``record`` would be."""
        filters = {name: record[name] for name in self.filters if record.get(name) is not None}
        return filters | {name: str(record[field])[:10] for name, field in self.days.items()}

    def contradicts(self, sent: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
        """Tell whether ``record`` has another value in a field that was sent, so that it may be somebody else's.

        Fields that the list does not show, files, and values made of several parts say nothing.
        """
        for each in self.body:
            if each.write_only or each.format in ("file", "base64") or each.type in ("object", "array", "any"):
                continue
            mine = sent.get(each.name)
            if mine in (None, "") or each.name not in record:
                continue
            theirs = record[each.name]
            if _comparable(each, mine) != _comparable(each, theirs) and _letters(mine) != _letters(theirs):
                return True
        return False


def reading_cost(operation_id: str, lookups: Sequence[Lookup], records: Sequence[Mapping[str, Any]]) -> tuple[int, str]:
    """Return what :func:`find_matches` will cost at most, as a level and a line for the task's log."""
    names = ", ".join(lookups[0].names)
    if lookups[0].selection(records[0]):
        count = len(_readings(lookups, records))
        readings = "1 filtered reading" if count == 1 else f"{count} filtered readings"
        return logging.INFO, (
            f"{operation_id}: looking for records with the same {names} before anything is created: {readings} of the "
            "list, one call a page"
        )
    return logging.WARNING, (
        f"{operation_id}: the list has no filter for {names}, so it is read as a whole before anything is created, one "
        "call a page. Add a field that the list can filter by to match_on, and give several records to one task as a "
        "list in data, which reads it once, instead of mapping the operator"
    )


def find_matches(
    drchrono: DrChronoClient,
    lookups: Sequence[Lookup],
    records: Sequence[Mapping[str, Any]],
    *,
    limit: int | None = None,
) -> list[list[Record]]:
    """Return, for each of ``records``, the records of the practice that are the same, in the API's order.

    Records that are selected by the same filters are looked for in one reading of the list.

    :param limit: so many matches of a record are enough.
    """
    found: list[list[Record]] = [[] for _ in records]
    for indexes in _readings(lookups, records):
        lookup = lookups[indexes[0]]
        wanted: dict[tuple[object, ...], list[int]] = {}
        for index in indexes:
            wanted.setdefault(lookup.key(records[index]), []).append(index)
        missing = set(wanted)
        selection = lookup.selection(records[indexes[0]])
        for each in drchrono.list(lookup.listing.id, selection, verbose=lookup.verbose):
            key = lookup.key(each)
            if key not in missing:
                continue
            for index in wanted[key]:
                found[index].append(each)
            if limit is not None and len(found[wanted[key][0]]) >= limit:
                missing.discard(key)
                if not missing:
                    break
    return found


def _readings(lookups: Sequence[Lookup], records: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Return the positions of the records that one reading of the list can look for together."""
    readings: dict[str, list[int]] = {}
    for index, (lookup, record) in enumerate(zip(lookups, records, strict=True)):
        readings.setdefault(repr(sorted(lookup.selection(record).items())), []).append(index)
    return list(readings.values())


def plan_lookup(operation_id: str, match_on: Sequence[str], record: Mapping[str, Any]) -> Lookup | None:
    """Return how to look for ``record``, or None where nothing tells it from others.

    :param match_on: names of fields; empty means those by which the API itself finds duplicates, if it does.
    :raises InvalidArgumentError: ``match_on`` names what ``data`` does not have, or what cannot be looked for.
    """
    catalog = load()
    operation = catalog.operation(operation_id)
    fields = {each.name: each for each in catalog.body_fields(operation)}
    names = tuple(match_on) or operation.duplicate_fields
    check_names(operation_id, "match_on", names, fields)
    missing = [name for name in names if record.get(name) in (None, "")]
    if missing and match_on:
        raise InvalidArgumentError(
            f"{operation_id}: match_on names {', '.join(missing)}, which data leaves empty; give a value, or match on "
            "other fields"
        )
    listing = catalog.resource(operation.resource).list_operation
    if not names or missing or listing is None:
        return None
    if odd := [name for name in names if fields[name].format in ("file", "base64")]:
        raise InvalidArgumentError(f"{operation_id}: match_on names {', '.join(odd)}, but files cannot be compared")
    known = {each.name: each for each in listing.parameters if each.role == "filter"}
    days = {name: each.day_of for name, each in known.items() if each.day_of in names}
    lookup = Lookup(
        listing,
        tuple(fields[name] for name in names),
        _filters([fields[name] for name in names if name in known], few_days=bool(days)),
        days,
        any(fields[name].verbose for name in names),
        tuple(fields.values()),
    )
    _check_insisted(operation_id, lookup, catalog.resource(operation.resource).requires_one_of)
    return lookup


def _filters(fields: Sequence[Field], *, few_days: bool) -> tuple[str, ...]:
    """Return the names of the fields to filter by.

    The API may compare text more strictly than we do, so text is left to us where the rest selects few records anyway.
    """
    plain = [each for each in fields if each.type in ("integer", "string")]
    if few_days or any(_selects_few(each) for each in plain):
        plain = [each for each in plain if each.type == "integer" or each.format or each.enum]
    return tuple(each.name for each in plain)


def _selects_few(field: Field) -> bool:
    return field.format == "date" or (
        field.refers_to is not None and not load().resource(field.refers_to).referred_to_by_many
    )


def _check_insisted(operation_id: str, lookup: Lookup, one_of: Sequence[str]) -> None:
    if one_of and not set(one_of) & {*lookup.filters, *lookup.days}:
        parameters = map(lookup.listing.parameter, one_of)
        days = [each.day_of for each in parameters if each.day_of]
        raise InvalidArgumentError(
            f"{operation_id}: the API lists these records only by {', '.join(one_of)}; add {' or '.join(days)} to "
            "match_on"
        )


def _comparable(field: Field, value: object) -> object:
    if value is None or value == "":
        return None
    if field.format == "date-time":
        return _moment(value)
    if field.format == "date":
        return str(value)[:10]
    if field.format == "time":
        return _time(value)
    if field.type in ("number", "integer") or field.format == "decimal":
        return _number(value)
    if isinstance(value, str):
        # The practice types names by hand: case and blanks make no other person of somebody.
        return " ".join(value.split()).casefold()
    if isinstance(value, Mapping):
        return tuple(sorted((str(key), repr(each)) for key, each in value.items()))
    return tuple(map(repr, value)) if isinstance(value, list | tuple) else value


def _letters(value: object) -> str:
    """Return what is left of a text when punctuation is taken out, which the API may set in its own way."""
    return "".join(each for each in str(value).casefold() if each.isalnum())


def _moment(value: object) -> object:
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        return value


def _time(value: object) -> object:
    try:
        return time.fromisoformat(str(value))
    except ValueError:
        return value


def _number(value: object) -> object:
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return value
