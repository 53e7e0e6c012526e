"""``airflow drchrono plan``."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.client import bulk_lists
from airflow_provider_drchrono.sandbox import Sandbox
from tests.unit.cli.test_index import run


@pytest.fixture(autouse=True)
def connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    values = {"conn_type": "drchrono", "login": "id", "password": "secret"}
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", json.dumps(values))


@pytest.fixture
def sandbox(airflow_db: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    monkeypatch.setattr(bulk_lists, "FIRST_POLL", 0.01)
    options: dict[str, Any] = {"bulk_polls": 0, "quota_per_second": None}
    with Sandbox(patients=30, appointments_per_patient=4, **options) as running:
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", running.connection_json())
        yield running


def planned(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    run("plan", *arguments, "-o", "json")
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_rows_that_are_given_cost_no_call(capsys: pytest.CaptureFixture[str]) -> None:
    found = planned(
        capsys, "--resources", "appointments,problems", "--rows", "appointments=250_000", "--rows", "problems=42000",
        "--no-calls",
    )  # fmt: skip

    assert (found["calls_per_hour"], found["first_load"], found["hourly_run"], found["full_reads"]) == (
        400,
        505 + 168,
        7,
        168,
    )
    assert [(each["resource"], each["read_by"], each["rows"]) for each in found["lists"]] == [
        ("appointments", "bulk", 250_000),
        ("problems", "pages", 42_000),
    ]


def test_all_lists_are_planned_unless_some_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    found = planned(capsys, "--no-calls", "--hourly-share", "0.5")

    lists = {each["resource"]: each for each in found["lists"]}
    assert found["calls_per_hour"] == 250
    assert len(lists) > 70
    assert lists["insurances"]["needs_filters"] == ["payer_type"]


def test_the_table_says_what_the_whole_comes_to(capsys: pytest.CaptureFixture[str]) -> None:
    run("plan", "--like", "large", "--resources", "line_items", "problems", "staff", "-o", "plain")

    printed = capsys.readouterr().out
    assert "First load: 974 calls, 2.4 hours at 400 calls an hour; no reader can do with fewer than 969." in printed
    assert "A later run of the lists that tell what has changed: 2 calls." in printed
    assert "Nobody knows how many rows 1 lists have" in printed


@pytest.mark.airflow
def test_the_api_counts_what_it_has_bulk_lists_of(capsys: pytest.CaptureFixture[str], sandbox: Sandbox) -> None:
    found = planned(capsys, "--resources", "patients", "appointments", "problems")

    assert [each["rows"] for each in found["lists"]] == [30, 120, None]
    assert len([each for each in sandbox.journal if each.resource]) == 4


def test_the_warehouse_counts_what_it_has(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "warehouse.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE problems (id INTEGER)")
        database.executemany("INSERT INTO problems VALUES (?)", [(number,) for number in range(501)])
        database.commit()
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))

    found = planned(capsys, "--resources", "problems", "allergies", "--warehouse-conn-id", "warehouse", "--no-calls")

    assert [(each["rows"], each["first_load"]) for each in found["lists"]] == [(501, 3), (None, 1)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resources", "patient"], "patients"),
        (["--rows", "patients"], "--rows takes a resource and a number"),
        (["--rows", "patinets=3"], "patients"),
        (["--hourly-share", "1.5"], "--hourly-share is the part"),
        (["--resources", "day_sheet_charges"], "no list of day_sheet_charges|day_sheet"),
    ],
)
def test_a_wrong_argument_is_named(arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        run("plan", "--no-calls", *arguments)
