from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.client import ClientSettings, MemoryTokenStore
from airflow_provider_drchrono.conformance.session import Session
from airflow_provider_drchrono.sandbox import Sandbox

START = datetime(2026, 3, 3, 18, 30, tzinfo=UTC)

TOUCHED = {"patients": "first_name", "appointments": "notes", "line_items": "procedure_type"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A practice of 300 patients whose clock stands still, and in which something has just changed."""
    with Sandbox(
        patients=300,
        appointments_per_patient=4,
        seed=7,
        tidy=True,
        start=START - timedelta(seconds=90),
        frozen=True,
        quota_per_hour=None,
        quota_per_second=None,
    ) as running:
        for resource, name in TOUCHED.items():
            record = next(iter(running.practice.records(resource)))
            running.practice.change(resource, record["id"], {name: record.get(name)})
        running.clock.set(START)
        yield running


@pytest.fixture(scope="module")
def untidy() -> Iterator[Sandbox]:
    """A practice as practices are."""
    with Sandbox(patients=60, appointments_per_patient=4, quota_per_hour=None, quota_per_second=None) as running:
        yield running


@pytest.fixture
def connect(sandbox: Sandbox) -> Iterator[Callable[..., Session]]:
    """Makes a session of a grant of its own: ``connect(scopes=("user:read",), sleep=...)``."""
    sessions: list[Session] = []

    def make(
        scopes: tuple[str, ...] = (), sleep: Callable[[float], None] = lambda seconds: None, **more: Any
    ) -> Session:
        settings = settings_of(sandbox, scopes)
        sessions.append(Session(settings, load(), token_store=MemoryTokenStore(), sleep=sleep, **more))
        return sessions[-1]

    yield make
    for each in sessions:
        each.close()


def settings_of(sandbox: Sandbox, scopes: tuple[str, ...] = ()) -> ClientSettings:
    """Return the settings of a grant of its own."""
    return ClientSettings(
        base_url=sandbox.url,
        client_id=sandbox.client_id,
        client_secret=sandbox.client_secret,
        refresh_token=sandbox.new_refresh_token(*scopes),
        quota_per_hour=None,
        quota_per_second=None,
    )
