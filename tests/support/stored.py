"""Everything in Airflow's database, for the tests that look for what must not be there."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

RESULTS = "xcom"
"""What the tables are called, or begin with, in which Airflow keeps what tasks return."""


def stored_text(database: Path) -> dict[str, str]:
    """Return the rows of all tables as text, by table.

    Airflow's interfaces show what is meant to be seen, so the tables are read. What they are called does not matter.
    """
    with closing(sqlite3.connect(database)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {name: "\n".join(map(repr, connection.execute(f'SELECT * FROM "{name}"'))) for (name,) in tables}


def tables_with(database: Path, text: str) -> list[str]:
    """Return the tables in which a text stands, but for those of results."""
    found = stored_text(database).items()
    return [name for name, rows in found if text in rows and not name.startswith(RESULTS)]


def rendered_fields(database: Path) -> list[Any]:
    """Return what Airflow stores of rendered fields, in whatever table of its version: the newest try, or all."""
    found = []
    with closing(sqlite3.connect(database)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if "rendered_fields" in {column for _, column, *_ in connection.execute(f'PRAGMA table_info("{name}")')}:
                rows = connection.execute(f'SELECT rendered_fields FROM "{name}"')
                found += [json.loads(fields) for (fields,) in rows]
    return found
