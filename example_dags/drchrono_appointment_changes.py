"""Tell a Slack channel and a mailbox which appointments were booked, rescheduled or cancelled, and who has arrived.

It needs a triggerer and three Airflow connections: ``drchrono_default`` (type DrChrono), ``slack_api_default`` (type
Slack API) and ``smtp_default`` (type SMTP, with a From address). A message holds ids; set the parameter
``patient_names`` for names, if everybody who reads the channel and the mailbox may read them. A run that finds
nothing sends nothing.
"""

from datetime import datetime, timedelta
from html import escape

from airflow.providers.slack.hooks.slack import SlackHook
from airflow.providers.smtp.hooks.smtp import SmtpHook
from airflow.sdk import DAG, Param, task

from airflow_provider_drchrono.assets import drchrono_asset
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.operators.assets import DrChronoChangedRecordsOperator

visits = drchrono_asset("appointments", watch_fields=["scheduled_time", "status"])


def what_happened(visit: dict) -> str | None:
    """Return what there is to say of a visit; None where nobody needs to know."""
    change, status = visit["_drchrono_change"], visit["status"]
    if status in ("Cancelled", "Arrived") and (change["kind"] != "updated" or "status" in change["fields"]):
        return status.lower()
    if change["kind"] == "created":
        return "booked"
    return "rescheduled" if "scheduled_time" in change["fields"] else None


def news(visits: list[dict], patient_names: bool) -> list[str]:
    """Return a line for each visit; names are read here, so that Airflow stores none."""
    told = [(visit, happened) for visit in visits if (happened := what_happened(visit))]
    if not patient_names:
        return [f"Appointment {visit['id']} {what}: {visit['scheduled_time']}" for visit, what in told]
    with DrChronoHook("drchrono_default") as drchrono:
        people = {patient: drchrono.read("patients", patient) for visit, _ in told if (patient := visit["patient"])}
    names = {key: f" of {each['first_name']} {each['last_name']}" for key, each in people.items()}
    return [
        f"Appointment {visit['id']}{names.get(visit['patient'], '')} {what}: {visit['scheduled_time']}"
        for visit, what in told
    ]


with DAG(
    dag_id="drchrono_appointment_changes",
    schedule=[visits],
    start_date=datetime(2026, 1, 1),
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    params={
        "channel": Param("#front-desk", type="string"),
        "mailbox": Param("front-desk@example.com", type="string"),
        "patient_names": Param(False, type="boolean"),
    },
    tags=["drchrono", "events"],
    doc_md=__doc__,
):
    changed = DrChronoChangedRecordsOperator(
        task_id="changed", asset=visits, fields=["id", "patient", "scheduled_time", "status"]
    )

    @task
    def to_slack(visits: list[dict], params: dict) -> None:
        """Post one message for all visits of the run."""
        if lines := news(visits, params["patient_names"]):
            SlackHook().call("chat.postMessage", json={"channel": params["channel"], "text": "\n".join(lines)})

    @task
    def to_mail(visits: list[dict], params: dict) -> None:
        """Send one mail for all visits of the run."""
        if lines := news(visits, params["patient_names"]):
            with SmtpHook() as smtp:
                text = "<br>".join(map(escape, lines))
                smtp.send_email_smtp(to=params["mailbox"], subject="Appointments", html_content=text)

    to_slack(changed.output)
    to_mail(changed.output)
