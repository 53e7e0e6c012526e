"""Loads PostgreSQL: rows go through COPY into a temporary table and are merged from there, in one transaction."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
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

# COPY's text format, with separators that hardly any text holds, so that rows seldom need a second look.
_DELIMITER = "\x1f"
_NULL = "\x1e"
_COPY_OPTIONS = r"(FORMAT text, DELIMITER E'\x1f', NULL E'\x1e', ENCODING 'UTF8')"

# Characters handed to the server at once: more gains no speed.
_CHUNK = 256 * 1024

_EXISTING_COLUMNS = """
    SELECT attribute.attname,
           format_type(attribute.atttypid, attribute.atttypmod),
           COALESCE(attribute.attnum = ANY (primary_key.indkey), false) AS in_key
    FROM pg_attribute AS attribute
    LEFT JOIN pg_index AS primary_key
           ON primary_key.indrelid = attribute.attrelid AND primary_key.indisprimary
    WHERE attribute.attrelid = to_regclass(%s) AND attribute.attnum > 0 AND NOT attribute.attisdropped
"""
_MAY_WRITE = """
    SELECT bool_and(has_table_privilege(to_regclass(%s), privilege)) AS may_write
    FROM unnest(CAST(%s AS TEXT[])) AS privilege
"""

# What went wrong, what to do about it, and whether trying again may help; by SQLSTATE, or by its first two characters.
_PROBLEMS = {
    "08": ("the connection broke off", "check the server and the network, then try again", True),
    "22": ("the server refuses a value", "report this with the table's name", False),
    "23": ("a constraint of the table refuses the rows", "remove constraints that were added", False),
    "25006": ("the server is read-only", "name a server in the connection that accepts writes", False),
    "28": (
        "the server refused the login",
        "check that the role of the connection's login is there, and its password",
        False,
    ),
    "3D000": ("there is no such database", "check the database in the connection's schema field", False),
    "3F000": ("there is no such schema", "create the schema, or name another one", False),
    "40": ("another transaction was in the way", "try again", True),
    "42501": ("permission was denied", "grant the connection's user CREATE on the schema, or the table itself", False),
    "53": ("the server is out of room or connections", "make room, then try again", True),
    "55P03": ("another transaction holds a lock", "let that one finish, then try again", True),
    "57": ("the server stopped the statement", "check the server and its timeouts, then try again", True),
}
_REFUSALS = (
    (re.compile(r'FATAL:\s+database "[^"]*" does not exist'), "3D000"),
    (re.compile(r'FATAL:\s+role "[^"]*" does not exist'), "28000"),
    (re.compile(r"FATAL:\s+.*authentication failed for user"), "28P01"),
    (re.compile(r"FATAL:\s+no pg_hba\.conf entry"), "28000"),
    (re.compile(r"FATAL:\s+permission denied for database"), "42501"),
)
_NO_CONNECTION = (
    "no connection could be made",
    "check host, port, login and password of the connection and that the server runs",
    True,
)


class PostgresWarehouse(Warehouse):
    """A PostgreSQL database, through a connection of Airflow's PostgreSQL provider and either of its drivers."""

    capabilities = Capabilities(
        types={
            "text": "TEXT",
            "integer": "BIGINT",
            "decimal": "NUMERIC",
            "boolean": "BOOLEAN",
            "date": "DATE",
            "time": "TIME WITHOUT TIME ZONE",
            "timestamp": "TIMESTAMP WITHOUT TIME ZONE",
            "json": "JSONB",
            "instant": "TIMESTAMP WITH TIME ZONE",
        },
        placeholder="%s",
        longest_name=63,
        schemas=True,
        greatest="GREATEST",
        differs="IS DISTINCT FROM",
        casts=True,
    )

    def __init__(self, name: str) -> None:
        super().__init__(name)
        try:
            from airflow.providers.postgres.hooks.postgres import PostgresHook
        except ImportError:
            raise WarehouseError(
                f"Connection {name} is one to PostgreSQL, and Airflow's PostgreSQL provider is not installed here; "
                f"install airflow-provider-drchrono[postgres]",
                transient=False,
            ) from None
        # Either driver may be the one that is there, and neither is imported by name: so this is any DB-API connection.
        hook: Any = PostgresHook(postgres_conn_id=name)
        with _explained(f"connect to {name}"):
            self._connection: Any = hook.get_conn()

    def _prepare(self, table: Table, history: bool) -> list[str]:
        with _explained(f"prepare table {table.label} in {self.name}"), self._transaction() as cursor:
            # Tasks that start together must not create the same table at once: IF NOT EXISTS does not prevent that.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (STATE_TABLE,))
            self._check_schema(cursor, table)
            added = self._shape(cursor, table.shape)
            rights = {name: ["SELECT", "INSERT", "UPDATE"] for name in (table.name, STATE_TABLE)}
            if self._columns(cursor, table.schema, table.history.name):
                self._shape(cursor, table.history)
                rights[table.history.name] = ["SELECT", "INSERT", "UPDATE", "DELETE"]
            elif history:
                self._shape(cursor, table.history)
                cursor.execute(history_sql.index_of_open_versions(table))
                cursor.execute(history_sql.convert(table))
            if not self._columns(cursor, table.schema, STATE_TABLE):
                cursor.execute(sql.create_state_table(table.schema, self.capabilities))
            for name, needed in rights.items():
                cursor.execute(_MAY_WRITE, (sql.qualified(table.schema, name), needed))
                if _values(cursor.fetchone()) != (True,):
                    raise WarehouseError(
                        f"Could not write table {name} in {self.name}: permission was denied; grant the connection's "
                        f"user {', '.join(needed[:-1])} and {needed[-1]} on it",
                        transient=False,
                    )
        return added

    def keeps_history(self, table: Table) -> bool:
        with _explained(f"read table {table.history.label} in {self.name}"), self._transaction() as cursor:
            return bool(self._columns(cursor, table.schema, table.history.name))

    def state(self, table: Table, key: SyncKey) -> SyncState | None:
        query = sql.select_state(table, self.capabilities)
        with _explained(f"read table {STATE_TABLE} in {self.name}"), self._transaction() as cursor:
            cursor.execute(query, key.values)
            row = cursor.fetchone()
        return None if row is None else read_state(_values(row))

    def _number(self, table: Table, query: str, values: Sequence[Any]) -> int:
        with _explained(f"read table {table.label} in {self.name}"), self._transaction() as cursor:
            cursor.execute(query, tuple(values))
            (number,) = _values(cursor.fetchone())
        return int(number)

    def practice_of(self, table: Table, source: str, grant_id: str) -> KnownPractice | None:
        query = sql.select_practice(table, self.capabilities)
        with _explained(f"read table {STATE_TABLE} in {self.name}"), self._transaction() as cursor:
            cursor.execute(query, (source, grant_id))
            row = cursor.fetchone()
        return None if row is None else read_practice(_values(row))

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
        with _explained(f"write table {table.label} in {self.name}"), self._transaction() as cursor:
            read = self._fill_stage(cursor, table, rows)
            counts = self._loading(cursor, table, key).load(read, complete, deletions)
            values = state_values(key, state_after(state, complete, counts), run, counts)
            cursor.execute(sql.write_state(table, self.capabilities, anew=run.anew), values)
        return counts

    def missing(self, table: Table, key: SyncKey, *, selects_all: bool, limit: int) -> list[tuple[Any, ...]]:
        query = select_missing(table, self.capabilities, selects_all=selects_all)
        with _explained(f"read table {table.label} in {self.name}"), self._transaction() as cursor:
            cursor.execute(query, missing_values(key, selects_all=selects_all, limit=limit))
            return [_values(row) for row in cursor.fetchall()]

    def settle(self, table: Table, key: SyncKey, rows: Iterable[Row], gone: Sequence[tuple[Any, ...]]) -> LoadCounts:
        with _explained(f"write table {table.label} in {self.name}"), self._transaction() as cursor:
            read = self._fill_stage(cursor, table, rows)
            return self._loading(cursor, table, key).settle(read, gone)

    def _fill_stage(self, cursor: Any, table: Table, rows: Iterable[Row]) -> int:
        columns = table.all_columns
        identity = "BIGINT GENERATED ALWAYS AS IDENTITY"
        cursor.execute(sql.create_stage(columns, self.capabilities, identity, "ON COMMIT DROP"))
        copy = f"COPY {sql.quote(sql.STAGE)} ({sql.name_list(columns)}) FROM STDIN WITH {_COPY_OPTIONS}"
        _copy(cursor, copy, _chunks(rows))
        return int(cursor.rowcount)

    def _loading(self, cursor: Any, table: Table, key: SyncKey) -> Loading:
        session = _Session(cursor)

        def merge() -> tuple[int, int]:
            statement, values = merge_statement(table, self.capabilities, key)
            # A row that was there keeps the number of this transaction in xmax; a new one has none.
            new, changed = session.row(
                f"WITH merged AS ({statement} RETURNING xmax = 0 AS added) "  # noqa: S608
                f"SELECT count(*) FILTER (WHERE added) AS new, count(*) FILTER (WHERE NOT added) AS changed "
                f"FROM merged",
                values,
            )
            return int(new), int(changed)

        has_history = bool(self._columns(cursor, table.schema, table.history.name))
        return Loading(session, table, self.capabilities, key, merge, has_history)

    def close(self) -> None:
        self._connection.close()

    def _check_schema(self, cursor: Any, table: Table) -> None:
        if table.schema is None:
            return
        cursor.execute("SELECT count(*) FROM pg_namespace WHERE nspname = %s", (table.schema,))
        if _values(cursor.fetchone()) == (0,):
            raise WarehouseError(
                f"Could not prepare table {table.label} in {self.name}: there is no schema {table.schema}; create it, "
                f"or name another one",
                transient=False,
            )

    def _shape(self, cursor: Any, shape: Shape) -> list[str]:
        found = self._columns(cursor, shape.schema, shape.name)
        if not found:
            cursor.execute(sql.create_table(shape, self.capabilities))
            return []
        types = {name: kind for name, kind, _ in found}
        key = [name for name, _, in_key in found if in_key]
        missing = check_shape(self.name, shape, types, key, self.capabilities.types)
        for column in missing:
            cursor.execute(sql.add_column(shape, column, self.capabilities))
        return [column.name for column in missing]

    @staticmethod
    def _columns(cursor: Any, schema: str | None, name: str) -> list[tuple[Any, ...]]:
        cursor.execute(_EXISTING_COLUMNS, (sql.qualified(schema, name),))
        return [_values(row) for row in cursor.fetchall()]

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        try:
            with closing(self._connection.cursor()) as cursor:
                yield cursor
            self._connection.commit()
        except BaseException:
            self._connection.rollback()
            raise


