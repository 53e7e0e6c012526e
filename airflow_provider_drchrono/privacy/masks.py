"""The masks: each makes of one value another one that says less. What cannot be masked becomes None."""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import date, timedelta
from typing import Any, Literal, get_args

MaskKind = Literal["hash", "number", "shift", "year", "zip3"]
MASKS: tuple[str, ...] = get_args(MaskKind)

SMALL_ZIP_PREFIXES = frozenset(
    "036 059 063 102 203 556 692 790 821 823 830 831 878 879 884 890 893".split()  # noqa: SIM905 - a list to compare
)
"""Where 20,000 people or fewer live in all ZIP codes with these three digits: census of 2000, as the guidance of the
Department of Health and Human Services lists them."""

HIDDEN_ZIP = "000"

OLDEST_SHOWN_AGE = 89
LONGEST_SHIFT = 182
"""Days by which dates are moved at most, either way: about half a year."""

_ISO_DATE = re.compile(r"([12]\d{3})-\d{2}(?!\d)|([12]\d{3})(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])", re.ASCII)
_US_DATE = re.compile(r"\d{1,2}[/-]\d{1,2}[/-]([12]\d{3})(?!\d)", re.ASCII)
_YEAR = re.compile(r"[12]\d{3}", re.ASCII)
_ZIP = re.compile(r"(\d{3})\d{2}(?:-?\d{4})?", re.ASCII)
_NUMBER = r"[-+]?\d{1,6}(?:[.,]\d{1,4})?"
# One number, or two with something between them: a range, a blood pressure, a dose.
_NUMBERS = re.compile(rf"[<>=≤≥~]{{0,2}}\s?{_NUMBER}(?:\s?(?:[-/ ]|to)\s?{_NUMBER})?\s?%?", re.ASCII)
_DAY = 10


class Key:
    """The secret by which ids become others and dates are moved. It is shown nowhere.

    :param secret: what the connection holds.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def __repr__(self) -> str:
        return "Key(***)"

    def digest(self, purpose: str, value: str) -> bytes:
        """Return 32 bytes that nobody can tell from random ones without the key.

        :param purpose: what they are for: equal values for two purposes have nothing in common.
        """
        return hmac.new(self._secret, f"{purpose}\0{value}".encode("utf-8", "surrogatepass"), hashlib.sha256).digest()

    def days(self, patient: str) -> int:
        """Return by how many days the dates of a patient are moved, from -182 to 182 and never 0."""
        number = int.from_bytes(self.digest("shift", patient)[:8], "big") % (2 * LONGEST_SHIFT) - LONGEST_SHIFT
        return number if number < 0 else number + 1

    @property
    def check(self) -> str:
        """What tells this key from another one, and says nothing of it."""
        return self.digest("check", "").hex()[:12]


def as_text(value: Any) -> str:
    """Return a value such that an id is the same text wherever it stands: as a number or as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip().casefold()


def hashed(value: Any, key: Key, domain: str) -> str | None:
    """Return 32 hexadecimal digits for a value, the same for equal ones of a domain.

    Of a link the query is left out, as it changes from answer to answer.

    :param domain: whose ids they are, or the class of the values.
    """
    text = as_text(value)
    if not text:
        return None
    if text.startswith(("https://", "http://")):
        text = text.partition("?")[0]
    if domain == "ssn":
        text = "".join(each for each in text if each.isalnum())
    return key.digest(f"id:{domain}", text).hex()[:32]


def year_of(value: Any) -> int | None:
    """Return the year of a date or time; None where there is none."""
    text = str(value).strip()
    found = _ISO_DATE.match(text)
    if found:
        return int(found[1] or found[2])
    found = _US_DATE.match(text)
    if found:
        return int(found[1])
    return int(text) if _YEAR.fullmatch(text) else None


def birth_year_of(value: Any, today: date) -> int | None:
    """Return the year of a birthday. Whoever is over 89, or may become so this year, is in one group: its last year."""
    year = year_of(value)
    return None if year is None else max(year, today.year - OLDEST_SHOWN_AGE - 1)


def shifted(value: Any, days: int) -> str | None:
    """Return a date or a time, in ISO 8601, moved by so many days; None where it is none."""
    text = str(value).strip()
    day, rest = text[:_DAY], text[_DAY:]
    if rest and not re.fullmatch(r"[T ][0-9:.]{5,15}(?:Z|[+-][0-9]{2}:?[0-9]{2})?", rest, re.ASCII):
        return None
    try:
        return (date.fromisoformat(day) + timedelta(days=days)).isoformat() + rest
    except (ValueError, OverflowError):
        return None


def zip3(value: Any) -> str | None:
    """Return the first three digits of a US ZIP code, 000 where few people live; None where it is no such code."""
    found = _ZIP.fullmatch(str(value).strip())
    if found is None:
        return None
    return HIDDEN_ZIP if found[1] in SMALL_ZIP_PREFIXES else found[1]


def number(value: Any) -> Any:
    """Return a value that is a number, or a text that holds one or two numbers and nothing else; None for others."""
    if isinstance(value, int | float):
        return value
    return value if isinstance(value, str) and _NUMBERS.fullmatch(value.strip()) else None
