"""Reads the patients that changed, one run after the other."""

from airflow.sdk import DAG

from airflow_provider_drchrono.assets import drchrono_asset
from airflow_provider_drchrono.operators.assets import DrChronoChangedRecordsOperator

patients = drchrono_asset("patients", poll_interval=10)

with DAG("welcome", schedule=[patients], max_active_runs=1):
    DrChronoChangedRecordsOperator(task_id="changes", asset=patients, fields=["id", "nick_name"])
