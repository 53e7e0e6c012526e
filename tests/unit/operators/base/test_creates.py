"""Creates that make nothing twice, against the sandbox over a socket."""

import json
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException

from airflow_provider_drchrono.client import (
    ConnectionFailedError,
    DrChronoClient,
    ServerError,
    UnexpectedAnswerError,
)
from airflow_provider_drchrono.operators.appointments import DrChronoCreateAppointmentOperator
from airflow_provider_drchrono.operators.base import InvalidArgumentError
from airflow_provider_drchrono.operators.care import DrChronoCreateAllergyOperator
from airflow_provider_drchrono.operators.documents import DrChronoCreateDocumentOperator
from airflow_provider_drchrono.operators.medications import DrChronoCreateMedicationOperator
from airflow_provider_drchrono.operators.patients import DrChronoCreatePatientOperator
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from airflow_provider_drchrono.state.names import SENT_MARKER_KEY as KEY
from airflow_provider_drchrono.state.sent_marker import SentCreate
from tests.support.running import MemoryStore, context_of, execute, unlimited


def patient(data: Any, store: MemoryStore | None = None, **options: Any) -> Any:
    return execute(DrChronoCreatePatientOperator(task_id="create", data=data, **options), context_of(store))


def medication(data: Any, store: MemoryStore | None = None, **options: Any) -> Any:
    return execute(DrChronoCreateMedicationOperator(task_id="create", data=data, **options), context_of(store))


def posts(sandbox: Sandbox) -> int:
    return len(sandbox.journal.calls(method="POST"))


def test_a_record_is_created_and_returned(sandbox: Sandbox, ana: dict[str, Any]) -> None:
    made = patient(ana)

    assert made["id"] == sandbox.practice.records("patients")[-1]["id"]
    assert made["last_name"] == "Lopez"


def test_a_list_is_created_by_one_call_and_returned_in_its_order(sandbox: Sandbox, ana: dict[str, Any]) -> None:
    several = [ana | {"first_name": name} for name in ("Ana", "Bea", "Cleo")]

    made = patient(several)

    assert [each["first_name"] for each in made] == ["Ana", "Bea", "Cleo"]
    assert posts(sandbox) == 1
    assert [each["first_name"] for each in patient([ana | {"first_name": "Dora"}])] == ["Dora"]


def test_one_bad_element_stops_the_whole_list(sandbox: Sandbox, ana: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"data\[1\]\['doctor'\] must be a whole number.*Nothing was sent"):
        patient([ana, ana | {"doctor": "nobody"}])
    assert sandbox.journal.calls() == []

    with pytest.raises(
        AirflowFailException, match=r"\(400\): data\[1\]\['doctor'\] names a record that does not exist"
    ):
        patient([ana, ana | {"doctor": 4711}])
    assert sandbox.practice.records("patients")[-1]["last_name"] != "Lopez"


def test_a_duplicate_that_the_api_finds_is_explained(sandbox: Sandbox, ana: dict[str, Any]) -> None:
    first = patient(ana)

    with pytest.raises(
        AirflowFailException, match=rf"duplicate of a record that is there \(id {first['id']}\) \(409\)"
    ):
        patient(ana)
    assert patient(ana, allow_duplicates=True)["id"] != first["id"]


def test_a_visit_that_overlaps_another_is_explained_by_what_lets_it_through(sandbox: Sandbox) -> None:
    store = MemoryStore()
    visit = sandbox.practice.records("appointments")[0]
    data = {name: visit[name] for name in ("doctor", "exam_room", "office", "patient", "scheduled_time")}
    sandbox.faults.add(Fault(kind="status", operation="appointments_create", status=409))

    with pytest.raises(AirflowFailException) as raised:
        execute(DrChronoCreateAppointmentOperator(task_id="create", data=data | {"duration": 10}), context_of(store))

    told = str(raised.value)
    assert "overlaps another one (409)" in told
    assert all(f"data['{name}']" in told for name in ("scheduled_time", "doctor", "allow_overlapping"))
    assert "allow_duplicates" not in told
    assert store.values == {}