class _Session:
    """Runs the statements of a load through a cursor."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def run(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement, and return how many rows it has changed."""
        self._cursor.execute(statement, values)
        return int(self._cursor.rowcount)

    def row(self, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
        """Return the only row of a query."""
        self._cursor.execute(query, values)
        return _values(self._cursor.fetchone())


def _values(row: Any) -> tuple[Any, ...]:
    """Return a row's values, whatever kind of row the connection's ``cursor`` extra asks for."""
    return tuple(row.values()) if isinstance(row, Mapping) else tuple(row)


def _copy(cursor: Any, statement: str, chunks: Iterator[bytes]) -> None:
    if not hasattr(cursor, "copy_expert"):
        with cursor.copy(statement) as copy:
            for chunk in chunks:
                copy.write(chunk)
        return
    reader = _Reader(chunks)
    cursor.copy_expert(statement, reader)
    if reader.error is not None:
        raise reader.error


class _Reader:
    """What psycopg2 reads from. It would put the text of an error raised here into one of its own."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.error: BaseException | None = None
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Return up to that many bytes; none at the end, or once ``error`` is set."""
        try:
            while not self._rest:
                self._rest = next(self._chunks)
        except StopIteration:
            return b""
        except BaseException as error:
            self.error = error
            return b""
        block, self._rest = self._rest[:size], self._rest[size:]
        return block


def _chunks(rows: Iterable[Row]) -> Iterator[bytes]:
    lines: list[str] = []
    size = 0
    for row in rows:
        line = copy_line(row)
        lines.append(line)
        size += len(line)
        if size > _CHUNK:
            yield "".join(lines).encode()
            lines, size = [], 0
    yield "".join(lines).encode()


def copy_line(row: Row) -> str:
    """Return a row as a line of COPY's text format."""
    fields = [value if value.__class__ is str else _NULL if value is None else str(value) for value in row]
    line = _DELIMITER.join(fields)
    if line.count(_DELIMITER) != len(row) - 1 or line.count(_NULL) != row.count(None):
        line = _DELIMITER.join(
            _NULL if value is None else field.replace("\\", "\\\\").replace(_DELIMITER, "\\x1f").replace(_NULL, "\\x1e")
            for value, field in zip(row, fields, strict=True)
        )
    elif "\\" in line:
        line = line.replace("\\", "\\\\")
    return line.replace("\n", "\\n").replace("\r", "\\r") + "\n"


@contextmanager
def _explained(purpose: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("psycopg", "psycopg2"):
            raise
        state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or _refusal(str(error))
        raise _explain(type(error).__name__, state, purpose) from None


def _refusal(text: str) -> str | None:
    """Return the SQLSTATE of a connection that the server refused for good.

    Drivers know none as long as there is no connection. They repeat what the server wrote, which says so in English
    unless it is set to another language; then the refusal passes for one that may pass.
    """
    return next((state for pattern, state in _REFUSALS if pattern.search(text)), None)


def _explain(kind: str, state: str | None, purpose: str) -> WarehouseError:
    if state is None and kind in ("OperationalError", "InterfaceError", "ConnectionTimeout"):
        what, remedy, transient = _NO_CONNECTION
    else:
        unknown = (f"the server answered {kind} {state or ''}".rstrip(), "check the connection and the table", False)
        what, remedy, transient = _PROBLEMS.get(state or "", _PROBLEMS.get((state or "")[:2], unknown))
    return WarehouseError(f"Could not {purpose} (PostgreSQL): {what}; {remedy}", transient=transient)
