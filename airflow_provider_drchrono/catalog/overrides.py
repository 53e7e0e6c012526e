"""Facts that a user knows better than the catalogue: found on the live service, given with the connection.

Much of the catalogue is inferred, since nobody could ask the service. Where it is wrong for somebody, a fact that they
hand over counts in its place, for everything that uses their connection, and no release is needed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypedDict, cast
from zoneinfo import ZoneInfo

from airflow_provider_drchrono.catalog.loader import LazyMapping
from airflow_provider_drchrono.catalog.model import Catalog, Incremental, Operation, Resource, UnknownNameError
from airflow_provider_drchrono.catalog.names import did_you_mean

EVERY_LIST = "*"
"""The name under which facts stand that hold for all lists."""

LARGEST_PAGE = 100_000
LONGEST_LOOKBACK = 90 * 86_400
DEFAULT_LOOKBACK = 120.0
"""Seconds, of a list of which only the filter is known by which its changes are found."""


class FactsOfList(TypedDict, total=False):
    """What is known of one list.

    :param page_size: records on a page at most, as the list is asked for.
    :param verbose_page_size: the same with ``verbose=true``.
    :param bulk_page_size: records on a page of its bulk list at most.
    :param records_key: the key under which the records of a page stand.
    :param lookback: seconds that a change may take until the list shows it.
    :param timezone: IANA name of the zone of the list's change times, where it is not the practice's.
    :param since_filter: the filter that takes the time from which on changes are wanted.
    :param changed_field: the field that this filter compares; None for none.
    :param created_field: the field with the time of creation; None for none.
    :param tracks_updates: whether ``changed_field`` moves with each change.
    :param requires_one_of: filters of which the list needs at least one; empty if it needs none.
    """

    page_size: int
    verbose_page_size: int
    bulk_page_size: int
    records_key: str
    lookback: float
    timezone: str
    since_filter: str
    changed_field: str | None
    created_field: str | None
    tracks_updates: bool
    requires_one_of: list[str]


Facts = Mapping[str, FactsOfList]
"""Facts by the name of the resource; those under ``*`` hold for all lists, as far as a list has none of its own."""

OF_EVERY_LIST = ("page_size", "verbose_page_size", "bulk_page_size", "records_key", "lookback", "timezone")
KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_OF_CHANGES = ("lookback", "timezone", "since_filter", "changed_field", "created_field", "tracks_updates")


def checked_facts(catalog: Catalog, given: object) -> dict[str, FactsOfList]:
    """Return facts that can hold.

    :param given: a mapping of resources to mappings of facts.
    :raises ValueError: everything that is wrong, each with its place; no value is repeated.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"they are of type {type(given).__name__}, not a mapping of resources to facts")
    problems: list[str] = []
    facts: dict[str, FactsOfList] = {}
    for name, each in given.items():
        if not isinstance(each, Mapping):
            problems.append(f"facts[{name!r}] is of type {type(each).__name__}, not a mapping of facts")
            continue
        try:
            resource = None if name == EVERY_LIST else catalog.resource(str(name))
        except UnknownNameError as error:
            problems.append(f"{error}; {EVERY_LIST!r} stands for all")
            continue
        found = {key: value for key, value in each.items() if _judge(catalog, resource, key, value, problems)}
        facts[str(name)] = cast("FactsOfList", found)
        if resource is not None and len(found) == len(each):
            _judge_changes(resource, facts[str(name)], problems)
    if problems:
        raise ValueError("; ".join(problems))
    return facts


def with_facts(catalog: Catalog, facts: Facts | None) -> Catalog:
    """Return a catalogue in which facts have taken the place of its own.

    :param facts: as :func:`checked_facts` returned them; None for none.
    """
    if not facts:
        return catalog
    for_all = facts.get(EVERY_LIST, {})
    resources = LazyMapping(
        catalog.resources, lambda name: _applied(catalog.resources[name], {**for_all, **facts.get(name, {})})
    )
    operations = LazyMapping(catalog.operations, lambda name: resources[catalog.entries[name].name].operations[name])
    return replace(catalog, resources=resources, operations=operations)


def _applied(resource: Resource, facts: Mapping[str, Any]) -> Resource:
    if not facts or resource.list_operation is None:
        return resource
    paging, bulk, incremental = resource.paging, resource.bulk, resource.incremental
    if paging is not None:
        size = facts.get("page_size")
        paging = replace(
            paging,
            size=size or paging.size,
            verbose_size=facts.get("verbose_page_size", paging.verbose_size),
            # Whoever gives a size has seen it, so that nothing is in dispute any more.
            reported_size=None if size else paging.reported_size,
        )
    if bulk is not None:
        bulk = replace(bulk, size=facts.get("bulk_page_size", bulk.size))
    return replace(
        resource,
        operations=_operations(resource, facts.get("records_key")),
        paging=paging,
        bulk=bulk,
        incremental=_incremental(incremental, facts),
        requires_one_of=tuple(facts.get("requires_one_of", resource.requires_one_of)),
    )


