"""Plans the sensors: one for each "new or updated" trigger of the catalogue, in the module of its domain."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_drchrono.catalog import Catalog, Incremental, Operation, Parameter, Resource, Trigger
from airflow_provider_drchrono.codegen import naming
from airflow_provider_drchrono.codegen.options import Option
from airflow_provider_drchrono.codegen.plan import COLOURS
from airflow_provider_drchrono.codegen.typing_of import TypedDictPlan

PACKAGE = "airflow_provider_drchrono.sensors"

TIME = "datetime.date | XComArg | str | None"

UNITS = ((86_400, "day"), (60, "minute"), (1, "second"))
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five"}

OPTIONS = (
    Option(
        "change",
        "Change",
        '"any"',
        "``created``, ``updated``, or ``any``. What is created and changed between two polls counts as created.",
    ),
    Option("fields", "Sequence[str] | XComArg | str | None", "None", "return only these fields of each record."),
    Option(
        "verbose",
        "bool",
        "False",
        "ask also for the fields that come only with ``verbose=true``; pages get smaller.",
    ),
    Option(
        "since",
        TIME,
        "None",
        "read what changed from this time on, instead of going on from the cursor: a date, a time of the practice's "
        "clock, or a time with an offset such as ``{{ data_interval_start }}``.",
    ),
    Option("until", TIME, "None", "read what changed before this time; only with ``since``."),
    Option(
        "start",
        TIME,
        '"now"',
        "where the first run begins, which has no cursor yet: ``now``, ``beginning``, or a time.",
    ),
    Option(
        "lookback",
        "timedelta | float | None",
        "None",
        "how long a change may take until DrChrono lists it, as a timedelta or in seconds. None: {lookback}.",
    ),
    Option(
        "max_records",
        "int",
        "10_000",
        "most records to return; more than that fails and names ``output_path``, which has no bound.",
    ),
    Option(
        "batch_size",
        "int | None",
        "None",
        "return a list of lists of at most so many records, for ``.expand`` over more than Airflow maps single ones.",
    ),
    Option(
        "output_path",
        "str | None",
        "None",
        "object-storage path or URL to write the records to, one JSON object a line (gzip if it ends in ``.gz``); "
        "the result is then its path and count.",
    ),
    Option(
        "deferrable",
        "bool | None",
        "None",
        "wait in the triggerer instead of on a worker. None: Airflow's ``operators.default_deferrable``.",
    ),
    Option("poke_interval", "timedelta | float", "360.0", "seconds between two polls; each is a call of the quota."),
    Option("mode", "str", '"reschedule"', "``reschedule`` gives the worker free between two polls, ``poke`` does not."),
)


@dataclass(frozen=True, slots=True)
class SensorPlan:
    """Everything that is written about one trigger."""

    trigger: Trigger
    resource: Resource
    operation: Operation
    class_name: str
    colour: str
    filters: tuple[Parameter, ...]
    since_filter: str
    changes: tuple[str, ...]
    incremental: Incremental

    @property
    def filters_type(self) -> str:
        """The name of the TypedDict of the filters."""
        return f"{naming.camel(self.resource.noun)}Filters"

    @property
    def types(self) -> TypedDictPlan:
        """The TypedDict of the filters."""
        about = f"What to select of {self.resource.plural}."
        return TypedDictPlan.of_filters(self.filters_type, about, self.filters)

    @property
    def lookback_label(self) -> str:
        """How long the lookback is where nothing else is said."""
        reason = ", as DrChrono lists by the time of creation" if self.incremental.goes_by_creation else ""
        return f"{duration_label(self.incremental.lookback)}{reason}"

    @property
    def arguments(self) -> tuple[Option, ...]:
        """The constructor's arguments but the connection."""
        filters = Option("filters", f"{self.filters_type} | XComArg | str | None", "None", "what to select.")
        known = {each.name for each in self.operation.parameters}
        options = [each for each in OPTIONS if each.name != "verbose" or "verbose" in known]
        options = [each for each in options if each.name != "change" or len(self.changes) > 1]
        return (filters, *(_with_lookback(each, self.lookback_label) for each in options))

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The class attributes that differ from the base class's."""
        found: dict[str, Any] = {"filter_names": tuple(each.name for each in self.filters)}
        if self.since_filter != "since":
            found["since_filter"] = self.since_filter
        if len(self.changes) > 1:
            found["changes"] = self.changes
        return found


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
    operation = catalog.operation(trigger.operation)
    changes = resource.incremental
    if changes is None:
        raise LookupError(f"The list of the trigger {trigger.title!r} cannot be asked for changes")
    return SensorPlan(
        trigger=trigger,
        resource=resource,
        operation=operation,
        class_name=class_name(trigger.title),
        colour=COLOURS[resource.domain],
        filters=filters_of(operation, changes),
        since_filter=changes.filter,
        changes=changes_told_apart(resource),
        incremental=changes,
    )


def filters_of(operation: Operation, changes: Incremental) -> tuple[Parameter, ...]:
    """Return the filters of a list but the one that takes the time from which on changes are wanted."""
    taken = (changes.filter, "since")
    return tuple(each for each in operation.parameters if each.role == "filter" and each.name not in taken)


def changes_told_apart(resource: Resource) -> tuple[str, ...]:
    """Return which changes can be asked for: creations show only where records have a key and say when they began."""
    known = resource.incremental is not None and resource.incremental.created_field and resource.key
    return ("any", "created", "updated") if known else ("any",)


def duration_label(seconds: float) -> str:
    """Return a number of seconds as people say it, such as ``two minutes``."""
    size, unit = next((size, unit) for size, unit in UNITS if seconds % size == 0)
    count = int(seconds // size)
    return f"a {unit}" if count == 1 else f"{NUMBERS.get(count, str(count))} {unit}s"


def _with_lookback(option: Option, label: str) -> Option:
    return Option(option.name, option.annotation, option.default, option.about.replace("{lookback}", label))
