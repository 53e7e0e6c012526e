"""The many days of ``tests/airflow/test_warehouse_simulation.py`` in the other databases."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.airflow.warehouse_simulation import simulate


def test_tables_and_histories_are_true_each_day_in_postgresql(
    airflow_db: Path, tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg2

    def fetch(query: str) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(postgres_url)) as connection, connection.cursor() as cursor:
            cursor.execute("SET TimeZone = 'UTC'")
            cursor.execute(query)
            return cursor.fetchall()

    simulate(postgres_url, fetch, tmp_path, monkeypatch)


def test_tables_and_histories_are_true_each_day_in_duckdb(
    airflow_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import duckdb

    path = tmp_path / "warehouse.duckdb"

    def fetch(query: str) -> list[tuple[Any, ...]]:
        with closing(duckdb.connect(path)) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(query).fetchall()

    simulate({"conn_type": "duckdb", "host": str(path)}, fetch, tmp_path, monkeypatch)
