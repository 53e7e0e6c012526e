"""Counts how fields of records are spelt: types, times and amounts. It keeps names of fields and counts, no values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from airflow_provider_drchrono.catalog import Field, RecordSchema
from airflow_provider_drchrono.conformance.findings import NAME

KINDS: Mapping[type, str] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "text",
    list: "array",
    dict: "object",
}
FITTING: Mapping[str, tuple[str, ...]] = {
    "string": ("text",),
    "integer": ("integer",),
    "number": ("integer", "number"),
    "boolean": ("boolean",),
    "array": ("array",),
    "object": ("object",),
}
"""The kinds of JSON values that fit a type of the catalogue, beside null."""

TIMES = (
    ("a date alone", r"\d{4}-\d\d-\d\d"),
    ("T, no zone", r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?"),
    ("T with a fraction, no zone", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+"),
    ("a space, no zone", r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?"),
    ("a space with a fraction, no zone", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+"),
    ("Z at the end", r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*Z"),
    ("an offset at the end", r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*[+-]\d\d:?\d\d"),
)
WITHOUT_ZONE = ("T, no zone", "T with a fraction, no zone", "a space, no zone", "a space with a fraction, no zone")

AMOUNTS = (("text with two places", r"-?\d+\.\d\d"), ("text with other places", r"-?\d+(\.\d+)?"))

OTHER = "something else"


def spelling(value: str, spellings: Iterable[tuple[str, str]]) -> str:
    """Return the name of the spelling that a text has."""
    return next((name for name, pattern in spellings if re.fullmatch(pattern, value)), OTHER)


class Tally:
    """What was counted: by aspect, record and field, how often each kind came.

    :param counts: what was counted before, as :meth:`stored` returned it.
    """

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        self._counts: Counter[str] = Counter(counts or {})

    def note(self, record: RecordSchema, records: Iterable[Mapping[str, Any]]) -> None:
        """Count the records of an answer."""
        for each in records:
            for name, value in each.items():
                if not NAME.fullmatch(str(name)):
                    continue
                known = record.fields.get(name)
                if known is None:
                    self._count("unknown", record.name, name, KINDS.get(type(value), OTHER))
                elif value is not None:
                    self._note_value(record.name, known, value)

    def _note_value(self, record: str, known: Field, value: Any) -> None:
        kind = KINDS.get(type(value), OTHER)
        if known.format == "decimal":
            self._count("amount", record, known.name, spelling(value, AMOUNTS) if kind == "text" else kind)
        elif kind not in FITTING.get(known.type, (kind,)):
            self._count("misfit", record, known.name, f"{kind} for {known.type}")
        elif known.format == "date-time" and value:
            self._count("time", record, known.name, spelling(value, TIMES))

    def kinds(self, aspect: str) -> Counter[str]:
        """Return how often each kind came of an aspect: ``time`` or ``amount``."""
        kinds: Counter[str] = Counter()
        for key, count in self._counts.items():
            found, _, _, kind = key.split("|")
            if found == aspect:
                kinds[kind] += count
        return kinds

    def fields(self, aspect: str, kind: str | None = None) -> list[str]:
        """Return ``Record.field`` for the fields of which something was counted: ``unknown`` or ``misfit``, say."""
        found = set()
        for key in self._counts:
            of, record, name, what = key.split("|")
            if of == aspect and kind in (None, what):
                found.add(f"{record}.{name}" + (f" ({what})" if aspect == "misfit" else ""))
        return sorted(found)

    def stored(self) -> dict[str, int]:
        """Return what was counted, as JSON; it holds no value."""
        return dict(self._counts)

    def _count(self, aspect: str, record: str, name: str, kind: str) -> None:
        self._counts[f"{aspect}|{record}|{name}|{kind}"] += 1
