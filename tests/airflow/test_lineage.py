"""What Airflow's OpenLineage provider writes of our tasks, by its own transport into a file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.sandbox import Sandbox
from tests.airflow.test_privacy import KEY, plant
from tests.support.running import unlimited

pytest.importorskip("airflow.providers.openlineage")

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("quick_dags")]

DAG = """
from datetime import datetime
from airflow.sdk import DAG
from airflow_provider_drchrono.operators.patients import DrChronoListPatientsOperator
from airflow_provider_drchrono.sensors.patients import DrChronoNewOrUpdatedPatientsSensor
from airflow_provider_drchrono.transfers.drchrono_to_object_storage import DrChronoToObjectStorageOperator
from airflow_provider_drchrono.transfers.drchrono_to_warehouse import DrChronoToWarehouseOperator

with DAG("lineage", schedule=None, start_date=datetime(2026, 1, 1)):
    DrChronoListPatientsOperator(task_id="list", fields=["id"])
    DrChronoNewOrUpdatedPatientsSensor(task_id="sensor", start="beginning", fields=["id"])
    DrChronoToWarehouseOperator(task_id="plain", resource="patients", warehouse_conn_id="warehouse")
    DrChronoToWarehouseOperator(
        task_id="masked", resource="patients", warehouse_conn_id="warehouse", table="safe", profile="safe_harbor",
        privacy_conn_id="privacy_key",
    )
    DrChronoToObjectStorageOperator(task_id="export", resource="patients", path="FOLDER/lake")
"""


@pytest.fixture
def events(
    run_dag: Callable[..., Any], airflow_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[dict[str, Any]], str, Path]:
    """Run the DAG; return the events, all that was written of them, and the folder."""
    log = tmp_path / "events.ndjson"
    transport = {"type": "file", "log_file_path": str(log), "append": True}
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", json.dumps(transport))
    # The events of a test are to be there when its DAG run is.
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD", "False")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "w.db")}))
    monkeypatch.setenv("AIRFLOW_CONN_PRIVACY_KEY", json.dumps({"conn_type": "generic", "password": KEY}))
    from airflow.providers.openlineage import conf

    for name in ("transport", "is_disabled", "_is_true", "config_path", "namespace", "selective_enable"):
        if hasattr(getattr(conf, name, None), "cache_clear"):
            getattr(conf, name).cache_clear()
    with Sandbox(patients=12, quota_per_hour=None, quota_per_second=None) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox))
        planted = plant(sandbox, "patients")
        assert run_dag(DAG.replace("FOLDER", str(tmp_path))).state == "success"
    text = log.read_text()
    assert planted
    return [json.loads(line) for line in text.splitlines()], text, tmp_path


def of_task(events: list[dict[str, Any]], task: str) -> dict[str, Any]:
    (found,) = (each for each in events if each["eventType"] == "COMPLETE" and each["job"]["name"] == f"lineage.{task}")
    return found


def test_tasks_tell_what_they_read_and_wrote(events: tuple[list[dict[str, Any]], str, Path]) -> None:
    found, _, folder = events
    for task in ("list", "sensor", "plain", "masked", "export"):
        (source,) = of_task(found, task)["inputs"]
        assert (source["namespace"], source["name"]) == ("drchrono://drchrono_default", "patients")
        assert source["inputFacets"]["inputStatistics"]["rowCount"] >= 12
        names = {each["name"]: each["type"] for each in source["facets"]["schema"]["fields"]}
        assert (names["id"], names["date_of_birth"]) == ("integer", "date")

    (table,) = of_task(found, "plain")["outputs"]
    assert (table["namespace"], table["name"]) == (f"sqlite://{folder / 'w.db'}", "patients")
    assert table["outputFacets"]["outputStatistics"]["rowCount"] >= 12
    how = table["facets"]["columnLineage"]["fields"]["first_name"]["inputFields"]
    assert [(each["name"], each["field"], each["transformations"][0]["masking"]) for each in how] == [
        ("patients", "first_name", False)
    ]
    tags = {(each["field"], each["value"]) for each in table["facets"]["tags"]["tags"]}
    assert ("first_name", "name") in tags

    (safe,) = of_task(found, "masked")["outputs"]
    fields = safe["facets"]["columnLineage"]["fields"]
    assert "first_name" not in fields
    assert fields["id"]["inputFields"][0]["transformations"][0] | {"_": 0} == {
        "type": "DIRECT", "subtype": "TRANSFORMATION", "description": "masked: hash", "masking": True, "_": 0,
    }  # fmt: skip

    (files,) = of_task(found, "export")["outputs"]
    assert (files["namespace"], files["name"]) == ("file", str(folder / "lake" / "patients"))
    assert files["outputFacets"]["outputStatistics"]["fileCount"] >= 1


def test_no_event_holds_a_value_of_a_record(events: tuple[list[dict[str, Any]], str, Path]) -> None:
    _, text, _ = events
    assert "canary" not in text.lower()


def test_an_asset_is_the_dataset_of_its_list() -> None:
    from airflow_provider_drchrono.assets import drchrono_asset
    from airflow_provider_drchrono.assets.openlineage import asset_to_openlineage
    from airflow_provider_drchrono.assets.outlets import drchrono_table

    found = asset_to_openlineage(drchrono_asset("patients", change="created"), None)
    assert (found.namespace, found.name) == ("drchrono://drchrono_default", "patients")
    assert asset_to_openlineage(drchrono_table("patients", warehouse_conn_id="w"), None) is None
