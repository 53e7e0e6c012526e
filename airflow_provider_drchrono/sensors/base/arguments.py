"""What can be said against a sensor's filters when they are rendered, and which of them may be stored."""

from __future__ import annotations

import ast
import json
from collections.abc import Collection, Mapping
from datetime import date
from typing import Any

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.common.arguments import InvalidArgumentError, check_filter_names
from airflow_provider_drchrono.incremental.lists import IncrementalList


def checked_filters(subject: IncrementalList, filters: object, known: Collection[str]) -> dict[str, Any]:
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


def public_filters(subject: IncrementalList, filters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the filters that may be stored with a trigger: ids, switches, and text that says nothing of a person."""
    operation = load().operation(subject.operation_id)
    return {name: _plain(value) for name, value in filters.items() if operation.parameter(name).public}


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


def _plain(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
