"""Reads what the API answers to a create: one record, or as many as were sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.client import UnexpectedAnswerError
from airflow_provider_drchrono.operators.base.own_records import identity_of

MOST_NAMED = 20
"""So many ids are named in an error; the rest is counted."""


def created_records(operation_id: str, answer: object, sent: int) -> list[dict[str, Any]]:
    """Return the records that a create answered with, in the order in which they were sent.

    A list and a single record are understood, and either inside an envelope such as ``{"results": [...]}``.

    :param sent: how many records were sent.
    :raises UnexpectedAnswerError: the answer does not say what became of each record; the message says what it holds.
    """
    resource = load().resource(load().operation(operation_id).resource)

    def is_record(value: object) -> bool:
        if not isinstance(value, Mapping) or not value:
            return False
        return identity_of(resource, value) is not None if resource.key else not _parts(value)

    records = _unpacked(answer, is_record)
    known = [each for each in records if is_record(each)]
    if len(records) == len(known) == sent:
        return [dict(each) for each in known]
    ids = [str(identity_of(resource, each)) for each in known if resource.key]
    named = ", ".join(ids[:MOST_NAMED]) + (f" and {len(ids) - MOST_NAMED} more" if len(ids) > MOST_NAMED else "")
    came_back = f"{len(known)} came back" + (f" (id {named})" if named else "")
    raise UnexpectedAnswerError(
        f"{operation_id}: the API reported success for {sent} {'record' if sent == 1 else 'records'}, but {came_back}; "
        "those that came back exist, and others may",
        operation_id=operation_id,
        transient=False,
    )


def _unpacked(answer: object, is_record: Any) -> list[Any]:
    if isinstance(answer, list):
        return answer
    if is_record(answer):
        return [answer]
    if isinstance(answer, Mapping):
        parts = _parts(answer)
        if len(parts) == 1:
            return parts[0] if isinstance(parts[0], list) else [parts[0]]
    return []


def _parts(answer: Mapping[str, Any]) -> list[Any]:
    """Return the values of an envelope that may hold records."""
    return [
        each
        for each in answer.values()
        if (isinstance(each, list) and any(isinstance(one, Mapping) for one in each)) or isinstance(each, Mapping)
    ]
