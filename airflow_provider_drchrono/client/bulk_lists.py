"""Bulk lists: the API makes them in the background, and each question whether it is done costs a call."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from airflow_provider_drchrono.catalog import Bulk, Catalog, Operation, UnknownNameError
from airflow_provider_drchrono.client.errors import (
    BulkExpiredError,
    DrChronoError,
    InvalidArgumentError,
    RequestTimeoutError,
    UnexpectedAnswerError,
)
from airflow_provider_drchrono.client.paging import Page, records_of
from airflow_provider_drchrono.client.request import Request, build_request
from airflow_provider_drchrono.client.request_runner import Flow, RequestRunner, Wait
from airflow_provider_drchrono.client.responses import EXPIRED, Answer
from airflow_provider_drchrono.client.retry import pause_after

FIRST_POLL = 3.0
"""Seconds from the start to the first question at most: small lists are done by then."""

POLL_GROWTH = 1.6
LONGEST_POLL = 30.0
"""Seconds between two questions at most."""

DEADLINE = 900.0
"""Seconds that a page of a bulk list may take by default."""

PAGE_ARGUMENTS = ("page_size", "page", "verbose", "order_by")


@dataclass(frozen=True, slots=True)
class BulkResult:
    """A page of a finished bulk list.

    :param records: as the API sent them; they are patient data, so they are not shown. Where they were asked for raw,
        each one is JSON in one line, or decoded where the answer was not written record by record.
    :param page: the number of the page, from 1.
    :param pages: how many pages the list has.
    :param count: how many records all pages hold together, if the API said.
    :param server_time: the API's clock when it answered, aware, in UTC.
    """

    records: list[Any] = field(repr=False)
    page: int
    pages: int
    count: int | None
    server_time: datetime


@dataclass(slots=True)
class BulkPacing:
    """When to ask whether a page of a bulk list is made, and when to give up. It is given the time, and never waits.

    :param ends: when to give up, on ``clock``. The last question is asked then.
    :param longest: seconds between two questions at most; the first ones come sooner.
    :param not_before: do not ask earlier, on ``clock``.
    :param most_failures: so many questions may fail one after the other, with errors that may pass, before the error
        is raised; 0 raises the first one.
    :param clock: epoch seconds, or any other clock that goes on by seconds.
    """

    ends: float
    longest: float = LONGEST_POLL
    not_before: float = 0.0
    most_failures: int = 0
    clock: Callable[[], float] = time.time
    _first: float = field(init=False)
    _pause: float = field(init=False)
    _failures: int = 0

    def __post_init__(self) -> None:
        self._pause = self._first = min(FIRST_POLL, self.longest)

    def next_pause(self, now: float) -> float | None:
        """Return the seconds until the next question, or None if there is no time for one."""
        if now >= self.ends or self.not_before > self.ends:
            return None
        pause = max(min(self._pause, self.ends - now), self.not_before - now)
        self._pause = min(max(self._pause * POLL_GROWTH, self._first), self.longest)
        return pause

    def answered(self, *, made: bool) -> None:
        """Note that a question was answered."""
        self._failures = 0
        if made:
            # Pages that were started together are made at about the same time, so the next one can be asked for.
            self._pause = 0.0

    def failed(self, error: DrChronoError, now: float) -> None:
        """Note that a question failed.

        :raises DrChronoError: the error itself, where asking again does not help.
        """
        self._failures += 1
        if not self.most_failures or isinstance(error, BulkExpiredError):
            raise error
        self.not_before = now + pause_after(error, self._failures, self.longest, most_failures=self.most_failures)


def result_when_made(runner: RequestRunner, request: Request, pacing: BulkPacing) -> Flow[BulkResult | None]:
    """Ask for a page of a bulk list until it is made.

    :param request: asks for its result.
    :return: the page, or None if it was not made in time.
    :raises DrChronoError: it cannot be had.
    """
    while (pause := pacing.next_pause(pacing.clock())) is not None:
        yield Wait(pause)
        try:
            result = result_of(request.operation, (yield from runner.run(request)))
        except DrChronoError as error:
            pacing.failed(error, pacing.clock())
            continue
        pacing.answered(made=result is not None)
        if result is not None:
            return result
    return None


def find_bulk(catalog: Catalog, resource: str) -> Bulk:
    """Return the pair of operations of a resource's bulk list.

    :raises InvalidArgumentError: there is no such resource, or it has no bulk list.
    """
    try:
        bulk = catalog.resource(resource).bulk
    except UnknownNameError as error:
        raise InvalidArgumentError(str(error)) from None
    if bulk is None:
        able = ", ".join(each.name for each in catalog.resources.values() if each.bulk)
        raise InvalidArgumentError(f"{resource} has no bulk list; use list(), or one of {able}")
    return bulk


def start_request(
    catalog: Catalog,
    base_url: str,
    resource: str,
    filters: Mapping[str, Any] | None = None,
    *,
    verbose: bool = False,
    order_by: str | None = None,
    page_size: int | None = None,
    page: int = 1,
) -> Request:
    """Return the request that starts one page of a bulk list.

    :raises InvalidArgumentError: an argument is unknown, missing or malformed.
    """
    bulk = find_bulk(catalog, resource)
    operation = catalog.operation(bulk.start)
    query = dict(filters or {})
    for name in query:
        if name in PAGE_ARGUMENTS:
            raise InvalidArgumentError(
                f"{operation.id}: {name} is not a filter; use the argument of this name", operation_id=operation.id
            )
    if verbose and not any(each.name == "verbose" for each in operation.parameters):
        raise InvalidArgumentError(f"{operation.id} has no verbose form; leave verbose out", operation_id=operation.id)
    if verbose:
        query["verbose"] = True
    if page < 1 or (page_size is not None and page_size < 1):
        raise InvalidArgumentError(f"{operation.id}: page and page_size must be at least 1", operation_id=operation.id)
    if query.get("since") is not None and operation.parameter("since").format == "date":
        query["since"] = _day(query["since"])
    query |= {"order_by": order_by, "page_size": page_size or bulk.size, "page": page if page > 1 else None}
    return build_request(catalog, base_url, operation, query=query)


def result_request(catalog: Catalog, base_url: str, resource: str, uuid: str, *, raw: bool = False) -> Request:
    """Return the request that asks for the result of a bulk list.

    :param raw: leave the records of the answer as they come.
    """
    bulk = find_bulk(catalog, resource)
    operation = catalog.operation(bulk.result)
    if not uuid or not str(uuid).strip():
        raise InvalidArgumentError(f"{operation.id}: uuid is empty", operation_id=operation.id)
    # Not a list of its own: the filters were given when it was started.
    url = build_request(catalog, base_url, _without_filters(operation), query={"uuid": uuid}).url
    return Request(operation, url, raw=raw)


def ticket_of(operation: Operation, answer: Answer) -> str:
    """Return the uuid of a bulk list that has just been started."""
    uuid = answer.value.get("uuid") if isinstance(answer.value, dict) else None
    if not isinstance(uuid, str) or not uuid:
        raise UnexpectedAnswerError(
            f"{operation.id}: the API started no bulk list; try later", operation_id=operation.id, transient=True
        )
    return uuid


def result_of(operation: Operation, answer: Answer) -> BulkResult | None:
    """Return a page of a bulk list, or None while it is being made.

    :raises BulkExpiredError: the API no longer knows it.
    """
    value = answer.value if isinstance(answer.value, dict) else {}
    if "Invalid uuid" in str(value.get("detail", "")):
        raise BulkExpiredError(f"{operation.id}: {EXPIRED}", operation_id=operation.id, status=200)
    status = str(value.get("status", "")).strip().lower()
    if status in ("in progress", "pending", "started"):
        return None
    if status and status != "complete":
        raise UnexpectedAnswerError(
            f"{operation.id}: the bulk list ended in a state that is not known here; start it again",
            operation_id=operation.id,
            transient=True,
        )
    pagination = value.get("pagination")
    if not isinstance(pagination, dict):
        pagination = {}
    return BulkResult(
        records_of(operation, value),
        page=_number(pagination.get("page"), 1),
        pages=_number(pagination.get("pages"), 1),
        count=pagination.get("count") if isinstance(pagination.get("count"), int) else None,
        server_time=answer.server_time,
    )


class BulkListing:
    """The state of one iteration over a bulk list: each further page is started, waited for and fetched anew.

    :param deadline: seconds that a page may take.
    """

    def __init__(
        self,
        catalog: Catalog,
        runner: RequestRunner,
        resource: str,
        filters: Mapping[str, Any] | None = None,
        *,
        verbose: bool = False,
        order_by: str | None = None,
        page_size: int | None = None,
        deadline: float = DEADLINE,
    ) -> None:
        self._catalog = catalog
        self._runner = runner
        self._resource = resource
        self._filters = dict(filters or {})
        self._verbose = verbose
        self._order_by = order_by
        self._page_size = page_size
        self._deadline = deadline
        self._page = 1
        self.finished = False
        # Wrong arguments are refused here rather than when the first page is asked for.
        self._start_request()

    def next_page(self) -> Flow[Page]:
        """Make, await and fetch the next page.

        :raises RequestTimeoutError: it is not done by the deadline.
        """
        try:
            result = yield from self._fetch()
        except BulkExpiredError:
            # It expired while other calls were waited for; the page can be started again.
            result = yield from self._fetch()
        page = Page(result.records, None, result.server_time, self._page - 1)
        self.finished = self._page >= result.pages
        self._page += 1
        return page

    def _start_request(self) -> Request:
        return start_request(
            self._catalog,
            self._runner.settings.base_url,
            self._resource,
            self._filters,
            verbose=self._verbose,
            order_by=self._order_by,
            page_size=self._page_size,
            page=self._page,
        )

    def _fetch(self) -> Flow[BulkResult]:
        start = self._start_request()
        uuid = ticket_of(start.operation, (yield from self._runner.run(start)))
        base_url = self._runner.settings.base_url
        request = result_request(self._catalog, base_url, self._resource, uuid)
        # Looked up at each call, so that a test can put another clock in its place.
        pacing = BulkPacing(time.monotonic() + self._deadline, clock=lambda: time.monotonic())
        result = yield from result_when_made(self._runner, request, pacing)
        if result is not None:
            return result
        raise RequestTimeoutError(
            f"{request.operation.id}: the bulk list was not done within {self._deadline:g} s; try later, raise "
            "deadline, or narrow the filters",
            operation_id=request.operation.id,
        )


def _without_filters(operation: Operation) -> Operation:
    return replace(operation, kind="bulk_result")


def _day(since: object) -> object:
    """Cut the time off a naive ``since``; an earlier start only adds records."""
    moment = since
    if isinstance(since, str):
        try:
            moment = datetime.fromisoformat(since.strip())
        except ValueError:
            return since
    return moment.date() if isinstance(moment, datetime) and moment.tzinfo is None else since


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else default
