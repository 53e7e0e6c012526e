"""A sensor without memory that reads the window of its run's data interval, as backfills need."""

from datetime import datetime

from airflow.sdk import DAG, CronDataIntervalTimetable

from airflow_provider_drchrono.sensors.billing import DrChronoNewOrUpdatedTransactionsSensor

with DAG(
    "by_the_day",
    schedule=CronDataIntervalTimetable("@daily", timezone="America/New_York"),
    start_date=datetime(2020, 1, 1),
    catchup=False,
):
    DrChronoNewOrUpdatedTransactionsSensor(
        task_id="changes",
        since="{{ data_interval_start }}",
        until="{{ data_interval_end }}",
        fields=["id", "updated_at"],
        deferrable=True,
    )
