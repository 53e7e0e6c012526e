"""Finds where an Airflow counts the calls of an application: in a file of the host, or in Redis for all hosts."""

from __future__ import annotations

import logging
from functools import lru_cache

from airflow_provider_drchrono import compat
from airflow_provider_drchrono.client.quota import CallQuota
from airflow_provider_drchrono.client.quota.stores import (
    FileQuotaStore,
    MemoryQuotaStore,
    QuotaStorageError,
    QuotaStore,
    quota_key,
    shared_quota_store,
)
from airflow_provider_drchrono.client.settings import ClientSettings

log = logging.getLogger(__name__)


def quota_of(settings: ClientSettings, connection: str, *, reserve: int = 0) -> CallQuota | None:
    """Return the quota that all tasks, triggers and servers of this Airflow share.

    :param settings: the connection's; its ``quota_storage`` names a Redis that hosts share.
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
    try:
        return FileQuotaStore(compat.quota_folder(), quota_key(settings.client_id))
    except QuotaStorageError as error:
        log.warning(
            "%s. This process counts its calls alone, and may meet a 429; set quota_path in the section [drchrono] of "
            "Airflow's configuration to a folder that its processes can write, or quota_storage on the connection",
            error,
        )
        return MemoryQuotaStore()
