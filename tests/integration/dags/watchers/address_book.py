"""Watches the same as another file does, said in another way, and reads it for itself."""

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_drchrono.assets import drchrono_asset
from airflow_provider_drchrono.operators.assets import DrChronoChangedRecordsOperator

patients = drchrono_asset("patients", change="any", poll_interval=timedelta(seconds=10), filters={})

with DAG("address_book", schedule=[patients]):
    DrChronoChangedRecordsOperator(task_id="changes", asset=patients, fields=["id", "nick_name"])
