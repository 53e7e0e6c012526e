"""Lets a sensor choose how long it waits between two pokes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from airflow.sdk import BaseSensorOperator

from airflow_provider_drchrono.compat.private import check_method

PARAMETERS = ("started_at", "run_duration", "poke_count")

check_method(BaseSensorOperator, "_get_next_poke_interval", PARAMETERS, __name__)


class ChoosesPokeInterval:
    """For sensors, as a base before ``BaseSensorOperator``: :meth:`next_poke_interval` has the last word."""

    def next_poke_interval(self, interval: float, run_duration: Callable[[], float]) -> float:
        """Return the seconds to wait before the next poke.

        :param interval: what Airflow would wait, in seconds.
        :param run_duration: returns the seconds since the first poke.
        """
        return interval

    def _get_next_poke_interval(
        self, started_at: datetime | float, run_duration: Callable[[], float], poke_count: int
    ) -> float:
        interval: float = super()._get_next_poke_interval(started_at, run_duration, poke_count)  # type: ignore[misc]
        return self.next_poke_interval(interval, run_duration)
