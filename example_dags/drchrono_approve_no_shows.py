"""Mark yesterday's visits that nobody closed as No Show, once somebody has said yes in Airflow's UI.

It needs the Airflow connection ``drchrono_default`` (type DrChrono). Each morning the visits of the day before whose
status still says that they are to come are put before a person, by their ids: open the DAG run, or Required Actions in
the menu. Nothing is written without a yes: a no, or twelve hours without an answer, leaves everything as it is.
"""

from datetime import datetime, timedelta

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_drchrono.operators.appointments import (
    DrChronoListAppointmentsOperator,
    DrChronoUpdateAppointmentOperator,
)

TO_COME = {"", "Confirmed", "Not Confirmed"}  # A visit that took place, or will not, has another status.

with DAG(
    dag_id="drchrono_approve_no_shows",
    schedule="0 13 * * *",  # In UTC: the morning in America.
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["drchrono"],
    doc_md=__doc__,
):
    visits = DrChronoListAppointmentsOperator(
        task_id="visits",
        filters={"date": "{{ macros.ds_add(dag_run.run_after | ds, -1) }}"},
        fields=["id", "status", "appt_is_break"],
    )

    @task
    def open_visits(visits: list[dict]) -> list[str]:
        """Return the ids of those that nobody closed."""
        still = [each["id"] for each in visits if not each["appt_is_break"] and (each["status"] or "") in TO_COME]
        if not still:
            raise AirflowSkipException("every visit was closed")
        return still

    to_mark = open_visits(visits.output)
    approve = ApprovalOperator(
        task_id="approve",
        subject="Mark these visits of yesterday as No Show?",
        body="{{ ti.xcom_pull(task_ids='open_visits') | join(', ') }}",
        defaults="Reject",
        response_timeout=timedelta(hours=12),
    )
    mark = DrChronoUpdateAppointmentOperator.partial(task_id="mark", data={"status": "No Show"}).expand(
        appointment_id=to_mark
    )
    to_mark >> approve >> mark
