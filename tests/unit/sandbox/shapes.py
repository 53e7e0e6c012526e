"""Says where a value departs from what the catalogue says of it."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
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


def departures(
    record: str, row: Mapping[str, Any], *, verbose: bool, met: Collection[str] = (), partly: bool = False
) -> list[str]:
    """Return one line for each field of a record that is missing, surplus or not as it should be.

    :param met: conditions that the request met for fields which come on condition only.
    :param partly: whether it is left open which of those fields come.
    """
    fields = CATALOG.record(record).fields
    expected = {
        name
        for name, each in fields.items()
        if (verbose or not each.verbose)
        and not each.write_only
        and (each.returned_if is None or each.returned_if in met)
    }
    if partly:
        expected |= {name for name, each in fields.items() if each.returned_if and name in row}
    found = [f"{name} is missing" for name in expected - set(row)] + [f"{name} is new" for name in set(row) - expected]
    for name in expected & set(row):
        found += _departures(fields[name], row[name], name)
    return found


def _departures(expected: Field, value: Any, where: str) -> Iterator[str]:
    if value is None and expected.required and not expected.nullable:
        # What the contract does not require may be unset; it does not say what an unset field shows but null.
        yield f"{where} is null"
    if value is None or expected.type == "any":
        return
    if not isinstance(value, TYPES[expected.type]) or (expected.type == "integer" and isinstance(value, bool)):
        yield f"{where} is {type(value).__name__}, not {expected.type}"
        return
    pattern = UTC_TIME if expected.utc and str(value).endswith("Z") else FORMATS.get(expected.format or "")
    if pattern and not re.fullmatch(pattern, str(value)) and value != expected.default:
        yield f"{where} {value!r} is no {expected.format}"
    if expected.enum and not expected.open_enum and value not in expected.enum:
        yield f"{where} {value!r} is none of the choices"
    if _beyond(expected, value):
        yield f"{where} {value!r} is out of bounds"
    if isinstance(value, (dict, list)):
        yield from _inside(expected, value, where)


def _beyond(expected: Field, value: Any) -> bool:
    if expected.pattern and value and not re.fullmatch(expected.pattern, str(value)):
        return True
    if expected.json_text and value and not isinstance(json.loads(value), (list, dict)):
        return True
    if isinstance(value, list):
        return expected.max_items is not None and len(value) > expected.max_items
    low, high = expected.minimum, expected.maximum
    return (
        (low is not None and float(value) < low)
        or (high is not None and float(value) > high)
        or (expected.nonzero and float(value) == 0)
    )


def _inside(expected: Field, value: Mapping[str, Any] | list[Any], where: str) -> Iterator[str]:
    if isinstance(value, list):
        for each in value if expected.items else ():
            yield from _departures(expected.items, each, f"{where}[]")
        return
    fields = CATALOG.record(expected.record).fields.values() if expected.record else expected.fields
    known = {each.name: each for each in fields}
    for name, each in value.items() if known else ():
        if name in known:
            yield from _departures(known[name], each, f"{where}.{name}")
        else:
            yield f"{where}.{name} is new"
