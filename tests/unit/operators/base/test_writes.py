"""Operators that change, replace, delete or act, against the sandbox over a socket."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_drchrono.operators.base import InvalidArgumentError
from airflow_provider_drchrono.operators.documents import (
    DrChronoCreateDocumentOperator,
    DrChronoUpdateDocumentOperator,
    DrChronoUpdateSignedConsentFormOperator,
)
from airflow_provider_drchrono.operators.medications import DrChronoAppendToPharmacyNoteOperator
from airflow_provider_drchrono.operators.offices import DrChronoAddExamRoomOperator
from airflow_provider_drchrono.operators.patients import (
    DrChronoCreatePatientMessageOperator,
    DrChronoDeletePatientOperator,
    DrChronoGetPatientCcdaOperator,
    DrChronoListPatientsOperator,
    DrChronoReplacePatientOperator,
    DrChronoSendOnPatientInviteOperator,
    DrChronoUpdatePatientOperator,
)
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from tests.support.running import connected_sandbox, execute

CANARY = "Canaryname"
SIZE = 2_000_000


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    monkeypatch.setattr("airflow_provider_drchrono.client.retry.FIRST_DELAY", 0.001)
    with connected_sandbox(monkeypatch, patients=3) as running:
        yield running


@pytest.fixture
def patient(sandbox: Sandbox) -> dict[str, Any]:
    return sandbox.practice.records("patients")[0]


def update(patient_id: Any, data: Any, **options: Any) -> Any:
    return execute(DrChronoUpdatePatientOperator(task_id="update", patient_id=patient_id, data=data, **options))


def test_a_change_sends_only_what_is_given(sandbox: Sandbox, patient: dict[str, Any]) -> None:
    assert update(patient["id"], {"city": "Springfield"}) == {"id": patient["id"]}
    assert sandbox.journal.calls()[-1].body == {"city": "Springfield"}
    assert sandbox.practice.get("patients", patient["id"])["last_name"] == patient["last_name"]

    changed = update(str(patient["id"]), {"city": "Shelbyville"}, read_back=True)
    assert (changed["id"], changed["city"]) == (patient["id"], "Shelbyville")


def test_a_replace_empties_what_is_left_out(sandbox: Sandbox, patient: dict[str, Any]) -> None:
    whole = {"doctor": patient["doctor"], "gender": "Other", "last_name": "New"}
    operator = DrChronoReplacePatientOperator(task_id="replace", patient_id=patient["id"], data=whole, read_back=True)

    replaced = execute(operator)

    assert (replaced["last_name"], replaced["first_name"]) == ("New", "")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        pytest.param({"doctor": CANARY}, "data['doctor'] must be a whole number", id="type"),
        pytest.param({"gender": "male"}, "'Male', 'Female'", id="case"),
        pytest.param("{{ a template nobody rendered }}", "data must be a mapping of fields", id="text"),
        pytest.param('{"emial": 1}', "no field 'emial' (did you mean 'email'?)", id="unknown after rendering"),
        pytest.param("{}", "data is empty", id="empty after rendering"),
    ],
)
def test_bad_values_are_refused_before_any_call(sandbox: Sandbox, data: Any, told: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        update(1, data)

    assert told in str(refused.value)
    assert CANARY not in str(refused.value)
    assert sandbox.journal.calls() == []


def test_what_only_the_api_can_refuse_is_told_with_its_argument(sandbox: Sandbox, patient: dict[str, Any]) -> None:
    with pytest.raises(AirflowFailException) as refused:
        update(patient["id"], {"doctor": 4711})

    assert str(refused.value) == (
        "patients_partial_update: the API refused the request (400): data['doctor'] names a record that does not "
        "exist, or that this user may not see"
    )


def test_extra_fields_are_sent_beside_data(sandbox: Sandbox, patient: dict[str, Any]) -> None:
    update(patient["id"], {"city": "Springfield"}, extra_fields={"brand_new": [1]})

    assert sandbox.journal.calls()[-1].body == {"city": "Springfield", "brand_new": [1]}


def test_a_delete_returns_the_id_and_a_second_one_finds_nothing(sandbox: Sandbox, patient: dict[str, Any]) -> None:
    def delete(**options: Any) -> Any:
        return execute(DrChronoDeletePatientOperator(task_id="delete", patient_id=patient["id"], **options))

    assert delete() == {"id": patient["id"]}
    with pytest.raises(AirflowFailException, match="patients_delete: the API answered 404"):
        delete()
    with pytest.raises(AirflowSkipException):
        delete(on_missing="skip")
    assert delete(on_missing="none") is None


def test_a_delete_whose_answer_was_lost_succeeds_and_a_change_of_what_is_gone_does_not(
    sandbox: Sandbox, patient: dict[str, Any]
) -> None:
    sandbox.faults.add(Fault(kind="drop", operation="patients_delete", after=True))
    deleting = DrChronoDeletePatientOperator(task_id="delete", patient_id=patient["id"])
    assert execute(deleting) == {"id": patient["id"]}

    replacing = DrChronoReplacePatientOperator(
        task_id="replace", patient_id=patient["id"], data={"doctor": patient["doctor"], "gender": "Other"}
    )
    for change in (lambda: update(patient["id"], {"city": "Springfield"}), lambda: execute(replacing)):
        sandbox.faults.add(Fault(kind="status", status=502, resource="patients"))
        with pytest.raises(AirflowFailException, match="the API answered 404"):
            change()
    assert [call.status for call in sandbox.journal.calls(resource="patients")[-4:]] == [502, 404, 502, 404]


def test_actions_return_the_record_or_the_id(sandbox: Sandbox, patient: dict[str, Any]) -> None:
    office = sandbox.practice.records("offices")[0]
    medication = sandbox.practice.records("medications")[0]

    room = DrChronoAddExamRoomOperator(task_id="room", office_id=office["id"], data={"name": "Room 9"})
    note = DrChronoAppendToPharmacyNoteOperator(task_id="note", medication_id=medication["id"], data={"text": "Hurry"})
    invite = DrChronoSendOnPatientInviteOperator(task_id="invite", patient_id=patient["id"])

    assert execute(room)["id"] == office["id"]
    assert execute(note) == {"id": medication["id"]}
    assert isinstance(execute(invite), dict)
    with pytest.raises(InvalidArgumentError, match="offices_add_exam_room: data needs name"):
        DrChronoAddExamRoomOperator(task_id="room", office_id=office["id"], data={"online_scheduling": True})


def test_the_form_without_an_address_of_its_own_is_changed_by_query(sandbox: Sandbox) -> None:
    form = sandbox.practice.records("signed_consent_forms")[0]
    operator = DrChronoUpdateSignedConsentFormOperator(
        task_id="form", signed_consent_form_id=form["id"], data={"archived": True}, read_back=True
    )

    assert execute(operator)["id"] == form["id"]
    (call,) = sandbox.journal.calls(method="PATCH")
    assert call.path == "/api/signed_consent_forms"
    assert call.query == {"id": str(form["id"])}


def test_of_a_file_only_type_and_size_are_logged(
    sandbox: Sandbox, patient: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"{CANARY}.pdf"
    with path.open("wb") as file:
        file.truncate(SIZE)
    data = {"patient": patient["id"], "doctor": patient["doctor"], "date": "2026-01-01", "description": "scan"}
    sent = DrChronoCreateDocumentOperator(task_id="create", data=data | {"document": path})

    document = execute(sent)

    assert sandbox.journal.calls()[-1].body["document"]["size"] == SIZE
    printed = capfd.readouterr().out
    assert f"documents_create: sending document, application/pdf, {SIZE} bytes" in printed
    assert CANARY not in printed
    url = ObjectStoragePath(f"file://{path}")
    execute(DrChronoUpdateDocumentOperator(task_id="t", document_id=document["id"], data={"document": url}))
    assert sandbox.journal.calls()[-1].body["document"]["size"] == SIZE


def test_a_file_that_is_not_there_is_refused_before_any_call(sandbox: Sandbox) -> None:
    data = {"patient": 1, "doctor": 1, "date": "2026-01-01", "description": "scan", "document": f"/nowhere/{CANARY}"}
    with pytest.raises(
        InvalidArgumentError, match=r"data\['document'\] cannot be read: there is no such file"
    ) as refused:
        execute(DrChronoCreateDocumentOperator(task_id="create", data=data))

    assert CANARY not in str(refused.value)
    assert sandbox.journal.calls() == []


def test_a_message_takes_its_attachments_along(sandbox: Sandbox, patient: dict[str, Any], tmp_path: Path) -> None:
    scan = tmp_path / "scan.pdf"
    scan.write_bytes(b"%PDF-1.7 scan")
    fields = {"doctor": patient["doctor"], "patient": patient["id"], "subject": "Your scan"}

    for path in (str(scan), f"file://{scan}"):
        data = fields | {"attachments": [{"attachment": path}]}
        execute(DrChronoCreatePatientMessageOperator(task_id="send", data=data))
        (attachment,) = sandbox.journal.calls()[-1].body["attachments"]
        assert base64.b64decode(attachment["attachment"]) == scan.read_bytes()


def test_a_file_outside_of_the_fence_is_refused_before_any_call(
    sandbox: Sandbox, patient: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / CANARY).write_bytes(b"the key of this Airflow")
    monkeypatch.setenv("AIRFLOW__DRCHRONO__ALLOWED_FILE_ROOTS", str(tmp_path / "inside"))
    message = {"doctor": patient["doctor"], "patient": patient["id"], "subject": "Your scan"}
    message["attachments"] = [{"attachment": f"{tmp_path}/inside/../{CANARY}"}]
    before = len(sandbox.journal.calls())

    with pytest.raises(InvalidArgumentError, match=r"'attachment'\] is outside of the folders") as caught:
        execute(DrChronoCreatePatientMessageOperator(task_id="send", data=message))
    assert CANARY not in str(caught.value)
    for operator in (
        DrChronoListPatientsOperator(task_id="list", output_path=f"{tmp_path}/list.jsonl"),
        DrChronoGetPatientCcdaOperator(task_id="report", patient_id=patient["id"], output_path=f"{tmp_path}/r.xml"),
    ):
        with pytest.raises(InvalidArgumentError, match="output_path is outside of the folders"):
            execute(operator)

    assert len(sandbox.journal.calls()) == before
