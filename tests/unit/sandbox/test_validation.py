from typing import Any

import httpx
import pytest

from airflow_provider_drchrono.sandbox import Sandbox


def patient(sandbox: Sandbox, **changes: Any) -> dict[str, Any]:
    doctor = sandbox.practice.records("doctors")[0]["id"]
    return {"first_name": "Una", "last_name": "Sample", "gender": "Female", "doctor": doctor} | changes


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        pytest.param("gender", "female", '"female" is not a valid choice.', id="enum in the wrong case"),
        pytest.param("doctor", "abc", "A valid integer is required.", id="text for a number"),
        pytest.param("doctor", True, "A valid integer is required.", id="truth for a number"),
        pytest.param("doctor", 1.5, "A valid integer is required.", id="fraction for a whole number"),
        pytest.param("doctor", 999, 'Invalid pk "999" - object does not exist.', id="unknown doctor"),
        pytest.param("doctor", None, "This field may not be null.", id="null for a required field"),
        pytest.param("date_of_birth", "04/03/1980", "Date has wrong format", id="date in another order"),
        pytest.param("date_of_birth", "1980-02-30", "Date has wrong format", id="day that is not"),
        pytest.param("first_name", ["Una"], "Not a valid value", id="list for text"),
        pytest.param("first_name", False, "Not a valid string.", id="truth for text"),
        pytest.param("copay", "much", "A valid number is required.", id="text for an amount"),
        pytest.param("disable_sms_messages", "maybe", "Must be a valid boolean.", id="doubt for truth"),
        pytest.param("offices", 1, "Expected a list of items", id="number for a list"),
        pytest.param("primary_insurance", "none", "Expected a dictionary", id="text for an object"),
        pytest.param("patient_photo", "%%%", "Enter base64 text.", id="no base64"),
    ],
)
def test_a_wrong_value_is_refused_by_name(
    sandbox: Sandbox, api: httpx.Client, field: str, value: Any, message: str
) -> None:
    answer = api.post("/api/patients", json=patient(sandbox, **{field: value}))

    assert answer.status_code == 400
    assert list(answer.json()) == [field]
    assert message in answer.json()[field][0]


def test_a_practice_has_statuses_of_its_own(sandbox: Sandbox, api: httpx.Client) -> None:
    visit = sandbox.practice.records("appointments")[0]["id"]

    answer = api.patch(f"/api/appointments/{visit}", json={"status": "Ready for doctor"})

    assert answer.status_code == 204
    assert sandbox.practice.get("appointments", visit)["status"] == "Ready for doctor"


@pytest.mark.parametrize(
    ("field", "sent", "stored"),
    [
        pytest.param("copay", 25, "25.00", id="whole dollars"),
        pytest.param("copay", 12.5, "12.50", id="fraction of a dollar"),
        pytest.param("copay", "7.1", "7.10", id="amount as text"),
        pytest.param("copay", "", None, id="no amount"),
        pytest.param("date_of_birth", "1980-03-04", "1980-03-04", id="date"),
        pytest.param("date_of_birth", "", None, id="no date"),
        pytest.param("disable_sms_messages", "true", True, id="truth as text"),
        pytest.param("chart_id", 17, "17", id="number for text"),
        pytest.param("email", None, None, id="null"),
    ],
)
def test_values_are_stored_as_the_api_writes_them(
    sandbox: Sandbox, api: httpx.Client, field: str, sent: Any, stored: Any
) -> None:
    body = patient(sandbox, last_name=f"Stored {field} {sent}", **{field: sent})

    assert api.post("/api/patients", json=body).json()[field] == stored


def test_all_wrong_fields_are_named_at_once(api: httpx.Client) -> None:
    answer = api.post("/api/patients", json={"gender": "x"})

    assert answer.json() == {"gender": ['"x" is not a valid choice.'], "doctor": ["This field is required."]}