def _operations(resource: Resource, records_key: str | None) -> Mapping[str, Operation]:
    listing = resource.list_operation
    if records_key is None or listing is None:
        return resource.operations
    changed = replace(listing, response=replace(listing.response, rows=records_key))
    return {name: changed if name == listing.id else each for name, each in resource.operations.items()}


def _incremental(known: Incremental | None, facts: Mapping[str, Any]) -> Incremental | None:
    if known is None and "since_filter" not in facts:
        return None
    known = known or Incremental(facts["since_filter"], tracks_updates=False, lookback=DEFAULT_LOOKBACK)
    return Incremental(
        filter=facts.get("since_filter", known.filter),
        cursor_field=facts.get("changed_field", known.cursor_field),
        created_field=facts.get("created_field", known.created_field),
        tracks_updates=facts.get("tracks_updates", known.tracks_updates),
        lookback=facts.get("lookback", known.lookback),
        timezone=facts.get("timezone", known.timezone),
    )


def _judge(catalog: Catalog, resource: Resource | None, key: object, value: object, problems: list[str]) -> bool:
    """Note what is wrong with a fact; return whether nothing is."""
    where = f"facts[{resource.name if resource else EVERY_LIST!r}]"
    known = OF_EVERY_LIST if resource is None else tuple(FactsOfList.__annotations__)
    if key not in known:
        problem = f"has no fact {key!r}{did_you_mean(key, known)}"
        if resource is None and key in FactsOfList.__annotations__:
            problem = f"cannot hold {key}, which differs from list to list; give it to the list that it is about"
        problems.append(f"{where} {problem}")
        return False
    reason = _unusable(catalog, resource, str(key), value)
    if reason:
        problems.append(f"{where}[{key!r}] {reason}")
    return not reason


def _unusable(catalog: Catalog, resource: Resource | None, key: str, value: object) -> str | None:
    """Say why a fact cannot hold; None where it can."""
    if resource is not None and (reason := _out_of_place(resource, key)):
        return reason
    if key in ("page_size", "verbose_page_size", "bulk_page_size"):
        return None if _is_number(value, int, 1, LARGEST_PAGE) else f"must be a whole number from 1 to {LARGEST_PAGE}"
    if key == "lookback":
        return None if _is_number(value, (int, float), 0, LONGEST_LOOKBACK) else "must be seconds, 90 days at most"
    if key == "timezone":
        return None if _is_zone(value) else "must be an IANA name such as America/New_York"
    if key == "records_key":
        return None if isinstance(value, str) and KEY.fullmatch(value) else "must be the name of a key"
    if key == "tracks_updates":
        return None if isinstance(value, bool) else "must be true or false"
    assert resource is not None  # noqa: S101 - what is left is of single lists
    if key in ("changed_field", "created_field"):
        record = catalog.record_of(resource.name)
        return None if value is None else _not_among("field", [value], record.fields if record else {})
    filters = {each.name: None for each in resource.list_operation.filters} if resource.list_operation else {}
    if key == "since_filter":
        return _not_among("filter", [value], filters)
    if not isinstance(value, list | tuple):
        return "must be a list of names of filters"
    return _not_among("filter", value, filters)


def _out_of_place(resource: Resource, key: str) -> str | None:
    if resource.list_operation is None:
        return "cannot hold: the API has no list of them"
    if key in ("page_size", "verbose_page_size") and resource.paging is None:
        return "cannot hold: the list has no pages"
    if key == "bulk_page_size" and resource.bulk is None:
        return "cannot hold: there is no bulk list of them"
    return None


def _judge_changes(resource: Resource, facts: FactsOfList, problems: list[str]) -> None:
    """Note which facts about changes make no sense together."""
    given = [key for key in _OF_CHANGES if key in facts]
    if not given:
        return
    if resource.incremental is None and "since_filter" not in facts:
        problems.append(
            f"facts[{resource.name!r}][{given[0]!r}] needs since_filter, as the list is not asked for changes otherwise"
        )
        return
    incremental = _incremental(resource.incremental, facts)
    if incremental is not None and incremental.tracks_updates and incremental.cursor_field is None:
        problems.append(f"facts[{resource.name!r}]['tracks_updates'] needs changed_field, the field that moves")


def _is_number(value: object, kinds: type | tuple[type, ...], least: float, most: float) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool) and least <= cast("float", value) <= most


def _is_zone(value: object) -> bool:
    try:
        return bool(isinstance(value, str) and value and ZoneInfo(value))
    except (LookupError, ValueError, OSError):
        return False


def _not_among(kind: str, names: Any, known: Mapping[str, object]) -> str | None:
    for each in names:
        if each not in known:
            return f"names no {kind} of the list{did_you_mean(each, known)}"
    return None
