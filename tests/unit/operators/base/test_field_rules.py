"""What the vendor's words forbid is refused before any call; what they advise is sent with a warning."""

import logging
from typing import Any

import pytest

from airflow_provider_drchrono.catalog import Field, load
from airflow_provider_drchrono.operators.appointments import DrChronoCreateAppointmentOperator
from airflow_provider_drchrono.operators.base import InvalidArgumentError
from airflow_provider_drchrono.operators.base.validation import check_body
from airflow_provider_drchrono.operators.documents import DrChronoCreateSignedConsentFormOperator
from airflow_provider_drchrono.sandbox import Sandbox
from tests.support.running import execute

LOGGER = "airflow_provider_drchrono.operators.base.validation"
CANARY = "Canaryname"

SLOT = {"doctor": 1, "office": 1, "exam_room": 1, "scheduled_time": "2026-01-05T10:00:00", "duration": 30}
BREAK = SLOT | {"appt_is_break": True}
CHARGE = {"appointment": 1, "code": "99213", "procedure_type": "C"}
BLOCK = {"provider": 1, "office": 1, "start_time": "2026-01-05T10:00:00", "end_time": "2026-01-05T11:00:00"}


def refusal(operation_id: str, data: Any) -> str:
    with pytest.raises(InvalidArgumentError) as refused:
        check_body(operation_id, data)
    assert CANARY not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("data", [BREAK | {"patient": None}, BREAK], ids=["null", "left out"])
@pytest.mark.parametrize("operation_id", ["appointments_create", "appointments_update"])
def test_a_break_has_no_patient(operation_id: str, data: dict[str, Any]) -> None:
    (body,) = check_body(operation_id, data)

    assert body.fields == BREAK | {"patient": None}


@pytest.mark.parametrize("appt_is_break", [None, False, "false"])
@pytest.mark.parametrize("patient", [{}, {"patient": None}], ids=["left out", "null"])
def test_a_visit_needs_a_patient(patient: dict[str, Any], appt_is_break: Any) -> None:
    told = refusal("appointments_create", SLOT | patient | {"appt_is_break": appt_is_break})

    assert "data needs patient, unless appt_is_break is true" in told


@pytest.mark.parametrize("given", [["scan", "2026"], '["scan", "2026"]'], ids=["list", "text"])
def test_a_list_is_sent_as_the_json_that_the_words_want(given: Any) -> None:
    (body,) = check_body("documents_partial_update", {"metatags": given})

    assert body.fields == {"metatags": '["scan", "2026"]'}


def test_what_makes_up_for_a_field_may_stand_in_extra_fields() -> None:
    (body,) = check_body("appointments_create", SLOT, {"appt_is_break": True})

    assert body.fields["patient"] is None


def test_a_break_is_understood_when_the_dag_is_parsed() -> None:
    DrChronoCreateAppointmentOperator(task_id="a", data=BREAK)
    DrChronoCreateAppointmentOperator(task_id="b", data=BREAK | {"appt_is_break": "{{ x }}"})
    with pytest.raises(InvalidArgumentError, match=r"data needs patient \(unless it gives appt_is_break\)"):
        DrChronoCreateAppointmentOperator(task_id="c", data=SLOT | {"appt_is_break": False})


def test_a_break_is_put_on_the_calendar(sandbox: Sandbox) -> None:
    doctor, office = (sandbox.practice.records(name)[0]["id"] for name in ("doctors", "offices"))
    data = BREAK | {"doctor": doctor, "office": office, "scheduled_time": "2031-01-05T10:00:00", "patient": None}

    created = execute(DrChronoCreateAppointmentOperator(task_id="a", data=data))

    assert (created["patient"], created["appt_is_break"]) == (None, True)
    assert sandbox.journal.calls()[-1].body == data


@pytest.mark.parametrize(
    ("operation_id", "data", "told"),
    [
        pytest.param(
            "patient_payments_create", {"patient": 1, "amount": "0.00"}, "['amount'] must not be 0", id="zero"
        ),
        pytest.param(
            "line_items_create",
            CHARGE | {"diagnosis_pointers": ["1", "2", "3", "4", "5"]},
            "['diagnosis_pointers'] has more than 4 elements",
            id="too many",
        ),
        pytest.param(
            "appointment_templates_create",
            {"office": 1, "exam_room": 0, "scheduled_time": "2026-01-05T09:30:00", "profile": 1},
            "['exam_room'] must be 1 or more",
            id="too small",
        ),
        pytest.param("tasks_partial_update", {"status": -1}, "['status'] must be 1 or more", id="an id of no record"),
        pytest.param(
            "appointment_templates_partial_update",
            {"week_days": [0, 7]},
            "['week_days'][1] must be from 0 to 6",
            id="out of range inside a list",
        ),
        pytest.param(
            "offices_partial_update",
            {"online_timeslots": [{"day": 1, "hour": 9, "minute": 0}, {"day": 2, "hour": 24, "minute": 0}]},
            "['online_timeslots'][1]['hour'] must be from 0 to 23",
            id="out of range inside a record of a list",
        ),
        pytest.param(
            "custom_demographics_partial_update",
            {"template_name": f"{CANARY} 2"},
            "['template_name'] has another form than DrChrono describes",
            id="form",
        ),
        pytest.param(
            "patients_partial_update",
            {"patient_photo_date": "2026-01-01"},
            "['patient_photo_date'] can be sent only together with patient_photo",
            id="not alone",
        ),
        pytest.param(
            "schedule_blocks_create",
            BLOCK | {"end_time": "2026-01-05T09:00:00"},
            "['start_time'] must be before end_time",
            id="order",
        ),
        pytest.param(
            "schedule_blocks_create",
            BLOCK | {"end_time": BLOCK["start_time"]},
            "['start_time'] must be before end_time",
            id="no time at all",
        ),
        pytest.param(
            "documents_partial_update", {"metatags": "a, b"}, "['metatags'] must be a list, or JSON as text", id="json"
        ),
        pytest.param("tasks_create", {"title": "None", "status": 1}, "['title'] is the word None", id="no text"),
        pytest.param("tasks_create", {"title": None, "status": 1}, "['title'] must not be null (did its", id="null"),
    ],
)
def test_what_the_words_forbid_is_refused(operation_id: str, data: dict[str, Any], told: str) -> None:
    assert f"data{told}" in refusal(operation_id, data)


