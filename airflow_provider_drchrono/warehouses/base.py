"""What a database has to offer to be a warehouse, how one is opened, and the table of the syncs' states.

A sync's state is kept in the warehouse itself, in the transaction that writes the rows it speaks of: both are there,
or neither.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.common.lineage import DatasetName
from airflow_provider_drchrono.incremental.clocks import CLOCKS_DIFFER, own_clock
from airflow_provider_drchrono.incremental.window import Practice, SyncState
from airflow_provider_drchrono.warehouses.table import DIGEST, Column, ColumnType, Row, Shape, Table

STATE_TABLE = "_drchrono_sync"

STATE_COLUMNS = (
    Column("source", "text", required=True),
    Column("practice", "text", required=True),
    Column("resource", "text", required=True),
    Column("table_name", "text", required=True),
    Column("selection", "text", required=True),
    Column("watermark", "instant", required=True),
    Column("start", "timestamp"),
    Column("completed_at", "instant"),
    Column("timezones", "json", required=True),
    Column("timezones_read_at", "instant"),
    Column("run_id", "text"),
    Column("calls", "integer"),
    Column("rows_read", "integer"),
    Column("rows_new", "integer"),
    Column("rows_changed", "integer"),
    Column("rows_deleted", "integer"),
    Column("grant_id", "text"),
    Column("practice_read_at", "instant"),
    Column("synced_at", "instant"),
)
STATE_KEY = ("source", "practice", "resource", "table_name", "selection")

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
    :param casts: whether a parameter has to say its type.
    :param partial_indexes: whether an index can be one of some of the rows.
    :param comments: whether it keeps a line on what each column holds.
    """

    types: Mapping[ColumnType, str]
    placeholder: str
    longest_name: int
    schemas: bool
    greatest: str
    differs: str
    casts: bool
    partial_indexes: bool = True
    comments: bool = False


@dataclass(frozen=True, slots=True)
class SyncKey:
    """Which sync a row of the state table is about.

    :param source: base URL of the API.
    :param practice: text that tells the practice from others, see ``DrChronoHook.practice_key``.
    :param selection: hash of the filters and options that choose the records; where a part of them is masked or left
        out, a hyphen and what tells that from other choices follow.
    """

    source: str
    practice: str
    resource: str
    table_name: str
    selection: str

    @property
    def values(self) -> tuple[str, ...]:
        """The values of ``STATE_KEY``."""
        return self.source, self.practice, self.resource, self.table_name, self.selection


@dataclass(frozen=True, slots=True)
class KnownPractice:
    """The practice that an authorization belongs to, as the API has said.

    :param practice: see ``DrChronoHook.practice_key``.
    :param read_at: when the API was asked.
    """

    grant_id: str
    practice: str
    read_at: datetime


@dataclass(frozen=True, slots=True)
class Run:
    """What the state table says about the run that wrote it: for people, and which practice it found.

    :param anew: whether it has read everything again, so that the state is what it says, and not what was known before.
    :param practice: kept so that the next run need not ask; None if it is not known.
    :param since: where its read began, by the practice's clock and in ISO 8601; None: everything was read.
    """

    run_id: str
    calls: int
    anew: bool = False
    practice: KnownPractice | None = None
    since: str | None = None


@dataclass(frozen=True, slots=True)
class LoadCounts:
    """What a load did to its table.

    :param changed: rows that were replaced; one that comes back after it was marked as deleted is one of them.
    :param in_table: rows of the table, those that are marked as deleted among them.
    :param deleted: rows that were marked as deleted.
    :param known: of a complete read, the rows that it could have seen; 0 otherwise.
    :param missing: how many of these it did not see.
    :param believed: false if it saw so few that nothing was concluded from it.
    """

    read: int
    new: int
    changed: int
    in_table: int
    deleted: int = 0
    known: int = 0
    missing: int = 0
    believed: bool = True


@dataclass(frozen=True, slots=True)
class CompleteRead:
    """Says that the rows of a load are all records that the sync selects, so that a row not among them may be gone.

    :param began: when the reading began, by the server's clock.
    :param selects_all: no filter narrows the list.
    :param continuous: one process read it without a break.
    :param is_believable: is given how many rows the table holds that should have been seen, and how many were not.
    :param counts_if_doubtful: whether a read that is not believed is kept in the state as the last complete one.
    """

    began: datetime
    selects_all: bool
    continuous: bool
    is_believable: Callable[[int, int], bool]
    counts_if_doubtful: bool = True


@dataclass(frozen=True, slots=True)
class LoggedDeletion:
    """A deletion that the API has logged.

    :param key: the values of the table's key.
    :param at: when the record was deleted, an aware time.
    :param found_at: when the log was read, by the server's clock.
    """

    key: tuple[Any, ...]
    at: datetime
    found_at: datetime


