"""Sensors inside real DAG runs: what one run is given, the next is not, and nothing of patients stays behind."""

import argparse
import gzip
import json
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import airflow.sdk
import pytest
from sqlalchemy import event

from airflow_provider_drchrono.cli.cursor import cursor as cursor_command
from airflow_provider_drchrono.incremental.cursor import MOST_FORGOTTEN, MOST_RUNS, read_cursor
from airflow_provider_drchrono.sandbox import Sandbox
from tests.support.running import unlimited
from tests.support.stored import tables_with

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("quick_dags")]

RunDag = Callable[..., Any]
Variables = Callable[[], dict[str, str]]

IMPORTS = """
from datetime import datetime, timedelta
from airflow.sdk import DAG, CronDataIntervalTimetable, task
from airflow_provider_drchrono.sensors.appointments import DrChronoNewOrUpdatedAppointmentsSensor
from airflow_provider_drchrono.sensors.patients import DrChronoNewOrUpdatedPatientsSensor
"""
CANARY = "Canary-Zq7-Surname"


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox(patients=5, appointments_per_patient=2, quota_per_hour=None, quota_per_second=None) as running:
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(running))
        yield running


@pytest.fixture
def run_tasks(run_dag: RunDag) -> RunDag:
    """Runs the given lines as the body of a DAG."""

    def run(lines: str, settings: str = "schedule=None", **arguments: Any) -> Any:
        body = textwrap.indent(textwrap.dedent(lines), "    ")
        return run_dag(f'{IMPORTS}\nwith DAG("a_dag", {settings}) as dag:\n{body}', **arguments)

    return run


def given(run: Any, task_id: str = "changes", map_index: int = -1) -> Any:
    ti = run.get_task_instance(task_id, map_index=map_index)
    return ti.xcom_pull(task_ids=task_id, map_indexes=map_index)


def command(action: str, *ids: str, **options: Any) -> None:
    dag_id, task_id, *_ = (*ids, None, None)
    chosen = {"map_index": -1, "asset": None, "to": None, "output": "json"} | options
    cursor_command(argparse.Namespace(action=action, dag_id=dag_id, task_id=task_id, **chosen))


FROM_BEGINNING = """
    changes = DrChronoNewOrUpdatedPatientsSensor(
        task_id="changes", start="beginning", mode="poke", poke_interval=0.1, timeout=1.0, fields=["id", "last_name"]
    )

    @task
    def handle(record):
        return record["id"]

    handle.expand(record=changes.output)
"""


def test_each_run_is_given_what_changed_since_the_one_before(
    sandbox: Sandbox, run_tasks: RunDag, variables: Variables
) -> None:
    first = run_tasks(FROM_BEGINNING)
    assert first.state == "success"
    assert [each["id"] for each in given(first)] == [each["id"] for each in sandbox.practice.records("patients")]

    patient = sandbox.practice.records("patients")[2]["id"]
    sandbox.practice.change("patients", patient, {"last_name": CANARY})
    second = run_tasks(FROM_BEGINNING)

    assert second.state == "success"
    assert given(second) == [{"id": patient, "last_name": CANARY}]
    assert [ti.map_index for ti in second.get_task_instances() if ti.task_id == "handle"] == [0]
    assert run_tasks(FROM_BEGINNING).state == "failed", "nothing changed, so the sensor runs out of time"
    kept = variables()
    assert "drchrono:cursor:a_dag:changes" in kept
    assert CANARY not in json.dumps(kept)


LOOP = """
    from airflow.sdk import task_group
    from airflow_provider_drchrono.operators.patients import DrChronoUpdatePatientOperator

    @task_group
    def react():
        changes = DrChronoNewOrUpdatedPatientsSensor(
            task_id="changes", start="beginning", mode="poke", poke_interval=0.1, timeout=1.0, fields=["id"]
        )

        @task
        def note(records):
            with open("NOTES", "a") as notes:
                print(len(records), file=notes)

        change = DrChronoUpdatePatientOperator(task_id="change", patient_id=PATIENT_ID, data={"city": "Utica"})
        note(changes.output) >> change

    react.loop(max_iterations=2)
"""


