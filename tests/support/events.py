"""Makes events of changes as the watcher of an asset does, and gives them to DAG runs as a scheduler does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from airflow.sdk import Asset

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.incremental.cursor import CursorStore
from airflow_provider_drchrono.incremental.events.event import ChangeEvent
from airflow_provider_drchrono.incremental.events.writer import EventWriter
from airflow_provider_drchrono.operators.assets.changed_records import watching_trigger


def make_event(
    cursors: CursorStore, asset: Asset, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> ChangeEvent | None:
    """Poll once as the asset's watcher does, and let its event reach Airflow.

    :param now: the clock of the machine that watches.
    """
    trigger = watching_trigger(asset)
    zones = SimpleNamespace(settings=SimpleNamespace(timezone="America/New_York"))
    hook = DrChronoHook(trigger.drchrono_conn_id)
    selection = trigger.selection(load(), hook.hash_key)
    writer = EventWriter(selection, store=cursors, asset=asset.name, timezones=zones, now=now)
    try:
        event = writer.next_event(hook.get_conn())
    finally:
        hook.close()
    if event is not None:
        writer.acknowledge(event)
    return event


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
