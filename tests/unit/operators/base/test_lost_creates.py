"""Creates whose outcome is in doubt, or which come too late: what the next try does, against the sandbox."""

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_drchrono.client import ConnectionFailedError, DrChronoClient, ServerError
from airflow_provider_drchrono.operators.appointments import DrChronoCreateAppointmentOperator
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from airflow_provider_drchrono.state.names import SENT_MARKER_KEY as KEY
from tests.support.running import MemoryStore, connected_sandbox, context_of, execute, unlimited
from tests.unit.operators.base.test_creates import medication, patient, posts


@pytest.mark.parametrize("order", ["id", "updated_at", "-updated_at"])
def test_the_new_one_of_many_matches_is_what_the_lost_create_made(monkeypatch: pytest.MonkeyPatch, order: Any) -> None:
    store = MemoryStore()
    with connected_sandbox(monkeypatch, patients=1, order=order, frozen=True) as sandbox:
        doctor, person = (sandbox.practice.records(name)[0]["id"] for name in ("doctors", "patients"))
        data = {"doctor": doctor, "patient": person, "name": "Aspirin 100 mg"}
        sandbox.practice.table("medications").next_key = 98
        ids = [medication(data)["id"] for _ in range(3)]
        sandbox.faults.add(Fault(kind="drop", operation="medications_create", after=True))
        with pytest.raises(ConnectionFailedError):
            medication(data, store, match_on=["patient", "name"])
        sandbox.clock.advance(60)
        sandbox.practice.change("medications", ids[0], {"notes": "for a week"})

        made = medication(data, store, match_on=["patient", "name"])

        assert (ids, made["id"]) == ([98, 99, 100], 101)
        assert posts(sandbox) == 4


def test_the_newest_visit_is_found_though_its_id_is_text(sandbox: Sandbox) -> None:
    store = MemoryStore()
    visit = sandbox.practice.records("appointments")[0]
    data = {name: visit[name] for name in ("doctor", "exam_room", "office", "patient", "scheduled_time")}
    data |= {"duration": 10, "allow_overlapping": True}
    sandbox.practice.table("appointments").next_key = 99_999_999

    def create(**options: Any) -> Any:
        operator = DrChronoCreateAppointmentOperator(task_id="create", data=data, **options)
        return execute(operator, context_of(store))

    assert create()["id"] == "99999999"
    sandbox.faults.add(Fault(kind="drop", operation="appointments_create", after=True))
    with pytest.raises(ConnectionFailedError):
        create(match_on=["patient", "scheduled_time"])

    assert create(match_on=["patient", "scheduled_time"])["id"] == "100000000"


def test_an_update_or_create_whose_answer_was_lost_updates_what_it_made(sandbox: Sandbox, ana: dict[str, Any]) -> None:
    store = MemoryStore()
    sandbox.faults.add(Fault(kind="drop", operation="patients_create", after=True))
    with pytest.raises(ConnectionFailedError):
        patient(ana | {"city": "Springfield"}, store, if_exists="update")

    # A template may render to something else in the next try.
    made = patient(ana | {"city": "Shelbyville"}, store, if_exists="update")

    assert made["city"] == "Shelbyville"
    assert sandbox.practice.get("patients", made["id"])["city"] == "Shelbyville"
    assert posts(sandbox) == 1
    assert store.values == {}


def test_a_list_whose_answer_was_lost_is_updated_where_it_is_there(sandbox: Sandbox, ana: dict[str, Any]) -> None:
    store = MemoryStore()
    first = patient(ana)
    wanted = [ana | {"first_name": name, "city": "Springfield"} for name in ("Ana", "Bea")]
    sandbox.faults.add(Fault(kind="status", status=502, operation="patients_create"))
    with pytest.raises(ServerError):
        patient(wanted, store, if_exists="update")
    sandbox.practice.change("patients", first["id"], {"city": "Ogdenville"})

    made = patient(wanted, store, if_exists="update")

    assert [(each["first_name"], each["city"]) for each in made] == [("Ana", "Springfield"), ("Bea", "Springfield")]
    assert made[0]["id"] == first["id"]


def test_an_update_of_one_among_several_is_refused_also_when_an_answer_was_lost(
    sandbox: Sandbox, drug: dict[str, Any]
) -> None:
    store = MemoryStore()
    for _ in range(3):
        medication(drug)
    store.set(KEY, True)

    with pytest.raises(AirflowFailException, match=r"more than one record.*Nothing was changed"):
        medication(drug, store, match_on=["patient", "name"], if_exists="update")
    assert sandbox.journal.calls(method="PATCH") == []
    assert posts(sandbox) == 3


