"""The assets that sensors and syncs update, and the events by which they do."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from airflow_provider_drchrono.assets.uri import EXPORT_KEY, DrChronoUri, InvalidAssetError, is_conn_id
from airflow_provider_drchrono.catalog import load

if TYPE_CHECKING:
    from airflow.sdk import Asset, BaseOperator, Context

DEFAULT_CONN_ID = "drchrono_default"


def drchrono_list(resource: str, *, drchrono_conn_id: str = DEFAULT_CONN_ID) -> Asset:
    """Return the asset of a practice's list, which each sensor of the list updates when it hands records on.

    Nothing polls for it by itself; that is what :func:`drchrono_asset` is for.

    :param resource: the resource, such as ``patients``.
    :param drchrono_conn_id: the Airflow connection to DrChrono.
    :raises ValueError: DrChrono has no such resource, or an argument is a template.
    """
    return _asset(resource, drchrono_conn_id, {})


def drchrono_table(
    resource: str,
    *,
    warehouse_conn_id: str,
    table: str | None = None,
    schema: str | None = None,
    drchrono_conn_id: str = DEFAULT_CONN_ID,
) -> Asset:
    """Return the asset of a table that a sync keeps equal to a list, which the sync updates when rows changed.

    The arguments are those of the :class:`DrChronoToWarehouseOperator`.

    :param resource: the resource, such as ``patients``.
    :param warehouse_conn_id: the Airflow connection of the database.
    :param table: name of the table; the resource's by default.
    :param schema: schema of the table, where the operator names one.
    :param drchrono_conn_id: the Airflow connection to DrChrono.
    :raises ValueError: DrChrono has no such resource, or an argument is a template.
    """
    label = ".".join(each for each in (schema, table or resource) if each)
    return _asset(resource, drchrono_conn_id, {"table": label, "warehouse": warehouse_conn_id})


def drchrono_export(resource: str, *, path: str, drchrono_conn_id: str = DEFAULT_CONN_ID) -> Asset:
    """Return the asset of the files of an export, which the export updates when it wrote any.

    The arguments are those of the :class:`DrChronoToObjectStorageOperator`.

    :param resource: the resource, such as ``patients``.
    :param path: the folder or object storage URL that the operator is given.
    :param drchrono_conn_id: the Airflow connection to DrChrono.
    :raises ValueError: DrChrono has no such resource, or an argument is a template.
    """
    return _asset(resource, drchrono_conn_id, {EXPORT_KEY: path.rstrip("/")})


def export_asset(resource: object, conn_id: object, path: object) -> Asset | None:
    """Return the asset of an export's files; None where what names it is known only when the task runs, or is wrong."""
    if not _is_text(path) or not str(path).strip("/") or not is_conn_id(conn_id) or not _is_resource(resource):
        return None
    return drchrono_export(str(resource), path=str(path), drchrono_conn_id=str(conn_id))


def list_asset(resource: object, conn_id: object) -> Asset | None:
    """Return the asset of a list; None where what names it is known only when the task runs, or is wrong."""
    if not is_conn_id(conn_id) or not _is_resource(resource):
        return None
    return _asset(str(resource), str(conn_id), {})


def _is_resource(value: object) -> bool:
    return isinstance(value, str) and value in load().resources


def table_asset(
    resource: object, conn_id: object, warehouse_conn_id: object, table: object, schema: object
) -> Asset | None:
    """Return the asset of a sync's table; None where what names it is known only when the task runs, or is wrong."""
    named = all(_is_text(each) for each in (table, schema) if each)
    if not named or not is_conn_id(conn_id) or not is_conn_id(warehouse_conn_id) or not _is_resource(resource):
        return None
    return drchrono_table(
        str(resource),
        warehouse_conn_id=str(warehouse_conn_id),
        table=str(table) if table else None,
        schema=str(schema) if schema else None,
        drchrono_conn_id=str(conn_id),
    )


class Outlet:
    """An asset that a task updates although the DAG does not declare it.

    Airflow takes each success for an update. A task that updated nothing withholds the event, unless its author has
    named the asset among the task's outlets.

    :param task: the task, which is given the asset as an outlet.
    :param asset: None where it is not known while the DAG is parsed; then there are no events.
    """

    def __init__(self, task: BaseOperator, asset: Asset | None) -> None:
        self.asset = asset
        self._added = asset is not None and asset.uri not in [getattr(each, "uri", None) for each in task.outlets]
        if self._added:
            task.add_outlets([asset])

    def update(
        self, task: BaseOperator, context: Context, count: int, *, even_if_none: bool = False, **details: Any
    ) -> None:
        """Write into the event of the asset what the task updated, or withhold the event if that is nothing.

        :param task: the task as it runs, which is a copy of the one that was given the asset.
        :param count: records or rows that were updated.
        :param even_if_none: have an event also without any.
        :param details: further counts, and times. Airflow stores them in clear. None is left out.
        """
        if self.asset is None:
            return
        if self._added and not count and not even_if_none:
            task.outlets = [each for each in task.outlets if each != self.asset]
            return
        events = context.get("outlet_events")
        if events is not None:
            events[self.asset].extra.update({"count": count} | _plain(details))


def _plain(details: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, date) else value
        for name, value in details.items()
        if value is not None
    }


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "{" not in value


def _asset(resource: str, conn_id: str, query: dict[str, str]) -> Asset:
    from airflow.sdk import Asset

    if not all(map(_is_text, (resource, conn_id, *query.values()))):
        raise InvalidAssetError("An asset takes no template and no task's output: give it text")
    return Asset(uri=str(DrChronoUri(conn_id, resource, query)))
