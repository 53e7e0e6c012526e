"""Filling a table with pages of the API, beside code written by hand for this one table.

Run it with ``python tests/benchmarks/bench_warehouse.py [rows] [rounds] [URL of an empty PostgreSQL database]``. Two
courses are timed: loading pages that are staged, and the way from the text of a page to the table, which for the sync
includes staging. The hand-written code trusts its input: it looks for no value that does not fit, no unknown field, no
digest, and cannot go on where it was. Both run in turns, and each round compares what they wrote.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PAGE = 250
CHANGED = 0.06
LOAD, WHOLE_WAY = "load of staged pages", "page to table"

Timing = tuple[float, float]


def record(number: int, version: int) -> dict[str, Any]:
    """A made-up patient with every field that the catalogue's plain form has."""
    from airflow_provider_drchrono.catalog import load

    chance = random.Random(number * 7 + version)
    values: dict[str, Any] = {}
    for field in load().record("Patient").fields.values():
        if field.verbose:
            continue
        if field.type == "integer":
            values[field.name] = chance.randrange(1, 10_000)
        elif field.type == "boolean":
            values[field.name] = chance.random() < 0.5
        elif field.type == "array":
            values[field.name] = [chance.randrange(1, 100) for _ in range(3)]
        elif field.format == "date":
            values[field.name] = f"19{chance.randrange(40, 99)}-0{chance.randrange(1, 9)}-1{chance.randrange(0, 9)}"
        elif field.format == "date-time":
            values[field.name] = f"2026-01-1{version}T0{chance.randrange(0, 9)}:15:00"
        elif field.format == "decimal":
            values[field.name] = f"{chance.randrange(0, 90)}.50"
        else:
            values[field.name] = None if chance.random() < 0.3 else f"{field.name} {chance.randrange(10**6)}"
    return values | {"id": number}


def stage(folder: Path, pages: list[bytes]) -> tuple[Any, Any]:
    """Stage pages as the sync does."""
    from airflow_provider_drchrono.transfers.staging import Plan, Staging
    from airflow_provider_drchrono.transfers.staging_files import LocalFolder

    staging = Staging(LocalFolder(folder), "bench")
    assert staging.acquire()
    checkpoint = staging.restart(Plan(None, None, None, ("America/New_York",), None))
    now = datetime.now(UTC)
    for number, page in enumerate(pages, start=1):
        next_url = "more" if number < len(pages) else None
        checkpoint = staging.add(checkpoint, json.loads(page), read_at=now, began=now, next_url=next_url, calls=1)
    staging.release()
    return staging, checkpoint


def decoded(pages: list[bytes]) -> Iterator[dict[str, Any]]:
    for page in pages:
        yield from json.loads(page)


def staged_records(folder: Path) -> Iterator[dict[str, Any]]:
    """Read parts back without any of the sync's code."""
    for part in sorted(folder.glob("part-*.ndjson.gz")):
        with gzip.open(part) as lines:
            for line in lines:
                yield json.loads(line)


def columns() -> list[tuple[str, str]]:
    from airflow_provider_drchrono.catalog import load
    from airflow_provider_drchrono.warehouses.table import kind_of

    return [(field.name, kind_of(field)) for field in load().record("Patient").fields.values() if not field.verbose]


def by_hand_sqlite(records: Iterator[dict[str, Any]], database: Path) -> None:
    names = [name for name, _ in columns()]
    nested = {index for index, (_, kind) in enumerate(columns()) if kind == "json"}

    def rows() -> Iterator[list[Any]]:
        for each in records:
            row = [each.get(name) for name in names]
            for index in nested:
                row[index] = json.dumps(row[index])
            yield row

    connection = sqlite3.connect(database)
    connection.execute("PRAGMA journal_mode = WAL")
    listed = ", ".join(f'"{name}"' for name in names)
    typed = ", ".join(f'"{name}" {"INTEGER" if kind == "integer" else "TEXT"}' for name, kind in columns())
    connection.execute(f'CREATE TABLE IF NOT EXISTS patients ({typed}, PRIMARY KEY ("id"))')
    update = ", ".join(f'"{name}" = excluded."{name}"' for name in names if name != "id")
    connection.executemany(
        f"INSERT INTO patients ({listed}) VALUES ({', '.join('?' * len(names))}) "
        f'ON CONFLICT ("id") DO UPDATE SET {update}',
        rows(),
    )
    connection.commit()
    connection.close()


