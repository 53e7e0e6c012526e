"""How triggers wait between two calls: never beyond their deadline, and not after an error that stays."""

from __future__ import annotations

import asyncio
import time
import traceback
from datetime import timedelta

from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.client.retry import MOST_FAILURES, pause_after
from airflow_provider_drchrono.compat import AirflowNotFoundException

__all__ = ["GRACE", "MOST_FAILURES", "described", "may_pass", "pause_after", "sleep_until"]

GRACE = timedelta(minutes=10)
"""How long after its deadline a trigger may still report; a task whose triggerers are all down fails then."""


def described(error: Exception) -> str:
    """Describe an error without patient data: of errors that are not ours, only the type and the place are named."""
    if isinstance(error, DrChronoError | AirflowNotFoundException):
        return str(error)
    places = traceback.extract_tb(error.__traceback__)[-1:]
    return " ".join([type(error).__name__, *(f"in {each.filename}, line {each.lineno}" for each in places)])


def may_pass(error: Exception) -> bool:
    """Tell whether trying again may help. Of an error that is not ours nobody knows, so it may."""
    return (
        bool(error.transient) if isinstance(error, DrChronoError) else not isinstance(error, AirflowNotFoundException)
    )


async def sleep_until(ends: float, seconds: float) -> bool:
    """Sleep, but not beyond the deadline.

    :param ends: the deadline in epoch seconds.
    :return: whether the whole time has passed and there is time for another call.
    """
    left = ends - time.time()
    await asyncio.sleep(max(0.0, min(seconds, left)))
    return left > 0 and seconds <= left
