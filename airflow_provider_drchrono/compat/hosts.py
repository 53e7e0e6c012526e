"""What Airflow's configuration says about hosts: whether tasks may run on several, and what all of them reach."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from airflow.sdk import conf

OF_ONE_HOST = ("LocalExecutor", "SequentialExecutor", "DebugExecutor")

EXECUTOR = re.compile(r"(\w+)\s*(?=[,;]|$)")
"""The last part of each name in a list: modules, aliases and teams may stand before it."""


def executor_of_many_hosts() -> str | None:
    """Return the executor that may run tasks on several hosts, or None if all tasks run beside the scheduler."""
    names = EXECUTOR.findall(conf.get("core", "executor", fallback=""))
    return next((name for name in names if name not in OF_ONE_HOST), None)


def celery_redis() -> str | None:
    """Return the URL, perhaps with a password, of the Redis that Celery's workers take their tasks from; None if none.

    The setting counts only where Celery runs tasks: it has a default wherever Celery's provider is installed.
    """
    if "Celery" not in conf.get("core", "executor", fallback=""):
        return None
    url = str(conf.get("celery", "broker_url", fallback="") or "").strip()
    # Celery also takes a list of brokers, of which the one in use is not known here.
    return url if urlsplit(url).scheme in ("redis", "rediss") and ";" not in url else None
