"""Checks of the arguments that operators, sensors and assets have in common.

Names are checked while the DAG is parsed. So are values, unless they are templates or outputs of other tasks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_drchrono.catalog import Catalog, Parameter, load
from airflow_provider_drchrono.catalog.names import did_you_mean
from airflow_provider_drchrono.client import errors
from airflow_provider_drchrono.client.filters import Filters, convert, problem_of_extra_filter


class InvalidArgumentError(errors.InvalidArgumentError, AirflowFailException, ValueError):
    """An argument of an operator or sensor cannot work. A retry would not help, so Airflow makes none."""


def is_template(value: object) -> bool:
    """Tell whether an argument has its value only when the task runs: a template, a task's output, or a callable."""
    if isinstance(value, str):
        return "{" in value
    return callable(value) or callable(getattr(value, "resolve", None))


def operation_filters(operation_id: str, catalog: Catalog | None = None, *, has_extra: bool = False) -> Filters:
    """Return the filters that an operation takes.

    :param catalog: the one with the facts of a connection; None while no connection is known.
    :param has_extra: whether ``extra_filters`` are given beside, of which one may be what the list insists on.
    """
    found = catalog or load()
    if found is load() and not has_extra:
        return _operation_filters(operation_id)
    return Filters.of(found, found.operation(operation_id), has_extra=has_extra)


def incremental_filters(resource: str, catalog: Catalog | None = None, *, has_extra: bool = False) -> Filters:
    """Return the filters that a list takes beside the one by which changes are looked for.

    :param catalog: the one with the facts of a connection; None while no connection is known.
    :param has_extra: as for :func:`operation_filters`.
    """
    found = catalog or load()
    if found is load() and not has_extra:
        return _incremental_filters(resource)
    return Filters.of_incremental(found, resource, has_extra=has_extra)


@lru_cache(maxsize=512)
def _operation_filters(operation_id: str) -> Filters:
    return Filters.of(load(), load().operation(operation_id))


@lru_cache(maxsize=128)
def _incremental_filters(resource: str) -> Filters:
    return Filters.of_incremental(load(), resource)


def check_filters(filters: Filters, given: object) -> None:
    """Refuse filters, while the DAG is parsed, in which a name or a literal value cannot be right.

    :param filters: what the operation takes.
    :param given: the argument ``filters``; whatever is a template or another task's output is judged when it runs.
    :raises InvalidArgumentError: everything that is wrong, in one line.
    """
    if is_template(given):
        return
    if problems := filters.problems(given, is_template=is_template):
        raise InvalidArgumentError(f"{filters.operation_id}: {'; '.join(problems)}")


def checked_filters(filters: Filters, given: object, *, zone: str | None) -> dict[str, Any]:
    """Return rendered filters as the API reads them. One that is None is left out.

    :param filters: what the operation takes.
    :param given: the argument ``filters`` after rendering.
    :param zone: IANA name of the practice's time zone, where the connection names it.
    :raises InvalidArgumentError: everything that is wrong, in one line. Nothing was sent.
    """
    try:
        return filters.checked(given, zone=zone)
    except errors.InvalidArgumentError as error:
        problem = str(error)
    raise InvalidArgumentError(problem)


def check_extra_filters(operation_id: str, given: object) -> None:
    """Refuse extra filters, while the DAG is parsed, whose names cannot be right.

    :param given: the argument ``extra_filters``; a template is judged when it runs.
    :raises InvalidArgumentError: everything that is wrong, in one line.
    """
    if given is None or is_template(given):
        return
    if not isinstance(given, Mapping):
        raise InvalidArgumentError(
            f"{operation_id}: extra_filters must be a mapping of names to values, not {type(given).__name__}"
        )
    operation = load().operation(operation_id)
    if problems := [problem for name in given if (problem := problem_of_extra_filter(operation, name))]:
        raise InvalidArgumentError(f"{operation_id}: {'; '.join(problems)}")


def checked_extra_filters(operation_id: str, given: object) -> dict[str, str]:
    """Return rendered extra filters as the text that is sent. One that is None is left out.

    :raises InvalidArgumentError: everything that is wrong, in one line. Nothing was sent.
    """
    from airflow_provider_drchrono.client import unknown_parameters

    try:
        return unknown_parameters.checked_extra_filters(load().operation(operation_id), given)
    except errors.InvalidArgumentError as error:
        problem = str(error)
    raise InvalidArgumentError(problem)


def check_names(operation_id: str, argument: str, names: Iterable[str], known: Collection[str]) -> None:
    """Refuse names of fields that are not known."""
    if isinstance(names, str):
        raise InvalidArgumentError(f"{operation_id}: {argument} must be a list of names of fields, not text")
    for name in names:
        if name not in known:
            raise InvalidArgumentError(f"{operation_id}: {argument} names no field {name!r}{did_you_mean(name, known)}")