class SyncTarget(ABC):
    """Where a sync puts what it has read, and keeps its state: the two are changed together or not at all.

    :cvar compares: whether it holds the rows of earlier loads, so that a load can tell which rows have changed, and
        which of a complete read are missing.
    """

    compares = True

    @abstractmethod
    def state(self, table: Table, key: SyncKey) -> SyncState | None:
        """Return the state of a sync; None before its first load."""

    @abstractmethod
    def practice_of(self, table: Table, source: str, grant_id: str) -> KnownPractice | None:
        """Return the practice that a sync has found an authorization to belong to, last; None: there was none."""

    @abstractmethod
    def expected_rows(self, table: Table, key: SyncKey) -> int | None:
        """Return how many rows a complete read should find again; None where nothing tells."""

    @abstractmethod
    def row_count(self, table: Table) -> int:
        """Return how many rows a table has."""

    @abstractmethod
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
        """Take rows and the state, both or neither.

        :param rows: values of ``table.all_columns``, in order of arrival.
        :param complete: says that the rows are all that the sync selects; None: they may be some of them.
        :param deletions: what the API has logged.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""


class Warehouse(SyncTarget):
    """One connection to a database that records are loaded into.

    Whatever the database's driver raises becomes a :class:`WarehouseError` without the driver's text, which may
    repeat values of rows.

    :meth:`load` adds a row that is new, lets one replace the table's whose record differs and that was not read before
    it, and leaves any other alone. Of several rows with one key, the one changed last counts. A row that was marked as
    deleted and is read again is marked no more.

    A row that a complete read did not see is noted as missing. It is marked as deleted when :meth:`settle` says so, or
    when the next complete read does not see it either; that one must be without filters and breaks. So is a row that is
    a part of one that was read (``table.part_of``), and was not read with it.

    :param name: the connection id, for messages.
    """

    capabilities: Capabilities

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def dataset(cls, connection: Any, schema: str | None, table: str) -> DatasetName:
        """Return a table as OpenLineage names datasets: the place of the database, and the table in it.

        :param connection: the Airflow connection.
        """
        port = f":{connection.port}" if connection.port else ""
        place = f"{connection.conn_type}://{connection.host or connection.conn_id}{port}"
        return DatasetName(place, f"{schema}.{table}" if schema else table)

    def prepare(self, table: Table, *, history: bool = False) -> list[str]:
        """Create the table and the state table, or widen them, so that they can be loaded.

        :param history: keep each version of each row from now on, in a table beside. Where that table is there, it is
            kept up in any case: a history with a gap would tell something false.
        :return: the columns that an existing table was widened by.
        :raises WarehouseError: the table cannot be written, has no proper name, or is someone else's.
        """
        if table.schema and not self.capabilities.schemas:
            raise WarehouseError(f"The database of {self.name} has no schemas; leave schema out", transient=False)
        if history and table.is_appended:
            raise WarehouseError(
                f"Rows of {table.label} never change, so there is no history of them; leave history out",
                transient=False,
            )
        longest = self.capabilities.longest_name
        names = [("table", table.name), ("schema", table.schema)]
        for argument, name in [*names, ("table", table.history_name)] if history else names:
            if name and (not _NAME.fullmatch(name) or len(name) > longest):
                raise WarehouseError(
                    f"{argument} {name!r} is not a name; use up to {longest} letters, digits and underscores",
                    transient=False,
                )
        return self._prepare(table, history)

    @abstractmethod
    def _prepare(self, table: Table, history: bool) -> list[str]:
        """Do what :meth:`prepare` says, with names that are checked."""

    @abstractmethod
    def keeps_history(self, table: Table) -> bool:
        """Tell whether there is a table with the versions of the rows."""

    def expected_rows(self, table: Table, key: SyncKey) -> int | None:
        """Return how many rows a complete read should find again; None where other syncs write the table, too."""
        from airflow_provider_drchrono.warehouses import sql

        values = (key.table_name, *key.values)
        if self._number(table, sql.count_other_syncs(table, self.capabilities), values):
            return None
        return self._number(table, sql.count_rows(table, deleted=False), ())

    def holds_as(self, table: Table, policy: str) -> bool:
        """Tell whether what a table holds was masked as a policy says, its history included.

        :param policy: the end of the selections of its syncs, see :attr:`SyncKey.selection`; empty for none.
        """
        from airflow_provider_drchrono.warehouses import sql

        if self._number(table, sql.count_states(table, self.capabilities), (table.name,)):
            query = sql.count_latest_states(table, self.capabilities, like=bool(policy))
            agrees = self._number(table, query, (table.name, table.name, f"%-{policy or '%'}")) > 0
        else:
            agrees = not policy
        # The rows are counted only where it matters, as that takes the longer the more there are.
        return agrees or not self._holds_rows(table)

    def _holds_rows(self, table: Table) -> bool:
        from airflow_provider_drchrono.warehouses import sql

        if self.row_count(table):
            return True
        return self.keeps_history(table) and self._number(table, sql.count_versions(table), ()) > 0

    def row_count(self, table: Table) -> int:
        """Return how many rows a table has."""
        from airflow_provider_drchrono.warehouses import sql

        return self._number(table, sql.count_rows(table), ())

    @abstractmethod
    def _number(self, table: Table, query: str, values: Sequence[Any]) -> int:
        """Return the one number that a query about a table, or its state, has for an answer."""

    @abstractmethod
    def missing(self, table: Table, key: SyncKey, *, selects_all: bool, limit: int) -> list[tuple[Any, ...]]:
        """Return keys of rows that are noted as missing and that the sync may judge, those missed first before others.

        :param selects_all: no filter narrows the sync.
        """

    @abstractmethod
    def sample(self, table: Table, key: SyncKey, *, selects_all: bool, limit: int) -> list[tuple[Any, ...]]:
        """Return key, digest and, where the table has one, time of change of rows taken at random.

        They are rows that the sync may judge, and that are neither missing nor deleted.

        :param selects_all: no filter narrows the sync.
        """

    @abstractmethod
    def settle(self, table: Table, key: SyncKey, rows: Iterable[Row], gone: Sequence[tuple[Any, ...]]) -> LoadCounts:
        """Settle what is missing: merge the rows that are there after all, and mark those that are gone.

        Rows that are there are not looked for again until a list shows them.

        :param gone: keys of rows that are gone.
        """


def state_after(state: SyncState, complete: CompleteRead | None, counts: LoadCounts) -> SyncState:
    """Return the state that a load leaves: with the time of a complete read only if it was one that counts."""
    if complete is None or not (counts.believed or complete.counts_if_doubtful):
        return replace(state, completed_at=None)
    return state


def state_values(key: SyncKey, state: SyncState, run: Run, counts: LoadCounts) -> list[Any]:
    """Return the values of ``STATE_COLUMNS``, as text and numbers that every database takes."""
    return [
        *key.values,
        instant_text(state.watermark),
        None if state.start is None else state.start.isoformat(" "),
        None if state.completed_at is None else instant_text(state.completed_at),
        json.dumps(state.practice.timezones),
        None if state.practice.read_at is None else instant_text(state.practice.read_at),
        run.run_id,
        run.calls,
        counts.read,
        counts.new,
        counts.changed,
        counts.deleted,
        run.practice.grant_id if run.practice else None,
        instant_text(run.practice.read_at) if run.practice else None,
        instant_text(datetime.now(UTC)),
    ]


def read_state(row: Sequence[Any]) -> SyncState:
    """Read watermark, start, timezones, timezones_read_at and completed_at as any database's driver returns them."""
    watermark, start, timezones, read_at, completed_at = row
    return SyncState(
        watermark=_instant(watermark),
        start=None if start is None else _moment(start),
        practice=Practice(
            timezones=tuple(json.loads(timezones) if isinstance(timezones, str) else timezones),
            read_at=None if read_at is None else _instant(read_at),
        ),
        completed_at=None if completed_at is None else _instant(completed_at),
    )


