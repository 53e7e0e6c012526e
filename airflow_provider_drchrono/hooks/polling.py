"""The hook of what can wait: it stops calling while there still are calls left for those who cannot."""

from __future__ import annotations

from airflow_provider_drchrono.hooks.drchrono import DrChronoHook

RESERVED_SHARE = 5
"""Sensors and triggers leave one in so many of the hour's calls to actions."""


def polling_hook(drchrono_conn_id: str) -> DrChronoHook:
    """Return a hook that leaves a fifth of the connection's calls of each hour to others. It reads the connection.

    :raises ConfigurationError: the connection cannot work.
    """
    hook = DrChronoHook(drchrono_conn_id)
    hook.quota_reserve = (hook.settings.quota_per_hour or 0) // RESERVED_SHARE
    return hook
