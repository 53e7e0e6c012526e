"""Loads a SQLite file: rows go to a temporary table first, so that the file is locked for the merge only."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from airflow_provider_drchrono.warehouses import sql
from airflow_provider_drchrono.warehouses.base import Capabilities, WarehouseError
from airflow_provider_drchrono.warehouses.loading import Session
from airflow_provider_drchrono.warehouses.sql_warehouse import FoundColumn, SqlWarehouse, explanation
from airflow_provider_drchrono.warehouses.table import Row, Table

# Writers take turns; one that loads a whole practice for the first time keeps the others waiting this long, in ms.
_BUSY_TIMEOUT = 300_000

# What went wrong, what to do about it, and whether trying again may help.
_PROBLEMS = {
    "SQLITE_AUTH": ("access was denied", "check the permissions of the file", False),
    "SQLITE_BUSY": ("it is locked by another process", "let that one finish, then try again", True),
    "SQLITE_CANTOPEN": (
        "the file cannot be opened",
        "check the path in the connection, that its folder is there, and that the worker may write to it",
        False,
    ),
    "SQLITE_CONSTRAINT": ("a constraint of the table refuses the rows", "remove constraints that were added", False),
    "SQLITE_CORRUPT": ("the file is damaged", "restore it, or name another file in the connection", False),
    "SQLITE_FULL": ("the disk is full", "make room, then try again", True),
    "SQLITE_IOERR": ("the disk does not answer", "check the disk, then try again", True),
    "SQLITE_LOCKED": ("it is locked by another process", "let that one finish, then try again", True),
    "SQLITE_NOTADB": ("the file is not a SQLite database", "name another file in the connection", False),
    "SQLITE_PERM": ("access was denied", "check the permissions of the file", False),
    "SQLITE_READONLY": (
        "it is read-only",
        "give the worker the right to write to the file and to its folder, or name another file in the connection",
        False,
    ),
}


class SqliteWarehouse(SqlWarehouse):
    """A SQLite file, through a connection of Airflow's SQLite provider."""

    capabilities = Capabilities(
        types={
            "text": "TEXT",
            "integer": "INTEGER",
            "decimal": "NUMERIC",
            "boolean": "BOOLEAN",
            "date": "DATE",
            "time": "TIME",
            "timestamp": "TIMESTAMP",
            # As JSON the column would turn a text that looks like a number into one.
            "json": "TEXT",
            "instant": "TIMESTAMP",
        },
        placeholder="?",
        longest_name=63,
        schemas=False,
        greatest="max",
        differs="IS NOT",
        casts=False,
    )

    def __init__(self, name: str) -> None:
        super().__init__(name)
        from airflow.providers.sqlite.hooks.sqlite import SqliteHook

        # The provider's hooks carry no types.
        hook_class: Any = SqliteHook
        with self._explained("connect to the database"):
            self._connection: sqlite3.Connection = hook_class(sqlite_conn_id=name).get_conn()
            self._connection.isolation_level = None
            self._connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT}")
            self._protect_new_file()
            self._let_readers_in()

    def _columns(self, session: Session, schema: str | None, name: str) -> list[FoundColumn]:
        found = session.rows(f"PRAGMA table_info({sql.quote(name)})")
        return [(column, kind, bool(place)) for _, column, kind, *_, place in found]

    @contextmanager
    def _staged(self, table: Table, rows: Iterable[Row], *, indexed: bool) -> Iterator[tuple[Session, int]]:
        # The temporary table is not in the file, which is locked for the merge only.
        with self._in_transaction("BEGIN DEFERRED"):
            read = self._fill_stage(self, table, rows, indexed=indexed)
        with self._in_transaction("BEGIN IMMEDIATE"):
            yield self, read
        self.run(f"DROP TABLE temp.{sql.quote(sql.STAGE)}")

    def _fill_stage(self, session: Session, table: Table, rows: Iterable[Row], *, indexed: bool) -> int:
        columns = table.all_columns
        stage = sql.quote(sql.STAGE)
        self.run(f"DROP TABLE IF EXISTS temp.{stage}")
        self.run(sql.create_stage(columns, self.capabilities, "INTEGER PRIMARY KEY", ""))
        read = self._connection.executemany(
            f"INSERT INTO temp.{stage} ({sql.name_list(columns)}) "  # noqa: S608
            f"VALUES ({', '.join('?' * len(columns))})",
            rows,
        ).rowcount
        if indexed and table.key:
            keys = ", ".join(map(sql.quote, table.key))
            self.run(f"CREATE INDEX temp.{sql.quote(sql.STAGE + '_key')} ON {stage} ({keys})")
        return read

    def run(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement, and return how many rows it has changed."""
        return self._connection.execute(statement, values).rowcount

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return [tuple(row) for row in self._connection.execute(query, values)]

    def row(self, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
        """Return the only row of a query."""
        return tuple(self._connection.execute(query, values).fetchone())

    def close(self) -> None:
        self._connection.close()

    def _protect_new_file(self) -> None:
        """Make a new file readable by its owner only, before it is filled."""
        path = self._connection.execute("PRAGMA database_list").fetchone()[2]
        with suppress(OSError):
            if path and os.path.getsize(path) == 0:
                os.chmod(path, 0o600)

    def _let_readers_in(self) -> None:
        """Keep a write-ahead log where that is possible: readers and the writer then do not wait for each other."""
        if self._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
            return
        with suppress(sqlite3.OperationalError):
            self._connection.execute("PRAGMA journal_mode = WAL")

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Session]:
        if not writes:
            yield self
            return
        with self._in_transaction("BEGIN IMMEDIATE"):
            yield self

    @contextmanager
    def _in_transaction(self, begin: str) -> Iterator[None]:
        self._connection.execute(begin)
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:
                self._connection.rollback()
            raise
        self._connection.commit()

    @contextmanager
    def _explained(self, purpose: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OverflowError) as error:
            raise _explain(error, purpose, self.name) from None


def _explain(error: Exception, purpose: str, name: str) -> WarehouseError:
    code = str(getattr(error, "sqlite_errorname", type(error).__name__))
    primary = "_".join(code.split("_")[:2])
    unknown = (f"SQLite answered {code}", "check the connection and the table, or use another table name", False)
    return explanation("SQLite", f"{purpose} in {name}", _PROBLEMS.get(primary, unknown))
