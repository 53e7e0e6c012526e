"""What is generated about assets, beside the catalogue and the sensors of the same lists."""

from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest

from airflow_provider_drchrono.assets.watch import POLL_INTERVAL
from airflow_provider_drchrono.assets.watchable import LISTS, RESOURCES
from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.cli import index
from airflow_provider_drchrono.codegen.assets import OPTIONS, kind_of
from airflow_provider_drchrono.incremental.lists import IncrementalList
from airflow_provider_drchrono.sensors.base import IncrementalSensor
from airflow_provider_drchrono.sensors.base.incremental import POLL_INTERVAL as POLL_INTERVAL_OF_SENSORS

TRIGGERS: list[dict[str, Any]] = index.triggers()


def test_every_resource_has_a_uri_and_every_list_with_changes_is_watched() -> None:
    assert tuple(sorted(load().resources)) == RESOURCES
    assert list(LISTS) == [name for name in RESOURCES if load().resource(name).incremental]
    assert {row["resource"] for row in TRIGGERS} <= set(LISTS)


@pytest.mark.parametrize("row", TRIGGERS, ids=lambda row: row["resource"])
def test_an_asset_of_a_list_and_its_sensor_agree(row: dict[str, Any]) -> None:
    module, name = row["sensor"].rsplit(".", 1)
    sensor: type[IncrementalSensor] = getattr(import_module(module), name)
    facts = LISTS[row["resource"]]

    assert facts.operation_id == sensor.operation_id
    assert facts.since_filter == sensor.since_filter
    assert facts.changes == sensor.changes
    assert timedelta(seconds=facts.lookback) == IncrementalList.of(load(), sensor.resource).lookback
    assert sorted([*facts.filters, *facts.private]) == sorted(sensor.filter_names)


@pytest.mark.parametrize("resource", LISTS)
def test_an_asset_takes_the_public_filters_and_no_others(resource: str) -> None:
    operation = load().operation(IncrementalList.of(load(), resource).operation_id)

    assert all(operation.parameter(name).public for name in LISTS[resource].filters)
    assert not any(operation.parameter(name).public for name in LISTS[resource].private)
    assert {name: kind_of(operation.parameter(name)) for name in LISTS[resource].filters} == LISTS[resource].filters


def test_text_is_public_only_by_decision() -> None:
    text = {
        name for facts in LISTS.values() for name, kind in facts.filters.items() if kind not in ("integer", "boolean")
    }

    assert text == {
        *("action", "code", "code_type", "cvx_code", "payer_id", "status", "type"),
        *("date", "date_range", "posted_date", "service_date"),
        *("due_at_date", "due_at_range", "due_at_since", "occurred_since", "received_since"),
    }


def test_all_poll_at_one_pace_unless_told_otherwise() -> None:
    (offered,) = (float(each.default) for each in OPTIONS if each.name == "poll_interval")

    assert offered == POLL_INTERVAL == POLL_INTERVAL_OF_SENSORS
