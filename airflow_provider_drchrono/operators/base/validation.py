"""Judges the values of a body before anything is sent, by pydantic models built from the catalogue.

The models are built when an operation is first used in a process, so parsing a DAG costs nothing of it. Errors name
the place, as in ``data[2]['first_name']``, and never hold a value.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, NotRequired, Required

from airflow_provider_drchrono.catalog import Field, Operation, load
from airflow_provider_drchrono.catalog.names import did_you_mean
from airflow_provider_drchrono.client import values
from airflow_provider_drchrono.client.filters import convert
from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.operators.base.body_names import body_names
from airflow_provider_drchrono.operators.base.field_rules import breaches, complete
from airflow_provider_drchrono.operators.base.file_arguments import FileSource, file_source

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

log = logging.getLogger(__name__)

MOST_PROBLEMS = 10
"""One error names so many problems, and counts the others."""

Check = Callable[[object, str | None], Any]
"""From a value and the practice's time zone to what is sent."""

PLAIN_CHECKS: Mapping[str, Check] = {
    "string": lambda value, _: values.to_text(value),
    "integer": lambda value, _: values.to_integer(value),
    "number": lambda value, _: values.to_decimal(value),
    "boolean": lambda value, _: values.to_boolean(value),
    "any": lambda value, _: values.to_json(value),
    "object": lambda value, _: values.to_json(values.to_mapping(value)),
}
FORMAT_CHECKS: Mapping[str, Check] = {
    "date": values.to_date,
    "date-time": values.to_datetime,
    "time": lambda value, _: values.to_time(value),
    "decimal": lambda value, _: values.to_decimal(value),
    "file": lambda value, _: file_source(value),
    "base64": lambda value, _: file_source(value).read_base64(),
}


@dataclass(frozen=True, slots=True)
class Body:
    """One record, ready to be sent.

    :param fields: what goes into the JSON or the plain part of a multipart body.
    :param files: what goes beside it.
    """

    fields: dict[str, Any] = field(repr=False)
    files: dict[str, FileSource] = field(default_factory=dict, repr=False)


def check_body(operation_id: str, data: object, extra_fields: object = None, *, zone: str | None = None) -> list[Body]:
    """Return the records that ``data`` holds, coerced to what the API reads.

    :param data: a mapping, or a list of them, whose templates have been rendered; or the text of one. None where the
        operation can do without.
    :param extra_fields: fields that are sent as they are with each record.
    :param zone: IANA name of the practice's time zone, where it is known.
    :raises InvalidArgumentError: everything that is wrong, in one line.
    """
    catalog = load()
    operation = catalog.operation(operation_id)
    extra = _extra(operation_id, extra_fields)
    optional = body_names(operation_id).optional
    records, many = _records(operation_id, {} if data is None and optional else data)
    adapter = _body_adapter(operation_id, frozenset(extra))
    tree = _tree(operation)
    problems: list[str] = []
    advice: list[str] = []
    bodies = []
    for index, record in enumerate(records):
        where = f"data[{index}]" if many else "data"
        checked, wrong = _validate(adapter, record, zone)
        problems += _told(where, wrong, tree)
        if not wrong:
            problems += _overlaps(where, checked, extra)
            if not checked and not extra and not optional:
                problems.append(f"{where} is empty; give at least one field to send")
            for breach in breaches(catalog, tree, checked, extra, operation.kind):
                (advice if breach.advisory else problems).append(f"{where}{breach.place} {breach.problem}")
            bodies.append(_body(complete(tree, checked | extra, operation.kind)))
    _refuse(operation_id, problems)
    if advice:
        log.warning("%s: %s", operation_id, _several(advice))
    return bodies


def check_option(operation_id: str, argument: str, name: str, value: object, *, zone: str | None = None) -> Any:
    """Return the value of a query parameter that has an argument of its own; None means that it is left out.

    :param argument: the operator's argument, named in errors.
    :param name: the query parameter.
    :raises InvalidArgumentError: it is required and missing, or has a value that cannot be sent.
    """
    parameter = load().operation(operation_id).parameter(name)
    missing = value is None or (isinstance(value, str) and value.strip() in ("", "None"))
    if missing and not parameter.required:
        return None
    problem = "is missing"
    if not missing:
        try:
            return convert(parameter, value, zone)
        except ValueError as error:
            problem = str(error)
    raise InvalidArgumentError(f"{operation_id}: {argument} {problem}")


def _records(operation_id: str, data: object) -> tuple[list[Any], bool]:
    given = values.rendered(data) if isinstance(data, str) else data
    if isinstance(given, Mapping):
        return [given], False
    if isinstance(given, Sequence) and not isinstance(given, str | bytes):
        if load().operation(operation_id).kind != "create":
            raise InvalidArgumentError(
                f"{operation_id}: data must be one mapping of fields, not a list; map the operator over the list "
                "with .expand"
            )
        if not given:
            raise InvalidArgumentError(f"{operation_id}: data is an empty list; give at least one record to send")
        return list(given), True
    kind = "text that is no mapping or list" if isinstance(data, str) else type(data).__name__
    raise InvalidArgumentError(f"{operation_id}: data must be a mapping of fields, not {kind}")


def _extra(operation_id: str, extra_fields: object) -> dict[str, Any]:
    if extra_fields is None:
        return {}
    try:
        return dict(values.to_json(values.to_mapping(extra_fields)))
    except ValueError as error:
        problem = str(error)
    raise InvalidArgumentError(f"{operation_id}: extra_fields {problem}")


def _overlaps(where: str, record: Mapping[str, Any], extra: Mapping[str, Any]) -> list[str]:
    return [f"{where} and extra_fields both have {name!r}; give it once" for name in extra if name in record]


def _body(record: Mapping[str, Any]) -> Body:
    files = {name: value for name, value in record.items() if isinstance(value, FileSource)}
    return Body({name: value for name, value in record.items() if name not in files}, files)


def _validate(
    adapter: TypeAdapter[dict[str, Any]], record: object, zone: str | None
) -> tuple[dict[str, Any], list[ErrorDetails]]:
    from pydantic import ValidationError

    try:
        return adapter.validate_python(record, context={"zone": zone}), []
    except ValidationError as error:
        return {}, error.errors(include_url=False, include_context=False, include_input=False)


def _refuse(operation_id: str, problems: list[str]) -> None:
    if problems:
        raise InvalidArgumentError(f"{operation_id}: {_several(problems)}. Nothing was sent")


def _several(problems: list[str]) -> str:
    told = problems[:MOST_PROBLEMS]
    if rest := len(problems) - len(told):
        told.append(f"and {rest} more")
    return "; ".join(told)


def _told(where: str, errors: Iterable[ErrorDetails], tree: Iterable[Field]) -> list[str]:
    missing: dict[str, list[str]] = {}
    problems = []
    for error in errors:
        *outer, name = error["loc"] or ("",)
        place = where + "".join(f"[{each!r}]" for each in outer)
        if error["type"] == "missing":
            missing.setdefault(place, []).append(str(name))
        elif error["type"] == "extra_forbidden":
            problems.append(_unknown(place, str(name), _fields_at(tree, outer)))
        else:
            exact = f"{place}[{name!r}]" if name != "" else place
            problems.append(f"{exact} {_wording(error)}")
    needs = [f"{place} needs {', '.join(each)}" for place, each in missing.items()]
    return needs + problems


def _wording(error: ErrorDetails) -> str:
    if error["type"] == "value_error":
        return error["msg"].removeprefix("Value error, ")
    # Only the structure is pydantic's own: everything else is checked by functions of ours.
    return "must be a mapping of fields" if error["type"] in ("dict_type", "model_type") else "cannot be sent"


def _unknown(place: str, name: str, fields: Iterable[Field]) -> str:
    known = {each.name: each for each in fields}
    if name in known:
        return f"{place} has {name!r}, which is read-only: DrChrono sets it, leave it out"
    writable = [each.name for each in known.values() if not each.read_only]
    return f"{place} has no field {name!r}{did_you_mean(name, writable)}"


def _fields_at(fields: Iterable[Field], path: Sequence[str | int]) -> tuple[Field, ...]:
    here = tuple(fields)
    for step in path:
        if isinstance(step, str):
            found = next((each for each in here if each.name == step), None)
            inner = found.items if found is not None and found.items is not None else found
            here = _inner_fields(inner) if inner is not None else ()
    return here


def _inner_fields(outer: Field) -> tuple[Field, ...]:
    if outer.record is not None:
        return tuple(load().record(outer.record).fields.values())
    return outer.fields


def _tree(operation: Operation) -> tuple[Field, ...]:
    """All fields of a body's record, the read-only ones too."""
    if operation.body is not None and operation.body.record is not None:
        return tuple(load().record(operation.body.record).fields.values())
    return load().body_fields(operation)


@lru_cache(maxsize=512)
def _body_adapter(operation_id: str, given_elsewhere: frozenset[str]) -> TypeAdapter[dict[str, Any]]:
    operation = load().operation(operation_id)
    in_query = {each.name for each in operation.parameters if each.role == "option"}
    fields = [each for each in load().body_fields(operation) if not (each.name in in_query and each.name == "id")]
    needed = frozenset(
        each.name
        for each in fields
        # Whether a field is needed that others can stand in for is seen when all are known.
        if each.required
        and each.required_unless is None
        and operation.kind != "update"
        and each.name not in given_elsewhere
    )
    return _adapter_of(_typed_dict(fields, needed))


def _adapter_of(kind: Any) -> TypeAdapter[dict[str, Any]]:
    from pydantic import BeforeValidator, TypeAdapter

    return TypeAdapter(Annotated[kind, BeforeValidator(values.to_mapping)])


def _typed_dict(fields: Iterable[Field], needed: frozenset[str]) -> Any:
    from pydantic import ConfigDict
    from typing_extensions import TypedDict

    annotations = {
        each.name: Required[_type_of(each, False)] if each.name in needed else NotRequired[_type_of(each, True)]
        for each in fields
    }
    # A typed dict and not a model: its fields may have any name, and the result holds just what was given.
    kind = TypedDict("Fields", annotations)  # type: ignore[misc]
    kind.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]
    return kind


def _type_of(field_: Field, nullable: bool) -> Any:
    from pydantic import BeforeValidator, PlainValidator, ValidationInfo, WrapValidator

    inner: Any = None
    before: Callable[[object], Any] = values.to_mapping
    if field_.type == "array" and field_.items is not None:
        inner, before = list[_type_of(field_.items, False)], values.to_list  # type: ignore[misc]
    elif field_.type == "object" and (writable := [each for each in _inner_fields(field_) if not each.read_only]):
        inner = _typed_dict(writable, frozenset())
    if inner is not None:
        whole = Annotated[inner, BeforeValidator(before)]
        return Annotated[whole, WrapValidator(_unless_none)] if nullable else whole
    check = _check_of(field_)

    def validate(value: object, info: ValidationInfo) -> Any:
        if value is None:
            if nullable:
                return None
            raise ValueError("must not be null (did its template or XCom find no value?)")
        return check(value, (info.context or {}).get("zone"))

    return Annotated[Any, PlainValidator(validate)]


def _unless_none(value: object, validate: Callable[[object], Any]) -> Any:
    return None if value is None else validate(value)


def _check_of(field_: Field) -> Check:
    if field_.enum and not field_.open_enum:
        chosen = values.choice_of(field_.enum)
        return lambda value, _: chosen(value)
    if field_.json_text:
        return lambda value, _: values.to_json_text(value)
    if field_.format == "decimal" and field_.type == "string":
        return lambda value, _: str(values.to_decimal(value))
    if field_.format:
        return FORMAT_CHECKS[field_.format]
    return PLAIN_CHECKS[field_.type]
