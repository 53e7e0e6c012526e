"""A sync that another host may have to take over."""

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_drchrono.transfers.drchrono_to_warehouse import DrChronoToWarehouseOperator

with DAG("syncing", schedule=None, max_active_runs=1, params={"again": Param(False)}):
    DrChronoToWarehouseOperator(
        task_id="sync",
        resource="appointments",
        # The test counts pages.
        read_by="pages",
        warehouse_conn_id="drchrono_warehouse",
        full_refresh="{{ params.again }}",
        queue="syncs",
        retries=2,
        retry_delay=timedelta(seconds=1),
    )
