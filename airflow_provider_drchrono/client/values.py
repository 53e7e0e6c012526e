"""How one value of a body or a filter becomes what the API reads, or what is wrong with it.

Templates render to text, so text is read as the number, date or list that the field holds. Errors say what is wanted
and never repeat the value, which may be a patient's.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

LONGEST_TEXT = 1_000_000
"""Characters. Nobody types so much into one field; a file that landed in the wrong field is that long."""

FEW_CHOICES = 25
"""So many allowed values are still readable in an error."""

LARGEST_EXACT = 2**53
"""From here on a float does not tell two neighbouring whole numbers apart."""

LONGEST_NUMBER = 40
"""Characters."""

TRUE = frozenset({"true", "yes", "on", "1"})
FALSE = frozenset({"false", "no", "off", "0"})


def to_text(value: object) -> str:
    """Return text; numbers and dates, as templates rendered to native types leave them, are written out."""
    if isinstance(value, datetime | date | time):
        text = value.isoformat()
    elif isinstance(value, str | int | float | Decimal | UUID) and not isinstance(value, bool):
        text = str(value)
    else:
        raise ValueError(f"must be text, not {_kind(value)}")
    if len(text) > LONGEST_TEXT:
        raise ValueError(
            f"is text of {len(text):,} characters, more than the {LONGEST_TEXT:,} that are sent; is it a file?"
        )
    return text


def to_integer(value: object) -> int:
    """Return a whole number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,20}\s*", value):
        return int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < LARGEST_EXACT:
        return int(value)
    raise ValueError(f"must be a whole number, not {_kind(value)}")


def to_decimal(value: object) -> int | float | str:
    """Return a number as it was given; text and decimals stay text, so that no digit is lost."""
    plain = isinstance(value, int | float | Decimal | str) and not isinstance(value, bool)
    text = str(value).strip() if plain else ""
    try:
        number = Decimal(text) if len(text) <= LONGEST_NUMBER else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite():
        raise ValueError(f"must be a number such as 12.50, not {_kind(value)}")
    return value if isinstance(value, int | float) else f"{number:f}"


def to_boolean(value: object) -> bool:
    """Return true or false."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower() if isinstance(value, str | int) else ""
    if word in TRUE or word in FALSE:
        return word in TRUE
    raise ValueError(f"must be true or false, not {_kind(value)}")


def to_date(value: object, zone: str | None) -> str:
    """Return a date as ``2026-01-31``; of a time with a zone, the practice's date."""
    if isinstance(value, datetime):
        return wall_clock(value, zone).date().isoformat()
    if isinstance(value, date):
        return value.isoformat()
    try:
        if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value.strip()):
            return date.fromisoformat(value.strip()).isoformat()
    except ValueError:
        pass
    raise ValueError(f"must be a date such as 2026-01-31, not {_kind(value)}")


def to_datetime(value: object, zone: str | None) -> str:
    """Return a time of the practice's wall clock as ``2026-01-31T08:00:00``."""
    moment: datetime | None = None
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        moment = datetime.combine(value, time.min)
    elif isinstance(value, str) and re.match(r"\d{4}-\d{2}-\d{2}", value.strip()):
        moment = _parse_datetime(value)
    if moment is None:
        raise ValueError(f"must be a time such as 2026-01-31T08:00:00, not {_kind(value)}")
    return wall_clock(moment, zone).isoformat()


def to_time(value: object) -> str:
    """Return a time of day as ``08:30:00``."""
    if isinstance(value, time) and value.tzinfo is None:
        return value.isoformat()
    try:
        if isinstance(value, str) and re.match(r"\d{2}:\d{2}", value.strip()):
            parsed = time.fromisoformat(value.strip())
            if parsed.tzinfo is None:
                return parsed.isoformat()
    except ValueError:
        pass
    raise ValueError(f"must be a time of day such as 08:30, not {_kind(value)}")


