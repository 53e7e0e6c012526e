"""Announces changes as the watcher of an asset does, and gives asset events to DAG runs as a scheduler does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from airflow.sdk import Asset

from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.incremental.cursor_store import CursorStore
from airflow_provider_drchrono.incremental.events.event import ChangeEvent
from airflow_provider_drchrono.incremental.events.writer import EventWriter
from airflow_provider_drchrono.operators.assets.changed_records import watching_trigger


def announce(cursors: CursorStore, asset: Asset) -> ChangeEvent | None:
    """Poll once as the asset's watcher does, and let its announcement reach Airflow."""
    trigger = watching_trigger(asset)
    clocks = SimpleNamespace(named=lambda: "America/New_York", asked=lambda: ("America/New_York",))
    announcer = EventWriter(trigger.followed(), store=cursors, asset=asset.name, clocks=clocks)
    hook = DrChronoHook(trigger.drchrono_conn_id)
    try:
        announcement = announcer.announce(hook.get_conn())
    finally:
        hook.close()
    if announcement is not None:
        announcer.settle(announcement)
    return announcement


def events_arrive(dag_id: str, run_id: str, extras: list[tuple[str, dict[str, Any]]]) -> None:
    """Give a DAG run the events that triggered it.

    :param extras: the names of assets with the extra of an event of each.
    """
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        run = session.scalars(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)).one()
        for name, extra in extras:
            asset = session.scalars(select(AssetModel).where(AssetModel.name == name)).one()
            run.consumed_asset_events.append(AssetEvent(asset_id=asset.id, extra=extra))
