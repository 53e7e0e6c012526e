"""Many days of a practice, synced into a SQLite file: the table and its history have to be true each day."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.state import lease as variable_lease
from tests.airflow.warehouse_simulation import Simulation

pytestmark = pytest.mark.airflow

DAYS, PATIENTS = (100, 40) if os.environ.get("THOROUGH_TESTS") else (6, 12)
SEED = int(os.environ.get("SIMULATION_SEED", "1"))


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A practice whose clock crosses a change of the wall clock in a hundred days."""
    start = datetime(2026, 1, 15, 12, tzinfo=UTC)
    options: dict[str, Any] = {"quota_per_hour": None, "quota_per_second": None, "missing_scope": "empty"}
    with Sandbox(
        patients=PATIENTS, appointments_per_patient=2, start=start, frozen=True, order="updated_at", **options
    ) as sandbox:
        yield sandbox


def test_tables_and_histories_are_true_each_day(
    airflow_db: Path, tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"SIMULATION_SEED={SEED}")
    monkeypatch.setattr(variable_lease, "Timing", partial(variable_lease.Timing, write_limit=30.0, settle=0.0))
    monkeypatch.setenv("AIRFLOW__DRCHRONO__STAGING_PATH", str(tmp_path / "staging"))
    warehouse = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_WAREHOUSE", json.dumps(warehouse))

    def connect(refresh_token: str | None) -> None:
        connection = json.loads(sandbox.connection_json())
        connection["extra"] |= {"refresh_token": refresh_token} if refresh_token else {}
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", json.dumps(connection))

    def fetch(query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(tmp_path / "warehouse.db")) as connection:
            return connection.execute(query).fetchall()

    connect(None)
    simulation = Simulation(sandbox, fetch, monkeypatch, connect, SEED)

    simulation.run(DAYS)

    expected = ("backdated", "moved", "removed", "flagged", "killed", "quota", "omitted", "scopes")
    assert [each for each in expected if not simulation.happened[each]] == []
