"""Turns the query of a list into a test for rows: checks values as the API does, and passes over what it ignores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_drchrono.catalog import Operation, Parameter, Resource
from airflow_provider_drchrono.sandbox.moments import LONGEST_RANGE, read_date, read_moment, read_range
from airflow_provider_drchrono.sandbox.practice import Practice, Row, Table
from airflow_provider_drchrono.sandbox.practice.series import VIRTUAL
from airflow_provider_drchrono.sandbox.wire import FALSE, TRUE, bad_fields, detail, whole

Keep = Callable[[Row], bool]
Value = Callable[[Row], Any]

REQUIRED = "This field is required."
PAGING = frozenset({"cursor", "page_size"})
"""Every list takes these, also where the contract leaves them out."""

DAY_OF = {
    "appointments": "scheduled_time",
    "audit_log": "created_at",
    "patient_authorizations": "start_date",
    "schedule_blocks": "start_time",
}
"""The field that ``date`` and ``date_range`` of a list compare."""

FIELD_OF: Mapping[tuple[str, str], str] = {
    ("audit_log", "appointment"): "appointment_id",
    ("audit_log", "doctor"): "doctor_id",
    ("audit_log", "patient"): "_patient",
    ("audit_log", "user"): "user_id",
    ("custom_insurance_plan_names", "name"): "insurance_plan_name",
    ("doctors", "doctor"): "id",
    ("implantable_devices", "mu_date"): "created_at",
    ("eligibility_checks", "service_types"): "request_service_type",
    ("insurances", "payer_type"): "_payer_type",
    ("insurances", "term"): "payer_name",
    ("lab_results", "order"): "lab_order",
    ("lab_tests", "order"): "lab_order",
    ("messages", "received_since"): "received_at",
    ("procedures", "mu_date"): "date",
    ("procedures", "service_date"): "date",
    ("schedule_blocks", "doctor"): "provider",
    ("task_templates", "assignee_group"): "default_assignee_group",
    ("task_templates", "assignee_user"): "default_assignee_user",
    ("task_templates", "category"): "default_category",
    ("task_templates", "status"): "default_status",
    ("telehealth_appointment_history", "doctor"): "_doctor",
}
"""Filters that are not named like the field they compare."""

DAYS = frozenset(
    {
        "appointment_date", "created_at", "date", "date_of_birth", "due_at_date", "effective_date", "end_date",
        "ineffective_date", "mu_date", "posted_date", "query_date", "service_date", "start_date",
    }
)  # fmt: skip
SINCE = frozenset({"due_at_since", "occurred_since", "received_since"})
WIDENING = frozenset({"ignore_virtual", "show_archived"})
"""Switches that say which visits are listed at all; they compare no field. See :func:`_archived`."""


@dataclass(slots=True)
class Filters:
    """What a list was asked for.

    :param token: equal for equal filters.
    :param tests: a row is listed when it passes all.
    :param nothing: the API answers this with an empty list.
    :param notes: what was passed over, for the journal.
    """

    token: tuple[Any, ...] = ()
    tests: list[Keep] = field(default_factory=list)
    nothing: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def keep(self) -> Keep | None:
        """One test in place of all, or None when every row is listed."""
        if self.nothing:
            return lambda row: False
        if len(self.tests) < 2:
            return self.tests[0] if self.tests else None
        tests = tuple(self.tests)
        return lambda row: all(test(row) for test in tests)


def read_filters(
    practice: Practice,
    resource: Resource,
    operation: Operation,
    given: Mapping[str, str],
    *,
    since_is_date: bool = False,
) -> Filters:
    """Return the filters of a list.

    :param given: parameters of the query, or of the body that starts a bulk list.
    :param since_is_date: ``since`` takes a date only.
    :raises Refusal: 400 for a missing filter or a value that cannot be read.
    """
    table = practice.table(resource.name)
    strict = resource.name in practice.options.refuse_unfiltered
    known = {each.name: each for each in operation.parameters}
    _require(operation, given, resource.requires_one_of or (resource.may_require_one_of if strict else ()))
    filtering = ((name, text) for name, text in given.items() if name in known and known[name].role == "filter")
    filters = Filters(token=tuple(sorted(filtering)))
    errors: dict[str, list[str]] = {}
    for name, text in given.items():
        parameter = known.get(name)
        if parameter is None and name not in PAGING:
            filters.notes.append(f"unknown parameter {name} passed over")
        elif parameter is not None and parameter.role == "filter" and text != "" and name not in WIDENING:
            try:
                _add(filters, practice, table, resource, parameter, text, since_is_date)
            except ValueError as problem:
                errors[name] = [str(problem)]
    if errors:
        raise bad_fields(errors)
    if table.name == "appointments":
        _archived(filters, given)
    return filters


def _require(operation: Operation, given: Mapping[str, str], one_of: Sequence[str]) -> None:
    missing = [
        each.name
        for each in operation.parameters
        if each.required and each.place == "query" and not given.get(each.name)
    ]
    if missing:
        raise bad_fields({name: [REQUIRED] for name in missing})
    if one_of and not any(given.get(name) for name in one_of):
        raise detail(400, f"One of these parameters is required: {', '.join(one_of)}")


def _add(
    filters: Filters,
    practice: Practice,
    table: Table,
    resource: Resource,
    parameter: Parameter,
    text: str,
    since_is_date: bool,
) -> None:
    name = parameter.name
    if (resource.incremental and name == resource.incremental.filter) or name in {"since", "updated_since"}:
        bound = read_date(text) if since_is_date else read_moment(text)
        changed = table.changed_field
        filters.tests.append(lambda row: (row.get(changed) or "") >= bound)
        return
    value = _source(practice, table, name)
    if value is None:
        filters.notes.append(f"parameter {name} has no effect here")
    elif name.endswith("_range"):
        first, last, days = read_range(text)
        filters.nothing = filters.nothing or days > LONGEST_RANGE
        filters.tests.append(lambda row: first <= str(value(row) or "")[:10] <= last)
    elif name in SINCE:
        bound = read_moment(text)
        filters.tests.append(lambda row: str(value(row) or "") >= bound)
    elif name in DAYS:
        day = read_date(text[:10] if name == "created_at" else text)
        filters.tests.append(lambda row: str(value(row) or "")[:10] == day)
    else:
        filters.tests.append(_equal(parameter, value, text))


def _equal(parameter: Parameter, value: Value, text: str) -> Keep:
    if parameter.enum and not any(text == str(each) for each in parameter.enum):
        raise ValueError(f'"{text}" is not one of the available choices.')
    if parameter.type == "integer":
        wanted = whole(text)
        if wanted is None:
            raise ValueError("Enter a whole number.")
        number = str(wanted)
        return lambda row: str(value(row)) == number
    if parameter.type == "array":
        members = {each.strip() for each in text.split(",")}
        return lambda row: members <= {str(each) for each in value(row) or ()}
    if parameter.name == "term":
        return lambda row: text.casefold() in str(value(row)).casefold()
    is_true = text.lower() in TRUE
    if parameter.name == "due_at_unknown":
        return lambda row: (value(row) is None) == is_true
    if parameter.type == "boolean":
        if not is_true and text.lower() not in FALSE:
            raise ValueError("Must be a valid boolean.")
        return lambda row: bool(value(row)) == is_true
    folded = text.casefold()
    return lambda row: _holds(value(row), folded)


def _holds(value: Any, folded: str) -> bool:
    if isinstance(value, list):
        return any(str(each).casefold() == folded for each in value)
    return value is not None and str(value).casefold() == folded


def _source(practice: Practice, table: Table, name: str) -> Value | None:
    """Return how to find in a row what a filter compares; of records without the field, their visit is compared."""
    base = name.removesuffix("_range")
    if name.startswith("due_at_"):
        return lambda row: (row.get("due_date") or {}).get("time")
    if base == "date" or name == "occurred_since":
        base = DAY_OF.get(table.name, "scheduled_time")
    if base == "appointment_date":
        base = "scheduled_time"
    base = FIELD_OF.get((table.name, base), base)
    if base in table.plain or base.startswith("_"):
        return lambda row: row.get(base)
    for via, resource in (
        ("appointment", "appointments"),
        ("clinical_note_field", "clinical_note_field_types"),
        ("clinical_note_template", "clinical_note_templates"),
        ("line_item", "line_items"),
        ("lab_order", "lab_orders"),
        ("patient", "patients"),
        ("profile", "appointment_profiles"),
    ):
        if via in table.plain and base in practice.table(resource).plain:
            return _followed(practice, via, resource, base)
    return None


def _followed(practice: Practice, via: str, resource: str, name: str) -> Value:
    return lambda row: (practice.refers(resource, row.get(via)) or {}).get(name)


def _archived(filters: Filters, given: Mapping[str, str]) -> None:
    """Deleted visits are listed only on demand, virtual ones unless they are to be ignored."""
    if given.get("show_archived", "").lower() not in TRUE:
        filters.tests.append(lambda row: not row.get("deleted_flag"))
    if given.get("ignore_virtual", "").lower() in TRUE:
        filters.tests.append(lambda row: not row.get(VIRTUAL))
