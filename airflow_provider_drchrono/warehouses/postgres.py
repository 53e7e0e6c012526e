"""Loads PostgreSQL: rows go through COPY into a temporary table and are merged from there, in one transaction."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

from airflow_provider_drchrono.common.lineage import DatasetName
from airflow_provider_drchrono.warehouses import sql
from airflow_provider_drchrono.warehouses.base import STATE_TABLE, Capabilities, SyncKey, WarehouseError
from airflow_provider_drchrono.warehouses.loading import Session, merge_statement
from airflow_provider_drchrono.warehouses.sql_warehouse import FoundColumn, SqlWarehouse, explanation
from airflow_provider_drchrono.warehouses.table import Row, Table

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


class PostgresWarehouse(SqlWarehouse):
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
        comments=True,
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

    @classmethod
    def dataset(cls, connection: Any, schema: str | None, table: str) -> DatasetName:
        place = f"postgres://{connection.host}:{connection.port or 5432}"
        return DatasetName(place, f"{connection.schema or connection.login}.{schema or 'public'}.{table}")

    def _begin_preparing(self, session: Session) -> None:
        # Tasks that start together must not create the same table at once: IF NOT EXISTS does not prevent that.
        session.row("SELECT pg_advisory_xact_lock(hashtext(%s))", (STATE_TABLE,))

    def _has_schema(self, session: Session, schema: str) -> bool:
        return session.row("SELECT count(*) FROM pg_namespace WHERE nspname = %s", (schema,)) != (0,)

    def _check_rights(self, session: Session, table: Table, *, has_history: bool) -> None:
        rights = {name: ["SELECT", "INSERT", "UPDATE"] for name in (table.name, STATE_TABLE)}
        if has_history:
            rights[table.history.name] = ["SELECT", "INSERT", "UPDATE", "DELETE"]
        for name, needed in rights.items():
            if session.row(_MAY_WRITE, (sql.qualified(table.schema, name), needed)) != (True,):
                raise WarehouseError(
                    f"Could not write table {name} in {self.name}: permission was denied; grant the connection's user "
                    f"{', '.join(needed[:-1])} and {needed[-1]} on it",
                    transient=False,
                )

    def _columns(self, session: Session, schema: str | None, name: str) -> list[FoundColumn]:
        found = session.rows(_EXISTING_COLUMNS, (sql.qualified(schema, name),))
        return [(column, kind, in_key) for column, kind, in_key in found]

    def _fill_stage(self, session: Session, table: Table, rows: Iterable[Row], *, indexed: bool) -> int:
        columns = table.all_columns
        identity = "BIGINT GENERATED ALWAYS AS IDENTITY"
        session.run(sql.create_stage(columns, self.capabilities, identity, "ON COMMIT DROP"))
        copy = f"COPY {sql.quote(sql.STAGE)} ({sql.name_list(columns)}) FROM STDIN WITH {_COPY_OPTIONS}"
        assert isinstance(session, _Session)  # noqa: S101 - it is that of _transaction
        return session.copy(copy, _chunks(rows))

    def _merge(self, session: Session, table: Table, key: SyncKey) -> tuple[int, int]:
        statement, values = merge_statement(table, self.capabilities, key)
        # A row that was there keeps the number of this transaction in xmax; a new one has none.
        new, changed = session.row(
            f"WITH merged AS ({statement} RETURNING xmax = 0 AS added) "  # noqa: S608
            f"SELECT count(*) FILTER (WHERE added) AS new, count(*) FILTER (WHERE NOT added) AS changed "
            f"FROM merged",
            values,
        )
        return int(new), int(changed)

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Session]:
        try:
            with closing(self._connection.cursor()) as cursor:
                yield _Session(cursor)
            self._connection.commit()
        except BaseException:
            self._connection.rollback()
            raise

    def _explained(self, purpose: str) -> AbstractContextManager[None]:
        return _explained(f"{purpose} in {self.name}")


class _Session:
    """Runs the statements of a load through a cursor."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def run(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement, and return how many rows it has changed."""
        self._cursor.execute(statement, values)
        return int(self._cursor.rowcount)

    def copy(self, statement: str, chunks: Iterator[bytes]) -> int:
        """Run a COPY, and return how many rows it has written."""
        _copy(self._cursor, statement, chunks)
        return int(self._cursor.rowcount)

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        self._cursor.execute(query, values)
        return [_values(row) for row in self._cursor.fetchall()]

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
        problem = _NO_CONNECTION
    else:
        unknown = (f"the server answered {kind} {state or ''}".rstrip(), "check the connection and the table", False)
        problem = _PROBLEMS.get(state or "", _PROBLEMS.get((state or "")[:2], unknown))
    return explanation("PostgreSQL", purpose, problem)