@pytest.mark.skipif(not hasattr(airflow.sdk, "LoopDecision"), reason="this Airflow has no loops")
# Airflow 3.4 makes the tasks of a loop in a way that SQLAlchemy 2.1 deprecates.
@pytest.mark.filterwarnings(r"ignore:The Result\.tuples\(\) method is deprecated::airflow\.models\.dagrun")
def test_each_iteration_of_a_loop_is_given_what_changed_since_the_one_before(
    sandbox: Sandbox, run_tasks: RunDag, tmp_path: Path
) -> None:
    patient = str(sandbox.practice.records("patients")[2]["id"])
    notes = tmp_path / "notes"

    assert run_tasks(LOOP.replace("PATIENT_ID", patient).replace("NOTES", str(notes))).state == "success"

    assert notes.read_text().split() == ["5", "1"]


def test_a_deferred_sensor_reads_what_its_trigger_saw(sandbox: Sandbox, run_tasks: RunDag, airflow_db: Path) -> None:
    patient = sandbox.practice.records("patients")[0]["id"]

    def change_when_polled() -> None:
        while len(sandbox.journal.calls(resource="patients")) < 2:
            time.sleep(0.02)
        sandbox.practice.change("patients", patient, {"last_name": CANARY})

    practice = threading.Thread(target=change_when_polled, daemon=True)
    practice.start()
    run = run_tasks(
        """
        DrChronoNewOrUpdatedPatientsSensor(
            task_id="changes", deferrable=True, poke_interval=0.2, timeout=60.0, fields=["id", "last_name"]
        )
        """
    )
    practice.join()

    assert run.state == "success"
    assert given(run) == [{"id": patient, "last_name": CANARY}]
    assert tables_with(airflow_db, CANARY) == []


def test_batches_and_files(sandbox: Sandbox, run_tasks: RunDag, tmp_path: Path) -> None:
    path = tmp_path / "new" / "patients.ndjson.gz"
    run = run_tasks(
        f"""
        options = {{"start": "beginning", "mode": "poke", "timeout": 1.0, "fields": ["id"]}}
        DrChronoNewOrUpdatedPatientsSensor(task_id="batches", batch_size=2, **options)
        DrChronoNewOrUpdatedPatientsSensor(task_id="file", output_path="file://{path}", **options)
        """
    )

    assert run.state == "success"
    assert [len(batch) for batch in given(run, "batches")] == [2, 2, 1]
    assert given(run, "file") == {"path": f"file://{path}", "count": 5}
    assert len(gzip.decompress(path.read_bytes()).splitlines()) == 5


INTERVAL = """
    DrChronoNewOrUpdatedAppointmentsSensor(
        task_id="changes",
        since="{{ data_interval_start }}",
        until="{{ data_interval_end }}",
        mode="poke",
        poke_interval=0.1,
        timeout=1.0,
        fields=["id"],
        lookback=0,
    )
"""


def test_a_data_interval_is_read_without_a_cursor(sandbox: Sandbox, run_tasks: RunDag, variables: Variables) -> None:
    from datetime import UTC, datetime, timedelta

    # A run by hand is given the last whole interval before its time.
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    visits = sandbox.practice.records("appointments")
    inside, before = visits[0]["id"], visits[1]["id"]
    wall = (midnight - timedelta(days=3)).astimezone(sandbox.clock.zone).replace(tzinfo=None)
    for each in visits:
        sandbox.practice.change("appointments", each["id"], {"updated_at": "2001-01-01T00:00:00"})
    sandbox.practice.change("appointments", inside, {"updated_at": (wall + timedelta(hours=3)).isoformat()})
    sandbox.practice.change("appointments", before, {"updated_at": (wall - timedelta(seconds=1)).isoformat()})

    run = run_tasks(
        INTERVAL,
        'schedule=CronDataIntervalTimetable("@daily", timezone="UTC"), start_date=datetime(2026, 1, 1)',
        logical_date=midnight - timedelta(days=2),
    )

    assert run.state == "success"
    assert given(run) == [{"id": inside}]
    assert [key for key in variables() if key.startswith("drchrono:cursor")] == []


