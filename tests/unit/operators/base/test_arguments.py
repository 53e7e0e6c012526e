"""What is refused while a DAG is parsed, and what is left for the run."""

from typing import Any

import pytest
from airflow.sdk import DAG, XComArg

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.common.arguments import path_id
from airflow_provider_drchrono.operators.appointments import DrChronoListAppointmentsOperator
from airflow_provider_drchrono.operators.base import InvalidArgumentError
from airflow_provider_drchrono.operators.billing import (
    DrChronoCreateLineItemOperator,
    DrChronoGetDaySheetTotalsOperator,
)
from airflow_provider_drchrono.operators.patients import (
    DrChronoCreatePatientOperator,
    DrChronoGetPatientOperator,
    DrChronoListPatientsOperator,
    DrChronoReplacePatientOperator,
    DrChronoUpdatePatientOperator,
)

AN_ID = load().operation("appointments_read").parameter("id")
PATIENT = {"doctor": 1, "gender": "Female"}


def create(data: Any, **options: Any) -> DrChronoCreatePatientOperator:
    return DrChronoCreatePatientOperator(task_id="create", data=data, **options)


def another_task() -> XComArg:
    with DAG("a_dag", schedule=None):
        return DrChronoListPatientsOperator(task_id="before").output


@pytest.mark.parametrize(
    ("data", "told"),
    [
        pytest.param(
            PATIENT | {"frist_name": "x"},
            "data has no field 'frist_name' (did you mean 'first_name'?)",
            id="misspelt",
        ),
        pytest.param(PATIENT | {"zzz": 1}, "data has no field 'zzz'", id="nothing near"),
        pytest.param(PATIENT | {"id": 1}, "data has 'id', which is read-only: DrChrono sets it, leave it out", id="id"),
        pytest.param({"first_name": "x"}, "data needs doctor, gender", id="missing are listed together"),
        pytest.param({}, "data is empty; give at least one field to send", id="empty"),
        pytest.param([], "data is empty; give at least one field to send", id="empty list"),
        pytest.param(
            [PATIENT, {}], "data[1] is empty; give at least one field to send; data[1] needs", id="empty in list"
        ),
        pytest.param(
            [PATIENT, {"doctor": 1}, PATIENT | {"x": 1}],
            "data[1] needs gender; data[2] has no field 'x'",
            id="elements are named",
        ),
        pytest.param([PATIENT, 3], "data[1] must be a mapping of fields, not int", id="element of another type"),
        pytest.param(3, "data must be a mapping of fields, or a list of them, not int", id="number"),
        pytest.param(b"{}", "data must be a mapping of fields, or a list of them, not bytes", id="bytes"),
        pytest.param(None, "data must be a mapping of fields, or a list of them, not NoneType", id="none"),
    ],
)
def test_bad_bodies_fail_when_the_dag_is_parsed(data: Any, told: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        create(data)

    assert told in str(refused.value)
    assert str(refused.value).startswith("patients_create: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("{{ params.patient }}", id="template"),
        pytest.param(["{{ params.patient }}", PATIENT], id="template in a list"),
        pytest.param({"doctor": "{{ params.doctor }}", "gender": "{{ params.gender }}"}, id="templates as values"),
        pytest.param(another_task(), id="xcom"),
        pytest.param(lambda context, jinja_env: PATIENT, id="callable"),
    ],
)
def test_what_gets_its_value_later_passes(data: Any) -> None:
    assert create(data).data is data


def test_a_change_needs_one_field_and_a_replace_the_required_ones() -> None:
    DrChronoUpdatePatientOperator(task_id="update", patient_id=1, data={"city": "Springfield"})
    with pytest.raises(InvalidArgumentError, match="data is empty"):
        DrChronoUpdatePatientOperator(task_id="update", patient_id=1, data={})
    with pytest.raises(InvalidArgumentError, match="data must be a mapping of fields not list"):
        DrChronoUpdatePatientOperator(task_id="update", patient_id=1, data=[{"city": "Springfield"}])
    with pytest.raises(InvalidArgumentError, match="data needs doctor, gender"):
        DrChronoReplacePatientOperator(task_id="replace", patient_id=1, data={"city": "Springfield"})


def test_extra_fields_count_and_may_not_repeat_a_field() -> None:
    create({"doctor": 1}, extra_fields={"gender": "Female", "brand_new": 1})
    create({"doctor": 1}, extra_fields="{{ params.more }}")
    create({}, extra_fields=PATIENT)
    with pytest.raises(InvalidArgumentError, match="data and extra_fields both have 'doctor'; give it once"):
        create(PATIENT, extra_fields={"doctor": 2})


