"""Keeps the quota of the API application rather than running into it, together with all who share it."""

from __future__ import annotations

import random
import socket
from datetime import datetime
from typing import Protocol

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.client.quota.pace import PollPace, poll_pace
from airflow_provider_drchrono.client.quota.state import Limits, QuotaState, QuotaStatus, quota_status
from airflow_provider_drchrono.client.quota.stores import MemoryQuotaStore, QuotaStore


class Quota(Protocol):
    """Says whether a call may be sent, and counts what became of it. Both may block for a moment."""

    def acquire(self, call: str) -> float:
        """Take one call if there is one left.

        :param call: an id of the call; who asks again with the same one keeps the place in the queue.
        :return: 0 if it may be sent now; otherwise nothing was taken and this is how many seconds to wait before
            asking again.
        """

    def settle(
        self,
        call: str,
        *,
        sent: bool = True,
        server_time: datetime | None = None,
        refused_for: float | None = None,
    ) -> None:
        """Note how the call ended, or that nobody waits for it any more.

        :param sent: False if it cannot have reached the API.
        :param server_time: the API's clock, from its answer.
        :param refused_for: the seconds after which the API, having answered 429, takes calls again.
        """


class CallQuota:
    """A quota by the clock hour and one by the second, kept in a state that others may share.

    The hour is that of DrChrono's clock, and a 429 stops all who share the state, whatever they have counted.

    :param store: where the state is; with this object alone if not given.
    :param connection: what the calls are counted under.
    :param per_hour: calls in a clock hour. A number below the 500 that DrChrono grants an application is the
        connection's share of them; a larger one says that DrChrono has granted more. None means no limit.
    :param per_second: calls in any second; None means no limit.
    :param reserve: calls of the hour to leave to those who ask without a reserve. It is kept to the call.
    """

    def __init__(
        self,
        store: QuotaStore | None = None,
        *,
        connection: str = "",
        per_hour: int | None,
        per_second: int | None,
        reserve: int = 0,
    ) -> None:
        granted = load().service.calls_per_hour
        application = None if per_hour is None else max(per_hour, granted)
        self.connection = connection
        self.limits = Limits(application, per_hour, per_second, reserve)
        self._store = store or MemoryQuotaStore()
        self._whose = (connection, socket.gethostname())

    def acquire(self, call: str) -> float:
        """Take one call if all limits leave one, in the order in which they were asked for."""
        return self._store.update(lambda state, now: state.admit(call, self._whose, self.limits, now))

    def settle(
        self,
        call: str,
        *,
        sent: bool = True,
        server_time: datetime | None = None,
        refused_for: float | None = None,
    ) -> None:
        """Note how the call ended."""
        self._store.update(
            lambda state, now: state.settle(call, now, sent=sent, server_time=server_time, refused_for=refused_for)
        )

    def status(self) -> QuotaStatus:
        """Return how much is used and left."""
        return self._store.update(lambda state, now: quota_status(state, self.connection, self.limits, now))

    def reset(self) -> QuotaStatus:
        """Forget what all connections of the application have spent in this hour, and that DrChrono refused calls.

        DrChrono's own count goes on, and the next 429 is believed again.

        :return: what was believed before.
        """

        def forget(state: QuotaState, now: float) -> QuotaStatus:
            before = quota_status(state, self.connection, self.limits, now)
            state.forget(now)
            return before

        return self._store.update(forget)

    def pace(self, interval: float) -> PollPace:
        """Say when to poll again, and count the caller among those who poll until then.

        :param interval: seconds to wait where calls are plenty.
        """
        chance = random.random()  # noqa: S311 - it spreads calls, and keeps no secret
        return self._store.update(
            lambda state, now: poll_pace(state, self.connection, self.limits, now, interval=interval, chance=chance)
        )
