"""What a sync remembers between two extractions, kept in the warehouse itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from airflow_provider_drchrono.incremental.wall_clock import Practice


@dataclass(frozen=True, slots=True)
class SyncState:
    """What a sync remembers of its last complete extraction.

    :param watermark: instant, by the server's clock, at which it began.
    :param start: the earliest change, by the practice's clock, that was ever read; None: all were.
    :param practice: what was known about the practice's clocks then.
    """

    watermark: datetime
    start: datetime | None
    practice: Practice
