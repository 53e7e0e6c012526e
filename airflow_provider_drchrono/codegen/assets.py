"""Plans what may be watched as an asset: each list that can be asked for changes, and what to say of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from airflow_provider_drchrono.catalog import Catalog, Operation, Parameter, Resource
from airflow_provider_drchrono.codegen import naming
from airflow_provider_drchrono.codegen.options import Option
from airflow_provider_drchrono.codegen.sensors import changes_told_apart, duration_label, filters_of
from airflow_provider_drchrono.codegen.typing_of import TypedDictPlan, TypedField

ANNOTATIONS = {
    "boolean": "bool",
    "date": "datetime.date | str",
    "integer": "int",
    "range": "str | Sequence[datetime.date | str]",
    "text": "str",
    "time": "datetime.datetime | str",
}

FILTERS = Option("filters", "{filters_type} | None", "None", "what to select.")
CHANGE = Option("change", "Change", '"any"', "``created``, ``updated``, or ``any``.")
VERBOSE = Option("verbose", "bool", "False", "ask also for the fields that come only with ``verbose=true``.")
OPTIONS = (
    Option("start", "datetime.date | str", '"now"', "``now``, ``beginning``, or a time."),
    Option("lookback", "datetime.timedelta | float | None", "None", "how long a change may take until lists show it."),
    Option("poll_interval", "datetime.timedelta | float", "360.0", "seconds between two polls."),
    Option("drchrono_conn_id", "str", '"drchrono_default"', "the Airflow connection to DrChrono."),
    Option("name", "str | None", "None", "the asset's name."),
)


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """Everything that is written about one list that may be watched.

    :param private: names of the filters that an asset does not take, as their values may name a person.
    """

    resource: Resource
    operation: Operation
    since_filter: str
    changes: tuple[str, ...]
    lookback: float
    filters: Mapping[str, str]
    private: tuple[str, ...]

    @property
    def verbose(self) -> bool:
        """Whether the list has a verbose form."""
        return any(each.name == "verbose" for each in self.operation.parameters)

    @property
    def lookback_label(self) -> str:
        """How long the lookback is where nothing else is said."""
        return duration_label(self.lookback)

    @property
    def filters_type(self) -> str:
        """The name of the TypedDict of the filters."""
        return f"{naming.camel(self.resource.noun)}WatchFilters"

    @property
    def types(self) -> TypedDictPlan:
        """The TypedDict of the filters."""
        fields = tuple(TypedField(name, f"{ANNOTATIONS[kind]} | None", False) for name, kind in self.filters.items())
        return TypedDictPlan(self.filters_type, f"What to watch of {self.resource.plural}.", fields)

    @property
    def arguments(self) -> tuple[Option, ...]:
        """What ``drchrono_asset`` takes for this list, besides its name."""
        filters = Option(FILTERS.name, FILTERS.annotation.format(filters_type=self.filters_type), "None", FILTERS.about)
        chosen = (
            (filters, bool(self.filters)),
            (CHANGE, len(self.changes) > 1),
            (VERBOSE, self.verbose),
        )
        return (*(option for option, there in chosen if there), *OPTIONS)


def plan_watches(catalog: Catalog) -> tuple[WatchPlan, ...]:
    """Plan all lists that may be watched, sorted by name.

    :raises NameClashError: the filters of two of them would have one name.
    """
    planned = [
        _watch(each) for _, each in sorted(catalog.resources.items()) if each.incremental and each.list_operation
    ]
    naming.ensure_unique(each.filters_type for each in planned)
    return tuple(planned)


def kind_of(parameter: Parameter) -> str:
    """Return what a filter's value is, as :class:`WatchedList` of the package calls it."""
    if parameter.type in ("integer", "boolean"):
        return parameter.type
    endings = (("_range", "range"), ("_since", "time"), ("_date", "date"))
    return next((kind for ending, kind in endings if f"_{parameter.name}".endswith(ending)), "text")


def _watch(resource: Resource) -> WatchPlan:
    operation, changes = resource.list_operation, resource.incremental
    if operation is None or changes is None:
        raise LookupError(f"{resource.name} cannot be asked for changes")
    filters = filters_of(operation, changes)
    return WatchPlan(
        resource=resource,
        operation=operation,
        since_filter=changes.filter,
        changes=changes_told_apart(resource),
        lookback=float(changes.lookback),
        filters={each.name: kind_of(each) for each in filters if each.public},
        private=_names(each for each in filters if not each.public),
    )


def _names(parameters: Iterable[Parameter]) -> tuple[str, ...]:
    return tuple(each.name for each in parameters)
