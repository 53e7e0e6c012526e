"""Says where a value departs from what the catalogue says of it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from airflow_provider_drchrono.catalog import Field, load

CATALOG = load()
FORMATS = {
    "date": r"\d{4}-\d{2}-\d{2}",
    "date-time": r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d{6})?",
    "time": r"\d{2}:\d{2}:\d{2}",
    "decimal": r"-?\d+\.\d{2}",
}
UTC_TIME = r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z"
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float, str),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def departures(record: str, row: Mapping[str, Any], *, verbose: bool, partly: bool = False) -> list[str]:
    """Return one line for each field of a record that is missing, surplus or not as it should be.

    :param partly: whether fields may be missing that come on demand only.
    """
    fields = CATALOG.record(record).fields
    expected = {name for name, each in fields.items() if verbose or not each.verbose}
    on_demand = {name for name in expected if partly and fields[name].returned_if}
    found = [f"{name} is missing" for name in expected - on_demand - set(row)] + [
        f"{name} is new" for name in set(row) - expected
    ]
    for name in expected & set(row):
        found += _departures(fields[name], row[name], name)
    return found


def _departures(expected: Field, value: Any, where: str) -> Iterator[str]:
    # Whole lists of rooms come under a field that the contract types as text.
    if value is None or expected.type == "any" or expected.name == "exam_rooms":
        return
    if not isinstance(value, TYPES[expected.type]) or (expected.type == "integer" and isinstance(value, bool)):
        yield f"{where} is {type(value).__name__}, not {expected.type}"
        return
    pattern = FORMATS.get(expected.format or "")
    if expected.utc and str(value).endswith("Z"):
        pattern = UTC_TIME
    if pattern and not re.fullmatch(pattern, str(value)):
        yield f"{where} {value!r} is no {expected.format}"
    if expected.enum and not expected.open_enum and value not in expected.enum and value != "":
        yield f"{where} {value!r} is none of the choices"
    if isinstance(value, list) and expected.items:
        for each in value:
            yield from _departures(expected.items, each, f"{where}[]")
    if isinstance(value, dict):
        yield from _inside(expected, value, where)


def _inside(expected: Field, value: Mapping[str, Any], where: str) -> Iterator[str]:
    fields = CATALOG.record(expected.record).fields.values() if expected.record else expected.fields
    known = {each.name: each for each in fields}
    for name, each in value.items() if known else ():
        if name in known:
            yield from _departures(known[name], each, f"{where}.{name}")
        else:
            yield f"{where}.{name} is new"
