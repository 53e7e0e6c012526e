"""Give each lab order one follow-up task in DrChrono, however often the order changes.

It needs the Airflow connection ``drchrono_default`` (type DrChrono) and a triggerer. The title of a task holds the
order's id and no patient's name. Its category is how the DAG finds the tasks that are there, also after somebody has
reassigned or finished one: a run reads the tasks of the category once, for all of its orders together.
"""

from datetime import datetime, timedelta

from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_drchrono.assets import drchrono_asset
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.operators.assets import DrChronoChangedRecordsOperator
from airflow_provider_drchrono.operators.tasks import DrChronoCreateTaskCategoryOperator, DrChronoCreateTaskOperator

lab_orders = drchrono_asset("lab_orders")

with DAG(
    dag_id="drchrono_lab_orders_to_tasks",
    schedule=[lab_orders],
    start_date=datetime(2026, 1, 1),
    max_active_runs=1,  # Two runs at once could both find that an order has no task.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["drchrono", "events"],
    doc_md=__doc__,
):
    orders = DrChronoChangedRecordsOperator(task_id="orders", asset=lab_orders, fields=["id"])

    @task
    def desk() -> dict:
        """Return the practice's first status, and whoever authorized the connection: the tasks are theirs."""
        with DrChronoHook("drchrono_default") as drchrono:
            first, me = next(drchrono.list("task_statuses")), drchrono.current_user()
        return {"status": first["id"], "practice": first["practice_group"], "user": str(me["id"])}

    @task
    def follow_ups(orders: list[dict], desk: dict, category: dict) -> list[dict]:
        """Return the tasks that the orders should have."""
        if not orders:
            raise AirflowSkipException("there is no order to follow up")
        common = {"status": desk["status"], "category": category["id"], "assignee_user": desk["user"]}
        return [{"title": f"Follow up on lab order {order['id']}", **common} for order in orders]

    at = desk()
    category = DrChronoCreateTaskCategoryOperator(
        task_id="category",
        data={"name": "Lab follow-ups", "practice_group": at["practice"]},
        if_exists="skip",
        match_on=["name"],
    )
    DrChronoCreateTaskOperator(
        task_id="create",
        data=follow_ups(orders.output, at, category.output),
        if_exists="skip",
        match_on=["title", "category"],
    )