def test_a_run_without_an_interval_is_told_what_to_do(
    sandbox: Sandbox, run_tasks: RunDag, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_tasks(INTERVAL, 'schedule="@daily", start_date=datetime(2026, 1, 1)')

    assert run.state == "failed"
    told = caplog.text + capsys.readouterr().out
    assert "leave since and until out" in told


def test_a_corrupt_cursor_is_never_begun_anew_by_itself(
    sandbox: Sandbox, run_tasks: RunDag, variables: Variables, capsys: pytest.CaptureFixture[str]
) -> None:
    from airflow.models.variable import Variable

    assert run_tasks(FROM_BEGINNING).state == "success"
    whole = variables()["drchrono:cursor:a_dag:changes"]
    Variable.set("drchrono:cursor:a_dag:changes", whole[:50])
    capsys.readouterr()

    assert run_tasks(FROM_BEGINNING).state == "failed"
    assert "airflow drchrono cursor reset a_dag changes" in capsys.readouterr().out
    assert variables()["drchrono:cursor:a_dag:changes"] == whole[:50]

    capsys.readouterr()
    command("show")
    (shown,) = json.loads(capsys.readouterr().out)
    assert shown["problem"] == "50 characters of text that is not JSON"
    command("reset", "a_dag", "changes")
    assert len(given(run_tasks(FROM_BEGINNING))) == 5


def test_a_cursor_is_shown_and_set_by_hand(
    sandbox: Sandbox, run_tasks: RunDag, airflow_db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_tasks(FROM_BEGINNING)
    capsys.readouterr()

    command("show", "a_dag")
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["cursor"], shown["resource"], shown["runs"], shown["problem"]) == (
        "a_dag:changes",
        "patients",
        1,
        None,
    )

    command("set", "a_dag", "changes", to="1999-01-01")
    assert len(given(run_tasks(FROM_BEGINNING))) == 5, "all changed since"
    with pytest.raises(SystemExit, match="--to must be a date or a time"):
        command("set", "a_dag", "changes", to="yesterday")
    with pytest.raises(SystemExit, match=r"a_dag\.other has no cursor"):
        command("reset", "a_dag", "other")


def test_a_cursor_can_be_set_before_the_sensor_has_ever_run(
    sandbox: Sandbox, run_tasks: RunDag, airflow_db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command("set", "a_dag", "changes", to="1999-01-01")
    assert "The next run of a_dag.changes is given what changed since 1999-01-01" in capsys.readouterr().out
    command("show", "a_dag")
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["start"], shown["polled_until"], shown["problem"]) == ("1999-01-01", None, None)

    assert len(given(run_tasks(FROM_BEGINNING.replace('start="beginning"', 'start="now"')))) == 5
    capsys.readouterr()
    command("show", "a_dag")
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["resource"], shown["start"], shown["runs"]) == ("patients", None, 1)


CLEARED = """
    DrChronoNewOrUpdatedPatientsSensor(task_id="changes", mode="poke", poke_interval=0.1, timeout=1.0)
"""


@contextmanager
def runs_are_cleared() -> Iterator[None]:
    """Makes each new DAG run one that has been cleared, which ``DAG.test`` cannot do."""
    from airflow.models.dagrun import DagRun

    def clear(mapper: Any, connection: Any, run: DagRun) -> None:
        run.clear_number = 1

    event.listen(DagRun, "before_insert", clear)
    try:
        yield
    finally:
        event.remove(DagRun, "before_insert", clear)


def test_a_cleared_run_that_is_older_than_all_memory_takes_nothing(
    sandbox: Sandbox, run_tasks: RunDag, variables: Callable[[], dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    from airflow.models.variable import Variable

    key = "drchrono:cursor:a_dag:changes"
    run_tasks(FROM_BEGINNING)
    cursor = read_cursor(variables()[key])
    assert cursor.position is not None
    later = replace(cursor.position, until=cursor.position.until + timedelta(days=1))
    for number in range(MOST_RUNS + MOST_FORGOTTEN + 1):
        cursor = cursor.with_delivery(f"run-{number}", later)
    full = cursor.dump()
    Variable.set(key, full)
    patient = sandbox.practice.records("patients")[2]["id"]
    sandbox.practice.change("patients", patient, {"last_name": CANARY})
    capsys.readouterr()

    with runs_are_cleared():
        assert run_tasks(CLEARED).state == "failed"

    assert "what this DAG run was given is not remembered any more" in capsys.readouterr().out
    assert variables()[key] == full


def test_a_grant_that_cannot_see_the_list_is_told_apart_from_a_quiet_practice(
    monkeypatch: pytest.MonkeyPatch, run_tasks: RunDag, caplog: pytest.LogCaptureFixture
) -> None:
    with Sandbox(patients=2, missing_scope="empty", quota_per_hour=None, quota_per_second=None) as running:
        connection = json.loads(unlimited(running))
        connection["extra"]["refresh_token"] = running.new_refresh_token("calendar:read")
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", json.dumps(connection))
        blind = run_tasks(FROM_BEGINNING)

    assert blind.state == "failed"
    assert "the scope patients:read or patients:write, and the token has only calendar:read" in caplog.text
