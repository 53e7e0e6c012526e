"""Operators that read, against the sandbox over a socket."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException, AirflowSkipException

from airflow_provider_drchrono.client import RequestTimeoutError, ServerError
from airflow_provider_drchrono.operators.appointments import DrChronoListAppointmentsOperator
from airflow_provider_drchrono.operators.base import InvalidArgumentError
from airflow_provider_drchrono.operators.billing import DrChronoGetDaySheetTotalsOperator
from airflow_provider_drchrono.operators.patients import (
    DrChronoGetPatientCcdaOperator,
    DrChronoGetPatientOperator,
    DrChronoListPatientsOperator,
)
from airflow_provider_drchrono.operators.users import DrChronoGetUserOperator
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from tests.support.running import connected_sandbox, execute, unlimited

CANARY = "Canaryname"


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    monkeypatch.setattr("airflow_provider_drchrono.client.retry.FIRST_DELAY", 0.001)
    with connected_sandbox(monkeypatch, patients=4, appointments_per_patient=3) as running:
        yield running


def get(patient_id: Any, **options: Any) -> Any:
    return execute(DrChronoGetPatientOperator(task_id="get", patient_id=patient_id, **options))


def list_patients(**options: Any) -> Any:
    return execute(DrChronoListPatientsOperator(task_id="list", **options))


def test_a_record_is_returned_whole_or_in_part(sandbox: Sandbox) -> None:
    patient = sandbox.practice.records("patients")[0]

    assert get(patient["id"]) == patient
    assert get(str(patient["id"]), fields=["id", "last_name"]) == {
        "id": patient["id"],
        "last_name": patient["last_name"],
    }
    assert get(patient["id"], verbose=True) == sandbox.practice.get("patients", patient["id"], verbose=True)


def test_the_current_user_is_found_behind_a_redirect(sandbox: Sandbox) -> None:
    user = execute(DrChronoGetUserOperator(task_id="user", user_id="current"))

    assert user["id"] == sandbox.practice.records("users")[0]["id"]


def test_a_missing_record_fails_skips_or_is_none(sandbox: Sandbox) -> None:
    with pytest.raises(AirflowFailException, match="patients_read: the API answered 404"):
        get(4711)
    with pytest.raises(AirflowSkipException, match="patients_read: there is no such record"):
        get(4711, on_missing="skip")
    assert get(4711, on_missing="none") is None


@pytest.mark.parametrize("patient_id", ["", None, "..", "1/2", "../users/1", "None"])
def test_an_id_that_leads_elsewhere_is_refused_before_any_call(sandbox: Sandbox, patient_id: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="patients_read: patient_id"):
        get(patient_id)
    assert sandbox.journal.calls() == []


def test_refused_access_names_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        connected_sandbox(monkeypatch, patients=1, scopes=("user:read",)) as sandbox,
        pytest.raises(AirflowFailException) as refused,
    ):
        get(sandbox.practice.records("patients")[0]["id"])

    assert "the scope patients:read" in str(refused.value)
    assert "the token has only user:read" in str(refused.value)
    assert "the permission manage-patients" in str(refused.value)
    assert "plan" not in str(refused.value)


def test_a_list_is_read_to_its_end(sandbox: Sandbox, tmp_path: Path) -> None:
    patients = sandbox.practice.records("patients")

    assert list_patients() == patients
    assert list_patients(fields=["id"]) == [{"id": each["id"]} for each in patients]
    assert list_patients(filters={"last_name": patients[0]["last_name"]}, max_records=4)[0] == patients[0]
    with pytest.raises(InvalidArgumentError, match="more than 3 records"):
        list_patients(max_records=3)
    batches = list_patients(batch_size=3)
    assert batches == [patients[:3], patients[3:]]
    written = list_patients(max_records=1, output_path=str(tmp_path / "patients.ndjson"), fields=["id"])
    assert written == {"path": str(tmp_path / "patients.ndjson"), "count": 4}
    lines = (tmp_path / "patients.ndjson").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [each["id"] for each in patients]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        pytest.param({"max_records": 0}, "max_records must be a number of records from 1 up", id="no records"),
        pytest.param({"batch_size": True}, "batch_size must be a number of records from 1 up", id="no size"),
        pytest.param({"batch_size": 2, "output_path": "f"}, "batch_size has no effect on a file", id="a file"),
    ],
)
def test_a_size_that_cannot_work_stops_the_dag_file(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidArgumentError, match=problem):
        DrChronoListPatientsOperator(task_id="list", **options)


def test_a_failure_on_the_way_leaves_no_file(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_drchrono.catalog.model.Paging.largest", lambda self, verbose: 5)
    sandbox.faults.add(Fault(kind="status", operation="appointments_list", status=500, times=None, skip=1))
    operator = DrChronoListAppointmentsOperator(
        task_id="list", filters={"since": "2000-01-01"}, output_path=str(tmp_path / "appointments.ndjson")
    )

    with pytest.raises(ServerError, match="appointments_list: the API answered 500"):
        execute(operator)

    assert sandbox.journal.calls(status=200)
    assert list(tmp_path.iterdir()) == []


def test_times_with_a_zone_become_the_practices(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    list_patients(filters={"since": "2026-01-01T12:00:00+00:00"})
    assert sandbox.journal.calls()[-1].query["since"] == "2026-01-01T07:00:00"

    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox, timezone=None))
    with pytest.raises(InvalidArgumentError, match="set timezone on the connection"):
        list_patients(filters={"since": "2026-01-01T12:00:00+00:00"})


def test_a_refused_filter_is_named_without_its_value(sandbox: Sandbox) -> None:
    with pytest.raises(AirflowFailException) as refused:
        list_patients(filters={"date_of_birth": CANARY})

    assert "filters['date_of_birth'] must be a date" in str(refused.value)
    assert CANARY not in str(refused.value)


def test_a_used_up_quota_reschedules_a_list_that_has_hardly_begun(sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault(kind="throttle", operation="patients_list", seconds=600, times=None))
    with pytest.raises(AirflowRescheduleException):
        list_patients()


def test_a_used_up_quota_fails_a_list_that_would_never_end(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox, quota_per_hour=4))
    monkeypatch.setattr("airflow_provider_drchrono.catalog.model.Paging.largest", lambda self, verbose: 1)
    sandbox.faults.add(Fault(kind="throttle", operation="patients_list", seconds=600, times=None, skip=3))

    with pytest.raises(AirflowFailException, match=r"the quota ran out after . calls of this list alone.*Narrow the"):
        list_patients()


def test_what_may_pass_is_left_to_the_retries_of_the_task(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox, read_timeout=0.2))
    sandbox.faults.add(Fault(kind="slow", operation="patients_read", seconds=0.6, times=None))
    with pytest.raises(RequestTimeoutError, match="patients_read"):
        get(sandbox.practice.records("patients")[0]["id"])


def test_reports_are_returned_or_written(sandbox: Sandbox, tmp_path: Path) -> None:
    dates = {"start_date": "2026-01-01", "end_date": "2026-12-31"}
    patient_id = sandbox.practice.records("patients")[0]["id"]

    report = execute(DrChronoGetDaySheetTotalsOperator(task_id="totals", filters=dates))
    document = execute(DrChronoGetPatientCcdaOperator(task_id="ccda", patient_id=patient_id))
    written = execute(
        DrChronoGetPatientCcdaOperator(task_id="ccda", patient_id=patient_id, output_path=str(tmp_path / "ccda.xml"))
    )

    assert isinstance(report, dict | list)
    assert "ClinicalDocument" in document
    assert written["bytes"] == (tmp_path / "ccda.xml").stat().st_size == len(document.encode())
