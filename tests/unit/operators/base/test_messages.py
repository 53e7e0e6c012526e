"""What a refusal of the API is told as: the arguments it is about, the rights it asks for, and no value."""

import pytest

from airflow_provider_drchrono.client import BadRequestError, NotFoundError
from airflow_provider_drchrono.operators.base.messages import UNKNOWN, explained

CANARY = "Canaryname"


def places(name: str) -> str | None:
    return {"id": "patient_id", "since": "filters['since']"}.get(name)


def bad_request(**field_errors: list[str]) -> str:
    return raised(BadRequestError("refused", operation_id="patients_create", status=400, field_errors=field_errors))


def raised(error: Exception) -> str:
    with pytest.raises(type(error)) as told, explained("patients_create", places):
        raise error
    assert told.value is error or told.value.__suppress_context__
    assert "\n" not in str(told.value)
    return str(told.value)


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        pytest.param("This field is required.", "is missing", id="required"),
        pytest.param("This field may not be null.", "must not be null", id="null"),
        pytest.param("This field may not be blank.", "must not be empty", id="blank"),
        pytest.param(f'"{CANARY}" is not a valid choice.', "is none of the allowed values", id="choice"),
        pytest.param(
            f'Invalid pk "{CANARY}" - object does not exist.',
            "names a record that does not exist, or that this user may not see",
            id="reference",
        ),
        pytest.param("A valid integer is required.", "must be a whole number", id="integer"),
        pytest.param(
            "A valid number is required.",
            "must be a number such as 12.50, with no more digits than the field holds",
            id="number",
        ),
        pytest.param("Date has wrong format. Use YYYY-MM-DD.", "must be a date such as 2026-01-31", id="date"),
        pytest.param("Datetime has wrong format.", "must be a time such as 2026-01-31T08:00:00", id="time"),
        pytest.param("Ensure this field has no more than 20 characters.", "is too long or too large", id="length"),
        pytest.param('Expected a list of items but got type "str".', "must be a list", id="list"),
        pytest.param("Enter a valid email address.", "must be an e-mail address", id="mail"),
        pytest.param(f"{CANARY} is odd.", UNKNOWN, id="unknown"),
    ],
)
def test_the_meaning_of_what_the_api_says_is_told_but_not_its_words(message: str, meaning: str) -> None:
    told = bad_request(first_name=[message])

    assert told == f"patients_create: the API refused the request (400): data['first_name'] {meaning}"
    assert CANARY not in told


def test_each_complaint_names_its_argument() -> None:
    told = bad_request(
        **{
            "id": ["This field is required."],
            "since": ["Datetime has wrong format."],
            "2.doctor": ["A valid integer is required."],
            "primary_insurance.subscriber_state": ['"x" is not a valid choice.'],
            "non_field_errors": ["must make a unique set"],
            f"{CANARY} <b>": ["This field is required."],
        }
    )

    assert told == (
        "patients_create: the API refused the request (400): patient_id is missing; "
        "filters['since'] must be a time such as 2026-01-31T08:00:00; data[2]['doctor'] must be a whole number; "
        "data['primary_insurance']['subscriber_state'] is none of the allowed values; "
        "the record as a whole is taken by another record; data[...] is missing"
    )


def test_a_list_that_is_refused_without_a_field_has_no_record() -> None:
    reasons = {"detail": ["Not with these."]}
    told = raised(BadRequestError("refused", operation_id="patients_list", status=400, field_errors=reasons))
    assert told.startswith("patients_list: the API refused the request (400): the request as a whole ")
    assert "record" not in told


def test_a_refusal_without_reasons_is_told_as_one() -> None:
    assert bad_request() == "patients_create: the API refused the request (400): the request as a whole was refused"


def test_the_reasons_stay_with_the_error_for_those_who_may_see_them() -> None:
    error = BadRequestError("x", operation_id="patients_create", status=400, field_errors={"a": [CANARY]})
    with pytest.raises(BadRequestError) as told, explained("patients_create", places):
        raise error
    assert told.value.field_errors == {"a": [CANARY]}
    assert told.value.status == 400


def test_other_errors_pass() -> None:
    assert raised(NotFoundError("as it was")) == "as it was"
