"""Pages of a list: what is in one, where the next one is, and where the list ends."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from airflow_provider_drchrono.catalog import Catalog, Operation, Resource, UnknownNameError
from airflow_provider_drchrono.client.errors import InvalidArgumentError, UnexpectedAnswerError
from airflow_provider_drchrono.client.filters import Filters, encode
from airflow_provider_drchrono.client.request import Request, build_request, own_link, same_origin
from airflow_provider_drchrono.client.unknown_parameters import checked_extra_filters

log = logging.getLogger("airflow_provider_drchrono.client")

Record = dict[str, Any]

ENVELOPE_KEYS = ("results", "data")

MOST_EMPTY_PAGES = 10
"""So many pages without a new record, one after the other, mean the end of a list."""

PAGE_ARGUMENTS = {"page_size": "page_size", "verbose": "verbose", "cursor": "next_url", "page": "next_url"}


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list.

    :param records: as the API sent them; they are patient data, so they are not shown.
    :param next_url: the address of the next page; it holds the filters of the list, so it is not shown either.
    :param server_time: the API's clock when it answered, aware, in UTC.
    :param index: the number of the page in this iteration, from 0.
    :param gaps: how many pages without a record came right before this one, which holds some.
    """

    records: list[Record] = field(repr=False)
    next_url: str | None = field(repr=False)
    server_time: datetime
    index: int
    gaps: int = 0


@dataclass(frozen=True, slots=True)
class RawPage:
    """A page of a list whose records were left as they came.

    :param records: each one as JSON in one line; decoded where the answer was not written record by record.
    """

    records: list[bytes | Record] = field(repr=False)
    next_url: str | None = field(repr=False)
    server_time: datetime
    index: int
    gaps: int = 0


def envelope_keys(operation: Operation) -> tuple[str, ...]:
    """Return the keys under which the records of a page may stand, the likeliest first."""
    return tuple(dict.fromkeys((operation.response.rows or ENVELOPE_KEYS[0], *ENVELOPE_KEYS)))


def records_of(operation: Operation, answer: Any) -> list[Any]:
    """Return the records of a list's answer, whichever of the two envelopes they come in.

    :raises UnexpectedAnswerError: there is no list of records in it.
    """
    if operation.response.shape == "record" and isinstance(answer, dict):
        return [answer]
    records = answer
    if isinstance(answer, dict):
        records = next((answer[key] for key in envelope_keys(operation) if isinstance(answer.get(key), list)), None)
    if not isinstance(records, list) or not set(map(type, records)) <= {dict, bytes}:
        raise UnexpectedAnswerError(
            f"{operation.id}: the answer holds no list of records; try later, and check the base URL if it stays so",
            operation_id=operation.id,
            status=200,
            transient=True,
        )
    return records


def record_of(operation: Operation, answer: Any) -> Record:
    """Return the record that a read answers with.

    :raises UnexpectedAnswerError: it answers with something else.
    """
    if isinstance(answer, dict):
        return answer
    raise UnexpectedAnswerError(
        f"{operation.id}: the answer holds no record; try later, and check the base URL if it stays so",
        operation_id=operation.id,
        status=200,
        transient=True,
    )


def record_count(answer: Any) -> int:
    """Return how many records any answer holds, for the log."""
    if isinstance(answer, dict):
        rows = next((answer[key] for key in ENVELOPE_KEYS if isinstance(answer.get(key), list)), None)
        return 1 if rows is None else len(rows)
    return len(answer) if isinstance(answer, list) else 0


def next_url_of(operation: Operation, base_url: str, answer: Any) -> str | None:
    """Return the address of the next page at the own origin, or None after the last page.

    :raises UnexpectedAnswerError: the link is none of the API's own.
    """
    link = answer.get("next") if isinstance(answer, dict) else None
    if not link:
        return None
    url = own_link(base_url, str(link))
    if url is None:
        raise UnexpectedAnswerError(
            f"{operation.id}: the next page is on another host or path than the API's, to which the token must not "
            "go; check the base URL",
            operation_id=operation.id,
        )
    return url


