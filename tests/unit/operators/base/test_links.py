"""The link to a patient's chart."""

from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_drchrono.operators.appointments import DrChronoGetAppointmentOperator
from airflow_provider_drchrono.operators.base.links import DrChronoPatientLink
from airflow_provider_drchrono.operators.patients import DrChronoCreatePatientOperator, DrChronoGetPatientOperator
from airflow_provider_drchrono.sandbox import Sandbox
from tests.support.examples import operations, operator_class
from tests.support.running import connected_sandbox, execute

NO_KEY: Any = None
ON_ONE_PATIENT = {
    "patients_ccda",
    "patients_ccda_async",
    "patients_create",
    "patients_onpatient_access_create",
    "patients_onpatient_access_delete",
    "patients_onpatient_access_read",
    "patients_partial_update",
    "patients_qrda1",
    "patients_read",
    "patients_summary_create",
    "patients_summary_partial_update",
    "patients_summary_read",
    "patients_summary_update",
    "patients_update",
}


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with connected_sandbox(monkeypatch, patients=1) as running:
        yield running


def test_operators_on_one_patient_have_the_link_and_no_others() -> None:
    linked = {each.id for each in operations() if operator_class(each.id).operator_extra_links}

    assert linked == ON_ONE_PATIENT
    assert DrChronoGetAppointmentOperator.operator_extra_links == ()


def test_it_leads_to_the_chart_of_the_patient(sandbox: Sandbox) -> None:
    patient = sandbox.practice.records("patients")[0]
    (link,) = DrChronoGetPatientOperator.operator_extra_links
    read = DrChronoGetPatientOperator(task_id="read", patient_id=patient["id"])
    data = {"doctor": patient["doctor"], "gender": "Other"}
    made = DrChronoCreatePatientOperator(task_id="made", data=data | {"last_name": "A"})
    several = DrChronoCreatePatientOperator(task_id="several", data=[data | {"last_name": "B"}])
    missing = DrChronoGetPatientOperator(task_id="missing", patient_id=4711, on_missing="none")

    assert isinstance(link, DrChronoPatientLink)
    assert link.get_link(read, ti_key=NO_KEY) == ""
    execute(read)
    assert link.get_link(read, ti_key=NO_KEY) == f"{sandbox.url}/patients/{patient['id']}"
    assert link.get_link(made, ti_key=NO_KEY) == ""
    created = execute(made)
    assert link.get_link(made, ti_key=NO_KEY) == f"{sandbox.url}/patients/{created['id']}"
    execute(several)
    assert link.get_link(several, ti_key=NO_KEY) == ""
    execute(missing)
    assert link.get_link(missing, ti_key=NO_KEY) == ""
