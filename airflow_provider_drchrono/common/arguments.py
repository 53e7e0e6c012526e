"""What can be said against arguments that operators, sensors and assets have in common.

Names are judged while the DAG is parsed, and values when they are known: a template or another task's output is not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime, timedelta

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_drchrono.catalog.names import did_you_mean
from airflow_provider_drchrono.client import errors


class InvalidArgumentError(errors.InvalidArgumentError, AirflowFailException, ValueError):
    """An argument of an operator or sensor cannot work. A retry would not help, so Airflow makes none."""


def is_template(value: object) -> bool:
    """Tell whether an argument gets its value only when the task runs: a template or another task's output."""
    return (isinstance(value, str) and "{" in value) or callable(getattr(value, "resolve", None))


def check_names(operation_id: str, argument: str, names: Iterable[str], known: Collection[str]) -> None:
    """Refuse names of fields that are not known."""
    if isinstance(names, str):
        raise InvalidArgumentError(f"{operation_id}: {argument} must be a list of names of fields, not text")
    for name in names:
        if name not in known:
            raise InvalidArgumentError(f"{operation_id}: {argument} names no field {name!r}{did_you_mean(name, known)}")


def checked_fields(operation_id: str, fields: object, *, verbose: bool) -> tuple[str, ...] | None:
    """Return the names of the fields to keep of each record of an operation's answer; None keeps all.

    :raises InvalidArgumentError: the record has no such field, or shows it only with ``verbose=True``.
    """
    from airflow_provider_drchrono.catalog import load

    if fields is None:
        return None
    names = tuple(fields) if isinstance(fields, Iterable) and not isinstance(fields, str) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise InvalidArgumentError(f"{operation_id}: fields must be a list of names of fields, or None for all")
    catalog = load()
    operation = catalog.operation(operation_id)
    record_name = operation.response.record or catalog.resource(operation.resource).record
    if record_name is None:
        return names
    record = catalog.record(record_name)
    check_names(operation_id, "fields", names, record.fields)
    if not verbose and (needs := [name for name in names if name in record.verbose_fields]):
        raise InvalidArgumentError(
            f"{operation_id}: {', '.join(needs)} come{'s' if len(needs) == 1 else ''} only with verbose=True; set it"
        )
    return names


def check_filter_names(operation_id: str, filters: object, known: Collection[str], since_filter: str) -> None:
    """Refuse literal filters of what is followed, where a name cannot be right.

    :param since_filter: the filter that is set by what follows.
    :raises InvalidArgumentError: everything that is wrong, in one line.
    """
    if filters is None or is_template(filters):
        return
    if not isinstance(filters, Mapping):
        raise InvalidArgumentError(f"{operation_id}: filters must be a mapping, not {type(filters).__name__}")
    problems = []
    for name in filters:
        if name in (since_filter, "since"):
            problems.append(f"{name} is what the sensor goes by: use the argument since or start, not the filter")
        elif name not in known:
            problems.append(f"there is no filter {name!r}{did_you_mean(name, known)}")
    if problems:
        raise InvalidArgumentError(f"{operation_id}: {'; '.join(problems)}")


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
