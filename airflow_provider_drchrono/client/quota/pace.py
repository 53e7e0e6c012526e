"""Decides when a poll is made again, so that the calls of a short hour last until it ends.

A poller that keeps to its interval whatever is left burns the hour's calls early, and then sees nothing until the next
hour. How long it has to wait instead depends on how much all pollers together want, which none of them knows. So each
leaves word in the application's state until when it waits and how often it wants to poll; together that is the demand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from airflow_provider_drchrono.client.quota.state import HOUR, SHORTEST_WAIT, Limits, QuotaState, quota_status


@dataclass(frozen=True, slots=True)
class Budget:
    """What a limit leaves to those who poll under it.

    :param left: calls that they may still make in this clock hour.
    :param hourly: calls that they may make in a whole one.
    :param demand: calls a second that they would make at the intervals they were given.
    """

    left: float
    hourly: float
    demand: float


@dataclass(frozen=True, slots=True)
class PollPace:
    """How soon to poll again.

    :param seconds: the wait until then, never less than the interval that was asked for.
    :param left: calls that are left for polling in this hour; None means no limit.
    :param until: when the next hour begins, aware, in UTC.
    """

    seconds: float
    left: int | None
    until: datetime


def next_poll(
    interval: float, budgets: Sequence[Budget], resets_in: float, *, refused_for: float = 0.0, chance: float
) -> float:
    """Return the seconds until the next poll.

    As long as what is left covers the demand for the rest of the hour, that is the interval. Otherwise all intervals
    grow by the same factor, by which the demand just fits into what is left. A wait that goes on into the next hour
    counts from then on at that hour's factor, so that pollers stay spread as they are instead of all beginning the
    hour. Where nothing is left, a random part of the interval is added to the wait.

    :param interval: seconds that the poller would wait if calls were plenty.
    :param budgets: of all limits that it has to keep; none means that nothing is limited.
    :param resets_in: seconds until the next clock hour.
    :param refused_for: seconds for which the API takes no calls at all.
    :param chance: a random number from 0 to 1.
    """
    factor = max([1.0, *(each.demand * resets_in / each.left for each in budgets if each.left > 0)])
    next_factor = max([1.0, *(each.demand * HOUR / max(each.hourly, 1.0) for each in budgets)])
    spent = any(each.left <= 0 for each in budgets)
    shut = max(refused_for, resets_in if spent else 0.0)
    if shut > 0:
        return max(interval, shut + chance * interval * next_factor)
    wait = interval * factor
    if wait > resets_in:
        wait = resets_in + (1 - resets_in / wait) * interval * next_factor
    return max(wait, interval)


def poll_pace(
    state: QuotaState, connection: str, limits: Limits, now: float, *, interval: float, chance: float
) -> PollPace:
    """Return the pace of one who has just polled, and note in the state that it polls again.

    :param connection: what its calls are counted under.
    :param limits: what it may spend; polls leave the reserve to others.
    :param interval: seconds that it would wait if calls were plenty.
    :param chance: a random number from 0 to 1.
    """
    interval = max(interval, SHORTEST_WAIT)
    status = quota_status(state, connection, limits, now)
    polls = [*state.polls, (connection, now, interval)]
    budgets = [
        Budget(limit - used - limits.reserve, limit - limits.reserve, sum(1 / each for each in intervals))
        for limit, used, intervals in (
            (limits.application, state.total, [each for _, _, each in polls]),
            (limits.share, state.of(connection), [each for name, _, each in polls if name == connection]),
        )
        if limit is not None
    ]
    refused_for = max(0.0, state.refused_until - now)
    seconds = next_poll(interval, budgets, state.hour_left(now), refused_for=refused_for, chance=chance)
    if budgets:
        state.polls.append((connection, now + seconds, interval))
    return PollPace(seconds, status.left, status.resets_at)
