"""Decides what a read of a list may conclude about rows that it did not see."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias
from zlib import crc32

from airflow_provider_drchrono.catalog import Deletions
from airflow_provider_drchrono.incremental.window import SyncState

CompleteEvery: TypeAlias = timedelta | Literal["auto"] | None
"""How often a list that goes by change is read as a whole; see :func:`complete_is_due`."""

COMPLETE_EVERY = timedelta(days=7)
"""What ``auto`` means for a list that does not tell of its deletions."""

_MONDAY = datetime(1970, 1, 5, 8, tzinfo=UTC)

_TURNS_APART = timedelta(days=1)
"""A list that was just read whole, such as for the first time, waits so long for its turn."""

MOST_LOOKUPS = 50
"""Of rows that are missing, how many a run looks up one by one. The hour has 500 calls."""


def interval_of(deletions: Deletions | None, complete_every: CompleteEvery = "auto") -> timedelta | None:
    """Return how often a list that goes by change is read as a whole; None for never.

    :param deletions: how the list tells of deletions.
    """
    if complete_every != "auto":
        return complete_every
    return None if deletions and deletions.come_as_changes else COMPLETE_EVERY


def complete_is_due(
    name: str, state: SyncState | None, deletions: Deletions | None, complete_every: CompleteEvery, now: datetime
) -> bool:
    """Tell whether a list that goes by change is to be read as a whole, so that deletions show.

    The first read is a whole one anyway, and a sync with a start is never complete.

    :param name: of the list.
    :param deletions: how the list tells of deletions.
    :param complete_every: ``auto`` is once a week for a list that does not tell of every deletion, and else never. Each
        list has a day of the week of its own for it, as all of them on one day would take the calls of hours.
    """
    every = interval_of(deletions, complete_every)
    if every is None or state is None or state.start is not None:
        return False
    if state.completed_at is None or complete_every != "auto":
        return state.completed_at is None or now - state.completed_at >= every
    return state.completed_at < last_turn(name, now) and now - state.completed_at >= _TURNS_APART


def last_turn(name: str, now: datetime) -> datetime:
    """Return the last time at which it was a list's turn to be read as a whole: once a week, at night in America.

    :param name: of the list.
    """
    first = _MONDAY + timedelta(days=crc32(name.encode()) % 7)
    return first + (now - first) // COMPLETE_EVERY * COMPLETE_EVERY
