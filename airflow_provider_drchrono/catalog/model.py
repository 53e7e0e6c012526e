"""The shape of the catalogue: what a resource, an operation and a field of a record are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

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
ParameterFormat = Literal["integer", "appointment-id", "date", "date-time", "date-range", "M/D/YYYY", "comma-separated"]
ConflictMeaning = Literal["overlap", "locked", "duplicate"]
Encoding = Literal["json", "multipart", "none"]
Change = Literal["any", "created", "updated"]
Shape = Literal["page", "record", "bulk_ticket", "bulk_result", "empty", "any"]

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

    The element of an array is ``items``, whose ``name`` is empty. ``because`` maps an attribute that the structure of
    the vendor's contract does not state to the key of its :class:`Reason`.

    :param about: one line on what a value means: its unit, form and code set, whose id it is, and what empty says.
        Empty for the elements of an array, which the array's own line covers.
    :param type: the JSON type; ``format`` narrows it.
    :param nullable: the field is null where the thing it says does not apply; a required one may then be sent as null.
    :param verbose: the field comes only in answers to requests with ``verbose=true``.
    :param enum: the allowed values; with ``open_enum`` just the standard ones, beside which there are others, such as
        a practice's own.
    :param meanings: what values of ``enum`` stand for, by the value as text.
    :param refers_to: the resource whose id the field holds; of an array, whose ids.
    :param record: the record that an object is.
    :param default: what the API stores where a create leaves the field out; None where it stores nothing or the
        contract does not say.
    :param minimum: the smallest allowed number; ``maximum`` is the largest, both are allowed themselves.
    :param nonzero: the number must not be 0.
    :param pattern: a regular expression that a text matches as a whole, unless it is empty.
    :param max_items: how many elements an array has at most.
    :param required_unless: another field of the record; a create in which that one has no value, or false, has to
        give this one a value.
    :param only_with: another field of the record, without which a write must not send this one.
    :param before: another field of the record, which holds a later time than this one.
    :param write_only: the field is sent, and answers never hold it.
    :param returned_if: what it takes for answers to hold the field, beside ``verbose``: the query parameter of this
        name, or that one record is read (``read``), or a feature that the vendor switches on for a practice
        (``feature``).
    :param json_text: the text is itself JSON.
    :param utc: the time is in UTC, and not on the practice's wall clock.
    :param advisory: names of the rules above that the vendor's words only advise or describe, so that a value which
        breaks them is sent with a warning and not refused.
    """

    name: str
    type: JsonType
    format: Format | None = None
    about: str = ""
    required: bool = False
    read_only: bool = False
    nullable: bool = False
    verbose: bool = False
    enum: tuple[str | int, ...] = ()
    open_enum: bool = False
    meanings: Mapping[str, str] = field(default_factory=dict)
    default: str | int | bool | None = None
    minimum: int | None = None
    maximum: int | None = None
    nonzero: bool = False
    pattern: str | None = None
    max_items: int | None = None
    required_unless: str | None = None
    only_with: str | None = None
    before: str | None = None
    write_only: bool = False
    returned_if: str | None = None
    json_text: bool = False
    utc: bool = False
    advisory: tuple[str, ...] = ()
    refers_to: str | None = None
    record: str | None = None
    fields: tuple[Field, ...] = ()
    items: Field | None = None
    because: Mapping[str, str] = field(default_factory=dict)

    @property
    def least(self) -> int | None:
        """The smallest number that can be sent: no id is smaller than 1."""
        return 1 if self.minimum is None and self.refers_to and self.type == "integer" else self.minimum


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
    operations of a single record, where they have no effect. ``about`` says in one line what it selects or does.

    ``format`` narrows what the text may hold: a whole number, an ``appointment-id`` (a whole number, or
    ``YYYY-MM-DD_<number>`` for one day of a recurring visit), a date or a time without a zone, two dates with a slash
    between them, a date in the American order, or values with commas between them. ``enum`` holds the allowed
    values, ``minimum`` and ``maximum`` the bounds of a number; of several values, those of each. ``longest_days`` is
    how many days a range may span. ``keywords`` are words that are taken besides. ``refers_to`` names the resource
    whose id it takes. ``because`` maps an attribute that the vendor's contract does not state in its structure to the
    key of its :class:`Reason`, and ``name`` to that of a parameter which the contract leaves out.

    :param day_of: the field of the record by whose day the filter selects.
    :param public: whether a value may be stored and shown: an id, a switch, or text that says nothing about a person.
    """

    name: str
    place: Place
    type: ParameterType
    role: Role
    about: str
    required: bool = False
    items: JsonType | None = None
    format: ParameterFormat | None = None
    enum: tuple[str | int, ...] = ()
    keywords: tuple[str, ...] = ()
    refers_to: str | None = None
    minimum: int | None = None
    maximum: int | None = None
    longest_days: int | None = None
    day_of: str | None = None
    public: bool = False
    because: Mapping[str, str] = field(default_factory=dict)

    @property
    def least(self) -> int | None:
        """The smallest number that can be sent: no id is smaller than 1."""
        return 1 if self.minimum is None and (self.refers_to or self.role == "id") else self.minimum


@dataclass(frozen=True, slots=True)
class RequestBody:
    """The body of a write: the writable fields of ``record``, or ``fields`` of its own.

    A ``multipart`` body is JSON where it holds no file, unless ``multipart_only`` says that a form is always wanted.
    """

    encoding: Encoding
    record: str | None = None
    fields: tuple[Field, ...] = ()
    multipart_only: bool = False
    because: str | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """What a success answers. ``rows`` is the key that the contract gives for the records of a page.

    ``other_statuses`` are further statuses of a success; an answer of 204 is empty whatever ``shape`` says.
    """

    status: int
    shape: Shape
    record: str | None = None
    rows: str | None = None
    media_type: str = "application/json"
    other_statuses: tuple[int, ...] = ()
    because: str | None = None


@dataclass(frozen=True, slots=True)
class Conflict:
    """What the status 409 of a write means.

    ``remedy`` is the field of the body, or the query parameter, that lets the write through when it is true.
    ``feature_flag`` marks a check that the vendor has switched on for some practices only.
    """

    meaning: ConflictMeaning
    remedy: str | None = None
    place: Literal["body", "query"] | None = None
    feature_flag: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """The entry of the list of named actions that an operation answers to."""

    number: int
    category: str
    title: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path.

    ``order`` is the field by which the rows of a list come unless something else is asked for. A ``create`` marked
    ``create_or_update`` changes the record if it is there. ``soft_delete`` is the field that a ``delete`` sets to true
    where it leaves the record in place. ``because`` maps an attribute that the vendor's contract does not state in
    its structure to the key of its :class:`Reason`.

    :param duplicate_fields: the fields of a ``create`` by which the API itself recognises a record that is there
        already, and refuses to make another.
    :param named_scopes: the scopes that the contract names. For a write some of them do not suffice, so everything
        else goes by :attr:`scopes`.
    """

    id: str
    resource: str
    method: HttpMethod
    path: str
    kind: OperationKind
    summary: str
    named_scopes: tuple[str, ...]
    permissions: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    response: Response
    body: RequestBody | None = None
    action: Action | None = None
    conflict: Conflict | None = None
    create_or_update: bool = False
    duplicate_fields: tuple[str, ...] = ()
    soft_delete: str | None = None
    order: str | None = None
    beta: bool = False
    because: Mapping[str, str] = field(default_factory=dict)

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes of which any one is enough; none where it needs none.

        Writing takes a scope that writes, even where the contract also names the one that reads.
        """
        writing = tuple(scope for scope in self.named_scopes if scope.endswith(":write"))
        return writing if self.method != "GET" and writing else self.named_scopes

    @property
    def filters(self) -> tuple[Parameter, ...]:
        """The parameters that select from a list or report."""
        return tuple(each for each in self.parameters if each.role == "filter")

    def takes(self, name: str) -> bool:
        """Tell whether there is a parameter of this name, such as ``verbose``."""
        return any(each.name == name for each in self.parameters)

    def permitted_by(self, granted: Collection[str]) -> bool:
        """Tell whether a token with these scopes may make the call."""
        return not self.scopes or not set(self.scopes).isdisjoint(granted)

    def parameter(self, name: str) -> Parameter:
        """Return the parameter of this name, or raise :class:`UnknownNameError` with the nearest ones."""
        return lookup(f"parameter of {self.id}", name, {each.name: each for each in self.parameters})


@dataclass(frozen=True, slots=True)
class Paging:
    """How a list is paged and how many records its pages hold at most.

    Where sources disagree, ``size`` is the most that one of them allows, and ``reported_size`` what another says.
    """

    kind: Literal["cursor", "none"]
    size: int = 250
    verbose_size: int = 50
    reported_size: int | None = None

    def largest(self, *, verbose: bool) -> int:
        """The largest page worth asking for."""
        return self.verbose_size if verbose else self.size

    def expected(self, *, verbose: bool) -> int:
        """The page to reckon with: where sources disagree, the smaller one."""
        return self.verbose_size if verbose else self.reported_size or self.size


@dataclass(frozen=True, slots=True)
class Incremental:
    """How new and updated records of a list are found.

    ``filter`` takes the time from which on changes are wanted, by the practice's wall clock and without a zone.
    ``cursor_field`` is the field that the filter is said to compare, and ``created_field`` the time of creation, where
    the records have them. ``tracks_updates`` says whether ``cursor_field`` moves with each change; where it does not,
    only the content tells that a record has changed. ``lookback`` is how many seconds before the last read the next
    one begins, since lists show changes late. ``timezone`` names the zone of the list's change times where it is not
    the practice's.
    """

    filter: str
    tracks_updates: bool
    lookback: float
    cursor_field: str | None = None
    created_field: str | None = None
    timezone: str | None = None

    @property
    def goes_by_creation(self) -> bool:
        """Whether the list goes by the time of creation, so that a change shows only while that is not long ago."""
        return self.cursor_field is not None and self.cursor_field == self.created_field


@dataclass(frozen=True, slots=True)
class Deletions:
    """How a list tells that records were deleted. One that says nothing of it can only be read whole, and compared.

    :param flag: the field of the record that is true once it is deleted.
    :param shown_by: the filter that must be true for the list to show records with that flag; None: it shows them.
    :param log: the resource that logs deletions, with the ids of the records and the times; its list goes by time.
    :param part_of: the field with the id of the record of this list that a record is a part of: when that one changes,
        this one may be gone, and nothing tells of it.
    """

    flag: str | None = None
    shown_by: str | None = None
    log: str | None = None
    part_of: str | None = None

    @property
    def come_as_changes(self) -> bool:
        """Whether a read of what has changed tells of every deletion, or of what has to be looked up."""
        return self.shown_by is not None or self.log is not None


@dataclass(frozen=True, slots=True)
class Bulk:
    """The pair of operations that make and fetch a background list, and the rows a page of it holds at most.

    ``lifetime`` is how many seconds a finished page can be fetched. A list whose ``status`` is one of
    ``failed_states`` will never be finished.
    """

    start: str
    result: str
    size: int
    lifetime: int
    failed_states: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resource:
    """A thing the API serves under one first path segment, with everything that can be done to it.

    ``key`` names the fields that tell two records apart; it is empty where nothing does. ``requires_one_of`` names
    the filters of which a list needs at least one, ``may_require_one_of`` those of a list that is reported to be
    refused at times without one. ``practice_access`` names the sharing switches that must be on for a user to see the
    records of other doctors of the practice; empty: no switch is needed; None: the contract does not say.
    ``own_application_only`` marks records that only the API application which created them can see.

    :param deletions: how the list tells of deletions; None where it does not.
    :param page: path of the web page of one record, below the vendor's host, with ``{id}`` for the record's id.
    :param referred_to_by_many: a large part of the other records refers to one of these, so that its id selects many.
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
    may_require_one_of: tuple[str, ...] = ()
    practice_access: tuple[str, ...] | None = None
    own_application_only: bool = False
    deletions: Deletions | None = None
    page: str | None = None
    referred_to_by_many: bool = False
    because: Mapping[str, str] = field(default_factory=dict)

    @property
    def list_operation(self) -> Operation | None:
        """The operation that lists the resource, if there is one."""
        return next((each for each in self.operations.values() if each.kind == "list"), None)

    @property
    def changes(self) -> tuple[Change, ...]:
        """The changes of the list that can be asked for; empty where nothing tells what changed.

        Creations show only where records have a key and say when they began.
        """
        if self.incremental is None or self.list_operation is None:
            return ()
        return ("any", "created", "updated") if self.incremental.created_field and self.key else ("any",)

    @property
    def incremental_filters(self) -> tuple[Parameter, ...]:
        """The filters of the list beside those that take the time from which on changes are wanted."""
        if self.incremental is None or self.list_operation is None:
            return ()
        taken = (self.incremental.filter, "since")
        return tuple(each for each in self.list_operation.filters if each.name not in taken)


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
    """Where the vendor serves the API, and what it grants and allows."""

    host: str
    authorize_path: str
    token_path: str
    revoke_path: str
    api_version: str
    scopes: tuple[str, ...]
    calls_per_hour: int
    calls_per_second: int


