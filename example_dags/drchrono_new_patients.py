"""Invite each new patient to the OnPatient portal, as soon as there is one.

It needs the Airflow connection ``drchrono_default`` (type DrChrono) and a triggerer, which watches the list of
patients: one call every six minutes as long as nothing happens. Each run reads the patients that started it, and no
other run reads them again. Trigger the DAG by hand after a pause, and it catches up. The invite of a patient without
an email address fails, and that of no other.
"""

from datetime import datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_drchrono.assets import drchrono_asset
from airflow_provider_drchrono.operators.assets import DrChronoChangedRecordsOperator
from airflow_provider_drchrono.operators.patients import DrChronoSendOnPatientInviteOperator

# [START asset]
new_patients = drchrono_asset("patients", change="created")
# [END asset]

with DAG(
    dag_id="drchrono_new_patients",
    schedule=[new_patients],
    start_date=datetime(2026, 1, 1),
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["drchrono", "events"],
    doc_md=__doc__,
):
    # [START read]
    newcomers = DrChronoChangedRecordsOperator(task_id="newcomers", asset=new_patients, fields=["id"])
    # [END read]
    DrChronoSendOnPatientInviteOperator.partial(task_id="invite").expand(
        patient_id=newcomers.output.map(lambda patient: patient["id"]),
    )
