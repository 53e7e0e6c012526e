"""Counts what a warehouse has of lists, by the tables that syncs made of them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

from airflow_provider_drchrono.catalog import Catalog
from airflow_provider_drchrono.warehouses.base import WarehouseError
from airflow_provider_drchrono.warehouses.registry import open_warehouse
from airflow_provider_drchrono.warehouses.table import table_for


def rows_in_warehouse(
    conn_id: str,
    catalog: Catalog,
    tables: Mapping[str, str],
    *,
    schema: str | None = None,
    schemas: Mapping[str, str | None] | None = None,
) -> dict[str, int]:
    """Return how many rows the tables have that are there, by resource.

    :param tables: names of tables by resource.
    :param schema: of the tables of which ``schemas`` says nothing.
    :param schemas: schemas of single tables, by resource.
    :raises WarehouseError: the database does not answer.
    """
    rows = {}
    with closing(open_warehouse(conn_id)) as warehouse:
        for resource, name in tables.items():
            place = (schemas or {}).get(resource, schema) or None
            table = table_for(catalog, catalog.resource(resource), name=name, schema=place, verbose=False)
            try:
                rows[resource] = warehouse.row_count(table)
            except WarehouseError as error:
                # A table that is not there yet says nothing; a server that has gone away says the same of all.
                if error.transient:
                    raise
    return rows
