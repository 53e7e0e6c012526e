"""A process is killed in the middle of a sync, and the next one goes on: nothing lost, no page read twice."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from airflow_provider_drchrono.client import DrChronoClient, MemoryTokenStore
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from airflow_provider_drchrono.sandbox.churn import churn
from tests.airflow.warehouse_checks import EXAMPLE_DAG, RESOURCES, differences, pages
from tests.integration.forked_syncs import TOKEN, ForkedSyncs
from tests.support.running import unlimited

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
PATIENTS = 40
VISITS = 40
TOTAL = pages(PATIENTS * VISITS, 20)
PATIENCE = 120

SEED = random.randrange(1_000_000)
KILLS = 100 if os.environ.get("THOROUGH_TESTS") else 8
"""For each kind of warehouse."""

KILLED = (*RESOURCES, "doctors", "offices", "allergies", "medications", "problems")


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


@pytest.fixture(params=["sqlite", "postgres"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Any]:
    """A warehouse's connection, and what fetches rows from it."""
    if request.param == "sqlite":
        return json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "killed.db")}), fetcher(tmp_path / "killed.db")
    address = request.getfixturevalue("postgres_url")

    def fetch(query: str) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(address)) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    return address, fetch


@pytest.fixture
def forked(warehouse: tuple[str, Any], sandbox: Sandbox, tmp_path: Path) -> Iterator[ForkedSyncs]:
    connection = json.loads(unlimited(sandbox))
    store = MemoryTokenStore()
    with DrChronoClient(
        client_id=sandbox.client_id,
        client_secret=sandbox.client_secret,
        refresh_token=sandbox.refresh_token,
        base_url=sandbox.url,
        quota_per_hour=None,
        quota_per_second=None,
        token_store=store,
    ) as client:
        client.current_user()
    token = store.load()
    assert token
    environment = os.environ | {
        "AIRFLOW_CONN_DRCHRONO_DEFAULT": json.dumps(connection),
        "AIRFLOW_CONN_DRCHRONO_WAREHOUSE": warehouse[0],
        "AIRFLOW__DRCHRONO__STAGING_PATH": str(tmp_path / "pages"),
        TOKEN: json.dumps(token.to_dict()),
    }
    forked = ForkedSyncs(environment, tmp_path / "errors")
    yield forked
    forked.close()


def test_killed_again_and_again_while_the_practice_works(
    forked: ForkedSyncs, warehouse: tuple[str, Any], sandbox: Sandbox, tmp_path: Path
) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    began = time.monotonic()
    forked.begin("doctors", "first")
    assert forked.end() == 0, forked.errors
    # About how long each sync takes, and what it has to read at first: kills come at any moment of it.
    lengths = dict.fromkeys(KILLED, 2 * (time.monotonic() - began))
    killed: dict[str, int] = dict.fromkeys(KILLED, 0)
    staged = syncs = 0
    while sum(killed.values()) < KILLS:
        # Half of them between two pages of the only list that has many, and half at any moment of any sync.
        between_pages = chance.random() < 0.5
        resource = "appointments" if between_pages else chance.choice(KILLED)
        asked = len(sandbox.journal.calls(resource="appointments"))
        asked += chance.randrange(1, TOTAL) if between_pages else 10 * TOTAL
        process = forked.begin(resource, f"{'full' if between_pages else 'run'}-{syncs}")
        syncs += 1
        ends = time.monotonic() + (PATIENCE if between_pages else chance.uniform(0, lengths[resource]))
        with suppress(ProcessLookupError):
            while time.monotonic() < ends and len(sandbox.journal.calls(resource="appointments")) < asked:
                os.kill(process, 0)
                time.sleep(0.002)
            os.kill(process, signal.SIGKILL)
        ended = forked.end()
        assert ended in (0, -signal.SIGKILL), f"{resource}: {forked.errors}"
        killed[resource] += ended != 0
        staged += ended != 0 and any(pages_of(tmp_path))
        # One that was done before the kill shows how long they take; one that was not may take longer.
        lengths[resource] = lengths[resource] * 0.9 if ended == 0 else min(lengths[resource] * 1.2, 5.0)
        churn(sandbox.practice, seed=syncs, changes=5)
    # What changed after an interrupted reading began is for the run after the one that ends it.
    for run_id in ("last", "after"):
        for resource in KILLED:
            forked.begin(resource, run_id)
            assert forked.end() == 0, forked.errors

    print(f"{sum(killed.values())} of {syncs} syncs were killed, {staged} with pages that were not loaded: {killed}")
    for resource in KILLED:
        assert differences(sandbox, resource, warehouse[1]) == []
        assert warehouse[1](f"SELECT count(*) FROM {resource}") > [(0,)]
    assert list(pages_of(tmp_path)) == []


def pages_of(folder: Path) -> Iterator[Path]:
    """Go through the staged pages and their checkpoints."""
    return (path for path in (folder / "pages").rglob("*") if path.is_file() and path.name != ".lock")
