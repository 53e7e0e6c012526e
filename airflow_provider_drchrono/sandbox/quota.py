"""Counts the calls of each client: so many in a clock hour, so many in any second."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from airflow_provider_drchrono.sandbox.wire import Response, answer


@dataclass(slots=True)
class _Usage:
    hour: datetime | None = None
    calls: int = 0
    recent: deque[datetime] = field(default_factory=deque)


class Quota:
    """The budget that all users of one client id share.

    :param per_hour: calls in a clock hour, counted anew at the full hour; None for no limit.
    :param per_second: calls in any second; None for no limit.
    :param retry_after: say in a header, too, how many seconds to wait.
    """

    def __init__(self, per_hour: int | None, per_second: int | None, *, retry_after: bool = False) -> None:
        self.per_hour = per_hour
        self.per_second = per_second
        self.retry_after = retry_after
        self._usage: dict[str, _Usage] = {}

    def used(self, client_id: str, now: datetime) -> int:
        """Return how many calls the client has made in the current clock hour."""
        usage = self._usage.get(client_id)
        return usage.calls if usage and usage.hour == _hour(now) else 0

    def spend(self, client_id: str, now: datetime) -> Response | None:
        """Count one call, or return the 429 that refuses it. A refused call is not counted."""
        usage = self._usage.setdefault(client_id, _Usage())
        hour = _hour(now)
        if usage.hour != hour:
            usage.hour, usage.calls = hour, 0
        if self.per_hour is not None and usage.calls >= self.per_hour:
            return throttled((hour + timedelta(hours=1) - now).total_seconds(), retry_after=self.retry_after)
        if self.per_second is not None:
            while usage.recent and not 0 <= (now - usage.recent[0]).total_seconds() < 1:
                usage.recent.popleft()
            if len(usage.recent) >= self.per_second:
                return throttled(1, retry_after=self.retry_after)
            usage.recent.append(now)
        usage.calls += 1
        return None

    def reset(self) -> None:
        """Forget what was counted."""
        self._usage.clear()


def throttled(seconds: float, *, retry_after: bool) -> Response:
    """Return the vendor's 429 for a wait of so many seconds, rounded up."""
    wait = max(1, math.ceil(seconds))
    headers = {"retry-after": str(wait)} if retry_after else None
    return answer(429, {"detail": f"Request was throttled. Expected available in {wait} seconds."}, headers)


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
