"""A real triggerer with a thousand deferred sensors: what it asks of the API, and how long one thing keeps it busy."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.state import lease as variable_lease
from airflow_provider_drchrono.triggers.incremental import DrChronoIncrementalTrigger
from tests.benchmarks.bench_triggers import defer, sensor_classes

pytestmark = [pytest.mark.integration, pytest.mark.airflow]

# A thousand take two minutes.
SENSORS, INTERVAL = (1_000, 20.0) if os.environ.get("THOROUGH_TESTS") else (230, 10.0)
INTERVALS = 3
DEADLINE_S = 150

WATCHDOG = 0.1
"""Seconds that the watchdog of Airflow sleeps between two looks."""

BLOCKED = re.compile(r"async thread was blocked for (\d+\.\d+) seconds")
LONGEST_BLOCK = 1.0
"""Seconds. Airflow itself takes some tenths of them at times, for its own log lines and for Python's memory."""

DAG_FILE = f"""
from airflow.sdk import DAG
from tests.benchmarks.bench_triggers import sensor_classes

for number in range(-(-{SENSORS} // len(sensor_classes()))):
    with DAG(f"dag_{{number}}", schedule=None):
        for kind in sensor_classes():
            kind(task_id=kind.resource, deferrable=True)
"""


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    # Nobody else is there to claim anything.
    monkeypatch.setattr(variable_lease, "Timing", partial(variable_lease.Timing, write_limit=30.0, settle=0.0))
    with Sandbox(quota_per_hour=None, quota_per_second=None, patients=5, appointments_per_patient=2) as running:
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", running.connection_json())
        yield running


def put_into_database(database: Path, triggers: list[dict[str, Any]]) -> None:
    """Leave the database as it is when runs of the DAGs have deferred their tasks."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
    from airflow.models.dagbag import DBDagBag
    from airflow.models.trigger import Trigger
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState, TaskInstanceState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    folder = database.parent / "dags"
    file = folder / "many_sensors.py"
    file.write_text(DAG_FILE)
    bag = BundleDagBag(dag_folder=file, bundle_path=folder, bundle_name="dags-folder")
    assert bag.import_errors == {}
    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(bag, "dags-folder", None)
    with create_session() as session:
        tasks = {}
        for dag_id in bag.dags:
            dag = DBDagBag().get_latest_version_of_dag(dag_id, session=session)
            assert dag
            run = dag.create_dagrun(
                run_id="a_run",
                run_after=datetime.now(UTC),
                run_type=DagRunType.MANUAL,
                triggered_by=DagRunTriggeredByType.TEST,
                state=DagRunState.RUNNING,
                session=session,
            )
            tasks |= {(dag_id, ti.task_id): ti for ti in run.get_task_instances(session=session)}
        for arguments in triggers:
            dag_id, task_id, _ = arguments["cursor"]
            ti = tasks[dag_id, task_id]
            ti.state, ti.next_method = TaskInstanceState.DEFERRED, "execute_complete"
            trigger = Trigger.from_object(DrChronoIncrementalTrigger(**arguments))
            session.add(trigger)
            session.flush()
            ti.trigger_id = trigger.id


def in_state(state: str) -> int:
    """Return how many tasks are in a state."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    with create_session() as session:
        query = select(func.count()).select_from(TaskInstance).where(TaskInstance.state == state)
        return session.scalar(query) or 0


@pytest.fixture
def triggerer(airflow_db: Path, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        watched = {"AIRFLOW__TRIGGERER__BLOCKED_MAIN_THREAD_WARNING_THRESHOLD": str(2 * WATCHDOG)}
        with (tmp_path / "triggerer.log").open("wb") as log:
            command = [Path(sys.executable).parent / "airflow", "triggerer", "--skip-serve-logs"]
            started.append(
                subprocess.Popen(
                    command, env=os.environ | watched, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
                )
            )
        return started[0]

    yield start
    for each in started:
        os.killpg(each.pid, signal.SIGKILL)
        each.wait()


def eventually(what: str, look: Callable[[], bool]) -> None:
    ends = time.monotonic() + DEADLINE_S
    while not look():
        assert time.monotonic() < ends, f"waited in vain: {what}"
        time.sleep(0.5)


def cpu_of(process: subprocess.Popen[bytes]) -> float:
    """Return the seconds of CPU of a process and of those that it has started."""
    whole = psutil.Process(process.pid)
    return float(sum(sum(each.cpu_times()[:2]) for each in [whole, *whole.children(recursive=True)]))


def blocked(log: str) -> list[float]:
    """Return the seconds for which the triggerer says it was kept from everything else, each time."""
    return [round(float(seconds) - WATCHDOG, 2) for seconds in BLOCKED.findall(log)]


def test_calls_depend_on_lists_and_not_on_sensors(
    sandbox: Sandbox, airflow_db: Path, tmp_path: Path, triggerer: Callable[[], subprocess.Popen[bytes]]
) -> None:
    lists = len(sensor_classes())
    put_into_database(airflow_db, defer(SENSORS, INTERVAL))
    log = tmp_path / "triggerer.log"
    before = len(sandbox.journal.calls())

    process = triggerer()
    eventually("the first polls", lambda: len(sandbox.journal.calls()) >= before + lists)
    first, cpu, starting = len(sandbox.journal.calls()), cpu_of(process), log.read_text()
    time.sleep(INTERVALS * INTERVAL)
    calls, cpu, polling = len(sandbox.journal.calls()) - first, cpu_of(process) - cpu, log.read_text()
    for each in sensor_classes():
        sandbox.practice.create(each.resource, {})
    changed = time.monotonic()
    eventually("all sensors to be notified", lambda: in_state("scheduled") == SENSORS)

    print(
        f"{calls} calls and {cpu:.1f} s of CPU in {INTERVALS} intervals of {INTERVAL:.0f} s with {SENSORS} sensors; "
        f"all notified within {time.monotonic() - changed:.1f} s; blocked for {blocked(starting)} s at the start, "
        f"{blocked(polling[len(starting) :])} s while polling"
    )
    assert lists * (INTERVALS - 1) <= calls <= lists * (INTERVALS + 1)
    assert max(blocked(polling[len(starting) :]), default=0.0) < LONGEST_BLOCK