def by_hand_postgres(records: Iterator[dict[str, Any]], url: str) -> None:
    import psycopg

    names = [name for name, _ in columns()]
    types = {
        "text": "text", "integer": "bigint", "decimal": "numeric", "boolean": "boolean",
        "date": "date", "timestamp": "timestamp", "json": "jsonb",
    }  # fmt: skip
    nested = {index for index, (_, kind) in enumerate(columns()) if kind == "json"}
    listed = ", ".join(f'"{name}"' for name in names)
    typed = ", ".join(f'"{name}" {types[kind]}' for name, kind in columns())
    update = ", ".join(f'"{name}" = excluded."{name}"' for name in names if name != "id")
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f'CREATE TABLE IF NOT EXISTS patients_by_hand ({typed}, PRIMARY KEY ("id"))')
        cursor.execute(f"CREATE TEMP TABLE stage ({typed}) ON COMMIT DROP")
        with cursor.copy(f"COPY stage ({listed}) FROM STDIN") as copy:
            for each in records:
                row = [each.get(name) for name in names]
                for index in nested:
                    row[index] = json.dumps(row[index])
                copy.write_row(row)
        cursor.execute(
            f'INSERT INTO patients_by_hand SELECT DISTINCT ON ("id") * FROM stage ORDER BY "id", updated_at DESC '
            f'ON CONFLICT ("id") DO UPDATE SET {update}'
        )


def load_ours(warehouse: Any, staging: Any, checkpoint: Any) -> Any:
    from airflow_provider_drchrono.catalog import load
    from airflow_provider_drchrono.incremental.window import Practice, SyncState
    from airflow_provider_drchrono.warehouses.base import Run, SyncKey
    from airflow_provider_drchrono.warehouses.table import RowMaker, table_for

    table = table_for(load(), load().resource("patients"), name="patients", schema=None, verbose=False)
    maker = RowMaker(table, "America/New_York")
    warehouse.prepare(table)
    counts = warehouse.load(
        table,
        maker.rows(staging.lines(checkpoint)),
        SyncKey("bench", "patients", "patients", ""),
        SyncState(datetime.now(UTC), None, Practice(("America/New_York",), None)),
        Run("bench", 1),
    )
    assert not maker.misfits
    assert not maker.unknown
    return counts


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def round_of(
    root: Path,
    batches: list[list[bytes]],
    by_hand: Callable[[Iterator[dict[str, Any]]], None],
    ours: Callable[[Any, Any], Any],
    empty: Callable[[], None],
    compare: Callable[[], None],
) -> dict[tuple[str, int], Timing]:
    """Time both courses once for each batch; return the seconds by hand and ours."""
    times: dict[tuple[str, int], Timing] = {}
    for state in (LOAD, WHOLE_WAY):
        empty()
        for number, pages in enumerate(batches):
            folder = root / f"staged-{number}"
            if state == LOAD:
                staged = stage(folder, pages)
                hand = seconds(lambda folder=folder: by_hand(staged_records(folder)))
                sync = seconds(lambda staged=staged: ours(*staged))
            else:
                hand = seconds(lambda pages=pages: by_hand(decoded(pages)))
                sync = seconds(lambda folder=folder, pages=pages: ours(*stage(folder, pages)))
            times[state, number] = hand, sync
        compare()
    return times


