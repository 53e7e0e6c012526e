"""How sensors and triggers use the quota: they leave calls to other tasks, and poll less often when calls run short."""

from __future__ import annotations

import logging

from airflow_provider_drchrono.hooks.drchrono import DrChronoHook

log = logging.getLogger(__name__)

RESERVED_SHARE = 5
"""Sensors and triggers leave one in so many of the hour's calls to other tasks."""

LOGGED_DELAY = 1.0
"""Seconds; a poll that is later than asked for by less is not logged."""


def polling_hook(drchrono_conn_id: str) -> DrChronoHook:
    """Return a hook that leaves a fifth of the connection's calls of each hour to others. It reads the connection.

    :raises ConfigurationError: the connection cannot work.
    """
    hook = DrChronoHook(drchrono_conn_id)
    hook.quota_reserve = (hook.settings.quota_per_hour or 0) // RESERVED_SHARE
    return hook


def next_interval(hook: DrChronoHook, poll_interval: float) -> float:
    """Return the seconds to wait after a poll: the interval, or more where calls run short. It blocks for a moment.

    Call it once after each poll: the caller is counted among those who share the calls that are left, until its next
    poll. Where the count of the calls cannot be reached, it is the interval.

    :param hook: of :func:`polling_hook`.
    :param poll_interval: seconds between two polls while there are enough calls.
    """
    from airflow_provider_drchrono.client import DrChronoError

    try:
        pace = hook.quota.pace(poll_interval) if hook.quota else None
    except DrChronoError as error:
        log.info("The pace of polling is not adapted to the quota. %s", error)
        return poll_interval
    if pace is None:
        return poll_interval
    if pace.seconds - poll_interval >= LOGGED_DELAY:
        log.info(
            "%s: %s calls are left for polling until %s UTC; next poll in %.0f seconds",
            hook.drchrono_conn_id,
            pace.left,
            pace.until.strftime("%H:%M"),
            pace.seconds,
        )
    return pace.seconds
