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
from airflow_provider_drchrono.warehouses.table import (
    APPENDED_KEY,
    DELETED_AT,
    DIGEST,
    MISSING_SINCE,
    NUMBER,
    PRACTICE,
    SELECTION,
    SYNCED_AT,
    TIMEZONE,
    Column,
    ColumnType,
    Shape,
    Table,
)

STAGE = "_drchrono_stage"
SEQUENCE = "_drchrono_sequence"

# A row is replaced if one of these differs: the record, with the names of what no column holds, or the times' zone.
TELLS_CHANGE = (DIGEST, TIMEZONE)


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


def create_table(shape: Shape, capabilities: Capabilities) -> str:
    """Return the statement that creates a table if it is not there."""
    lines = [_definition(column, capabilities) for column in shape.columns]
    lines.append(f"PRIMARY KEY ({', '.join(quote(column) for column in shape.key)})")
    return f"CREATE TABLE IF NOT EXISTS {qualified(shape.schema, shape.name)} ({', '.join(lines)})"


def create_state_table(schema: str | None, capabilities: Capabilities) -> str:
    """Return the statement that creates the table of states if it is not there."""
    return create_table(Shape(STATE_TABLE, schema, STATE_COLUMNS, STATE_KEY), capabilities)


def create_stage(columns: Sequence[Column], capabilities: Capabilities, sequence: str, ending: str) -> str:
    """Return the statement that creates the temporary table of incoming rows.

    :param sequence: type and default of the column that numbers rows in order of arrival.
    :param ending: what follows the columns.
    """
    lines = [f"{quote(column.name)} {capabilities.types[column.kind]}" for column in columns]
    lines.append(f"{quote(SEQUENCE)} {sequence}")
    return f"CREATE TEMPORARY TABLE {quote(STAGE)} ({', '.join(lines)}) {ending}".rstrip()


def describe(shape: Shape, columns: Sequence[Column]) -> list[str]:
    """Return the statements that say of columns what they hold, in a database that keeps that."""
    target = qualified(shape.schema, shape.name)
    described = [each for each in columns if each.about]
    return [f"COMMENT ON COLUMN {target}.{quote(each.name)} IS {_literal(each.about)}" for each in described]


def _literal(text: str) -> str:
    # The E makes backslashes mean the same whatever the server is set to; drivers take a percent sign for a parameter.
    escaped = text.replace("\\", "\\\\").replace("'", "''").replace("%", "\\x25")
    return f"E'{escaped}'"


def add_column(shape: Shape, column: Column, capabilities: Capabilities) -> str:
    """Return the statement that widens a table."""
    target = qualified(shape.schema, shape.name)
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
    """Return the statement that merges the incoming rows into the table; its parameters are practice and selection.

    What was read earlier never replaces what was read later: the readings are compared by the server's clock, not by
    the records' own times, which run backwards when clocks are set back. A row that says it was read in the future,
    because a clock was wrong then, is replaced; the present is the statement's one parameter.
    """
    own = f"{parameter('text', capabilities)}, {parameter('text', capabilities)}"
    columns = f"{name_list(table.all_columns)}, {quote(PRACTICE)}, {quote(SELECTION)}"
    rest = [column.name for column in table.all_columns if column.name not in table.key] + [PRACTICE, SELECTION]
    assignments = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in rest)
    differs = " OR ".join(f"kept.{quote(name)} {capabilities.differs} excluded.{quote(name)}" for name in TELLS_CHANGE)
    deleted, returns = "NULL", f"kept.{quote(DELETED_AT)} IS NOT NULL"
    if table.deletion_flag:
        flag = f"COALESCE(excluded.{quote(table.deletion_flag)}, false)"
        deleted = f"CASE WHEN {flag} THEN kept.{quote(DELETED_AT)} END"
        returns += f" AND NOT {flag}"
    # Where rows say only in which year they were read, the order of readings does not show.
    later = "true" if table.hides_times else f"excluded.{quote(SYNCED_AT)} >= kept.{quote(SYNCED_AT)}"
    since_deleted = "true" if table.hides_times else f"excluded.{quote(SYNCED_AT)} >= kept.{quote(DELETED_AT)}"
    return (
        f"INSERT INTO {qualified(table.schema, table.name)} AS kept ({columns}) "
        f"SELECT {name_list(table.all_columns)}, {own} FROM {quote(STAGE)} WHERE true "
        f"ON CONFLICT ({_keys(table.key)}) DO UPDATE SET {assignments}, {quote(MISSING_SINCE)} = NULL, "
        f"{quote(DELETED_AT)} = {deleted} "
        f"WHERE ({differs} OR ({returns})) AND ({later} "
        f"AND (kept.{quote(DELETED_AT)} IS NULL OR {since_deleted}) "
        f"OR kept.{quote(SYNCED_AT)} > {parameter('instant', capabilities)})"
    )


