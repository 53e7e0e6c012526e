"""The example that reacts to new patients, run as its readers would run it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.assets import drchrono_asset
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.state.cursor_store import VariableCursorStore
from tests.support.events import make_event
from tests.support.running import unlimited

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("quick_dags")]

EXAMPLE = Path(__file__).resolve().parents[2] / "example_dags" / "drchrono_new_patients.py"


def test_each_new_patient_is_invited_once(
    run_dag: Callable[..., Any], airflow_db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = drchrono_asset("patients", change="created")
    with Sandbox(patients=3, quota_per_hour=None, quota_per_second=None) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox))
        assert make_event(VariableCursorStore(), watched) is None
        assert run_dag(EXAMPLE).state == "success"

        people = [{"last_name": "Newcomer", "email": f"newcomer-{number}@example.com"} for number in range(2)]
        patients = [sandbox.practice.create("patients", person)["id"] for person in people]
        assert make_event(VariableCursorStore(), watched) is not None
        assert run_dag(EXAMPLE).state == "success"
        assert run_dag(EXAMPLE).state == "success"

        invited = [entry.path for entry in sandbox.journal.calls(operation_id="patients_onpatient_access_create")]
    assert sorted(invited) == sorted(f"/api/patients/{patient}/onpatient_access" for patient in patients)
