"""Synthetic records of a list, as the sandbox would answer them, without a server or a connection."""

from __future__ import annotations

import json
from typing import Any

MOST = 10_000
"""Records that one call makes: more take minutes, and a running sandbox serves them page by page."""


def sample_records(
    resource: str, count: int = 3, *, verbose: bool = False, timezone: str | None = None
) -> list[dict[str, Any]]:
    """Return synthetic records of a list, with the fields and types that the list answers.

    Nobody in them exists. They are made anew at each call, the same ones again but for their times.

    :param resource: the resource, such as ``patients``.
    :param count: how many records, from 1 to 10,000; the lists of what a practice has once only have fewer.
    :param verbose: with the fields that come only with ``verbose=true``.
    :param timezone: IANA name of the zone in which the practice writes times; New York when left out.
    :raises ValueError: there is no such list or zone, or the count is outside of its bounds; the message offers the
        nearest names.
    """
    from airflow_provider_drchrono.catalog import load
    from airflow_provider_drchrono.catalog.names import did_you_mean
    from airflow_provider_drchrono.sandbox import Sandbox
    from airflow_provider_drchrono.sandbox.wire import encode

    lists = [name for name, each in load().resources.items() if each.list_operation]
    if resource not in lists:
        raise ValueError(f"There is no list {resource!r}{did_you_mean(resource, lists, most=3)}")
    if count not in range(1, MOST + 1):
        raise ValueError(f"count must be a whole number from 1 to {MOST}, not {count!r}")
    clock: dict[str, Any] = {"timezone": timezone} if timezone else {}
    # Several lists may show the records of one.
    own = Sandbox(patients=1).practice.table(resource).name
    practice = Sandbox(patients=5, appointments_per_patient=4, records={own: count}, **clock).practice
    records: list[dict[str, Any]] = json.loads(encode(practice.records(resource, verbose=verbose)[:count]))
    return records
