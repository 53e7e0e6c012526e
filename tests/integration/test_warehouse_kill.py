"""An Airflow process is killed in the middle of a sync, and the next one goes on: nothing lost, no page read twice."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.sandbox import Fault, Sandbox
from tests.airflow.warehouse_checks import EXAMPLE_DAG, RESOURCES, differences, pages

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
PATIENTS = 40
VISITS = 40
TOTAL = pages(PATIENTS * VISITS, 20)
PATIENCE = 120


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    options = {"quota_per_hour": None, "quota_per_second": None}
    with Sandbox(patients=PATIENTS, appointments_per_patient=VISITS, **options) as sandbox:
        yield sandbox


@pytest.fixture
def environment(airflow_db: Path, tmp_path: Path, sandbox: Sandbox) -> dict[str, str]:
    """An Airflow of its own, with the example DAG, a SQLite warehouse and its pages in the same folder.

    The DAG reads by pages, as these tests count them.
    """
    text = (ROOT / "example_dags" / EXAMPLE_DAG).read_text()
    assert 'task_id="sync",' in text
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / EXAMPLE_DAG).write_text(text.replace('task_id="sync",', 'task_id="sync", read_by="pages",'))
    with closing(sqlite3.connect(airflow_db)) as empty, closing(sqlite3.connect(tmp_path / "airflow.db")) as fresh:
        empty.backup(fresh)
    return os.environ | {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path / 'airflow.db'}",
        "AIRFLOW_CONN_DRCHRONO_DEFAULT": sandbox.connection_json(),
        "AIRFLOW_CONN_DRCHRONO_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}),
    }


def start(environment: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "airflow", "dags", "test", EXAMPLE_DAG.removesuffix(".py")]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def wait_for(pages_read: int, sandbox: Sandbox, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(sandbox.journal.calls(resource="appointments")) < pages_read:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def fetcher(database: Path) -> Any:
    def run(query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(database)) as connection:
            return connection.execute(query).fetchall()

    return run


def test_killed_in_the_middle_and_run_again(environment: dict[str, str], sandbox: Sandbox, tmp_path: Path) -> None:
    # Slow pages, so that the signal meets the process between two of them and not after the last.
    sandbox.faults.add(Fault(kind="slow", resource="appointments", skip=TOTAL // 2, times=None, seconds=0.2))
    process = start(environment)
    wait_for(TOTAL // 2 + 3, sandbox, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    asked = len(sandbox.journal.calls(resource="appointments"))
    assert asked < TOTAL
    fetch = fetcher(tmp_path / "warehouse.db")
    assert fetch("SELECT count(*) FROM appointments") == [(0,)]
    sandbox.faults.clear()
    sandbox.journal.clear()

    again = start(environment)
    output, _ = again.communicate(timeout=PATIENCE)

    assert again.returncode == 0, output
    assert len(sandbox.journal.calls(resource="appointments")) <= TOTAL - asked + 1
    for resource in RESOURCES:
        assert differences(sandbox, resource, fetch) == []
    left = [path for path in (tmp_path / "drchrono" / "staging").rglob("*") if path.is_file()]
    assert {path.name for path in left} == {".lock"}
    emails = [patient["email"] for patient in sandbox.practice.records("patients") if patient["email"]]
    assert len(emails) > PATIENTS / 2
    for email in emails:
        assert email not in output
