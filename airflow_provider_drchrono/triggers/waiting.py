"""How triggers wait between two calls: never beyond their deadline, and not after an error that stays."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from airflow_provider_drchrono.client.retry import MOST_FAILURES, pause_after

__all__ = ["GRACE", "MOST_FAILURES", "pause_after", "sleep_until"]

GRACE = timedelta(minutes=10)
"""How long after its deadline a trigger may still report; a task whose triggerers are all down fails then."""


async def sleep_until(ends: float, seconds: float) -> bool:
    """Sleep, but not beyond the deadline.

    :param ends: the deadline in epoch seconds.
    :return: whether the whole time has passed and there is time for another call.
    """
    left = ends - time.time()
    await asyncio.sleep(max(0.0, min(seconds, left)))
    return left > 0 and seconds <= left