@pytest.mark.parametrize("if_exists", ["skip", "update", "fail"])
def test_nothing_there_means_create(sandbox: Sandbox, ana: dict[str, Any], if_exists: Any) -> None:
    assert patient(ana, if_exists=if_exists)["last_name"] == "Lopez"
    assert posts(sandbox) == 1


def test_what_is_there_is_skipped_updated_or_refused(sandbox: Sandbox, ana: dict[str, Any]) -> None:
    first = patient(ana)
    other = ana | {"first_name": " aNA ", "city": "Springfield"}

    skipped = patient(other, if_exists="skip")
    assert (skipped["id"], skipped["city"]) == (first["id"], "")
    assert patient(other, if_exists="update")["city"] == "Springfield"
    with pytest.raises(
        AirflowFailException, match=rf"there is a record with the same match_on values \(id {first['id']}\)"
    ):
        patient(other, if_exists="fail")
    assert posts(sandbox) == 1
    assert len(sandbox.journal.calls(method="PATCH")) == 1


def test_an_update_returns_the_record_as_it_is_then(sandbox: Sandbox, ana: dict[str, Any]) -> None:
    first = patient(ana)
    sandbox.practice.change("patients", first["id"], {"updated_at": "2001-01-01T00:00:00"})

    updated = patient(ana | {"city": "Springfield"}, if_exists="update")

    assert updated == sandbox.practice.get("patients", first["id"])
    assert updated["updated_at"] > "2001-01-01T00:00:00"


def test_a_list_creates_what_is_not_there_and_keeps_its_order(sandbox: Sandbox, ana: dict[str, Any]) -> None:
    first = patient(ana)

    made = patient([ana | {"first_name": "Bea"}, ana, ana | {"first_name": "Cleo"}], if_exists="skip")

    assert [each["first_name"] for each in made] == ["Bea", "Ana", "Cleo"]
    assert made[1]["id"] == first["id"]
    assert posts(sandbox) == 2
    with pytest.raises(InvalidArgumentError, match=r"data\[0\] and data\[1\] are the same by match_on"):
        patient([ana, ana | {"first_name": "ana"}], if_exists="skip")


def test_match_on_names_what_makes_a_record_the_same(sandbox: Sandbox, drug: dict[str, Any]) -> None:
    first = medication(drug)
    options: dict[str, Any] = {"match_on": ["patient", "name"], "if_exists": "skip"}

    assert medication(drug, **options)["id"] == first["id"]
    assert medication(drug | {"name": "Ibuprofen"}, **options)["id"] != first["id"]
    look_ups = sandbox.journal.calls(operation_id="medications_list")
    assert [call.query["patient"] for call in look_ups] == [str(drug["patient"])] * 2
    assert all("name" not in call.query for call in look_ups)


def test_an_update_of_several_is_refused(sandbox: Sandbox, drug: dict[str, Any]) -> None:
    ids = [medication(drug)["id"], medication(drug)["id"]]

    with pytest.raises(
        AirflowFailException, match=f"more than one record.*such as id {ids[0]}, {ids[1]}.*add fields to match"
    ):
        medication(drug, match_on=["patient", "name"], if_exists="update")
    assert sandbox.journal.calls(method="PATCH") == []


def test_an_update_of_several_changes_none_of_a_list(sandbox: Sandbox, drug: dict[str, Any]) -> None:
    names = ["Ibuprofen", "Aspirin", "Aspirin"]
    for name in names:
        medication(drug | {"name": name})

    with pytest.raises(AirflowFailException, match=r"more than one record.*Nothing was changed"):
        medication(
            [drug | {"name": name, "notes": "for a week"} for name in ("Ibuprofen", "Aspirin", "Codeine")],
            match_on=["patient", "name"],
            if_exists="update",
        )
    assert [each["name"] for each in sandbox.practice.records("medications")[-3:]] == names
    assert sandbox.journal.calls(method="PATCH") == []


