"""Writes the tables of docs/how-to/plan-a-sync.md, by the function that ``airflow drchrono plan`` asks."""

from __future__ import annotations

import sys
from pathlib import Path

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.transfers.extraction import ListFacts
from airflow_provider_drchrono.transfers.forecast import LARGE_PRACTICE, PRACTICES, Forecast, forecast

PAGE = Path(__file__).resolve().parents[1] / "docs" / "how-to" / "plan-a-sync.md"
BEGIN, END = "<!-- written by scripts/plan_page.py -->", "<!-- end -->"
CALLS_PER_HOUR = 400


def of_practice(size: str) -> Forecast:
    """Return the forecast for a practice of a size."""
    rows = PRACTICES[size]
    return forecast(load(), list(rows), rows, calls_per_hour=CALLS_PER_HOUR)


def tables() -> str:
    """Return the tables as Markdown."""
    lines = [
        "| practice | patients | appointments | first load | least | hours | hourly run | lists read whole | weekly |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for size, rows in PRACTICES.items():
        found = of_practice(size)
        lines.append(
            f"| {size} | {rows['patients']:,} | {rows['appointments']:,} | {found.first_load:,} | {found.least:,} | "
            f"{found.hours:.1f} | {found.run('changes'):,} | {found.run('everything'):,} | {found.weekly:,} |"
        )
    lines += [
        "",
        "The large one, list by list:",
        "",
        "| list | rows | read by | first load | done after, hours | later runs read | calls | weekly |",
        "| --- | ---: | --- | ---: | ---: | --- | ---: | ---: |",
    ]
    lines += [
        f"| `{each.resource}` | {LARGE_PRACTICE[each.resource]:,} | {each.first.way} | {each.first.calls:,} | "
        f"{each.done_after:.1f} | {each.reads} | {each.later.calls:,} | {each.weekly or ''} |"
        for each in of_practice("large").lists
    ]
    catalog = load()
    by_pages = sum(
        ListFacts.of(catalog, catalog.resource(name)).calls_by_pages(rows) for name, rows in LARGE_PRACTICE.items()
    )
    lines += [
        "",
        f"Read page by page, its first load would take {by_pages:,} calls, {by_pages / CALLS_PER_HOUR:.0f} hours.",
    ]
    return "\n".join(lines)


def written(text: str) -> str:
    """Return the page with the tables as they are now."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
    sys.exit(0)
