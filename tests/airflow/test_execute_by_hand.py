"""``execute({})``, as a user's unit test calls it, works for each kind of task; the page that shows how is run."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from shutil import copyfile

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


def test_the_tests_on_the_page_pass(migrated_database: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    code = "\n\n".join(blocks)
    # Whoever copies a block has the options that stand beside it, and no other ones.
    options, _ = re.subn(r"(?s)@pytest.fixture\ndef drchrono_sandbox_options.*?\n\n\n", "", code)
    files = {"test_page.py": options, "test_options.py": "\n\n".join((blocks[0].partition("def test_")[0], blocks[2]))}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    home = tmp_path / "home"
    home.mkdir()
    copyfile(migrated_database, home / "airflow.db")
    environment = os.environ | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
    }
    (home / "dags").mkdir()

    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *sorted(files)]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{code.count('def test_') + 1} passed" in ended.stdout


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
