"""The databases that records can be loaded into, found by the type of an Airflow connection."""

from __future__ import annotations

from airflow_provider_drchrono.warehouses.base import Warehouse, WarehouseError

__all__ = ["open_warehouse"]

SUPPORTED = ("postgres", "sqlite")


def open_warehouse(conn_id: str) -> Warehouse:
    """Connect to the database of an Airflow connection.

    :raises WarehouseError: the database does not answer, or there is no way to load into databases of its type.
    """
    from airflow_provider_drchrono.compat import BaseHook

    conn_type = BaseHook.get_connection(conn_id).conn_type
    if conn_type == "sqlite":
        from airflow_provider_drchrono.warehouses.sqlite import SqliteWarehouse

        return SqliteWarehouse(conn_id)
    if conn_type == "postgres":
        from airflow_provider_drchrono.warehouses.postgres import PostgresWarehouse

        return PostgresWarehouse(conn_id)
    raise WarehouseError(
        f"Connection {conn_id} is of type {conn_type}, which records cannot be loaded into; use a connection of type "
        f"{' or '.join(SUPPORTED)}",
        transient=False,
    )
