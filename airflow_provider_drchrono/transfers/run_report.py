"""What a run of several syncs came to, as data and as a page for people. It holds names, counts and times only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any, Literal

RunState = Literal["success", "failed", "incomplete"]

COUNTS = ("calls", "rows_read", "rows_new", "rows_changed", "rows_deleted", "rows_in_table", "records_set_aside")
SUMMED = tuple(name for name in COUNTS if name != "rows_in_table")
TITLES = ("Table", "State", "Calls", "Read", "New", "Changed", "Deleted", "In table", "Seconds", "Up to")

# Of the charts, in units of the page.
_BAR, _LABEL, _LINE = 420, 220, 22


@dataclass(frozen=True, slots=True)
class TableRun:
    """What became of one table.

    :param state: of the task, in Airflow's words, such as ``success`` or ``upstream_failed``; None if it has none yet.
    :param summary: what the sync returned; None if it returned nothing.
    """

    resource: str
    table: str
    task: str
    state: str | None
    summary: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A list that is not synced, and why."""

    resource: str
    why: str


def report_of(
    dag_id: str, run_id: str, runs: Sequence[TableRun], left_out: Sequence[LeftOut], quota_left: int | None
) -> dict[str, Any]:
    """Return the report as data: the totals, then a line for each table.

    :param quota_left: calls that the connection may still make in this hour; None if there is no limit.
    """
    tables = [_line(run) for run in runs]
    return {
        "dag_id": dag_id,
        "run_id": run_id,
        "state": _state_of(runs),
        "synced": sum(run.state == "success" for run in runs),
        "of": len(runs),
        "different": sum(_is_different(line) for line in tables),
        **{name: sum(line[name] or 0 for line in tables) for name in SUMMED},
        "seconds": round(sum(line["seconds"] or 0 for line in tables), 3),
        "quota_left": quota_left,
        "tables": tables,
        "left_out": [asdict(each) for each in left_out],
    }


def as_markdown(report: Mapping[str, Any]) -> str:
    """Return the report as a page in Markdown."""
    lines = [f"# Sync {report['dag_id']}", "", f"Run `{report['run_id']}`: {sentence(report)}", ""]
    lines += [_row(TITLES), _row(["---", "---", *["---:"] * 7, "---"])]
    lines += [_row(_cells(line)) for line in report["tables"]]
    if report["left_out"]:
        lines += ["", "Not synced:", ""]
        lines += [f"- {each['resource']}: {each['why']}" for each in report["left_out"]]
    return "\n".join(lines) + "\n"


def as_html(report: Mapping[str, Any]) -> str:
    """Return the report as one page in HTML, with a chart of the calls and one of the rows, and nothing to load."""
    head = "".join(f"<th>{title}</th>" for title in TITLES)
    rows = "".join(
        f'<tr class="{"good" if line["state"] == "success" and not _is_different(line) else "bad"}">'
        + "".join(f"<td>{escape(cell)}</td>" for cell in _cells(line))
        + "</tr>"
        for line in report["tables"]
    )
    left_out = "".join(f"<li>{escape(each['resource'])}: {escape(each['why'])}</li>" for each in report["left_out"])
    written = [
        ("Calls", [(line["table"], line["calls"] or 0) for line in report["tables"]]),
        ("Rows new, changed and deleted", [(line["table"], _written(line)) for line in report["tables"]]),
    ]
    charts = "".join(_chart(title, values) for title, values in written)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>Sync {escape(report['dag_id'])}</title><style>{_STYLE}</style></head><body>"
        f"<h1>Sync {escape(report['dag_id'])}</h1><p>Run <code>{escape(report['run_id'])}</code>: "
        f"{escape(sentence(report))}</p>{charts}<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        + (f"<h2>Not synced</h2><ul>{left_out}</ul>" if left_out else "")
        + "</body></html>\n"
    )


def sentence(report: Mapping[str, Any]) -> str:
    """Return the whole in one sentence."""
    quota = report["quota_left"]
    left = "" if quota is None else f"; {quota:,} calls are left in this hour"
    different = f" Not as in DrChrono: {report['different']}." if report["different"] else ""
    return (
        f"{report['synced']} of {report['of']} tables are up to date.{different} {report['calls']:,} calls, "
        f"{report['rows_new']:,} rows new, {report['rows_changed']:,} changed, {report['rows_deleted']:,} deleted"
        f"{left}."
    )


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "table{border-collapse:collapse;width:100%}th,td{padding:.25rem .5rem;text-align:right;"
    "border-bottom:1px solid #8884}th:nth-child(-n+2),td:nth-child(-n+2){text-align:left}"
    "tr.bad td:nth-child(2){color:#c33;font-weight:600}svg text{fill:currentColor;font-size:12px}rect{fill:#3a8}"
)


def _state_of(runs: Iterable[TableRun]) -> RunState:
    states = {run.state for run in runs}
    if states & {"failed", "upstream_failed"}:
        return "failed"
    return "success" if states <= {"success"} else "incomplete"


def _line(run: TableRun) -> dict[str, Any]:
    summary = run.summary or {}
    return {
        "resource": run.resource,
        "table": summary.get("table", run.table),
        "task": run.task,
        "state": run.state,
        **{name: summary.get(name) for name in COUNTS},
        "seconds": summary.get("seconds"),
        "watermark": summary.get("watermark"),
        "verified": summary.get("verified"),
    }


def _is_different(line: Mapping[str, Any]) -> bool:
    return bool(line["verified"] and line["verified"]["is_different"])


def _written(line: Mapping[str, Any]) -> int:
    return sum(line[name] or 0 for name in ("rows_new", "rows_changed", "rows_deleted"))


def _cells(line: Mapping[str, Any]) -> list[str]:
    counts = [line[name] for name in COUNTS if name != "records_set_aside"]
    told = ["" if count is None else f"{count:,}" for count in counts]
    seconds = "" if line["seconds"] is None else f"{line['seconds']:.1f}"
    state = line["state"] or "not run"
    if state != "success":
        state += f", see {line['task']}"
    elif _is_different(line):
        state += f", but differs from DrChrono, see {line['task']}"
    return [line["table"], state, *told, seconds, line["watermark"] or ""]


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _chart(title: str, values: Sequence[tuple[str, int]]) -> str:
    shown = sorted(((name, value) for name, value in values if value), key=lambda each: -each[1])
    if not shown:
        return ""
    bars = "".join(_bar(place, name, value, value / shown[0][1]) for place, (name, value) in enumerate(shown))
    width, height = _LABEL + _BAR + 90, _LINE * len(shown)
    return (
        f'<h2>{escape(title)}</h2><svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(title)} by table">{bars}</svg>'
    )


def _bar(place: int, name: str, value: int, part: float) -> str:
    """Return a line of a chart.

    :param part: of the longest bar.
    """
    length, top = max(1, round(_BAR * part)), _LINE * place
    return (
        f'<text x="{_LABEL - 8}" y="{top + 15}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="{_LABEL}" y="{top + 3}" width="{length}" height="{_LINE - 8}"/>'
        f'<text x="{_LABEL + 6 + length}" y="{top + 15}">{value:,}</text>'
    )
