"""Loads a SQLite file: rows go to a temporary table first, so that the file is locked for the merge only."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from airflow_provider_drchrono.incremental.window import SyncState
from airflow_provider_drchrono.warehouses import history as history_sql
from airflow_provider_drchrono.warehouses import sql
from airflow_provider_drchrono.warehouses.base import (
    STATE_TABLE,
    Capabilities,
    CompleteRead,
    KnownPractice,
    LoadCounts,
    LoggedDeletion,
    Run,
    SyncKey,
    Warehouse,
    WarehouseError,
    check_shape,
    read_practice,
    read_state,
    state_after,
    state_values,
)
from airflow_provider_drchrono.warehouses.loading import Loading, merge_statement, missing_values, select_missing
from airflow_provider_drchrono.warehouses.table import Row, Shape, Table

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


class SqliteWarehouse(Warehouse):
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

    def _prepare(self, table: Table, history: bool) -> list[str]:
        with self._explained(f"prepare table {table.label}"), self._transaction():
            added = self._shape(table.shape)
            if self._has_table(table.history.name):
                self._shape(table.history)
            elif history:
                self._shape(table.history)
                self._connection.execute(history_sql.index_of_open_versions(table))
                self._connection.execute(history_sql.convert(table))
            self._connection.execute(sql.create_state_table(None, self.capabilities))
        return added

    def _shape(self, shape: Shape) -> list[str]:
        found = self._connection.execute(f"PRAGMA table_info({sql.quote(shape.name)})").fetchall()
        if not found:
            self._connection.execute(sql.create_table(shape, self.capabilities))
            return []
        types = {name: kind for _, name, kind, *_ in found}
        key = [name for _, name, *_, place in found if place]
        missing = check_shape(self.name, shape, types, key, self.capabilities.types)
        for column in missing:
            self._connection.execute(sql.add_column(shape, column, self.capabilities))
        return [column.name for column in missing]

    def _has_table(self, name: str) -> bool:
        return bool(self._connection.execute(f"PRAGMA table_info({sql.quote(name)})").fetchall())

    def keeps_history(self, table: Table) -> bool:
        with self._explained(f"read table {table.history.label}"):
            return self._has_table(table.history.name)

    def state(self, table: Table, key: SyncKey) -> SyncState | None:
        query = sql.select_state(table, self.capabilities)
        with self._explained(f"read table {STATE_TABLE}"):
            row = self._connection.execute(query, key.values).fetchone()
        return None if row is None else read_state(row)

    def practice_of(self, table: Table, source: str, grant_id: str) -> KnownPractice | None:
        query = sql.select_practice(table, self.capabilities)
        with self._explained(f"read table {STATE_TABLE}"):
            row = self._connection.execute(query, (source, grant_id)).fetchone()
        return None if row is None else read_practice(row)

    def _number(self, table: Table, query: str, values: Sequence[Any]) -> int:
        with self._explained(f"read table {table.label}"):
            (number,) = self._connection.execute(query, tuple(values)).fetchone()
        return int(number)

    def load(
        self,
        table: Table,
        rows: Iterable[Row],
        key: SyncKey,
        state: SyncState,
        run: Run,
        *,
        complete: CompleteRead | None = None,
        deletions: Sequence[LoggedDeletion] = (),
    ) -> LoadCounts:
        with self._explained(f"write table {table.label}"):
            read = self._fill_stage(table, rows, indexed=complete is not None)
            with self._transaction():
                counts = self._loading(table, key).load(read, complete, deletions)
                values = state_values(key, state_after(state, complete, counts), run, counts)
                self._connection.execute(sql.write_state(table, self.capabilities, anew=run.anew), values)
            self._connection.execute(f"DROP TABLE temp.{sql.quote(sql.STAGE)}")
        return counts

    def missing(self, table: Table, key: SyncKey, *, selects_all: bool, limit: int) -> list[tuple[Any, ...]]:
        query = select_missing(table, self.capabilities, selects_all=selects_all)
        values = missing_values(key, selects_all=selects_all, limit=limit)
        with self._explained(f"read table {table.label}"):
            return [tuple(row) for row in self._connection.execute(query, values)]

    def settle(self, table: Table, key: SyncKey, rows: Iterable[Row], gone: Sequence[tuple[Any, ...]]) -> LoadCounts:
        with self._explained(f"write table {table.label}"):
            read = self._fill_stage(table, rows, indexed=False)
            with self._transaction():
                counts = self._loading(table, key).settle(read, gone)
            self._connection.execute(f"DROP TABLE temp.{sql.quote(sql.STAGE)}")
        return counts

    def _loading(self, table: Table, key: SyncKey) -> Loading:
        def merge() -> tuple[int, int]:
            before = self._count(table)
            merged = self.run(*merge_statement(table, self.capabilities, key))
            new = self._count(table) - before
            return new, merged - new

        return Loading(self, table, self.capabilities, key, merge, self._has_table(table.history.name))

    def run(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement, and return how many rows it has changed."""
        return self._connection.execute(statement, values).rowcount

    def row(self, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
        """Return the only row of a query."""
        return tuple(self._connection.execute(query, values).fetchone())

    def close(self) -> None:
        self._connection.close()

    def _fill_stage(self, table: Table, rows: Iterable[Row], *, indexed: bool) -> int:
        columns = table.all_columns
        stage = sql.quote(sql.STAGE)
        self._connection.execute(f"DROP TABLE IF EXISTS temp.{sql.quote(sql.STAGE)}")
        with self._transaction("BEGIN DEFERRED"):
            self._connection.execute(sql.create_stage(columns, self.capabilities, "INTEGER PRIMARY KEY", ""))
            read = self._connection.executemany(
                f"INSERT INTO temp.{sql.quote(sql.STAGE)} ({sql.name_list(columns)}) "  # noqa: S608
                f"VALUES ({', '.join('?' * len(columns))})",
                rows,
            ).rowcount
            if indexed and table.key:
                keys = ", ".join(map(sql.quote, table.key))
                self._connection.execute(f"CREATE INDEX temp.{sql.quote(sql.STAGE + '_key')} ON {stage} ({keys})")
            return read

    def _count(self, table: Table) -> int:
        (count,) = self._connection.execute(sql.count_rows(table)).fetchone()
        return int(count)

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
    def _transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
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
    what, remedy, transient = _PROBLEMS.get(
        primary, (f"SQLite answered {code}", "check the connection and the table, or use another table name", False)
    )
    return WarehouseError(f"Could not {purpose} in {name} (SQLite): {what}; {remedy}", transient=transient)
