"""One selection gets one answer, wherever it is given: names, values, zones, ranges, emptiness."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.client.errors import InvalidArgumentError
from airflow_provider_drchrono.client.filters import Filters, encode, problem_of_extra_filter, split_range

CANARY = "Canary-7391"


def filters_of(operation_id: str) -> Filters:
    return Filters.of(load(), load().operation(operation_id))


@pytest.mark.parametrize(
    ("operation_id", "name", "given", "checked"),
    [
        pytest.param("patients_list", "doctor", " 12 ", 12, id="id as text"),
        pytest.param("patients_list", "doctor", 12.0, 12, id="id as a whole float"),
        pytest.param("patients_list", "last_name", "  Ana ", "Ana", id="text"),
        pytest.param("patients_list", "date_of_birth", date(1990, 2, 3), "1990-02-03", id="date"),
        pytest.param("patients_list", "since", date(2026, 1, 31), "2026-01-31", id="since a day"),
        pytest.param("patients_list", "since", "2026-01-31 08:05", "2026-01-31T08:05:00", id="since a time"),
        pytest.param("appointments_list", "show_archived", "yes", True, id="switch as a word"),
        pytest.param("appointments_list", "date_range", ["2026-01-01", "2026-01-09"], "2026-01-01/2026-01-09", id="2"),
        pytest.param("daysheet_totals_list", "start_date", date(2026, 1, 5), "1/5/2026", id="American date"),
        pytest.param("daysheet_totals_list", "start_date", "2026-01-31", "1/31/2026", id="from ISO"),
        pytest.param("daysheet_totals_list", "start_date", "1/31/2026", "1/31/2026", id="American date as it is"),
        pytest.param("audit_log_list", "action", "Delete", "Delete", id="one of the allowed values"),
        pytest.param("appointment_templates_list", "week_days", (0, "2"), [0, 2], id="several"),
        pytest.param("appointment_templates_list", "week_days", "0,2", [0, 2], id="several as text"),
        pytest.param("appointment_templates_list", "week_days", "0,6", [0, 6], id="the least and the largest"),
    ],
)
def test_values_as_the_api_reads_them(operation_id: str, name: str, given: Any, checked: Any) -> None:
    one_of = {"since": "2026-01-01"} if operation_id in ("appointments_list", "audit_log_list") else {}
    required = {"start_date": "2026-01-01", "end_date": "2026-01-31"} if "daysheet" in operation_id else {}
    assert filters_of(operation_id).checked(one_of | required | {name: given})[name] == checked


@pytest.mark.parametrize(
    ("operation_id", "name", "given", "problem"),
    [
        pytest.param("patients_list", "doctor", CANARY, "must be a whole number, not this text", id="word as an id"),
        pytest.param("patients_list", "doctor", 0, "must be 1 or more", id="no id is zero"),
        pytest.param("appointments_list", "patient", "-1", "must be 1 or more", id="no id is negative"),
        pytest.param("patients_list", "doctor", "", "is empty, which would select everything", id="empty id"),
        pytest.param("patients_list", "last_name", "  ", "is empty, which would select everything", id="blank"),
        pytest.param("patients_list", "date_of_birth", "01/31/2026", "must be a date such as", id="American"),
        pytest.param("patients_list", "since", "yesterday", "must be a time such as 2026-01-31T08:00:00", id="word"),
        pytest.param("appointments_list", "date", "2026-02-30", "must be a date", id="no such day"),
        pytest.param("appointments_list", "show_archived", "maybe", "must be true or false", id="no switch"),
        pytest.param("appointments_list", "date_range", "2026-01-01", "must be two dates", id="half a range"),
        pytest.param("appointments_list", "date_range", "2026-02-01/2026-01-01", "ends before", id="backwards"),
        pytest.param("audit_log_list", "action", "delete", "upper and lower case only", id="another case"),
        pytest.param("appointment_templates_list", "week_days", "7", "must be between 0 and 6", id="too large"),
        pytest.param("appointment_templates_list", "week_days", [-1], "must be between 0 and 6", id="too small"),
        pytest.param("appointment_templates_list", "week_days", [], "is an empty list", id="none of several"),
    ],
)
def test_values_that_cannot_be_sent(operation_id: str, name: str, given: Any, problem: str) -> None:
    filters = filters_of(operation_id)
    one_of = {"since": "2026-01-01"} if operation_id in ("appointments_list", "audit_log_list") else {}
    with pytest.raises(InvalidArgumentError) as refused:
        filters.checked(one_of | {name: given})

    assert f"{operation_id}: filters[{name!r}]" in str(refused.value)
    assert problem in str(refused.value)
    assert CANARY not in str(refused.value)
    assert filters.problems(one_of | {name: given}) == [
        str(refused.value)[len(operation_id) + 2 :].split(". Nothing")[0]
    ]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        filters_of("appointments_list").checked({"doctr": 1, "office": "north", "page_size": 5})

    assert str(refused.value) == (
        "appointments_list: there is no filter 'doctr' (did you mean 'doctor'?); filters['office'] must be a whole "
        "number, not this text; there is no filter 'page_size'; filters need at least one of since, occurred_since, "
        "date, date_range: the API lists nothing without. Nothing was sent"
    )


def test_a_time_with_a_zone_is_converted_where_the_practices_is_known_and_else_refused() -> None:
    filters, instant = filters_of("patients_list"), datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert filters.checked({"since": instant}, zone="America/New_York") == {"since": "2026-01-01T07:00:00"}
    assert filters.checked({"since": "2026-01-01T12:00:00Z"}, zone="America/New_York") == {
        "since": "2026-01-01T07:00:00"
    }
    with pytest.raises(InvalidArgumentError, match=r"filters\['since'\] has a time zone.*set timezone"):
        filters.checked({"since": instant})
    # While a DAG is parsed nobody knows the connection's zone yet.
    assert filters.problems({"since": instant}) == []


def test_templates_are_judged_when_the_task_runs_and_their_names_before() -> None:
    def is_template(value: object) -> bool:
        return isinstance(value, str) and "{" in value

    filters = filters_of("appointments_list")
    assert filters.problems({"date": "{{ ds }}"}, is_template=is_template) == []
    assert filters.problems({"dat": "{{ ds }}", "date": "{{ ds }}"}, is_template=is_template) == [
        "there is no filter 'dat' (did you mean 'date'?)"
    ]


def test_none_leaves_a_filter_out_and_text_may_be_what_a_template_rendered() -> None:
    filters = filters_of("patients_list")
    assert filters.checked(None) == filters.checked({}) == filters.checked({"doctor": None}) == {}
    assert filters.checked("{'doctor': 5}") == filters.checked('{"doctor": "5"}') == {"doctor": 5}
    with pytest.raises(InvalidArgumentError, match="filters must be a mapping of filters, not str"):
        filters.checked(CANARY)


def test_what_the_caller_sets_itself_is_no_filter() -> None:
    filters = Filters.of_incremental(load(), "messages", reserved={"type": "is kept for a test"})
    assert filters.problems({"since": 1, "updated_since": 1, "type": "GP"}) == [
        "since is what changes are looked for by: use the argument since or start, not the filter",
        "updated_since is what changes are looked for by: use the argument since or start, not the filter",
        "type is kept for a test",
    ]
    # It satisfies a list that insists on one of several filters.
    assert Filters.of_incremental(load(), "appointments").problems({"doctor": 1}) == []
    for resource, problem in (
        ("patiens", "did you mean 'patients'"),
        ("doctors", "no list that can be asked for changes"),
    ):
        with pytest.raises(InvalidArgumentError, match=problem):
            Filters.of_incremental(load(), resource)


def test_a_range_that_is_too_long_becomes_several_selections() -> None:
    filters = filters_of("appointments_list")
    checked = filters.checked({"date_range": "2026-01-01/2026-12-31", "doctor": 1})
    assert filters.queries(checked) == [
        {"date_range": "2026-01-01/2026-07-09", "doctor": 1},
        {"date_range": "2026-07-10/2026-12-31", "doctor": 1},
    ]
    assert filters.queries({"doctor": 1}) == [{"doctor": 1}]
    assert split_range("2026-01-01/2026-01-01", 190) == ["2026-01-01/2026-01-01"]


def test_what_may_be_stored_says_nothing_of_a_person() -> None:
    filters = Filters.of_incremental(load(), "patients")
    assert filters.public({"doctor": 1, "last_name": CANARY}) == {"doctor": 1}


def test_every_filter_of_every_operation_has_values_that_it_takes() -> None:
    samples = [7, [0, 2], "2026-01-31", "2026-01-01/2026-01-31", "1/31/2026", True, "text"]
    for operation in load().operations.values():
        filters = Filters(operation)
        for name, parameter in filters.parameters.items():
            tried = [*parameter.enum, *samples]
            assert any(not filters.problems({name: value} | needed(filters, name)) for value in tried), name


def needed(filters: Filters, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in filters.parameters.values():
        if each.required and each.name != name:
            by_format = {"M/D/YYYY": "1/31/2026", "date": "2026-01-31"}
            found[each.name] = each.enum[0] if each.enum else by_format.get(each.format or "", 7)
    return found


def test_values_in_a_query() -> None:
    assert [encode(value) for value in (True, False, 5, "a b", [1, 2])] == ["true", "false", "5", "a b", "1,2"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        pytest.param("location_code", None, id="unknown"),
        pytest.param("doctor", "doctor is a filter that is known", id="known"),
        pytest.param("cursor", "extra_filters cannot have cursor, which belongs to the paging", id="paging"),
        pytest.param("two words", "a name that no query parameter has", id="spaces"),
        pytest.param("", "a name that no query parameter has", id="empty"),
        pytest.param(5, "a name that no query parameter has", id="number"),
    ],
)
def test_extra_filters_are_those_that_the_catalogue_does_not_know(name: object, problem: str | None) -> None:
    spelt_anew = "".join(list(name)) if isinstance(name, str) else name
    found = problem_of_extra_filter(load().operation("patients_list"), spelt_anew)

    assert found is None if problem is None else found is not None and problem in found
