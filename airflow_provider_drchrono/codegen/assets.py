"""Plans what may be watched as an asset: each list that can be asked for changes, and what to say of it."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_drchrono.catalog import Catalog, Operation, Parameter, Resource
from airflow_provider_drchrono.codegen import naming
from airflow_provider_drchrono.codegen.sensors import duration_label


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """Everything that is written about one list that may be watched.

    :param filters: the filters that an asset takes: those whose values cannot name a person.
    """

    resource: Resource
    operation: Operation
    changes: tuple[str, ...]
    lookback: float
    filters: tuple[Parameter, ...]

    @property
    def verbose(self) -> bool:
        """Whether the list has a verbose form."""
        return self.operation.takes("verbose")

    @property
    def lookback_label(self) -> str:
        """How long the lookback is where nothing else is said."""
        return duration_label(self.lookback)

    @property
    def filters_type(self) -> str:
        """The name of the TypedDict of the filters, which is that of the list."""
        return naming.filters_type(self.operation, self.resource, "")


def plan_watches(catalog: Catalog) -> tuple[WatchPlan, ...]:
    """Plan all lists that may be watched, sorted by name."""
    return tuple(
        WatchPlan(
            resource=resource,
            operation=resource.list_operation,
            changes=resource.changes,
            lookback=resource.incremental.lookback,
            filters=tuple(each for each in resource.incremental_filters if each.public),
        )
        for _, resource in sorted(catalog.resources.items())
        if resource.incremental and resource.list_operation
    )
