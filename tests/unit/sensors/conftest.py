"""A sandbox, and a store of cursors in memory, for sensors that are polled by hand."""

from collections.abc import Iterator

import pytest

from airflow_provider_drchrono.incremental.cursor import MemoryCursorStore
from airflow_provider_drchrono.sandbox import Sandbox
from tests.support.running import connected_sandbox


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryCursorStore:
    kept = MemoryCursorStore()
    monkeypatch.setattr("airflow_provider_drchrono.state.cursor_store.VariableCursorStore", lambda: kept)
    return kept


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, store: MemoryCursorStore) -> Iterator[Sandbox]:
    with connected_sandbox(monkeypatch, patients=4, appointments_per_patient=3) as running:
        yield running
