"""``airflow drchrono plan``: what syncs of a connection cost in calls and hours, before the first of them is made."""

from __future__ import annotations

import json
import re
from argparse import Namespace
from collections.abc import Iterable, Sequence
from typing import Any

from airflow_provider_drchrono.catalog import Catalog, Resource, UnknownNameError, load
from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.incremental.lists import needed_start
from airflow_provider_drchrono.transfers.counts import rows_in_warehouse
from airflow_provider_drchrono.transfers.forecast import PRACTICES, Forecast, ListForecast, forecast

ROWS = re.compile(r"([a-z_0-9]+)=([0-9][0-9_,]*)")

COUNT_TIMEOUT = 120.0
"""Seconds that a bulk list may take to be counted."""


def plan(args: Namespace) -> None:
    """Print, for each list, how it is read, and what a first load and a later run cost.

    How many rows the lists have is taken from ``--rows``, from the tables of ``--warehouse-conn-id``, from ``--like``,
    and for lists with bulk lists from the API, at two or three calls each.

    :param args: ``conn_id``, ``resources``, ``hourly_share``, ``rows``, ``warehouse_conn_id``, ``like``, ``no_calls``
        and ``output``, as parsed by Airflow.
    :raises SystemExit: an argument is wrong, or the connection cannot be used; the message says why.
    """
    catalog = load()
    try:
        resources = _resources(catalog, args.resources)
        rows = _given_rows(catalog, args.rows or ())
        share = _share(args.hourly_share)
        per_hour = _calls_per_hour(args.conn_id)
        if args.like:
            rows = dict(PRACTICES[args.like]) | rows
        if args.warehouse_conn_id:
            wanted = {each: each for each in resources if each not in rows}
            rows = rows_in_warehouse(args.warehouse_conn_id, catalog, wanted) | rows
        if not args.no_calls and not args.like:
            rows = _rows_of_api(args.conn_id, [catalog.resource(each) for each in resources if each not in rows]) | rows
    except (DrChronoError, UnknownNameError, ValueError) as error:
        raise SystemExit(str(error)) from None
    calls_per_hour = None if per_hour is None else max(1, int(per_hour * share))
    found = forecast(catalog, resources, rows, calls_per_hour=calls_per_hour)
    if args.output == "json":
        print(json.dumps(as_json(args.conn_id, found), indent=2))
        return
    from airflow.cli.simple_table import AirflowConsole

    AirflowConsole().print_as(data=[_row(each) for each in found.lists], output=args.output)
    print("\n".join(sentences(found)))


def as_json(conn_id: str, found: Forecast) -> dict[str, Any]:
    """Return a forecast for programs."""
    return {
        "connection": conn_id,
        "calls_per_hour": found.calls_per_hour,
        "first_load": found.first_load,
        "least": found.least,
        "hours": _rounded(found.hours),
        "hourly_run": found.run("changes"),
        "full_reads": found.run("everything"),
        "weekly_reads": found.weekly,
        "lists": [
            {
                "resource": each.resource,
                "rows": each.rows,
                "read_by": each.first.way,
                "first_load": each.first.calls,
                "done_after_hours": _rounded(each.done_after),
                "later_runs_read": each.reads,
                "later_run": each.later.calls,
                "weekly_read": each.weekly,
                "needs_filters": list(each.needs),
            }
            for each in found.lists
        ],
    }


def sentences(found: Forecast) -> Iterable[str]:
    """Return what the whole comes to."""
    yield (
        f"First load: {found.first_load:,} calls"
        + ("" if found.hours is None else f", {found.hours:.1f} hours at {found.calls_per_hour:,} calls an hour")
        + f"; no reader can do with fewer than {found.least:,}."
    )
    hourly, full = found.run("changes"), found.run("everything")
    yield f"A later run of the lists that tell what has changed: {hourly:,} calls."
    if found.weekly:
        yield f"Once a week they are read whole, to find what was deleted: {found.weekly:,} calls."
    if full:
        yield f"A later run of those that are read whole each time: {full:,} calls; once a night is enough for most."
    if found.calls_per_hour is not None and hourly + full > found.calls_per_hour:
        yield (
            f"Together that is {hourly + full:,} calls, more than the {found.calls_per_hour:,} of an hour: give the "
            "lists that are read whole a schedule of their own."
        )
    unknown = [each.resource for each in found.lists if each.rows is None]
    if unknown:
        yield (
            f"Nobody knows how many rows {len(unknown)} lists have, and a page was reckoned with for each; say it with "
            f"--rows {unknown[0]}=N."
        )


def _row(each: ListForecast) -> dict[str, str]:
    note = f"needs filters: {', '.join(each.needs)}" if each.needs else ""
    return {
        "resource": each.resource,
        "rows": "?" if each.rows is None else f"{each.rows:,}",
        "way": each.first.way,
        "first_load": f"{each.first.calls:,}",
        "done_after_h": "" if each.done_after is None else f"{each.done_after:.1f}",
        "later_runs_read": each.reads,
        "later_run": f"{each.later.calls:,}",
        "weekly": f"{each.weekly:,}" if each.weekly else "",
        "note": note,
    }


def _rounded(hours: float | None) -> float | None:
    return None if hours is None else round(hours, 2)


def _resources(catalog: Catalog, given: Sequence[str] | None) -> list[str]:
    names = [name for each in given or () for name in each.split(",") if name]
    if names in ([], ["all"]):
        return [each.name for each in catalog.tables]
    for name in names:
        if catalog.resource(name).list_operation is None:
            raise ValueError(f"The API has no list of {name}; leave it out of --resources")
    return list(dict.fromkeys(names))


def _given_rows(catalog: Catalog, given: Iterable[str]) -> dict[str, int]:
    rows = {}
    for each in given:
        match = ROWS.fullmatch(each)
        if match is None:
            raise ValueError(f"--rows takes a resource and a number, as in patients=14000, not {each!r}")
        rows[catalog.resource(match[1]).name] = int(re.sub("[_,]", "", match[2]))
    return rows


def _share(share: float) -> float:
    if not 0 < share <= 1:
        raise ValueError(f"--hourly-share is the part of the hour's calls that syncs may use, up to 1, not {share}")
    return share


def _calls_per_hour(conn_id: str) -> int | None:
    from airflow_provider_drchrono.hooks.authorization import settings_seen

    return settings_seen(conn_id).quota_per_hour


def _rows_of_api(conn_id: str, resources: Iterable[Resource]) -> dict[str, int]:
    """Return how many rows the lists have that can be counted by a bulk list of one row."""
    from airflow_provider_drchrono.hooks.drchrono import DrChronoHook

    countable = [each for each in resources if each.bulk]
    if not countable:
        return {}
    with DrChronoHook(conn_id) as drchrono:
        jobs = {each.name: drchrono.bulk_start(each.name, _everything(each), page_size=1) for each in countable}
        return {name: count for name, uuid in jobs.items() if (count := _count(drchrono, name, uuid)) is not None}


def _count(drchrono: Any, resource: str, uuid: str) -> int | None:
    import time

    from airflow_provider_drchrono.client import BulkPacing

    result = drchrono.bulk_wait(resource, uuid, BulkPacing(time.time() + COUNT_TIMEOUT))
    return None if result is None else result.count


def _everything(resource: Resource) -> dict[str, Any]:
    start = needed_start(resource.requires_one_of, ())
    return {"since": start.isoformat()} if start else {}