def find_list(catalog: Catalog, name: str) -> Operation:
    """Return the operation that lists what ``name`` says: an id of a list operation, or a resource.

    :raises InvalidArgumentError: it is neither.
    """
    operation = catalog.operations.get(name)
    if operation is None:
        try:
            operation = catalog.resource(name).list_operation
        except UnknownNameError as error:
            raise InvalidArgumentError(str(error)) from None
    if operation is None or operation.kind != "list":
        raise InvalidArgumentError(f"{name} cannot be listed; use call() with the id of an operation")
    return operation


class PageChain:
    """The pages of a list, one leading to the next, and the guard against going round in circles.

    :param first: asks for the first page; None if there is none to be asked for.
    :param later: the first pages of what follows when the links end.
    """

    def __init__(
        self, operation: Operation, base_url: str, first: Request | None, later: Sequence[Request] = ()
    ) -> None:
        self.operation = operation
        self.request = first
        self._base_url = base_url
        self._later = list(later)
        self._seen: set[int] = set()
        self._index = 0
        self._idle = 0
        self._empty = 0
        self._last: list[Any] = []
        self._mended = False

    def take(self, answer: Any, server_time: datetime) -> Page:
        """Turn the answer to :attr:`request` into a page and move on to the next request.

        :raises UnexpectedAnswerError: the answer is no page, or the list does not end.
        """
        return Page(*self._taken(answer, server_time))

    def take_raw(self, answer: Any, server_time: datetime) -> RawPage:
        """Do what :meth:`take` does, for records that were left as they came."""
        return RawPage(*self._taken(answer, server_time))

    def _taken(self, answer: Any, server_time: datetime) -> tuple[list[Any], str | None, datetime, int, int]:
        records = records_of(self.operation, answer)
        next_url = next_url_of(self.operation, self._base_url, answer)
        self._log_mended(next_url, answer)
        # Servers whose last page names a next one answer it with nothing, or with the last page again.
        self._idle = self._idle + 1 if not records or records == self._last else 0
        if next_url is not None and self._is_beyond_end(records, next_url):
            log.warning("%s: the last page names a next one; the list is taken to end here", self.operation.id)
            records, next_url = [], None
        gaps = self._empty if records else 0
        self._empty = 0 if records else self._empty + 1
        if next_url is None and self._later:
            next_url = self._later.pop(0).url
            self._idle = self._empty = 0
        page = records, next_url, server_time, self._index, gaps
        self._index += 1
        self._last = records
        self.request = self._following(next_url)
        return page

    def _log_mended(self, next_url: str | None, answer: Any) -> None:
        if next_url is not None and not self._mended and "://" in (link := str(answer["next"])):
            self._mended = not same_origin(self._base_url, link)
            if self._mended:
                log.debug("%s: the links name another origin; they are asked for at our own", self.operation.id)

    def _is_beyond_end(self, records: list[Any], next_url: str) -> bool:
        """Tell whether a page that names a next one comes after everything was read."""
        return self._idle >= MOST_EMPTY_PAGES or (not records and hash(next_url) in self._seen)

    def _following(self, next_url: str | None) -> Request | None:
        if next_url is None:
            return None
        # Hashes, as the addresses of a million records' pages would fill memory.
        fingerprint = hash(next_url)
        if fingerprint in self._seen:
            raise UnexpectedAnswerError(
                f"{self.operation.id}: the list goes round in circles after {self._index} pages; try later",
                operation_id=self.operation.id,
                transient=True,
            )
        self._seen.add(fingerprint)
        return self._request_at(next_url)

    def _request_at(self, url: str) -> Request:
        return Request(self.operation, url)


