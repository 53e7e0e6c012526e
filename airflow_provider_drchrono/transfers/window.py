"""Decides from when on a sync has to read, without losing a change.

It remembers the instant of its last complete extraction; ``changes.clock`` says what the practice's clocks showed then.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from airflow_provider_drchrono.incremental.wall_clock import Practice, earliest_wall_clock
from airflow_provider_drchrono.warehouses.sync_state import SyncState

CATCH_UP_AFTER = timedelta(minutes=15)
"""A sync whose reading began longer ago than this, because it was interrupted, reads once more what changed since."""


@dataclass(frozen=True, slots=True)
class Window:
    """What one extraction reads.

    :param since: naive wall-clock time of the practice; None: everything.
    :param start: the earliest change that was ever read, once this is; None: all were.
    """

    since: datetime | None
    start: datetime | None


def next_window(
    memory: SyncState | None, practice: Practice, start: datetime | None, lookback: timedelta, *, afresh: bool
) -> Window:
    """Return what has to be read so that everything since ``start`` is there and nothing since the last time is missed.

    :param start: the start that is asked for, by the practice's clock; None: everything.
    :param lookback: how long a change may take until lists show it.
    :param afresh: read from the start whatever is remembered.
    """
    if memory is None or afresh or _is_earlier(start, memory.start):
        return Window(start, start)
    watermark = memory.watermark
    if not set(practice.timezones) <= set(memory.practice.timezones):
        # Changes made by a clock that nobody knew of may have been looked for at the wrong time.
        if memory.practice.read_at is None:
            return Window(start, start)
        watermark = min(watermark, memory.practice.read_at)
    return Window(earliest_wall_clock(watermark - lookback, practice.timezones), memory.start)


def is_stale(began: datetime, now: datetime) -> bool:
    """Return whether an extraction that began then has to be followed by another at once."""
    return now - began > CATCH_UP_AFTER


def _is_earlier(start: datetime | None, than: datetime | None) -> bool:
    if than is None:
        return False
    return start is None or start < than
