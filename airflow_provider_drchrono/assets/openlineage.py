"""Turns an asset into the dataset that OpenLineage knows, for Airflow's own provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_drchrono.assets.uri import EXPORT_KEY, InvalidAssetError, parse
from airflow_provider_drchrono.common.lineage import list_dataset

if TYPE_CHECKING:
    from airflow.sdk import Asset


def asset_to_openlineage(asset: Asset, lineage_context: object) -> Any:
    """Return the dataset that a ``drchrono://`` asset stands for; None for a table or an export.

    Those are datasets of the database or the store, which the task itself names: an asset knows only a connection's id.

    :param asset: the asset.
    :param lineage_context: what met it; not looked at.
    """
    from openlineage.client.event_v2 import Dataset

    try:
        found = parse(asset.uri)
    except InvalidAssetError:
        return None
    if EXPORT_KEY in found.query or "table" in found.query:
        return None
    dataset = list_dataset(found.conn_id, found.resource)
    return Dataset(namespace=dataset.namespace, name=dataset.name)
