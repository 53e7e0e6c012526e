"""Writes tables and picture of docs/how-to/plan-a-sync.md, by the function that ``airflow drchrono plan`` asks."""

from __future__ import annotations

import sys
from pathlib import Path

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.transfers.extraction import ListFacts
from airflow_provider_drchrono.transfers.forecast import LARGE_PRACTICE, PRACTICES, Forecast, forecast

PAGE = Path(__file__).resolve().parents[1] / "docs" / "how-to" / "plan-a-sync.md"
PICTURE = PAGE.parents[1] / "images" / "plan.svg"
BEGIN, END = "<!-- written by scripts/plan_page.py -->", "<!-- end -->"
CALLS_PER_HOUR = 400


# Of the picture, in its own units: the names, the longest bar, the numbers, and the height of a list.
NAMES, BAR, NUMBERS, LINE = 190, 430, 120, 26
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#52525b}.pages{fill:#d4d4d8}.ours{fill:#0f766e}"
    "@media(prefers-color-scheme:dark){text{fill:#a1a1aa}.pages{fill:#52525b}.ours{fill:#5eead4}}"
)


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


def picture() -> str:
    """Return a chart of the first load of the large practice: the calls by pages alone, and those that a sync takes."""
    catalog = load()
    costs = [
        (
            each.resource,
            ListFacts.of(catalog, catalog.resource(each.resource)).calls_by_pages(each.rows or 0),
            each.first.calls,
        )
        for each in of_practice("large").lists
    ]
    # Appointments by pages are so many that all other bars would be dots; their bar is broken off.
    longest = sorted(pages for _, pages, _ in costs)[-2]
    bars = "".join(_bars(place, *cost, longest) for place, cost in enumerate(costs, 1))
    width, height = NAMES + BAR + NUMBERS, LINE * (len(costs) + 1)
    legend = (
        f'<rect class="pages" x="{NAMES}" y="6" width="12" height="9"/>'
        f'<text x="{NAMES + 18}" y="15">page by page</text>'
        f'<rect class="ours" x="{NAMES + 120}" y="6" width="12" height="9"/>'
        f'<text x="{NAMES + 138}" y="15">as the sync reads it</text>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="Calls of the first load of a large practice, list by list"><style>{STYLE}</style>'
        f"{legend}{bars}</svg>\n"
    )


def _bars(place: int, name: str, by_pages: int, calls: int, longest: int) -> str:
    top = LINE * place
    broken = by_pages > longest
    lengths = [max(1, round(BAR * min(1, each / longest))) for each in (by_pages, calls)]
    told = f"{by_pages:,} / {calls:,}" if by_pages != calls else f"{calls:,}"
    return (
        f'<text x="{NAMES - 8}" y="{top + 14}" text-anchor="end">{name}</text>'
        f'<rect class="pages" x="{NAMES}" y="{top + 2}" width="{lengths[0]}" height="8"/>'
        f'<rect class="ours" x="{NAMES}" y="{top + 11}" width="{lengths[1]}" height="8"/>'
        f'<text x="{NAMES + max(lengths) + 8}" y="{top + 14}">{"… " if broken else ""}{told}</text>'
    )


def written(text: str) -> str:
    """Return the page with the tables as they are now."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
    PICTURE.write_text(picture())
    sys.exit(0)
