"""A warehouse table and its rows. The shape comes from the catalogue, so it is known before any record was read.

A row loses nothing of its record: a value that its column cannot hold, and a field that the catalogue does not know, go
to one JSON column.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import date, datetime, time
from typing import Any, Literal
from zoneinfo import ZoneInfo

from airflow_provider_drchrono.catalog import Catalog, Deletions, Field, Resource
from airflow_provider_drchrono.incremental.canonical import canonical, comparable, parsed, storable
from airflow_provider_drchrono.privacy import FieldPolicy
from airflow_provider_drchrono.warehouses.column_abouts import column_abouts
from airflow_provider_drchrono.warehouses.plain_records import PlainRecords

ColumnType = Literal["text", "integer", "decimal", "boolean", "date", "time", "timestamp", "json", "instant"]

Converter = Callable[[Any], Any]

Row = list[Any]
"""The values of a table's columns, in their order."""

DIGEST = "_drchrono_digest"
EXTRA = "_drchrono_extra"
TIMEZONE = "_drchrono_timezone"
SYNCED_AT = "_drchrono_synced_at"
PRACTICE = "_drchrono_practice"
SELECTION = "_drchrono_selection"
MISSING_SINCE = "_drchrono_missing_since"
DELETED_AT = "_drchrono_deleted_at"
NUMBER = "_drchrono_number"
VALID_FROM = "_drchrono_valid_from"
VALID_TO = "_drchrono_valid_to"

_MISFIT = object()
# Databases know ASCII digits only, and one value with another would stop the whole load. Up to 15 digits: no database
# rounds these, not even one that keeps decimals as binary fractions.
_DECIMAL = re.compile(r"(?=[+-]?[0-9.]{1,16}$)[+-]?([0-9]{1,15}(\.[0-9]*)?|\.[0-9]+)")
_INTEGER = re.compile(r"(0|-?[1-9][0-9]{0,18})(\.0+)?")
_INTEGER_RANGE = range(-(2**63), 2**63)
_TRUTH = {"true": True, "false": False}

_NUL = b"\\u0000"

