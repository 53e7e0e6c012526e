"""The example that follows up lab orders, run as its readers would run it, with a lost answer, and again."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.assets import drchrono_asset
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from airflow_provider_drchrono.state.cursor_store import VariableCursorStore
from tests.support.events import make_event
from tests.support.example_dags import example_dag
from tests.support.running import unlimited

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("quick_dags")]

EXAMPLE = example_dag("drchrono_lab_orders_to_tasks")
LAB_ORDERS = drchrono_asset("lab_orders")
ORDERS = 12


def test_each_order_has_one_task_however_often_it_changes(
    run_dag: Callable[..., Any], airflow_db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox(patients=12, quota_per_hour=None, quota_per_second=None) as sandbox:

        def calls_of_a_run() -> Counter[str]:
            before = Counter(each.operation_id for each in sandbox.journal)
            assert run_dag(EXAMPLE).state == "success"
            return Counter(each.operation_id for each in sandbox.journal) - before

        def follow_ups() -> Counter[str]:
            titles = [each["title"] for each in sandbox.practice.records("tasks")]
            return Counter(each for each in titles if each.startswith("Follow up on lab order "))

        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox))
        assert make_event(VariableCursorStore(), LAB_ORDERS) is None
        calls_of_a_run()
        assert follow_ups() == {}

        model = sandbox.practice.records("lab_orders")[0]
        ordered = {name: model[name] for name in ("doctor", "patient", "sublab")}
        orders = [sandbox.practice.create("lab_orders", ordered)["id"] for _ in range(ORDERS)]
        expected = dict.fromkeys((f"Follow up on lab order {order}" for order in orders), 1)
        assert make_event(VariableCursorStore(), LAB_ORDERS) is not None
        sandbox.faults.add(Fault(kind="drop", operation="tasks_create", after=True))
        calls = calls_of_a_run()
        assert sandbox.faults.planned() == []
        assert follow_ups() == expected
        # All orders are one call, and whoever lost its answer looks for what it has made.
        assert calls["tasks_create"] == 1
        assert calls["tasks_list"] <= 3

        assert calls_of_a_run()["tasks_create"] == 0

        for order in orders:
            sandbox.practice.change("lab_orders", order, {"notes": "Call the lab"})
        follow_up = next(each for each in sandbox.practice.records("tasks") if each["title"] in expected)
        sandbox.practice.change("tasks", follow_up["id"], {"assignee_user": None, "archived": True})
        assert make_event(VariableCursorStore(), LAB_ORDERS) is not None
        calls = calls_of_a_run()
        assert follow_ups() == expected
        assert calls["tasks_create"] == 0
        assert calls["tasks_list"] == 1
        assert calls.total() <= 8