class Listing(PageChain):
    """The state of one iteration over a list that the catalogue knows.

    A range of dates that is longer than the API answers is asked for in several parts, one after the other.

    :param extra_filters: filters that the catalogue does not know; they are sent as they are.
    :param next_url: begin at this page instead of the first; it already holds filters and page size. With the filters
        of the first page, the later parts of a long range follow.
    :param zone: IANA name of the practice's time zone, to which times with a zone are converted.
    :param raw: leave the records as they come; :meth:`take_raw` then takes the answers.
    :raises InvalidArgumentError: a filter is unknown, missing or malformed.
    """

    def __init__(
        self,
        catalog: Catalog,
        base_url: str,
        name: str,
        filters: Mapping[str, Any] | None = None,
        *,
        extra_filters: Mapping[str, Any] | None = None,
        verbose: bool = False,
        page_size: int | None = None,
        next_url: str | None = None,
        zone: str | None = None,
        raw: bool = False,
    ) -> None:
        self._raw = raw
        operation = find_list(catalog, name)
        extra = checked_extra_filters(operation, extra_filters)
        resumes = next_url is not None and not filters
        parts = [] if resumes else _parts(catalog, operation, filters, zone, has_extra=bool(extra))
        resource = catalog.resource(operation.resource)
        queries = [list_query(operation, resource, each, verbose=verbose, page_size=page_size) for each in parts]
        built = [build_request(catalog, base_url, operation, query=each, extra_query=extra) for each in queries]
        firsts = [replace(each, raw=raw) for each in built]
        if next_url is None:
            super().__init__(operation, base_url, firsts[0], firsts[1:])
            return
        super().__init__(operation, base_url, None, firsts[_part_of(next_url, parts) + 1 :])
        self.request = self._resumed(next_url)

    def _resumed(self, next_url: str) -> Request:
        if not same_origin(self._base_url, next_url):
            raise InvalidArgumentError(
                f"{self.operation.id}: next_url does not lead to {self._base_url}; it must come from a page of "
                "the same connection",
                operation_id=self.operation.id,
            )
        self._seen.add(hash(next_url))
        return self._request_at(next_url)

    def _request_at(self, url: str) -> Request:
        return Request(self.operation, url, raw=self._raw)


def _parts(
    catalog: Catalog,
    operation: Operation,
    filters: Mapping[str, Any] | None,
    zone: str | None,
    *,
    has_extra: bool,
) -> list[dict[str, Any]]:
    """Return the selections that together are what the filters select."""
    known = {each.name for each in operation.parameters}
    reserved = {
        name: f"is not a filter; use the argument {argument}"
        for name, argument in PAGE_ARGUMENTS.items()
        if name in known
    }
    judged = Filters.of(catalog, operation, reserved=reserved, has_extra=has_extra)
    return judged.queries(judged.checked(filters, zone=zone))


def _part_of(next_url: str, parts: Sequence[Mapping[str, Any]]) -> int:
    """Return which part of a selection a page belongs to; the last one where that does not show."""
    query = dict(parse_qsl(urlsplit(next_url).query))
    told_apart = [name for name in (parts[0] if parts else {}) if len({str(each[name]) for each in parts}) > 1]
    for index, part in enumerate(parts):
        if all(query.get(name) == encode(part[name]) for name in told_apart):
            return index
    return len(parts) - 1


def list_query(
    operation: Operation,
    resource: Resource,
    filters: Mapping[str, Any],
    *,
    verbose: bool,
    page_size: int | None,
) -> dict[str, Any]:
    """Return the query parameters of a list's first page: the filters, ``verbose``, and the largest page size.

    :param filters: as :meth:`~airflow_provider_drchrono.client.filters.Filters.checked` returns them.
    :raises InvalidArgumentError: the list has no verbose form, or ``page_size`` is no size.
    """
    known = {each.name: each for each in operation.parameters if each.place == "query"}
    query = dict(filters)
    if verbose and "verbose" not in known:
        raise InvalidArgumentError(f"{operation.id} has no verbose form; leave verbose out", operation_id=operation.id)
    if verbose:
        query["verbose"] = True
    if page_size is not None and page_size < 1:
        raise InvalidArgumentError(f"{operation.id}: page_size must be at least 1", operation_id=operation.id)
    if page_size is not None or ("page_size" in known and resource.paging):
        largest = resource.paging.largest(verbose=verbose) if resource.paging else None
        query["page_size"] = page_size if page_size is not None else largest
    return query
