"""Loads a DuckDB file: rows go as JSON, thousands at a time, into a temporary table and are merged from there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from airflow_provider_drchrono.incremental.canonical import canonical
from airflow_provider_drchrono.warehouses import sql
from airflow_provider_drchrono.warehouses.base import Capabilities, WarehouseError
from airflow_provider_drchrono.warehouses.loading import Session
from airflow_provider_drchrono.warehouses.sql_warehouse import FoundColumn, SqlWarehouse, explanation
from airflow_provider_drchrono.warehouses.table import Row, Table

# Rows handed over at once. A statement for each row would take a hundred times as long.
_ROWS_AT_ONCE = 5_000

_EXISTING_COLUMNS = """
    SELECT columns.column_name, columns.data_type, COALESCE(list_contains(keys.names, columns.column_name), false)
    FROM duckdb_columns() AS columns
    LEFT JOIN (
        SELECT schema_name, table_name, any_value(constraint_column_names) AS names
        FROM duckdb_constraints()
        WHERE constraint_type = 'PRIMARY KEY' AND database_name = current_database()
        GROUP BY ALL
    ) AS keys USING (schema_name, table_name)
    WHERE columns.database_name = current_database() AND columns.table_name = ?
      AND columns.schema_name = COALESCE(?, current_schema())
    ORDER BY columns.column_index
"""
_HAS_SCHEMA = """
    SELECT count(*) FROM duckdb_schemas()
    WHERE database_name = current_database() AND schema_name = CAST(? AS VARCHAR)
