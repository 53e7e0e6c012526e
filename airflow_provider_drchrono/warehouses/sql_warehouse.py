"""What all warehouses do alike that speak the SQL of :mod:`~airflow_provider_drchrono.warehouses.sql`.

A database adds how it connects, how rows get into the temporary table, and how its errors read.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from airflow_provider_drchrono.incremental.window import SyncState
from airflow_provider_drchrono.warehouses import history as history_sql
from airflow_provider_drchrono.warehouses import sql
from airflow_provider_drchrono.warehouses.base import (
    STATE_TABLE,
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
from airflow_provider_drchrono.warehouses.loading import (
    Loading,
    Session,
    merge_statement,
    own_values,
    select_missing,
    select_sample,
)
from airflow_provider_drchrono.warehouses.table import Column, Row, Shape, Table

FoundColumn = tuple[str, str, bool]
"""Of a table that is there: a column's name, the database's name for its type, and whether it is in the key."""

Problem = tuple[str, str, bool]
"""What went wrong, what to do about it, and whether trying again may help."""


class SqlWarehouse(Warehouse):
    """A database with transactions, temporary tables, ``INSERT ... ON CONFLICT`` and ``UPDATE ... FROM``."""

    @abstractmethod
    def _explained(self, purpose: str) -> AbstractContextManager[None]:
        """Turn what the driver raises into a :class:`WarehouseError`.

        :param purpose: what could not be done, such as ``write table patients``.
        """

    @abstractmethod
    def _transaction(self, *, writes: bool) -> AbstractContextManager[Session]:
        """Run a transaction, and undo it if anything fails.

        :param writes: false where it only reads.
        """

    @abstractmethod
    def _columns(self, session: Session, schema: str | None, name: str) -> list[FoundColumn]:
        """Return the columns of a table; none if it is not there."""

    @abstractmethod
    def _fill_stage(self, session: Session, table: Table, rows: Iterable[Row], *, indexed: bool) -> int:
        """Create the temporary table, write rows into it in their order, and return how many they are.

        :param indexed: the rows will be looked up by key.
        """

    @contextmanager
    def _staged(self, table: Table, rows: Iterable[Row], *, indexed: bool) -> Iterator[tuple[Session, int]]:
        """Run the transaction of a load, with the rows in the temporary table, and yield how many they are."""
        with self._transaction(writes=True) as session:
            yield session, self._fill_stage(session, table, rows, indexed=indexed)

    def _merge(self, session: Session, table: Table, key: SyncKey) -> tuple[int, int]:
        """Merge what is in the temporary table; return how many rows are new, and how many were replaced."""
        before = self._count(session, table)
        merged = session.run(*merge_statement(table, self.capabilities, key))
        new = self._count(session, table) - before
        return new, merged - new

    def _begin_preparing(self, session: Session) -> None:
        """Do what has to be done in the transaction of :meth:`prepare` before the tables are looked at."""

    def _has_schema(self, session: Session, schema: str) -> bool:
        """Tell whether a schema is there; asked only of databases that have schemas."""
        return True

    def _check_rights(self, session: Session, table: Table, *, has_history: bool) -> None:
        """Refuse tables that are there and cannot be written.

        :raises WarehouseError: one of them cannot.
        """

    def _prepare(self, table: Table, history: bool) -> list[str]:
        with self._explained(f"prepare table {table.label}"), self._transaction(writes=True) as session:
            self._begin_preparing(session)
            if table.schema is not None and not self._has_schema(session, table.schema):
                raise WarehouseError(
                    f"Could not prepare table {table.label} in {self.name}: there is no schema {table.schema}; create "
                    f"it, or name another one",
                    transient=False,
                )
            added = self._shape(session, table.shape)
            has_history = bool(self._columns(session, table.schema, table.history.name))
            if has_history:
                self._shape(session, table.history)
            elif history:
                has_history = True
                self._shape(session, table.history)
                if self.capabilities.partial_indexes:
                    session.run(history_sql.index_of_open_versions(table))
                session.run(history_sql.convert(table))
            if not self._columns(session, table.schema, STATE_TABLE):
                session.run(sql.create_state_table(table.schema, self.capabilities))
            self._check_rights(session, table, has_history=has_history)
        return added

    def _shape(self, session: Session, shape: Shape) -> list[str]:
        found = self._columns(session, shape.schema, shape.name)
        if not found:
            session.run(sql.create_table(shape, self.capabilities))
            self._describe(session, shape, shape.columns)
            return []
        types = {name: kind for name, kind, _ in found}
        key = [name for name, _, in_key in found if in_key]
        missing = check_shape(self.name, shape, types, key, self.capabilities.types)
        for column in missing:
            session.run(sql.add_column(shape, column, self.capabilities))
        self._describe(session, shape, missing)
        return [column.name for column in missing]

    def _describe(self, session: Session, shape: Shape, columns: Sequence[Column]) -> None:
        """Say what new columns hold; what somebody else has said of the others stays."""
        if self.capabilities.comments:
            for statement in sql.describe(shape, columns):
                session.run(statement)

    def keeps_history(self, table: Table) -> bool:
        with self._reading(table.history.label) as session:
            return bool(self._columns(session, table.schema, table.history.name))

    def state(self, table: Table, key: SyncKey) -> SyncState | None:
        with self._reading(STATE_TABLE) as session:
            found = session.rows(sql.select_state(table, self.capabilities), key.values)
        return read_state(found[0]) if found else None

    def practice_of(self, table: Table, source: str, grant_id: str) -> KnownPractice | None:
        with self._reading(STATE_TABLE) as session:
            found = session.rows(sql.select_practice(table, self.capabilities), (source, grant_id))
        return read_practice(found[0]) if found else None

    def _number(self, table: Table, query: str, values: Sequence[Any]) -> int:
        with self._reading(table.label) as session:
            (number,) = session.row(query, tuple(values))
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
        staged = self._staged(table, rows, indexed=complete is not None)
        with self._explained(f"write table {table.label}"), staged as (session, read):
            counts = self._loading(session, table, key).load(read, complete, deletions, state.watermark)
            values = state_values(key, state_after(state, complete, counts), run, counts)
            session.run(sql.write_state(table, self.capabilities, anew=run.anew), values)
        return counts

    def missing(self, table: Table, key: SyncKey, *, selects_all: bool, limit: int) -> list[tuple[Any, ...]]:
        query = select_missing(table, self.capabilities, selects_all=selects_all)
        with self._reading(table.label) as session:
            return session.rows(query, own_values(key, selects_all=selects_all, limit=limit))

    def sample(self, table: Table, key: SyncKey, *, selects_all: bool, limit: int) -> list[tuple[Any, ...]]:
        query = select_sample(table, self.capabilities, selects_all=selects_all)
        with self._reading(table.label) as session:
            return session.rows(query, own_values(key, selects_all=selects_all, limit=limit))

    def settle(self, table: Table, key: SyncKey, rows: Iterable[Row], gone: Sequence[tuple[Any, ...]]) -> LoadCounts:
        staged = self._staged(table, rows, indexed=False)
        with self._explained(f"write table {table.label}"), staged as (session, read):
            return self._loading(session, table, key).settle(read, gone)

    def _loading(self, session: Session, table: Table, key: SyncKey) -> Loading:
        return Loading(
            session,
            table,
            self.capabilities,
            key,
            lambda: self._merge(session, table, key),
            bool(self._columns(session, table.schema, table.history.name)),
        )

    def _count(self, session: Session, table: Table) -> int:
        (count,) = session.row(sql.count_rows(table))
        return int(count)

    @contextmanager
    def _reading(self, label: str) -> Iterator[Session]:
        with self._explained(f"read table {label}"), self._transaction(writes=False) as session:
            yield session


def explanation(product: str, purpose: str, problem: Problem) -> WarehouseError:
    """Return the error that says in one line what could not be done, why, and what to do.

    :param product: the database's name as people write it.
    :param purpose: what could not be done, and where.
    """
    what, remedy, transient = problem
    return WarehouseError(f"Could not {purpose} ({product}): {what}; {remedy}", transient=transient)
