"""Calls of the API straight from a hook, for tasks that make one or two: each opens the client, and closes it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from airflow_provider_drchrono.client import Download, DrChronoClient
    from airflow_provider_drchrono.client.files import FileArgument
    from airflow_provider_drchrono.client.paging import Page, Record
    from airflow_provider_drchrono.client.request import Body, Id

T = TypeVar("T")


class CallsDirectly:
    """What :class:`~airflow_provider_drchrono.hooks.drchrono.DrChronoHook` offers beside its client.

    The methods are those of :class:`~airflow_provider_drchrono.client.DrChronoClient`, with the same arguments, results
    and errors. Within ``with hook as drchrono:``, and after ``get_conn()``, they use the client that is open.
    """

    _borrowers = 0
    _is_kept = False
    """Whether the client stays open between calls."""

    def _open(self) -> DrChronoClient:
        raise NotImplementedError

    def _close(self) -> None:
        raise NotImplementedError

    def call(
        self,
        operation_id: str,
        *,
        path: Mapping[str, Id] | None = None,
        query: Mapping[str, Any] | None = None,
        body: Body | None = None,
        files: Mapping[str, FileArgument] | None = None,
    ) -> Any:
        """Call any operation of the API; see :meth:`.DrChronoClient.call`."""
        with self._borrowed() as drchrono:
            return drchrono.call(operation_id, path=path, query=query, body=body, files=files)

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
        """Make a request that the catalogue does not know; see :meth:`.DrChronoClient.request`."""
        with self._borrowed() as drchrono:
            return drchrono.request(method, path, query=query, json=json, data=data, files=files)

    def request_pages(self, path: str, *, query: Mapping[str, Any] | None = None) -> Iterator[Page]:
        """Iterate over the pages of a list past the catalogue; see :meth:`.DrChronoClient.request_pages`."""
        return self._streamed(lambda drchrono: drchrono.request_pages(path, query=query))

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
        """Iterate over the pages of a list; see :meth:`.DrChronoClient.pages`."""
        return self._streamed(
            lambda drchrono: drchrono.pages(
                name, filters, extra_filters=extra_filters, verbose=verbose, page_size=page_size, next_url=next_url
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
        """Iterate over the records of a list; see :meth:`.DrChronoClient.list`."""
        return self._streamed(
            lambda drchrono: drchrono.list(
                name, filters, extra_filters=extra_filters, verbose=verbose, page_size=page_size
            )
        )

    def read(self, resource: str, record_id: Id, *, verbose: bool = False) -> Record:
        """Return one record; see :meth:`.DrChronoClient.read`."""
        with self._borrowed() as drchrono:
            return drchrono.read(resource, record_id, verbose=verbose)

    def download(
        self, resource: str, record_id: Id, field: str | None = None, *, max_bytes: int | None = None
    ) -> Download:
        """Fetch the file that a record links to; see :meth:`.DrChronoClient.download`."""
        with self._borrowed() as drchrono:
            return drchrono.download(resource, record_id, field, max_bytes=max_bytes)

    def create(
        self,
        resource: str,
        data: Body,
        *,
        query: Mapping[str, Any] | None = None,
        files: Mapping[str, FileArgument] | None = None,
    ) -> Any:
        """Create a record, or several, and return what the API answers; see :meth:`.DrChronoClient.create`."""
        with self._borrowed() as drchrono:
            return drchrono.create(resource, data, query=query, files=files)

    def update(
        self,
        resource: str,
        record_id: Id,
        data: Body,
        *,
        query: Mapping[str, Any] | None = None,
        files: Mapping[str, FileArgument] | None = None,
    ) -> Any:
        """Change the given fields of a record; see :meth:`.DrChronoClient.update`."""
        with self._borrowed() as drchrono:
            return drchrono.update(resource, record_id, data, query=query, files=files)

    def replace(
        self,
        resource: str,
        record_id: Id,
        data: Body,
        *,
        query: Mapping[str, Any] | None = None,
        files: Mapping[str, FileArgument] | None = None,
    ) -> Any:
        """Replace a record; see :meth:`.DrChronoClient.replace`."""
        with self._borrowed() as drchrono:
            return drchrono.replace(resource, record_id, data, query=query, files=files)

    def delete(self, resource: str, record_id: Id, *, query: Mapping[str, Any] | None = None) -> Any:
        """Delete a record; see :meth:`.DrChronoClient.delete`."""
        with self._borrowed() as drchrono:
            return drchrono.delete(resource, record_id, query=query)

    def _streamed(self, start: Callable[[DrChronoClient], Iterator[T]]) -> Iterator[T]:
        with self._borrowed() as drchrono:
            # Wrong arguments raise here and not at the first record; nothing is sent.
            start(drchrono)

        def stream() -> Iterator[T]:
            with self._borrowed() as drchrono:
                yield from start(drchrono)

        return stream()

    @contextmanager
    def _borrowed(self) -> Iterator[DrChronoClient]:
        """Use the client for one call; the last of several calls closes it, unless it was open before."""
        self._borrowers += 1
        try:
            yield self._open()
        finally:
            self._borrowers -= 1
            if not self._borrowers and not self._is_kept:
                self._close()
