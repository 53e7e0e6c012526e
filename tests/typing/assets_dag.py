"""What a type checker says to whoever schedules a DAG by changes: see ``patients_dag.py``."""

import datetime
from typing import TYPE_CHECKING

from airflow.sdk import DAG

from airflow_provider_drchrono.assets import drchrono_asset, drchrono_list, drchrono_table

if TYPE_CHECKING:
    from airflow_provider_drchrono.assets.overloads import WatchedResource
    from airflow_provider_drchrono.types.tasks_types import TaskFilters

open_tasks: "TaskFilters" = {"status": 3, "due_at_since": datetime.datetime(2026, 1, 31)}
quiet: "list[WatchedResource]" = ["documents", "lab_orders"]

with DAG("new_patients", schedule=[drchrono_asset("patients", filters={"doctor": 42}, change="created")]):
    pass
with DAG("tasks", schedule=drchrono_asset("tasks", filters=open_tasks, verbose=True) | drchrono_asset("task_notes")):
    pass
with DAG("visits", schedule=[drchrono_asset("appointments", filters={"date_range": "2026-01-01/2026-12-31"})]):
    pass
with DAG("statuses", schedule=[drchrono_asset("task_statuses", start=datetime.date(2026, 1, 31), name="statuses")]):
    pass
for resource in quiet:
    with DAG(resource, schedule=[drchrono_asset(resource, lookback=datetime.timedelta(minutes=5), poll_interval=600)]):
        pass
with DAG("copies", schedule=[drchrono_list("doctors"), drchrono_table("patients", warehouse_conn_id="dwh")]):
    pass

with DAG(
    "misspelt_list",
    schedule=[drchrono_asset("pateints")],  # says: No overload variant
):
    pass
with DAG(
    "not_watched",
    schedule=[drchrono_asset("doctors")],  # says: No overload variant
):
    pass
with DAG(
    "misspelt_filter",
    schedule=[drchrono_asset("patients", filters={"docter": 42})],  # says: No overload variant
):
    pass
with DAG(
    "wrong_type",
    schedule=[drchrono_asset("appointments", filters={"doctor": 4.5})],  # says: No overload variant
):
    pass
with DAG(
    "unknown_change",
    schedule=[drchrono_asset("patients", change="deleted")],  # says: No overload variant
):
    pass
with DAG(
    "change_that_does_not_show",
    schedule=[drchrono_asset("lab_orders", change="created")],  # says: No overload variant
):
    pass
with DAG(
    "no_verbose_form",
    schedule=[drchrono_asset("documents", verbose=True)],  # says: No overload variant
):
    pass
