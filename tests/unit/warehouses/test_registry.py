"""Warehouses of this package and of others, found by the type of a connection."""

from __future__ import annotations

import importlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_provider_drchrono.warehouses.base import WarehouseError
from airflow_provider_drchrono.warehouses.registry import GROUP, open_warehouse, warehouse_types
from tests.unit.warehouses.conformance import Fetch, WarehouseConformance
from tests.unit.warehouses.conformance_deletions import DeletionsConformance, HistoryConformance
from tests.unit.warehouses.conformance_privacy import MaskedTablesConformance
from tests.unit.warehouses.reading import executing, fetching

# A warehouse as somebody else would write one: a file of SQLite under another connection type.
FOREIGN = """
import sqlite3
from contextlib import contextmanager

from airflow_provider_drchrono.compat import BaseHook
from airflow_provider_drchrono.warehouses import sql
from airflow_provider_drchrono.warehouses.base import Capabilities, WarehouseError
from airflow_provider_drchrono.warehouses.sql_warehouse import SqlWarehouse


class LiteWarehouse(SqlWarehouse):
    capabilities = Capabilities(
        types={
            "text": "TEXT", "integer": "INTEGER", "decimal": "NUMERIC", "boolean": "BOOLEAN", "date": "DATE",
            "time": "TIME", "timestamp": "TIMESTAMP", "json": "TEXT", "instant": "TIMESTAMP",
        },
        placeholder="?", longest_name=63, schemas=False, greatest="max", differs="IS NOT", casts=False,
    )

    def __init__(self, name):
        super().__init__(name)
        path = BaseHook.get_connection(name).host
        self._connection = sqlite3.connect(path, timeout=60, isolation_level=None)

    def run(self, statement, values=()):
        return self._connection.execute(statement, values).rowcount

    def rows(self, query, values=()):
        return self._connection.execute(query, values).fetchall()

    def row(self, query, values=()):
        return self._connection.execute(query, values).fetchone()

    def close(self):
        self._connection.close()

    def _columns(self, session, schema, name):
        return [(each[1], each[2], bool(each[5])) for each in self.rows(f'PRAGMA table_info("{name}")')]

    def _fill_stage(self, session, table, rows, *, indexed):
        columns = table.all_columns
        self.run(f'DROP TABLE IF EXISTS temp."{sql.STAGE}"')
        self.run(sql.create_stage(columns, self.capabilities, "INTEGER PRIMARY KEY", ""))
        marks = ", ".join("?" * len(columns))
        statement = f'INSERT INTO temp."{sql.STAGE}" ({sql.name_list(columns)}) VALUES ({marks})'
        return self._connection.executemany(statement, rows).rowcount

    @contextmanager
    def _transaction(self, *, writes):
        self.run("BEGIN IMMEDIATE" if writes else "BEGIN")
        try:
            yield self
        except BaseException:
            self._connection.rollback()
            raise
        self._connection.commit()

    @contextmanager
    def _explained(self, purpose):
        try:
            yield
        except sqlite3.IntegrityError:
            raise WarehouseError("a constraint of the table refuses the rows", transient=False) from None
        except (sqlite3.Error, OverflowError):
            raise WarehouseError(
                f"Could not {purpose} in {self.name}: check the connection and the table", transient=False
            ) from None
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Puts a package that offers warehouses on the path, as an installation does."""
    modules: list[str] = []

    def put(name: str, source: str, **offers: str) -> None:
        folder = tmp_path / name
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / f"{name}.py").write_text(source)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{conn_type} = {value}" for conn_type, value in offers.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]) + "\n")
        monkeypatch.syspath_prepend(str(folder))
        importlib.invalidate_caches()
        modules.append(name)

    yield put
    for name in modules:
        sys.modules.pop(name, None)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.lite"


@pytest.fixture
def conn_id(install: Callable[..., None], database: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    install("lite_warehouse", FOREIGN, lite="lite_warehouse:LiteWarehouse")
    connect(monkeypatch, "lite", str(database))
    return "warehouse"


def connect(monkeypatch: pytest.MonkeyPatch, conn_type: str, host: str = "") -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": conn_type, "host": host}))


@pytest.fixture
def fetch(database: Path) -> Fetch:
    return fetching(lambda: sqlite3.connect(database))


@pytest.fixture
def execute(database: Path) -> Callable[[str], None]:
    return executing(lambda: sqlite3.connect(database))


class TestConformanceOfAForeignOne(WarehouseConformance):
    pass


class TestDeletionsOfAForeignOne(DeletionsConformance):
    pass


class TestHistoryOfAForeignOne(HistoryConformance):
    pass


class TestPrivacyOfAForeignOne(MaskedTablesConformance):
    pass


def test_the_packages_own_are_registered_like_others(install: Callable[..., None]) -> None:
    install("lite_warehouse", FOREIGN, lite="lite_warehouse:LiteWarehouse")

    assert warehouse_types() == ["duckdb", "lite", "postgres", "sqlite"]


@pytest.mark.parametrize(
    ("source", "value", "told"),
    [
        ("raise RuntimeError('half installed')", "broken:It", "cannot be imported from broken: RuntimeError"),
        ("", "broken:It", "cannot be imported from broken: AttributeError"),
        ("class It: pass", "broken:It", "is no warehouse: broken:It has to be a class derived from"),
    ],
)
def test_a_broken_package_breaks_its_own_type_only(
    source: str,
    value: str,
    told: str,
    install: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    install("broken", source, broken=value)
    connect(monkeypatch, "broken")
    with pytest.raises(WarehouseError, match=told) as found:
        open_warehouse("warehouse")
    assert not found.value.transient

    connect(monkeypatch, "sqlite", str(tmp_path / "warehouse.db"))
    open_warehouse("warehouse").close()


def test_two_packages_for_one_type_are_refused(install: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    install("one", FOREIGN, lite="one:LiteWarehouse")
    install("other", FOREIGN, lite="other:LiteWarehouse")
    connect(monkeypatch, "lite")

    with pytest.raises(WarehouseError, match=r"Several packages offer a warehouse .* lite: one, other; uninstall"):
        open_warehouse("warehouse")


LOADED = """
import json, sys
from airflow_provider_drchrono.transfers.drchrono_to_warehouse import DrChronoToWarehouseOperator
from airflow_provider_drchrono.warehouses.registry import open_warehouse
DrChronoToWarehouseOperator(task_id="sync", resource="patients", warehouse_conn_id="warehouse")
open_warehouse("warehouse").close()
print(json.dumps([name for name in ("duckdb", "psycopg", "psycopg2", "pyarrow") if name in sys.modules]))
"""


def test_a_dag_that_uses_sqlite_loads_no_other_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    connect(monkeypatch, "sqlite", str(tmp_path / "warehouse.db"))

    process = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)

    assert json.loads(process.stdout.splitlines()[-1]) == []
