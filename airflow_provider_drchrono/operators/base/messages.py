"""Says what the API's refusals mean for the author of the DAG: which argument, which right, which remedy.

The API's own words about a field may repeat what a patient's record holds, so only what they mean is passed on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.client.rules import GIVE_FILTER, OF_NO_FIELD, one_line

if TYPE_CHECKING:
    from airflow_provider_drchrono.client import BadRequestError

# What the API says, as a pattern, and what is said of it. The first that matches counts.
MEANINGS = tuple(
    (re.compile(pattern, re.IGNORECASE), meaning)
    for pattern, meaning in (
        (r"^(this \w+|value|\w+)? ?is required|no file was submitted|was not (given|provided)", "is missing"),
        (r"may not be null|cannot be null|none is not", "must not be null"),
        (r"may not be blank|cannot be (blank|empty)|may not be empty|file is empty", "must not be empty"),
        (
            r"invalid pk|does not exist|not found|no such|invalid hyperlink",
            "names a record that does not exist, or that this user may not see",
        ),
        (r"not a valid choice|is not one of", "is none of the allowed values"),
        (r"already exists|must be unique|make a unique set", "is taken by another record"),
        (r"date ?time has wrong format|valid date/time", "must be a time such as 2026-01-31T08:00:00"),
        (r"date has wrong format|valid date", "must be a date such as 2026-01-31"),
        (r"time has wrong format|valid time", "must be a time of day such as 08:30"),
        (r"valid integer|whole number|expected int", "must be a whole number"),
        (
            r"valid number|digits|decimal places",
            "must be a number such as 12.50, with no more digits than the field holds",
        ),
        (r"valid boolean", "must be true or false"),
        (r"valid e-?mail", "must be an e-mail address"),
        (r"valid url", "must be a URL"),
        (r"valid string", "must be text"),
        (r"no more than|too long|at most|less than or equal", "is too long or too large"),
        (r"at least|too short|greater than or equal", "is too short or too small"),
        (r"expected a list|list of items", "must be a list"),
        (r"expected a dictionary|invalid data", "must be a mapping of fields"),
        (r"not a file|upload a valid|corrupted", "must be a file of another kind"),
        (r"read.?only|cannot be (changed|modified)|may not be changed", "cannot be changed"),
    )
)
UNKNOWN = "was refused; the API's reason is not repeated, as it may hold patient data"

Places = Callable[[str], str | None]
"""From the name of a path or query parameter to the operator's argument, if it is one."""

FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,79}")


@contextmanager
def explained(operation_id: str, places: Places) -> Iterator[None]:
    """Let refusals of the block name the operator's arguments.

    :param places: finds the argument that a parameter's value came from.
    """
    from airflow_provider_drchrono.client import BadRequestError

    try:
        yield
        return
    except BadRequestError as error:
        explained_error = BadRequestError(
            bad_request_message(operation_id, error, places),
            operation_id=error.operation_id,
            status=error.status,
            field_errors=error.field_errors,
            rules=error.rules,
        )
    # The first error carries the API's words, so it is not made part of the traceback.
    raise explained_error from None


def bad_request_message(operation_id: str, error: BadRequestError, places: Places) -> str:
    """Return one line that puts each complaint of a 400 next to the argument it is about."""
    problems: list[str] = []
    asked = error.operation_id or operation_id
    reads = _only_reads(asked)
    for name, messages in error.field_errors.items():
        shown = [rule for each in messages if (rule := one_line(each)) in error.rules]
        if name in OF_NO_FIELD and shown:
            problems += shown
        else:
            problems.append(f"{_place(name, places, reads=reads)} {_meaning(messages)}")
    if error.rules and reads:
        problems.append(GIVE_FILTER)
    told = "; ".join(problems) or "the request as a whole was refused"
    return f"{asked}: the API refused the request (400): {told}"


def _only_reads(operation_id: str) -> bool:
    operation = load().operations.get(operation_id)
    return operation is not None and operation.method == "GET"


def _place(name: str, places: Places, *, reads: bool) -> str:
    """Return ``data[2]['doctor']`` for ``2.doctor``; what is no name of a field is not repeated."""
    if name in OF_NO_FIELD:
        return "the request as a whole" if reads else "the record as a whole"
    if argument := places(name):
        return argument
    place = "data"
    for part in name.split("."):
        if part.isdigit():
            place += f"[{int(part)}]"
        elif part in ("non_field_errors", "detail"):
            break
        else:
            place += f"[{part!r}]" if FIELD.fullmatch(part) else "[...]"
    return place


def _meaning(messages: Sequence[str] | Mapping[str, object]) -> str:
    meanings = dict.fromkeys(
        next((meaning for pattern, meaning in MEANINGS if pattern.search(message)), UNKNOWN) for message in messages
    )
    return " and ".join(meanings) or UNKNOWN
