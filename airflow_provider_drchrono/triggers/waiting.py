"""How triggers wait between two calls: never beyond their deadline, and not for what does not pass."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_drchrono.client import DrChronoError

GRACE = timedelta(minutes=10)
"""How long after its deadline a trigger may still report; a task whose triggerers are all down fails then."""

MOST_FAILURES = 5
"""How many calls may fail one after the other before the task fails."""


def pause_after(error: DrChronoError, failures: int, poll_interval: float) -> float:
    """Return the seconds to wait after a call that failed.

    :param failures: how many have failed one after the other, with this one.
    :raises DrChronoError: the error itself, where waiting does not help.
    """
    from airflow_provider_drchrono.client import RateLimitedError

    if isinstance(error, RateLimitedError):
        return max(poll_interval, error.retry_at.timestamp() - time.time() if error.retry_at else 0.0)
    if not error.transient or failures >= MOST_FAILURES:
        raise error
    return poll_interval


async def sleep_until(ends: float, seconds: float) -> bool:
    """Sleep, but not beyond the deadline.

    :param ends: the deadline in epoch seconds.
    :return: whether the whole time has passed and there is time for another call.
    """
    left = ends - time.time()
    await asyncio.sleep(max(0.0, min(seconds, left)))
    return left > 0 and seconds <= left
