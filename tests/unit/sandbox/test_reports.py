"""Day sheets, free slots, documents, and the actions on single records."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.sandbox.practice.charges import cents

YEAR = {"start_date": "1/1/2026", "end_date": "12/31/2026"}


def test_day_sheets_add_up_the_practice(sandbox: Sandbox, api: httpx.Client) -> None:
    charges = [row for row in sandbox.practice.records("line_items") if row["posted_date"][:4] == "2026"]
    served = [row for row in sandbox.practice.records("line_items") if row["service_date"][:4] == "2026"]
    payments = [row for row in sandbox.practice.records("patient_payments") if row["posted_date"][:4] == "2026"]

    sheet = api.get("/api/day_sheet_charges", params=YEAR).json()
    totals = api.get("/api/day_sheet_totals", params=YEAR).json()
    paid = api.get("/api/day_sheet_patient_payments", params=YEAR).json()
    credits = api.get("/api/day_sheet_credits", params=YEAR).json()

    assert [row["id"] for row in sheet["data"]] == [row["id"] for row in charges] != []
    assert cents(sheet["total"]) == sum(cents(row["billed"]) for row in charges)
    by_visit = api.get("/api/day_sheet_charges", params=YEAR | {"charges_date_type": "scheduled_time"}).json()
    assert [row["id"] for row in by_visit["data"]] == [row["id"] for row in served]
    assert totals["charges"] == sheet["total"]
    assert cents(totals["balance"]) == sum(cents(row["balance_total"]) for row in charges)
    assert cents(paid["total"]) == sum(cents(row["amount"]) for row in payments)
    assert credits["count"] == len(credits["data"]) > 0


@pytest.mark.parametrize("name", ["patient_id", "office_id", "examroom_id"])
def test_day_sheets_are_narrowed(sandbox: Sandbox, api: httpx.Client, name: str) -> None:
    charge = sandbox.practice.records("line_items")[0]
    visit = sandbox.practice.get("appointments", charge["appointment"])
    wanted = {"patient_id": visit["patient"], "office_id": visit["office"], "examroom_id": visit["exam_room"]}
    span = {"start_date": "1/1/2020", "end_date": "1/1/2030"}

    everything = api.get("/api/day_sheet_charges", params=span).json()
    narrowed = api.get("/api/day_sheet_charges", params=span | {name: wanted[name]}).json()

    assert charge["id"] in [row["id"] for row in narrowed["data"]]
    assert 0 < narrowed["count"] < everything["count"]


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"start_date": "1/1/2026"},
        YEAR | {"start_date": "2026-01-01"},
        YEAR | {"end_date": "soon"},
        YEAR | {"patient_id": "x"},
    ],
    ids=["nothing", "half a span", "another form", "no date", "no number"],
)
def test_day_sheets_need_a_span(api: httpx.Client, query: dict[str, str]) -> None:
    assert api.get("/api/day_sheet_charges", params=query).status_code == 400


@pytest.mark.parametrize("whose", ["doctor", "exam_room"])
def test_free_time_keeps_clear_of_visits(sandbox: Sandbox, api: httpx.Client, whose: str) -> None:
    visit = next(row for row in sandbox.practice.records("appointments") if row["status"] == "Complete")
    day = visit["scheduled_time"][:10]
    wanted = {whose: visit[whose], "office": visit["office"], "duration": 15}

    found = api.get("/api/availability", params=wanted | {"date": day}).json()
    several = api.get("/api/availability", params=wanted | {"date_range": f"{day}/{day}"}).json()

    begun = datetime.fromisoformat(visit["scheduled_time"])
    ended = begun + timedelta(minutes=visit["duration"])
    assert {name: found[name] for name in (*wanted, "date")} == wanted | {"date": day}
    assert found["open_slots"]
    for span in found["open_slots"]:
        slots = span["availability"]
        assert (span["start"], span["end"]) == (slots[0]["start"], slots[-1]["end"])
        for slot in slots:
            start, end = (datetime.fromisoformat(slot[name]) for name in ("start", "end"))
            assert end - start == timedelta(minutes=15)
            assert end <= begun or start >= ended
    assert several == {"date_range": f"{day}/{day}", "dates": [{"date": day, "open_slots": found["open_slots"]}]}


def test_a_series_is_a_bare_array_of_days(sandbox: Sandbox, api: httpx.Client) -> None:
    base = next(row for row in sandbox.practice.records("appointments") if row["status"] == "Complete")
    begin = datetime.fromisoformat(base["scheduled_time"])
    query = {"base_recurring_appointment": base["id"], "end_date": str((begin + timedelta(weeks=2)).date())}
    path = "/api/recurring_appointment_instances"
    assert [row["id"] for row in api.get(path, params=query).json()] == [base["id"]], "a visit that does not recur"

    sandbox.practice.change("appointments", base["id"], {"recurring_appointment": True})
    days = api.get(path, params=query).json()
    later = api.get(path, params=query | {"start_date": str(begin.date() + timedelta(days=1)), "fields": "id"}).json()

    assert [row["id"] for row in days] == [base["id"], None, None]
    assert [row["scheduled_time"] for row in days] == [
        (begin + timedelta(weeks=number)).isoformat() for number in range(3)
    ]
    assert later == [{"id": None}, {"id": None}]
    assert api.get(path, params=query | {"base_recurring_appointment": 1}).status_code == 400


def test_a_day_of_a_series_that_was_touched_has_an_id(sandbox: Sandbox, api: httpx.Client) -> None:
    table = sandbox.practice.table("appointments")
    base = next(row for row in table if row["recurring_days"] and "_" not in row["id"])

    days = api.get("/api/recurring_appointment_instances", params={"base_recurring_appointment": base["id"]}).json()

    stored = [row for row in table if base["id"] in (row["id"], row["base_recurring_appointment"])]
    assert sorted(row["id"] for row in days if row["id"]) == sorted(
        row["id"] for row in stored if not row.get("_virtual")
    )
    assert [row["scheduled_time"] for row in days] == sorted(row["scheduled_time"] for row in stored)
    assert None in [row["id"] for row in days]


def test_message_threads_show_utc_and_a_patch_answers_the_record(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.clock.set(datetime(2026, 7, 1, 16, tzinfo=UTC))
    listed = api.get("/api/message_threads").json()["data"]
    thread = listed[0]["id"]
    assert all(row[name].endswith("Z") for row in listed for name in ("created_at", "updated_at", "last_message_at"))

    answer = api.patch(f"/api/message_threads/{thread}", json={"archived": True})

    assert answer.status_code == 200
    assert (answer.json()["archived"], answer.json()["updated_at"]) == (True, "2026-07-01T16:00:00Z")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        pytest.param({"date": "9999-12-31"}, 200, id="last day that there is"),
        pytest.param({"date": "0001-01-01"}, 200, id="first day that there is"),
        pytest.param({"date": "2026-02-30"}, 400, id="no day"),
        pytest.param({"date_range": "0001-01-01/9999-12-31"}, 400, id="all days"),
        pytest.param({"office": "5"}, 400, id="no such office"),
        pytest.param({"duration": "9" * 40}, 400, id="no such number"),
        pytest.param({"exam_room": "1", "duration": "1440"}, 200, id="whole day"),
    ],
)
def test_free_slots_of_odd_days(api: httpx.Client, query: dict[str, str], status: int) -> None:
    assert api.get("/api/availability", params=query).status_code == status


@pytest.mark.parametrize("kind", ["ccda", "qrda1"])
def test_documents_are_xml_about_the_patient(sandbox: Sandbox, api: httpx.Client, kind: str) -> None:
    patient = sandbox.practice.records("patients")[0]

    answer = api.get(f"/api/patients/{patient['id']}/{kind}")

    assert answer.headers["content-type"] == "application/xml"
    assert f"<family>{patient['last_name']}</family>" in answer.text


def test_the_invitation_to_the_portal(sandbox: Sandbox, api: httpx.Client) -> None:
    path = f"/api/patients/{sandbox.practice.table('patients').keys[9]}/onpatient_access"

    assert [api.get(path).status_code, api.delete(path).status_code] == [404, 404]
    assert [api.post(path).status_code, api.get(path).status_code] == [201, 200]
    assert [api.delete(path).status_code, api.get(path).status_code] == [204, 404]


def test_nobody_is_invited_without_an_address(sandbox: Sandbox, api: httpx.Client) -> None:
    patient = sandbox.practice.table("patients").keys[8]
    api.patch(f"/api/patients/{patient}", json={"email": ""})

    assert api.post(f"/api/patients/{patient}/onpatient_access").status_code == 400


def test_the_note_to_the_pharmacy_grows(sandbox: Sandbox, api: httpx.Client) -> None:
    drug = sandbox.practice.table("medications").keys[0]
    api.patch(f"/api/medications/{drug}", json={"pharmacy_note": "One."})
    path = f"/api/medications/{drug}/append_to_pharmacy_note"

    assert api.patch(path, json={"text": "Two."}).status_code == 204
    assert api.patch(path, json={}).json() == {"text": ["This field is required."]}
    assert api.get(f"/api/medications/{drug}").json()["pharmacy_note"] == "One. Two."


def test_an_office_gets_another_room(sandbox: Sandbox, api: httpx.Client) -> None:
    office = sandbox.practice.table("offices").keys[1]
    before = len(sandbox.practice.get("offices", office)["exam_rooms"])

    answer = api.post(f"/api/offices/{office}/add_exam_room", json={"name": "Room 9", "online_scheduling": True})

    assert answer.json()["exam_rooms"][-1] == {"index": before + 1, "name": "Room 9", "online_scheduling": True}
    assert api.post(f"/api/offices/{office}/add_exam_room", json={}).status_code == 400


def test_consent_forms_come_and_go(sandbox: Sandbox, api: httpx.Client) -> None:
    form = sandbox.practice.table("consent_forms").keys[0]
    body = {"appointment": sandbox.practice.table("appointments").keys[3]}

    def send(action: str, given: dict[str, Any]) -> int:
        return api.post(f"/api/consent_forms/{form}/{action}", json=given).status_code

    assert send("unapply_from_appointment", body) == 400
    assert send("apply_to_appointment", body) == 204
    assert send("unapply_from_appointment", body) == 204
    assert send("apply_to_appointment", {}) == 400
    assert send("apply_to_appointment", {"appointment": "x"}) == 400


def test_the_notepad_keeps_the_last_text(sandbox: Sandbox, api: httpx.Client) -> None:
    place = {
        "appointment_id": sandbox.practice.table("appointments").keys[2],
        "template_id": sandbox.practice.table("clinical_note_templates").keys[0],
    }
    for text in ("first", "second"):
        assert api.post("/api/yellow_notepad", params=place, json={"content": text}).status_code == 201

    assert api.get("/api/yellow_notepad", params=place).json() == {**place, "content": "second"}
    assert api.post("/api/yellow_notepad", params=place, json={}).status_code == 400
    assert api.get("/api/yellow_notepad", params={"appointment_id": "1"}).status_code == 400
    assert api.post("/api/yellow_notepad", params=place | {"template_id": 5}, json={"content": "x"}).status_code == 400


def test_a_signed_form_is_changed_through_the_collection(sandbox: Sandbox, api: httpx.Client) -> None:
    signed = sandbox.practice.table("signed_consent_forms").keys[0]

    def send(method: str, query: dict[str, int], **form: object) -> int:
        parts = {name: (None, str(value)) for name, value in form.items()}
        return api.request(method, "/api/signed_consent_forms", params=query, files=parts).status_code

    assert send("PATCH", {}, id=signed, archived=True) == 204
    assert api.get(f"/api/signed_consent_forms/{signed}").json()["archived"] is True
    assert send("PATCH", {"id": signed}, archived=False) == 204
    assert send("PATCH", {}, archived=True) == 400
    assert send("PATCH", {"id": 5}, archived=True) == 404
    assert send("POST", {}) == 400


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("body", [{"archived": True}, [{"archived": True}], "text"], ids=["object", "list", "text"])
def test_signed_forms_take_no_json(sandbox: Sandbox, api: httpx.Client, method: str, body: Any) -> None:
    signed = sandbox.practice.table("signed_consent_forms").keys[0]

    answer = api.request(method, "/api/signed_consent_forms", params={"id": signed}, json=body)

    assert answer.status_code == 415


def test_a_payment_leaves_a_log_entry(sandbox: Sandbox, api: httpx.Client) -> None:
    patient = sandbox.practice.records("patients")[0]

    api.post("/api/patient_payments", json={"patient": patient["id"], "amount": 12, "payment_method": "CASH"})

    last = sandbox.practice.records("patient_payment_log")[-1]
    assert (last["patient"], last["amount"], last["action"]) == (patient["id"], "12.00", "C")


def test_a_charge_takes_its_owner_from_the_visit(sandbox: Sandbox, api: httpx.Client) -> None:
    visit = sandbox.practice.records("appointments")[6]
    body = {"appointment": int(visit["id"]), "code": "99213", "procedure_type": "C", "diagnosis_pointers": ["1"]}

    made = api.post("/api/line_items", json=body | {"quantity": 2}).json()

    assert (made["patient"], made["doctor"]) == (visit["patient"], visit["doctor"])
    assert (made["price"], made["billed"], made["balance_total"]) == ("95.00", "190.00", "190.00")


def test_steps_of_a_visit_are_remembered(sandbox: Sandbox, api: httpx.Client) -> None:
    visit = sandbox.practice.records("appointments")[8]["id"]
    for status in ("Arrived", "In Room"):
        api.patch(f"/api/appointments/{visit}", json={"status": status})

    steps = api.get(f"/api/appointments/{visit}", params={"verbose": "true"}).json()["status_transitions"]

    assert [each["to_status"] for each in steps][-2:] == ["Arrived", "In Room"]


def test_video_visits_keep_a_history(sandbox: Sandbox, api: httpx.Client) -> None:
    visit = sandbox.practice.table("appointments").keys[1]
    body = {"appointment": visit, "event_type": "patient_joined", "description": "Joined.", "timestamp": None}

    assert api.post("/api/telehealth_appointment_history", json=body).status_code == 201
    assert api.get("/api/telehealth_appointment_history").json()["data"][-1]["event_type"] == "patient_joined"
    assert api.post("/api/telehealth_appointment_history", json={"event_type": "x"}).status_code == 400
