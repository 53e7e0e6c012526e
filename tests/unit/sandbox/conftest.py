from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from airflow_provider_drchrono.sandbox import Sandbox
from tests.unit.sandbox.support import Serve, client_of


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves a sandbox without quota and gives a client of it: ``serve(patients=5, bulk_polls=2)``."""
    running: list[tuple[Sandbox, httpx.Client]] = []

    def start(**options: Any) -> tuple[Sandbox, httpx.Client]:
        usual = {"patients": 5, "appointments_per_patient": 2, "quota_per_hour": None, "quota_per_second": None}
        sandbox = Sandbox(**(usual | options)).start()
        running.append((sandbox, client_of(sandbox)))
        return running[-1]

    yield start
    for sandbox, client in running:
        client.close()
        sandbox.stop()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A practice of 60 patients with 600 visits, without quota; tests of a module share it."""
    with Sandbox(patients=60, quota_per_hour=None, quota_per_second=None, bulk_polls=0) as running:
        yield running


@pytest.fixture(scope="module")
def api(sandbox: Sandbox) -> Iterator[httpx.Client]:
    with client_of(sandbox) as client:
        yield client
