"""The filters of a list or report: which there are, what each takes, and what a selection becomes on the wire.

List operators, sensors, syncs, assets and the client all judge filters here, so one selection gets one answer wherever
it is given. Names and literal values can be judged while a DAG is parsed; it takes the standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any

from airflow_provider_drchrono.catalog import Catalog, Operation, Parameter, UnknownNameError
from airflow_provider_drchrono.catalog.names import did_you_mean
from airflow_provider_drchrono.client import values
from airflow_provider_drchrono.client.errors import InvalidArgumentError

APPOINTMENT_ID = re.compile(r"(\d{4}-\d{2}-\d{2}_)?\d{1,20}")
AMERICAN_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")
PARAMETER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\[\]-]{0,99}")
DATE_ONLY = re.compile(r"\d{4}-\d{2}-\d{2}")

SET_BY_CALLER = "is what changes are looked for by: use the argument since or start, not the filter"

LISTING_KINDS = ("list", "bulk_start")
"""Kinds of operations that answer nothing without one of the filters that their resource insists on."""


class Filters:
    """The filters that one operation takes.

    :param operation: the operation that lists or reports.
    :param one_of: names of filters of which at least one is needed; empty where the caller sets one by itself.
    :param reserved: names that may not be given as filters here, with what to do instead.
    """

    def __init__(
        self, operation: Operation, *, one_of: Iterable[str] = (), reserved: Mapping[str, str] | None = None
    ) -> None:
        self.operation_id = operation.id
        self.reserved = dict(reserved or {})
        self.parameters = {
            each.name: each for each in operation.parameters if each.role == "filter" and each.name not in self.reserved
        }
        self.one_of = tuple(one_of)

    @classmethod
    def of(
        cls,
        catalog: Catalog,
        operation: Operation,
        *,
        sets: str | None = None,
        reserved: Mapping[str, str] | None = None,
        has_extra: bool = False,
    ) -> Filters:
        """Return the filters of an operation of the catalogue.

        :param sets: the filter that the caller sets by itself, such as ``since``; it satisfies a list that insists on
            one of several.
        :param reserved: names that may not be given, with what to do instead.
        :param has_extra: whether filters are given beside that the catalogue does not know. One of them may be what
            the list insists on.
        """
        one_of = catalog.resource(operation.resource).requires_one_of if operation.kind in LISTING_KINDS else ()
        return cls(operation, one_of=() if sets in one_of or has_extra else one_of, reserved=reserved)

    @classmethod
    def of_incremental(
        cls,
        catalog: Catalog,
        resource: str,
        *,
        reserved: Mapping[str, str] | None = None,
        has_extra: bool = False,
    ) -> Filters:
        """Return the filters that a list takes while changes are looked for in it.

        :param resource: a resource whose list can be asked for changes.
        :param reserved: further names that may not be given, with what to do instead.
        :param has_extra: as for :meth:`of`.
        :raises InvalidArgumentError: the resource is unknown, or its list cannot be asked for changes.
        """
        try:
            found = catalog.resource(resource)
        except UnknownNameError as error:
            raise InvalidArgumentError(str(error)) from None
        if found.list_operation is None or found.incremental is None:
            raise InvalidArgumentError(f"{resource} has no list that can be asked for changes")
        names = dict.fromkeys((found.incremental.filter, "since"), SET_BY_CALLER)
        return cls.of(
            catalog,
            found.list_operation,
            sets=found.incremental.filter,
            reserved={**names, **(reserved or {})},
            has_extra=has_extra,
        )

    def public(self, checked: Mapping[str, Any]) -> dict[str, Any]:
        """Return the filters that Airflow may store: ids, switches, and text that says nothing about a person."""
        return {name: value for name, value in checked.items() if self.parameters[name].public}

    def problems(self, given: object, *, is_template: Callable[[object], bool] = lambda value: False) -> list[str]:
        """Return everything that is wrong with filters, as far as it can be known now; no value is repeated.

        :param given: a mapping of names to values, or None.
        :param is_template: tells whether a value is known only when the task runs, and is not judged yet.
        """
        return self._judged(given, zone=None, is_template=is_template, any_zone=True)[1]

    def checked(self, given: object, *, zone: str | None = None) -> dict[str, Any]:
        """Return filters as the API reads them, whatever type they were given as. None leaves a filter out.

        :param given: a mapping of names to values, the text that a template rendered one to, or None.
        :param zone: IANA name of the practice's time zone. A time with a zone is converted to it.
        :raises InvalidArgumentError: everything that is wrong, in one line. Nothing was sent.
        """
        checked, problems = self._judged(given, zone=zone)
        if problems:
            raise InvalidArgumentError(
                f"{self.operation_id}: {'; '.join(problems)}. Nothing was sent", operation_id=self.operation_id
            )
        return checked

    def queries(self, checked: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the selections that together are a selection: more than one where a range of dates is too long.

        :param checked: what :meth:`checked` returned.
        """
        queries = [dict(checked)]
        for name in checked:
            parameter = self.parameters.get(name)
            if parameter is not None and parameter.longest_days:
                parts = split_range(str(checked[name]), parameter.longest_days)
                queries = [each | {name: part} for each in queries for part in parts]
        return queries

    def _judged(
        self,
        given: object,
        *,
        zone: str | None,
        is_template: Callable[[object], bool] = lambda value: False,
        any_zone: bool = False,
    ) -> tuple[dict[str, Any], list[str]]:
        mapping = values.rendered(given) if isinstance(given, str) else given
        if mapping is None and given is None:
            mapping = {}
        if not isinstance(mapping, Mapping):
            return {}, [f"filters must be a mapping of filters, not {type(given).__name__}"]
        checked: dict[str, Any] = {}
        problems = []
        for name, value in mapping.items():
            if problem := self._problem_of_name(str(name)):
                problems.append(problem)
            elif is_template(value) or (isinstance(value, list | tuple) and any(map(is_template, value))):
                checked[name] = value
            elif value is not None:
                try:
                    checked[name] = convert(self.parameters[name], value, zone, any_zone=any_zone)
                except ValueError as error:
                    problems.append(f"filters[{name!r}] {error}")
        return checked, problems + self._missing(mapping)

    def _problem_of_name(self, name: str) -> str | None:
        if name in self.reserved:
            return f"{name} {self.reserved[name]}"
        if name not in self.parameters:
            return f"there is no filter {name!r}{did_you_mean(name, self.parameters)}"
        return None

    def _missing(self, given: Mapping[str, Any]) -> list[str]:
        problems = []
        required = [each.name for each in self.parameters.values() if each.required]
        if missing := [name for name in required if given.get(name) is None]:
            problems.append(f"filters need {', '.join(map(self._described, missing))}")
        if self.one_of and not any(given.get(name) is not None for name in self.one_of):
            problems.append(f"filters need at least one of {', '.join(self.one_of)}: the API lists nothing without")
        return problems

    def _described(self, name: str) -> str:
        values = self.parameters[name].enum
        return f"{name} (one of {', '.join(map(str, values))})" if values else name


