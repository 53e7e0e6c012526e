"""The shape of the catalogue: what a resource, an operation and a field of a record are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from airflow_provider_drchrono.catalog.names import did_you_mean

HttpMethod = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
OperationKind = Literal[
    "list", "read", "create", "update", "replace", "delete", "bulk_start", "bulk_result", "report", "action"
]
Place = Literal["path", "query"]
Role = Literal["id", "filter", "option", "page", "leftover"]
JsonType = Literal["string", "integer", "number", "boolean", "object", "array", "any"]
ParameterType = JsonType | Literal["file"]
Format = Literal["date", "date-time", "time", "decimal", "file", "base64"]
Encoding = Literal["json", "multipart", "none"]
Shape = Literal["page", "record", "bulk_ticket", "bulk_result", "empty", "any"]

PUBLIC_FILTERS = frozenset(
    {"action", "code", "code_type", "cvx_code", "payer_id", "status", "type"}
    | {"date", "date_range", "posted_date", "service_date"}
    | {"due_at_date", "due_at_range", "due_at_since", "occurred_since", "received_since"}
)
"""Filters by text that say nothing about a person."""

T = TypeVar("T")


class UnknownNameError(LookupError):
    """A name that the catalogue does not hold; the message offers the nearest ones it does."""


def lookup(kind: str, name: str, known: Mapping[str, T]) -> T:
    """Return ``known[name]`` or raise :class:`UnknownNameError` with the nearest valid names."""
    try:
        return known[name]
    except KeyError:
        raise UnknownNameError(f"The DrChrono API has no {kind} {name!r}{did_you_mean(name, known, most=3)}") from None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a fact that the vendor's contract does not state is held to be true."""

    source: Literal["documented", "observed", "inferred", "decided"]
    why: str


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record, or of an object inside one.

    ``type`` is the JSON type and ``format`` narrows it. ``refers_to`` names the resource whose id the field holds.
    ``verbose`` fields come only in answers to requests with ``verbose=true``. ``record`` names the record that an
    object is. The element of an array is ``items``, whose ``name`` is empty. ``because`` maps an attribute that the
    vendor's contract does not state to the key of its :class:`Reason`.
    """

    name: str
    type: JsonType
    format: Format | None = None
    required: bool = False
    read_only: bool = False
    nullable: bool = False
    verbose: bool = False
    enum: tuple[str | int, ...] = ()
    refers_to: str | None = None
    record: str | None = None
    fields: tuple[Field, ...] = ()
    items: Field | None = None
    because: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordSchema:
    """What the API returns for one thing, and takes when it is written."""

    name: str
    about: str
    fields: Mapping[str, Field]

    @property
    def writable_fields(self) -> tuple[Field, ...]:
        """The fields that a write may send."""
        return tuple(each for each in self.fields.values() if not each.read_only)

    @property
    def verbose_fields(self) -> tuple[str, ...]:
        """The names of the fields that come only with ``verbose=true``."""
        return tuple(each.name for each in self.fields.values() if each.verbose)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A path or query parameter.

    ``role`` says what it is for: the ``id`` of the thing, a ``filter`` of a list, an ``option`` that changes what the
    operation does, ``page`` for the mechanics of paging, or ``leftover`` for filters that the contract repeats on
    operations of a single record, where they have no effect.
    """

    name: str
    place: Place
    type: ParameterType
    role: Role
    required: bool = False
    items: JsonType | None = None
    minimum: int | None = None
    maximum: int | None = None
    because: str | None = None

    @property
    def public(self) -> bool:
        """Whether a value may be stored and shown: an id, a switch, or text that says nothing about a person."""
        return self.type in ("integer", "boolean") or self.name in PUBLIC_FILTERS


