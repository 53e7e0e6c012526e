"""Runs that follow each other at once, each waiting in the triggerer for what changed since the one before it."""

from datetime import datetime

from airflow.sdk import DAG

from airflow_provider_drchrono.sensors.patients import DrChronoNewOrUpdatedPatientsSensor

with DAG("following", schedule="@continuous", start_date=datetime(2020, 1, 1), max_active_runs=1):
    DrChronoNewOrUpdatedPatientsSensor(task_id="changes", fields=["id", "nick_name"], deferrable=True, poke_interval=2)
