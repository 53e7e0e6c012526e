"""What the hosts of an Airflow share by themselves, and what is said where they should share more.

It matters wherever Airflow's executor may run tasks on several hosts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import TypeVar

from airflow_provider_drchrono import compat
from airflow_provider_drchrono.client.errors import ConfigurationError
from airflow_provider_drchrono.client.quota.state import QuotaState
from airflow_provider_drchrono.client.quota.stores import QuotaStorageError, QuotaStore, RedisQuotaStore, quota_key
from airflow_provider_drchrono.client.settings import ClientSettings

log = logging.getLogger(__name__)

ASK_AGAIN = 15.0
"""Seconds for which a Redis of Celery that did not answer is left alone: each question may wait five seconds."""

T = TypeVar("T")


def quota_problem(settings: ClientSettings) -> str | None:
    """Say what goes wrong if each host counts its calls alone, and what to do; None if they share the count.

    :param settings: the connection's.
    """
    executor = compat.executor_of_many_hosts()
    unlimited = settings.quota_per_hour is None and settings.quota_per_second is None
    if executor is None or unlimited or settings.quota_storage or _shared_redis():
        return None
    return (
        f"{executor} may run tasks on several hosts, and each host counts the calls alone, so that together they may "
        "make too many and meet a 429; name a Redis that all of them reach in quota_storage of the connection"
    )


def staging_problem(staging_path: str | None) -> str | None:
    """Say what goes wrong if each host keeps the pages of its syncs, and what to do; None if a place was chosen.

    :param staging_path: what a sync names itself.
    """
    executor = compat.executor_of_many_hosts()
    if executor is None or staging_path or compat.configured_staging():
        return None
    return (
        f"{executor} may run tasks on several hosts, and each host keeps the pages of its syncs on its own disk, so "
        "that a sync which another host takes over begins again; set staging_path in the section [drchrono] of "
        "Airflow's configuration to object storage, or to a folder that the hosts share"
    )


class CeleryQuotaStore:
    """The state in the Redis of Celery, which all workers reach.

    Nobody said that calls are to be counted there, and a task goes on when Celery loses its broker. So the call does,
    too: until the Redis answers again, the host counts alone, and a 429 tells what the others have spent.

    :param shared: the state in Redis.
    :param own: the state of this host.
    """

    def __init__(self, shared: QuotaStore, own: QuotaStore) -> None:
        self._shared = shared
        self._own = own
        self._ask_again_at = 0.0

    def update(self, change: Callable[[QuotaState, float], T]) -> T:
        """Hand out the state in Redis, or that of the host."""
        if time.monotonic() >= self._ask_again_at:
            try:
                return self._shared.update(change)
            except QuotaStorageError:
                self._ask_again_at = time.monotonic() + ASK_AGAIN
                log.warning(
                    "The Redis of [celery] broker_url, in which all hosts count their calls, cannot be reached; for "
                    "%d seconds this host counts alone, and may meet a 429",
                    ASK_AGAIN,
                )
        return self._own.update(change)


def celery_quota_store(settings: ClientSettings, own: QuotaStore) -> CeleryQuotaStore | None:
    """Return the state in Celery's Redis, or None where there is none that can be used.

    :param settings: the connection's.
    :param own: the state of this host, for the time in which the Redis is gone.
    """
    redis = _shared_redis()
    if redis is None:
        return None
    try:
        return CeleryQuotaStore(RedisQuotaStore(redis, quota_key(settings.client_id)), own)
    except ConfigurationError:
        log.warning(
            "The URL of [celery] broker_url is not understood here, so each host counts its calls alone; name the "
            "Redis in quota_storage of the connection"
        )
        return None


def _shared_redis() -> str | None:
    return compat.celery_redis() if find_spec("redis") else None
