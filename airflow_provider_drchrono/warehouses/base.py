"""What a database has to offer to be a warehouse, how one is opened, and the table of the syncs' states.

A sync's state is kept in the warehouse itself, in the transaction that writes the rows it speaks of: both are there,
or neither.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.incremental.clocks import CLOCKS_DIFFER, own_clock
from airflow_provider_drchrono.incremental.window import Practice, SyncState
from airflow_provider_drchrono.warehouses.table import DIGEST, Column, ColumnType, Row, Table

STATE_TABLE = "_drchrono_sync"

STATE_COLUMNS = (
    Column("source", "text", required=True),
    Column("resource", "text", required=True),
    Column("table_name", "text", required=True),
    Column("selection", "text", required=True),
    Column("watermark", "instant", required=True),
    Column("start", "timestamp"),
    Column("timezones", "json", required=True),
    Column("timezones_read_at", "instant"),
    Column("run_id", "text"),
    Column("calls", "integer"),
    Column("rows_read", "integer"),
    Column("rows_new", "integer"),
    Column("rows_changed", "integer"),
    Column("synced_at", "instant"),
)
STATE_KEY = ("source", "resource", "table_name", "selection")

SUPPORTED = ("postgres", "sqlite")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class WarehouseError(DrChronoError):
    """The warehouse did not do what was asked. The message is one line and holds no value of any row.

    :param transient: whether doing the same again later may work.
    """

    def __init__(self, message: str, *, transient: bool) -> None:
        super().__init__(message, transient=transient)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """How a database differs from the next one, as far as SQL text goes.

    :param types: the database's name for each kind of column.
    :param placeholder: how a parameter is written.
    :param longest_name: characters that a name may have.
    :param schemas: whether tables live in schemas.
    :param greatest: the function that returns the larger one of two values.
    :param differs: the operator that compares two values and takes NULL for a value like others.
    """

    types: Mapping[ColumnType, str]
    placeholder: str
    longest_name: int
    schemas: bool
    greatest: str
    differs: str


@dataclass(frozen=True, slots=True)
class SyncKey:
    """Which sync a row of the state table is about.

    :param source: base URL and, hashed, the client id.
    :param selection: hash of the filters and options that choose the records.
    """

    source: str
    resource: str
    table_name: str
    selection: str


@dataclass(frozen=True, slots=True)
class Run:
    """What the state table says, for people, about the run that wrote it.

    :param anew: whether it has read everything again, so that the state is what it says, and not what was known before.
    """

    run_id: str
    calls: int
    anew: bool = False


@dataclass(frozen=True, slots=True)
class LoadCounts:
    """What a load did to its table."""

    read: int
    new: int
    changed: int
    in_table: int


class Warehouse(ABC):
    """One connection to a database that records are loaded into.

    Whatever the database's driver raises becomes a :class:`WarehouseError` without the driver's text, which may
    repeat values of rows.

    :param name: the connection id, for messages.
    """

    capabilities: Capabilities

    def __init__(self, name: str) -> None:
        self.name = name

    def prepare(self, table: Table) -> list[str]:
        """Create the table and the state table, or widen them, so that they can be loaded.

        :return: the columns that an existing table was widened by.
        :raises WarehouseError: the table cannot be written, has no proper name, or is someone else's.
        """
        if table.schema and not self.capabilities.schemas:
            raise WarehouseError(f"The database of {self.name} has no schemas; leave schema out", transient=False)
        longest = self.capabilities.longest_name
        for argument, name in (("table", table.name), ("schema", table.schema)):
            if name and (not _NAME.fullmatch(name) or len(name) > longest):
                raise WarehouseError(
                    f"{argument} {name!r} is not a name; use up to {longest} letters, digits and underscores",
                    transient=False,
                )
        return self._prepare(table)

    @abstractmethod
    def _prepare(self, table: Table) -> list[str]:
        """Do what :meth:`prepare` says, with names that are checked."""

    @abstractmethod
    def state(self, table: Table, key: SyncKey) -> SyncState | None:
        """Return the state of a sync; None before its first load."""

    def expected_rows(self, table: Table, key: SyncKey) -> int | None:
        """Return how many rows a complete read should find again; None where other syncs write the table, too."""
        from airflow_provider_drchrono.warehouses import sql

        values = (key.table_name, key.source, key.resource, key.table_name, key.selection)
        if self._number(table, sql.count_other_syncs(table, self.capabilities), values):
            return None
        return self.row_count(table)

    def row_count(self, table: Table) -> int:
        """Return how many rows a table has."""
        from airflow_provider_drchrono.warehouses import sql

        return self._number(table, sql.count_rows(table), ())

    @abstractmethod
    def _number(self, table: Table, query: str, values: Sequence[Any]) -> int:
        """Return the one number that a query about a table, or its state, has for an answer."""

    @abstractmethod
    def load(self, table: Table, rows: Iterable[Row], key: SyncKey, state: SyncState, run: Run) -> LoadCounts:
        """Merge rows into the table and write the state, both or neither.

        A row that is new is added, one whose record differs from the table's and was not read before it replaces it,
        and any other is left alone. Of several rows with one key, the one changed last counts.

        :param rows: values of ``table.all_columns``, in order of detector.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""