@pytest.mark.parametrize("if_exists", ["create", "skip", "fail"])
def test_what_a_lost_create_made_is_no_record_that_was_there(
    sandbox: Sandbox, ana: dict[str, Any], if_exists: Any
) -> None:
    store = MemoryStore()
    sandbox.faults.add(Fault(kind="status", status=502, operation="patients_create", after=True))
    with pytest.raises(ServerError):
        patient(ana, store, if_exists=if_exists)

    assert patient(ana, store, if_exists=if_exists)["id"] == sandbox.practice.records("patients")[-1]["id"]
    assert posts(sandbox) == 1


def test_a_duplicate_that_the_api_finds_leaves_no_doubt(sandbox: Sandbox, ana: dict[str, Any]) -> None:
    store = MemoryStore()
    first = patient(ana)
    with pytest.raises(AirflowFailException, match="duplicate of a record that is there"):
        patient(ana, store)

    assert store.values == {}
    # So the next try does not take the record that was there for one of its own making.
    assert patient(ana, store, allow_duplicates=True)["id"] != first["id"]


@pytest.mark.parametrize(("if_exists", "city"), [("skip", "Springfield"), ("update", "Shelbyville")])
def test_a_duplicate_that_was_made_after_the_look_up_is_dealt_with_as_asked(
    sandbox: Sandbox, ana: dict[str, Any], if_exists: Any, city: str
) -> None:
    store = MemoryStore()
    several = [ana | {"first_name": name, "city": "Shelbyville"} for name in ("Ana", "Bea")]
    cleo = patient(ana | {"first_name": "Cleo"})
    called = DrChronoClient.call

    def call(client: Any, operation_id: str, **arguments: Any) -> Any:
        if operation_id == "patients_create":
            for each in several:
                sandbox.practice.create("patients", each | {"city": "Springfield"})
        return called(client, operation_id, **arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DrChronoClient, "call", call)
        settled = patient([ana | {"first_name": "Cleo"}, *several], store, if_exists=if_exists)

    assert [(each["first_name"], each["city"]) for each in settled[1:]] == [("Ana", city), ("Bea", city)]
    assert settled[0]["id"] == cleo["id"]
    assert [each["last_name"] for each in sandbox.practice.records("patients")].count("Lopez") == 3
    assert store.values == {}


@pytest.mark.parametrize("if_exists", ["skip", "update"])
def test_a_duplicate_that_cannot_be_found_is_told(sandbox: Sandbox, ana: dict[str, Any], if_exists: Any) -> None:
    store = MemoryStore()
    sandbox.faults.add(Fault(kind="status", status=409, operation="patients_create"))

    with pytest.raises(AirflowFailException, match=r"duplicate of a record that is there \(409\).*Nothing was created"):
        patient([ana, ana | {"first_name": "Bea"}], store, if_exists=if_exists)
    assert store.values == {}


def test_who_allows_duplicates_may_say_what_to_look_for(sandbox: Sandbox, ana: dict[str, Any]) -> None:
    store = MemoryStore()
    twin = patient(ana | {"chart_id": "C1"})
    options: dict[str, Any] = {"allow_duplicates": True, "match_on": ["chart_id"]}
    sandbox.faults.add(Fault(kind="drop", operation="patients_create", after=True))
    with pytest.raises(ConnectionFailedError):
        patient(ana | {"chart_id": "C2"}, store, **options)

    made = patient(ana | {"chart_id": "C2"}, store, **options)

    assert made["id"] == sandbox.practice.records("patients")[-1]["id"] != twin["id"]
    assert posts(sandbox) == 2


def test_a_lost_list_with_a_record_that_cannot_be_looked_for_fails_for_good(
    sandbox: Sandbox, ana: dict[str, Any]
) -> None:
    store = MemoryStore()
    unborn = ana | {"first_name": "Bea"}
    del unborn["date_of_birth"]
    sandbox.faults.add(Fault(kind="drop", operation="patients_create", after=True))

    with pytest.raises(AirflowFailException, match=r"it is not known whether the create was carried out"):
        patient([ana, unborn], store)
    assert store.values == {}


def test_a_connection_that_cannot_be_encrypted_leaves_no_doubt(
    sandbox: Sandbox, ana: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    patient(ana | {"first_name": "Zoe"})
    connection = unlimited(sandbox).replace("http://", "https://")
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", connection)

    with pytest.raises(AirflowFailException, match=r"patients_create: .*TLS"):
        patient(ana, store, allow_duplicates=True)

    assert store.log == [f"set {KEY}", f"delete {KEY}"]
