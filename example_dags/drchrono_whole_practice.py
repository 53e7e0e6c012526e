"""Keep a warehouse equal to a whole practice in DrChrono, with a report of each run.

Two DAGs come of it. ``practice_hourly`` follows the lists that tell what has changed; ``practice_nightly`` reads the
others, which DrChrono lists only as a whole. Two Airflow connections are all it needs: ``drchrono_default`` (type
DrChrono) and ``drchrono_warehouse``, which may be of type SQLite, a file on the worker, or PostgreSQL.
"""

from airflow_provider_drchrono.transfers.sync_dags import drchrono_sync

# [START sync]
drchrono_sync(
    dag_id="practice",
    warehouse_conn_id="drchrono_warehouse",
    # Those that matter most come first; "all" would be every list there is.
    resources=["patients", "appointments", "line_items", "transactions", "problems", "medications", "offices"],
    schedule="@hourly",
    nightly_schedule="30 2 * * *",
    overrides={"appointments": {"history": True}},
    report_path="{{ var.value.get('drchrono_reports', '/tmp/drchrono-reports') }}/{{ dag.dag_id }}/{{ run_id }}.html",
)
# [END sync]
