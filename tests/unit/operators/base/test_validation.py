"""Bodies and filters as a whole: where each problem is, all of them at once, and nothing of the values."""

from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_drchrono.common.arguments import checked_filters, operation_filters
from airflow_provider_drchrono.operators.base import InvalidArgumentError, validation
from airflow_provider_drchrono.operators.base.validation import check_body, check_option
from tests.support.examples import operations

PATIENT = {"doctor": "12", "gender": "Female"}
CANARY = "Canaryname"


def refusal(operation_id: str, data: Any, extra: Any = None, **options: Any) -> str:
    with pytest.raises(InvalidArgumentError) as refused:
        check_body(operation_id, data, extra, **options)
    text = str(refused.value)
    assert text.startswith(f"{operation_id}: ")
    assert "\n" not in text
    assert CANARY not in text
    assert CANARY.lower() not in text
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None
    return text


def test_a_field_that_is_an_option_of_the_query_too_may_be_in_the_body() -> None:
    (body,) = check_body("signed_consent_forms_create", {"appointment": "5", "consent_form": 6})

    assert body.fields == {"appointment": 5, "consent_form": 6}


def test_text_that_templating_produced_becomes_what_the_field_holds() -> None:
    (body,) = check_body(
        "patients_create",
        {
            "doctor": " 12 ",
            "gender": "Female",
            "offices": "[1, 2]",
            "disable_sms_messages": "True",
            "primary_insurance": '{"insurance_group_number": 7}',
            "custom_demographics": [{"field_type": "3", "value": CANARY}],
            "date_of_birth": datetime(2026, 1, 1, 3, tzinfo=UTC),
            "zip_code": 2138,
            "chart_id": None,
        },
        zone="America/New_York",
    )

    assert body.fields == {
        "doctor": 12,
        "gender": "Female",
        "offices": [1, 2],
        "disable_sms_messages": True,
        "primary_insurance": {"insurance_group_number": "7"},
        "custom_demographics": [{"field_type": 3, "value": CANARY}],
        "date_of_birth": "2025-12-31",
        "zip_code": "2138",
        "chart_id": None,
    }
    assert CANARY not in repr(body)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        pytest.param({"gender": "Other"}, "data needs doctor", id="missing"),
        pytest.param({}, "data needs doctor, gender", id="missing are listed together"),
        pytest.param(PATIENT | {"emial": CANARY}, "data has no field 'emial' (did you mean 'email'?)", id="unknown"),
        pytest.param(PATIENT | {"id": 1}, "data has 'id', which is read-only", id="read-only"),
        pytest.param(PATIENT | {"doctor": CANARY}, "data['doctor'] must be a whole number, not this text", id="type"),
        pytest.param(PATIENT | {"doctor": None}, "data['doctor'] must not be null", id="null"),
        pytest.param(
            PATIENT | {"gender": "female"}, "data['gender'] differs from an allowed value in upper and lower", id="case"
        ),
        pytest.param(PATIENT | {"gender": CANARY}, "data['gender'] is none of the allowed values", id="choice"),
        pytest.param(
            PATIENT | {"first_name": CANARY * 1_000_000}, "data['first_name'] is text of 10,000,000", id="ten megabytes"
        ),
        pytest.param(
            PATIENT | {"primary_insurance": {"insurance_payer_nme": CANARY}},
            "data['primary_insurance'] has no field 'insurance_payer_nme' (did you mean 'insurance_payer_id'?)",
            id="unknown inside",
        ),
        pytest.param(
            PATIENT | {"primary_insurance": CANARY},
            "data['primary_insurance'] must be a mapping of fields",
            id="text inside",
        ),
        pytest.param(
            PATIENT | {"custom_demographics": [{}, {"field_type": CANARY}]},
            "data['custom_demographics'][1]['field_type'] must be a whole number",
            id="element inside",
        ),
        pytest.param(
            PATIENT | {"custom_demographics": [{"updated_at": CANARY}]},
            "data['custom_demographics'][0] has 'updated_at', which is read-only",
            id="read-only inside",
        ),
        pytest.param(PATIENT | {"offices": 3}, "data['offices'] must be a list, not a number", id="number for a list"),
        pytest.param(
            [PATIENT, PATIENT | {"doctor": CANARY}], "data[1]['doctor'] must be a whole number", id="in a list"
        ),
        pytest.param([PATIENT, CANARY], "data[1] must be a mapping of fields, not this text", id="text in a list"),
        pytest.param([], "data is an empty list; give at least one record to send", id="empty list"),
        pytest.param(CANARY, "data must be a mapping of fields, not text that is no mapping or list", id="text"),
        pytest.param(None, "data must be a mapping of fields, not NoneType", id="none"),
        pytest.param(
            PATIENT | {"patient_photo": f"/nowhere/{CANARY}.png"},
            "data['patient_photo'] cannot be read: there is no such file",
            id="no such file",
        ),
        pytest.param({1: 2} | PATIENT, "data", id="key that is no text"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(data: Any, told: str) -> None:
    assert told in refusal("patients_create", data)


def test_everything_is_told_at_once_but_not_without_end() -> None:
    several = refusal("patients_create", {"gender": "x", "emial": 1, "offices": 1, "id": 3})
    assert all(each in several for each in ("needs doctor", "data['gender']", "'emial'", "data['offices']", "'id'"))

    endless = refusal("patients_create", [{"doctor": CANARY, "gender": "Other"}] * 200)
    assert "and 190 more" in endless
    assert len(endless) < 1000


def test_a_change_needs_one_field() -> None:
    (body,) = check_body("patients_partial_update", {"city": "Springfield"})
    assert body.fields == {"city": "Springfield"}
    assert "data is empty" in refusal("patients_partial_update", {})
    assert "map the operator over the list" in refusal("patients_partial_update", [{"city": "Springfield"}])


def test_extra_fields_are_sent_unchecked_and_count() -> None:
    (body,) = check_body("patients_create", {"doctor": 1}, {"gender": "no such", "id": 7, "new": {"deep": [1]}})
    assert body.fields == {"doctor": 1, "gender": "no such", "id": 7, "new": {"deep": [1]}}
    assert "both have 'doctor'" in refusal("patients_create", PATIENT, {"doctor": 1})
    assert "extra_fields must be a mapping" in refusal("patients_create", PATIENT, [CANARY])
    assert "extra_fields holds" in refusal("patients_create", PATIENT, {"x": object()})


def test_files_are_kept_apart_and_base64_is_encoded(tmp_path: Any) -> None:
    (tmp_path / "scan.pdf").write_bytes(b"content")
    document = {"doctor": 1, "patient": 2, "date": "2026-01-01", "description": "scan"}

    (body,) = check_body("documents_create", document | {"document": str(tmp_path / "scan.pdf")})
    (photo,) = check_body("patients_create", PATIENT | {"patient_photo": tmp_path / "scan.pdf"})

    assert body.fields == document
    assert body.files["document"].size == 7
    assert "scan" not in repr(body)
    assert photo.fields["patient_photo"] == "Y29udGVudA=="
    assert photo.files == {}


def test_a_file_inside_a_list_goes_as_base64(tmp_path: Any) -> None:
    (tmp_path / "scan.pdf").write_bytes(b"content")
    message = {"doctor": 1, "patient": 2, "subject": "scan", "attachments": [{"attachment": tmp_path / "scan.pdf"}]}

    (body,) = check_body("patient_messages_create", message)

    assert body.fields["attachments"] == [{"attachment": "Y29udGVudA=="}]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("status", "Ready for doctor", id="status"),
        pytest.param("billing_status", "Sent to agency", id="billing status"),
    ],
)
def test_values_that_a_practice_made_up_itself_are_sent(field: str, value: str) -> None:
    (body,) = check_body("appointments_partial_update", {field: value})

    assert body.fields == {field: value}


