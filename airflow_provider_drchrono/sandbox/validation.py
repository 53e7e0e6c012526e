"""Checks the body of a write against the catalogue and words what is wrong as the API does."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from airflow_provider_drchrono.catalog import Field
from airflow_provider_drchrono.sandbox.files import Upload
from airflow_provider_drchrono.sandbox.moments import read_date, read_moment
from airflow_provider_drchrono.sandbox.practice import Practice
from airflow_provider_drchrono.sandbox.wire import FALSE, TRUE

REQUIRED = "This field is required."
NOT_NULL = "This field may not be null."
NOT_BLANK = "This field may not be blank."
NOT_A_FILE = "The submitted data was not a file. Check the encoding type on the form."

POSITIONS = frozenset({"exam_room"})
"""Fields that hold a position inside another record, not an id."""


class InvalidBodyError(ValueError):
    """A value the API refuses; ``errors`` is what it says about it."""

    def __init__(self, errors: Any) -> None:
        super().__init__("refused")
        self.errors = errors


@dataclass(slots=True)
class Body:
    """A checked body: the values to store, and the names that the API passes over."""

    values: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def check_body(
    practice: Practice,
    fields: Iterable[Field],
    given: Any,
    *,
    partial: bool,
    before: Mapping[str, Any] | None = None,
) -> Body:
    """Return what a write may store.

    :param fields: what the body may hold, read-only fields included.
    :param given: decoded JSON or form; a mapping of field names to values.
    :param partial: only the given fields are changed, so none is required.
    :param before: the row that is changed; rules between two fields look here for the one that is not given.
    :raises InvalidBodyError: with messages by field name.
    """
    if not isinstance(given, Mapping):
        kind = type(given).__name__
        raise InvalidBodyError({"non_field_errors": [f"Invalid data. Expected a dictionary, but got {kind}."]})
    body = Body()
    errors: dict[str, Any] = {}
    known = {each.name: each for each in fields}
    for name, value in given.items():
        known_field = known.get(name)
        if known_field is None:
            body.notes.append(f"unknown field {name} passed over")
        elif known_field.read_only:
            body.notes.append(f"read-only field {name} passed over")
        else:
            try:
                body.values[name] = check_value(practice, known_field, value)
            except InvalidBodyError as wrong:
                errors[name] = wrong.errors
    writable = [each for each in known.values() if not each.read_only]
    if not partial:
        absent = [each for each in writable if each.name not in given]
        body.values |= {each.name: each.default for each in absent if each.default is not None}
        errors |= {each.name: [REQUIRED] for each in absent if each.required and not each.required_unless}
    after = {**(before or {}), **body.values}
    between = {each.name: _between_fields(each, after, given, partial=partial) for each in writable}
    errors = {name: [problem] for name, problem in between.items() if problem} | errors
    if errors:
        raise InvalidBodyError(errors)
    return body


def _between_fields(rule: Field, after: Mapping[str, Any], given: Mapping[str, Any], *, partial: bool) -> str | None:
    """Return what is wrong between a field and another one, after a write, or None."""
    value, touched = after.get(rule.name), not partial or rule.name in given
    excuse = rule.required_unless
    # Of a field that the contract does not list as required, its words say "should": then nothing is refused.
    if rule.required and excuse and value in (None, "") and (touched or excuse in given) and not after.get(excuse):
        return NOT_NULL if rule.name in given else REQUIRED
    if rule.only_with and rule.name in given and value not in (None, "") and not given.get(rule.only_with):
        return f"This field cannot be passed without {rule.only_with}."
    other = after.get(rule.before) if rule.before else None
    if value and other and (touched or rule.before in given) and str(value) >= str(other):
        return f"This field must be earlier than {rule.before}."
    return None


def check_value(practice: Practice, expected: Field, value: Any) -> Any:
    """Return a value as it is stored.

    :raises InvalidBodyError: with the messages for it.
    """
    if value is None:
        if expected.required and not expected.nullable:
            raise InvalidBodyError([NOT_NULL])
        return None
    if expected.format == "file":
        if not isinstance(value, Upload):
            raise InvalidBodyError([NOT_A_FILE])
        return value
    if value == "" and (expected.type != "string" or expected.format):
        if expected.required:
            raise InvalidBodyError(["A valid value is required."])
        return None
    if expected.type in ("array", "object"):
        return _check_inside(practice, expected, value)
    checked = _check_plain(expected, value)
    _check_bounds(expected, checked)
    if expected.refers_to and expected.name not in POSITIONS:
        _check_reference(practice, expected.refers_to, checked)
    return checked


def _check_inside(practice: Practice, expected: Field, value: Any) -> Any:
    if expected.type == "array":
        if not isinstance(value, list):
            raise InvalidBodyError([f'Expected a list of items but got type "{type(value).__name__}".'])
        if expected.max_items is not None and len(value) > expected.max_items:
            raise InvalidBodyError([f"Ensure this field has no more than {expected.max_items} elements."])
        return [check_value(practice, expected.items, each) if expected.items else each for each in value]
    if not isinstance(value, Mapping):
        raise InvalidBodyError([f"Invalid data. Expected a dictionary, but got {type(value).__name__}."])
    fields = practice.catalog.record(expected.record).fields.values() if expected.record else expected.fields
    return check_body(practice, fields, value, partial=True).values if fields else dict(value)


def _check_plain(expected: Field, value: Any) -> Any:
    if isinstance(value, (list, dict, Upload)):
        raise InvalidBodyError(["Not a valid value of this field."])
    if expected.enum and not expected.open_enum:
        return _choice(expected, value)
    if expected.format in _FORMATS:
        return _FORMATS[expected.format](expected, value)
    return _TYPES.get(expected.type, _as_is)(expected, value)


def _check_bounds(expected: Field, value: Any) -> None:
    """Refuse a value that has the right type and lies outside what the field takes."""
    if expected.pattern and value and not re.fullmatch(expected.pattern, str(value)):
        raise InvalidBodyError(["This value does not match the required pattern."])
    if expected.json_text and value and not _is_json(value):
        raise InvalidBodyError(["Value must be valid JSON."])
    if value is None or (expected.minimum is None and expected.maximum is None and not expected.nonzero):
        return
    number = float(value)
    if expected.minimum is not None and number < expected.minimum:
        raise InvalidBodyError([f"Ensure this value is greater than or equal to {expected.minimum}."])
    if expected.maximum is not None and number > expected.maximum:
        raise InvalidBodyError([f"Ensure this value is less than or equal to {expected.maximum}."])
    if expected.nonzero and number == 0:
        raise InvalidBodyError(["This value may not be zero."])


def _is_json(text: Any) -> bool:
    try:
        json.loads(str(text))
    except (ValueError, RecursionError):
        return False
    return True


def _choice(expected: Field, value: Any) -> Any:
    for each in expected.enum:
        if each == value or (not isinstance(value, bool) and str(each) == str(value)):
            return each
    raise InvalidBodyError([f'"{value}" is not a valid choice.'])


def _text(expected: Field, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise InvalidBodyError(["Not a valid string."])
    if expected.required and not str(value).strip():
        raise InvalidBodyError([NOT_BLANK])
    return str(value)


def _whole(expected: Field, value: Any) -> int:
    try:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError
        return int(value)
    except (ValueError, TypeError, OverflowError):
        raise InvalidBodyError(["A valid integer is required."]) from None


def _number(expected: Field, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (ValueError, TypeError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidBodyError(["A valid number is required."])
    return number


def _decimal(expected: Field, value: Any) -> str:
    try:
        number = Decimal("NaN") if isinstance(value, bool) else Decimal(str(value))
        if not number.is_finite():
            raise InvalidOperation
        return str(number.quantize(Decimal("0.01")))
    except InvalidOperation:
        raise InvalidBodyError(["A valid number is required."]) from None


def _truth(expected: Field, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word in TRUE or word in FALSE:
        return word in TRUE
    raise InvalidBodyError(["Must be a valid boolean."])


def _day(expected: Field, value: Any) -> str | None:
    return _parsed(expected, value, read_date)


def _moment(expected: Field, value: Any) -> str | None:
    return _parsed(expected, value, lambda text: read_moment(text, zoned=True))


def _time(expected: Field, value: Any) -> str | None:
    return _parsed(expected, value, lambda text: read_moment(f"2000-01-01T{text}").partition("T")[2])


def _parsed(expected: Field, value: Any, read: Callable[[str], str]) -> str | None:
    if value == "" and not expected.required:
        return None
    try:
        return read(str(value))
    except ValueError as problem:
        raise InvalidBodyError([str(problem)]) from None


def _base64(expected: Field, value: Any) -> str:
    try:
        base64.b64decode(str(value).rpartition(",")[2], validate=True)
    except (binascii.Error, ValueError):
        raise InvalidBodyError(["Enter base64 text."]) from None
    return str(value)


def _as_is(expected: Field, value: Any) -> Any:
    return value


def _check_reference(practice: Practice, resource: str, value: Any) -> None:
    if value in ("", None):
        return
    if practice.refers(resource, value) is None:
        raise InvalidBodyError([f'Invalid pk "{value}" - object does not exist.'])


_FORMATS: dict[str, Callable[[Field, Any], Any]] = {
    "base64": _base64,
    "date": _day,
    "date-time": _moment,
    "decimal": _decimal,
    "time": _time,
}
_TYPES: dict[str, Callable[[Field, Any], Any]] = {
    "boolean": _truth,
    "integer": _whole,
    "number": _number,
    "string": _text,
}