def test_a_field_that_lists_show_on_request_only_can_be_matched_on(sandbox: Sandbox) -> None:
    doctor, person = (sandbox.practice.records(name)[0]["id"] for name in ("doctors", "patients"))
    data = {"doctor": doctor, "patient": person, "description": "Peanuts"}

    def create(**changes: Any) -> Any:
        options: dict[str, Any] = {"match_on": ["patient", "description"], "if_exists": "skip"}
        return execute(DrChronoCreateAllergyOperator(task_id="create", data=data | changes, **options))

    first = create()
    assert create()["id"] == first["id"]
    assert create(description="Cashews")["id"] != first["id"]


@pytest.mark.parametrize(
    ("changes", "options", "told"),
    [
        pytest.param({"name": ""}, {"match_on": ["name"]}, "match_on names name, which data leaves empty", id="empty"),
        pytest.param({}, {"match_on": ["name", "patient"]}, None, id="possible"),
    ],
)
def test_a_match_needs_values(
    sandbox: Sandbox, drug: dict[str, Any], changes: dict[str, Any], options: dict[str, Any], told: str | None
) -> None:
    if told is None:
        assert medication(drug | changes, if_exists="skip", **options)["name"] == drug["name"]
        return
    with pytest.raises(InvalidArgumentError, match=told):
        medication(drug | changes, if_exists="skip", **options)
    assert sandbox.journal.calls() == []


def test_a_patient_without_the_fields_of_the_guard_needs_match_on(sandbox: Sandbox, ana: dict[str, Any]) -> None:
    del ana["date_of_birth"]

    with pytest.raises(InvalidArgumentError, match=r"if_exists='skip' cannot look for data\[0\]: give match_on"):
        patient(ana, if_exists="skip")


def test_an_appointment_is_looked_for_on_its_day(sandbox: Sandbox) -> None:
    visit = sandbox.practice.records("appointments")[0]
    data = {name: visit[name] for name in ("doctor", "exam_room", "office", "patient", "scheduled_time")}
    options: dict[str, Any] = {"task_id": "create", "data": data, "if_exists": "skip"}

    found = execute(DrChronoCreateAppointmentOperator(match_on=["patient", "scheduled_time"], **options))

    assert found["id"] == visit["id"]
    (look_up,) = sandbox.journal.calls(operation_id="appointments_list")
    assert look_up.query["date"] == visit["scheduled_time"][:10]
    with pytest.raises(InvalidArgumentError, match="add scheduled_time to match_on"):
        execute(DrChronoCreateAppointmentOperator(match_on=["patient"], **options))


def test_a_list_with_files_is_to_be_mapped(sandbox: Sandbox) -> None:
    data = [{"document": b"x", "date": "2026-01-01", "description": "scan", "doctor": 1, "patient": 1}]
    with pytest.raises(InvalidArgumentError, match=r"a list of records cannot carry files; map the operator over"):
        execute(DrChronoCreateDocumentOperator(task_id="create", data=data))
    assert sandbox.journal.calls() == []


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(kind="drop", operation="patients_create", after=True), id="dropped"),
        pytest.param(Fault(kind="status", operation="patients_create", status=502, after=True), id="bad gateway"),
        pytest.param(Fault(kind="html", operation="patients_create", after=True), id="html"),
        pytest.param(Fault(kind="truncated", operation="patients_create", after=True), id="truncated"),
    ],
)
def test_a_lost_answer_is_retried_by_looking_first(sandbox: Sandbox, ana: dict[str, Any], fault: Fault) -> None:
    store = MemoryStore()
    sandbox.faults.add(fault)

    with pytest.raises((ConnectionFailedError, ServerError, UnexpectedAnswerError)) as lost:
        patient(ana, store)
    assert lost.value.transient
    assert "A retry of this task looks for it by first_name, last_name, date_of_birth, gender" in str(lost.value)
    assert store.values[KEY]["existing"] == []
    assert "Lopez" not in str(store.values)

    made = patient(ana, store)
    assert made["id"] == sandbox.practice.records("patients")[-1]["id"]
    assert posts(sandbox) == 1
    assert store.values == {}


