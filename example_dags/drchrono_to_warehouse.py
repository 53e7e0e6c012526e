"""Keep five tables of a warehouse equal to a practice in DrChrono, once an hour.

Two Airflow connections are all it needs: ``drchrono_default`` (type DrChrono) and ``drchrono_warehouse``, which may
be of type SQLite, a file on the worker, or PostgreSQL. The first run reads the whole practice; later runs read what
changed since. DrChrono grants 500 calls an hour: when they are used up, a task waits for the next hour and goes on
where it was.
"""

from datetime import datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_drchrono.transfers.drchrono_to_warehouse import DrChronoToWarehouseOperator

with DAG(
    dag_id="drchrono_to_warehouse",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1),
    catchup=False,  # One run brings everything up to date, so missed ones need not be made up for.
    max_active_runs=1,  # Two runs at once would read the same changes twice.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["drchrono", "warehouse"],
    doc_md=__doc__,
):
    # [START sync]
    # One task for each resource; each fills the table of its name.
    DrChronoToWarehouseOperator.partial(
        task_id="sync",
        warehouse_conn_id="drchrono_warehouse",
        map_index_template="{{ task.resource }}",
    ).expand(resource=["patients", "appointments", "line_items", "transactions", "tasks"])
    # [END sync]
