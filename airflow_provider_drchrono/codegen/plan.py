"""Turns the catalogue into what is to be generated: plain dataclasses that a template only has to spell out.

Whatever needs a decision is decided here or in ``naming``; the templates hold none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_provider_drchrono.catalog import Catalog, Field, Operation, Parameter, RecordSchema, Resource
from airflow_provider_drchrono.codegen import naming
from airflow_provider_drchrono.codegen.bases import BASES, Option, options_of
from airflow_provider_drchrono.codegen.typing_of import (
    TypedDictPlan,
    annotation_of,
    typed_dicts_of,
    with_shared_fields,
    without_doubles,
)

PACKAGE = "airflow_provider_drchrono.operators"

ID = "Whole"
OF_THE_REQUEST = frozenset({"data", "filters", "uuid"})
# Options that only some operations of a kind understand: the query parameter that makes them work.
NEEDS_PARAMETER = frozenset({"order_by", "verbose"})

ABOUT_ARGUMENTS = {
    "allow_duplicates": (
        "create the patient even if DrChrono already holds one with the same first and last name, date of birth "
        "and gender, which it otherwise refuses (409)."
    ),
    "payer_type": "the list of payers to look in, as DrChrono names it.",
    "template_id": "id of the clinical note template.",
    "use_fee_schedule_defaults": "let DrChrono fill in from the fee schedule what ``data`` leaves out.",
}
ABOUT_IDS = {
    "appointment_id": (
        "id of the appointment; one occurrence of a recurring appointment has an id such as ``2026-01-31_123``."
    ),
    "user_id": "id of the user, or ``current`` for the user that the connection's token belongs to.",
}


@dataclass(frozen=True, slots=True)
class Argument(Option):
    """An argument that the constructor of an operator states itself.

    ``assigned`` arguments are kept by the generated class; the others are handed to the base class.
    """

    assigned: bool = False


@dataclass(frozen=True, slots=True)
class OperatorPlan:
    """Everything that is written about one operation.

    :param own: the arguments that the constructor states itself.
    :param options: what the base class takes besides, as far as it has an effect here.
    :param record: what a success answers with, or holds many of.
    :param update: of a replace, the class that changes the given fields only.
    """

    operation: Operation
    resource: Resource
    category: str
    class_name: str
    base: str
    own: tuple[Argument, ...]
    options: tuple[Option, ...]
    path_arguments: Mapping[str, str]
    query_arguments: Mapping[str, str]
    data_fields: tuple[Field, ...] = ()
    required_fields: tuple[str, ...] = ()
    read_only_fields: tuple[str, ...] = ()
    record: RecordSchema | None = None
    update: str | None = None
    filters: tuple[Parameter, ...] = ()
    one_of_filters: tuple[str, ...] = ()

    @property
    def dotted_path(self) -> str:
        """The import path of the operator."""
        return f"{PACKAGE}.{self.resource.domain}.{self.class_name}"

    @property
    def arguments(self) -> tuple[Option, ...]:
        """All arguments but Airflow's own."""
        return (*self.own, *self.options)

    @property
    def options_type(self) -> str:
        """The name of the TypedDict of the options and Airflow's own arguments."""
        verbose = any(each.name == "verbose" for each in self.options)
        return naming.options_type(self.base, verbose=verbose, body=bool(self.data_fields))

    @property
    def required_filters(self) -> tuple[str, ...]:
        """The filters without which DrChrono refuses the call."""
        return tuple(each.name for each in self.filters if each.required)

    @property
    def attributes(self) -> dict[str, Any]:
        """The class attributes that differ from the base class's, in the order in which they are written."""
        everything = {
            "path_arguments": dict(self.path_arguments),
            "query_arguments": dict(self.query_arguments),
        }
        return {name: value for name, value in everything.items() if value}


