"""Turns a staged record into the values of a table's columns, and loses nothing on the way.

A value that its column cannot hold, and a field that the catalogue does not know, go to one JSON column.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from itertools import chain
from operator import itemgetter
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.warehouses.table import ColumnType, Row, Table

_MISFIT = object()
_TEXT_OR_NOTHING = (str, type(None))
# Up to 15 digits: no database rounds these, not even one that keeps decimals as binary fractions.
_DECIMAL = re.compile(r"(?=[+-]?[\d.]{1,16}$)[+-]?(\d{1,15}(\.\d*)?|\.\d+)")
_INTEGER = re.compile(r"0|-?[1-9]\d{0,18}")
_INTEGER_RANGE = range(-(2**63), 2**63)

_NUL = b"\\u0000"
_REPLACEMENT = "\ufffd"


class RecordWithoutKeyError(DrChronoError, ValueError):
    """A record cannot be told apart from others: a field of its key is missing or is not what it should be."""


_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder().decode


def canonical(record: Mapping[str, Any]) -> bytes:
    """Return a record as one line of JSON that is always the same for the same record: compact, keys sorted, UTF-8."""
    try:
        return _encode(record)
    except UnicodeEncodeError:
        return _encode(_storable(record))


def digest(line: bytes) -> str:
    """Return the SHA-256 of a record's canonical JSON, in hexadecimal."""
    return hashlib.sha256(line).hexdigest()


class RowMaker:
    """Makes rows of one table.

    ``unknown`` and ``misfits`` count, by field name, what went to the JSON column.

    :param timezone: IANA name of the zone of the records' timestamps, or None if it is not known.
    """

    def __init__(self, table: Table, timezone: str | None) -> None:
        self.unknown: Counter[str] = Counter()
        self.misfits: Counter[str] = Counter()
        self._table = table
        self._timezone = timezone
        self._names = [column.name for column in table.columns]
        self._known = set(self._names)
        self._values = itemgetter(*self._names)
        converters = _converters(timezone)
        kinds = [(index, column.kind) for index, column in enumerate(table.columns)]
        self._texts = [index for index, kind in kinds if kind == "text"]
        self._others = [(index, _TAKEN_AS_IT_IS.get(kind), converters[kind]) for index, kind in kinds if kind != "text"]
        self._key = [self._names.index(name) for name in table.key]

    def rows(self, lines: Iterable[tuple[bytes, str]]) -> Iterator[Row]:
        """Make a row of each pair of a canonical line and the instant, in ISO 8601, at which it was read."""
        return (self.row(line, read_at) for line, read_at in lines)

    def row(self, line: bytes, read_at: str) -> Row:
        """Return the values of ``table.all_columns``.

        :raises RecordWithoutKeyError: the record has no usable key.
        """
        record = _decode(line)
        if b"\\" in line and _NUL in line:
            record = _storable(record)
        row, extra = self._converted(record)
        if not record.keys() <= self._known:
            extra |= self._unknown_fields(record)
        for index in self._key:
            if row[index] is None or row[index] == "":
                raise RecordWithoutKeyError(self._names[index])
        row += (digest(line), _json(extra) if extra else None, self._timezone, read_at)
        return row

    def _converted(self, record: Mapping[str, Any]) -> tuple[Row, dict[str, Any]]:
        """Return the values of the record's columns, and those that do not fit theirs by name."""
        try:
            row = list(self._values(record))
        except KeyError:
            row = [record.get(name) for name in self._names]
        misfits: dict[str, Any] = {}
        # Texts are most of a record and hardly ever need a conversion: they are only looked at.
        odd_texts = [(index, None, _text) for index in self._texts if row[index].__class__ not in _TEXT_OR_NOTHING]
        for index, as_it_is, convert in chain(odd_texts, self._others):
            value = row[index]
            if value is not None and value.__class__ is not as_it_is:
                row[index] = converted = convert(value)
                if converted is _MISFIT:
                    row[index] = None
                    misfits[self._names[index]] = value
                    self.misfits[self._names[index]] += 1
        return row, misfits

    def _unknown_fields(self, record: Mapping[str, Any]) -> dict[str, Any]:
        unknown = {name: value for name, value in record.items() if name not in self._known}
        self.unknown.update(unknown.keys())
        return unknown


def _json(value: Any) -> str:
    return _encode(value).decode()


def _text(value: Any) -> Any:
    if isinstance(value, (bool, int, float)):
        return _json(value)
    return _MISFIT


def _integer(value: Any) -> Any:
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    if value.__class__ is int and value in _INTEGER_RANGE:
        return value
    return None if value == "" else _MISFIT


def _decimal(value: Any) -> Any:
    if isinstance(value, str):
        if _DECIMAL.fullmatch(value):
            return value
        return None if value == "" else _MISFIT
    if value.__class__ is int:
        return str(value)
    if isinstance(value, float):
        return repr(value)
    return _MISFIT


def _boolean(value: Any) -> Any:
    return None if value == "" else _MISFIT


def _date(value: Any) -> Any:
    try:
        return date.fromisoformat(value).isoformat()
    except (ValueError, TypeError):
        return None if value == "" else _MISFIT


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
            if moment.tzinfo is not None:
                if zone is None:
                    return _MISFIT
                moment = moment.astimezone(zone).replace(tzinfo=None)
        except (ValueError, TypeError, OverflowError):
            return None if value == "" else _MISFIT
        return moment.isoformat(" ")

    return convert


_TAKEN_AS_IT_IS: dict[ColumnType, type] = {"boolean": bool}


def _converters(timezone: str | None) -> dict[ColumnType, Callable[[Any], Any]]:
    return {
        "integer": _integer,
        "decimal": _decimal,
        "boolean": _boolean,
        "date": _date,
        "time": _time,
        "timestamp": _timestamp(timezone),
        "json": _json,
    }


def _storable(value: Any) -> Any:
    """Return the value with U+FFFD for NULs and halves of characters, at any depth: no database takes these."""
    if isinstance(value, str):
        whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return whole.replace("\0", _REPLACEMENT)
    if isinstance(value, Mapping):
        return {_storable(key): _storable(each) for key, each in value.items()}
    if isinstance(value, Sequence):
        return [_storable(each) for each in value]
    return value
