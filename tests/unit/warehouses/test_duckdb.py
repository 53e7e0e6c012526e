"""DuckDB files as warehouses."""

import json
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.catalog import load as load_catalog
from airflow_provider_drchrono.warehouses import duckdb as duckdb_module
from airflow_provider_drchrono.warehouses.base import WarehouseError
from airflow_provider_drchrono.warehouses.registry import open_warehouse
from airflow_provider_drchrono.warehouses.table import table_for
from tests.unit.warehouses.conformance import TABLE, Fetch, WarehouseConformance, load, visit
from tests.unit.warehouses.conformance_deletions import DeletionsConformance, HistoryConformance
from tests.unit.warehouses.conformance_privacy import MaskedTablesConformance
from tests.unit.warehouses.reading import executing, fetching


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


@pytest.fixture
def conn_id(database: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    connect(monkeypatch, database)
    return "warehouse"


def connect(monkeypatch: pytest.MonkeyPatch, database: Path | str, **extra: Any) -> None:
    connection = {"conn_type": "duckdb", "host": str(database), "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))


def opened(conn_id: str) -> Any:
    """The provider's own connection: a process opens a file with one configuration only."""
    from airflow.providers.duckdb.hooks.duckdb import DuckDBHook

    connection = DuckDBHook(duckdb_conn_id=conn_id).get_conn()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


@pytest.fixture
def fetch(conn_id: str) -> Fetch:
    return fetching(lambda: opened(conn_id))


@pytest.fixture
def execute(conn_id: str) -> Callable[[str], None]:
    # A statement is a transaction of its own.
    return executing(lambda: opened(conn_id))


class TestConformance(WarehouseConformance):
    pass


class TestDeletions(DeletionsConformance):
    pass


class TestHistory(HistoryConformance):
    pass


class TestPrivacy(MaskedTablesConformance):
    pass


def test_the_file_is_its_owners_alone(conn_id: str, database: Path) -> None:
    with closing(open_warehouse(conn_id)) as warehouse:
        warehouse.prepare(TABLE)

    assert stat.S_IMODE(database.stat().st_mode) == 0o600


def test_a_connection_without_a_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, "")

    with pytest.raises(WarehouseError, match="names no file, so the tables would be gone") as found:
        open_warehouse("warehouse")
    assert not found.value.transient


@pytest.mark.parametrize("content", [b"this is a text and no database " * 500, None], ids=["a text", "no folder"])
def test_a_file_that_is_no_database(
    content: bytes | None, database: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "missing" / "warehouse.duckdb" if content is None else database
    if content is not None:
        path.write_bytes(content)
    connect(monkeypatch, path)

    with pytest.raises(WarehouseError, match=r"\(DuckDB\): the file cannot be opened; check the path") as found:
        open_warehouse("warehouse")
    assert not found.value.transient


HOLDER = """
import sys, time, duckdb
connection = duckdb.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def holder(database: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the file open until it is told to end."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
        process.kill()


def test_processes_take_turns(conn_id: str, holder: subprocess.Popen[str], fetch: Fetch) -> None:
    assert holder.stdin is not None
    threading.Timer(0.5, holder.stdin.close).start()
    with closing(open_warehouse(conn_id)) as warehouse:
        warehouse.prepare(TABLE)
        load(warehouse, [visit("1")])

    assert fetch("SELECT id FROM visits") == [("1",)]


def test_a_file_that_stays_open_elsewhere_is_worth_another_try(
    conn_id: str, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duckdb_module, "_LONGEST_WAIT", 0.3)

    with pytest.raises(WarehouseError, match="another process has it open; let that one finish") as found:
        open_warehouse(conn_id)
    assert found.value.transient


def test_rows_stay_in_the_order_in_which_they_came_beyond_one_statement(
    conn_id: str, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duckdb_module, "_ROWS_AT_ONCE", 7)
    records = [visit(str(number % 30), note=f"version {number}") for number in range(100)]
    with closing(open_warehouse(conn_id)) as warehouse:
        warehouse.prepare(TABLE)
        counts = load(warehouse, records)

    assert (counts.read, counts.new) == (100, 30)
    last = {str(number % 30): f"version {number}" for number in range(100)}
    assert dict(fetch("SELECT id, note FROM visits")) == last


def test_each_column_says_what_it_holds(conn_id: str, fetch: Fetch) -> None:
    catalog = load_catalog()
    table = table_for(catalog, catalog.resource("patients"), name="patients", schema=None, verbose=True)
    with closing(open_warehouse(conn_id)) as warehouse:
        warehouse.prepare(table)

    found = fetch("SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'patients'")
    about = {each.name: each.about for each in table.all_columns if each.about}
    assert {name: text for name, text in found if name in about} == about


def test_without_the_provider_it_says_what_to_install(conn_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "airflow.providers.duckdb.hooks.duckdb", None)

    with pytest.raises(WarehouseError, match=r"install airflow-provider-drchrono\[duckdb\]"):
        open_warehouse(conn_id)
