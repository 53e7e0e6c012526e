# ruff: noqa: S608 - names are quoted, and there are no values.
"""Keeps the history of a table: each version of a row, from when it was read to when the next one was.

The versions follow from the table itself, after rows were merged and marked: where the open version is not the row
that the table has, it is closed, and where the table has a row without an open version, one is opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_drchrono.warehouses.base import Capabilities
from airflow_provider_drchrono.warehouses.sql import STAGE, TELLS_CHANGE, qualified, quote, same_key
from airflow_provider_drchrono.warehouses.table import DELETED_AT, SYNCED_AT, VALID_FROM, VALID_TO, Table

if TYPE_CHECKING:
    from airflow_provider_drchrono.warehouses.loading import Session

_OPEN = f"version.{quote(VALID_TO)} IS NULL"


def index_of_open_versions(table: Table) -> str:
    """Return the statement that makes the index by which open versions are found, and of which a row has one."""
    history = table.history
    # An index is named without its schema and lives in that of its table.
    name = quote(f"_{history.name}_open"[:63])
    keys = ", ".join(quote(each) for each in table.key)
    return (
        f"CREATE UNIQUE INDEX IF NOT EXISTS {name} ON {qualified(history.schema, history.name)} ({keys}) "
        f"WHERE {quote(VALID_TO)} IS NULL"
    )


def convert(table: Table) -> str:
    """Return the statement that begins the history of a table with the rows that it has.

    A row that was marked as deleted gets the version that it had until then.
    """
    shared = _shared(table)
    return (
        f"INSERT INTO {_history(table)} ({shared}, {quote(VALID_FROM)}, {quote(VALID_TO)}) "
        f"SELECT {shared}, {quote(SYNCED_AT)}, {quote(DELETED_AT)} FROM {_current(table)} "
        f"WHERE {quote(DELETED_AT)} IS NULL OR {quote(DELETED_AT)} > {quote(SYNCED_AT)}"
    )


def follow(session: Session, table: Table, capabilities: Capabilities) -> None:
    """Close and open versions as the rows say that came in or were marked as deleted."""
    keys = same_key(table.key, "version", "kept")
    came = same_key(table.key, "came", "kept")
    differs = " OR ".join(f"version.{quote(name)} {capabilities.differs} kept.{quote(name)}" for name in TELLS_CHANGE)
    alive, gone = f"kept.{quote(DELETED_AT)} IS NULL", f"kept.{quote(DELETED_AT)} IS NOT NULL"
    changes = (
        # (the rows that say it, when the version ends)
        (f"{gone} AND {keys}", "", quote(DELETED_AT)),
        (f"{alive} AND {keys} AND {came} AND ({differs})", f", {quote(STAGE)} AS came", quote(SYNCED_AT)),
    )
    for condition, besides, end in changes:
        # A version that was replaced in the second in which it was read was never seen by anyone.
        session.run(
            f"DELETE FROM {_history(table)} AS version WHERE {_OPEN} AND EXISTS ("
            f"SELECT 1 FROM {_current(table)} AS kept{besides} "
            f"WHERE {condition} AND version.{quote(VALID_FROM)} >= kept.{end})"
        )
        session.run(
            f"UPDATE {_history(table)} AS version SET {quote(VALID_TO)} = kept.{end} "
            f"FROM {_current(table)} AS kept{besides} WHERE {_OPEN} AND {condition}"
        )
    shared = ", ".join(f"kept.{quote(name)}" for name in _shared_names(table))
    session.run(
        f"INSERT INTO {_history(table)} ({_shared(table)}, {quote(VALID_FROM)}) "
        f"SELECT {shared}, kept.{quote(SYNCED_AT)} "
        f"FROM {_current(table)} AS kept JOIN {quote(STAGE)} AS came ON {came} WHERE {alive} AND NOT EXISTS ("
        f"SELECT 1 FROM {_history(table)} AS version WHERE {_OPEN} AND {keys})"
    )


def _current(table: Table) -> str:
    return qualified(table.schema, table.name)


def _history(table: Table) -> str:
    return qualified(table.history.schema, table.history.name)


def _shared_names(table: Table) -> list[str]:
    return [column.name for column in table.history.columns if column.name not in (VALID_FROM, VALID_TO)]


def _shared(table: Table) -> str:
    return ", ".join(quote(name) for name in _shared_names(table))