@dataclass(frozen=True, slots=True)
class ResourceEntry:
    """What is known of an operation's resource without reading the file of the resource.

    :param name: the resource.
    :param page: as :attr:`Resource.page`.
    """

    name: str
    domain: str
    page: str | None


class Sources(Protocol):
    """Where a catalogue takes from what is seldom asked for."""

    @property
    def service(self) -> Service:
        """Where the vendor serves the API."""

    @property
    def triggers(self) -> tuple[Trigger, ...]:
        """The "new or updated" triggers."""

    @property
    def reasons(self) -> Mapping[str, Reason]:
        """Why facts are held to be true that the contract does not state."""

    @property
    def corrected(self) -> frozenset[tuple[str, ...]]:
        """What corrections overwrite: ``operation``, id and fact; or ``field``, record, name and fact."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """All facts, by name. Each is read and built when it is first asked for.

    :param entries: what is known of the resource of each operation without reading the resource, by operation.
    """

    resources: Mapping[str, Resource]
    operations: Mapping[str, Operation]
    records: Mapping[str, RecordSchema]
    entries: Mapping[str, ResourceEntry]
    sources: Sources

    @property
    def service(self) -> Service:
        """Where the vendor serves the API, and what it grants and allows."""
        return self.sources.service

    @property
    def triggers(self) -> tuple[Trigger, ...]:
        """The "new or updated" triggers."""
        return self.sources.triggers

    @property
    def reasons(self) -> Mapping[str, Reason]:
        """Why facts are held to be true that the contract does not state, by key."""
        return self.sources.reasons

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

    def served_in_bulk(self, resource: Resource) -> str | None:
        """Return the resource whose records another one serves in bulk: both hold the same."""
        starts = {each.bulk.start: each.name for each in self.resources.values() if each.bulk}
        return next((starts[name] for name in resource.operations if name in starts), None)

    @property
    def tables(self) -> tuple[Resource, ...]:
        """The resources that are worth a table: they can be listed, and no other list holds the same records."""
        listed = (each for each in self.resources.values() if each.list_operation and each.record)
        return tuple(each for each in listed if self.served_in_bulk(each) is None)

    def body_fields(self, operation: Operation) -> tuple[Field, ...]:
        """Return the fields that the body of an operation may hold; empty when it takes none."""
        if operation.body is None:
            return ()
        if operation.body.record:
            return self.record(operation.body.record).writable_fields
        return operation.body.fields

    def data_fields(self, operation: Operation) -> tuple[Field, ...]:
        """Return the fields of the body that a user gives; an id that the query takes is given there only."""
        in_query = {each.name for each in operation.parameters if each.place == "query" and each.role == "option"}
        return tuple(each for each in self.body_fields(operation) if each.name != "id" or "id" not in in_query)

    def required_fields(self, operation: Operation) -> tuple[str, ...]:
        """Return the names of the fields that a user has to give; an update takes any of them."""
        if operation.kind == "update":
            return ()
        return tuple(each.name for each in self.data_fields(operation) if each.required)

    def can_do_without_body(self, operation: Operation) -> bool:
        """Tell whether a create says in its query all that it has to say, so that a user need not give any field."""
        in_query = any(each.place == "query" and each.required for each in operation.parameters)
        return operation.kind == "create" and in_query and not self.required_fields(operation)

    def read_only_fields(self, operation: Operation) -> tuple[str, ...]:
        """Return the names of the fields of the record that a write cannot set."""
        if operation.body is None or operation.body.record is None:
            return ()
        writable = {each.name for each in self.data_fields(operation)}
        fields = self.record(operation.body.record).fields.values()
        return tuple(each.name for each in fields if each.read_only and each.name not in writable)
