"""The generated sensors beside the catalogue and the class they stand on."""

import inspect
from importlib import import_module

import pytest
from airflow.sdk import BaseSensorOperator

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.cli import index
from airflow_provider_drchrono.codegen.sensors import SensorPlan, plan_sensors
from airflow_provider_drchrono.common.task_options import TaskOptions
from airflow_provider_drchrono.get_provider_info import SENSOR_DOMAINS
from airflow_provider_drchrono.sensors.base import IncrementalSensor, options

PLANNED = [sensor for domain in plan_sensors(load()) for sensor in domain.sensors]


def class_of(planned: SensorPlan) -> type[IncrementalSensor]:
    module = import_module(f"airflow_provider_drchrono.sensors.{planned.resource.domain}")
    found: type[IncrementalSensor] = getattr(module, planned.class_name)
    return found


def test_every_trigger_has_a_sensor_that_the_index_names() -> None:
    assert [each.trigger for each in sorted(PLANNED, key=lambda each: each.trigger.number)] == list(load().triggers)
    assert len(PLANNED) == 23
    for row, planned in zip(index.triggers(), sorted(PLANNED, key=lambda each: each.trigger.number), strict=True):
        assert row["sensor"] == f"{class_of(planned).__module__}.{planned.class_name}"
        assert row["trigger"] == "airflow_provider_drchrono.triggers.incremental.DrChronoIncrementalTrigger"


@pytest.mark.parametrize("planned", PLANNED, ids=lambda planned: planned.resource.name)
def test_a_sensor_takes_what_its_list_knows(planned: SensorPlan) -> None:
    kind = class_of(planned)
    parameters = {each.name: each for each in planned.operation.parameters}
    offered = set(inspect.signature(kind.__init__).parameters)

    assert kind.operation_id == planned.operation.id
    since = planned.incremental.filter
    assert since in parameters
    assert {each.name for each in planned.filters} == {
        name for name, each in parameters.items() if each.role == "filter" and name not in ("since", since)
    }
    offered |= set(getattr(options, planned.options_type).__optional_keys__)
    assert ("verbose" in offered) == ("verbose" in parameters)
    assert ("change" in offered) == (planned.incremental.created_field is not None and bool(planned.resource.key))
    names = dict.fromkeys(each.name for each in planned.filters)
    arguments = {"filters": names} if names else {}
    assert kind(task_id="changes", **arguments).resource == planned.resource.name


def test_the_types_of_options_are_the_arguments_of_the_base_class() -> None:
    base = set(inspect.signature(IncrementalSensor.__init__).parameters) - {"self", "filters", "kwargs"}
    airflow = set(inspect.signature(BaseSensorOperator.__init__).parameters) - {"self", "kwargs"}
    typed = set(options.VerboseChangeSensorOptions.__annotations__)

    assert typed == base | airflow | set(TaskOptions.__annotations__)


def test_templates_are_arguments() -> None:
    assert set(IncrementalSensor.template_fields) <= set(inspect.signature(IncrementalSensor.__init__).parameters)


def test_the_metadata_names_every_module_of_sensors() -> None:
    assert list(SENSOR_DOMAINS) == [domain.name for domain in plan_sensors(load())]
