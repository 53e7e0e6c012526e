"""Query parameters that the catalogue does not know: only their form is checked, and they are sent as they are."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_drchrono.catalog import Operation
from airflow_provider_drchrono.client import values
from airflow_provider_drchrono.client.errors import InvalidArgumentError
from airflow_provider_drchrono.client.filters import PARAMETER_NAME, problem_of_extra_filter
from airflow_provider_drchrono.client.request import scalar


def checked_extra_filters(operation: Operation, given: object) -> dict[str, str]:
    """Return extra filters as the text that is sent. One that is None is left out.

    :param operation: the operation that lists.
    :param given: a mapping of names to values, the text that a template rendered one to, or None.
    :raises InvalidArgumentError: everything that is wrong, in one line; nothing was sent.
    """
    mapping = values.rendered(given) if isinstance(given, str) else given
    if given is None:
        return {}
    if not isinstance(mapping, Mapping):
        raise InvalidArgumentError(
            f"{operation.id}: extra_filters must be a mapping of names to values, not {type(given).__name__}",
            operation_id=operation.id,
        )
    if problems := [problem for name in mapping if (problem := problem_of_extra_filter(operation, name))]:
        raise InvalidArgumentError(f"{operation.id}: {'; '.join(problems)}", operation_id=operation.id)
    return {
        name: parameter_text(f"{operation.id}: extra_filters[{name!r}]", value)
        for name, value in mapping.items()
        if value is not None
    }


def checked_name(operation_id: str, argument: str, name: object) -> str:
    """Return the name of a query parameter.

    :raises InvalidArgumentError: it is none.
    """
    if not isinstance(name, str) or not PARAMETER_NAME.fullmatch(name):
        raise InvalidArgumentError(f"{operation_id}: {argument} has a name that no query parameter has")
    return name


def parameter_text(where: str, value: object) -> str:
    """Return the value of a query parameter that the catalogue does not know.

    :param where: what the error names.
    :raises InvalidArgumentError: it is empty, has a zone, or is nothing that a query can hold. It is not repeated.
    """
    if isinstance(value, list | tuple | set | frozenset):
        if not value:
            raise InvalidArgumentError(f"{where} is an empty list, which would select everything: leave it out")
        return ",".join(parameter_text(where, each) for each in value)
    text = scalar(where, where.partition(": ")[0], value)
    if not text.strip():
        raise InvalidArgumentError(f"{where} is empty, which would select everything: leave it out or give a value")
    return text
