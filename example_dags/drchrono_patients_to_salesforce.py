"""Keep a contact in Salesforce for each patient who is new or updated, found again by the patient's id.

It needs a triggerer and two Airflow connections: ``drchrono_default`` (type DrChrono), and ``salesforce_default`` (type
Salesforce, with the consumer key and secret of an app that may use the client credentials flow, and your domain, such
as ``practice.my``). Contacts in Salesforce need a text field ``DrChrono_Id__c`` that is an external id and unique. A
second run changes nothing: Salesforce creates a contact whose id it does not know, and updates all others.
"""

from datetime import datetime, timedelta

from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from airflow_provider_drchrono.assets import drchrono_asset
from airflow_provider_drchrono.client import DrChronoClient, NotFoundError
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.operators.assets import DrChronoChangedRecordsOperator

FIELDS = {"FirstName": "first_name", "MobilePhone": "cell_phone", "MailingCity": "city", "MailingState": "state"}
MOST = 200  # Salesforce takes no more at a time.

patients = drchrono_asset("patients")


def contact(drchrono: DrChronoClient, patient_id: int) -> dict | None:
    """Return what Salesforce should have of a patient; None of one who was deleted meanwhile."""
    try:
        patient = drchrono.read("patients", patient_id)
    except NotFoundError:
        return None
    fields = {theirs: patient[ours] or None for theirs, ours in FIELDS.items()}
    # No contact may be without a last name.
    fields |= {"DrChrono_Id__c": str(patient_id), "LastName": patient["last_name"] or "?"}
    return {"attributes": {"type": "Contact"}, **fields}


with DAG(
    dag_id="drchrono_patients_to_salesforce",
    schedule=[patients],
    start_date=datetime(2026, 1, 1),
    max_active_runs=1,  # An older run must not overwrite what a newer one has sent.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["drchrono", "events"],
    doc_md=__doc__,
):
    changed = DrChronoChangedRecordsOperator(task_id="changed", asset=patients, fields=["id"])

    @task
    def to_salesforce(patients: list[dict]) -> int:
        """Send the patients as they are now; names are read here, so that Airflow stores none."""
        from airflow.providers.salesforce.hooks.salesforce import SalesforceHook  # Takes seconds.
        from simple_salesforce.exceptions import SalesforceError

        with DrChronoHook("drchrono_default") as drchrono:
            contacts = [found for each in patients if (found := contact(drchrono, each["id"]))]
        if not contacts:
            raise AirflowSkipException("there is no patient to send")
        salesforce = SalesforceHook("salesforce_default").get_conn()
        for first in range(0, len(contacts), MOST):
            batch = {"allOrNone": False, "records": contacts[first : first + MOST]}
            try:
                answers = salesforce.restful("composite/sobjects/Contact/DrChrono_Id__c", method="PATCH", json=batch)
            except SalesforceError as error:  # Its text is the answer, which may hold a name.
                raise AirflowException(f"Salesforce answered {error.status}; see its log of API calls") from None
            refused = [each for answer in answers if not answer["success"] for each in answer["errors"]]
            if refused:
                reasons = ", ".join(sorted({each["statusCode"] for each in refused}))
                raise AirflowException(f"Salesforce refused contacts of {len(refused)} patients: {reasons}")
        return len(contacts)

    to_salesforce(changed.output)
