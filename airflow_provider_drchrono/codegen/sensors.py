"""Plans the sensors: one for each "new or updated" trigger of the catalogue, in the module of its domain."""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow_provider_drchrono.catalog import (
    Catalog,
    Incremental,
    Operation,
    Parameter,
    RecordSchema,
    Resource,
    Trigger,
)
from airflow_provider_drchrono.codegen import naming
from airflow_provider_drchrono.codegen.bases import Option, options_of

PACKAGE = "airflow_provider_drchrono.sensors"
BASE = "IncrementalSensor"

UNITS = ((86_400, "day"), (60, "minute"), (1, "second"))
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five"}


@dataclass(frozen=True, slots=True)
class SensorPlan:
    """Everything that is written about one trigger."""

    trigger: Trigger
    resource: Resource
    operation: Operation
    class_name: str
    filters: tuple[Parameter, ...]
    changes: tuple[str, ...]
    incremental: Incremental
    record: RecordSchema | None

    @property
    def filters_type(self) -> str:
        """The name of the TypedDict of the filters, which is that of the list."""
        return naming.filters_type(self.operation, self.resource, "")

    @property
    def lookback_label(self) -> str:
        """How long the lookback is where nothing else is said."""
        reason = ", as DrChrono lists by the time of creation" if self.incremental.goes_by_creation else ""
        return f"{duration_label(self.incremental.lookback)}{reason}"

    @property
    def verbose(self) -> bool:
        """Whether the list has a verbose form."""
        return self.operation.takes("verbose")

    @property
    def options_type(self) -> str:
        """The name of the TypedDict of what the sensor takes beside filters."""
        return f"{'Verbose' if self.verbose else ''}{'Change' if len(self.changes) > 1 else ''}SensorOptions"

    @property
    def arguments(self) -> tuple[Option, ...]:
        """The arguments that have an effect here, but Airflow's own."""
        without = {name for name, there in (("verbose", self.verbose), ("change", len(self.changes) > 1)) if not there}
        return tuple(each for each in options_of(BASE) if each.name not in without)


@dataclass(frozen=True, slots=True)
class SensorDomain:
    """One module of sensors."""

    name: str
    title: str
    sensors: tuple[SensorPlan, ...]


def plan_sensors(catalog: Catalog) -> tuple[SensorDomain, ...]:
    """Plan the sensors of all domains that have any, sorted by name.

    :raises NameClashError: two sensors would have one name.
    """
    planned = [_sensor(catalog, each) for each in catalog.triggers]
    naming.ensure_unique(each.class_name for each in planned)
    domains = sorted({each.resource.domain for each in planned})
    return tuple(
        SensorDomain(name, naming.DOMAIN_TITLES[name], tuple(each for each in planned if each.resource.domain == name))
        for name in domains
    )


def class_name(title: str) -> str:
    """Return the class name of a trigger's sensor: ``DrChronoNewOrUpdatedPatientsSensor``."""
    return f"DrChrono{naming.camel(' '.join(re.findall(r'[A-Za-z0-9]+', title)))}Sensor"


def _sensor(catalog: Catalog, trigger: Trigger) -> SensorPlan:
    resource = catalog.resource(trigger.resource)
    if resource.incremental is None:
        raise LookupError(f"The list of the trigger {trigger.title!r} cannot be asked for changes")
    return SensorPlan(
        trigger=trigger,
        resource=resource,
        operation=catalog.operation(trigger.operation),
        class_name=class_name(trigger.title),
        filters=resource.incremental_filters,
        changes=resource.changes,
        incremental=resource.incremental,
        record=catalog.record_of(resource.name),
    )


def duration_label(seconds: float) -> str:
    """Return a number of seconds as people say it, such as ``two minutes``."""
    size, unit = next((size, unit) for size, unit in UNITS if seconds % size == 0)
    count = int(seconds // size)
    return f"a {unit}" if count == 1 else f"{NUMBERS.get(count, str(count))} {unit}s"
