"""Looks for the record that a create would make a second time.

The list operation is asked with those of the ``match_on`` fields that are also its filters, and the answer is compared
field by field, so that a match does not depend on how exactly the API filters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
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
    """

    listing: Operation
    fields: tuple[Field, ...]
    filters: tuple[str, ...]
    days: Mapping[str, str]
    verbose: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the fields."""
        return tuple(each.name for each in self.fields)

    def key(self, record: Mapping[str, Any]) -> tuple[object, ...]:
        """Return what two records have in common that are the same."""
        return tuple(_comparable(each, record.get(each.name)) for each in self.fields)

    def find(self, drchrono: DrChronoClient, record: Mapping[str, Any]) -> Iterator[Record]:
        """Yield the records of the practice that are the same as ``record``, in the API's order."""
        filters = {name: record[name] for name in self.filters if record.get(name) is not None}
        filters |= {name: str(record[field])[:10] for name, field in self.days.items()}
        wanted = self.key(record)
        for each in drchrono.list(self.listing.id, filters, verbose=self.verbose):
            if self.key(each) == wanted:
                yield each


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
    if field.type in ("number", "integer") or field.format == "decimal":
        return _number(value)
    if isinstance(value, str):
        # The practice types names by hand: case and blanks make no other person of somebody.
        return " ".join(value.split()).casefold()
    if isinstance(value, Mapping):
        return tuple(sorted((str(key), repr(each)) for key, each in value.items()))
    return tuple(map(repr, value)) if isinstance(value, list | tuple) else value


def _moment(value: object) -> object:
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        return value


def _number(value: object) -> object:
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return value
