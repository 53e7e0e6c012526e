"""``execute({})``, as a user's unit test calls it, works for each kind of task; the page that shows how is run."""

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSensorTimeout

from airflow_provider_drchrono.assets import drchrono_asset
from airflow_provider_drchrono.operators.assets import DrChronoChangedRecordsOperator
from airflow_provider_drchrono.operators.tasks import DrChronoCreateTaskOperator
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from airflow_provider_drchrono.sensors.patients import DrChronoNewOrUpdatedPatientsSensor
from airflow_provider_drchrono.state import lease as variable_lease
from airflow_provider_drchrono.transfers.drchrono_to_warehouse import DrChronoToWarehouseOperator

pytestmark = pytest.mark.airflow

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/test-a-dag.md"


@pytest.fixture(autouse=True)
def quick(airflow_db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variable_lease, "Timing", partial(variable_lease.Timing, write_limit=30.0, settle=0.0))


@pytest.fixture
def practice(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox(patients=3) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", sandbox.connection_json())
        yield sandbox


def examples() -> dict[str, Callable[..., None]]:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    return {name: found for name, found in names.items() if name.startswith("test_")}


@pytest.mark.parametrize("name", examples())
def test_the_tests_on_the_page_pass(practice: Sandbox, name: str) -> None:
    examples()[name](practice)


def test_a_sync(practice: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(warehouse))

    sync = DrChronoToWarehouseOperator(
        task_id="sync", resource="patients", warehouse_conn_id="warehouse", staging_path=str(tmp_path)
    )

    assert sync.execute({})["rows_new"] == 3  # type: ignore[typeddict-item]


def test_a_reader_of_an_asset_has_nothing_to_read_yet(practice: Sandbox) -> None:
    reader = DrChronoChangedRecordsOperator(task_id="read", asset=drchrono_asset("patients"))

    assert reader.execute({}) == []  # type: ignore[typeddict-item]


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_sensor_polls_once_and_does_not_wait(practice: Sandbox, deferrable: bool) -> None:
    sensor = DrChronoNewOrUpdatedPatientsSensor(task_id="changes", deferrable=deferrable)

    with pytest.raises(AirflowSensorTimeout, match="without the context of a task the sensor does not wait"):
        sensor.execute({})  # type: ignore[typeddict-item]


def test_a_create_whose_answer_is_lost_still_says_so(practice: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_drchrono.client.retry.FIRST_DELAY", 0.001)
    practice.faults.add(Fault(kind="status", status=503, resource="tasks", method="POST", after=True))

    with pytest.raises(Exception, match="may have been carried out"):
        DrChronoCreateTaskOperator(task_id="create", data={"title": "x", "status": 1}).execute({})  # type: ignore[typeddict-item]