def read_practice(row: Sequence[Any]) -> KnownPractice:
    """Read grant_id, practice and practice_read_at as any database's driver returns them."""
    grant_id, practice, read_at = row
    return KnownPractice(grant_id, practice, _instant(read_at))


def latest_reading() -> str:
    """Return the instant after which no row can have been read, as text that every database takes."""
    return instant_text(own_clock() + CLOCKS_DIFFER)


def _moment(value: str | datetime) -> datetime:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _instant(value: str | datetime) -> datetime:
    return _moment(value).astimezone(UTC)


def instant_text(instant: datetime) -> str:
    """Return an instant as every database takes it, such that later ones are greater also as texts."""
    return instant.astimezone(UTC).isoformat(" ", "seconds")


def check_shape(
    name: str,
    shape: Shape,
    found: Mapping[str, str],
    key: Sequence[str],
    types: Mapping[ColumnType, str],
) -> list[Column]:
    """Compare an existing table with what it has to be, and return the columns that it lacks.

    :param name: the connection id, for messages.
    :param found: the existing columns' types by name.
    :param key: the columns of the existing primary key.
    :raises WarehouseError: the table was made for something else.
    """
    where = f"table {shape.label} in {name}"
    if DIGEST not in found or set(key) != set(shape.key):
        raise WarehouseError(
            f"The {where} was not made by this sync; give the sync another table name, or move that table away",
            transient=False,
        )
    for column in shape.columns:
        expected = types[column.kind]
        if column.name in found and found[column.name].upper() != expected.upper():
            raise WarehouseError(
                f"Column {column.name} of the {where} is {found[column.name]} and has to be {expected}; change it "
                f"back, or give the sync another table name",
                transient=False,
            )
    return [column for column in shape.columns if column.name not in found]
