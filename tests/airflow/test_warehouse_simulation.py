"""Many days of a practice, synced into a SQLite file: the table and its history have to be true each day."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.airflow.warehouse_simulation import simulate

pytestmark = pytest.mark.airflow


def test_tables_and_histories_are_true_each_day(
    airflow_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "warehouse.db"

    def fetch(query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute(query).fetchall()

    simulate({"conn_type": "sqlite", "host": str(path)}, fetch, tmp_path, monkeypatch)