def checked_fields(
    operation_id: str, fields: object, *, verbose: bool, argument: str = "fields"
) -> tuple[str, ...] | None:
    """Return names of fields of the records of an operation's answer, such as those to keep; None is for all.

    :raises InvalidArgumentError: the record has no such field, or shows it only with ``verbose=True``.
    """
    if fields is None:
        return None
    names = tuple(fields) if isinstance(fields, Iterable) and not isinstance(fields, str) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise InvalidArgumentError(f"{operation_id}: {argument} must be a list of names of fields, or None for all")
    catalog = load()
    operation = catalog.operation(operation_id)
    record_name = operation.response.record or catalog.resource(operation.resource).record
    if record_name is None:
        return names
    record = catalog.record(record_name)
    check_names(operation_id, argument, names, record.fields)
    if not verbose and (needs := [name for name in names if name in record.verbose_fields]):
        raise InvalidArgumentError(
            f"{operation_id}: {argument}: {', '.join(needs)} come{'s' if len(needs) == 1 else ''} only with "
            "verbose=True; set it"
        )
    return names


def checked_watch_fields(
    operation_id: str, watch_fields: object, *, change: str, verbose: bool
) -> tuple[str, ...] | None:
    """Return the names of the fields of a list whose changes count; None where all count.

    :param change: which changes count.
    :raises InvalidArgumentError: the records have no such field, or nobody could tell a change of it.
    """
    from airflow_provider_drchrono.incremental.watched_fields import MOST_WATCHED

    if watch_fields is None:
        return None
    names = checked_fields(operation_id, watch_fields, verbose=verbose, argument="watch_fields") or ()
    if len(set(names)) < len(names) or len(names) > MOST_WATCHED:
        raise InvalidArgumentError(
            f"{operation_id}: watch_fields must be at most {MOST_WATCHED} fields, each of them once"
        )
    if change == "created":
        raise InvalidArgumentError(
            f"{operation_id}: watch_fields needs change='any' or 'updated'; a record that was created has no earlier "
            "values to compare"
        )
    if not load().resource(load().operation(operation_id).resource).key:
        raise InvalidArgumentError(
            f"{operation_id}: watch_fields cannot be given, as the records have no id by which to find earlier values"
        )
    return names


def check_count(operation_id: str, argument: str, value: object) -> None:
    """Refuse what is not a number of records from 1 up."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidArgumentError(f"{operation_id}: {argument} must be a number of records from 1 up")


def check_size(operation_id: str, max_records: object, batch_size: object, output_path: object) -> None:
    """Refuse a bound, and a size of batches, that cannot work.

    :raises InvalidArgumentError: one is no number of records, or batches are asked for in a file.
    """
    check_count(operation_id, "max_records", max_records)
    if batch_size is None:
        return
    check_count(operation_id, "batch_size", batch_size)
    if output_path:
        raise InvalidArgumentError(f"{operation_id}: batch_size has no effect on a file; leave it or output_path out")


def check_time(operation_id: str, argument: str, value: object, words: Collection[str] = ()) -> None:
    """Refuse a literal that is no time.

    :param words: text that is taken besides.
    """
    if value is None or value in words or is_template(value) or isinstance(value, date):
        return
    try:
        datetime.fromisoformat(value.strip() if isinstance(value, str) else "")
        return
    except ValueError:
        pass
    others = "".join(f"{word!r}, " for word in words)
    raise InvalidArgumentError(
        f"{operation_id}: {argument} must be {others}a date or a time such as 2026-01-31T08:00:00, by the practice's "
        "clock or with an offset"
    )


def checked_lookback(operation_id: str, lookback: object, default: timedelta) -> timedelta:
    """Return how long a change may take until lists show it.

    :param lookback: a timedelta or seconds; None for the default.
    :raises InvalidArgumentError: it is neither, or negative.
    """
    if lookback is None:
        return default
    if isinstance(lookback, int | float) and not isinstance(lookback, bool):
        lookback = timedelta(seconds=lookback)
    if not isinstance(lookback, timedelta) or lookback < timedelta(0):
        raise InvalidArgumentError(f"{operation_id}: lookback must be a timedelta or seconds, and not negative")
    return lookback


def check_choice(operation_id: str, argument: str, value: object, choices: Collection[str]) -> None:
    """Refuse a literal option that is none of the choices."""
    if value not in choices:
        raise InvalidArgumentError(
            f"{operation_id}: {argument} must be one of {', '.join(map(repr, choices))}, not {value!r}"
        )


def path_id(operation_id: str, argument: str, value: object, parameter: Parameter) -> int | str:
    """Return an id fit for a path.

    :param value: a whole number, or text such as ``2026-01-31_4711`` for one occurrence of an appointment.
    :param parameter: what the path takes there.
    :raises InvalidArgumentError: it is missing, or is no id of that kind.
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
    try:
        convert(parameter, text)
    except ValueError as error:
        problem = str(error)
    else:
        return value if isinstance(value, int) else text
    raise InvalidArgumentError(f"{operation_id}: {argument} {problem}")
