"""The report of a run of several syncs."""

from typing import Any

import pytest

from airflow_provider_drchrono.transfers.run_report import TableRun, as_html, as_markdown, report_of, sentence


def run(table: str, *, is_different: bool | None) -> TableRun:
    verified = None if is_different is None else {"is_different": is_different, "missing": 3}
    summary: dict[str, Any] = {"table": table, "rows_new": 1, "calls": 2, "seconds": 0.5, "verified": verified}
    return TableRun(table, table, f"sync[{table}]", "success", summary)


@pytest.mark.parametrize("page", [as_markdown, as_html])
def test_tables_that_differ_from_drchrono_are_named(page: Any) -> None:
    runs = [run("patients", is_different=True), run("tasks", is_different=False), run("offices", is_different=None)]
    report = report_of("dag", "run", runs, [], None)

    assert report["different"] == 1
    assert report["state"] == "success", "whether that is a failure is said of the sync"
    assert sentence(report).startswith("3 of 3 tables are up to date. Not as in DrChrono: 1. 6 calls")
    assert page(report).count("differs from DrChrono, see sync[patients]") == 1
    assert "differs from DrChrono, see sync[tasks]" not in page(report)


def test_where_nothing_differs_nothing_is_said_of_it() -> None:
    report = report_of("dag", "run", [run("tasks", is_different=False)], [], None)

    assert report["different"] == 0
    assert "DrChrono" not in as_markdown(report) + as_html(report)