def sqlite_round(root: Path, batches: list[list[bytes]]) -> dict[tuple[str, int], Timing]:
    from airflow_provider_drchrono.warehouses.sqlite import SqliteWarehouse

    hand, ours = root / "hand.db", root / "ours.db"
    os.environ["AIRFLOW_CONN_BENCH"] = json.dumps({"conn_type": "sqlite", "host": str(ours)})

    def empty() -> None:
        for path in root.glob("*.db*"):
            path.unlink()

    def load(staging: Any, checkpoint: Any) -> None:
        with closing(SqliteWarehouse("bench")) as warehouse:
            load_ours(warehouse, staging, checkpoint)

    def compare() -> None:
        with closing(sqlite3.connect(hand)) as both:
            both.execute(f"ATTACH '{ours}' AS ours")
            query = "SELECT id, first_name, copay * 1, replace(updated_at, 'T', ' ') FROM {}.patients ORDER BY id"
            rows = [both.execute(query.format(name)).fetchall() for name in ("ours", "main")]
        assert rows[0] == rows[1]

    return round_of(root, batches, lambda records: by_hand_sqlite(records, hand), load, empty, compare)


def postgres_round(url: str, root: Path, batches: list[list[bytes]]) -> dict[tuple[str, int], Timing]:
    import psycopg

    from airflow_provider_drchrono.warehouses.postgres import PostgresWarehouse

    os.environ["AIRFLOW_CONN_BENCH"] = url

    def empty() -> None:
        with psycopg.connect(url) as connection:
            connection.execute("DROP TABLE IF EXISTS patients, patients_by_hand, _drchrono_sync")

    def load(staging: Any, checkpoint: Any) -> None:
        with closing(PostgresWarehouse("bench")) as warehouse:
            load_ours(warehouse, staging, checkpoint)

    def compare() -> None:
        query = "SELECT id, first_name, copay, updated_at, offices FROM {} ORDER BY id"
        with psycopg.connect(url) as connection:
            rows = [connection.execute(query.format(name)).fetchall() for name in ("patients", "patients_by_hand")]
        assert rows[0] == rows[1]

    return round_of(root, batches, lambda records: by_hand_postgres(records, url), load, empty, compare)


def report(
    database: str, batches: list[list[bytes]], rounds: list[dict[tuple[str, int], Timing]]
) -> dict[tuple[str, int], float]:
    """Print medians, and return the median ratio for each state and batch."""
    ratios = {}
    for state, number in rounds[0]:
        times = [each[state, number] for each in rounds]
        rows = sum(len(json.loads(page)) for page in batches[number])
        hand, ours = (rows / statistics.median(each[side] for each in times) for side in (0, 1))
        ratios[state, number] = statistics.median(each[0] / each[1] for each in times)
        print(
            f"{database:<10} {state:<20} {rows:>9,} rows {('at first', 'again')[number]:<8} "
            f"by hand {hand:>8,.0f} rows/s   ours {ours:>8,.0f} rows/s   ratio {ratios[state, number]:.2f}"
        )
    return ratios


def measure(rows: int, rounds: int, url: str | None = None) -> dict[str, dict[tuple[str, int], float]]:
    """Measure, print, and return ratios by database, state and batch: the whole list, then a changed part of it."""
    every = round(1 / CHANGED)
    batches = [
        in_pages([record(number, 1) for number in range(1, rows + 1)]),
        in_pages([record(number, 2) for number in range(1, rows + 1, every)]),
    ]
    root = Path(tempfile.mkdtemp(prefix="drchrono-bench-"))
    os.environ.setdefault("AIRFLOW_HOME", str(root))
    try:
        ratios = {"SQLite": report("SQLite", batches, [sqlite_round(root, batches) for _ in range(rounds)])}
        if url:
            times = [postgres_round(url, root, batches) for _ in range(rounds)]
            ratios["PostgreSQL"] = report("PostgreSQL", batches, times)
        return ratios
    finally:
        shutil.rmtree(root)


def in_pages(records: list[dict[str, Any]]) -> list[bytes]:
    return [json.dumps(records[first : first + PAGE]).encode() for first in range(0, len(records), PAGE)]


def test_a_load_keeps_up_with_code_written_by_hand() -> None:
    ratios = measure(20_000, 3, os.environ.get("DRCHRONO_BENCH_POSTGRES"))

    assert ratios["SQLite"][LOAD, 0] >= 0.7
    assert ratios.get("PostgreSQL", {}).get((LOAD, 0), 1.0) >= 0.6


if __name__ == "__main__":
    arguments = dict(enumerate(sys.argv))
    measure(int(arguments.get(1, 50_000)), int(arguments.get(2, 3)), arguments.get(3))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
