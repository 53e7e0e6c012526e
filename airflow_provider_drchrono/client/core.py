"""What the synchronous and the asynchronous client have in common: everything but sending and waiting."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from airflow_provider_drchrono.catalog import Operation, UnknownNameError, load
from airflow_provider_drchrono.catalog.model import OperationKind
from airflow_provider_drchrono.catalog.overrides import with_facts
from airflow_provider_drchrono.client.auth import DrChronoAuth, TokenSource
from airflow_provider_drchrono.client.bulk_lists import BulkListing, result_request, start_request
from airflow_provider_drchrono.client.download import FileLink, file_link
from airflow_provider_drchrono.client.errors import ConfigurationError, InvalidArgumentError
from airflow_provider_drchrono.client.files import FileArgument
from airflow_provider_drchrono.client.free_request import FreeListing, free_request
from airflow_provider_drchrono.client.paging import Listing
from airflow_provider_drchrono.client.quota import CallQuota, Quota
from airflow_provider_drchrono.client.quota.stores import shared_quota_store
from airflow_provider_drchrono.client.request import Body, Id, Request, build_request
from airflow_provider_drchrono.client.request_runner import Observer, RequestRunner
from airflow_provider_drchrono.client.settings import ClientOptions, ClientSettings
from airflow_provider_drchrono.client.tokens import MemoryTokenStore, Token, TokenStore

log = logging.getLogger("airflow_provider_drchrono.client")


class _FleetingStore(MemoryTokenStore):
    """What is used when nobody gave a store: it works, and says what it will cost."""

    def save(self, token: Token) -> None:
        super().save(token)
        log.warning(
            "The refresh token was used up and its successor is only in memory; give a token_store, such as "
            "FileTokenStore, or the application has to be authorized again when this process ends"
        )


def warn_if_unverified(settings: ClientSettings) -> None:
    """Warn, once for each client and each authorization, where the server does not have to prove who it is."""
    if not settings.verify_tls:
        log.warning(
            "verify_tls is off, so anybody between this machine and %s can read patient data and the token; "
            "name the certificate authority of your network in ca_bundle instead",
            settings.base_url,
        )


class Core:
    """Turns the arguments of the public methods into requests, lists and counted calls."""

    def __init__(
        self,
        settings: ClientSettings | None,
        token_store: TokenStore | None,
        quota: Quota | None,
        options: ClientOptions,
        observer: Observer | None = None,
    ) -> None:
        if settings is not None and options:
            raise ConfigurationError(
                f"Give either settings or single options, not both: {', '.join(sorted(options))} came beside settings"
            )
        self.settings = settings or ClientSettings(**options)
        warn_if_unverified(self.settings)
        self.catalog = with_facts(load(), self.settings.facts)
        self.auth = DrChronoAuth(TokenSource(self.settings, token_store or _FleetingStore()))
        self.runner = RequestRunner(self.settings, quota or own_quota(self.settings), self.auth.granted, observer)

    @property
    def calls(self) -> int:
        """See the clients."""
        return self.runner.calls

    @property
    def server_time(self) -> datetime | None:
        """See the clients."""
        return self.runner.server_time

    def request(
        self,
        operation_id: str,
        path: Mapping[str, Id] | None = None,
        query: Mapping[str, Any] | None = None,
        body: Body | None = None,
        files: Mapping[str, FileArgument] | None = None,
    ) -> Request:
        """Return the request of an operation."""
        try:
            operation = self.catalog.operation(operation_id)
        except UnknownNameError as error:
            raise InvalidArgumentError(str(error)) from None
        return self._build(operation, path=path, query=query, body=body, files=files)

    def free_request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        json: Any = None,
        data: Mapping[str, Any] | None = None,
        files: Mapping[str, FileArgument] | None = None,
    ) -> Request:
        """Return the request for a method and a path."""
        return free_request(
            self.catalog, self.settings.base_url, method, path, query=query, json=json, data=data, files=files
        )

    def free_listing(self, path: str, query: Mapping[str, Any] | None) -> FreeListing:
        """Return the state of a new iteration over the list at a path."""
        base_url = self.settings.base_url
        return FreeListing(base_url, free_request(self.catalog, base_url, "GET", path, query=query, paged=True))

    def item_request(
        self,
        kind: OperationKind,
        resource: str,
        record_id: Id | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        body: Body | None = None,
        files: Mapping[str, FileArgument] | None = None,
    ) -> Request:
        """Return the request that reads or writes one record of a resource.

        :raises InvalidArgumentError: the resource has no such operation.
        """
        operation = self._operation(kind, resource)
        if record_id is None:
            return self._build(operation, query=query, body=body, files=files)
        places = [each for each in operation.parameters if each.role == "id" or each.name == "id"]
        place = next((each for each in places if each.place == "path"), None)
        if place is not None:
            return self._build(operation, path={place.name: record_id}, query=query, body=body, files=files)
        if not places:
            raise InvalidArgumentError(
                f"{operation.id} is not addressed by an id; use call() with its query parameters",
                operation_id=operation.id,
            )
        return self._build(operation, query={"id": record_id, **(query or {})}, body=body, files=files)

    def read_request(self, resource: str, record_id: Id, *, verbose: bool) -> Request:
        """Return the request that reads one record."""
        return self.item_request("read", resource, record_id, query={"verbose": True} if verbose else None)

    def file_link(self, resource: str, record_id: Id, field: str | None, max_bytes: int | None) -> FileLink:
        """Return the link from which the file of a record is fetched."""
        record = self.catalog.resources[resource].record if resource in self.catalog.resources else None
        return file_link(
            self.settings,
            self.runner,
            self.catalog.record(record) if record else None,
            lambda: self.read_request(resource, record_id, verbose=False),
            field,
            max_bytes,
        )

    def listing(
        self,
        name: str,
        filters: Mapping[str, Any] | None,
        *,
        extra_filters: Mapping[str, Any] | None = None,
        verbose: bool,
        page_size: int | None,
        next_url: str | None = None,
        raw: bool = False,
    ) -> Listing:
        """Return the state of a new iteration over a list."""
        base_url = self.settings.base_url
        return Listing(
            self.catalog,
            base_url,
            name,
            filters,
            extra_filters=extra_filters,
            verbose=verbose,
            page_size=page_size,
            next_url=next_url,
            zone=self.settings.timezone,
            raw=raw,
        )

    def bulk_start_request(
        self,
        resource: str,
        filters: Mapping[str, Any] | None,
        *,
        verbose: bool,
        order_by: str | None,
        page_size: int | None,
        page: int,
    ) -> Request:
        """Return the request that starts a page of a bulk list."""
        return start_request(
            self.catalog,
            self.settings.base_url,
            resource,
            filters,
            verbose=verbose,
            order_by=order_by,
            page_size=page_size,
            page=page,
        )

    def bulk_result_request(self, resource: str, uuid: str, *, raw: bool = False) -> Request:
        """Return the request for the result of a bulk list."""
        return result_request(self.catalog, self.settings.base_url, resource, uuid, raw=raw)

    def bulk_listing(
        self,
        resource: str,
        filters: Mapping[str, Any] | None,
        *,
        verbose: bool,
        order_by: str | None,
        page_size: int | None,
        deadline: float,
    ) -> BulkListing:
        """Return the state of a new iteration over a bulk list."""
        return BulkListing(
            self.catalog,
            self.runner,
            resource,
            filters,
            verbose=verbose,
            order_by=order_by,
            page_size=page_size,
            deadline=deadline,
        )

    def _operation(self, kind: OperationKind, resource: str) -> Operation:
        try:
            found = self.catalog.resource(resource)
        except UnknownNameError as error:
            raise InvalidArgumentError(str(error)) from None
        operations = [each for each in found.operations.values() if each.kind == kind]
        if not operations:
            others = ", ".join(found.operations)
            raise InvalidArgumentError(f"{resource} has no operation to {kind}; use call() with one of {others}")
        # What belongs to a part of the record has a longer path.
        return min(operations, key=lambda each: len(each.path))

    def _build(self, operation: Operation, **arguments: Any) -> Request:
        return build_request(self.catalog, self.settings.base_url, operation, **arguments)


def own_quota(settings: ClientSettings) -> Quota | None:
    """Return a quota that is kept where the settings say, or None where they have no limit."""
    if settings.quota_per_hour is None and settings.quota_per_second is None:
        return None
    per_hour, per_second = settings.quota_per_hour, settings.quota_per_second
    return CallQuota(shared_quota_store(settings), per_hour=per_hour, per_second=per_second)
