"""The example that keeps contacts in a CRM, against a HubSpot that answers 429 once, and again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.assets import drchrono_asset
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.state.cursor_store import VariableCursorStore
from tests.support.events import make_event
from tests.support.example_dags import SURNAME, example_dag, register
from tests.support.far_server import HubSpot
from tests.support.running import unlimited

pytest.importorskip("airflow.providers.http")

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("quick_dags")]

EXAMPLE = example_dag("drchrono_patients_to_crm")
PATIENTS = drchrono_asset("patients")


def connect(patch: pytest.MonkeyPatch, sandbox: Sandbox, hubspot: HubSpot, *, token: str = HubSpot.token) -> None:
    connection = {"conn_type": "http", "host": hubspot.url, "extra": {"Authorization": f"Bearer {token}"}}
    patch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox))
    patch.setenv("AIRFLOW_CONN_HUBSPOT_DEFAULT", json.dumps(connection))


def test_each_patient_is_one_contact(
    run_dag: Callable[..., Any], airflow_db: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with Sandbox(patients=3, quota_per_hour=None, quota_per_second=None) as sandbox, HubSpot(429) as hubspot:
        connect(monkeypatch, sandbox, hubspot)
        assert make_event(VariableCursorStore(), PATIENTS) is None
        assert run_dag(EXAMPLE).state == "success"
        assert hubspot.requests == []

        new = register(sandbox, 150)
        assert make_event(VariableCursorStore(), PATIENTS) is not None
        # Somebody is deleted before the run.
        sandbox.practice.table("patients").remove(new.pop())
        first = run_dag(EXAMPLE)
        assert first.state == "success"
        assert first.get_task_instance("to_crm").try_number == 2
        assert sorted(hubspot.created, key=int) == [str(each) for each in sorted(new)]
        assert len(hubspot.requests) == 3, "two batches, and the one that was refused"
        assert hubspot.contacts[str(new[0])]["lastname"] == SURNAME

        assert run_dag(EXAMPLE).state == "success"
        assert len(hubspot.requests) == 3

        sandbox.practice.change("patients", new[0], {"city": "Elsewhere"})
        assert make_event(VariableCursorStore(), PATIENTS) is not None
        assert run_dag(EXAMPLE).state == "success"
        assert [each["id"] for each in hubspot.requests[-1].body["inputs"]] == [str(new[0])]
        assert hubspot.contacts[str(new[0])]["city"] == "Elsewhere"
        assert len(hubspot.created) == len(new)
    log = "".join(capfd.readouterr())
    assert "Task instance state updated" in log
    assert SURNAME not in log


def test_a_refusal_fails_the_task_without_a_name(
    run_dag: Callable[..., Any], airflow_db: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with Sandbox(patients=3, quota_per_hour=None, quota_per_second=None) as sandbox, HubSpot() as hubspot:
        connect(monkeypatch, sandbox, hubspot, token="another")
        assert make_event(VariableCursorStore(), PATIENTS) is None
        assert run_dag(EXAMPLE).state == "success"
        register(sandbox, 1)
        assert make_event(VariableCursorStore(), PATIENTS) is not None
        assert run_dag(EXAMPLE).state == "failed"
    log = "".join(capfd.readouterr())
    assert "HubSpot answered 401" in log
    assert SURNAME not in log
    assert hubspot.contacts == {}
