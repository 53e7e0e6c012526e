"""Keep a contact in HubSpot for each patient who is new or updated, found again by the patient's id.

It needs a triggerer and two Airflow connections: ``drchrono_default`` (type DrChrono), and ``hubspot_default`` (type
HTTP, host ``https://api.hubapi.com``, extra ``{"Authorization": "Bearer <token of a private app>"}``). Contacts in
HubSpot need a property ``drchrono_id`` with unique values. A second run changes nothing: HubSpot creates a contact
whose id it does not know, and updates all others.
"""

from datetime import datetime, timedelta

from airflow.providers.http.hooks.http import HttpHook
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from airflow_provider_drchrono.assets import drchrono_asset
from airflow_provider_drchrono.client import DrChronoClient, NotFoundError
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.operators.assets import DrChronoChangedRecordsOperator

# No e-mail address: HubSpot has one contact for each, and families share one.
PROPERTIES = {"firstname": "first_name", "lastname": "last_name", "phone": "cell_phone", "city": "city"}
MOST = 100  # HubSpot takes no more at a time.

patients = drchrono_asset("patients")


def contact(drchrono: DrChronoClient, patient_id: int) -> dict | None:
    """Return what HubSpot should have of a patient; None of one who was deleted meanwhile."""
    try:
        patient = drchrono.read("patients", patient_id)
    except NotFoundError:
        return None
    properties = {theirs: patient[ours] or "" for theirs, ours in PROPERTIES.items()}
    return {"idProperty": "drchrono_id", "id": str(patient_id), "properties": properties}


with DAG(
    dag_id="drchrono_patients_to_crm",
    schedule=[patients],
    start_date=datetime(2026, 1, 1),
    max_active_runs=1,  # An older run must not overwrite what a newer one has sent.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["drchrono", "events"],
    doc_md=__doc__,
):
    changed = DrChronoChangedRecordsOperator(task_id="changed", asset=patients, fields=["id"])

    @task
    def to_crm(patients: list[dict]) -> int:
        """Send the patients as they are now; names are read here, so that Airflow stores none."""
        with DrChronoHook("drchrono_default") as drchrono:
            contacts = [found for each in patients if (found := contact(drchrono, each["id"]))]
        if not contacts:
            raise AirflowSkipException("there is no patient to send")
        crm = HttpHook(http_conn_id="hubspot_default")
        for first in range(0, len(contacts), MOST):
            answer = crm.run(
                "crm/v3/objects/contacts/batch/upsert",
                json={"inputs": contacts[first : first + MOST]},
                extra_options={"check_response": False},  # The hook would log the answer, which may hold a name.
            )
            if answer.status_code not in (200, 201):
                raise AirflowException(f"HubSpot answered {answer.status_code}; see its log of API calls")
        return len(contacts)

    to_crm(changed.output)
