# ruff: noqa: S608 - names are quoted, and values are always parameters.
"""What happens in the transaction of a load, in the order in which it has to: the same in every database.

Rows are merged; then those that are known to be deleted are marked; then those that a complete read did not see are
noted as missing; then the history follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from airflow_provider_drchrono.warehouses.base import (
    Capabilities,
    CompleteRead,
    LoadCounts,
    LoggedDeletion,
    SyncKey,
    instant_text,
    latest_reading,
)
from airflow_provider_drchrono.warehouses.history import follow
from airflow_provider_drchrono.warehouses.sql import (
    STAGE,
    append,
    merge,
    parameter,
    qualified,
    quote,
    remove_duplicates,
    same_key,
)
from airflow_provider_drchrono.warehouses.table import (
    DELETED_AT,
    DIGEST,
    MISSING_SINCE,
    PRACTICE,
    SELECTION,
    SYNCED_AT,
    Table,
)


class Session(Protocol):
    """A transaction in a database."""

    def run(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement, and return how many rows it has changed."""

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""

    def row(self, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
        """Return the only row of a query."""


@dataclass(frozen=True, slots=True)
class Loading:
    """A load of what is in the temporary table.

    :param merge: merges it and returns how many rows are new and how many were replaced.
    :param has_history: whether there is a table with versions.
    """

    session: Session
    table: Table
    capabilities: Capabilities
    key: SyncKey
    merge: Callable[[], tuple[int, int]]
    has_history: bool

    def load(
        self, read: int, complete: CompleteRead | None, deletions: Sequence[LoggedDeletion], began: datetime
    ) -> LoadCounts:
        """Merge, mark what is deleted, and note what is missing.

        :param read: rows in the temporary table.
        :param began: when the read began, by the server's clock.
        """
        if self.table.is_appended:
            new, changed = self.merge()
            return LoadCounts(read=read, new=new, changed=changed, in_table=self._count())
        new, changed, deleted = self._merged()
        self.session.run(self._update(f"{quote(MISSING_SINCE)} = NULL, {self._owner()}", self._SEEN), self._own)
        deleted += sum(self._mark_logged(each) for each in deletions)
        if self.table.part_of and complete is None:
            self._note_unseen_parts(self.table.part_of, began)
        known = missing = 0
        believed = True
        in_table = self._count()
        # Where every row is new, none can be missing.
        if complete is not None and in_table > new:
            known, missing = self._known_and_missing(complete)
            believed = complete.is_believable(known, missing)
            if believed and missing:
                deleted += self._note_missing(complete)
        self._follow()
        return LoadCounts(read, new, changed, in_table, deleted, known, missing, believed)

    def settle(self, read: int, gone: Sequence[tuple[Any, ...]]) -> LoadCounts:
        """Merge the rows that are there after all, and mark those that are gone."""
        new, changed, deleted = self._merged()
        looked_up = f"{quote(MISSING_SINCE)} = NULL, {quote(SELECTION)} = NULL"
        self.session.run(self._update(looked_up, f"kept.{quote(SELECTION)} IS NOT NULL"))
        for each in gone:
            deleted += self.session.run(
                f"UPDATE {self._target} SET {quote(DELETED_AT)} = {quote(MISSING_SINCE)}, "
                f"{quote(MISSING_SINCE)} = NULL WHERE {quote(MISSING_SINCE)} IS NOT NULL "
                f"AND {quote(PRACTICE)} = {self._text} AND {self._is_key}",
                (self.key.practice, *each),
            )
        self._follow()
        return LoadCounts(read, new, changed, self._count(), deleted)

    # A row that a list shows again is missing no more; one that was looked up, or is of an earlier release, gets the
    # list that shows it.
    _SEEN = f"(kept.{quote(MISSING_SINCE)} IS NOT NULL OR kept.{quote(SELECTION)} IS NULL)"

    @property
    def _target(self) -> str:
        return qualified(self.table.schema, self.table.name)

    @property
    def _text(self) -> str:
        return parameter("text", self.capabilities)

    @property
    def _instant(self) -> str:
        return parameter("instant", self.capabilities)

    @property
    def _is_key(self) -> str:
        kinds = {column.name: column.kind for column in self.table.columns}
        return " AND ".join(f"{quote(name)} = {parameter(kinds[name], self.capabilities)}" for name in self.table.key)

    @property
    def _own(self) -> tuple[str, str]:
        return self.key.practice, self.key.selection

    def _owner(self) -> str:
        return f"{quote(PRACTICE)} = {self._text}, {quote(SELECTION)} = {self._text}"

    def _update(self, assignments: str, condition: str) -> str:
        """Return the statement that changes the rows that came in and meet a condition."""
        return (
            f"UPDATE {self._target} AS kept SET {assignments} FROM {quote(STAGE)} AS came "
            f"WHERE {same_key(self.table.key, 'kept', 'came')} AND {condition}"
        )

    def _merged(self) -> tuple[int, int, int]:
        self.session.run(remove_duplicates(self.table))
        new, changed = self.merge()
        deleted = 0
        if self.table.deletion_flag:
            deleted = self.session.run(
                self._update(
                    f"{quote(DELETED_AT)} = kept.{quote(SYNCED_AT)}",
                    f"kept.{quote(self.table.deletion_flag)} AND kept.{quote(DELETED_AT)} IS NULL",
                )
            )
        return new, changed, deleted

    def _mark_logged(self, deletion: LoggedDeletion) -> int:
        at, found_at = instant_text(deletion.at), instant_text(deletion.found_at)
        alive = (
            f"{quote(PRACTICE)} = {self._text} AND {self._is_key} AND {quote(DELETED_AT)} IS NULL "
            f"AND {quote(SYNCED_AT)}"
        )
        marked = self.session.run(
            f"UPDATE {self._target} SET {quote(DELETED_AT)} = {self._instant}, {quote(MISSING_SINCE)} = NULL "
            f"WHERE {alive} <= {self._instant}",
            (found_at, self.key.practice, *deletion.key, at),
        )
        # The list showed it after that: late, or it came back. Whether it is there has to be looked up.
        self.session.run(
            f"UPDATE {self._target} SET {quote(MISSING_SINCE)} = {self._instant} "
            f"WHERE {alive} > {self._instant} AND {quote(MISSING_SINCE)} IS NULL",
            (found_at, self.key.practice, *deletion.key, at),
        )
        return marked

    def _note_unseen_parts(self, part_of: str, began: datetime) -> None:
        """Note the parts of rows that came in as missing, but for those that came with them."""
        (key,) = self.table.key
        came = f"(SELECT {quote(key)} FROM {quote(STAGE)})"
        self.session.run(
            f"UPDATE {self._target} SET {quote(MISSING_SINCE)} = {self._instant} "
            f"WHERE {quote(MISSING_SINCE)} IS NULL AND {quote(DELETED_AT)} IS NULL "
            f"AND {quote(PRACTICE)} = {self._text} AND {quote(part_of)} IN {came} AND {quote(key)} NOT IN {came}",
            (instant_text(began), self.key.practice),
        )

    def _scope(self, complete: CompleteRead) -> tuple[str, tuple[str, ...]]:
        """Return the condition for rows that a complete read should have seen.

        They are of its practice, and were there before it began. Rows that another list has shown belong to that one.
        """
        condition = (
            f"kept.{quote(DELETED_AT)} IS NULL AND kept.{quote(PRACTICE)} = {self._text} "
            f"AND kept.{quote(SYNCED_AT)} <= {self._instant} AND kept.{quote(SELECTION)} "
        )
        values = (self.key.practice, instant_text(complete.began))
        if complete.selects_all:
            return condition + "IS NOT NULL", values
        return condition + f"= {self._text}", (*values, self.key.selection)

    @property
    def _unseen(self) -> str:
        return f"NOT EXISTS (SELECT 1 FROM {quote(STAGE)} AS came WHERE {same_key(self.table.key, 'came', 'kept')})"

    def _known_and_missing(self, complete: CompleteRead) -> tuple[int, int]:
        scope, values = self._scope(complete)
        query = f"SELECT count(*) FROM {self._target} AS kept WHERE {scope}"
        (known,) = self.session.row(query, values)
        (missing,) = self.session.row(f"{query} AND {self._unseen}", values)
        return int(known), int(missing)

    def _note_missing(self, complete: CompleteRead) -> int:
        scope, values = self._scope(complete)
        began = instant_text(complete.began)
        deleted = 0
        if complete.selects_all and complete.continuous:
            deleted = self.session.run(
                f"UPDATE {self._target} AS kept SET {quote(DELETED_AT)} = kept.{quote(MISSING_SINCE)}, "
                f"{quote(MISSING_SINCE)} = NULL "
                f"WHERE kept.{quote(MISSING_SINCE)} < {self._instant} AND {scope} AND {self._unseen}",
                (began, *values),
            )
        self.session.run(
            f"UPDATE {self._target} AS kept SET {quote(MISSING_SINCE)} = {self._instant} "
            f"WHERE kept.{quote(MISSING_SINCE)} IS NULL AND {scope} AND {self._unseen}",
            (began, *values),
        )
        return deleted

    def _follow(self) -> None:
        if self.has_history:
            follow(self.session, self.table, self.capabilities)

    def _count(self) -> int:
        (count,) = self.session.row(f"SELECT count(*) FROM {self._target}")
        return int(count)


def merge_statement(table: Table, capabilities: Capabilities, key: SyncKey) -> tuple[str, tuple[str, ...]]:
    """Return the statement that brings the incoming rows into the table, and its parameters."""
    if table.is_appended:
        return append(table, capabilities), (key.practice,)
    return merge(table, capabilities), (key.practice, key.selection, latest_reading())


def own_values(key: SyncKey, *, selects_all: bool, limit: int) -> tuple[Any, ...]:
    """Return the parameters of :func:`select_missing` and :func:`select_sample`."""
    return (key.practice, limit) if selects_all else (key.practice, key.selection, limit)


def select_missing(table: Table, capabilities: Capabilities, *, selects_all: bool) -> str:
    """Return the query for keys of rows that are noted as missing.

    :func:`own_values` are its parameters.
    """
    names = ", ".join(quote(name) for name in table.key)
    return (
        f"SELECT {names} FROM {qualified(table.schema, table.name)} "
        f"WHERE {quote(MISSING_SINCE)} IS NOT NULL AND {_own(capabilities, selects_all=selects_all)} "
        f"ORDER BY {quote(MISSING_SINCE)}, {names} LIMIT {capabilities.placeholder}"
    )


def select_sample(table: Table, capabilities: Capabilities, *, selects_all: bool) -> str:
    """Return the query for rows taken at random of those that should be there, each with its digest.

    :func:`own_values` are its parameters.
    """
    names = ", ".join(quote(name) for name in (*table.key, DIGEST, *filter(None, [table.changed])))
    return (
        f"SELECT {names} FROM {qualified(table.schema, table.name)} "
        f"WHERE {quote(DELETED_AT)} IS NULL AND {quote(MISSING_SINCE)} IS NULL "
        f"AND {_own(capabilities, selects_all=selects_all)} ORDER BY random() LIMIT {capabilities.placeholder}"
    )


def _own(capabilities: Capabilities, *, selects_all: bool) -> str:
    """Return the condition that a sync may judge a row."""
    practice = f"{quote(PRACTICE)} = {capabilities.placeholder}"
    if selects_all:
        return practice
    return f"{practice} AND COALESCE({quote(SELECTION)}, '') IN ('', {capabilities.placeholder})"
