"""What is known of lists that may be watched, beside the catalogue and the sensors of the same lists."""

from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest

from airflow_provider_drchrono.assets.asset_options import AssetOptions
from airflow_provider_drchrono.assets.facts import WatchedList, watched_list, watched_resources
from airflow_provider_drchrono.assets.watch import POLL_INTERVAL
from airflow_provider_drchrono.catalog import Parameter, load
from airflow_provider_drchrono.cli import index
from airflow_provider_drchrono.codegen.assets import plan_watches
from airflow_provider_drchrono.codegen.bases import function_options
from airflow_provider_drchrono.incremental.lists import IncrementalList
from airflow_provider_drchrono.sensors.base import IncrementalSensor
from airflow_provider_drchrono.sensors.base.incremental import POLL_INTERVAL as POLL_INTERVAL_OF_SENSORS

TRIGGERS: list[dict[str, Any]] = index.triggers()


def facts_of(resource: str) -> WatchedList:
    found = watched_list(resource)
    assert found is not None
    return found


def parameters_of(resource: str, names: tuple[str, ...]) -> list[Parameter]:
    operation = load().operation(facts_of(resource).operation_id)
    return [operation.parameter(name) for name in names]


def test_every_list_with_changes_is_watched() -> None:
    assert list(watched_resources()) == [name for name in sorted(load().resources) if load().resource(name).incremental]
    assert {row["resource"] for row in TRIGGERS} <= set(watched_resources())
    assert [each.resource.name for each in plan_watches(load())] == list(watched_resources())


@pytest.mark.parametrize("row", TRIGGERS, ids=lambda row: row["resource"])
def test_an_asset_of_a_list_and_its_sensor_agree(row: dict[str, Any]) -> None:
    module, name = row["sensor"].rsplit(".", 1)
    sensor: type[IncrementalSensor] = getattr(import_module(module), name)
    facts = facts_of(row["resource"])

    assert facts.operation_id == sensor.operation_id
    assert timedelta(seconds=facts.lookback) == IncrementalList.of(load(), sensor.resource).lookback
    assert sorted([*facts.filters, *facts.private]) == sorted(
        each.name for each in load().resource(sensor.resource).incremental_filters
    )


@pytest.mark.parametrize("resource", watched_resources())
def test_an_asset_takes_the_public_filters_and_no_others(resource: str) -> None:
    facts = facts_of(resource)

    assert all(each.public for each in parameters_of(resource, facts.filters))
    assert not any(each.public for each in parameters_of(resource, facts.private))


def test_text_is_public_only_by_decision() -> None:
    text = {
        each.name
        for resource in watched_resources()
        for each in parameters_of(resource, facts_of(resource).filters)
        if each.type not in ("integer", "boolean")
    }

    assert text == {
        *("action", "code", "code_type", "cvx_code", "payer_id", "status", "type"),
        *("date", "date_range", "posted_date", "service_date"),
        *("due_at_date", "due_at_range", "due_at_since", "occurred_since", "received_since"),
    }


def test_all_poll_at_one_pace_unless_told_otherwise() -> None:
    (offered,) = (
        float(each.default or "") for each in function_options("drchrono_asset") if each.name == "poll_interval"
    )

    assert offered == POLL_INTERVAL == POLL_INTERVAL_OF_SENSORS


def test_the_types_of_options_are_the_arguments_of_every_list() -> None:
    arguments = {each.name for each in function_options("drchrono_asset")}

    assert set(AssetOptions.__annotations__) == arguments - {"filters", "change", "verbose"}
