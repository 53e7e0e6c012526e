"""What can be said against a sensor's arguments: names while the DAG is parsed, values before anything is asked."""

from __future__ import annotations

import ast
import difflib
import json
from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_drchrono.catalog import Parameter, load
from airflow_provider_drchrono.changes.subject import Subject

PUBLIC_FILTERS = frozenset(
    {"action", "code", "code_type", "cvx_code", "payer_id", "status", "type"}
    | {"date", "date_range", "posted_date", "service_date"}
    | {"due_at_date", "due_at_range", "due_at_since", "occurred_since", "received_since"}
)
"""Filters by text that say nothing about a person. All others stay out of the triggerer's arguments."""


class InvalidArgumentError(AirflowFailException, ValueError):
    """An argument of a sensor cannot work. Trying again does not help, so the task is not retried."""


def is_template(value: object) -> bool:
    """Tell whether an argument gets its value only when the task runs: a template or another task's output."""
    return (isinstance(value, str) and "{" in value) or callable(getattr(value, "resolve", None))


def check_filter_names(operation_id: str, filters: object, known: Collection[str], since_filter: str) -> None:
    """Refuse literal filters with names that cannot be right.

    :param since_filter: the filter that the sensor sets by itself.
    :raises InvalidArgumentError: everything that is wrong, in one line.
    """
    if filters is None or is_template(filters):
        return
    if not isinstance(filters, Mapping):
        raise InvalidArgumentError(f"{operation_id}: filters must be a mapping, not {type(filters).__name__}")
    problems = []
    for name in filters:
        if name in (since_filter, "since"):
            problems.append(f"{name} is what the sensor goes by: use the argument since or start, not the filter")
        elif name not in known:
            near = difflib.get_close_matches(str(name), list(known), n=2, cutoff=0.6)
            hint = f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""
            problems.append(f"there is no filter {name!r}{hint}")
    if problems:
        raise InvalidArgumentError(f"{operation_id}: {'; '.join(problems)}")


def checked_filters(subject: Subject, filters: object, known: Collection[str]) -> dict[str, Any]:
    """Return the rendered filters. One that is None is left out.

    :raises InvalidArgumentError: they are no mapping, or a name or a range of dates is wrong.
    """
    given = _rendered(filters) if isinstance(filters, str) else filters
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidArgumentError(f"{subject.operation_id}: filters must be a mapping, not {type(given).__name__}")
    check_filter_names(subject.operation_id, given, known, subject.since_filter)
    present = {name: value for name, value in given.items() if value is not None}
    if empty := [name for name, value in present.items() if value == ""]:
        raise InvalidArgumentError(
            f"{subject.operation_id}: filters[{empty[0]!r}] is empty, which would select everything: leave it out or "
            "give a value"
        )
    try:
        subject.queries(present, None)
    except ValueError as error:
        problem = str(error)
    else:
        return present
    raise InvalidArgumentError(f"{subject.operation_id}: {problem}")


def public_filters(subject: Subject, filters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the filters that may be stored with a trigger: ids, switches, and text that says nothing of a person."""
    operation = load().operation(subject.operation_id)
    return {name: _plain(value) for name, value in filters.items() if _is_public(operation.parameter(name))}


def checked_fields(subject: Subject, fields: object, *, verbose: bool) -> tuple[str, ...] | None:
    """Return the names of the fields to keep; None keeps all.

    :raises InvalidArgumentError: the record has no such field, or shows it only with ``verbose=True``.
    """
    if fields is None:
        return None
    where = subject.operation_id
    names = tuple(fields) if isinstance(fields, Iterable) and not isinstance(fields, str) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise InvalidArgumentError(f"{where}: fields must be a list of names of fields, or None for all")
    record = load().record_of(subject.resource)
    for name in names:
        if record is not None and name not in record.fields:
            near = difflib.get_close_matches(name, list(record.fields), n=2, cutoff=0.6)
            hint = f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""
            raise InvalidArgumentError(f"{where}: fields names no field {name!r}{hint}")
        if record is not None and not verbose and record.fields[name].verbose:
            raise InvalidArgumentError(f"{where}: {name} comes only with verbose=True; set it")
    return names


def check_count(operation_id: str, argument: str, value: object) -> None:
    """Refuse what is not a number of records from 1 up."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidArgumentError(f"{operation_id}: {argument} must be a number of records from 1 up")


def checked_overlap(operation_id: str, overlap: object, default: timedelta) -> timedelta:
    """Return how long a change may take until lists show it.

    :param overlap: a timedelta or seconds; None for the default.
    :raises InvalidArgumentError: it is neither, or negative.
    """
    if overlap is None:
        return default
    if isinstance(overlap, int | float) and not isinstance(overlap, bool):
        overlap = timedelta(seconds=overlap)
    if not isinstance(overlap, timedelta) or overlap < timedelta(0):
        raise InvalidArgumentError(f"{operation_id}: overlap must be a timedelta or seconds, and not negative")
    return overlap


def check_time(operation_id: str, argument: str, value: object, words: Collection[str] = ()) -> None:
    """Refuse a literal that is no time.

    :param words: text that is taken besides.
    """
    if value is None or value in words or is_template(value) or isinstance(value, date):
        return
    try:
        datetime.fromisoformat(value.strip() if isinstance(value, str) else "")
        return
    except ValueError:
        pass
    others = "".join(f"{word!r}, " for word in words)
    raise InvalidArgumentError(
        f"{operation_id}: {argument} must be {others}a date or a time such as 2026-01-31T08:00:00, by the practice's "
        "clock or with an offset"
    )


def _rendered(text: str) -> Any:
    """Read text that a template rendered a mapping to: JSON, or what Python prints."""
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, dict):
            return value
    return text


def _is_public(parameter: Parameter) -> bool:
    return parameter.type in ("integer", "boolean") or parameter.name in PUBLIC_FILTERS


def _plain(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