"""

# Processes take turns; a sync has the file open while it prepares and loads its table only. In seconds.
_LONGEST_WAIT = 300.0
_WAIT = 0.25

# Threads share the file, and DuckDB refuses all but the first that creates or changes the same thing.
_one_writer = threading.RLock()

# What went wrong, what to do about it, and whether trying again may help; by the class that the driver raises.
_PROBLEMS = {
    "BinderException": (
        "the table is not as the sync made it",
        "check the connection and the table, or use another table name",
        False,
    ),
    "CatalogException": ("a table or schema is not there", "check the connection and the schema", False),
    "ConstraintException": ("a constraint of the table refuses the rows", "remove constraints that were added", False),
    "ConversionException": ("the database refuses a value", "report this with the table's name", False),
    "FatalException": ("the database cannot go on", "check the disk, then try again", True),
    "InvalidInputException": ("the file cannot be written", "see that the connection is not read-only", False),
    "OutOfMemoryException": ("there is not enough memory", "raise memory_limit in the connection's extra", True),
    "TransactionException": ("another transaction was in the way", "try again", True),
}
_LOCKED = ("another process has it open", "let that one finish, then try again", True)
_NO_FILE = (
    "the file cannot be opened",
    "check the path in the connection, that its folder is there, that it is a DuckDB file, and that the worker may "
    "write to it",
    False,
)


class DuckDbWarehouse(SqlWarehouse):
    """A DuckDB file, through a connection of Airflow's DuckDB provider. One process at a time can have it open."""

    capabilities = Capabilities(
        types={
            "text": "VARCHAR",
            "integer": "BIGINT",
            "decimal": "DECIMAL(38,15)",
            "boolean": "BOOLEAN",
            "date": "DATE",
            "time": "TIME",
            "timestamp": "TIMESTAMP",
            "json": "JSON",
            "instant": "TIMESTAMP WITH TIME ZONE",
        },
        placeholder="?",
        longest_name=63,
        schemas=True,
        greatest="greatest",
        differs="IS DISTINCT FROM",
        casts=True,
        partial_indexes=False,
        comments=True,
    )

    def __init__(self, name: str) -> None:
        super().__init__(name)
        try:
            from airflow.providers.duckdb.hooks.duckdb import DuckDBHook
        except ImportError:
            raise WarehouseError(
                f"Connection {name} is one to DuckDB, and Airflow's DuckDB provider is not installed here; install "
                f"airflow-provider-drchrono[duckdb]",
                transient=False,
            ) from None
        # The provider's hooks carry no types.
        hook_class: Any = DuckDBHook
        with self._explained("connect to the database"):
            self._connection: Any = _waiting_for_lock(lambda: hook_class(duckdb_conn_id=name).get_conn())
            # The driver gives instants in the zone of the session, and state is kept in UTC.
            self._connection.execute("SET TimeZone = 'UTC'")
            self._protect(self._file())

    def _has_schema(self, session: Session, schema: str) -> bool:
        return session.row(_HAS_SCHEMA, (schema,)) != (0,)

    def _columns(self, session: Session, schema: str | None, name: str) -> list[FoundColumn]:
        return [(column, kind, in_key) for column, kind, in_key in session.rows(_EXISTING_COLUMNS, (name, schema))]

    def _fill_stage(self, session: Session, table: Table, rows: Iterable[Row], *, indexed: bool) -> int:
        columns = table.all_columns
        stage = sql.quote(sql.STAGE)
        session.run(f"DROP TABLE IF EXISTS temp.{stage}")
        session.run(sql.create_stage(columns, self.capabilities, "BIGINT", ""))
        values = ", ".join(
            f"CAST(fields[{place}] AS {self.capabilities.types[column.kind]})"
            for place, column in enumerate(columns, start=1)
        )
        # Lists that are unnested side by side are taken in step.
        fill = (
            f"INSERT INTO temp.{stage} SELECT {values}, number FROM (SELECT "  # noqa: S608
            f"""unnest(from_json(CAST(? AS JSON), '[["VARCHAR"]]')) AS fields, """
            f"unnest(range(CAST(? AS BIGINT), CAST(? AS BIGINT))) AS number)"
        )
        read, remaining = 0, iter(rows)
        while some := list(islice(remaining, _ROWS_AT_ONCE)):
            session.run(fill, (canonical(some).decode(), read, read + len(some)))
            read += len(some)
        return read

    def run(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement, and return how many rows it has changed."""
        found = self._connection.execute(statement, list(values)).fetchone()
        return int(found[0]) if found and isinstance(found[0], int) else 0

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        found: list[tuple[Any, ...]] = self._connection.execute(query, list(values)).fetchall()
        return found

    def row(self, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
        """Return the only row of a query."""
        found: tuple[Any, ...] = self._connection.execute(query, list(values)).fetchone()
        return found

    def close(self) -> None:
        self._connection.close()

    def _file(self) -> Path:
        (path,) = self.row("SELECT path FROM duckdb_databases() WHERE database_name = current_database()")
        if path:
            return Path(path)
        self.close()
        raise WarehouseError(
            f"Connection {self.name} names no file, so the tables would be gone when the task ends; put the path of a "
            f"DuckDB file into the connection's host",
            transient=False,
        )

    def _protect(self, path: Path) -> None:
        """Make a new file readable by its owner only, before it is filled."""
        with suppress(OSError):
            if not self.rows("SELECT 1 FROM duckdb_tables() LIMIT 1"):
                path.chmod(0o600)

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Session]:
        with _one_writer if writes else nullcontext(), self._undone_if_failed():
            yield self

    @contextmanager
    def _undone_if_failed(self) -> Iterator[None]:
        self._connection.begin()
        try:
            yield
            self._connection.commit()
        except BaseException:
            # After some errors there is no transaction any more.
            with suppress(Exception):
                self._connection.rollback()
            raise

    @contextmanager
    def _explained(self, purpose: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in ("duckdb", "_duckdb"):
                raise
            raise _explain(error, purpose, self.name) from None


def _waiting_for_lock(connect: Callable[[], Any]) -> Any:
    ends = time.monotonic() + _LONGEST_WAIT
    while True:
        try:
            return connect()
        except Exception as error:
            if not _is_locked(error) or time.monotonic() > ends:
                raise
        time.sleep(_WAIT)


def _is_locked(error: Exception) -> bool:
    return type(error).__name__ == "IOException" and "Could not set lock" in str(error)


def _explain(error: Exception, purpose: str, name: str) -> WarehouseError:
    kind = type(error).__name__
    if kind == "IOException":
        problem = _LOCKED if _is_locked(error) else _NO_FILE
    else:
        unknown = (f"DuckDB answered {kind}", "check the connection and the table, or use another table name", False)
        problem = _PROBLEMS.get(kind, unknown)
    return explanation("DuckDB", f"{purpose} in {name}", problem)