def append(table: Table, capabilities: Capabilities) -> str:
    """Return the statement that adds the incoming rows that are not there; its parameter is the practice.

    Equal records of one read are numbered, so that all of them are there, and reading them again adds none.
    """
    columns = f"{name_list(table.all_columns)}, {quote(PRACTICE)}, {quote(NUMBER)}"
    return (
        f"INSERT INTO {qualified(table.schema, table.name)} ({columns}) "
        f"SELECT {name_list(table.all_columns)}, {parameter('text', capabilities)}, "
        f"row_number() OVER (PARTITION BY {quote(DIGEST)} ORDER BY {quote(SEQUENCE)}) "
        f"FROM {quote(STAGE)} WHERE true ON CONFLICT ({_keys(APPENDED_KEY)}) DO NOTHING"
    )


def count_rows(table: Table, *, deleted: bool = True) -> str:
    """Return the query for the number of rows in a table.

    :param deleted: whether those count that are marked as deleted.
    """
    condition = "" if deleted or table.is_appended else f" WHERE {quote(DELETED_AT)} IS NULL"
    return f"SELECT count(*) FROM {qualified(table.schema, table.name)}{condition}"


def count_versions(table: Table) -> str:
    """Return the query for the number of rows in the history of a table."""
    return f"SELECT count(*) FROM {qualified(table.schema, table.history_name)}"


def count_other_syncs(table: Table, capabilities: Capabilities) -> str:
    """Return the query for how many other syncs write the table; its parameters are the table's name and the key."""
    same = " AND ".join(f"{quote(name)} = {capabilities.placeholder}" for name in STATE_KEY)
    return (
        f"SELECT count(*) FROM {qualified(table.schema, STATE_TABLE)} "
        f"WHERE {quote('table_name')} = {capabilities.placeholder} AND NOT ({same})"
    )


def count_states(table: Table, capabilities: Capabilities) -> str:
    """Return the query for how many syncs have loaded a table; its parameter is the table's name."""
    state = qualified(table.schema, STATE_TABLE)
    return f"SELECT count(*) FROM {state} WHERE table_name = {capabilities.placeholder}"


def count_latest_states(table: Table, capabilities: Capabilities, *, like: bool) -> str:
    """Return the query for how many of the syncs that loaded a table last select by a pattern, or not by it.

    Its parameters are the table's name, twice, and the pattern.
    """
    state = qualified(table.schema, STATE_TABLE)
    mark = capabilities.placeholder
    when = "COALESCE(synced_at, watermark)"
    return (
        f"SELECT count(*) FROM {state} WHERE table_name = {mark} "
        f"AND {when} = (SELECT max({when}) FROM {state} WHERE table_name = {mark}) "
        f"AND selection {'LIKE' if like else 'NOT LIKE'} {mark}"
    )


def select_state(table: Table, capabilities: Capabilities) -> str:
    """Return the query for a sync's state; its parameters are the values of the key."""
    where = " AND ".join(f"{quote(name)} = {capabilities.placeholder}" for name in STATE_KEY)
    return (
        f"SELECT watermark, start, timezones, timezones_read_at, completed_at "
        f"FROM {qualified(table.schema, STATE_TABLE)} WHERE {where}"
    )


def write_state(table: Table, capabilities: Capabilities, *, anew: bool = False) -> str:
    """Return the statement that writes a sync's state; its parameters are the values of all columns.

    The watermark never goes back: a run that was overtaken by another one must not undo what that one knows.

    :param anew: set it back all the same, after everything was read again.
    """
    watermark = "excluded.watermark" if anew else f"{capabilities.greatest}(kept.watermark, excluded.watermark)"
    kept = (*STATE_KEY, "watermark", "completed_at")
    rest = [column.name for column in STATE_COLUMNS if column.name not in kept]
    assignments = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in rest)
    return (
        f"INSERT INTO {qualified(table.schema, STATE_TABLE)} AS kept ({name_list(STATE_COLUMNS)}) "
        f"VALUES ({', '.join([capabilities.placeholder] * len(STATE_COLUMNS))}) "
        f"ON CONFLICT ({', '.join(quote(name) for name in STATE_KEY)}) DO UPDATE SET {assignments}, "
        f"watermark = {watermark}, completed_at = COALESCE(excluded.completed_at, kept.completed_at)"
    )


def select_practice(table: Table, capabilities: Capabilities) -> str:
    """Return the query for the practice of an authorization; its parameters are the source and the authorization."""
    return (
        f"SELECT grant_id, practice, practice_read_at FROM {qualified(table.schema, STATE_TABLE)} "
        f"WHERE source = {capabilities.placeholder} AND grant_id = {capabilities.placeholder} "
        f"ORDER BY practice_read_at DESC LIMIT 1"
    )


def parameter(kind: ColumnType, capabilities: Capabilities) -> str:
    """Return how a parameter of a type is written."""
    if not capabilities.casts:
        return capabilities.placeholder
    return f"CAST({capabilities.placeholder} AS {capabilities.types[kind]})"


def same_key(names: Iterable[str], left: str, right: str) -> str:
    """Return the condition that two tables' rows have the same key."""
    return " AND ".join(f"{left}.{quote(name)} = {right}.{quote(name)}" for name in names)


def _keys(names: Iterable[str]) -> str:
    return ", ".join(quote(name) for name in names)


def _definition(column: Column, capabilities: Capabilities) -> str:
    required = " NOT NULL" if column.required else ""
    return f"{quote(column.name)} {capabilities.types[column.kind]}{required}"
