"""What Airflow keeps of rendered templates: the names of what was given, and nothing of patients."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.sandbox import Sandbox
from tests.support.running import unlimited

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("quick_dags")]

CANARY = "Canarybird"

DAG = """
import os
from airflow.sdk import DAG
from airflow_provider_drchrono.operators.patients import (
    DrChronoCreatePatientOperator,
    DrChronoListPatientsOperator,
    DrChronoUpdatePatientOperator,
)
from airflow_provider_drchrono.sensors.patients import DrChronoNewOrUpdatedPatientsSensor
from airflow_provider_drchrono.transfers.drchrono_to_warehouse import DrChronoToWarehouseOperator

with DAG("templates", schedule=None, user_defined_macros={"name": os.environ["NAME_OF_A_PATIENT"]}) as dag:
    common = {"doctor": DOCTOR_ID, "gender": "Female"}
    create = DrChronoCreatePatientOperator(
        task_id="create",
        data=common | {"last_name": "{{ name }}"},
        match_on=["last_name", "doctor"],
        extra_fields={"of_tomorrow": {"inner": ["{{ name }}"]}},
    )
    update = DrChronoUpdatePatientOperator(
        task_id="update",
        patient_id="{{ ti.xcom_pull(task_ids='create')['id'] }}",
        data={"nick_name": "{{ name }}"},
        extra_fields="{{ {'of_tomorrow': name} }}",
    )
    search = DrChronoListPatientsOperator(task_id="search", filters={"last_name": "{{ name }}"}, fields=["id"])
    sensor = DrChronoNewOrUpdatedPatientsSensor(
        task_id="sensor", filters={"last_name": "{{ name }}"}, fields=["id"], start="beginning", timeout=1
    )
    sync = DrChronoToWarehouseOperator(
        task_id="sync",
        resource="patients",
        warehouse_conn_id="drchrono_warehouse",
        filters={"last_name": "{{ name }}"},
    )
    mapped = DrChronoCreatePatientOperator.partial(
        task_id="mapped", extra_fields={"of_tomorrow": "{{ name }}"}, match_on=["last_name", "first_name"]
    ).expand(data=[common | {"last_name": "{{ name }}", "first_name": first} for first in ("A", "B")])
    create >> update >> search >> sensor >> sync >> mapped
"""


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    monkeypatch.setenv("NAME_OF_A_PATIENT", CANARY)
    monkeypatch.setenv("AIRFLOW__DRCHRONO__STAGING_PATH", str(tmp_path / "staging"))
    warehouse = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_WAREHOUSE", json.dumps(warehouse))
    with Sandbox(patients=3, quota_per_hour=None, quota_per_second=None) as running:
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(running))
        yield running


def rendered(run: Any) -> dict[str, Any]:
    """Return what Airflow has kept, by task."""
    from airflow.models.renderedtifields import RenderedTaskInstanceFields

    return {
        ti.task_id if ti.map_index < 0 else f"{ti.task_id} {ti.map_index}": (
            RenderedTaskInstanceFields.get_templated_fields(ti)
        )
        for ti in run.get_task_instances()
    }


def test_names_are_kept_and_values_are_only_sent(sandbox: Sandbox, run_dag: Callable[..., Any]) -> None:
    doctor = sandbox.practice.records("doctors")[0]["id"]

    run = run_dag(DAG.replace("DOCTOR_ID", str(doctor)))

    assert {ti.task_id: str(ti.state) for ti in run.get_task_instances()} == dict.fromkeys(
        ("create", "update", "search", "sensor", "sync", "mapped"), "success"
    )
    kept = rendered(run)
    assert {task: CANARY in json.dumps(fields) for task, fields in kept.items()} == dict.fromkeys(
        ("create", "update", "search", "sensor", "sync", "mapped 0", "mapped 1"), False
    )
    assert kept["create"]["data"] == {"doctor": "***", "gender": "***", "last_name": "***"}
    assert kept["create"]["extra_fields"] == {"of_tomorrow": {"inner": ["***"]}}
    assert kept["update"]["data"] == {"nick_name": "***"}
    assert kept["update"]["extra_fields"] == "***"
    assert kept["mapped 1"]["data"] == {"doctor": "***", "gender": "***", "last_name": "***", "first_name": "***"}
    assert kept["mapped 1"]["extra_fields"] == {"of_tomorrow": "***"}
    for task in ("search", "sensor", "sync"):
        assert kept[task]["filters"] == {"last_name": "***"}

    calls = sandbox.journal.calls()
    bodies = [call.body for call in calls if call.method in ("POST", "PATCH")]
    assert [body["of_tomorrow"] for body in bodies] == [{"inner": [CANARY]}, CANARY, CANARY, CANARY]
    assert {call.query.get("last_name") for call in calls if call.operation_id == "patients_list"} == {CANARY}