_KINDS_OF_TEXT: dict[str | None, ColumnType] = {
    "date": "date",
    "date-time": "timestamp",
    "time": "time",
    "decimal": "decimal",
}
_KINDS: dict[str, ColumnType] = {
    "integer": "integer",
    "number": "decimal",
    "boolean": "boolean",
    "object": "json",
    "array": "json",
    "any": "json",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column and what it holds; each database has its own name for the kind.

    :param about: one line on what it holds, for databases that keep such lines.
    """

    name: str
    kind: ColumnType
    required: bool = False
    about: str = dataclass_field(default="", compare=False)


METADATA = (
    Column(DIGEST, "text", required=True, about="Hash of what the row shows; another one means that it has changed"),
    Column(EXTRA, "json", about="Fields that the provider does not know, and values that do not fit their column"),
    Column(TIMEZONE, "text", about="IANA zone of the row's timestamps, which are the practice's wall clock"),
    Column(SYNCED_AT, "instant", required=True, about="When this version of the record was read"),
)

OWNERSHIP = (Column(PRACTICE, "text"), Column(SELECTION, "text"))
DELETION = (Column(MISSING_SINCE, "instant"), Column(DELETED_AT, "instant"))

APPENDED_KEY = (PRACTICE, DIGEST, NUMBER)
"""What tells two rows apart whose records have no key: equal records of one read are numbered."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a table has to be in the database.

    :param key: the primary key.
    """

    name: str
    schema: str | None
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
    def label(self) -> str:
        """The table's name as people write it."""
        return f"{self.schema}.{self.name}" if self.schema else self.name


@dataclass(frozen=True, slots=True)
class Table:
    """A table for the records of one list.

    :param columns: the record's fields in the catalogue's order.
    :param key: columns that tell two records apart; empty where nothing does, and rows are only ever added.
    :param changed: the column with the time of a record's last change, if it has one.
    :param deletion_flag: the column that says that the record is deleted, if it has one.
    :param part_of: the column with the key of the row that a row is a part of, and with which it may go; see
        :class:`airflow_provider_drchrono.catalog.Deletions`.
    :param hides_times: whether rows say of when they were read no more than the year, as days are masked in them.
    """

    name: str
    schema: str | None
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    changed: str | None
    deletion_flag: str | None = None
    part_of: str | None = None
    hides_times: bool = False

    @property
    def is_appended(self) -> bool:
        """Whether rows are only ever added, as nothing tells two records apart but what is in them."""
        return not self.key

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """The record's columns, then those that are known when a record is read."""
        return self.columns + METADATA

    @property
    def shape(self) -> Shape:
        """The table with all that the sync keeps about each row."""
        if self.is_appended:
            own = (Column(PRACTICE, "text", required=True), Column(NUMBER, "integer", required=True))
            return Shape(self.name, self.schema, self.all_columns + own, APPENDED_KEY)
        return Shape(self.name, self.schema, self.all_columns + OWNERSHIP + DELETION, self.key)

    @property
    def history_name(self) -> str:
        """The name of the table beside that holds each version of each row."""
        return f"{self.name}_history"

    @property
    def history(self) -> Shape:
        """The table with the versions. A row's version begins when it was read, and ends when the next one was."""
        columns = tuple(column for column in self.all_columns if column.name != SYNCED_AT)
        period = (Column(VALID_FROM, "instant", required=True), Column(VALID_TO, "instant"))
        return Shape(self.history_name, self.schema, columns + OWNERSHIP[:1] + period, (*self.key, VALID_FROM))

    @property
    def label(self) -> str:
        """The table's name as people write it."""
        return f"{self.schema}.{self.name}" if self.schema else self.name


def kind_of(field: Field) -> ColumnType:
    """Return what a column for this field of a record holds."""
    if field.type == "string":
        return _KINDS_OF_TEXT.get(field.format, "text")
    return _KINDS[field.type]


def column_kind(catalog: Catalog, field: Field) -> ColumnType:
    """Return what a column holds; a reference has the type of the id it refers to, so that tables can be joined.

    The contract disagrees with itself there: the id of a visit is text, as days of a recurring one have ids such as
    ``2026-01-31_123``, while many records call the visit they belong to a whole number.
    """
    kind = kind_of(field)
    if field.refers_to is None or kind == "json":
        return kind
    resource = catalog.resource(field.refers_to)
    if resource.record is None or len(resource.key) != 1:
        return kind
    return kind_of(catalog.record(resource.record).fields[resource.key[0]])


def table_for(
    catalog: Catalog,
    resource: Resource,
    *,
    name: str,
    schema: str | None,
    verbose: bool,
    policy: FieldPolicy | None = None,
) -> Table:
    """Return the table for the records of a resource's list.

    :param verbose: whether the records are read with ``verbose=true`` and so have the verbose fields.
    :param policy: what of the records is held; None: everything.
    """
    record = catalog.record(resource.record or "")
    fields, abouts = record.fields, column_abouts(catalog, record, policy)
    columns = tuple(
        Column(
            field.name,
            _kind_held(catalog, field, policy),
            required=field.name in resource.key,
            about=abouts[field.name],
        )
        for field in fields.values()
        if (verbose or not field.verbose) and (policy is None or policy.keeps(field.name))
    )
    changed = resource.incremental.cursor_field if resource.incremental else None
    deletions = resource.deletions or Deletions()
    return Table(
        name=name,
        schema=schema,
        columns=columns,
        key=resource.key,
        # A masked time does not tell which of two versions is the later one.
        changed=changed
        if any(column.name == changed and (policy is None or policy.is_untouched(changed)) for column in columns)
        else None,
        deletion_flag=deletions.flag,
        part_of=deletions.part_of,
        hides_times=policy is not None and policy.hides_times,
    )


def _kind_held(catalog: Catalog, field: Field, policy: FieldPolicy | None) -> ColumnType:
    kind = column_kind(catalog, field)
    masked = policy.type_of(field.name) if policy else None
    return masked if masked and kind != "json" else kind


def digest(line: bytes, beside: Iterable[str] = ()) -> str:
    """Return the SHA-256, in hexadecimal, by which a row is found to have changed.

    :param line: a record's canonical JSON.
    :param beside: names of the fields that went to the JSON column: when a column comes to hold one, the row changes.
    """
    content = comparable(line)
    if names := sorted(beside):
        content += b"\n" + canonical(names)
    return hashlib.sha256(content).hexdigest()


class RowMaker:
    """Makes rows of one table.

    ``unknown`` and ``misfits`` count, by field name, what went to the JSON column, and ``without_key`` the records that
    were set aside because a row of theirs could not be found again.

    :param timezone: IANA name of the zone of the records' timestamps, or None if it is not known.
    """

    def __init__(self, table: Table, timezone: str | None) -> None:
        self.unknown: Counter[str] = Counter()
        self.misfits: Counter[str] = Counter()
        self.without_key = 0
        self._table = table
        self._timezone = timezone
        # Some zones are smaller than a state, and without times of day none is needed.
        self._shown_timezone = None if table.hides_times else timezone
        self._names = [column.name for column in table.columns]
        self._known = set(self._names)
        self._plain = PlainRecords(table.columns)
        converters = _converters(timezone)
        self._conversions = [
            (index, _TAKEN_AS_IT_IS.get(column.kind), converters[column.kind])
            for index, column in enumerate(table.columns)
        ]
        self._conversions_of_plain = [self._conversions[index] for index in self._plain.unconverted]
        self._key = [self._names.index(name) for name in table.key]

    def rows(self, lines: Iterable[tuple[bytes, str]]) -> Iterator[Row]:
        """Make a row of each pair of a record's JSON and the instant, in ISO 8601, at which it was read."""
        for line, read_at in lines:
            row = self.row(line, read_at)
            if row is None:
                self.without_key += 1
            else:
                yield row

    def row(self, line: bytes, read_at: str) -> Row | None:
        """Return the values of ``table.all_columns``; None where the record has no usable key."""
        has_nul = b"\\" in line and _NUL in line
        plain = None if has_nul else self._plain.decode(line)
        unknown: dict[str, Any] = {}
        if plain is not None:
            row, content = plain
            misfits = self._convert(row, self._conversions_of_plain)
        else:
            record = storable(parsed(line)) if has_nul else parsed(line)
            row, content = list(map(record.get, self._names)), canonical(record)
            misfits = self._convert(row, self._conversions)
            unknown = {name: value for name, value in record.items() if name not in self._known}
        for index in self._key:
            if row[index] is None or row[index] == "":
                return None
        # Of a record without an id a part was masked: then it says itself what tells it from others.
        given = unknown.pop(DIGEST, None) if self._table.is_appended else None
        extra = None
        if misfits or unknown:
            self.misfits.update(misfits.keys())
            self.unknown.update(unknown.keys())
            extra = misfits | unknown
        told_apart_by = given or digest(content, extra or ())
        if self._table.hides_times:
            read_at = f"{read_at[:4]}-01-01 00:00:00+00:00"
        row += (told_apart_by, _json(extra) if extra else None, self._shown_timezone, read_at)
        return row

    def _convert(self, row: Row, conversions: Iterable[tuple[int, type | None, Converter]]) -> dict[str, Any]:
        """Convert values in place, and return those that do not fit their columns by name."""
        misfits: dict[str, Any] = {}
        for index, as_it_is, convert in conversions:
            value = row[index]
            if value is not None and value.__class__ is not as_it_is:
                row[index] = converted = convert(value)
                if converted is _MISFIT:
                    row[index] = None
                    misfits[self._names[index]] = value
        return misfits


def _json(value: Any) -> str:
    return canonical(value).decode()


def _text(value: Any) -> Any:
    if isinstance(value, (bool, int, float)):
        return _json(value)
    return _MISFIT


def _integer(value: Any) -> Any:
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value.partition(".")[0])
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    if value.__class__ is int and value in _INTEGER_RANGE:
        return value
    return None if value == "" else _MISFIT


