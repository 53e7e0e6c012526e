"""The whole vendor as one function: a request goes in, an answer comes out, no socket anywhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from airflow_provider_drchrono.catalog import Operation, load
from airflow_provider_drchrono.sandbox import actions, admin, availability, operations, reports
from airflow_provider_drchrono.sandbox.bulk import BulkLists
from airflow_provider_drchrono.sandbox.clock import Clock
from airflow_provider_drchrono.sandbox.faults import Fault, Faults
from airflow_provider_drchrono.sandbox.files import PREFIX, FileStore
from airflow_provider_drchrono.sandbox.journal import Entry, Journal
from airflow_provider_drchrono.sandbox.oauth import AuthorizationServer, Client, Grant
from airflow_provider_drchrono.sandbox.operations import Call
from airflow_provider_drchrono.sandbox.paging import envelope_key
from airflow_provider_drchrono.sandbox.practice.audit import Author
from airflow_provider_drchrono.sandbox.practice.seeding import seed_practice
from airflow_provider_drchrono.sandbox.quota import Quota
from airflow_provider_drchrono.sandbox.routing import Router
from airflow_provider_drchrono.sandbox.sandbox_options import Options
from airflow_provider_drchrono.sandbox.wire import Refusal, Request, Response, answer, detail

ADMIN = "/_sandbox/"
SEEN_HEADERS = ("accept", "content-type", "user-agent", "x-drc-api-version")
"""Request headers that the journal keeps; never the token."""


class App:
    """The API of one practice, with its OAuth server and quota.

    :param options: what the practice holds and how the API behaves.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.catalog = load()
        self.clock = Clock(options.timezone, options.start, frozen=options.frozen)
        self.practice = seed_practice(self.catalog, self.clock, options)
        self.lock = self.practice.lock
        self.journal = Journal()
        self.faults = Faults()
        self.files = FileStore(self.practice.file_links)
        self.quota = Quota(options.quota_per_hour, options.quota_per_second, retry_after=options.retry_after)
        self.bulk = BulkLists(self.clock, options.seed, polls=options.bulk_polls, seconds=options.bulk_seconds)
        self.oauth = AuthorizationServer(self.clock, self.catalog.service.scopes, options.token_lifetime, options.reuse)
        self.oauth.register(Client(options.client_id, options.client_secret, options.redirect_uris))
        self.oauth.grant(options.client_id, options.scopes, refresh_token=options.refresh_token)
        self._router = Router(self.catalog.operations.values())
        self._oauth = {
            self.catalog.service.authorize_path: ("oauth_authorize", self.oauth.authorize),
            self.catalog.service.token_path: ("oauth_token", self.oauth.token),
            self.catalog.service.revoke_path: ("oauth_revoke_token", self.oauth.revoke),
        }

    def handle(self, request: Request) -> Response:
        """Answer a request; everything is journaled but the admin interface."""
        with self.lock:
            now = self.clock.now()
            if request.path.startswith(ADMIN):
                response = self._safely(lambda: admin.handle(self, request))
            else:
                response = self._handle(request, now)
            response.headers.setdefault("date", http_date(now + timedelta(seconds=response.date_offset)))
            return response

    def _handle(self, request: Request, now: datetime) -> Response:
        headers = {name: request.headers[name] for name in SEEN_HEADERS if name in request.headers}
        entry = self.journal.open(now, request.method, request.path, dict(request.query), headers)
        response = self._safely(lambda: self._serve(request, entry))
        entry.status = response.status
        return response

    def _safely(self, work: Any) -> Response:
        try:
            response: Response = work()
        except Refusal as refusal:
            return refusal.response
        return response

    def _serve(self, request: Request, entry: Entry) -> Response:
        if request.path in self._oauth:
            entry.operation_id, serve = self._oauth[request.path]
            fault = self.faults.strike(entry.operation_id, "", request.method)
            return self._with_fault(request, entry, fault, lambda: serve(request))
        if request.path.startswith(PREFIX):
            return self.files.serve(request)
        operation, path = self._router.find(request.method, request.path)
        entry.operation_id, entry.resource = operation.id, operation.resource
        fault = self.faults.strike(operation.id, operation.resource, request.method)
        if fault is not None and fault.kind == "expire_token":
            self.oauth.expire_access_tokens()
        return self._with_fault(request, entry, fault, lambda: self._operate(request, entry, operation, path))

    def _with_fault(self, request: Request, entry: Entry, fault: Fault | None, work: Any) -> Response:
        if fault is None:
            response: Response = work()
            return response
        entry.fault = fault.kind
        if fault.replaces:
            return fault.answer()
        query = "&".join(f"{name}={value}" for name, value in request.query)
        return fault.spoil(self._safely(work), f"{request.origin}{request.path}?{query}")

    def _operate(self, request: Request, entry: Entry, operation: Operation, path: dict[str, str]) -> Response:
        grant = self.oauth.authenticate(request)
        entry.client_id = grant.client_id
        refused = self.quota.spend(grant.client_id, self.clock.now())
        if refused is not None:
            return refused
        if not allowed(grant, operation):
            return self._not_allowed(operation)
        resource = self.catalog.resource(operation.resource)
        call = Call(request, operation, resource, path, self.practice, self.bulk, self.files, grant, entry)
        for table in self.practice.unsettled_tables():
            table.settle(self.clock.now().timestamp())
        work = (
            actions.BY_OPERATION.get(operation.id)
            or reports.BY_OPERATION.get(operation.id)
            or availability.BY_OPERATION.get(operation.id)
            or operations.BY_KIND.get(operation.kind)
        )
        if work is None:
            raise detail(501, f"The sandbox does not model the operation {operation.id}")
        before, self.practice.author = self.practice.author, Author(page=operation.path, address="127.0.0.1")
        try:
            return work(call)
        finally:
            self.practice.author = before

    def _not_allowed(self, operation: Operation) -> Response:
        if self.options.missing_scope == "empty" and operation.response.shape == "page":
            key = envelope_key(self.options, operation)
            return answer(200, {"previous": None, key: [], "next": None})
        raise detail(403, "You do not have permission to perform this action.")


def http_date(moment: datetime) -> str:
    """Return an aware moment as the header Date spells it."""
    return format_datetime(moment.astimezone(UTC).replace(microsecond=0), usegmt=True)


def allowed(grant: Grant, operation: Operation) -> bool:
    """Tell whether a grant covers an operation: reading asks for any of its scopes, writing for one that writes."""
    return operation.permitted_by(grant.scopes)
