"""Runs that somebody triggers, which have neither a date nor a data interval."""

from airflow.sdk import DAG

from airflow_provider_drchrono.sensors.tasks import DrChronoNewOrUpdatedTaskNotesSensor

with DAG("by_hand", schedule=None, max_active_runs=1):
    DrChronoNewOrUpdatedTaskNotesSensor(task_id="changes", fields=["id", "text"], mode="poke", poke_interval=1)