@pytest.mark.parametrize(
    ("operator", "filters", "told"),
    [
        pytest.param(
            DrChronoListPatientsOperator,
            {"lastname": "x"},
            "there is no filter 'lastname' (did you mean 'last_name'?)",
            id="misspelt",
        ),
        pytest.param(DrChronoListPatientsOperator, {"cursor": "x"}, "there is no filter 'cursor'", id="mechanics"),
        pytest.param(DrChronoListPatientsOperator, ["x"], "filters must be a mapping of filters, not list", id="list"),
        pytest.param(
            DrChronoListAppointmentsOperator,
            {"doctor": 1},
            "filters need at least one of since, occurred_since, date, date_range",
            id="one of",
        ),
        pytest.param(
            DrChronoGetDaySheetTotalsOperator, {"patient_id": 1}, "filters need start_date, end_date", id="required"
        ),
    ],
)
def test_bad_filters_fail_when_the_dag_is_parsed(operator: Any, filters: Any, told: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        operator(task_id="list", filters=filters)

    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        pytest.param(
            lambda: DrChronoGetPatientOperator(task_id="t", patient_id=1, on_missing="ignore"),
            "patients_read: on_missing must be one of 'fail', 'skip', 'none', not 'ignore'",
            id="on_missing",
        ),
        pytest.param(
            lambda: create(PATIENT, if_exists="replace"),
            "if_exists must be one of 'create', 'skip', 'update', 'fail', not 'replace'",
            id="if_exists",
        ),
        pytest.param(
            lambda: create(PATIENT, match_on=["last_nam"]),
            "match_on names no field 'last_nam' (did you mean 'last_name'",
            id="match_on",
        ),
        pytest.param(
            lambda: create(PATIENT, match_on="doctor"), "match_on must be a list of names", id="match_on text"
        ),
        pytest.param(
            lambda: DrChronoCreateLineItemOperator(task_id="t", data="{{ x }}", if_exists="skip"),
            "if_exists='skip' needs match_on",
            id="nothing to match on",
        ),
        pytest.param(
            lambda: DrChronoGetPatientOperator(task_id="t"), "missing keyword argument 'patient_id'", id="no id"
        ),
        pytest.param(
            lambda: DrChronoGetPatientOperator(task_id="t", patient_id=1, verbos=True),
            "Invalid arguments were passed to DrChronoGetPatientOperator",
            id="unknown argument",
        ),
    ],
)
def test_bad_options_fail_when_the_dag_is_parsed(make: Any, told: str) -> None:
    with pytest.raises((InvalidArgumentError, TypeError)) as refused:
        make()

    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        pytest.param(42, 42, id="number"),
        pytest.param(" 42 ", "42", id="text"),
        pytest.param("2026-01-31_4711", "2026-01-31_4711", id="occurrence"),
    ],
)
def test_ids_that_can_be_sent(value: Any, sent: Any) -> None:
    assert path_id("patients_read", "patient_id", value, AN_ID) == sent


@pytest.mark.parametrize(
    ("value", "told"),
    [
        pytest.param(None, "patient_id is missing", id="none"),
        pytest.param("", "patient_id is empty", id="empty"),
        pytest.param("  ", "patient_id is empty", id="blank"),
        pytest.param("None", "did its template or XCom find no record", id="none rendered as text"),
        pytest.param("1/2", "has a character that no id has", id="slash"),
        pytest.param("..", "has a character that no id has", id="dots"),
        pytest.param("a..b", "has a character that no id has", id="dots inside"),
        pytest.param("%2e%2e", "has a character that no id has", id="encoded dots"),
        pytest.param("1?x=2", "has a character that no id has", id="query"),
        pytest.param("1\n", None, id="line break at the end is cut off"),
        pytest.param("1\n2", "has a character that no id has", id="line break"),
        pytest.param(True, "patient_id is of type bool", id="truth"),
        pytest.param(1.0, "patient_id is of type float", id="float"),
        pytest.param({"id": 1}, "patient_id is of type dict", id="record"),
    ],
)
def test_ids_that_cannot_be_sent(value: Any, told: str | None) -> None:
    if told is None:
        assert path_id("patients_read", "patient_id", value, AN_ID) == "1"
        return
    with pytest.raises(InvalidArgumentError) as refused:
        path_id("patients_read", "patient_id", value, AN_ID)

    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("operation_id", "value"),
    [
        ("patients_read", 0),
        ("patients_read", "-1"),
        ("appointments_read", "2026-13-01_4711"),
        ("appointments_read", "2026-02-30_4711"),
        ("appointments_read", "0"),
    ],
)
def test_numbers_that_no_record_has_are_not_sent(operation_id: str, value: Any) -> None:
    parameter = load().operation(operation_id).parameter("id")

    with pytest.raises(InvalidArgumentError, match=r"the_id must be (1 or more|the id of an appointment)"):
        path_id(operation_id, "the_id", value, parameter)


def test_the_signed_in_user_has_a_word_for_an_id_and_nobody_else() -> None:
    user = load().operation("users_read").parameter("id")
    assert path_id("users_read", "user_id", "current", user) == "current"
    with pytest.raises(InvalidArgumentError, match="patient_id must be a whole number, not this text"):
        path_id("patients_read", "patient_id", "abc", load().operation("patients_read").parameter("id"))
