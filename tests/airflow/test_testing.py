"""The fixtures and contexts that users test their DAGs with."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, Param, dag, task
from airflow.sdk.bases.operator import BaseOperator
from airflow.sdk.exceptions import AirflowRescheduleException, TaskDeferred

from airflow_provider_drchrono.operators.patients import DrChronoCreatePatientOperator, DrChronoListPatientsOperator
from airflow_provider_drchrono.operators.tasks import DrChronoCreateTaskOperator
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from airflow_provider_drchrono.sensors.patients import DrChronoNewOrUpdatedPatientsSensor
from airflow_provider_drchrono.testing import task_context
from airflow_provider_drchrono.transfers import bulk_reading
from airflow_provider_drchrono.transfers.drchrono_to_warehouse import DrChronoToWarehouseOperator

pytestmark = pytest.mark.airflow

RunDag = Callable[..., Any]


@pytest.fixture
def drchrono_sandbox_options() -> dict[str, Any]:
    return {"patients": 3, "bulk_polls": 0}


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    file = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(file)}))

    def value(query: str) -> Any:
        with closing(sqlite3.connect(file)) as connection:
            return connection.execute(query).fetchone()[0]

    return value


@pytest.fixture
def no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whoever asks for Airflow's database fail."""
    from airflow import settings

    def refuse() -> None:
        raise AssertionError("the database was asked")

    monkeypatch.setattr(settings, "Session", refuse)


def run_once(operator: BaseOperator) -> Any:
    return operator.execute(task_context(operator))


def test_the_options_of_a_test_make_the_practice(drchrono_sandbox: Sandbox) -> None:
    assert len(drchrono_sandbox.practice.records("patients")) == 3
    assert drchrono_sandbox.options.quota_per_hour is None


def test_tasks_run_without_a_database(
    no_database: None, drchrono_conn_id: str, warehouse: Callable[[str], Any]
) -> None:
    assert len(run_once(DrChronoListPatientsOperator(task_id="patients"))) == 3
    sync = DrChronoToWarehouseOperator(task_id="sync", resource="patients", warehouse_conn_id="warehouse")

    assert [run_once(sync)["rows_new"], run_once(sync)["rows_new"]] == [3, 0]
    assert warehouse("SELECT count(*) FROM patients") == 3