def test_a_retry_creates_what_never_arrived(sandbox: Sandbox, ana: dict[str, Any]) -> None:
    store = MemoryStore()
    sandbox.faults.add(Fault(kind="status", operation="patients_create", status=500))
    with pytest.raises(ServerError):
        patient(ana, store)

    assert patient(ana, store)["last_name"] == "Lopez"
    assert posts(sandbox) == 2
    assert len([each for each in sandbox.practice.records("patients") if each["last_name"] == "Lopez"]) == 1


def lost(store: MemoryStore, existing: list[str] | None) -> None:
    """Leave what an earlier try leaves that knew these records and was killed before the answer."""
    store.set(KEY, SentCreate(None if existing is None else frozenset(existing)).stored())


def test_a_retry_of_a_list_creates_only_what_is_missing(sandbox: Sandbox, ana: dict[str, Any]) -> None:
    store = MemoryStore()
    first = patient(ana)
    lost(store, existing=[])

    made = patient([ana, ana | {"first_name": "Bea"}], store)

    assert [each["first_name"] for each in made] == ["Ana", "Bea"]
    assert made[0]["id"] == first["id"]


def test_an_older_match_is_never_what_a_lost_create_made(sandbox: Sandbox, drug: dict[str, Any]) -> None:
    store = MemoryStore()
    ids = [medication(drug)["id"], medication(drug)["id"]]
    sandbox.faults.add(Fault(kind="status", operation="medications_create", status=503))
    with pytest.raises(ServerError):
        medication(drug, store, match_on=["patient", "name"])
    assert store.values[KEY]["existing"] == [str(each) for each in ids]

    made = medication(drug, store, match_on=["patient", "name"])

    assert made["id"] not in ids
    assert [each["name"] for each in sandbox.practice.records("medications")].count(drug["name"]) == 3


@pytest.mark.parametrize(
    "existing", [pytest.param([], id="several are new"), pytest.param(None, id="nothing is known of what was there")]
)
def test_several_records_that_may_be_meant_are_in_doubt(
    sandbox: Sandbox, drug: dict[str, Any], existing: list[str] | None
) -> None:
    store = MemoryStore()
    ids = [medication(drug)["id"], medication(drug)["id"]]
    lost(store, existing)

    with pytest.raises(AirflowFailException, match=rf"not known whether.*\(id {ids[0]}, {ids[1]}\)\. Look at them"):
        medication(drug, store, match_on=["patient", "name"])
    assert posts(sandbox) == 2
    assert store.values == {}


def test_who_may_not_read_the_list_can_create_all_the_same(sandbox: Sandbox, ana: dict[str, Any]) -> None:
    store = MemoryStore()
    sandbox.faults.add(Fault(kind="status", operation="patients_list", status=403, times=None))

    assert patient(ana, store)["last_name"] == "Lopez"
    with pytest.raises(AirflowFailException, match=r"duplicate of a record that is there \(409\)"):
        patient(ana, store)
    with pytest.raises(AirflowFailException, match=r"403"):
        patient(ana, store, if_exists="skip")
    sandbox.faults.add(Fault(kind="drop", operation="patients_create", after=True))
    with pytest.raises(ConnectionFailedError):
        patient(ana | {"first_name": "Bea"}, store)
    with pytest.raises(AirflowFailException, match=r"not known whether.*may not read the list"):
        patient(ana | {"first_name": "Bea"}, store)
    assert posts(sandbox) == 3
    assert store.values == {}


def test_a_new_match_with_other_values_is_in_doubt(sandbox: Sandbox, drug: dict[str, Any]) -> None:
    store = MemoryStore()
    theirs = medication(drug | {"notes": "for a week"})
    lost(store, existing=[])

    with pytest.raises(AirflowFailException, match=rf"somebody else's \(id {theirs['id']}\)\. Look at it"):
        medication(drug | {"notes": "for a month"}, store, match_on=["patient", "name"])
    assert posts(sandbox) == 1


def test_other_values_of_match_on_in_the_next_try_are_in_doubt(sandbox: Sandbox, drug: dict[str, Any]) -> None:
    store = MemoryStore()
    medication(drug | {"name": "Ibuprofen"})
    sandbox.faults.add(Fault(kind="drop", operation="medications_create", after=True))
    with pytest.raises(ConnectionFailedError):
        medication(drug, store, match_on=["patient", "name"])

    with pytest.raises(AirflowFailException, match="sent other values of match_on"):
        medication(drug | {"name": "Ibuprofen"}, store, match_on=["patient", "name"])
    assert posts(sandbox) == 2