def test_errors_inside_an_object_are_named_by_path(sandbox: Sandbox, api: httpx.Client) -> None:
    body = patient(sandbox, primary_insurance={"subscriber_state": "XX"})

    assert api.post("/api/patients", json=body).json() == {
        "primary_insurance": {"subscriber_state": ['"XX" is not a valid choice.']}
    }


def test_what_the_api_passes_over_is_in_the_journal(sandbox: Sandbox, api: httpx.Client) -> None:
    target = sandbox.practice.records("patients")[2]

    answer = api.patch(f"/api/patients/{target['id']}", json={"id": 7, "shoe_size": 43, "city": "Testville"})

    assert answer.status_code == 204
    assert sandbox.practice.get("patients", target["id"])["city"] == "Testville"
    assert sandbox.journal[-1].notes == ["read-only field id passed over", "unknown field shoe_size passed over"]


def test_a_probable_duplicate_is_a_conflict(sandbox: Sandbox, api: httpx.Client) -> None:
    body = patient(sandbox, first_name="Twice", date_of_birth="1990-01-01")
    assert api.post("/api/patients", json=body).status_code == 201

    assert api.post("/api/patients", json=body | {"first_name": "TWICE"}).status_code == 409
    assert api.post("/api/patients", json=body, params={"allow_duplicates": "true"}).status_code == 201
    assert api.post("/api/patients", json=[patient(sandbox, first_name="Pair")] * 2).status_code == 409


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        pytest.param(b"{broken", "application/json", 400, id="broken JSON"),
        pytest.param(b"\xff\xfe", "application/json", 400, id="no text"),
        pytest.param(b'"text"', "application/json", 400, id="no object"),
        pytest.param(b"<a/>", "application/xml", 415, id="other media type"),
        pytest.param(b"nothing", "multipart/form-data", 400, id="form without a boundary"),
        pytest.param(b"nothing", "multipart/form-data; boundary=x", 400, id="form without parts"),
        pytest.param(b"", "application/json", 400, id="no body"),
    ],
)
def test_bodies_that_cannot_be_read(api: httpx.Client, content: bytes, kind: str, status: int) -> None:
    answer = api.post("/api/patients", content=content, headers={"content-type": kind})

    assert answer.status_code == status


def test_a_file_goes_in_a_form_only(sandbox: Sandbox, api: httpx.Client) -> None:
    seed = sandbox.practice.records("documents")[0]
    body = {name: seed[name] for name in ("patient", "doctor", "description", "date")}

    assert api.post("/api/documents", json=body | {"document": "text"}).status_code == 415
    parts = {name: (None, str(value)) for name, value in body.items()} | {"document": (None, "text")}
    answer = api.post("/api/documents", files=parts)

    assert answer.json() == {"document": ["The submitted data was not a file. Check the encoding type on the form."]}


@pytest.mark.parametrize("size", [0, 3, 100_000], ids=["empty", "tiny", "large"])
def test_an_uploaded_file_comes_back_byte_by_byte(sandbox: Sandbox, api: httpx.Client, size: int) -> None:
    seed = sandbox.practice.records("documents")[0]
    body = {name: str(seed[name]) for name in ("patient", "doctor", "description", "date")}
    content = (bytes(range(256)) * 400)[:size]

    made = api.post("/api/documents", data=body, files={"document": ("scan é.bin", content, "image/tiff")})
    fetched = httpx.get(made.json()["document"])

    assert (fetched.content, fetched.headers["content-type"]) == (content, "image/tiff")
    assert sandbox.journal.calls(operation_id="documents_create")[-1].body["document"]["size"] == size


def test_the_files_of_seeded_records_are_there(sandbox: Sandbox) -> None:
    link = sandbox.practice.records("documents")[0]["document"]

    assert httpx.get(link).content.startswith(b"%PDF-1.4")
    assert httpx.get(f"{sandbox.url}/files/nothing").status_code == 404