@dataclass(frozen=True, slots=True)
class DomainPlan:
    """One operator module, its types and its reference page."""

    name: str
    title: str
    operators: tuple[OperatorPlan, ...]
    types: tuple[TypedDictPlan, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is generated."""

    domains: tuple[DomainPlan, ...] = field(default_factory=tuple)

    @property
    def operators(self) -> tuple[OperatorPlan, ...]:
        """All operators, by domain and within a domain in the order of their resources and operations."""
        return tuple(each for domain in self.domains for each in domain.operators)


def plan(catalog: Catalog) -> Plan:
    """Plan all domains of the catalogue, sorted by name.

    :raises NameClashError: two operators, or two types of one domain, would have one name.
    """
    categories = _categories(catalog)
    domains = []
    for name in sorted({resource.domain for resource in catalog.resources.values()}):
        operators: list[OperatorPlan] = []
        types: list[TypedDictPlan] = []
        for resource in sorted(catalog.resources.values(), key=lambda each: each.name):
            if resource.domain == name:
                for operation in _to_plan(catalog, resource):
                    planned = _operator(catalog, resource, operation, categories[name])
                    operators.append(planned)
                    types.extend(_types(catalog, planned))
        domains.append(DomainPlan(name, naming.DOMAIN_TITLES[name], tuple(operators), _unique(types)))
    planned_all = Plan(tuple(domains))
    naming.ensure_unique(each.class_name for each in planned_all.operators)
    return planned_all


def _to_plan(catalog: Catalog, resource: Resource) -> Iterable[Operation]:
    """Return a resource's operations; one that lists and fetches a bulk list too comes a second time, as fetching."""
    results = {each.bulk.result for each in catalog.resources.values() if each.bulk}
    for operation in resource.operations.values():
        yield operation
        if operation.id in results and operation.kind != "bulk_result":
            uuid = replace(operation.parameter("uuid"), required=True)
            summary = f"Fetch the state and rows of a background list of {_base(catalog, operation).plural}."
            yield replace(operation, kind="bulk_result", parameters=(uuid,), summary=summary)


def _base(catalog: Catalog, result: Operation) -> Resource:
    return next(each for each in catalog.resources.values() if each.bulk and each.bulk.result == result.id)


def index_rows(planned: Plan) -> list[dict[str, Any]]:
    """Return the rows of the index: one for each operation, of its first operator, with each thing a user may give."""
    first: dict[str, OperatorPlan] = {}
    for each in planned.operators:
        first.setdefault(each.operation.id, each)
    return [
        {
            "operation_id": operation_id,
            "method": each.operation.method,
            "path": each.operation.path,
            "operator": each.dotted_path,
            "action": each.operation.action.title if each.operation.action else None,
            "category": each.category,
            "parameters": list(_index_parameters(each)),
        }
        for operation_id, each in first.items()
    ]


def _index_parameters(planned: OperatorPlan) -> Iterable[dict[str, Any]]:
    for argument, name in planned.path_arguments.items():
        yield _index_parameter(argument, name, "path", required=True)
    for argument, name in planned.query_arguments.items():
        yield _index_parameter(argument, name, "query", required=planned.operation.parameter(name).required)
    for each in planned.filters:
        yield _index_parameter("filters", each.name, "query", required=each.required)
    for option in ("uuid", "verbose", "order_by"):
        if any(each.name == option for each in planned.arguments):
            required = planned.operation.parameter(option).required
            yield _index_parameter(option, option, "query", required=required)
    for body_field in planned.data_fields:
        place = "file" if body_field.format == "file" else "body"
        required = body_field.name in planned.required_fields
        yield _index_parameter("data", body_field.name, place, required=required)


def _index_parameter(argument: str, name: str, place: str, *, required: bool) -> dict[str, Any]:
    return {"argument": argument, "name": name, "place": place, "required": required}


def _categories(catalog: Catalog) -> dict[str, str]:
    """Map each domain to the category of the named actions that its other operations are listed under."""
    categories = dict(naming.DOMAIN_TITLES)
    for resource in catalog.resources.values():
        for operation in resource.operations.values():
            if operation.action:
                categories[resource.domain] = operation.action.category
    return categories


def _operator(catalog: Catalog, resource: Resource, operation: Operation, category: str) -> OperatorPlan:
    stem = naming.operation_stem(operation, resource)
    queries = _explicit_queries(catalog, operation)
    data_fields = catalog.data_fields(operation)
    filters = tuple(each for each in operation.parameters if each.role == "filter")
    path_ids = {naming.id_argument(resource): each.name for each in operation.parameters if each.place == "path"}
    query_arguments = {naming.query_argument(each.name, resource): each.name for each in queries}
    one_of = resource.requires_one_of if operation.kind in ("list", "bulk_start") else ()
    ids = [Argument(name, ID, None, _about_id(name, resource), assigned=True) for name in path_ids]
    explicit = [_query_argument(each, resource) for each in queries]
    own = (
        *ids,
        *(each for each in explicit if each.default is None),
        *_data_arguments(operation, resource, stem, data_fields, optional=catalog.can_do_without_body(operation)),
        *_filter_arguments(operation, resource, stem, filters, one_of),
        *_uuid_arguments(operation),
        *(each for each in explicit if each.default is not None),
    )
    updates = [each for each in resource.operations.values() if each.kind == "update"]
    return OperatorPlan(
        operation=operation,
        resource=resource,
        category=operation.action.category if operation.action else category,
        class_name=naming.class_name(stem),
        base=BASES[operation.kind],
        own=own,
        options=_options(operation, data_fields),
        path_arguments=path_ids,
        query_arguments=query_arguments,
        data_fields=data_fields,
        required_fields=catalog.required_fields(operation),
        read_only_fields=catalog.read_only_fields(operation),
        record=_record(catalog, operation),
        update=naming.class_name(naming.operation_stem(updates[0], resource)) if updates else None,
        filters=filters,
        one_of_filters=tuple(one_of),
    )


def _explicit_queries(catalog: Catalog, operation: Operation) -> tuple[Parameter, ...]:
    """The query parameters with an argument of their own; files belong to the body, whatever the contract says."""
    shared = {each.name for each in _options(operation, ())}
    files = {each.name for each in catalog.body_fields(operation) if each.format == "file"}
    return tuple(
        each
        for each in operation.parameters
        if each.place == "query" and each.role == "option" and each.name not in files and each.name not in shared
    )


def _query_argument(parameter: Parameter, resource: Resource) -> Argument:
    name = naming.query_argument(parameter.name, resource)
    return Argument(
        name,
        annotation_of(parameter) if parameter.required else f"{annotation_of(parameter)} | None",
        None if parameter.required else "None",
        ABOUT_ARGUMENTS.get(name) or _about_id(name, resource),
        assigned=True,
    )


def _about_id(argument: str, resource: Resource) -> str:
    if argument in ABOUT_IDS:
        return ABOUT_IDS[argument]
    noun = argument.removesuffix("_id").replace("_", " ")
    return f"id of the {resource.noun if naming.id_argument(resource) == argument else noun}."


def _data_arguments(
    operation: Operation, resource: Resource, stem: str, data_fields: Sequence[Field], *, optional: bool
) -> Iterable[Argument]:
    if not data_fields:
        return
    name = naming.data_type(operation, resource, stem)
    if optional:
        about = f"more fields of the {resource.noun}, where there is more to say than the other arguments do."
        yield Argument("data", f"Given[{name}] | None", "None", about)
        return
    if operation.kind == "create":
        about = f"the fields of the {resource.noun}, or a list of {resource.plural}, which one call creates together."
        yield Argument("data", f"OneOrMany[{name}]", None, about)
        return
    about = {
        "update": "the fields to change; all others stay as they are.",
        "replace": f"all fields of the {resource.noun}; what is left out is lost.",
    }.get(operation.kind, "the fields to send.")
    yield Argument("data", f"Given[{name}]", None, about)


def _filter_arguments(
    operation: Operation, resource: Resource, stem: str, filters: Sequence[Parameter], one_of: Sequence[str]
) -> Iterable[Argument]:
    if not filters:
        return
    annotation = f"Given[{naming.filters_type(operation, resource, stem)}]"
    if one_of:
        about = f"what to select; DrChrono insists on one of {_listed(one_of)}."
        yield Argument("filters", annotation, None, about)
    elif required := [each.name for each in filters if each.required]:
        yield Argument("filters", annotation, None, f"what to select; DrChrono insists on {_listed(required)}.")
    else:
        yield Argument("filters", f"{annotation} | None", "None", "what to select; None selects all.")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"``{name}``" for name in names)


