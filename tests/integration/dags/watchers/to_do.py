"""Reads the tasks that are new."""

from airflow.sdk import DAG

from airflow_provider_drchrono.assets import drchrono_asset
from airflow_provider_drchrono.operators.assets import DrChronoChangedRecordsOperator

tasks = drchrono_asset("tasks", change="created", poll_interval=10)

with DAG("to_do", schedule=[tasks]):
    DrChronoChangedRecordsOperator(task_id="changes", asset=tasks, fields=["id", "title"])