def problem_of_extra_filter(operation: Operation, name: object) -> str | None:
    """Say what is wrong with the name of an extra filter; None where nothing is."""
    if not isinstance(name, str) or not PARAMETER_NAME.fullmatch(name):
        return "extra_filters has a name that no query parameter has"
    known = next((each for each in operation.parameters if each.name == name), None)
    if known is None:
        return None
    if known.role == "page":
        return f"extra_filters cannot have {name}, which belongs to the paging"
    return f"{name} is a filter that is known: give it in filters, where it is checked"


def convert(parameter: Parameter, value: object, zone: str | None = None, *, any_zone: bool = False) -> Any:
    """Return the value of a query parameter as JSON has it; :func:`encode` writes it into the query.

    :param zone: IANA name of the practice's time zone, where it is known.
    :param any_zone: take a time with a zone although the practice's is not known yet, as while a DAG is parsed.
    :raises ValueError: the value cannot be sent; the message is what comes behind the parameter's name, without the
        value.
    """
    if isinstance(value, str):
        if not value.strip():
            raise ValueError("is empty, which would select everything: leave it out or give a value")
        if value.strip() in parameter.keywords:
            return value.strip()
    if parameter.type == "array" or parameter.format == "comma-separated":
        return _several(parameter, value, zone)
    return _one(parameter, value, zone if not any_zone else zone or "UTC")


