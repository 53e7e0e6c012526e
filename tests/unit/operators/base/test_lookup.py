"""How a record is looked for: by which filters, and what counts as the same."""

from typing import Any

import pytest

from airflow_provider_drchrono.catalog import Field
from airflow_provider_drchrono.operators.base import InvalidArgumentError
from airflow_provider_drchrono.operators.base.lookup import Lookup, _comparable, plan_lookup

ANA = {"first_name": "Ana", "last_name": "Lopez", "date_of_birth": "1980-05-17", "gender": "Female", "doctor": 1}


def planned(operation_id: str, match_on: list[str], record: dict[str, Any]) -> Lookup:
    lookup = plan_lookup(operation_id, match_on, record)
    assert lookup is not None
    return lookup


@pytest.mark.parametrize(
    ("operation_id", "match_on", "filters"),
    [
        pytest.param("patients_create", [], ("date_of_birth", "gender"), id="birth date before names"),
        pytest.param("patients_create", ["last_name"], ("last_name",), id="a name where there is nothing else"),
        pytest.param("patients_create", ["doctor", "last_name"], ("doctor", "last_name"), id="a doctor has many"),
        pytest.param("patients_create", ["chart_id"], ("chart_id",), id="chart"),
        pytest.param("medications_create", ["patient", "name"], ("patient",), id="what cannot be filtered by"),
        pytest.param("custom_demographics_create", ["name"], (), id="nothing to filter by"),
    ],
)
def test_filters_select_few_records_without_missing_one(
    operation_id: str, match_on: list[str], filters: tuple[str, ...]
) -> None:
    record = ANA | {"chart_id": "C1", "patient": 1, "name": "x"}

    assert planned(operation_id, match_on, record).filters == filters


def test_an_appointment_is_selected_by_its_day() -> None:
    record = {"patient": 1, "scheduled_time": "2026-01-31T08:00:00"}
    assert planned("appointments_create", ["patient", "scheduled_time"], record).days == {"date": "scheduled_time"}
    with pytest.raises(
        InvalidArgumentError, match=r"lists these records only by since, .*add scheduled_time to match_on"
    ):
        plan_lookup("appointments_create", ["patient"], record)


def test_verbose_fields_are_asked_for() -> None:
    record = {"doctor": 1, "patient": 1, "description": "x", "reaction": "y"}
    assert planned("allergies_create", ["patient", "description"], record).verbose
    assert not planned("allergies_create", ["patient", "reaction"], record).verbose


@pytest.mark.parametrize(
    ("operation_id", "match_on", "record"),
    [
        pytest.param("medications_create", [], {"name": "x"}, id="nothing to match on"),
        pytest.param("patients_create", [], ANA | {"date_of_birth": None}, id="guard without a birth date"),
        pytest.param("yellow_notepad_create", ["content"], {"content": "x"}, id="no list"),
    ],
)
def test_what_cannot_be_looked_for(operation_id: str, match_on: list[str], record: dict[str, Any]) -> None:
    assert plan_lookup(operation_id, match_on, record) is None


@pytest.mark.parametrize(
    ("operation_id", "match_on", "record", "told"),
    [
        pytest.param("patients_create", ["emial"], ANA, "match_on names no field 'emial'", id="unknown"),
        pytest.param("patients_create", ["email"], ANA, "match_on names email, which data leaves empty", id="empty"),
        pytest.param("documents_create", ["document"], {"document": b"x"}, "files cannot be compared", id="file"),
    ],
)
def test_what_match_on_may_not_name(operation_id: str, match_on: list[str], record: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidArgumentError, match=told):
        plan_lookup(operation_id, match_on, record)


@pytest.mark.parametrize(
    ("operation_id", "name", "mine", "theirs", "same"),
    [
        pytest.param("patients_create", "last_name", " de  la Cruz", "De La Cruz ", True, id="case and blanks"),
        pytest.param("patients_create", "last_name", "Cruz", "Cruse", False, id="another name"),
        pytest.param("patients_create", "doctor", 1, "1", True, id="number as text"),
        pytest.param("patients_create", "copay", "12.5", "12.50", True, id="places of a decimal"),
        pytest.param("patients_create", "copay", "free", "12.50", False, id="no decimal"),
        pytest.param(
            "appointments_create", "scheduled_time", "2026-01-31T08:00:00", "2026-01-31 08:00", True, id="time"
        ),
        pytest.param("appointments_create", "scheduled_time", "2026-01-31T08:00:00", "soon", False, id="no time"),
        pytest.param("patients_create", "email", "", None, True, id="empty and null"),
        pytest.param("patients_create", "offices", [1, 2], [1, 2], True, id="list"),
        pytest.param("patients_create", "offices", [1, 2], [2, 1], False, id="another list"),
        pytest.param("patients_create", "disable_sms_messages", True, False, False, id="flag"),
    ],
)
def test_what_counts_as_the_same(operation_id: str, name: str, mine: Any, theirs: Any, same: bool) -> None:
    record = {"scheduled_time": "2026-01-31T08:00:00"} | {name: mine or "x"}
    lookup = planned(operation_id, [name], record)

    assert (lookup.key({name: mine}) == lookup.key({name: theirs})) is same


@pytest.mark.parametrize(
    ("name", "mine", "theirs", "contradicts"),
    [
        pytest.param("cell_phone", "5551234567", "(555) 123-4567", False, id="punctuation of the API"),
        pytest.param("cell_phone", "5551234567", "(555) 123-4568", True, id="another number"),
        pytest.param("city", "", "Springfield", False, id="nothing was sent"),
        pytest.param("city", "Springfield", None, True, id="empty in the record"),
        pytest.param("copay", "12.5", "12.50", False, id="places of a decimal"),
        pytest.param("date_of_first_appointment", "2026-01-31", "2026-01-31T00:00:00", False, id="day"),
        pytest.param("offices", [1], [1, 2], False, id="several parts"),
        pytest.param("unheard_of", "a", "b", False, id="not in the contract"),
    ],
)
def test_a_record_with_another_value_of_what_was_sent_may_be_of_somebody_else(
    name: str, mine: Any, theirs: Any, contradicts: bool
) -> None:
    lookup = planned("patients_create", [], ANA)

    assert lookup.contradicts(ANA | {name: mine}, ANA | {name: theirs}) is contradicts
    assert not lookup.contradicts(ANA | {name: mine}, ANA)


def test_a_time_of_day_is_the_same_with_and_without_seconds() -> None:
    field = Field("at", "string", format="time")

    assert _comparable(field, "08:30") == _comparable(field, "08:30:00") != _comparable(field, "08:31")
    assert _comparable(field, "soon") == "soon"
