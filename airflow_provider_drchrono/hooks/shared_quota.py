"""Finds where an Airflow counts the calls of an application: in a file of the host, or in Redis for all hosts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from airflow_provider_drchrono import compat
from airflow_provider_drchrono.client.errors import ConfigurationError
from airflow_provider_drchrono.client.quota import CallQuota
from airflow_provider_drchrono.client.quota.state import QuotaState
from airflow_provider_drchrono.client.quota.stores import (
    FileQuotaStore,
    MemoryQuotaStore,
    QuotaStorageError,
    QuotaStore,
    RedisQuotaStore,
    quota_key,
    shared_quota_store,
)
from airflow_provider_drchrono.client.settings import ClientSettings
from airflow_provider_drchrono.hooks.many_hosts import quota_problem, shared_redis

log = logging.getLogger(__name__)

ASK_AGAIN = 15.0
"""Seconds for which a Redis of Celery that did not answer is left alone: each question may wait five seconds."""

T = TypeVar("T")


def quota_of(settings: ClientSettings, connection: str, *, reserve: int = 0) -> CallQuota | None:
    """Return the quota that all tasks, triggers and servers of this Airflow share.

    :param settings: the connection's; its ``quota_storage`` names a Redis that hosts share. Where it names none,
        Celery's is taken, if there is one.
    :param connection: id of the connection, under which its calls are counted.
    :param reserve: calls of each clock hour to leave to others.
    :return: the quota, or None where the connection has no limit.
    :raises ConfigurationError: the Redis library is not installed.
    """
    if settings.quota_per_hour is None and settings.quota_per_second is None:
        return None
    return CallQuota(
        quota_store_of(settings),
        connection=connection,
        per_hour=settings.quota_per_hour,
        per_second=settings.quota_per_second,
        reserve=reserve,
    )


# One for each connection of a process: the hooks of a task share a connection to Redis, and a count in memory too.
@lru_cache(maxsize=64)
def quota_store_of(settings: ClientSettings) -> QuotaStore:
    """Return where the calls of a connection's application are counted."""
    if shared := shared_quota_store(settings):
        return shared
    own = _store_of_host(settings)
    if redis := shared_redis():
        try:
            return CeleryQuotaStore(RedisQuotaStore(redis, quota_key(settings.client_id)), own)
        except ConfigurationError:
            log.warning(
                "The URL of [celery] broker_url is not understood here, so each host counts its calls alone; name the "
                "Redis in quota_storage of the connection"
            )
    if problem := quota_problem(settings):
        log.warning("%s", problem)
    return own


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


def _store_of_host(settings: ClientSettings) -> QuotaStore:
    try:
        return FileQuotaStore(compat.quota_folder(), quota_key(settings.client_id))
    except QuotaStorageError as error:
        log.warning(
            "%s. This process counts its calls alone, and may meet a 429; set quota_path in the section [drchrono] of "
            "Airflow's configuration to a folder that its processes can write, or quota_storage on the connection",
            error,
        )
        return MemoryQuotaStore()
