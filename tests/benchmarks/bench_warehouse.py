"""Filling a table with pages of the API, beside code written by hand for this one table.

Run it with ``python tests/benchmarks/bench_warehouse.py [rows] [rounds] [URL of an empty PostgreSQL database]``. Two
courses are timed: loading pages that are staged, and the whole way from an HTTP server in another process to the table,
which for the sync includes everything that it does in a task, staging among it. The hand-written code trusts its input:
it looks for no value that does not fit, no unknown field, no digest, and cannot go on where it was. Both run in turns,
and each round compares what they wrote.
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
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

PAGE = 250
CHANGED = 0.06
LOAD, WHOLE_WAY = "load of staged pages", "HTTP to table"

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
    from airflow_provider_drchrono.client.responses import parse_page
    from airflow_provider_drchrono.transfers.staging import Plan, Staging
    from airflow_provider_drchrono.transfers.staging_files import LocalFolder

    staging = Staging(LocalFolder(folder), "bench")
    assert staging.acquire()
    checkpoint = staging.restart(Plan(None, None, None, ("America/New_York",), None))
    now = datetime.now(UTC)
    for number, page in enumerate(pages, start=1):
        next_url = "more" if number < len(pages) else None
        records = parse_page(page)["results"]
        checkpoint = staging.add(checkpoint, records, read_at=now, began=now, next_url=next_url, calls=1)
    staging.release()
    return staging, checkpoint


# Serves the pages of the batches in a folder, and an access token.
SERVER = """
import http.server, json, pathlib, sys, urllib.parse

class Pages(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self):
        address = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(address.query))
        batch = query.get("batch", "1" if "since" in query else "0")
        number = int(query.get("page", 0))
        self.answer(pathlib.Path(sys.argv[1], f"{batch}-{number}.json").read_bytes())

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        token = {"access_token": "a", "refresh_token": "r", "expires_in": 172800, "token_type": "Bearer", "scope": ""}
        self.answer(json.dumps(token).encode())

    def answer(self, content):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextmanager
def page_server(folder: Path) -> Iterator[str]:
    """Serve the pages of a folder from another process, and yield the base URL."""
    process = subprocess.Popen([sys.executable, "-c", SERVER, folder], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.communicate()


def fetched(base_url: str, batch: int) -> Iterator[dict[str, Any]]:
    """Read a list as a script would."""
    import httpx

    with httpx.Client() as client:
        url: str | None = f"{base_url}/api/patients?batch={batch}"
        while url:
            page = client.get(url, headers={"Authorization": "Bearer a"}).json()
            yield from page["results"]
            url = page["next"] and base_url + page["next"]


def sync_ours(base_url: str, root: Path, batch: int, open_warehouse: Callable[[], Any]) -> None:
    """Sync as the operator does; the table's state makes the second batch the incremental one."""
    from airflow_provider_drchrono.catalog import load
    from airflow_provider_drchrono.client import MemoryTokenStore
    from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
    from airflow_provider_drchrono.transfers.staging import Staging
    from airflow_provider_drchrono.transfers.staging_files import LocalFolder
    from airflow_provider_drchrono.transfers.sync import Sync, SyncRequest, prepare
    from airflow_provider_drchrono.warehouses.table import table_for

    connection = {
        "conn_type": "drchrono",
        "host": base_url,
        "login": "c",
        "password": "s",
        "extra": {
            "refresh_token": "r",
            "timezone": "America/New_York",
            "quota_per_hour": 0,
            "quota_per_second": 0,
        },
    }
    os.environ["AIRFLOW_CONN_PAGES"] = json.dumps(connection)

    class Hook(DrChronoHook):
        """A connection that needs no Airflow database to keep its token in."""

        @property
        def token_store(self) -> Any:
            return MemoryTokenStore()

    hook = Hook("pages")
    request = SyncRequest(
        resource=load().resource("patients"),
        table=table_for(load(), load().resource("patients"), name="patients", schema=None, verbose=False),
        filters={},
        extra_filters={},
        verbose=False,
        since=None,
        lookback=timedelta(minutes=2),
        full_refresh=False,
        retention=timedelta(hours=1),
        # The same pages as the script reads.
        read_by="pages",
    )
    key = request.key(base_url, "c")
    staging = Staging(LocalFolder(root / request.staging_name(base_url, "grant", "bench")), "bench")
    assert staging.acquire()
    with closing(open_warehouse()) as warehouse:
        prepare(warehouse, request)
    with closing(hook):
        result = Sync(request, hook=hook, open_warehouse=open_warehouse, key=key, staging=staging, run_id="bench").run()
    staging.release()
    assert (result.since is None) == (batch == 0)


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


def by_hand_duckdb(records: Iterator[dict[str, Any]], database: Path) -> None:
    import duckdb

    types = {
        "text": "VARCHAR", "integer": "BIGINT", "decimal": "DECIMAL(38,15)", "boolean": "BOOLEAN",
        "date": "DATE", "timestamp": "TIMESTAMP", "json": "JSON",
    }  # fmt: skip
    listed = ", ".join(f'"{name}"' for name, _ in columns())
    typed = ", ".join(f'"{name}" {types[kind]}' for name, kind in columns())
    read = ", ".join(f"'{name}': '{types[kind]}'" for name, kind in columns())
    lines = database.with_suffix(".ndjson")
    with lines.open("w") as file:
        file.writelines(json.dumps(each) + "\n" for each in records)
    with closing(duckdb.connect(database)) as connection:
        connection.execute(f'CREATE TABLE IF NOT EXISTS patients ({typed}, PRIMARY KEY ("id"))')
        connection.execute(
            f"INSERT OR REPLACE INTO patients ({listed}) SELECT {listed} FROM "
            f"read_json('{lines}', format = 'newline_delimited', columns = {{{read}}})"
        )


def load_ours(open_warehouse: Callable[[], Any], staging: Any, checkpoint: Any) -> None:
    from airflow_provider_drchrono.catalog import load
    from airflow_provider_drchrono.incremental.window import Practice, SyncState
    from airflow_provider_drchrono.warehouses.base import Run, SyncKey
    from airflow_provider_drchrono.warehouses.table import RowMaker, table_for

    table = table_for(load(), load().resource("patients"), name="patients", schema=None, verbose=False)
    maker = RowMaker(table, "America/New_York")
    with closing(open_warehouse()) as warehouse:
        warehouse.prepare(table)
        warehouse.load(
            table,
            maker.rows(staging.lines(checkpoint)),
            SyncKey("bench", "bench", "patients", "patients", ""),
            SyncState(datetime.now(UTC), None, Practice(("America/New_York",), None)),
            Run("bench", 1),
        )
    assert not maker.misfits
    assert not maker.unknown


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def round_of(
    root: Path,
    base_url: str,
    batches: list[list[bytes]],
    by_hand: Callable[[Iterator[dict[str, Any]]], None],
    open_warehouse: Callable[[], Any],
    empty: Callable[[], None],
    compare: Callable[[], None],
) -> dict[tuple[str, int], Timing]:
    """Time both courses once for each batch; return the seconds by hand and ours."""
    times: dict[tuple[str, int], Timing] = {}
    for state in (LOAD, WHOLE_WAY):
        empty()
        for number, pages in enumerate(batches):
            if state == LOAD:
                folder = root / f"staged-{number}"
                staged = stage(folder, pages)
                hand = seconds(lambda folder=folder: by_hand(staged_records(folder)))
                ours = seconds(lambda staged=staged: load_ours(open_warehouse, *staged))
            else:
                hand = seconds(lambda number=number: by_hand(fetched(base_url, number)))
                ours = seconds(partial(sync_ours, base_url, root / "staging", number, open_warehouse))
            times[state, number] = hand, ours
        compare()
    return times


def sqlite_round(root: Path, base_url: str, batches: list[list[bytes]]) -> dict[tuple[str, int], Timing]:
    from airflow_provider_drchrono.warehouses.sqlite import SqliteWarehouse

    hand, ours = root / "hand.db", root / "ours.db"
    os.environ["AIRFLOW_CONN_BENCH"] = json.dumps({"conn_type": "sqlite", "host": str(ours)})

    def empty() -> None:
        for path in root.glob("*.db*"):
            path.unlink()

    def compare() -> None:
        with closing(sqlite3.connect(hand)) as both:
            both.execute(f"ATTACH '{ours}' AS ours")
            query = "SELECT id, first_name, copay * 1, replace(updated_at, 'T', ' ') FROM {}.patients ORDER BY id"
            rows = [both.execute(query.format(name)).fetchall() for name in ("ours", "main")]
        assert rows[0] == rows[1]

    return round_of(
        root,
        base_url,
        batches,
        lambda records: by_hand_sqlite(records, hand),
        partial(SqliteWarehouse, "bench"),
        empty,
        compare,
    )


def duckdb_round(root: Path, base_url: str, batches: list[list[bytes]]) -> dict[tuple[str, int], Timing]:
    import duckdb

    from airflow_provider_drchrono.warehouses.duckdb import DuckDbWarehouse

    hand, ours = root / "hand.duckdb", root / "ours.duckdb"
    os.environ["AIRFLOW_CONN_BENCH"] = json.dumps({"conn_type": "duckdb", "host": str(ours)})

    def empty() -> None:
        for path in root.glob("*.duckdb*"):
            path.unlink()

    def compare() -> None:
        query = "SELECT id, first_name, copay, updated_at FROM patients ORDER BY id"
        rows = []
        for path in (hand, ours):
            with closing(duckdb.connect(path)) as connection:
                rows.append(connection.execute(query).fetchall())
        assert rows[0] == rows[1]

    return round_of(
        root,
        base_url,
        batches,
        lambda records: by_hand_duckdb(records, hand),
        partial(DuckDbWarehouse, "bench"),
        empty,
        compare,
    )


def postgres_round(url: str, root: Path, base_url: str, batches: list[list[bytes]]) -> dict[tuple[str, int], Timing]:
    import psycopg

    from airflow_provider_drchrono.warehouses.postgres import PostgresWarehouse

    os.environ["AIRFLOW_CONN_BENCH"] = url

    def empty() -> None:
        with psycopg.connect(url) as connection:
            connection.execute("DROP TABLE IF EXISTS patients, patients_by_hand, _drchrono_sync")

    def compare() -> None:
        query = "SELECT id, first_name, copay, updated_at, offices FROM {} ORDER BY id"
        with psycopg.connect(url) as connection:
            rows = [connection.execute(query.format(name)).fetchall() for name in ("patients", "patients_by_hand")]
        assert rows[0] == rows[1]

    return round_of(
        root,
        base_url,
        batches,
        lambda records: by_hand_postgres(records, url),
        partial(PostgresWarehouse, "bench"),
        empty,
        compare,
    )


def report(
    database: str, batches: list[list[bytes]], rounds: list[dict[tuple[str, int], Timing]]
) -> dict[tuple[str, int], float]:
    """Print medians, and return the median ratio for each state and batch."""
    ratios = {}
    for state, number in rounds[0]:
        times = [each[state, number] for each in rounds]
        rows = sum(len(json.loads(page)["results"]) for page in batches[number])
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
        in_pages(0, [record(number, 1) for number in range(1, rows + 1)]),
        in_pages(1, [record(number, 2) for number in range(1, rows + 1, every)]),
    ]
    root = Path(tempfile.mkdtemp(prefix="drchrono-bench-"))
    os.environ.setdefault("AIRFLOW_HOME", str(root))
    served = root / "served"
    served.mkdir()
    for batch, pages in enumerate(batches):
        for number, page in enumerate(pages):
            (served / f"{batch}-{number}.json").write_bytes(page)
    try:
        with page_server(served) as base_url:
            # The first round imports what all of them need, and does not count.
            times = [sqlite_round(root, base_url, batches) for _ in range(rounds + 1)][1:]
            ratios = {"SQLite": report("SQLite", batches, times)}
            times = [duckdb_round(root, base_url, batches) for _ in range(rounds + 1)][1:]
            ratios["DuckDB"] = report("DuckDB", batches, times)
            if url:
                times = [postgres_round(url, root, base_url, batches) for _ in range(rounds + 1)][1:]
                ratios["PostgreSQL"] = report("PostgreSQL", batches, times)
        return ratios
    finally:
        shutil.rmtree(root)


def in_pages(batch: int, records: list[dict[str, Any]]) -> list[bytes]:
    """Write the pages of a list as the API does."""
    pages = []
    for number, first in enumerate(range(0, len(records), PAGE), start=1):
        following = f"/api/patients?batch={batch}&page={number}" if first + PAGE < len(records) else None
        pages.append({"previous": None, "results": records[first : first + PAGE], "next": following})
    return [json.dumps(page, separators=(",", ":")).encode() for page in pages]


def test_a_load_keeps_up_with_code_written_by_hand() -> None:
    ratios = measure(20_000, 3, os.environ.get("DRCHRONO_BENCH_POSTGRES"))

    assert ratios["SQLite"][LOAD, 0] >= 0.7
    assert ratios.get("PostgreSQL", {}).get((LOAD, 0), 1.0) >= 0.6


if __name__ == "__main__":
    arguments = dict(enumerate(sys.argv))
    measure(int(arguments.get(1, 50_000)), int(arguments.get(2, 3)), arguments.get(3))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