def open_warehouse(conn_id: str) -> Warehouse:
    """Connect to the database of an Airflow connection.

    :raises WarehouseError: the database does not answer, or there is no way to load into databases of its type.
    """
    from airflow_provider_drchrono.compat import BaseHook

    conn_type = BaseHook.get_connection(conn_id).conn_type
    if conn_type == "sqlite":
        from airflow_provider_drchrono.warehouses.sqlite import SqliteWarehouse

        return SqliteWarehouse(conn_id)
    if conn_type == "postgres":
        from airflow_provider_drchrono.warehouses.postgres import PostgresWarehouse

        return PostgresWarehouse(conn_id)
    raise WarehouseError(
        f"Connection {conn_id} is of type {conn_type}, which records cannot be loaded into; use a connection of type "
        f"{' or '.join(SUPPORTED)}",
        transient=False,
    )


def state_values(key: SyncKey, state: SyncState, run: Run, counts: LoadCounts) -> list[Any]:
    """Return the values of ``STATE_COLUMNS``, as text and numbers that every database takes."""
    return [
        key.source,
        key.resource,
        key.table_name,
        key.selection,
        _text(state.watermark),
        None if state.start is None else state.start.isoformat(" "),
        json.dumps(state.practice.timezones),
        None if state.practice.read_at is None else _text(state.practice.read_at),
        run.run_id,
        run.calls,
        counts.read,
        counts.new,
        counts.changed,
        _text(datetime.now(UTC)),
    ]


def read_state(row: Sequence[Any]) -> SyncState:
    """Read watermark, start, timezones and timezones_read_at as any database's driver returns them."""
    watermark, start, timezones, read_at = row
    return SyncState(
        watermark=_instant(watermark),
        start=None if start is None else _moment(start),
        practice=Practice(
            timezones=tuple(json.loads(timezones) if isinstance(timezones, str) else timezones),
            read_at=None if read_at is None else _instant(read_at),
        ),
    )


def latest_reading() -> str:
    """Return the instant after which no row can have been read, as text that every database takes."""
    return _text(own_clock() + CLOCKS_DIFFER)


def _moment(value: str | datetime) -> datetime:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _instant(value: str | datetime) -> datetime:
    return _moment(value).astimezone(UTC)


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(" ", "seconds")


def check_shape(
    name: str, table: Table, found: Mapping[str, str], key: Sequence[str], types: Mapping[ColumnType, str]
) -> list[Column]:
    """Compare an existing table with what it has to be, and return the columns that it lacks.

    :param name: the connection id, for messages.
    :param found: the existing columns' types by name.
    :param key: the columns of the existing primary key.
    :raises WarehouseError: the table was made for something else.
    """
    where = f"table {table.label} in {name}"
    if DIGEST not in found or set(key) != set(table.key):
        raise WarehouseError(
            f"The {where} was not made by this sync; give the sync another table name, or move that table away",
            transient=False,
        )
    for column in table.all_columns:
        expected = types[column.kind]
        if column.name in found and found[column.name].upper() != expected.upper():
            raise WarehouseError(
                f"Column {column.name} of the {where} is {found[column.name]} and has to be {expected}; change it "
                f"back, or give the sync another table name",
                transient=False,
            )
    return [column for column in table.all_columns if column.name not in found]