def to_json(value: object) -> Any:
    """Return a value of no stated type, provided that JSON has a word for it."""
    if isinstance(value, str):
        return to_text(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Mapping):
        return {to_text(key): to_json(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [to_json(each) for each in value]
    if isinstance(value, datetime | date | time | Decimal | UUID):
        return str(value) if isinstance(value, Decimal | UUID) else value.isoformat()
    raise ValueError(f"holds {_kind(value)}, which JSON has no word for")


def to_json_text(value: object) -> str:
    """Return JSON as text: text that is JSON, or what a list or mapping is as JSON."""
    if isinstance(value, str):
        with suppress(ValueError, RecursionError):
            json.loads(value or "null")
            return to_text(value)
        raise ValueError('must be a list, or JSON as text, such as ["a", "b"]')
    return json.dumps(to_json(value))


def to_mapping(value: object) -> Any:
    """Return an object, reading text that a template rendered one to; anything else is left to be refused."""
    parsed = rendered(value) if isinstance(value, str) else value
    if not isinstance(parsed, Mapping):
        raise ValueError(f"must be a mapping of fields, not {_kind(value)}")
    return dict(parsed)


def to_list(value: object) -> list[Any]:
    """Return a list, also from an XCom of a mapped task and from text that a template rendered a list to."""
    parsed = rendered(value) if isinstance(value, str) else value
    if isinstance(parsed, Sequence | set | frozenset) and not isinstance(parsed, str | bytes | bytearray):
        return list(parsed)
    raise ValueError(f"must be a list, not {_kind(value)}")


def choice_of(choices: tuple[str | int, ...]) -> Callable[[object], str | int]:
    """Return the check of a field with a fixed set of values."""
    by_text = {str(each): each for each in choices}
    folded = {text.casefold() for text in by_text}

    def check(value: object) -> str | int:
        text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else None
        if text in by_text:
            return by_text[text]
        allowed = _allowed(tuple(by_text))
        if text is not None and text.casefold() in folded:
            raise ValueError(f"differs from an allowed value in upper and lower case only: {allowed}")
        raise ValueError(f"is none of the allowed values: {allowed}")

    return check


def _allowed(texts: tuple[str, ...]) -> str:
    if len(texts) <= FEW_CHOICES:
        return f"it must be one of {', '.join(map(repr, texts))}"
    shown = ", ".join(repr(each) for each in texts if each)
    if all(each == each.upper() for each in texts):
        return f"it must be one of {len(texts)} codes, all in upper case, such as {_first(shown)}"
    return f"it must be one of {len(texts)} values, spelt as in the reference, such as {_first(shown)}"


def _first(shown: str) -> str:
    return ", ".join(shown.split(", ")[:3])


SET_TIMEZONE = "set timezone on the connection, and it is converted, or "
"""What helps against a zone that cannot be converted, where a connection is known when values are checked."""


def wall_clock(moment: datetime, zone: str | None) -> datetime:
    """Return a moment as the practice's clocks show it, without a zone.

    :param zone: the connection's ``timezone``.
    :raises ValueError: the moment has a zone, and the practice's is not known.
    """
    if moment.tzinfo is None:
        return moment
    if zone is None:
        raise ValueError(
            f"has a time zone, but DrChrono reads times as the practice's wall clock: {SET_TIMEZONE}give it without "
            "one, as in 2026-01-31T08:00:00"
        )
    return moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def rendered(text: str) -> Any:
    """Read text that a template rendered a list or mapping to: JSON, or what Python prints; None if it is neither."""
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, dict | list | tuple):
            return value
    return None


def _parse_datetime(text: str) -> datetime | None:
    plain = text.strip()
    try:
        # Python reads the zone of UTC only as a capital.
        return datetime.fromisoformat(f"{plain[:-1]}Z" if plain.endswith("z") else plain)
    except ValueError:
        return None


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return "this text" if value.strip() else "empty text"
    return {bool: "true or false", int: "a number", float: "a number", dict: "a mapping", list: "a list"}.get(
        type(value), f"a {type(value).__name__}"
    )
