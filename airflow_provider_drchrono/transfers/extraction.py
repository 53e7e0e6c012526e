"""Decides how a list is read with the fewest calls: page by page, or in bulk. Nothing here calls or stores anything.

A page of a list costs one call. A page of a bulk list costs two, one to start it and one to fetch it, and holds four
to eighty times as many rows; each look at one that is not made yet costs one more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal, get_args

from airflow_provider_drchrono.catalog import Catalog, Resource
from airflow_provider_drchrono.client.filters import Filters

Way = Literal["pages", "bulk"]

ReadBy = Literal["auto", "pages", "bulk"]
"""What may be asked for: the way with the fewest calls, or one of the two."""

WAYS: tuple[str, ...] = get_args(ReadBy)

CALLS_OF_BULK_PAGE = 2
"""To start it, and to fetch it."""

LOOKS_IN_VAIN = 2
"""So many questions for the first page of a bulk list come too early, until it is known how long pages take."""

PAGES_TO_FIND_OUT = 3
"""So many pages are read of a list that nobody has counted before it is asked for in bulk: it then costs at most about
twice of what it would have cost to know before, and short lists wait for nothing."""

MOST_JOBS = 24
"""Pages of a bulk list that are made at the same time."""


@dataclass(frozen=True, slots=True)
class ListFacts:
    """What the catalogue says of how one selection of a list can be read.

    :param page_size: rows of a page to reckon with.
    :param bulk_size: rows of a page of its bulk list; None where it has none, or none that can select the same.
    :param by_change: whether the list can be asked for what has changed.
    :param parts: how many lists the selection is read as, since the API answers no longer ranges.
    """

    resource: str
    page_size: int
    bulk_size: int | None
    by_change: bool
    parts: int = 1

    @classmethod
    def of(
        cls, catalog: Catalog, resource: Resource, filters: Mapping[str, Any] | None = None, *, verbose: bool = False
    ) -> ListFacts:
        """Return the facts of a list.

        :param filters: as :meth:`~airflow_provider_drchrono.client.filters.Filters.checked` returns them, without the
            one that takes the time of change.
        :raises ValueError: the API does not list the resource.
        """
        operation = resource.list_operation
        if operation is None:
            raise ValueError(f"The API has no list of {resource.plural}")
        filters = filters or {}
        parts = len(Filters.of(catalog, operation).queries(filters))
        paging = resource.paging
        return cls(
            resource=resource.name,
            page_size=paging.expected(verbose=verbose) if paging else 1,
            bulk_size=_bulk_size(catalog, resource, filters, verbose=verbose) if parts == 1 else None,
            by_change=resource.incremental is not None,
            parts=parts,
        )

    def calls_by_pages(self, rows: int) -> int:
        """Return the calls for so many rows, page by page."""
        return max(self.parts, ceil(rows / self.page_size))

    def calls_in_bulk(self, rows: int) -> int:
        """Return the calls for so many rows in bulk.

        :raises ValueError: the selection cannot be read in bulk.
        """
        if self.bulk_size is None:
            raise ValueError(f"{self.resource} cannot be read in bulk")
        return max(1, ceil(rows / self.bulk_size)) * CALLS_OF_BULK_PAGE


@dataclass(frozen=True, slots=True)
class ReadSoFar:
    """What is known of a read that is to begin, or that has begun page by page and is not at its end.

    :param rows: how many rows it will give, where that is known.
    :param pages: how many pages it has read.
    """

    rows: int | None = None
    pages: int = 0


@dataclass(frozen=True, slots=True)
class ReadCost:
    """How a read of known size goes.

    :param way: how it ends; one whose size nobody has told begins page by page.
    :param calls: all calls, those included that find out how large it is and how long bulk lists take.
    :param least: the calls of a reader that knew everything before.
    """

    way: Way
    calls: int
    least: int


def next_way(facts: ListFacts, read: ReadSoFar, read_by: ReadBy = "auto") -> Way:
    """Return how to continue a read: by a page of the list, or by the whole selection in bulk."""
    if facts.bulk_size is None or read_by == "pages":
        return "pages"
    if read_by == "bulk":
        return "bulk"
    if read.rows is not None and read.pages < (by_pages := facts.calls_by_pages(read.rows)):
        return "bulk" if facts.calls_in_bulk(read.rows) + LOOKS_IN_VAIN < by_pages - read.pages else "pages"
    return "bulk" if read.pages >= PAGES_TO_FIND_OUT else "pages"


def cost_of(facts: ListFacts, rows: int, *, read_by: ReadBy = "auto", told: int | None = None) -> ReadCost:
    """Return the way of a read and its calls, by the very decisions that the read itself takes.

    :param rows: how many rows it gives.
    :param told: how many rows the read expects beforehand, if anything.
    """
    by_pages = facts.calls_by_pages(rows)
    least = by_pages if facts.bulk_size is None else min(by_pages, facts.calls_in_bulk(rows))
    pages = 0
    while next_way(facts, ReadSoFar(told, pages), read_by) == "pages":
        pages += 1
        if pages >= by_pages:
            return ReadCost("pages", by_pages, least)
    return ReadCost("bulk", pages + facts.calls_in_bulk(rows) + LOOKS_IN_VAIN, least)


def jobs_at_once(calls_left: int | None) -> int:
    """Return how many pages of a bulk list may be underway.

    A page is started only if it can also be fetched in this hour: it would be gone an hour later.

    :param calls_left: calls of the hour; None where nothing is counted.
    """
    if calls_left is None:
        return MOST_JOBS
    return max(1, min(MOST_JOBS, calls_left // CALLS_OF_BULK_PAGE))


def _bulk_size(catalog: Catalog, resource: Resource, filters: Mapping[str, Any], *, verbose: bool) -> int | None:
    if resource.bulk is None:
        return None
    taken = {each.name for each in catalog.operation(resource.bulk.start).parameters}
    needed = {name for name, value in filters.items() if value is not None}
    if resource.incremental is not None:
        needed.add(resource.incremental.filter)
    if verbose:
        needed.add("verbose")
    return resource.bulk.size if needed <= taken else None