def _decimal(value: Any) -> Any:
    if isinstance(value, str):
        if _DECIMAL.fullmatch(value):
            return value
        return None if value == "" else _MISFIT
    if isinstance(value, int | float) and not isinstance(value, bool):
        # A number beyond these bounds is one that a database refuses, or rounds.
        text = repr(value)
        return text if _DECIMAL.fullmatch(text) else _MISFIT
    return _MISFIT


def _boolean(value: Any) -> Any:
    if isinstance(value, str):
        return None if value == "" else _TRUTH.get(value.lower(), _MISFIT)
    return _MISFIT


def _date(value: Any) -> Any:
    try:
        return date.fromisoformat(value).isoformat()
    except (ValueError, TypeError):
        return None if value == "" else _day(value)


def _day(value: Any) -> Any:
    """Return the day of a timestamp that says nothing more: midnight without a zone."""
    try:
        moment = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        return _MISFIT
    return moment.date().isoformat() if moment.timetz() == time() and value.isascii() else _MISFIT


def _time(value: Any) -> Any:
    try:
        moment = time.fromisoformat(value)
    except (ValueError, TypeError):
        return None if value == "" else _MISFIT
    return _MISFIT if moment.tzinfo else moment.isoformat()


def _timestamp(timezone: str | None) -> Callable[[Any], Any]:
    zone = ZoneInfo(timezone) if timezone else None

    def convert(value: Any) -> Any:
        try:
            moment = datetime.fromisoformat(value)
            # Python takes any character between day and time, also a digit of another script.
            if not value.isascii() or (moment.tzinfo is not None and zone is None):
                return _MISFIT
            if moment.tzinfo is not None:
                moment = moment.astimezone(zone).replace(tzinfo=None)
        except (ValueError, TypeError, OverflowError):
            return None if value == "" else _MISFIT
        return moment.isoformat(" ")

    return convert


_TAKEN_AS_IT_IS: dict[ColumnType, type] = {"text": str, "boolean": bool}


def _converters(timezone: str | None) -> dict[ColumnType, Converter]:
    return {
        "text": _text,
        "integer": _integer,
        "decimal": _decimal,
        "boolean": _boolean,
        "date": _date,
        "time": _time,
        "timestamp": _timestamp(timezone),
        "json": _json,
    }
