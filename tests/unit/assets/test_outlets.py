"""The assets that tasks declare by themselves: which, and what an update says of them."""

import copy
from collections import defaultdict
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, Asset, BaseOperator

from airflow_provider_drchrono.assets import drchrono_list, drchrono_table
from airflow_provider_drchrono.assets.outlets import Outlet, list_asset, table_asset
from airflow_provider_drchrono.sensors.patients import DrChronoNewOrUpdatedPatientsSensor
from airflow_provider_drchrono.transfers.drchrono_to_warehouse import DrChronoToWarehouseOperator

LIST = drchrono_list("patients")
OTHER = Asset("somewhere")


@pytest.fixture
def context() -> Any:
    return {"outlet_events": defaultdict(lambda: SimpleNamespace(extra={}))}


def declared(*outlets: Asset) -> tuple[BaseOperator, Outlet]:
    task = BaseOperator(task_id="task", outlets=list(outlets))
    return task, Outlet(task, LIST)


def test_an_outlet_is_added_to_those_of_the_author(context: Any) -> None:
    task, outlet = declared(OTHER)

    outlet.update(task, context, 3, since=date(2026, 1, 31), until=datetime(2026, 2, 1, tzinfo=UTC), new=None)

    assert task.outlets == [OTHER, LIST]
    extra = {"count": 3, "since": "2026-01-31", "until": "2026-02-01T00:00:00+00:00"}
    assert context["outlet_events"][LIST].extra == extra


def test_a_task_that_updated_nothing_withholds_the_event_of_its_run_alone(context: Any) -> None:
    task, outlet = declared(OTHER)
    running = copy.copy(task)

    outlet.update(running, context, 0)

    assert running.outlets == [OTHER]
    assert task.outlets == [OTHER, LIST]
    assert context["outlet_events"] == {}


def test_a_copy_of_the_dag_withholds_too(context: Any) -> None:
    with DAG("a_dag", schedule=None) as dag:
        DrChronoNewOrUpdatedPatientsSensor(task_id="changes")
    task: Any = copy.deepcopy(dag).get_task("changes")

    task._list.update(task, context, 0)

    assert task.outlets == []


def test_an_event_may_be_had_for_nothing(context: Any) -> None:
    task, outlet = declared()

    outlet.update(task, context, 0, even_if_none=True)

    assert task.outlets == [LIST]
    assert context["outlet_events"][LIST].extra == {"count": 0}


def test_an_outlet_that_the_author_names_stays(context: Any) -> None:
    task, outlet = declared(Asset(LIST.uri, extra={"owner": "clinic"}))

    outlet.update(task, context, 0)

    assert [each.uri for each in task.outlets] == [LIST.uri]
    assert context["outlet_events"][LIST].extra == {"count": 0}


def test_a_context_without_events_is_no_problem() -> None:
    task, outlet = declared()

    outlet.update(task, {}, 3)

    assert task.outlets == [LIST]


@pytest.mark.parametrize("conn_id", ["{{ params.practice }}", "north east", "", None, 7])
def test_what_is_known_only_later_has_no_asset(conn_id: object, context: Any) -> None:
    assert list_asset("patients", conn_id) is None
    assert table_asset("patients", conn_id, "dwh", None, None) is None
    assert table_asset("patients", "north", conn_id, None, None) is None
    task = BaseOperator(task_id="task")
    Outlet(task, None).update(task, context, 3)
    assert task.outlets == []


def test_a_resource_that_the_task_will_refuse_has_no_asset() -> None:
    assert list_asset("pateints", "north") is None
    assert table_asset("{{ params.resource }}", "north", "dwh", None, None) is None
    assert table_asset("patients", "north", "dwh", "{{ params.table }}", None) is None


def test_sensors_and_syncs_declare_what_their_assets_are_called() -> None:
    with DAG("a_dag", schedule=None):
        upstream = BaseOperator(task_id="upstream")
        sensor = DrChronoNewOrUpdatedPatientsSensor(task_id="changes", drchrono_conn_id="north", outlets=[OTHER])
        later = DrChronoNewOrUpdatedPatientsSensor(task_id="later", drchrono_conn_id="{{ params.practice }}")
        sync = DrChronoToWarehouseOperator(
            task_id="sync", resource="patients", warehouse_conn_id="dwh", table="people", schema="clinic"
        )
        of_another: Any = upstream.output
        mapped = DrChronoToWarehouseOperator(task_id="mapped", resource=of_another, warehouse_conn_id="dwh")

    assert sensor.outlets == [OTHER, drchrono_list("patients", drchrono_conn_id="north")]
    assert later.outlets == []
    assert sync.inlets == [LIST]
    assert sync.outlets == [drchrono_table("patients", warehouse_conn_id="dwh", table="people", schema="clinic")]
    assert (mapped.inlets, mapped.outlets) == ([], [])
