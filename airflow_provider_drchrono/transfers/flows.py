"""Puts together what a transfer tells OpenLineage: the list it has read, and the table or the files it has written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_drchrono.catalog import Catalog
from airflow_provider_drchrono.common.lineage import (
    DatasetColumn,
    DatasetName,
    Flow,
    classes_of,
    fields_of,
    list_dataset,
)
from airflow_provider_drchrono.transfers.sync import SyncRequest, SyncResult

if TYPE_CHECKING:
    from airflow_provider_drchrono.privacy import FieldPolicy


def flow_of(
    catalog: Catalog,
    conn_id: str,
    request: SyncRequest,
    result: SyncResult,
    target: DatasetName,
    *,
    files: int | None = None,
) -> Flow:
    """Return what a transfer tells.

    :param conn_id: of the connection to DrChrono.
    :param target: what was written.
    :param files: how many files were; None for a table.
    """
    counts = result.counts
    return Flow(
        list_dataset(conn_id, request.resource.name),
        fields_of(catalog, request.resource, verbose=request.verbose),
        counts.read,
        target,
        _columns(catalog, request),
        counts.new + counts.changed,
        files,
    )


def _columns(catalog: Catalog, request: SyncRequest) -> tuple[DatasetColumn, ...]:
    classes = classes_of(catalog, request.resource)
    policy = request.shield.policy if request.shield else None
    fields = {each.name for each in request.table.columns}
    return tuple(
        DatasetColumn(
            each.name,
            each.kind,
            each.about,
            classes.get(each.name, ()),
            each.name if each.name in fields else None,
            _masks(policy, each.name),
        )
        for each in request.table.all_columns
    )


def _masks(policy: FieldPolicy | None, name: str) -> str:
    """Return what a policy makes of a field, and of what is within it."""
    if policy is None:
        return ""
    found = {action for path, action in policy.actions.items() if path.partition(".")[0] == name and action != "keep"}
    return ", ".join(sorted("left out in part" if each == "out" else each for each in found))
