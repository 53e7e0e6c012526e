"""Keep the tables of a warehouse equal to several practices in DrChrono, each by a connection of its own.

It needs an Airflow connection of type DrChrono for each practice, named as in ``PRACTICES``, and one to the warehouse,
``drchrono_warehouse``. The rows of all practices are in the same tables; the column ``_drchrono_practice`` says whose a
row is. Each practice and list is a task instance: one that is refused holds up no other. While DrChrono makes a long
list ready, an instance waits in the triggerer; while the quota is spent, it is rescheduled. Neither holds a worker.
"""

from datetime import datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_drchrono.transfers.drchrono_to_warehouse import DrChronoToWarehouseOperator

PRACTICES = ["drchrono_north", "drchrono_south"]
RESOURCES = ["patients", "appointments", "line_items", "transactions"]

with DAG(
    dag_id="drchrono_several_practices",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1),
    catchup=False,  # One run brings everything up to date, so missed ones need not be made up for.
    max_active_runs=1,  # Two runs at once would read the same changes twice.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["drchrono", "warehouse"],
    doc_md=__doc__,
):
    DrChronoToWarehouseOperator.partial(
        task_id="sync",
        warehouse_conn_id="drchrono_warehouse",
        deferrable=True,
        map_index_template="{{ task.drchrono_conn_id }}: {{ task.resource }}",
    ).expand(drchrono_conn_id=PRACTICES, resource=RESOURCES)
