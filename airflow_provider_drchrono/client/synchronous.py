"""The client for plain Python: scripts, notebooks, and tasks on a worker."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from airflow_provider_drchrono.client.bounds import size_limit
from airflow_provider_drchrono.client.bulk_lists import (
    DEADLINE,
    BulkListing,
    BulkPacing,
    BulkResult,
    result_of,
    result_when_made,
    ticket_of,
)
from airflow_provider_drchrono.client.core import Core
from airflow_provider_drchrono.client.download import Download
from airflow_provider_drchrono.client.files import FileArgument
from airflow_provider_drchrono.client.paging import Listing, Page, PageChain, RawPage, Record, record_of
from airflow_provider_drchrono.client.quota import Quota
from airflow_provider_drchrono.client.request import Body, Id, Request
from airflow_provider_drchrono.client.request_runner import (
    Authorize,
    BlockingStep,
    Fetch,
    Flow,
    Observer,
    Step,
    Wait,
    run_flow,
)
from airflow_provider_drchrono.client.settings import ClientOptions, ClientSettings
from airflow_provider_drchrono.client.tokens import TokenStore
from airflow_provider_drchrono.client.transport import HttpClient

T = TypeVar("T")


class DrChronoClient:
    """Calls the DrChrono API::

        store = FileTokenStore("~/.drchrono-token.json")
        with DrChronoClient(client_id="...", client_secret="...", refresh_token="...", token_store=store) as drchrono:
            for patient in drchrono.list("patients", {"since": "2026-01-01"}):
                print(patient["id"])

    Each renewal of the token ends the refresh token that it was made with, so give a ``token_store`` that outlives the
    process; without one the renewed token is only kept in memory.

    :param settings: all settings at once; or give them one by one, see :class:`ClientSettings`.
    :param token_store: where renewed tokens are kept and shared; by default, in memory.
    :param quota: counts the calls; by default, this client alone keeps the limits of its settings.
    :param observer: is given each reply as it came, before it is judged, for those who look at how the API answers.
        A reply holds patient data.
    :raises ConfigurationError: a setting cannot work.
    """

    def __init__(
        self,
        settings: ClientSettings | None = None,
        *,
        token_store: TokenStore | None = None,
        quota: Quota | None = None,
        observer: Observer | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        self._core = Core(settings, token_store, quota, options, observer)
        self._http = HttpClient(self._core.settings, self._core.auth)

    @property
    def settings(self) -> ClientSettings:
        """The settings of this client."""
        return self._core.settings

    @property
    def calls(self) -> int:
        """How many requests have been sent to the API; renewals of the token are not counted."""
        return self._core.calls

    @property
    def server_time(self) -> datetime | None:
        """The API's clock at its last answer, aware, in UTC; None before the first one."""
        return self._core.server_time

    def call(
        self,
        operation_id: str,
        *,
        path: Mapping[str, Id] | None = None,
        query: Mapping[str, Any] | None = None,
        body: Body | None = None,
        files: Mapping[str, FileArgument] | None = None,
    ) -> Any:
        """Call any operation of the API.

        :param operation_id: such as ``patients_read``.
        :param path: values of the path's parameters, such as ``{"id": 42}``.
        :param query: query parameters; None as a value leaves a parameter out.
        :param body: the record to write; operations that create also take a list of records.
        :param files: by field: a path, bytes, an open binary file, or a tuple (file name, content[, content type]).
        :return: the decoded JSON; None for an empty answer; the text or bytes of an answer that is a document.
        :raises InvalidArgumentError: an argument is wrong; nothing was sent.
        :raises DrChronoError: see the tree in :mod:`airflow_provider_drchrono.client.errors`.
        """
        return self._value(self._core.request(operation_id, path, query, body, files))

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        json: Any = None,
        data: Mapping[str, Any] | None = None,
        files: Mapping[str, FileArgument] | None = None,
    ) -> Any:
        """Make a request that the catalogue does not know, with this client's token, quota, bounds and errors.

        It is sent again only where it reads: nobody knows whether a second arrival of another one does harm.

        :param method: ``GET``, ``POST``, ``PUT``, ``PATCH`` or ``DELETE``.
        :param path: such as ``/api/patients``, on the connection's own origin; not the OAuth endpoints.
        :param query: query parameters; None as a value leaves one out, several values are joined by commas. Times
            have no zone: they are the practice's wall clock.
        :param json: the body, sent as JSON.
        :param data: fields of a form, sent as ``multipart/form-data``, beside ``files``.
        :param files: by field, as in :meth:`call`.
        :return: as of :meth:`call`.
        :raises InvalidArgumentError: an argument is wrong; nothing was sent.
        """
        return self._value(self._core.free_request(method, path, query, json, data, files))

    def request_pages(self, path: str, *, query: Mapping[str, Any] | None = None) -> Iterator[Page]:
        """Iterate over the pages of a list that the catalogue does not know, one call a page; its links are followed.

        :param path: as of :meth:`request`.
        :param query: as of :meth:`request`.
        :raises InvalidArgumentError: an argument is wrong; raised at once, and nothing was sent.
        :raises UnexpectedAnswerError: an answer is no page of records.
        """
        return self._pages(self._core.free_listing(path, query))

    def pages(
        self,
        name: str,
        filters: Mapping[str, Any] | None = None,
        *,
        extra_filters: Mapping[str, Any] | None = None,
        verbose: bool = False,
        page_size: int | None = None,
        next_url: str | None = None,
    ) -> Iterator[Page]:
        """Iterate over the pages of a list, one call a page.

        :param name: a resource such as ``patients``, or the id of an operation that lists.
        :param filters: query parameters of the list. Times have no zone: they are the practice's wall clock.
        :param extra_filters: query parameters that the catalogue does not know; they are sent as they are.
        :param verbose: ask for the fields that come only on demand; pages get smaller.
        :param page_size: records a page, by default as many as the list allows; the API may send fewer.
        :param next_url: go on from :attr:`Page.next_url` of an earlier iteration; the filters are in it.
        :raises InvalidArgumentError: an argument is wrong; raised at once, and nothing was sent.
        """
        return self._pages(
            self._core.listing(
                name, filters, extra_filters=extra_filters, verbose=verbose, page_size=page_size, next_url=next_url
            )
        )

    def raw_pages(
        self,
        name: str,
        filters: Mapping[str, Any] | None = None,
        *,
        extra_filters: Mapping[str, Any] | None = None,
        verbose: bool = False,
        page_size: int | None = None,
        next_url: str | None = None,
    ) -> Iterator[RawPage]:
        """Iterate over the pages of a list with the records left as they came, to be stored; see :meth:`pages`."""
        return self._raw_pages(
            self._core.listing(
                name,
                filters,
                extra_filters=extra_filters,
                verbose=verbose,
                page_size=page_size,
                next_url=next_url,
                raw=True,
            )
        )

    def list(
        self,
        name: str,
        filters: Mapping[str, Any] | None = None,
        *,
        extra_filters: Mapping[str, Any] | None = None,
        verbose: bool = False,
        page_size: int | None = None,
    ) -> Iterator[Record]:
        """Iterate over the records of a list, holding one page at a time; see :meth:`pages`."""
        return self._records(
            self._core.listing(name, filters, extra_filters=extra_filters, verbose=verbose, page_size=page_size)
        )

    def bulk_pages(
        self,
        resource: str,
        filters: Mapping[str, Any] | None = None,
        *,
        verbose: bool = False,
        order_by: str | None = None,
        page_size: int | None = None,
        deadline: float = DEADLINE,
    ) -> Iterator[Page]:
        """Iterate over the pages of a bulk list, which the API makes in the background, each as long as the API allows.

        Each page costs one call to start it and one for each question whether it is done, the first after a few
        seconds.

        :param resource: such as ``patients``.
        :param filters: query parameters of the bulk list; a time of day in ``since`` is cut off where only dates count.
        :param verbose: ask for the fields that come only on demand.
        :param order_by: the field to order by.
        :param page_size: records a page.
        :param deadline: seconds that a page may take.
        :raises InvalidArgumentError: an argument is wrong; raised at once, and nothing was sent.
        :raises RequestTimeoutError: a page was not done by the deadline.
        """
        return self._bulk_pages(
            self._core.bulk_listing(
                resource, filters, verbose=verbose, order_by=order_by, page_size=page_size, deadline=deadline
            )
        )

    def bulk_start(
        self,
        resource: str,
        filters: Mapping[str, Any] | None = None,
        *,
        verbose: bool = False,
        order_by: str | None = None,
        page_size: int | None = None,
        page: int = 1,
    ) -> str:
        """Start one page of a bulk list, for callers that wait in their own way.

        :param page: the number of the page, from 1.
        :return: the uuid to ask for its result with, for about an hour.
        """
        request = self._core.bulk_start_request(
            resource, filters, verbose=verbose, order_by=order_by, page_size=page_size, page=page
        )
        return ticket_of(request.operation, self._run(self._core.runner.run(request)))

    def bulk_result(self, resource: str, uuid: str) -> BulkResult | None:
        """Ask once for the result of a bulk list.

        :return: the page, or None while it is being made.
        :raises BulkExpiredError: the API no longer knows the uuid.
        """
        request = self._core.bulk_result_request(resource, uuid)
        return result_of(request.operation, self._run(self._core.runner.run(request)))

    def bulk_wait(self, resource: str, uuid: str, pacing: BulkPacing, *, raw: bool = False) -> BulkResult | None:
        """Ask for a page of a bulk list until it is made.

        :param pacing: when to ask, and when to give up.
        :param raw: leave the records as they come, to be stored.
        :return: the page, or None if it was not made in time.
        :raises BulkExpiredError: the API no longer knows the uuid.
        """
        request = self._core.bulk_result_request(resource, uuid, raw=raw)
        return self._run(result_when_made(self._core.runner, request, pacing))

    def read(self, resource: str, record_id: Id, *, verbose: bool = False) -> Record:
        """Return one record.

        :raises NotFoundError: there is none with this id.
        :raises UnexpectedAnswerError: the API answers with something else than a record.
        """
        request = self._core.read_request(resource, record_id, verbose=verbose)
        return record_of(request.operation, self._value(request))

    def download(
        self, resource: str, record_id: Id, field: str | None = None, *, max_bytes: int | None = None
    ) -> Download:
        """Fetch the file that a record links to, such as a document's, as a whole.

        It reads the record (``GET`` of the resource), follows its link, and reads the record once more if the link has
        expired. The token goes to the connection's own host only. What fails on the way is tried again.

        :param resource: such as ``documents`` or ``lab_documents``.
        :param field: the record's field that holds the link; by default its only file.
        :param max_bytes: how large the file may be, in bytes; by default 512 MiB.
        :return: the content with its size, SHA-256 and content type. Close it, or use it in a ``with`` block.
        :raises InvalidArgumentError: the resource has no such field; nothing was sent.
        :raises NotFoundError: there is no such record, or it has no file, or not yet.
        :raises UnexpectedAnswerError: the file is too large, or the link is none that can be followed.
        """
        return self._run(self._core.file_link(resource, record_id, field, max_bytes).fetch())

    def create(
        self,
        resource: str,
        data: Body,
        *,
        query: Mapping[str, Any] | None = None,
        files: Mapping[str, FileArgument] | None = None,
    ) -> Any:
        """Create a record, or all records of a list at once, and return what the API answers.

        It is sent again only if it provably did not arrive, as each arrival would create another record.

        :param query: such as ``{"allow_duplicates": True}`` for patients.
        :raises ConflictError: the patient may be there already.
        """
        return self._value(self._core.item_request("create", resource, query=query, body=data, files=files))

    def update(
        self,
        resource: str,
        record_id: Id,
        data: Body,
        *,
        query: Mapping[str, Any] | None = None,
        files: Mapping[str, FileArgument] | None = None,
    ) -> Any:
        """Change the given fields of a record; the API answers with nothing."""
        return self._value(self._core.item_request("update", resource, record_id, query=query, body=data, files=files))

    def replace(
        self,
        resource: str,
        record_id: Id,
        data: Body,
        *,
        query: Mapping[str, Any] | None = None,
        files: Mapping[str, FileArgument] | None = None,
    ) -> Any:
        """Replace a record; fields that are not given are emptied. The API answers with nothing."""
        return self._value(self._core.item_request("replace", resource, record_id, query=query, body=data, files=files))

    def delete(self, resource: str, record_id: Id, *, query: Mapping[str, Any] | None = None) -> Any:
        """Delete a record; the API answers with nothing."""
        return self._value(self._core.item_request("delete", resource, record_id, query=query))

    def current_user(self) -> Record:
        """Return the user whom the token belongs to (``GET /api/users/current``)."""
        return self.read("users", "current")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _pages(self, listing: PageChain) -> Iterator[Page]:
        while listing.request is not None:
            answer = self._run(self._core.runner.run(listing.request))
            yield listing.take(answer.value, answer.server_time)

    def _raw_pages(self, listing: PageChain) -> Iterator[RawPage]:
        while listing.request is not None:
            answer = self._run(self._core.runner.run(listing.request))
            yield listing.take_raw(answer.value, answer.server_time)

    def _records(self, listing: Listing) -> Iterator[Record]:
        for page in self._pages(listing):
            yield from page.records

    def _bulk_pages(self, listing: BulkListing) -> Iterator[Page]:
        while not listing.finished:
            yield self._run(listing.next_page())

    def _value(self, request: Request) -> Any:
        return self._run(self._core.runner.run(request)).value

    def _run(self, flow: Flow[T]) -> T:
        return run_flow(flow, self._do)

    def _do(self, step: Step) -> Any:
        if isinstance(step, Wait):
            return time.sleep(step.seconds)
        if isinstance(step, Authorize):
            return self._core.auth.ready()
        if isinstance(step, BlockingStep):
            return step.work()
        if isinstance(step, Fetch):
            return self._http.fetch(step.url, step.sink, step.limit, with_token=step.with_token)
        request = step.request
        return self._http.send(request.method, request.url, request.body, size_limit(request.operation))
