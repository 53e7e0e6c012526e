"""The client for event loops: triggers, and notebooks that await. The synchronous client documents its methods."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
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
from airflow_provider_drchrono.client.request_runner import Authorize, BlockingStep, Fetch, Flow, Observer, Step, Wait
from airflow_provider_drchrono.client.settings import ClientOptions, ClientSettings
from airflow_provider_drchrono.client.tokens import TokenStore
from airflow_provider_drchrono.client.transport import AsyncHttpClient

T = TypeVar("T")


class AsyncDrChronoClient:
    """The twin of :class:`DrChronoClient` with the same methods and arguments, awaited::

        async with AsyncDrChronoClient(client_id="...", client_secret="...", token_store=store) as drchrono:
            async for patient in drchrono.list("patients", {"since": "2026-01-01"}):
                print(patient["id"])

    Token store and quota are asked in worker threads, so they may block.
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
        self._http = AsyncHttpClient(self._core.settings, self._core.auth)

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

    async def call(
        self,
        operation_id: str,
        *,
        path: Mapping[str, Id] | None = None,
        query: Mapping[str, Any] | None = None,
        body: Body | None = None,
        files: Mapping[str, FileArgument] | None = None,
    ) -> Any:
        """Call any operation of the API; see :meth:`DrChronoClient.call`."""
        return await self._value(self._core.request(operation_id, path, query, body, files))

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        json: Any = None,
        data: Mapping[str, Any] | None = None,
        files: Mapping[str, FileArgument] | None = None,
    ) -> Any:
        """Make a request that the catalogue does not know; see :meth:`DrChronoClient.request`."""
        return await self._value(self._core.free_request(method, path, query, json, data, files))

    def request_pages(self, path: str, *, query: Mapping[str, Any] | None = None) -> AsyncIterator[Page]:
        """Iterate over the pages of a list past the catalogue; see :meth:`DrChronoClient.request_pages`."""
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
    ) -> AsyncIterator[Page]:
        """Iterate over the pages of a list; see :meth:`DrChronoClient.pages`."""
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
    ) -> AsyncIterator[RawPage]:
        """Iterate over the pages of a list with the records left as they came; see :meth:`DrChronoClient.raw_pages`."""
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
    ) -> AsyncIterator[Record]:
        """Iterate over the records of a list; see :meth:`DrChronoClient.list`."""
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
    ) -> AsyncIterator[Page]:
        """Iterate over the pages of a bulk list; see :meth:`DrChronoClient.bulk_pages`."""
        return self._bulk_pages(
            self._core.bulk_listing(
                resource, filters, verbose=verbose, order_by=order_by, page_size=page_size, deadline=deadline
            )
        )

    async def bulk_start(
        self,
        resource: str,
        filters: Mapping[str, Any] | None = None,
        *,
        verbose: bool = False,
        order_by: str | None = None,
        page_size: int | None = None,
        page: int = 1,
    ) -> str:
        """Start one page of a bulk list and return its uuid; see :meth:`DrChronoClient.bulk_start`."""
        request = self._core.bulk_start_request(
            resource, filters, verbose=verbose, order_by=order_by, page_size=page_size, page=page
        )
        return ticket_of(request.operation, await self._run(self._core.runner.run(request)))

    async def bulk_result(self, resource: str, uuid: str) -> BulkResult | None:
        """Ask once for the result of a bulk list; see :meth:`DrChronoClient.bulk_result`."""
        request = self._core.bulk_result_request(resource, uuid)
        return result_of(request.operation, await self._run(self._core.runner.run(request)))

    async def bulk_wait(self, resource: str, uuid: str, pacing: BulkPacing, *, raw: bool = False) -> BulkResult | None:
        """Ask for a page of a bulk list until it is made; see :meth:`DrChronoClient.bulk_wait`."""
        request = self._core.bulk_result_request(resource, uuid, raw=raw)
        return await self._run(result_when_made(self._core.runner, request, pacing))

    async def read(self, resource: str, record_id: Id, *, verbose: bool = False) -> Record:
        """Return one record; see :meth:`DrChronoClient.read`."""
        request = self._core.read_request(resource, record_id, verbose=verbose)
        return record_of(request.operation, await self._value(request))

    async def download(
        self, resource: str, record_id: Id, field: str | None = None, *, max_bytes: int | None = None
    ) -> Download:
        """Fetch the file that a record links to; see :meth:`DrChronoClient.download`."""
        return await self._run(self._core.file_link(resource, record_id, field, max_bytes).fetch())

    async def create(
        self,
        resource: str,
        data: Body,
        *,
        query: Mapping[str, Any] | None = None,
        files: Mapping[str, FileArgument] | None = None,
    ) -> Any:
        """Create a record, or all records of a list; see :meth:`DrChronoClient.create`."""
        return await self._value(self._core.item_request("create", resource, query=query, body=data, files=files))

    async def update(
        self,
        resource: str,
        record_id: Id,
        data: Body,
        *,
        query: Mapping[str, Any] | None = None,
        files: Mapping[str, FileArgument] | None = None,
    ) -> Any:
        """Change the given fields of a record; see :meth:`DrChronoClient.update`."""
        return await self._value(
            self._core.item_request("update", resource, record_id, query=query, body=data, files=files)
        )

    async def replace(
        self,
        resource: str,
        record_id: Id,
        data: Body,
        *,
        query: Mapping[str, Any] | None = None,
        files: Mapping[str, FileArgument] | None = None,
    ) -> Any:
        """Replace a record; see :meth:`DrChronoClient.replace`."""
        return await self._value(
            self._core.item_request("replace", resource, record_id, query=query, body=data, files=files)
        )

    async def delete(self, resource: str, record_id: Id, *, query: Mapping[str, Any] | None = None) -> Any:
        """Delete a record; see :meth:`DrChronoClient.delete`."""
        return await self._value(self._core.item_request("delete", resource, record_id, query=query))

    async def current_user(self) -> Record:
        """Return the user whom the token belongs to; see :meth:`DrChronoClient.current_user`."""
        return await self.read("users", "current")

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _pages(self, listing: PageChain) -> AsyncIterator[Page]:
        while listing.request is not None:
            answer = await self._run(self._core.runner.run(listing.request))
            yield listing.take(answer.value, answer.server_time)

    async def _raw_pages(self, listing: PageChain) -> AsyncIterator[RawPage]:
        while listing.request is not None:
            answer = await self._run(self._core.runner.run(listing.request))
            yield listing.take_raw(answer.value, answer.server_time)

    async def _records(self, listing: Listing) -> AsyncIterator[Record]:
        async for page in self._pages(listing):
            for record in page.records:
                yield record

    async def _bulk_pages(self, listing: BulkListing) -> AsyncIterator[Page]:
        while not listing.finished:
            yield await self._run(listing.next_page())

    async def _value(self, request: Request) -> Any:
        return (await self._run(self._core.runner.run(request))).value

    async def _run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                try:
                    result = await self._do(step)
                except BaseException as error:
                    # So that the call gives back what it holds of the quota.
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
        except StopIteration as finished:
            value: T = finished.value
            return value

    async def _do(self, step: Step) -> Any:
        if isinstance(step, Wait):
            return await asyncio.sleep(step.seconds)
        if isinstance(step, Authorize):
            return await self._core.auth.ready_async()
        if isinstance(step, BlockingStep):
            return await asyncio.to_thread(step.work)
        if isinstance(step, Fetch):
            return await self._http.fetch(step.url, step.sink, step.limit, with_token=step.with_token)
        request = step.request
        return await self._http.send(request.method, request.url, request.body, size_limit(request.operation))