def test_one_reading_of_the_list_looks_for_all_records_of_a_task(
    sandbox: Sandbox, drug: dict[str, Any], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    several = [drug | {"name": f"Drug {number}"} for number in range(12)]

    made = medication(several, match_on=["patient", "name"], if_exists="skip")

    assert [each["name"] for each in made] == [each["name"] for each in several]
    assert len(sandbox.journal.calls(operation_id="medications_list")) == 1
    logged = caplog.text + capfd.readouterr().out
    assert "1 filtered reading of the list, one call a page" in logged
    assert "has no filter" not in logged
    again = medication(several, match_on=["name"], if_exists="skip")
    assert [each["id"] for each in again] == [each["id"] for each in made]
    assert len(sandbox.journal.calls(operation_id="medications_list")) == 2
    logged = caplog.text + capfd.readouterr().out
    assert "the list has no filter for name, so it is read as a whole" in logged


@pytest.mark.parametrize("allow_duplicates", [False, True], ids=["nothing to match on", "duplicates are allowed"])
def test_a_lost_answer_that_cannot_be_looked_for_fails_for_good(
    sandbox: Sandbox, ana: dict[str, Any], allow_duplicates: bool
) -> None:
    store = MemoryStore()
    if not allow_duplicates:
        del ana["date_of_birth"]
    sandbox.faults.add(Fault(kind="drop", operation="patients_create", after=True))

    with pytest.raises(
        AirflowFailException, match=r"it is not known whether the create was carried out.*With match_on"
    ):
        patient(ana, store, allow_duplicates=allow_duplicates)

    assert store.values == {}
    assert posts(sandbox) == 1


def test_a_killed_try_that_cannot_be_looked_for_is_not_repeated_but_once_cleared_it_is(
    sandbox: Sandbox, drug: dict[str, Any]
) -> None:
    store = MemoryStore()
    store.set(KEY, True)

    with pytest.raises(AirflowFailException, match="an earlier try of this task was broken off"):
        medication(drug, store)
    assert posts(sandbox) == 0
    assert medication(drug, store)["name"] == drug["name"]


def test_a_worker_that_dies_before_the_answer_leaves_one_record(
    sandbox: Sandbox, drug: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        """Stands for the end of the process, which no handler sees."""

    sent = DrChronoClient.call

    def call(client: Any, operation_id: str, **arguments: Any) -> Any:
        answer = sent(client, operation_id, **arguments)
        if operation_id == "medications_create":
            raise KilledError
        return answer

    store = MemoryStore()
    with monkeypatch.context() as patch:
        patch.setattr(DrChronoClient, "call", call)
        with pytest.raises(KilledError):
            medication(drug, store, match_on=["patient", "name"])

    assert (
        medication(drug, store, match_on=["patient", "name"])["id"] == sandbox.practice.records("medications")[-1]["id"]
    )
    assert posts(sandbox) == 1


def test_a_refusal_leaves_no_doubt(sandbox: Sandbox, ana: dict[str, Any]) -> None:
    store = MemoryStore()
    with pytest.raises(AirflowFailException):
        patient(ana | {"doctor": 4711}, store)
    assert store.log == [f"set {KEY}", f"delete {KEY}"]

    sandbox.faults.add(Fault(kind="throttle", operation="patients_create", seconds=600))
    with pytest.raises(AirflowRescheduleException):
        patient(ana, store)
    assert store.values == {}


def test_a_host_that_refuses_leaves_no_doubt(
    sandbox: Sandbox, ana: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    patient(ana | {"first_name": "Zoe"})
    connection = json.loads(unlimited(sandbox)) | {"host": "http://127.0.0.1:9", "port": 9}
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", json.dumps(connection))

    with pytest.raises(ConnectionFailedError):
        patient(ana, store, allow_duplicates=True)

    assert store.log == [f"set {KEY}", f"delete {KEY}"]