def test_a_create_whose_answer_is_lost_is_found_by_a_retry(
    drchrono_conn_id: str, drchrono_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_drchrono.client.retry.FIRST_DELAY", 0.001)
    drchrono_sandbox.faults.add(Fault(kind="status", status=503, resource="patients", method="POST", after=True))
    doctor = drchrono_sandbox.practice.records("doctors")[0]["id"]
    data = {"doctor": doctor, "gender": "Female", "first_name": "Ada", "last_name": "Example"}
    data |= {"date_of_birth": "1990-02-03"}
    create = DrChronoCreatePatientOperator(task_id="create", data=data)
    context = task_context(create)
    with pytest.raises(Exception, match="503"):
        create.execute(context)

    again = create.execute(context)

    assert [again["id"]] == [
        each["id"] for each in drchrono_sandbox.practice.records("patients") if each["first_name"] == "Ada"
    ]


def test_a_sensor_in_the_next_run_is_given_what_has_changed_since(
    no_database: None, drchrono_conn_id: str, drchrono_sandbox: Sandbox
) -> None:
    sensor = DrChronoNewOrUpdatedPatientsSensor(task_id="changes", start="beginning", fields=["id"])
    first = task_context(sensor)
    given = sensor.execute(first)
    assert sensor.execute(first) == given
    assert len(given) == 3
    patient = drchrono_sandbox.practice.records("patients")[0]["id"]
    with pytest.raises(AirflowRescheduleException):
        run_once(sensor)
    drchrono_sandbox.practice.change("patients", patient, {"city": "Elsewhere"})

    assert run_once(sensor) == [{"id": patient}]


@pytest.mark.parametrize("turn", ["first", "second"])
def test_no_test_sees_the_cursor_of_another(drchrono_conn_id: str, turn: str) -> None:
    assert len(run_once(DrChronoNewOrUpdatedPatientsSensor(task_id="same", start="beginning"))) == 3


def test_a_deferrable_sensor_defers(drchrono_conn_id: str) -> None:
    with pytest.raises(TaskDeferred):
        run_once(DrChronoNewOrUpdatedPatientsSensor(task_id="changes", deferrable=True))


def test_tasks_of_one_run_share_xcoms_and_params(drchrono_conn_id: str, drchrono_sandbox: Sandbox) -> None:
    status = drchrono_sandbox.practice.records("task_statuses")[0]["id"]
    pulled = "{{ ti.xcom_pull(task_ids='first')['title'] }}"
    with DAG("two", params={"title": Param("nothing", type="string")}):
        first = DrChronoCreateTaskOperator(task_id="first", data={"title": "{{ params.title }}", "status": status})
        second = DrChronoCreateTaskOperator(task_id="second", data={"title": pulled, "status": status})
    context = task_context(first, title="Call back")
    first.render_template_fields(context)
    context["ti"].xcom_push("return_value", first.execute(context))
    later = task_context(second, context)
    second.render_template_fields(later)

    assert second.execute(later)["title"] == "Call back"
    assert later["params"] == {"title": "Call back"}
    assert later["run_id"] == context["run_id"] != task_context(second)["run_id"]


def test_the_event_of_an_asset_is_in_the_context(drchrono_conn_id: str) -> None:
    sensor = DrChronoNewOrUpdatedPatientsSensor(task_id="changes", start="beginning")
    context = task_context(sensor)
    sensor.execute(context)

    assert [context["outlet_events"][each].extra["count"] for each in sensor.outlets] == [3]


def test_what_is_no_operator_is_refused() -> None:
    with pytest.raises(TypeError, match="must be an operator or a sensor, not MappedOperator"):
        task_context(DrChronoListPatientsOperator.partial(task_id="x").expand(filters=[{}]))  # type: ignore[arg-type]


@pytest.mark.parametrize("drchrono_conn_id", ["another_practice"], indirect=True)
def test_the_connection_may_have_another_id(no_database: None, drchrono_conn_id: str) -> None:
    assert drchrono_conn_id == "another_practice"
    assert len(run_once(DrChronoListPatientsOperator(task_id="patients", drchrono_conn_id=drchrono_conn_id))) == 3


def test_a_dag_that_is_defined_in_the_test_runs(airflow_db: Path, drchrono_run_dag: RunDag) -> None:
    @dag(schedule=None, params={"most": 2})
    def counting() -> None:
        @task
        def count(patients: list[Any], params: Any = None) -> int:
            return len(patients) + int(params["most"])

        count(DrChronoListPatientsOperator(task_id="patients").output)

    first = drchrono_run_dag(counting())
    second = drchrono_run_dag(counting(), run_conf={"most": 10})

    assert [first.state, second.state] == ["success", "success"]
    assert first.get_task_instance("count").xcom_pull(task_ids="count") == 5
    assert second.get_task_instance("count").xcom_pull(task_ids="count") == 13


def test_a_task_that_fails_fails_the_test_with_its_reason(airflow_db: Path, drchrono_run_dag: RunDag) -> None:
    @dag(schedule=None)
    def failing() -> None:
        @task
        def good() -> list[int]:
            return [1, 2]

        @task
        def bad(number: int) -> None:
            if number == 2:
                raise LookupError("no such thing")

        @task
        def after() -> None:
            pass

        bad.expand(number=good()) >> after()

    with pytest.raises(pytest.fail.Exception) as failure:
        drchrono_run_dag(failing())

    assert str(failure.value) == "Tasks of the DAG failing failed:\n  bad[1]: LookupError: no such thing"


def test_a_function_that_makes_a_dag_has_to_be_called(drchrono_run_dag: RunDag) -> None:
    @dag(schedule=None)
    def making() -> None: ...

    with pytest.raises(pytest.fail.Exception, match="takes a DAG, not function; call the function that @dag decorates"):
        drchrono_run_dag(making)


def test_without_a_database_the_test_says_what_to_do(
    drchrono_run_dag: RunDag, airflow_db: Path, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(airflow_db)) as connection:
        connection.execute("ALTER TABLE dag RENAME TO elsewhere")
    empty = DAG("empty")

    with pytest.raises(pytest.fail.Exception, match="run `airflow db migrate` once"):
        drchrono_run_dag(empty)


def test_a_sensor_waits_in_the_triggerer(
    airflow_db: Path, drchrono_run_dag: RunDag, drchrono_sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    patient = drchrono_sandbox.practice.records("patients")[0]["id"]
    with DAG("waiting") as waiting:
        DrChronoNewOrUpdatedPatientsSensor(
            task_id="changes", deferrable=True, poke_interval=0.2, timeout=60, fields=["id"]
        )

    def change_once_it_has_polled() -> None:
        while len(drchrono_sandbox.journal.calls(resource="patients")) < 2:
            time.sleep(0.02)
        drchrono_sandbox.practice.change("patients", patient, {"city": "Elsewhere"})

    practice = threading.Thread(target=change_once_it_has_polled, daemon=True)
    practice.start()
    run = drchrono_run_dag(waiting)
    practice.join()

    assert run.get_task_instance("changes").xcom_pull(task_ids="changes") == [{"id": patient}]
    assert "the trigger saw 1 new records" in capsys.readouterr().out


@pytest.mark.parametrize("drchrono_sandbox_options", [{"patients": 3, "bulk_seconds": 1.0}])
def test_a_sync_that_defers_comes_back(
    airflow_db: Path,
    drchrono_run_dag: RunDag,
    warehouse: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, seconds in (("LONGEST_LOOK", 0.02), ("WORKER_PATIENCE", 0.1), ("SHORTEST_ABSENCE", 1.0)):
        monkeypatch.setattr(bulk_reading, name, seconds)
    with DAG("syncing") as syncing:
        DrChronoToWarehouseOperator(
            task_id="sync", resource="patients", warehouse_conn_id="warehouse", read_by="bulk", deferrable=True
        )

    drchrono_run_dag(syncing)

    assert "waiting in the triggerer" in caplog.text
    assert warehouse("SELECT count(*) FROM patients") == 3


def test_pytest_finds_the_fixtures_and_imports_nothing_for_them(tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text(
        "import sys\n\n"
        "def test_it(pytestconfig):\n"
        "    assert pytestconfig.pluginmanager.hasplugin('drchrono')\n"
        "    assert not {'airflow', 'httpx', 'pydantic', 'uvicorn'} & set(sys.modules)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:opentelemetry", str(tmp_path)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr
