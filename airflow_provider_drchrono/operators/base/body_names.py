"""What can be said against the names in ``data`` while the DAG is parsed: unknown, read-only and missing fields.

Values are not looked at here, since they may still be templates; ``validation`` judges them when the task runs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.catalog.names import did_you_mean
from airflow_provider_drchrono.common.arguments import InvalidArgumentError, is_template


@dataclass(frozen=True, slots=True)
class BodyNames:
    """The names that the body of an operation may and must have.

    :param whole: whether the required fields have to be there, as in a create and a replace.
    :param unless: of required fields, the other fields that make up for them.
    :param optional: whether there may be no body at all, since the query says everything that has to be said.
    """

    fields: Collection[str]
    required: Collection[str]
    read_only: Collection[str]
    whole: bool
    unless: Mapping[str, str]
    optional: bool


@lru_cache(maxsize=512)
def body_names(operation_id: str) -> BodyNames:
    """Return what the catalogue says of the names in the body of an operation."""
    catalog = load()
    operation = catalog.operation(operation_id)
    fields = catalog.data_fields(operation)
    return BodyNames(
        fields=tuple(each.name for each in fields),
        required=catalog.required_fields(operation),
        read_only=catalog.read_only_fields(operation),
        whole=operation.kind != "update",
        unless={each.name: each.required_unless for each in fields if each.required and each.required_unless},
        optional=catalog.can_do_without_body(operation),
    )


def check_data(operation_id: str, data: object, extra_fields: object, body: BodyNames, *, lists: bool) -> None:
    """Refuse a literal body with names that cannot be right.

    :param data: the argument ``data``; whatever is a template or an XComArg passes.
    :param extra_fields: the argument ``extra_fields``, whose names count as given.
    :param lists: whether a list of records is allowed.
    :raises InvalidArgumentError: everything that is wrong, in one line.
    """
    if is_template(data) or (data is None and body.optional):
        return
    extra = dict(extra_fields) if isinstance(extra_fields, Mapping) else {}
    some_unknown = extra_fields is not None and not isinstance(extra_fields, Mapping)
    if isinstance(data, Mapping):
        records: Iterable[tuple[str, Any]] = [("data", data)]
    elif lists and isinstance(data, Sequence) and not isinstance(data, bytes):
        records = [(f"data[{index}]", each) for index, each in enumerate(data)]
    else:
        wanted = "a mapping of fields, or a list of them," if lists else "a mapping of fields"
        raise InvalidArgumentError(f"{operation_id}: data must be {wanted} not {type(data).__name__}")
    if not data:
        if extra or some_unknown or body.optional:
            return
        raise InvalidArgumentError(f"{operation_id}: data is empty; give at least one field to send")
    problems: list[str] = []
    for where, each in records:
        if isinstance(each, Mapping):
            problems += _record_problems(where, each, extra, body, complete=not some_unknown)
        elif not is_template(each):
            problems.append(f"{where} must be a mapping of fields, not {type(each).__name__}")
    if problems:
        raise InvalidArgumentError(f"{operation_id}: {'; '.join(problems)}")


def _record_problems(
    where: str, record: Mapping[str, Any], extra: Mapping[str, Any], body: BodyNames, *, complete: bool
) -> list[str]:
    problems = []
    if not record and not extra and complete and not body.optional:
        problems.append(f"{where} is empty; give at least one field to send")
    for name in record:
        if name in extra:
            problems.append(f"{where} and extra_fields both have {name!r}; give it once")
        elif name in body.fields:
            continue
        elif name in body.read_only:
            problems.append(f"{where} has {name!r}, which is read-only: DrChrono sets it, leave it out")
        else:
            problems.append(f"{where} has no field {name!r}{did_you_mean(name, body.fields)}")
    if body.whole and complete:
        given = {**record, **extra}
        missing = [name for name in body.required if name not in given and not given.get(body.unless.get(name, ""))]
        if missing:
            told = [
                f"{name} (unless it gives {body.unless[name]})" if name in body.unless else name for name in missing
            ]
            problems.append(f"{where} needs {', '.join(told)}")
    return problems
