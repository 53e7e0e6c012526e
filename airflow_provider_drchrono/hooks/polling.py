"""How sensors and triggers spend the quota: they leave calls to actions, and poll less often when calls run short."""

from __future__ import annotations

import logging

from airflow_provider_drchrono.hooks.drchrono import DrChronoHook

log = logging.getLogger(__name__)

RESERVED_SHARE = 5
"""Sensors and triggers leave this part of the hour's calls to actions: 5 stands for a fifth."""

WORTH_A_WORD = 1.0
"""Seconds. A poll that is put off by less than that is not logged."""


def polling_hook(drchrono_conn_id: str) -> DrChronoHook:
    """Return a hook that leaves a fifth of the connection's calls of each hour to others. It reads the connection.

    :raises ConfigurationError: the connection cannot work.
    """
    hook = DrChronoHook(drchrono_conn_id)
    hook.quota_reserve = (hook.settings.quota_per_hour or 0) // RESERVED_SHARE
    return hook


def next_interval(hook: DrChronoHook, poll_interval: float) -> float:
    """Return the seconds to wait after a poll: the interval, or more where calls run short. It blocks for a moment.

    Call it once after each poll: the call notes in the quota state that this poller polls again, and pollers share what
    is left. Where the quota state cannot be reached, the interval is returned.

    :param hook: of :func:`polling_hook`.
    :param poll_interval: seconds between two polls where calls are plenty.
    """
    from airflow_provider_drchrono.client import DrChronoError

    try:
        pace = hook.quota.pace(poll_interval) if hook.quota else None
    except DrChronoError as error:
        log.info("The pace of polling is not adapted to the quota. %s", error)
        return poll_interval
    if pace is None:
        return poll_interval
    if pace.seconds - poll_interval >= WORTH_A_WORD:
        log.info(
            "%s: %s calls are left for polling until %s UTC; next poll in %.0f seconds",
            hook.drchrono_conn_id,
            pace.left,
            pace.until.strftime("%H:%M"),
            pace.seconds,
        )
    return pace.seconds
