"""A sensor of a plain cron schedule, which has no data interval, that gives the worker free between two polls."""

from datetime import datetime

from airflow.sdk import DAG

from airflow_provider_drchrono.sensors.tasks import DrChronoNewOrUpdatedTasksSensor

with DAG("minutely", schedule="* * * * *", start_date=datetime(2020, 1, 1), catchup=False, max_active_runs=1):
    DrChronoNewOrUpdatedTasksSensor(task_id="changes", fields=["id", "title"], mode="reschedule", poke_interval=60)
