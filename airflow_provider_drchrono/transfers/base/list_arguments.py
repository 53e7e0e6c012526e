"""Judges the arguments of whatever keeps a copy of a list: of the sync into a warehouse and of the export to files."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, get_args

from airflow_provider_drchrono.catalog import Catalog, Resource, UnknownNameError, load
from airflow_provider_drchrono.common import arguments
from airflow_provider_drchrono.common.file_fence import inside_fence, place_of
from airflow_provider_drchrono.incremental.window import first_start
from airflow_provider_drchrono.transfers.deletions import OnSuspiciousSync
from airflow_provider_drchrono.transfers.extraction import WAYS
from airflow_provider_drchrono.transfers.shield import checked_policy

if TYPE_CHECKING:
    from pathlib import Path

    from airflow.sdk import ObjectStoragePath

    from airflow_provider_drchrono.client.filters import Filters

_YES_OR_NO = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False, "none": False}


def checked_place(argument: str, path: str) -> Path | ObjectStoragePath:
    """Return what a path names, if tasks may use it.

    :raises InvalidArgumentError: it is outside of ``allowed_file_roots``, or nothing that is installed can reach it.
    """
    try:
        return inside_fence(place_of(path))
    except ValueError as error:
        problem = str(error)
    raise arguments.InvalidArgumentError(f"{argument} {problem}")


def check_arguments(
    where: str,
    *,
    resource: object,
    filters: object = None,
    extra_filters: object = None,
    read_by: object = "auto",
    complete_every: object = "auto",
    on_suspicious: object = "warn",
    **held: Any,
) -> None:
    """Judge arguments of a sync while the DAG is parsed, as far as they are no templates.

    :param where: what has these arguments, for messages.
    :param held: those that say what may be held, as ``checked_policy`` takes them.
    :raises InvalidArgumentError: one of them cannot be right.
    """
    _check_literals(resource, filters, extra_filters)
    _check_way(where, resource, read_by, extra_filters)
    _check_complete_every(complete_every)
    arguments.check_choice(where, "on_suspicious", on_suspicious, get_args(OnSuspiciousSync))
    checked_policy(resource, **held)


def _check_literals(resource: object, filters: object, extra_filters: object) -> None:
    """Judge, while the DAG is parsed, what is not a template.

    :raises InvalidArgumentError: the resource cannot be synced, or a filter cannot be right.
    """
    if not isinstance(resource, str) or arguments.is_template(resource):
        return
    try:
        found = checked_resource(load(), resource)
    except (UnknownNameError, ValueError) as error:
        problem = str(error)
    else:
        known = filters_of(found, has_extra=bool(extra_filters))
        arguments.check_extra_filters(known.operation_id, extra_filters)
        arguments.check_filters(known, filters)
        return
    raise arguments.InvalidArgumentError(problem)


def _check_complete_every(complete_every: object) -> None:
    if complete_every not in ("auto", None) and not isinstance(complete_every, timedelta):
        raise arguments.InvalidArgumentError(
            f"complete_every has to be a timedelta, 'auto' or None, not {complete_every!r}"
        )


def filters_of(resource: Resource, catalog: Catalog | None = None, *, has_extra: bool = False) -> Filters:
    """Return the filters that a sync of a resource takes: all but the one that it sets by itself.

    :param catalog: the one with the facts of a connection; None while no connection is known.
    :param has_extra: whether filters are given beside that the catalogue does not know.
    """
    if resource.incremental is not None:
        return arguments.incremental_filters(resource.name, catalog, has_extra=has_extra)
    operation = resource.list_operation
    assert operation is not None  # noqa: S101 - the resource was judged before
    return arguments.operation_filters(operation.id, catalog, has_extra=has_extra)


def checked_resource(catalog: Catalog, name: str) -> Resource:
    """Return a resource that can be listed.

    :raises ValueError: there is none of that name, or the API has no list of it.
    """
    resource = catalog.resource(name)
    if resource.list_operation is None or resource.record is None:
        same = catalog.served_in_bulk(resource)
        remedy = f"sync {same}, whose records these are" if same else "sync another resource"
        raise ValueError(f"{resource.name} cannot be synced into a table: the API has no list of them; {remedy}")
    return resource


def _check_way(where: str, resource: object, read_by: object, extra_filters: object) -> None:
    """Judge the way of reading while the DAG is parsed.

    :param where: the operator's name, for the message.
    :raises InvalidArgumentError: there is no such way, or not to this list.
    """
    arguments.check_choice(where, "read_by", read_by, WAYS)
    if read_by == "bulk" and extra_filters:
        raise arguments.InvalidArgumentError(
            "extra_filters are sent page by page, as nobody knows whether a bulk list takes them; leave read_by out"
        )
    if read_by != "bulk" or not isinstance(resource, str) or arguments.is_template(resource):
        return
    catalog = load()
    if catalog.resource(resource).bulk is None:
        able = ", ".join(each.name for each in catalog.resources.values() if each.bulk)
        raise arguments.InvalidArgumentError(f"{resource} has no bulk list; leave read_by out, or sync one of {able}")


def check_options(resource: Resource, verbose: bool, since: str | date | datetime | None) -> None:
    """Judge options that not every list has.

    :raises ValueError: this one has not, or ``since`` is no time.
    """
    operation = resource.list_operation
    if verbose and operation and not any(each.name == "verbose" for each in operation.parameters):
        raise ValueError(f"{operation.id} has no verbose form; leave verbose out")
    if since and resource.incremental is None:
        raise ValueError(f"{resource.name} cannot be listed by time of change; leave since out")
    try:
        first_start(since, ("UTC",))
    except ValueError:
        raise ValueError(
            f"since is no date or time in ISO 8601 such as 2026-01-31 or 2026-01-31T08:00:00: {since!r}"
        ) from None


def checked_lookback(resource: Resource, lookback: timedelta | float | None) -> timedelta:
    """Return how much earlier than the last read the next one begins.

    :param lookback: a timedelta, seconds, or None for what the list needs.
    :raises ValueError: it is negative.
    """
    if lookback is None:
        return timedelta(seconds=resource.incremental.lookback if resource.incremental else 0)
    given = timedelta(seconds=lookback) if isinstance(lookback, int | float) else lookback
    if given < timedelta(0):
        raise ValueError("lookback may not be negative; give a timedelta or seconds")
    return given


def as_bool(value: bool | str) -> bool:
    """Return what ``full_refresh`` says, which may come out of a template.

    :raises ValueError: it says neither yes nor no.
    """
    answer = _YES_OR_NO.get(str(value).strip().lower())
    if answer is None:
        raise ValueError(f"full_refresh has to be true or false, not {value!r}")
    return answer