@dataclass(frozen=True, slots=True)
class RequestBody:
    """The body of a write: the writable fields of ``record``, or ``fields`` of its own."""

    encoding: Encoding
    record: str | None = None
    fields: tuple[Field, ...] = ()
    because: str | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """What a success answers. ``rows`` is the key that the contract gives for the records of a page."""

    status: int
    shape: Shape
    record: str | None = None
    rows: str | None = None
    because: str | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """The entry of the list of named actions that an operation answers to."""

    number: int
    category: str
    title: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path."""

    id: str
    resource: str
    method: HttpMethod
    path: str
    kind: OperationKind
    summary: str
    scopes: tuple[str, ...]
    permissions: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    response: Response
    body: RequestBody | None = None
    action: Action | None = None

    @property
    def sufficient_scopes(self) -> tuple[str, ...]:
        """The scopes of which any one is enough; none where it needs none.

        Writing takes a scope that writes, even where the contract also names the one that reads.
        """
        writing = tuple(scope for scope in self.scopes if scope.endswith(":write"))
        return writing if self.method != "GET" and writing else self.scopes

    def parameter(self, name: str) -> Parameter:
        """Return the parameter of this name, or raise :class:`UnknownNameError` with the nearest ones."""
        return lookup(f"parameter of {self.id}", name, {each.name: each for each in self.parameters})


@dataclass(frozen=True, slots=True)
class Paging:
    """How a list is paged and how many records its pages hold at most."""

    kind: Literal["cursor", "none"]
    size: int = 250
    verbose_size: int = 50

    def largest(self, *, verbose: bool) -> int:
        """The largest page worth asking for."""
        return self.verbose_size if verbose else self.size


@dataclass(frozen=True, slots=True)
class Incremental:
    """How new and updated records of a list are found.

    ``filter`` takes the time from which on changes are wanted, by the practice's wall clock and without a zone.
    ``cursor_field`` is the field that the filter is said to compare, and ``created_field`` the time of creation, where
    the records have them. ``tracks_updates`` says whether ``cursor_field`` moves with each change; where it does not,
    only the content tells that a record has changed. ``lookback`` is how many seconds before the last read the next
    one begins, since lists show changes late.
    """

    filter: str
    tracks_updates: bool
    lookback: float
    cursor_field: str | None = None
    created_field: str | None = None

    @property
    def goes_by_creation(self) -> bool:
        """Whether the list goes by the time of creation, so that a change shows only while that is not long ago."""
        return self.cursor_field is not None and self.cursor_field == self.created_field


@dataclass(frozen=True, slots=True)
class Bulk:
    """The pair of operations that make and fetch a background list, and the rows a page of it holds at most."""

    start: str
    result: str
    size: int
    since_format: Literal["date", "date-time"] = "date-time"


@dataclass(frozen=True, slots=True)
class Resource:
    """A thing the API serves under one first path segment, with everything that can be done to it.

    ``key`` names the fields that tell two records apart; it is empty where nothing does. ``requires_one_of`` names
    the filters of which a list needs at least one.
    """

    name: str
    domain: str
    noun: str
    plural: str
    about: str
    record: str | None
    key: tuple[str, ...]
    operations: Mapping[str, Operation]
    paging: Paging | None = None
    incremental: Incremental | None = None
    bulk: Bulk | None = None
    requires_one_of: tuple[str, ...] = ()
    because: Mapping[str, str] = field(default_factory=dict)

    @property
    def list_operation(self) -> Operation | None:
        """The operation that lists the resource, if there is one."""
        return next((each for each in self.operations.values() if each.kind == "list"), None)


@dataclass(frozen=True, slots=True)
class Trigger:
    """A "new or updated" trigger: the list that is polled for it."""

    number: int
    category: str
    title: str
    resource: str
    operation: str


@dataclass(frozen=True, slots=True)
class Service:
    """Where the vendor serves the API, and what it grants and allows.

    ``longest_date_range`` is in days: DrChrono answers a longer one with an empty list instead of an error.
    """

    host: str
    authorize_path: str
    token_path: str
    revoke_path: str
    api_version: str
    scopes: tuple[str, ...]
    calls_per_hour: int
    calls_per_second: int
    longest_date_range: int


@dataclass(frozen=True, slots=True)
class Catalog:
    """All facts, by name."""

    service: Service
    resources: Mapping[str, Resource]
    operations: Mapping[str, Operation]
    records: Mapping[str, RecordSchema]
    triggers: tuple[Trigger, ...]
    reasons: Mapping[str, Reason]

    def operation(self, operation_id: str) -> Operation:
        """Return an operation by id, or raise :class:`UnknownNameError` with the nearest ids."""
        return lookup("operation", operation_id, self.operations)

    def resource(self, name: str) -> Resource:
        """Return a resource by name, or raise :class:`UnknownNameError` with the nearest names."""
        return lookup("resource", name, self.resources)

    def record(self, name: str) -> RecordSchema:
        """Return a record by name, or raise :class:`UnknownNameError` with the nearest names."""
        return lookup("record", name, self.records)

    def record_of(self, resource: str) -> RecordSchema | None:
        """Return the record that a resource's list and item answers hold, if the contract names one."""
        name = self.resource(resource).record
        return self.record(name) if name else None

    def body_fields(self, operation: Operation) -> tuple[Field, ...]:
        """Return the fields that the body of an operation may hold; empty when it takes none."""
        if operation.body is None:
            return ()
        if operation.body.record:
            return self.record(operation.body.record).writable_fields
        return operation.body.fields
