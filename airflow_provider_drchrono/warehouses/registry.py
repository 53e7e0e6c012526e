"""Finds the warehouse for a type of Airflow connection, among those of this package and of others.

A package offers one by an entry point in the group ``airflow_provider_drchrono.warehouses``: its name is the connection
type, and its value a class derived from :class:`~airflow_provider_drchrono.warehouses.base.Warehouse`. Those of this
package are registered in the same way.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points

from airflow_provider_drchrono.common.lineage import DatasetName
from airflow_provider_drchrono.compat import BaseHook
from airflow_provider_drchrono.warehouses.base import Warehouse, WarehouseError

GROUP = "airflow_provider_drchrono.warehouses"


def open_warehouse(conn_id: str) -> Warehouse:
    """Connect to the database of an Airflow connection.

    :raises WarehouseError: the database does not answer, or there is no way to load into databases of its type.
    """
    conn_type = BaseHook.get_connection(conn_id).conn_type or ""
    return warehouse_class(conn_type, conn_id)(conn_id)


def table_dataset(conn_id: str, schema: str | None, table: str) -> DatasetName:
    """Return a table in the database of an Airflow connection as OpenLineage names it.

    :raises WarehouseError: there is no way to load into databases of its type.
    """
    connection = BaseHook.get_connection(conn_id)
    return warehouse_class(connection.conn_type or "", conn_id).dataset(connection, schema, table)


def warehouse_types() -> list[str]:
    """Return the connection types for which there is a warehouse, in alphabetical order."""
    return sorted({each.name for each in _offered()})


def warehouse_class(conn_type: str, conn_id: str) -> type[Warehouse]:
    """Return the class that loads into databases of a connection type.

    :param conn_id: the connection, for messages.
    :raises WarehouseError: there is none, more than one, or one that cannot be imported.
    """
    found = {each.value: each for each in _offered().select(name=conn_type)}
    if not found:
        raise WarehouseError(
            f"Connection {conn_id} is of type {conn_type}, which records cannot be loaded into; use a connection of "
            f"type {' or '.join(warehouse_types())}, or install a package that offers a warehouse for {conn_type}",
            transient=False,
        )
    if len(found) > 1:
        raise WarehouseError(
            f"Several packages offer a warehouse for connections of type {conn_type}: "
            f"{', '.join(sorted(map(_origin, found.values())))}; uninstall all but one",
            transient=False,
        )
    (entry_point,) = found.values()
    return _loaded(entry_point)


def _offered() -> EntryPoints:
    return _offered_on(tuple(sys.path))


@lru_cache(maxsize=8)
def _offered_on(path: tuple[str, ...]) -> EntryPoints:
    """Return the entry points of all packages on a path; looking through them takes as long as a query or two."""
    return entry_points(group=GROUP)


def _loaded(entry_point: EntryPoint) -> type[Warehouse]:
    try:
        loaded = entry_point.load()
    except Exception as error:
        # Whatever another package raises while it is imported, it must not pass for an error of the sync.
        raise WarehouseError(
            f"The warehouse for connections of type {entry_point.name} cannot be imported from "
            f"{_origin(entry_point)}: {type(error).__name__}: {error}; mend that package or remove it",
            transient=False,
        ) from None
    if not (isinstance(loaded, type) and issubclass(loaded, Warehouse)):
        raise WarehouseError(
            f"What {_origin(entry_point)} offers for connections of type {entry_point.name} is no warehouse: "
            f"{entry_point.value} has to be a class derived from {Warehouse.__module__}.{Warehouse.__name__}",
            transient=False,
        )
    return loaded


def _origin(entry_point: EntryPoint) -> str:
    return entry_point.dist.name if entry_point.dist else entry_point.value