@pytest.mark.parametrize(
    ("operation_id", "data", "told"),
    [
        pytest.param(
            "appointments_create",
            {name: value for name, value in SLOT.items() if name != "duration"} | {"patient": 1},
            "data needs duration, unless profile is given",
            id="one field or another",
        ),
        pytest.param(
            "tasks_create",
            {"title": "Call", "status": 1},
            "data has neither assignee_group nor assignee_user; give one of them",
            id="one of two",
        ),
        pytest.param(
            "patients_partial_update",
            {"state": CANARY},
            "data['state'] has another form than DrChrono describes",
            id="form",
        ),
        pytest.param(
            "appointments_partial_update",
            {"vitals": {"pain": "eleven"}},
            "data['vitals']['pain'] has another form than DrChrono describes",
            id="form inside a record",
        ),
        pytest.param(
            "appointments_partial_update",
            {"status": "confirmed"},
            "data['status'] is not a standard value (did you mean 'Confirmed'?)",
            id="near a standard value",
        ),
    ],
)
def test_what_the_words_advise_is_sent_with_a_warning(
    caplog: pytest.LogCaptureFixture, operation_id: str, data: dict[str, Any], told: str
) -> None:
    with caplog.at_level(logging.WARNING, LOGGER):
        (body,) = check_body(operation_id, data)

    assert body.fields == data
    (record,) = caplog.records
    assert told in record.getMessage()
    assert CANARY not in record.getMessage()


@pytest.mark.parametrize(
    ("operation_id", "data"),
    [
        pytest.param("appointment_templates_partial_update", {"week_days": [0, 1, 6]}, id="from the least on"),
        pytest.param("appointment_templates_partial_update", {"exam_room": 1}, id="the least of what has no largest"),
        pytest.param("appointment_templates_partial_update", {"exam_room": 40}, id="more"),
        pytest.param("line_items_partial_update", {"diagnosis_pointers": ["1", "2", "3", "4"]}, id="as many as fit"),
        pytest.param("schedule_blocks_create", BLOCK, id="in their order"),
    ],
)
def test_values_up_to_the_bounds_are_sent(operation_id: str, data: dict[str, Any]) -> None:
    (body,) = check_body(operation_id, data)

    assert body.fields == data


@pytest.mark.parametrize("status", ["Ready for doctor", "Confirmed", ""])
def test_a_status_that_nobody_would_misspell_is_sent_without_a_word(
    caplog: pytest.LogCaptureFixture, status: str
) -> None:
    with caplog.at_level(logging.WARNING, LOGGER):
        check_body("appointments_partial_update", {"status": status})

    assert caplog.records == []


@pytest.mark.parametrize("state", ["", None, "NY"])
def test_a_field_that_is_emptied_has_no_form(caplog: pytest.LogCaptureFixture, state: str | None) -> None:
    with caplog.at_level(logging.WARNING, LOGGER):
        (body,) = check_body("patients_partial_update", {"state": state})

    assert body.fields == {"state": state}
    assert caplog.records == []


def test_rules_about_two_fields_stand_at_the_top_of_a_record_only() -> None:
    def inside(fields: tuple[Field, ...]) -> list[Field]:
        found = []
        for each in fields:
            inner = (*each.fields, *((each.items, *each.items.fields) if each.items else ()))
            found += [*inner, *inside(inner)]
        return found

    for record in load().records.values():
        for each in inside(tuple(record.fields.values())):
            rules = (each.required_unless, each.only_with, each.before)
            assert rules == (None, None, None), f"{record.name}: {each.name}"


def test_a_form_is_not_filed_under_another_patient_than_the_one_named(sandbox: Sandbox) -> None:
    ids = {"patient_id": 1, "appointment_id": 2, "consent_form_id": 3}
    operator = DrChronoCreateSignedConsentFormOperator(task_id="a", **ids, data={"patient": 4})

    with pytest.raises(InvalidArgumentError, match=r"data\['patient'\] and patient_id say different things"):
        execute(operator)

    assert sandbox.journal.calls() == []


def test_a_signed_form_takes_three_ids_and_nothing_else(sandbox: Sandbox) -> None:
    visit = next(each for each in sandbox.practice.records("appointments") if each["patient"])
    form = sandbox.practice.records("consent_forms")[0]["id"]
    operator = DrChronoCreateSignedConsentFormOperator(
        task_id="a", patient_id=visit["patient"], appointment_id=int(visit["id"]), consent_form_id=form
    )

    created = execute(operator)

    call = sandbox.journal.calls()[-1]
    assert (call.operation_id, call.body) == ("signed_consent_forms_create", {})
    assert created["patient"] == visit["patient"]