def encode(value: Any) -> str:
    """Return what :func:`convert` returned as the text of a query."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(encode, value)) if isinstance(value, list) else str(value)


def split_range(text: str, longest_days: int) -> list[str]:
    """Return a range of dates as ranges that are short enough to be answered.

    :param text: ``2026-01-01/2026-12-31``, both days included.
    :param longest_days: days that one range may span.
    """
    first, last = map(date.fromisoformat, text.split("/"))
    parts = []
    while first <= last:
        end = min(last, first + timedelta(days=longest_days - 1))
        parts.append(f"{first}/{end}")
        first = end + timedelta(days=1)
    return parts


def _several(parameter: Parameter, value: object, zone: str | None) -> list[Any]:
    given = value.split(",") if isinstance(value, str) and not value.lstrip().startswith("[") else value
    if isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping):
        each_of = list(given)
    else:
        each_of = values.to_list(given) if isinstance(given, str) else [given]
    if not each_of:
        raise ValueError("is an empty list, which would select everything: leave it out or give a value")
    return [_one(parameter, each, zone) for each in each_of]


def _one(parameter: Parameter, value: object, zone: str | None) -> Any:
    if parameter.enum:
        return values.choice_of(parameter.enum)(value)
    kind = parameter.items if parameter.type == "array" else parameter.type
    if kind == "integer":
        return _bounded(parameter, values.to_integer(value))
    if kind == "boolean":
        return values.to_boolean(value)
    if kind == "number":
        return values.to_decimal(value)
    if parameter.format == "integer":
        return str(_bounded(parameter, values.to_integer(value)))
    convert_text = _TEXTS.get(parameter.format or "", _text)
    return convert_text(value, zone)


def _bounded(parameter: Parameter, number: int) -> int:
    low, high = parameter.least, parameter.maximum
    if (low is not None and number < low) or (high is not None and number > high):
        raise ValueError(f"must be between {low} and {high}" if None not in (low, high) else f"must be {low} or more")
    return number


def _text(value: object, zone: str | None) -> str:
    return values.to_text(value).strip()


def _appointment_id(value: object, zone: str | None) -> str:
    text = str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not _is_appointment_id(text):
        raise ValueError("must be the id of an appointment: a whole number, or 2026-01-31_123 for one occurrence")
    return text


def _is_appointment_id(text: str) -> bool:
    if not APPOINTMENT_ID.fullmatch(text):
        return False
    day, _, number = text.rpartition("_")
    try:
        if day:
            date.fromisoformat(day)
    except ValueError:
        return False
    return int(number) > 0


def _american_date(value: object, zone: str | None) -> str:
    given = AMERICAN_DATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if given is not None:
        month, day, year = map(int, given.groups())
        value = f"{year:04}-{month:02}-{day:02}"
    day_of = date.fromisoformat(values.to_date(value, zone))
    return f"{day_of.month}/{day_of.day}/{day_of.year}"


def _date_time(value: object, zone: str | None) -> str:
    if isinstance(value, str) and DATE_ONLY.fullmatch(value.strip()):
        return values.to_date(value, zone)
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    return values.to_datetime(value, zone)


def _date_range(value: object, zone: str | None) -> str:
    ends = value.split("/") if isinstance(value, str) else value
    problem = "must be two dates, as in 2026-01-01/2026-01-31"
    if not isinstance(ends, list | tuple) or len(ends) != 2:
        raise ValueError(problem)
    try:
        first, last = (values.to_date(each.strip() if isinstance(each, str) else each, zone) for each in ends)
    except ValueError:
        raise ValueError(problem) from None
    if last < first:
        raise ValueError("ends before it begins")
    return f"{first}/{last}"


_TEXTS: Mapping[str, Callable[[object, str | None], str]] = {
    "appointment-id": _appointment_id,
    "date": values.to_date,
    "date-range": _date_range,
    "date-time": _date_time,
    "M/D/YYYY": _american_date,
}
