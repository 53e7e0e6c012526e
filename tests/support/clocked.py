"""A sandbox with DrChrono's quota on a clock that is set, by which the provider's own count of the calls goes, too."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_provider_drchrono.hooks import connection as quota
from airflow_provider_drchrono.sandbox import Sandbox
from tests.support.running import connected_sandbox, unlimited

START = datetime(2026, 1, 15, 9, tzinfo=UTC)
"""The clock's first reading, at the beginning of an hour."""


@contextmanager
def clocked_sandbox(patch: pytest.MonkeyPatch, airflow_home: Path) -> Iterator[Sandbox]:
    """Serve a sandbox that grants 500 calls an hour; whoever waits for a place of a second sets the clock forward.

    :param airflow_home: where calls are counted.
    """
    patch.setenv("AIRFLOW_HOME", str(airflow_home))
    quota.quota_store_of.cache_clear()
    limits = {"quota_per_hour": 500, "quota_per_second": 10}
    with connected_sandbox(patch, start=START, frozen=True, patients=1, **limits) as sandbox:
        connection = unlimited(sandbox, quota_per_hour=500, quota_per_second=9)
        patch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", connection)
        clock = SimpleNamespace(time=lambda: sandbox.clock.now().timestamp(), sleep=sandbox.clock.advance)
        patch.setattr("airflow_provider_drchrono.client.quota.stores.time", clock)
        patch.setattr("airflow_provider_drchrono.client.synchronous.time", clock)
        yield sandbox
    quota.quota_store_of.cache_clear()