def _uuid_arguments(operation: Operation) -> Iterable[Argument]:
    if operation.kind == "bulk_result":
        yield Argument("uuid", "str | XComArg", None, "the uuid that the operator which started the list returned.")


def _record(catalog: Catalog, operation: Operation) -> RecordSchema | None:
    """Return the record that an operation answers with, one or many, once the answer is complete."""
    if operation.kind == "bulk_start":
        return catalog.record_of(operation.resource)
    return catalog.record(operation.response.record) if operation.response.record else None


def _options(operation: Operation, data_fields: Sequence[Field]) -> tuple[Option, ...]:
    """Return the arguments of the base class that have an effect for an operation."""
    return tuple(
        each
        for each in options_of(BASES[operation.kind])
        if each.name not in OF_THE_REQUEST
        and (each.name not in NEEDS_PARAMETER or operation.takes(each.name))
        and (each.name != "extra_fields" or data_fields)
    )


def _types(catalog: Catalog, planned: OperatorPlan) -> Iterable[TypedDictPlan]:
    operation, resource = planned.operation, planned.resource
    stem = naming.operation_stem(operation, resource)
    if planned.data_fields:
        name = naming.data_type(operation, resource, stem)
        about = (
            f"The fields of {_a(resource.noun)} that an update may change."
            if operation.kind == "update"
            else f"What ``{operation.id}`` sends."
            if operation.kind == "action"
            else f"The fields of {_a(resource.noun)} that may be written."
        )
        yield from typed_dicts_of(catalog, name, about, planned.data_fields, planned.required_fields)
    if planned.filters:
        name = naming.filters_type(operation, resource, stem)
        yield TypedDictPlan.of_filters(name, f"The filters of ``{operation.id}``.", planned.filters)


def _a(noun: str) -> str:
    return f"{'an' if noun[0].lower() in 'aeio' else 'a'} {noun}"


def _unique(types: Iterable[TypedDictPlan]) -> tuple[TypedDictPlan, ...]:
    """Keep one of each; create and replace share a type, and so do the objects inside data and update."""
    seen: dict[str, TypedDictPlan] = {}
    for each in types:
        if seen.setdefault(each.name, each) != each:
            raise naming.NameClashError(f"Two different types would be called {each.name}")
    return without_doubles(sorted(with_shared_fields(seen.values()), key=lambda each: each.depth, reverse=True))
