"""Says what the hosts of an Airflow should share and do not, wherever its executor may use several."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from airflow_provider_drchrono import compat

if TYPE_CHECKING:
    from airflow_provider_drchrono.client.settings import ClientSettings


def shared_redis() -> str | None:
    """Return the Redis that all hosts reach without being told so: Celery's, if there is one and it can be used."""
    return compat.celery_redis() if find_spec("redis") else None


def quota_problem(settings: ClientSettings) -> str | None:
    """Say what goes wrong if each host counts its calls alone, and what to do; None if they share the count.

    :param settings: the connection's.
    """
    executor = compat.executor_of_many_hosts()
    unlimited = settings.quota_per_hour is None and settings.quota_per_second is None
    if executor is None or unlimited or settings.quota_storage or shared_redis():
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
