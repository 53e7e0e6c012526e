"""``make demo``: sync a synthetic practice into a warehouse twice, through Airflow, and show what happened."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from contextlib import closing
from typing import Any

from playground import ROOT, Playground

DAG_ID = "drchrono_to_warehouse"
VENDOR_CALLS_PER_HOUR = 500


def setting(name: str, default: int) -> int:
    """Return a whole number from the environment."""
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise SystemExit(f"{name} must be a whole number of at least 1; it is {text!r}.")
    return int(text)


def spelled(seconds: float) -> str:
    """Spell a span of time as people say it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def at_the_vendors_quota(calls: int) -> str:
    """Say how long calls take where only 500 may be made in each clock hour, beginning at the top of one."""
    full_hours = (calls - 1) // VENDOR_CALLS_PER_HOUR
    return "within one hour's quota" if not full_hours else f"more than {full_hours} h"


def table(rows: list[dict[str, Any]]) -> str:
    """Lay out the results of a run."""
    columns = {
        "resource": "resource",
        "calls": "API calls",
        "rows_new": "rows new",
        "rows_changed": "rows changed",
        "rows_in_table": "rows in the warehouse",
        "seconds": "seconds",
    }
    summed = ("calls", "rows_new", "rows_changed", "rows_in_table", "seconds")
    total = {"resource": "all"} | {key: sum(row[key] for row in rows) for key in summed}
    cells = [list(columns.values())]
    cells += [
        [f"{row[key]:,.1f}" if key == "seconds" else f"{row[key]:,}" if key in summed else row[key] for key in columns]
        for row in [*rows, total]
    ]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    lines = [
        "  ".join(cell.ljust(width) if index == 0 else cell.rjust(width) for index, (cell, width) in pairs)
        for line in cells
        if (pairs := list(enumerate(zip(line, widths, strict=True))))
    ]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def differences(play: Playground, resources: list[str]) -> list[str]:
    """Return the resources whose rows in the warehouse are not those of the practice, by count and checksum."""
    found = []
    with closing(sqlite3.connect(play.warehouse)) as warehouse:
        for resource in resources:
            query = f'SELECT "_drchrono_digest" FROM "{resource}" ORDER BY CAST("id" AS TEXT)'
            rows = warehouse.execute(query).fetchall()
            checksum = hashlib.sha256("\n".join(digest for (digest,) in rows).encode()).hexdigest()
            if play.ask("GET", f"checksum?resource={resource}") != {"count": len(rows), "sha256": checksum}:
                found.append(resource)
    return found


def sync(play: Playground, number: int) -> list[dict[str, Any]]:
    """Run the DAG once and print what it did."""
    play.airflow("dags", "test", DAG_ID, log=f"run-{number}.log")
    rows = play.returned_by_newest_run(DAG_ID)
    print(table(rows))
    if found := differences(play, [row["resource"] for row in rows]):
        raise SystemExit(f"The warehouse differs from the practice in {', '.join(found)}.")
    calls = sum(row["calls"] for row in rows)
    quota = f"{VENDOR_CALLS_PER_HOUR} calls an hour"
    print("Every row equals the practice's own, by count and checksum.")
    print(f"At the vendor's {quota}, {calls:,} calls would take {at_the_vendors_quota(calls)}.\n", flush=True)
    return rows


def main() -> None:
    """Run the demonstration."""
    started = time.monotonic()
    patients = setting("DEMO_PATIENTS", 2000)
    changes = setting("DEMO_CHANGES", 120)
    play = Playground(ROOT / ".demo")
    play.prepare()
    sizes = ("--patients", str(patients), "--appointments-per-patient", "10")
    with play.sandbox(*sizes, "--quota-per-hour", "off", "--quota-per-second", "off"):
        print(f"A practice of {patients:,} synthetic patients is served at {play.sandbox_url}, with the quota lifted.")
        print(f"First sync of the DAG {DAG_ID}, {spelled(time.monotonic() - started)} after the start:\n", flush=True)
        sync(play, 1)
        changed = play.ask("POST", "churn", {"seed": 7, "changes": changes})
        worked_on = [f"{each['new']} new and {each['changed']} changed {name}" for name, each in changed.items()]
        print(f"The practice goes on working: {', '.join(worked_on)}.\nSecond sync:\n", flush=True)
        sync(play, 2)
    print(f"Done in {spelled(time.monotonic() - started)}. Where to look next:")
    print(f"  the DAG            {ROOT / 'example_dags' / 'drchrono_to_warehouse.py'}")
    print(f"  the warehouse      {play.warehouse} (any SQLite client)")
    print(f"  what Airflow wrote {play.folder / 'run-1.log'}, run-2.log")
    print("  Airflow's own UI   make ui")


if __name__ == "__main__":
    main()
