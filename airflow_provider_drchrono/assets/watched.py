"""Makes the assets that DAGs are scheduled by when something changes in DrChrono."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_drchrono.assets.watch import POLL_INTERVAL, Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import Asset

    from airflow_provider_drchrono.assets.overloads import DrChronoAssetFunction


def _typed(function: Callable[..., Asset]) -> DrChronoAssetFunction:
    return cast("DrChronoAssetFunction", function)


@_typed
def drchrono_asset(
    resource: str,
    *,
    filters: Mapping[str, Any] | None = None,
    change: str = "any",
    watch_fields: Sequence[str] | None = None,
    verbose: bool = False,
    start: date | str = "now",
    lookback: timedelta | float | None = None,
    poll_interval: timedelta | float = POLL_INTERVAL,
    drchrono_conn_id: str = "drchrono_default",
    name: str | None = None,
) -> Asset:
    """Return an asset that is updated when records of a list are created or changed.

    ``schedule=[drchrono_asset("patients")]`` gives a DAG a run whenever patients change. A triggerer polls the list
    and makes an event of each change. Equal arguments make the same asset, in whichever DAG file they stand, and the
    assets of one list share its polls. Another ``poll_interval`` or ``lookback`` leaves the asset what it is, so that
    nothing is missed; give it the same ones wherever it stands. Read the records of the events with the
    ``DrChronoChangedRecordsOperator``.

    :param resource: the list, such as ``patients``.
    :param filters: what to select; filters that may name a person are not taken, as Airflow stores what is watched.
    :param change: ``created``, ``updated``, or ``any``.
    :param watch_fields: only a record in which one of these fields has another value counts, and the records that are
        read say which. Airflow stores the names of the fields, and no value.
    :param verbose: ask also for the fields that come only with ``verbose=true``.
    :param start: where the first poll begins: ``now``, ``beginning``, or a time.
    :param lookback: how long a change may take until lists show it, as a timedelta or in seconds.
    :param poll_interval: time between two polls, as a timedelta or in seconds, 10 at least. Each poll is a call.
    :param drchrono_conn_id: the Airflow connection to DrChrono.
    :param name: the asset's name; by default it is made of the other arguments.
    :raises ValueError: an argument cannot work. The message names it.
    """
    from airflow.sdk import Asset, AssetWatcher

    from airflow_provider_drchrono.triggers.incremental import DrChronoIncrementalTrigger

    watch = Watch.of(
        resource,
        filters=filters,
        change=change,
        watch_fields=watch_fields,
        verbose=verbose,
        start=start,
        lookback=lookback,
        poll_interval=poll_interval,
        drchrono_conn_id=drchrono_conn_id,
        name=name,
    )
    trigger = DrChronoIncrementalTrigger(
        watch=watch.name,
        drchrono_conn_id=watch.conn_id,
        resource=watch.resource,
        filters=watch.filters,
        change=watch.change,
        watch_fields=watch.watch_fields,
        verbose=watch.verbose,
        start=watch.start,
        # What is not given is what the facts of the connection say, which are known when the list is polled.
        lookback=watch.own_lookback,
        poll_interval=watch.poll_interval,
    )
    return Asset(name=watch.name, uri=watch.uri, watchers=[AssetWatcher(name=watch.name, trigger=trigger)])
