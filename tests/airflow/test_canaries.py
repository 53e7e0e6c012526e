"""Plants secrets and a patient's data, runs a DAG that succeeds and fails, and looks through all that Airflow wrote."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.sandbox import Fault, Sandbox
from tests.conftest import AIRFLOW_HOME
from tests.support.stored import RESULTS, stored_text

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("quick_dags")]

PATIENT = {
    "first_name": "Quintessa",
    "last_name": "Canarybird",
    "date_of_birth": "1951-03-17",
    "email": "q@canary.example",
    "cell_phone": "555-0199",
    "social_security_number": "900-55-0142",
}

DAG = """
import os
from airflow.sdk import DAG, task
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.operators.patients import (
    DrChronoCreatePatientOperator,
    DrChronoGetPatientOperator,
    DrChronoListPatientsOperator,
    DrChronoUpdatePatientOperator,
)
from airflow_provider_drchrono.transfers.drchrono_to_warehouse import DrChronoToWarehouseOperator

filters = {
    "duplicate": lambda record: {name: record[name] for name in FIELDS},
    "refusable": lambda record: {name: record[name] for name in FIELDS} | {"doctor": 999_999_999},
}

with DAG("canaries", schedule=None, user_defined_filters=filters) as dag:
    @task
    def through_the_hook():
        hook = DrChronoHook()
        print(hook, hook.settings, hook.token_store.load(), hook.get_conn(), hook.quota)
        print(hook.test_connection())
        with hook.get_conn() as drchrono:
            return len(list(drchrono.list("patients", {"last_name": os.environ["NAME_TO_LOOK_FOR"]})))

    @task(trigger_rule="all_done")
    def fails_with_a_wrong_secret():
        with DrChronoHook("wrong_secret").get_conn() as drchrono:
            drchrono.current_user()

    first = through_the_hook()
    get = DrChronoGetPatientOperator(task_id="get", patient_id=PATIENT_ID)
    search = DrChronoListPatientsOperator(task_id="search", filters={"doctor": 1}, trigger_rule="all_done")
    refused = DrChronoCreatePatientOperator(
        task_id="refused", data="{{ ti.xcom_pull(task_ids='get') | refusable }}", trigger_rule="all_done"
    )
    duplicate = DrChronoCreatePatientOperator(
        task_id="duplicate", data="{{ ti.xcom_pull(task_ids='get') | duplicate }}", trigger_rule="all_done"
    )
    broken = DrChronoUpdatePatientOperator(
        task_id="broken", patient_id=PATIENT_ID, data="{{ ti.xcom_pull(task_ids='get') | duplicate }}",
        trigger_rule="all_done",
    )
    gone = DrChronoGetPatientOperator(task_id="gone", patient_id=999_999_999, trigger_rule="all_done")
    sync = DrChronoToWarehouseOperator(
        task_id="sync", resource="patients", warehouse_conn_id="drchrono_warehouse", trigger_rule="all_done"
    )
    half_a_sync = DrChronoToWarehouseOperator(
        task_id="half_a_sync", resource="appointments", warehouse_conn_id="drchrono_warehouse",
        trigger_rule="all_done",
    )
    first >> get >> search >> refused >> duplicate >> broken >> gone >> sync >> half_a_sync
    half_a_sync >> fails_with_a_wrong_secret()
"""
FIELDS = ("first_name", "last_name", "date_of_birth", "email", "cell_phone", "gender", "doctor")

OUTCOMES = {
    "through_the_hook": "success",
    "get": "success",
    "search": "success",
    "refused": "failed",
    "duplicate": "failed",
    "broken": "failed",
    "gone": "failed",
    "sync": "success",
    "half_a_sync": "failed",
    "fails_with_a_wrong_secret": "failed",
}


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    monkeypatch.setenv("AIRFLOW__DRCHRONO__STAGING_PATH", str(tmp_path / "staging"))
    monkeypatch.setenv("NAME_TO_LOOK_FOR", PATIENT["last_name"])
    warehouse = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_WAREHOUSE", json.dumps(warehouse))
    with Sandbox(patients=3, appointments_per_patient=20, token_lifetime=3600) as running:
        connection = running.connection_json()
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", connection)
        wrong = connection.replace(running.client_secret, "wrong-secret-canary").replace(running.client_id, "unknown")
        monkeypatch.setenv("AIRFLOW_CONN_WRONG_SECRET", wrong)
        yield running


def everything_written(database: Path, printed: str, logged: str) -> dict[str, str]:
    """All text that Airflow left behind, by where it stands."""
    written = {"standard output": printed, "log records": logged} | stored_text(database)
    for file in AIRFLOW_HOME.rglob("*"):
        if file.is_file() and file.suffix != ".db" and not file.name.startswith("airflow.db"):
            written[str(file.relative_to(AIRFLOW_HOME))] = file.read_text(errors="replace")
    return written


def test_neither_secrets_nor_patients_are_written(
    sandbox: Sandbox,
    airflow_db: Path,
    run_dag: Callable[..., Any],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    patient = sandbox.practice.records("patients")[0]
    sandbox.practice.change("patients", patient["id"], PATIENT)
    sandbox.faults.add(Fault(kind="status", operation="patients_partial_update", status=500, after=True, times=None))
    sandbox.faults.add(Fault(kind="html", resource="appointments", skip=1, times=None))
    sandbox.faults.add(Fault(kind="expire_token", operation="patients_read", times=1))

    run = run_dag(DAG.replace("PATIENT_ID", str(patient["id"])).replace("FIELDS", repr(FIELDS)))

    assert {ti.task_id: str(ti.state) for ti in run.get_task_instances()} == OUTCOMES
    logged = "\n".join(caplog.handler.format(each) for each in caplog.records)
    written = everything_written(airflow_db, "".join(capfd.readouterr()), logged)
    assert any("Canarybird" in text for place, text in written.items() if place.startswith(RESULTS))
    assert "drchrono:token:" in written["variable"]
    assert any(place.startswith("drchrono/quota/") for place in written)
    (grant,) = sandbox.app.oauth.grants
    assert grant.refreshes == 2
    secrets = {
        "client secret": sandbox.client_secret,
        "wrong secret": "wrong-secret-canary",
        "first refresh token": sandbox.refresh_token,
        "refresh token": grant.refresh_token,
        "access token": str(grant.access_token),
    }
    leaks = [(name, place) for place, text in written.items() for name, secret in secrets.items() if secret in text]
    leaks += [
        (name, place)
        for place, text in written.items()
        if not place.startswith(RESULTS)
        for name, value in PATIENT.items()
        if value in text
    ]
    assert leaks == []
