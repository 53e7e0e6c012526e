# ruff: noqa: S608 - names are quoted, and values are always parameters.
"""Writes the SQL that the supported databases have in common; where they differ, their capabilities say how."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from airflow_provider_drchrono.warehouses.base import (
    STATE_COLUMNS,
    STATE_KEY,
    STATE_TABLE,
    Capabilities,
)
from airflow_provider_drchrono.warehouses.table import DIGEST, SYNCED_AT, TIMEZONE, Column, Table

STAGE = "_drchrono_stage"
SEQUENCE = "_drchrono_sequence"

# A row is replaced if one of these differs: the record, with the names of what no column holds, or the times' zone.
_TELLS_CHANGE = (DIGEST, TIMEZONE)


def quote(name: str) -> str:
    """Return an identifier in quotes."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def qualified(schema: str | None, name: str) -> str:
    """Return a table's quoted name."""
    return f"{quote(schema)}.{quote(name)}" if schema else quote(name)


def name_list(columns: Iterable[Column]) -> str:
    """Return the quoted names of columns, separated by commas."""
    return ", ".join(quote(column.name) for column in columns)


def create_table(
    schema: str | None, name: str, columns: Sequence[Column], key: Sequence[str], capabilities: Capabilities
) -> str:
    """Return the statement that creates a table if it is not there."""
    lines = [_definition(column, capabilities) for column in columns]
    lines.append(f"PRIMARY KEY ({', '.join(quote(column) for column in key)})")
    return f"CREATE TABLE IF NOT EXISTS {qualified(schema, name)} ({', '.join(lines)})"


def create_state_table(schema: str | None, capabilities: Capabilities) -> str:
    """Return the statement that creates the table of states if it is not there."""
    return create_table(schema, STATE_TABLE, STATE_COLUMNS, STATE_KEY, capabilities)


def create_stage(columns: Sequence[Column], capabilities: Capabilities, sequence: str, ending: str) -> str:
    """Return the statement that creates the temporary table of incoming rows.

    :param sequence: type and default of the column that numbers rows in order of arrival.
    :param ending: what follows the columns.
    """
    lines = [f"{quote(column.name)} {capabilities.types[column.kind]}" for column in columns]
    lines.append(f"{quote(SEQUENCE)} {sequence}")
    return f"CREATE TEMPORARY TABLE {quote(STAGE)} ({', '.join(lines)}) {ending}".rstrip()


def add_column(table: Table, column: Column, capabilities: Capabilities) -> str:
    """Return the statement that widens a table."""
    target = qualified(table.schema, table.name)
    return f"ALTER TABLE {target} ADD COLUMN {quote(column.name)} {capabilities.types[column.kind]}"


def remove_duplicates(table: Table) -> str:
    """Return the statement that leaves one incoming row for each key: the one changed last, then the one read last."""
    order = f"{quote(SEQUENCE)} DESC"
    if table.changed:
        order = f"{quote(table.changed)} DESC NULLS LAST, {order}"
    key = ", ".join(quote(column) for column in table.key)
    ranked = (
        f"SELECT {quote(SEQUENCE)} AS sequence, row_number() OVER (PARTITION BY {key} ORDER BY {order}) AS place "
        f"FROM {quote(STAGE)}"
    )
    return (
        f"DELETE FROM {quote(STAGE)} WHERE {quote(SEQUENCE)} IN "
        f"(SELECT sequence FROM ({ranked}) AS ranked WHERE place > 1)"
    )


def merge(table: Table, capabilities: Capabilities) -> str:
    """Return the statement that merges the incoming rows into the table.

    What was read earlier never replaces what was read later: the readings are compared by the server's clock, not by
    the records' own times, which run backwards when clocks are set back. A row that says it was read in the future,
    because a clock was wrong then, is replaced; the present is the statement's one parameter.
    """
    columns = name_list(table.all_columns)
    rest = [column for column in table.all_columns if column.name not in table.key]
    assignments = ", ".join(f"{quote(column.name)} = excluded.{quote(column.name)}" for column in rest)
    differs = " OR ".join(f"kept.{quote(name)} {capabilities.differs} excluded.{quote(name)}" for name in _TELLS_CHANGE)
    return (
        f"INSERT INTO {qualified(table.schema, table.name)} AS kept ({columns}) "
        f"SELECT {columns} FROM {quote(STAGE)} WHERE true "
        f"ON CONFLICT ({', '.join(quote(column) for column in table.key)}) DO UPDATE SET {assignments} "
        f"WHERE ({differs}) AND (excluded.{quote(SYNCED_AT)} >= kept.{quote(SYNCED_AT)} "
        f"OR kept.{quote(SYNCED_AT)} > {capabilities.placeholder})"
    )


def count_rows(table: Table) -> str:
    """Return the query for the number of rows in a table."""
    return f"SELECT count(*) FROM {qualified(table.schema, table.name)}"


def count_other_syncs(table: Table, capabilities: Capabilities) -> str:
    """Return the query for how many other syncs write the table; its parameters are the table's name and the key."""
    same = " AND ".join(f"{quote(name)} = {capabilities.placeholder}" for name in STATE_KEY)
    return (
        f"SELECT count(*) FROM {qualified(table.schema, STATE_TABLE)} "
        f"WHERE {quote('table_name')} = {capabilities.placeholder} AND NOT ({same})"
    )


def select_state(table: Table, capabilities: Capabilities) -> str:
    """Return the query for a sync's state; its parameters are the values of the key."""
    where = " AND ".join(f"{quote(name)} = {capabilities.placeholder}" for name in STATE_KEY)
    return (
        f"SELECT watermark, start, timezones, timezones_read_at "
        f"FROM {qualified(table.schema, STATE_TABLE)} WHERE {where}"
    )


def write_state(table: Table, capabilities: Capabilities, *, anew: bool = False) -> str:
    """Return the statement that writes a sync's state; its parameters are the values of all columns.

    The watermark never goes back: a run that was overtaken by another one must not undo what that one knows.

    :param anew: set it back all the same, after everything was read again.
    """
    watermark = "excluded.watermark" if anew else f"{capabilities.greatest}(kept.watermark, excluded.watermark)"
    rest = [column.name for column in STATE_COLUMNS if column.name not in STATE_KEY and column.name != "watermark"]
    assignments = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in rest)
    return (
        f"INSERT INTO {qualified(table.schema, STATE_TABLE)} AS kept ({name_list(STATE_COLUMNS)}) "
        f"VALUES ({', '.join([capabilities.placeholder] * len(STATE_COLUMNS))}) "
        f"ON CONFLICT ({', '.join(quote(name) for name in STATE_KEY)}) DO UPDATE SET {assignments}, "
        f"watermark = {watermark}"
    )


def _definition(column: Column, capabilities: Capabilities) -> str:
    required = " NOT NULL" if column.required else ""
    return f"{quote(column.name)} {capabilities.types[column.kind]}{required}"