@pytest.mark.parametrize(
    ("filters", "sent"),
    [
        pytest.param({"doctor": "12", "since": "2026-01-01"}, {"doctor": 12, "since": "2026-01-01"}, id="coerced"),
        pytest.param({"doctor": None, "date": "2026-01-01"}, {"date": "2026-01-01"}, id="none is left out"),
        pytest.param('{"date": "2026-01-01"}', {"date": "2026-01-01"}, id="rendered as text"),
        pytest.param(
            {"since": "2026-01-01T12:00:00+00:00"}, {"since": "2026-01-01T07:00:00"}, id="the practice's wall clock"
        ),
        pytest.param(
            {"date": "2026-01-01", "show_archived": "true"}, {"date": "2026-01-01", "show_archived": True}, id="flag"
        ),
    ],
)
def test_filters_that_can_be_sent(filters: Any, sent: dict[str, Any]) -> None:
    assert checked_filters(operation_filters("appointments_list"), filters, zone="America/New_York") == sent


@pytest.mark.parametrize(
    ("operation_id", "filters", "told"),
    [
        pytest.param("appointments_list", None, "filters need at least one of since", id="nothing"),
        pytest.param("appointments_list", {"since": None}, "filters need at least one of since", id="none counts not"),
        pytest.param("appointments_list", {"since": ""}, "filters['since'] is empty", id="empty"),
        pytest.param(
            "appointments_list", {"sinse": CANARY}, "no filter 'sinse' (did you mean 'since'?)", id="misspelt"
        ),
        pytest.param("appointments_list", {"since": "2026-01-01T00:00Z"}, "set timezone on the connection", id="zone"),
        pytest.param("patients_list", {"doctor": CANARY}, "filters['doctor'] must be a whole number", id="type"),
        pytest.param("patients_list", CANARY, "filters must be a mapping of filters", id="text"),
        pytest.param("daysheet_totals_list", {}, "filters need start_date, end_date", id="required"),
    ],
)
def test_filters_that_cannot_be_sent(operation_id: str, filters: Any, told: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        checked_filters(operation_filters(operation_id), filters, zone=None)

    assert told in str(refused.value)
    assert CANARY not in str(refused.value)


def test_query_options_are_coerced_and_required_ones_insisted_on() -> None:
    assert check_option("patients_create", "allow_duplicates", "allow_duplicates", "true") is True
    assert check_option("patients_create", "allow_duplicates", "allow_duplicates", None) is None
    assert check_option("yellow_notepad_retrieve", "appointment_id", "appointment_id", "12") == 12
    with pytest.raises(InvalidArgumentError, match="yellow_notepad_retrieve: appointment_id is missing"):
        check_option("yellow_notepad_retrieve", "appointment_id", "appointment_id", "None")
    with pytest.raises(InvalidArgumentError, match="appointment_id must be a whole number"):
        check_option("yellow_notepad_retrieve", "appointment_id", "appointment_id", CANARY)


def test_models_are_built_once() -> None:
    bodies = [each.id for each in operations() if each.kind in ("create", "update", "replace")]
    # Other tests of this process have built some of them.
    validation._body_adapter.cache_clear()

    def check_all() -> int:
        for operation_id in bodies:
            with pytest.raises(InvalidArgumentError):
                check_body(operation_id, {"no such field": 1})
        return validation._body_adapter.cache_info().misses

    first = check_all()
    assert check_all() == first > 0
