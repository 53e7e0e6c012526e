"""``airflow drchrono describe``: one answer for each of the names that a thing has."""

import json

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.catalog.wording import rules_of
from airflow_provider_drchrono.cli.describe import of_operation, of_resource
from tests.unit.cli.test_index import run

CATALOG = load()


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["appointments_create"], id="operation"),
        pytest.param(["DrChronoCreateAppointmentOperator"], id="operator"),
        pytest.param(["airflow_provider_drchrono.operators.appointments.DrChronoCreateAppointmentOperator"], id="path"),
        pytest.param(["CreateAppointment"], id="short name of the operator"),
        pytest.param(["Create", "Appointment", "On", "Doctor", "Calendar"], id="action, word by word"),
        pytest.param(["create appointment on doctor calendar"], id="action in lower case"),
    ],
)
def test_an_operation_has_many_names(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    run("describe", *words)

    shown = capsys.readouterr().out
    assert shown.startswith("appointments_create: Put a visit or a break on a doctor's calendar.")
    for line in (
        "Call:            POST /api/appointments",
        "Scopes:          calendar:write, clinical:write",
        "  - 409 means that the time overlaps another appointment; allow_overlapping lets it through.",
        "  - patient has to be given, unless appt_is_break is.",
        "  DrChronoCreateAppointmentOperator(",
        "  office (integer, required) Practice location where the visit takes place; id in offices.",
        "  clinical_note.locked (true or false) True once the doctor has signed the note, which then stays as it is.",
        "  reminders[] (list of object, verbose only) ",
    ):
        assert any(each.startswith(line) for each in shown.splitlines()), line
    assert "and more" not in shown


def test_a_resource_names_its_operations_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    run("describe", "patients")

    shown = capsys.readouterr().out
    assert shown.startswith("patients: Charts of patients")
    assert "  patients_read: Read a patient by id. GET /api/patients/{id}" in shown
    assert "Changes:         filter since, field updated_at" in shown
    assert "  date_of_birth (date)" in shown


def test_what_has_to_be_given_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    run("describe", "appointments_create", "-o", "json")

    fields = [each for each in json.loads(capsys.readouterr().out)["data"] if not set(".[") & set(each["name"])]
    asked = [each["required"] for each in fields]
    assert asked == sorted(asked, reverse=True)
    required = CATALOG.required_fields(CATALOG.operation("appointments_create"))
    assert {each["name"] for each in fields if each["required"]} == set(required)


def test_json_has_everything_as_values(capsys: pytest.CaptureFixture[str]) -> None:
    run("describe", "patients_list", "-o", "json")

    described = json.loads(capsys.readouterr().out)
    assert described["operator"].endswith("DrChronoListPatientsOperator")
    (doctor,) = [each for each in described["arguments"] if each["name"] == "doctor"]
    assert doctor == {
        "argument": "filters",
        "name": "doctor",
        "type": "integer",
        "required": False,
        "meaning": CATALOG.operation("patients_list").parameter("doctor").about,
        "values": "id in `doctors`",
    }
    returned = {each["name"].removesuffix("[]") for each in described["returned"]}
    assert returned >= set(CATALOG.record("Patient").fields)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        pytest.param("pateints_create", "patients_create", id="operation"),
        pytest.param("patiens", "patients", id="resource"),
        pytest.param("Create Appointment On Doctors Calender", "Create Appointment On Doctor Calendar", id="action"),
        pytest.param("DrChronoCreatePatientsOperator", "DrChronoCreatePatientOperator", id="operator"),
    ],
)
def test_a_misspelt_name_is_met_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(SystemExit, match=f"did you mean .*{near}"):
        run("describe", name)


def test_everything_can_be_described() -> None:
    for operation in CATALOG.operations.values():
        described = of_operation(CATALOG, operation)
        assert described["example"].startswith("DrChrono"), operation.id
        assert all(rule.endswith(".") and "None" not in rule for rule in described["rules"]), operation.id
        given = {each["name"].removesuffix("[]") for each in described["data"]}
        assert given >= {each.name for each in CATALOG.data_fields(operation)}
    for resource in CATALOG.resources.values():
        assert of_resource(CATALOG, resource)["operations"], resource.name


@pytest.mark.parametrize(
    ("operation_id", "rule"),
    [
        pytest.param("appointments_list", "It needs one of the filters `since`, `occurred_since`, ", id="filters"),
        pytest.param("appointments_list", "`date_range` spans 190 days at most; ", id="range"),
        pytest.param("amendments_list", "Only what the API application itself created", id="own application"),
        pytest.param("documents_delete", "The record stays, with `archived` set.", id="soft delete"),
        pytest.param("yellow_notepad_create", "It changes the record if it is there already.", id="create or update"),
        pytest.param("signed_consent_forms_create", "It is always sent as a form, one record at a time.", id="form"),
        pytest.param("patient_payments_create", "`amount` must not be 0.", id="zero"),
        pytest.param("schedule_blocks_create", "`start_time` has to be before `end_time`.", id="order"),
        pytest.param("documents_create", "`metatags` is JSON as text; a list is written out.", id="json"),
        pytest.param("message_threads_list", "The vendor calls it a beta: it may change.", id="beta"),
        pytest.param("appointment_templates_create", "`exam_room` is 1 or more.", id="at least"),
        pytest.param("appointment_templates_create", "`week_days` goes from 0 to 6.", id="bounds of elements"),
    ],
)
def test_rules_are_told_in_sentences(operation_id: str, rule: str) -> None:
    assert any(each.startswith(rule) for each in rules_of(CATALOG, CATALOG.operation(operation_id)))


def test_what_is_only_advised_is_not_told_as_a_rule() -> None:
    assert not any("`state`" in each for each in rules_of(CATALOG, CATALOG.operation("patients_create")))
