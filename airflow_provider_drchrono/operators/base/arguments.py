"""What can be said against an operator's arguments while the DAG is parsed: names, and what is missing.

Values are not looked at here, since they may still be templates; ``validation`` judges them when the task runs. The
names that are allowed come from the operator class, so that parsing a DAG reads nothing of the catalogue.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_drchrono.catalog.names import did_you_mean
from airflow_provider_drchrono.common.arguments import InvalidArgumentError


@dataclass(frozen=True, slots=True)
class BodyNames:
    """The names that the body of an operation may and must have.

    :param whole: whether the required fields have to be there, as in a create and a replace.
    """

    fields: Collection[str]
    required: Collection[str]
    read_only: Collection[str]
    whole: bool


def is_unresolved(value: object) -> bool:
    """Tell whether an argument gets its value only when the task runs: a template, an XComArg or a callable."""
    if isinstance(value, Mapping | list | tuple):
        return False
    return isinstance(value, str) or callable(value) or callable(getattr(value, "resolve", None))


def check_data(operation_id: str, data: object, extra_fields: object, body: BodyNames, *, lists: bool) -> None:
    """Refuse a literal body with names that cannot be right.

    :param data: the argument ``data``; whatever is a template or an XComArg passes.
    :param extra_fields: the argument ``extra_fields``, whose names count as given.
    :param lists: whether a list of records is allowed.
    :raises InvalidArgumentError: everything that is wrong, in one line.
    """
    if is_unresolved(data):
        return
    extra = set(extra_fields) if isinstance(extra_fields, Mapping) else set()
    some_unknown = extra_fields is not None and not isinstance(extra_fields, Mapping)
    if isinstance(data, Mapping):
        records: Iterable[tuple[str, Any]] = [("data", data)]
    elif lists and isinstance(data, Sequence) and not isinstance(data, bytes):
        records = [(f"data[{index}]", each) for index, each in enumerate(data)]
    else:
        wanted = "a mapping of fields, or a list of them," if lists else "a mapping of fields"
        raise InvalidArgumentError(f"{operation_id}: data must be {wanted} not {type(data).__name__}")
    if not data:
        if extra or some_unknown:
            return
        raise InvalidArgumentError(f"{operation_id}: data is empty; give at least one field to send")
    problems: list[str] = []
    for where, each in records:
        if isinstance(each, Mapping):
            problems += _record_problems(where, each, extra, body, complete=not some_unknown)
        elif not is_unresolved(each):
            problems.append(f"{where} must be a mapping of fields, not {type(each).__name__}")
    if problems:
        raise InvalidArgumentError(f"{operation_id}: {'; '.join(problems)}")


def _record_problems(
    where: str, record: Mapping[str, Any], extra: Collection[str], body: BodyNames, *, complete: bool
) -> list[str]:
    problems = []
    if not record and not extra and complete:
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
        missing = [name for name in body.required if name not in record and name not in extra]
        if missing:
            problems.append(f"{where} needs {', '.join(missing)}")
    return problems


def check_filters(
    operation_id: str,
    filters: object,
    *,
    known: Collection[str],
    required: Collection[str],
    one_of: Collection[str],
) -> None:
    """Refuse literal filters with names that cannot be right, or without one that the API asks for.

    :param one_of: filters of which at least one is needed.
    :raises InvalidArgumentError: everything that is wrong, in one line.
    """
    if filters is not None and is_unresolved(filters):
        return
    given = {} if filters is None else filters
    if not isinstance(given, Mapping):
        raise InvalidArgumentError(f"{operation_id}: filters must be a mapping, not {type(given).__name__}")
    problems = [f"there is no filter {name!r}{did_you_mean(name, known)}" for name in given if name not in known]
    if missing := [name for name in required if given.get(name) is None]:
        problems.append(f"filters need {', '.join(missing)}")
    if one_of and not any(given.get(name) is not None for name in one_of):
        problems.append(f"filters need at least one of {', '.join(one_of)}: the API lists nothing without")
    if problems:
        raise InvalidArgumentError(f"{operation_id}: {'; '.join(problems)}")


def check_choice(operation_id: str, argument: str, value: object, choices: Collection[str]) -> None:
    """Refuse a literal option that is none of the choices."""
    if value not in choices:
        raise InvalidArgumentError(
            f"{operation_id}: {argument} must be one of {', '.join(map(repr, choices))}, not {value!r}"
        )


def path_id(operation_id: str, argument: str, value: object) -> int | str:
    """Return an id fit for a path.

    :param value: a whole number, or text such as ``2026-01-31_4711`` for one occurrence of an appointment.
    :raises InvalidArgumentError: it is missing, or has characters that would lead to another address.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        kind = "missing" if value is None else f"of type {type(value).__name__}"
        raise InvalidArgumentError(f"{operation_id}: {argument} is {kind}; give the id as a number or text")
    text = str(value).strip()
    if text in ("", "None", "null", "undefined"):
        raise InvalidArgumentError(
            f"{operation_id}: {argument} is empty; did its template or XCom find no record to take the id from?"
        )
    if ".." in text or any(each in "/\\?#%" or each.isspace() or not each.isprintable() for each in text):
        raise InvalidArgumentError(
            f"{operation_id}: {argument} has a character that no id has (a slash, '..', a space or the like); "
            "give the id alone"
        )
    return value if isinstance(value, int) else text
