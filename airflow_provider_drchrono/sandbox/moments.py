"""Reads the dates and times that callers send, in the spellings the API takes."""

from __future__ import annotations

import re
from datetime import date, datetime

LONGEST_RANGE = 190
"""Days; a longer date_range comes back empty."""

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?)?")
_ZONED = re.compile(r".*\d{2}:\d{2}.*(Z|[+ -]\d{2}:?\d{2})", re.IGNORECASE)

BAD_DATE = "Date has wrong format. Use one of these formats instead: YYYY-MM-DD."
BAD_MOMENT = "Datetime has wrong format. Use one of these formats instead: YYYY-MM-DDThh:mm[:ss[.uuuuuu]]."
ZONED_MOMENT = "Datetime may not carry a time zone; send the practice's local time."
BAD_RANGE = "Enter a date range as YYYY-MM-DD/YYYY-MM-DD."


def read_date(text: str) -> str:
    """Return a date as ``YYYY-MM-DD``.

    :raises ValueError: with the message for the caller.
    """
    if not _DATE.fullmatch(text):
        raise ValueError(BAD_DATE)
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError(BAD_DATE) from None


def read_moment(text: str, *, zoned: bool = False) -> str:
    """Return a date or a time without a zone as ``YYYY-MM-DDThh:mm:ss``, with a fraction when one was given.

    :param zoned: take a time with a zone, too, and drop the zone.
    :raises ValueError: with the message for the caller.
    """
    if not _MOMENT.fullmatch(text):
        if not _ZONED.fullmatch(text):
            raise ValueError(BAD_MOMENT)
        if not zoned:
            raise ValueError(ZONED_MOMENT)
    try:
        moment = datetime.fromisoformat(text.replace(" ", "T", 1))
    except ValueError:
        raise ValueError(BAD_MOMENT) from None
    return moment.replace(tzinfo=None).isoformat()


def read_range(text: str) -> tuple[str, str, int]:
    """Return the first and last day of ``YYYY-MM-DD/YYYY-MM-DD``, and how many days lie between them.

    :raises ValueError: with the message for the caller.
    """
    first, slash, last = text.partition("/")
    if not slash:
        raise ValueError(BAD_RANGE)
    try:
        first, last = read_date(first), read_date(last)
    except ValueError:
        raise ValueError(BAD_RANGE) from None
    return first, last, (date.fromisoformat(last) - date.fromisoformat(first)).days


def read_american_date(text: str) -> str:
    """Return a date that comes as ``1/31/2026``, as day sheets take it, in ISO 8601.

    :raises ValueError: it is not one.
    """
    try:
        return datetime.strptime(text.strip(), "%m/%d/%Y").date().isoformat()
    except ValueError:
        raise ValueError("Enter a valid date in the form M/D/YYYY.") from None
