"""Reading pages with the client, beside a bare httpx loop over the same pages; and memory over a million records.

Run it with ``python tests/benchmarks/bench_client.py [rounds] [records]``. The sandbox is a process of its own, so on
one core less than two the figures of both sides shrink alike. The bare loop does what cannot be left out: it asks,
decodes JSON and takes the next address. Every round checks that both read the same records.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import httpx

from airflow_provider_drchrono.client import DrChronoClient, MemoryTokenStore

LEAST_RATIO = 0.9
"""The client may not read fewer pages a second than this share of the bare loop's."""

MOST_GROWTH = 8.0
"""Megabytes that may be added between the first tenth and the last of all records."""

LISTS = {"patients": 8, "task_notes": 40}
"""Pages a round of a list with wide records and of one with narrow records: short, so that a busy moment of the machine
falls on both sides or on few of the rounds."""


@contextmanager
def sandbox(records: int) -> Iterator[dict[str, Any]]:
    """A sandbox without a quota, in a process of its own; gives its connection."""
    command = [
        sys.executable, "-m", "airflow_provider_drchrono.sandbox", "--port", "0", "--patients", "4000",
        "--appointments-per-patient", "0", "--records", f"task_notes={records}",
        "--quota-per-hour", "off", "--quota-per-second", "off", "--links", "own",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("Connection (JSON):"):
                    yield json.loads(line.partition(":")[2])
                    break
        finally:
            process.terminate()


def bare_pages(http: httpx.Client, resource_name: str) -> Iterator[list[Any]]:
    """Yield pages as the shortest loop does that still reads all of them."""
    url: str | None = f"/api/{resource_name}?page_size=250"
    while url:
        answer = http.get(url).json()
        yield answer["results"] if "results" in answer else answer["data"]
        url = answer["next"]


def timed(pages: Iterator[list[Any]], count: int) -> tuple[float, float, int, Any]:
    """Return wall seconds, CPU seconds of this process, records, and the last record."""
    wall, cpu = time.perf_counter(), time.process_time()
    records, last = 0, None
    for page in islice(pages, count):
        records += len(page)
        last = page[-1]
    return time.perf_counter() - wall, time.process_time() - cpu, records, last


def compare(client: DrChronoClient, http: httpx.Client, name: str, count: int, rounds: int) -> bool:
    """Measure both in turn, print the medians, and tell whether the bound is kept."""
    sides: dict[str, Callable[[], Iterator[list[Any]]]] = {
        "bare httpx": lambda: bare_pages(http, name),
        "client": lambda: (page.records for page in client.pages(name)),
    }
    walls: dict[str, list[float]] = {side: [] for side in sides}
    cpus: dict[str, list[float]] = {side: [] for side in sides}
    records = 0
    for number in range(rounds + 1):
        # Each side goes first every other time.
        seen = []
        for side in list(sides) if number % 2 else list(sides)[::-1]:
            wall, cpu, records, last = timed(sides[side](), count)
            seen.append((records, last))
            if number:  # The first round warms both up.
                walls[side].append(wall)
                cpus[side].append(cpu)
        assert seen[0] == seen[1], "the two sides did not read the same records"
    for side in sides:
        wall = statistics.median(walls[side])
        print(
            f"  {name:<11} {side:<11} {count / wall:7.0f} pages/s {records / wall:10,.0f} records/s "
            f"{statistics.median(cpus[side]) / count * 1e6:7.0f} us CPU a page"
        )
    ratios = [bare / own for bare, own in zip(walls["bare httpx"], walls["client"], strict=True)]
    low, ratio, high = statistics.quantiles(ratios, n=4)
    cpu_ratio = statistics.median(cpus["bare httpx"]) / statistics.median(cpus["client"])
    kept = ratio >= LEAST_RATIO
    print(
        f"  {name:<11} client / bare httpx: {ratio:.2f} by the clock (half of all rounds {low:.2f} to {high:.2f}), "
        f"{cpu_ratio:.2f} by CPU, {rounds} rounds (bound {LEAST_RATIO}{'' if kept else ', MISSED'})"
    )
    return kept


def memory() -> float:
    """Megabytes that this process holds now, or where that cannot be asked, its peak."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(each for each in status.read_text().splitlines() if each.startswith("VmRSS"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / 1024


def iterate(client: DrChronoClient, records: int) -> bool:
    """List all records, print the memory at each tenth, and tell whether it stayed flat."""
    began = time.perf_counter()
    points: list[float] = []
    for number, _ in enumerate(client.list("task_notes"), 1):
        if number % (records // 10) == 0:
            points.append(memory())
    seconds = time.perf_counter() - began
    growth = max(points[1:]) - points[0]
    kept = len(points) == 10 and growth <= MOST_GROWTH
    print(f"  {records:,} records through client.list in {seconds:.1f} s ({records / seconds:,.0f} records/s)")
    print(f"  MB at each tenth: {' '.join(f'{each:.1f}' for each in points)}")
    print(f"  growth {growth:+.1f} MB (bound {MOST_GROWTH:.0f} MB{'' if kept else ', MISSED'})")
    return kept


def main() -> int:
    """Print the figures and return 1 if one misses its bound."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 41
    records = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    with sandbox(records) as connection:
        store = MemoryTokenStore()
        with DrChronoClient(
            client_id=connection["login"],
            client_secret=connection["password"],
            refresh_token=connection["extra"]["refresh_token"],
            base_url=connection["host"],
            quota_per_hour=None,
            quota_per_second=None,
            token_store=store,
        ) as client:
            client.current_user()
            token = store.load()
            assert token is not None
            bearer = {"Authorization": f"Bearer {token.access_token}"}
            with httpx.Client(base_url=connection["host"], headers=bearer, timeout=60) as http:
                kept = [compare(client, http, name, count, rounds) for name, count in LISTS.items()]
            kept.append(iterate(client, records))
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
