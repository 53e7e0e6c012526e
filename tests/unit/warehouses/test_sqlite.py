"""SQLite files as warehouses."""

import json
import os
import resource
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.warehouses import sqlite as sqlite_module
from airflow_provider_drchrono.warehouses.base import WarehouseError
from airflow_provider_drchrono.warehouses.registry import open_warehouse
from tests.unit.warehouses.conformance import LATER, TABLE, Fetch, WarehouseConformance, load, visit
from tests.unit.warehouses.conformance_deletions import DeletionsConformance, HistoryConformance
from tests.unit.warehouses.conformance_privacy import MaskedTablesConformance
from tests.unit.warehouses.reading import executing, fetching


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.db"


@pytest.fixture
def conn_id(database: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    connect(monkeypatch, database)
    return "warehouse"


def connect(monkeypatch: pytest.MonkeyPatch, database: Path, **extra: Any) -> None:
    connection = {"conn_type": "sqlite", "host": str(database), "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))


@pytest.fixture
def fetch(database: Path) -> Fetch:
    return fetching(lambda: sqlite3.connect(database))


@pytest.fixture
def execute(database: Path) -> Callable[[str], None]:
    return executing(lambda: sqlite3.connect(database))


class TestConformance(WarehouseConformance):
    pass


class TestDeletions(DeletionsConformance):
    pass


class TestHistory(HistoryConformance):
    pass


class TestMaskedTables(MaskedTablesConformance):
    pass


def test_only_its_owner_reads_a_new_file(conn_id: str, database: Path) -> None:
    before = os.umask(0o022)
    try:
        with closing(open_warehouse(conn_id)) as warehouse:
            warehouse.prepare(TABLE)
            load(warehouse, [visit("1")])
            assert {stat.S_IMODE(path.stat().st_mode) for path in database.parent.iterdir()} == {0o600}
    finally:
        os.umask(before)


def test_a_file_that_is_in_use_keeps_its_permissions(conn_id: str, database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE other (id INTEGER)")
    database.chmod(0o640)

    open_warehouse(conn_id).close()

    assert stat.S_IMODE(database.stat().st_mode) == 0o640


def test_readers_do_not_wait_for_a_load(conn_id: str, database: Path) -> None:
    with closing(open_warehouse(conn_id)) as warehouse, closing(sqlite3.connect(database, timeout=0)) as reader:
        warehouse.prepare(TABLE)
        load(warehouse, [visit("1")])
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM visits").fetchone() == (1,)

        load(warehouse, [visit("2")])

        assert reader.execute("SELECT count(*) FROM visits").fetchone() == (1,)


@pytest.mark.parametrize("paid", ["1234567890123.45", "999999999999999", "0.00000000000001", "-100.10"])
def test_decimals_come_back_exactly(conn_id: str, fetch: Fetch, paid: str) -> None:
    with closing(open_warehouse(conn_id)) as warehouse:
        warehouse.prepare(TABLE)
        load(warehouse, [visit("1", paid=paid)])

    ((stored,),) = fetch("SELECT paid FROM visits")
    assert Decimal(repr(stored)) == Decimal(paid)


HOLD_THE_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
"""


def test_writers_take_turns_and_give_up_in_the_end(
    conn_id: str, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(open_warehouse(conn_id)) as warehouse:
        warehouse.prepare(TABLE)
    monkeypatch.setattr(sqlite_module, "_BUSY_TIMEOUT", 100)
    with (
        closing(open_warehouse(conn_id)) as warehouse,
        subprocess.Popen(
            [sys.executable, "-c", HOLD_THE_LOCK, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other,
    ):
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"

        with pytest.raises(
            WarehouseError, match=r"write table visits in warehouse .*: it is locked by another"
        ) as found:
            load(warehouse, [visit("1")])
        other.communicate("done\n")

        assert found.value.transient
        assert load(warehouse, [visit("1")]).new == 1


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        pytest.param(
            lambda path: path.with_name("nowhere") / "warehouse.db",
            "Could not connect to the database in warehouse (SQLite): the file cannot be opened; check the path",
            id="missing folder",
        ),
        pytest.param(
            lambda path: (path.write_text("Dear diary, " * 200), path)[1],
            "(SQLite): the file is not a SQLite database; name another file in the connection",
            id="another kind of file",
        ),
    ],
)
def test_a_file_that_cannot_be_opened(
    database: Path, monkeypatch: pytest.MonkeyPatch, prepare: Callable[[Path], Path], message: str
) -> None:
    connect(monkeypatch, prepare(database))

    with pytest.raises(WarehouseError) as found:
        open_warehouse("warehouse")

    assert message in str(found.value)
    assert not found.value.transient


def test_a_file_that_is_damaged_is_no_passing_failure(conn_id: str, database: Path) -> None:
    with closing(open_warehouse(conn_id)) as warehouse:
        warehouse.prepare(TABLE)
        load(warehouse, [visit("1")])
    content = bytearray(database.read_bytes())
    with closing(sqlite3.connect(database)) as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'visits'").fetchone()
    content[(page - 1) * size : page * size] = b"\xff" * size
    database.write_bytes(content)

    with closing(open_warehouse(conn_id)) as warehouse, pytest.raises(WarehouseError) as found:
        load(warehouse, [visit("2")])

    assert "the file is damaged; restore it, or name another file in the connection" in str(found.value)
    assert not found.value.transient


def test_a_file_that_is_full_can_be_tried_again(conn_id: str, execute: Callable[[str], None], fetch: Fetch) -> None:
    # A table that has given out its last number is full in the same words as a disk.
    execute("CREATE TABLE log (number INTEGER PRIMARY KEY AUTOINCREMENT)")
    execute(f"INSERT INTO log VALUES ({2**63 - 1})")
    with closing(open_warehouse(conn_id)) as warehouse:
        warehouse.prepare(TABLE)
        execute("CREATE TRIGGER log_it AFTER INSERT ON visits BEGIN INSERT INTO log VALUES (NULL); END")

        with pytest.raises(WarehouseError, match="the disk is full; make room, then try again") as found:
            load(warehouse, [visit("1")])

        assert found.value.transient
        assert fetch("SELECT count(*) FROM visits") == [(0,)]


def test_a_disk_that_takes_no_more_can_be_tried_again(conn_id: str, database: Path, fetch: Fetch) -> None:
    picture = "x" * 2_000_000
    with closing(open_warehouse(conn_id)) as warehouse:
        warehouse.prepare(TABLE)
        load(warehouse, [visit("1")])
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
        try:
            with pytest.raises(WarehouseError, match=r"then try again$") as found:
                load(warehouse, [visit("1", "changed"), visit("2", picture)], at=LATER)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert found.value.transient
        assert fetch("SELECT id, note FROM visits") == [("1", "")]

        assert load(warehouse, [visit("1", "changed"), visit("2", picture)], at=LATER).in_table == 2


def test_a_file_that_is_read_only(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE other (id INTEGER)")
    connect(monkeypatch, database, mode="ro")

    with closing(open_warehouse("warehouse")) as warehouse, pytest.raises(WarehouseError) as found:
        warehouse.prepare(TABLE)

    assert str(found.value) == (
        "Could not prepare table visits in warehouse (SQLite): it is read-only; give the worker the right to write "
        "to the file and to its folder, or name another file in the connection"
    )
    assert not found.value.transient


def test_a_database_that_is_not_supported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", "snowflake://account")

    with pytest.raises(
        WarehouseError, match=r"Connection warehouse is of type snowflake, .* type duckdb or postgres or sqlite"
    ):
        open_warehouse("warehouse")
