"""What a type checker says to a DAG author: each line with ``# says:`` is an error with that text, and no other is.

Beside the other types that ``data`` may have, mypy names the argument and its type; where a value can only be the
TypedDict, it names the key.
"""

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow.sdk import DAG, task

from airflow_provider_drchrono.operators.billing import DrChronoCreateLineItemsListOperator
from airflow_provider_drchrono.operators.documents import DrChronoCreateDocumentOperator
from airflow_provider_drchrono.operators.patients import (
    DrChronoCreatePatientOperator,
    DrChronoGetPatientOperator,
    DrChronoListPatientsOperator,
    DrChronoUpdatePatientOperator,
)
from airflow_provider_drchrono.operators.users import DrChronoListDoctorsOperator

if TYPE_CHECKING:
    from airflow_provider_drchrono.types.patients_types import PatientData


@task
def new_patients() -> list[dict[str, str]]:
    """Come from somewhere else."""
    return [{"doctor": "42", "gender": "Female"}]


def built_elsewhere() -> "Sequence[PatientData]":
    return [
        {"doctor": 42, "gender": "Female"},
        {"doctor": 42, "gender": "Male", "nickname": "Al"},  # says: Extra key "nickname"
    ]


with DAG("patients"):
    patient = DrChronoCreatePatientOperator(
        task_id="create",
        data={"doctor": 42, "gender": "Female", "first_name": "Ada", "date_of_birth": "{{ params.born }}"},
    )
    DrChronoCreatePatientOperator(task_id="create_two", data=built_elsewhere())
    DrChronoCreatePatientOperator(task_id="template", data="{{ params.patient }}")
    DrChronoCreatePatientOperator(task_id="templated_values", data={"doctor": "{{ params.doctor }}", "gender": "Male"})
    DrChronoCreatePatientOperator.partial(task_id="mapped").expand(data=new_patients())
    DrChronoUpdatePatientOperator(
        task_id="nested",
        patient_id=patient.output,
        data={"primary_insurance": {"insurance_company": "Aetna"}, "offices": [1, "{{ params.office }}"]},
    )
    DrChronoListPatientsOperator(task_id="list", filters={"since": "{{ data_interval_start }}"}, verbose=True)
    DrChronoGetPatientOperator(task_id="get", patient_id="{{ params.patient }}", on_missing="skip", retries=3)
    DrChronoCreateDocumentOperator(
        task_id="document",
        data={"date": "2026-01-31", "description": "", "doctor": 1, "patient": 2, "document": b"%PDF"},
    )
    DrChronoCreateLineItemsListOperator(task_id="batch", filters={"since": "2026-01-31"}, deferrable=True)

    DrChronoCreatePatientOperator(
        task_id="misspelt",
        data={"doctor": 42, "gender": "Female", "frist_name": "Ada"},  # says: "data" to "DrChronoCreatePatientOperator"
    )
    DrChronoCreatePatientOperator(
        task_id="missing",
        data={"first_name": "Ada"},  # says: "data" to "DrChronoCreatePatientOperator"
    )
    DrChronoUpdatePatientOperator(
        task_id="wrong_type",
        patient_id=1,
        data={"disable_sms_messages": 3.5},  # says: "data" to "DrChronoUpdatePatientOperator"
    )
    DrChronoUpdatePatientOperator(
        task_id="misspelt_inside",
        patient_id=1,
        data={"primary_insurance": {"company": "Aetna"}},  # says: "data" to "DrChronoUpdatePatientOperator"
    )
    DrChronoUpdatePatientOperator(task_id="no_id", data={"city": "Reno"})  # says: Missing named argument "patient_id"
    DrChronoListPatientsOperator(task_id="no_filter", filters={"sinse": "2026-01-31"})  # says: Argument "filters"
    DrChronoGetPatientOperator(task_id="no_choice", patient_id=1, on_missing="ignore")  # says: Argument "on_missing"
    DrChronoGetPatientOperator(task_id="no_retries", patient_id=1, retries="many")  # says: Argument "retries"
    DrChronoGetPatientOperator(task_id="misspelt_option", patient_id=1, verbos=True)  # says: keyword argument "verbos"
    DrChronoListDoctorsOperator(task_id="no_verbose_form", verbose=True)  # says: keyword argument "verbose"
    DrChronoGetPatientOperator(patient_id=1)  # says: Missing named argument "task_id"
    DrChronoUpdatePatientOperator(
        task_id="all_options",
        patient_id=1,
        data={"city": "Reno"},
        extra_fields={"new": 1},
        read_back=True,
        drchrono_conn_id="north",
        pool="drchrono",
        trigger_rule="all_done",
        execution_timeout=datetime.timedelta(minutes=5),
        do_xcom_push=False,
    )
