"""The facts of a list by which the arguments of a watched asset are checked while a DAG is parsed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.catalog.model import Change


@dataclass(frozen=True, slots=True)
class WatchedList:
    """A list that can be asked for changes.

    :param operation_id: the operation that lists it.
    :param changes: which changes can be told apart.
    :param lookback: seconds that a change may take until the list shows it.
    :param verbose: whether the list has a verbose form.
    :param filters: the names of what may be selected.
    :param private: filters by text that may name a person, which Airflow's database is not to hold.
    """

    operation_id: str
    changes: tuple[Change, ...]
    lookback: float
    verbose: bool
    filters: tuple[str, ...]
    private: tuple[str, ...]


@lru_cache(maxsize=128)
def watched_list(resource: str) -> WatchedList | None:
    """Return what the catalogue says of a list, or None where it cannot be asked for changes.

    :param resource: a resource that the catalogue holds.
    """
    found = load().resource(resource)
    if found.incremental is None or found.list_operation is None:
        return None
    filters = found.incremental_filters
    return WatchedList(
        operation_id=found.list_operation.id,
        changes=found.changes,
        lookback=float(found.incremental.lookback),
        verbose=found.list_operation.takes("verbose"),
        filters=tuple(each.name for each in filters if each.public),
        private=tuple(each.name for each in filters if not each.public),
    )


@lru_cache(maxsize=1)
def watched_resources() -> tuple[str, ...]:
    """Return the names of the lists that can be asked for changes. The first call reads the whole catalogue."""
    return tuple(name for name in sorted(load().resources) if watched_list(name))
