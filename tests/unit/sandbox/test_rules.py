"""Rules that stand in the words of the vendor's contract and not in its structure."""

from datetime import UTC, datetime
from typing import Any, ClassVar

import httpx
import pytest

from airflow_provider_drchrono.catalog import Operation, load
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.sandbox.oauth import Client
from tests.unit.sandbox.inputs import call_for, identifier_of, value_for
from tests.unit.sandbox.support import Serve

NOON = datetime(2026, 6, 15, 16, 0, tzinfo=UTC)
SOFT = [each for each in load().operations.values() if each.soft_delete]


@pytest.fixture
def calendar(serve: Serve) -> tuple[Sandbox, httpx.Client]:
    """A practice without visits, so that every conflict is one of the test's own."""
    return serve(start=NOON, records={"appointments": 0, "schedule_blocks": 0}, patients=3)


def visit(sandbox: Sandbox, **changes: Any) -> dict[str, Any]:
    practice = sandbox.practice
    body = {name: practice.table(f"{name}s").keys[0] for name in ("doctor", "office", "patient")}
    return body | {"exam_room": 1, "scheduled_time": "2026-07-01T09:00:00", "duration": 30} | changes


class TestBreaks:
    @pytest.mark.parametrize("patient", [{}, {"patient": None}], ids=["no patient", "null"])
    def test_a_break_needs_no_patient(self, calendar: tuple[Sandbox, httpx.Client], patient: dict[str, None]) -> None:
        sandbox, api = calendar
        body = visit(sandbox, appt_is_break=True)
        del body["patient"]

        made = api.post("/api/appointments", json=body | patient)

        assert made.status_code == 201
        assert (made.json()["patient"], made.json()["appt_is_break"]) == (None, True)
        assert api.patch(f"/api/appointments/{made.json()['id']}", json={"reason": "Lunch"}).status_code == 204
        assert api.patch(f"/api/appointments/{made.json()['id']}", json={"appt_is_break": False}).status_code == 400

    @pytest.mark.parametrize("body", [{}, {"appt_is_break": False}, {"appt_is_break": None}])
    def test_a_visit_does(self, calendar: tuple[Sandbox, httpx.Client], body: dict[str, Any]) -> None:
        sandbox, api = calendar
        without = visit(sandbox, **body)
        del without["patient"]

        assert api.post("/api/appointments", json=without).json() == {"patient": ["This field is required."]}
        assert api.post("/api/appointments", json=without | {"patient": None}).json() == {
            "patient": ["This field may not be null."]
        }


class TestOverlaps:
    @pytest.mark.parametrize(
        ("changes", "status"),
        [
            pytest.param({}, 409, id="the same time"),
            pytest.param({"scheduled_time": "2026-07-01T09:29:00"}, 409, id="the last minute"),
            pytest.param({"scheduled_time": "2026-07-01T08:45:00"}, 409, id="into its beginning"),
            pytest.param({"scheduled_time": "2026-07-01T08:00:00", "duration": 120}, 409, id="around it"),
            pytest.param({"scheduled_time": "2026-07-01T09:30:00"}, 201, id="right after"),
            pytest.param({"scheduled_time": "2026-07-01T08:30:00"}, 201, id="right before"),
            pytest.param({"scheduled_time": "2026-07-02T09:00:00"}, 201, id="another day"),
            pytest.param({"exam_room": 2}, 409, id="another room of the doctor's"),
            pytest.param({"allow_overlapping": True}, 201, id="allowed"),
            pytest.param({"status": "Cancelled"}, 201, id="called off itself"),
            pytest.param({"appt_is_break": True, "patient": None}, 409, id="a break"),
        ],
    )
    def test_one_doctor_is_in_one_place(
        self, calendar: tuple[Sandbox, httpx.Client], changes: dict[str, Any], status: int
    ) -> None:
        sandbox, api = calendar
        assert api.post("/api/appointments", json=visit(sandbox)).status_code == 201

        answer = api.post("/api/appointments", json=visit(sandbox, **changes))

        assert answer.status_code == status
        if status == 409:
            assert answer.json() == {"detail": "Scheduled time overlaps with an existing appointment"}
        else:
            assert "allow_overlapping" not in answer.json()

    @pytest.mark.parametrize("gone", ["other doctor", "cancelled", "deleted"])
    def test_what_is_in_nobodys_way(self, calendar: tuple[Sandbox, httpx.Client], gone: str) -> None:
        sandbox, api = calendar
        made = api.post("/api/appointments", json=visit(sandbox)).json()["id"]
        doctors = sandbox.practice.table("doctors").keys
        if gone == "cancelled":
            api.patch(f"/api/appointments/{made}", json={"status": "Cancelled"})
        if gone == "deleted":
            api.delete(f"/api/appointments/{made}")

        other = visit(sandbox, doctor=doctors[1 if gone == "other doctor" else 0])

        assert api.post("/api/appointments", json=other).status_code == 201

    @pytest.mark.parametrize("path", ["appointments", "appointments_list"])
    def test_a_visit_is_moved_where_there_is_room(self, calendar: tuple[Sandbox, httpx.Client], path: str) -> None:
        sandbox, api = calendar
        api.post("/api/appointments", json=visit(sandbox))
        made = api.post("/api/appointments", json=visit(sandbox, scheduled_time="2026-07-01T11:00:00")).json()["id"]

        def move(**changes: Any) -> int:
            return api.patch(f"/api/{path}/{made}", json=changes).status_code

        assert move(scheduled_time="2026-07-01T11:15:00") == 204
        assert move(scheduled_time="2026-07-01T09:15:00") == 409
        assert move(scheduled_time="2026-07-01T09:15:00", allow_overlapping=True) == 204
        assert move(notes="Stays where it is") == 204
        assert api.put(f"/api/{path}/{made}", json=visit(sandbox)).status_code == 409

    def test_visits_of_one_request_are_in_each_others_way(self, calendar: tuple[Sandbox, httpx.Client]) -> None:
        sandbox, api = calendar

        assert api.post("/api/appointments", json=[visit(sandbox)] * 2).status_code == 409
        assert sandbox.practice.count("appointments") == 0

    def test_blocked_time_is_taken(self, calendar: tuple[Sandbox, httpx.Client]) -> None:
        sandbox, api = calendar
        block = {"start_time": "2026-07-01T09:00:00", "end_time": "2026-07-01T10:00:00"}
        body = visit(sandbox)
        made = api.post("/api/schedule_blocks", json=block | {"provider": body["doctor"], "office": body["office"]})

        assert api.post("/api/appointments", json=body).status_code == 409
        assert api.delete(f"/api/schedule_blocks/{made.json()['id']}").status_code == 204
        assert api.post("/api/appointments", json=body).status_code == 201


class TestSeries:
    SERIES: ClassVar[dict[str, Any]] = {
        "recurring_appointment": True,
        "recurring_days": ["Wednesday"],
        "recurs_every": 2,
        "recur_end_date": "2026-08-15",
    }
    DAYS = ("2026-07-15", "2026-07-29", "2026-08-12")

    def listed(self, api: httpx.Client, **query: str) -> list[str]:
        rows = api.get("/api/appointments", params={"since": "2026-01-01"} | query).json()["data"]
        return [each["id"] for each in rows]

    def test_its_days_are_listed_under_ids_of_their_own(self, calendar: tuple[Sandbox, httpx.Client]) -> None:
        sandbox, api = calendar
        base = api.post("/api/appointments", json=visit(sandbox, **self.SERIES)).json()["id"]

        day = api.get(f"/api/appointments/2026-07-15_{base}").json()

        assert self.listed(api) == [base, *(f"{each}_{base}" for each in self.DAYS)]
        assert self.listed(api, ignore_virtual="true") == [base]
        assert (day["scheduled_time"], day["base_recurring_appointment"]) == ("2026-07-15T09:00:00", base)
        assert api.get(f"/api/appointments/2026-07-08_{base}").status_code == 404

    def test_a_day_that_was_touched_stays(self, calendar: tuple[Sandbox, httpx.Client]) -> None:
        sandbox, api = calendar
        base = api.post("/api/appointments", json=visit(sandbox, **self.SERIES)).json()["id"]
        path = f"/api/appointments/2026-07-15_{base}"

        assert api.patch(path, json={"status": "Confirmed", "scheduled_time": "2026-07-15T14:00:00"}).status_code == 204
        assert self.listed(api, ignore_virtual="true") == [base, f"2026-07-15_{base}"]
        assert api.get(f"/api/appointments/{base}").json()["status"] == ""
        assert api.patch(f"/api/appointments/{base}", json={"recur_end_date": "2026-08-01"}).status_code == 204
        assert self.listed(api) == [base, *(f"{each}_{base}" for each in self.DAYS[:2])]
        assert api.get(path).json()["scheduled_time"] == "2026-07-15T14:00:00"
        assert api.delete(path).status_code == 204
        assert api.delete(f"/api/appointments/{base}").status_code == 204
        assert self.listed(api) == []

    def test_the_key_of_a_day_shows_where_the_vendor_has_switched_it_on(self, serve: Serve) -> None:
        for features, expected in (((), set()), (("recurrence_instance_key",), {"recurrence_instance_key"})):
            sandbox, api = serve(features=features)
            row = api.get(f"/api/appointments/{identifier_of(sandbox, 'appointments')}").json()
            assert set(row) & {"recurrence_instance_key"} == expected
            listed = api.get("/api/appointments", params={"since": "2020-01-01"}).json()["data"][0]
            assert set(listed) == set(row)


def test_a_profile_brings_its_own_values(calendar: tuple[Sandbox, httpx.Client]) -> None:
    sandbox, api = calendar
    profile = sandbox.practice.records("appointment_profiles")[0]
    body = visit(sandbox, profile=profile["id"], reason="Of its own")
    del body["duration"]

    made = api.post("/api/appointments", json=body).json()

    assert (made["color"], made["duration"], made["reason"]) == (profile["color"], profile["duration"], "Of its own")


def test_a_status_of_the_practices_own_has_a_field_of_its_own(calendar: tuple[Sandbox, httpx.Client]) -> None:
    sandbox, api = calendar
    made = api.post("/api/appointments", json=visit(sandbox, status="Ready for doctor")).json()
    assert (made["status"], made["custom_status"]) == ("Ready for doctor", "Ready for doctor")

    api.patch(f"/api/appointments/{made['id']}", json={"status": "In Room"})

    assert api.get(f"/api/appointments/{made['id']}").json()["custom_status"] == ""


def test_a_locked_note_keeps_its_notepad(sandbox: Sandbox, api: httpx.Client) -> None:
    template = sandbox.practice.table("clinical_note_templates").keys[1]
    notes = {
        bool(each["signee"]["locked_by"]): each["appointment"] for each in sandbox.practice.records("clinical_notes")
    }

    def write(locked: bool) -> int:
        place = {"appointment_id": notes[locked], "template_id": template}
        return api.post("/api/yellow_notepad", params=place, json={"content": "One\r\ntwo"}).status_code

    assert (write(True), write(False)) == (409, 201)
    place = {"appointment_id": notes[False], "template_id": template}
    assert api.get("/api/yellow_notepad", params=place).json()["content"] == "One\ntwo"
    assert api.get("/api/yellow_notepad", params=place | {"appointment_id": notes[True]}).status_code == 404


@pytest.mark.parametrize("operation", SOFT, ids=lambda each: each.id)
def test_a_soft_deletion_leaves_the_record_marked(sandbox: Sandbox, api: httpx.Client, operation: Operation) -> None:
    call = call_for(sandbox, operation)
    key = call.path.rpartition("/")[2]

    assert api.delete(call.path).status_code == operation.response.status

    row = sandbox.practice.get(operation.resource, key)
    last = sandbox.practice.records("audit_log")[-1]
    assert row[operation.soft_delete or ""] is True
    assert (last["action"], last["page"]) == ("Delete", operation.path)


DEFAULTS = [
    (operation, field)
    for operation in load().operations.values()
    if operation.kind == "create" and operation.body and operation.body.record
    for field in load().body_fields(operation)
    if field.default is not None and not field.read_only
]


@pytest.mark.parametrize(
    ("operation", "field"), DEFAULTS, ids=lambda each: getattr(each, "id", getattr(each, "name", ""))
)
def test_what_is_left_out_gets_its_default(
    sandbox: Sandbox, api: httpx.Client, operation: Operation, field: Any
) -> None:
    call = call_for(sandbox, operation)
    call.body.pop(field.name, None)

    assert api.request(**call.sent()).json()[field.name] == field.default


@pytest.mark.parametrize(
    ("resource", "field", "good", "bad"),
    [
        pytest.param("line_items", "modifiers", ["1"] * 4, ["1"] * 5, id="elements"),
        pytest.param("patients", "state", "NY", "New York", id="pattern"),
        pytest.param("patients", "state", "", "N", id="pattern of nothing"),
        pytest.param("patient_payments", "amount", -5, 0, id="no zero"),
        pytest.param(
            "schedule_blocks", "start_time", "2026-03-04T09:29:00", "2026-03-04T09:30:00", id="order of times"
        ),
        pytest.param("appointment_templates", "exam_room", 1, 0, id="smallest number"),
        pytest.param("patients", "patient_photo_date", None, "2026-01-01", id="only with another"),
    ],
)
def test_bounds_of_values(sandbox: Sandbox, api: httpx.Client, resource: str, field: str, good: Any, bad: Any) -> None:
    operation = load().resource(resource).operations[f"{resource}_create"]
    call = call_for(sandbox, operation)
    call.body |= {"end_time": "2026-03-04T09:30:00"} if resource == "schedule_blocks" else {}

    def send(value: Any) -> httpx.Response:
        call.body |= {field: value} | ({"first_name": f"Bound {value}"} if resource == "patients" else {})
        return api.request(**call.sent())

    assert send(good).status_code == 201
    assert list(send(bad).json()) == [field]


def test_metatags_are_json(sandbox: Sandbox, api: httpx.Client) -> None:
    path = f"/api/documents/{identifier_of(sandbox, 'documents')}"

    for text, status in (('["referral"]', 204), ("referral", 400)):
        assert api.patch(path, files={"metatags": (None, text)}).status_code == status


def test_a_filter_takes_its_allowed_values_only(api: httpx.Client) -> None:
    span = {"start_date": "1/1/2026", "end_date": "1/31/2026"}

    assert api.get("/api/audit_log", params={"since": "2020-01-01", "type": "Shoe"}).status_code == 400
    assert api.get("/api/day_sheet_charges", params=span | {"claim_type": "professional"}).status_code == 200
    assert api.get("/api/day_sheet_charges", params=span | {"claim_type": "other"}).status_code == 400


@pytest.mark.parametrize("resource", [each.name for each in load().resources.values() if each.bulk])
def test_background_lists_serve_as_many_rows_as_the_vendor_says(serve: Serve, resource: str) -> None:
    _, api = serve(bulk_polls=0)
    bulk = load().resource(resource).bulk
    assert bulk is not None
    start, result = load().operation(bulk.start), load().operation(bulk.result)
    ticket = api.post(start.path, params={"since": "2020-01-01", "page_size": "99999"}).json()["uuid"]

    size = api.get(result.path, params={"uuid": ticket}).json()["pagination"]["page_size"]

    assert size == bulk.size == (20_000 if resource == "clinical_note_field_values" else 1_000)


class TestAuditLog:
    def changes(self, api: httpx.Client, **query: str) -> list[tuple[str, str, int | None]]:
        rows = api.get("/api/audit_log", params={"since": "2026-06-15T12:00:00"} | query).json()["data"]
        return [(each["action"], each["type"], each["appointment_id"]) for each in rows]

    def test_it_tells_every_change_and_every_deletion(self, serve: Serve) -> None:
        sandbox, api = serve(start=NOON, frozen=True)
        visit_id = int(sandbox.practice.records("appointments")[0]["id"])
        problem, drug = (identifier_of(sandbox, name) for name in ("problems", "medications"))

        api.patch(f"/api/appointments/{visit_id}", json={"status": "Arrived"})
        api.patch(f"/api/problems/{problem}", json={"status": "resolved"})
        api.patch(f"/api/medications/{drug}", json={"status": "inactive"})
        api.delete(f"/api/appointments/{visit_id}")
        charge = sandbox.practice.records("line_items")[0]["id"]
        api.delete(f"/api/line_items/{charge}")
        refused = api.patch(f"/api/problems/{problem}", json={"status": "cured"})

        assert refused.status_code == 400
        assert [each[:2] for each in self.changes(api)] == [
            ("Update", "Appointment"), ("Update", "Problem"), ("Update", "Medication"), ("Delete", "Appointment"),
            ("Delete", "API"),
        ]  # fmt: skip
        assert self.changes(api, type="Appointment", action="Delete") == [("Delete", "Appointment", visit_id)]
        assert self.changes(api, since="2026-06-15T12:00:01") == []

    def test_it_names_the_patient_and_the_field(self, serve: Serve) -> None:
        sandbox, api = serve(start=NOON, frozen=True)
        patient = sandbox.practice.records("patients")[0]

        api.patch(f"/api/patients/{patient['id']}", json={"city": "Sampleton"})
        rows = api.get("/api/audit_log", params={"since": "2026-06-15T12:00:00", "patient": patient["id"]}).json()[
            "data"
        ]

        assert [(each["field"], each["patient"]) for each in rows] == [
            ("city", f"{patient['first_name']} {patient['last_name']}")
        ]

    def test_work_in_the_practice_is_logged_too(self, serve: Serve) -> None:
        _, api = serve(start=NOON, frozen=True, patients=10)

        report = api.post("/_sandbox/churn", json={"seed": 1, "changes": 30}).json()

        new = sum(each["new"] for each in report.values())
        rows = api.get("/api/audit_log", params={"since": "2026-06-15T12:00:00"}).json()["data"]
        assert len([row for row in rows if row["action"] == "Create"]) == new > 0


def test_amendments_belong_to_the_application_that_made_them(sandbox: Sandbox, api: httpx.Client) -> None:
    made = api.request(**call_for(sandbox, load().operation("amendments_create")).sent()).json()["id"]
    sandbox.app.oauth.register(Client("another", "secret"))
    grant = sandbox.app.oauth.grant("another")
    form = {"grant_type": "refresh_token", "refresh_token": grant.refresh_token, "client_id": "another"}
    token = httpx.post(f"{sandbox.url}/o/token/", data=form | {"client_secret": "secret"}).json()["access_token"]

    def seen(**headers: str) -> tuple[int, bool]:
        rows = api.get("/api/amendments", headers=headers).json()["data"]
        return api.get(f"/api/amendments/{made}", headers=headers).status_code, made in [each["id"] for each in rows]

    assert (seen(), seen(authorization=f"Bearer {token}")) == ((200, True), (404, False))


def test_the_check_for_duplicates_is_switched_on_for_some(serve: Serve) -> None:
    for features, status in (((), 201), (("duplicate_check",), 409)):
        sandbox, api = serve(features=features)
        twin = {name: sandbox.practice.records("patients")[0][name] for name in
                ("first_name", "last_name", "date_of_birth", "gender", "doctor")}  # fmt: skip
        assert api.post("/api/patients", json=twin).status_code == status


def test_lists_that_are_refused_without_a_filter(serve: Serve) -> None:
    sandbox, api = serve(refuse_unfiltered=("lab_orders",))
    doctor = value_for(sandbox, load().record("LabOrder").fields["doctor"])

    assert api.get("/api/lab_orders").status_code == 400
    assert "since" in api.get("/api/lab_orders").json()["detail"]
    assert api.get("/api/lab_orders", params={"doctor": doctor}).status_code == 200


def test_fields_that_come_on_condition(sandbox: Sandbox, api: httpx.Client) -> None:
    plan, template = (identifier_of(sandbox, name) for name in ("fee_schedules_v2", "appointment_templates"))

    assert "items" in api.get(f"/api/fee_schedules_v2/{plan}").json()
    assert "items" not in api.get("/api/fee_schedules_v2").json()["data"][0]
    for query, shown in (
        ({}, False),
        ({"verbose": "true"}, False),
        ({"verbose": "true", "available": "2026-06-15"}, True),
    ):
        rows = api.get("/api/appointment_templates", params=query).json()["data"]
        assert {"open_slots" in row for row in rows} <= {shown}
    assert "open_slots" not in api.get(f"/api/appointment_templates/{template}").json()


class TestClocks:
    def test_lists_can_go_by_clocks_of_their_own(self, serve: Serve) -> None:
        sandbox, api = serve(start=NOON, frozen=True, clocks={"tasks": "America/Los_Angeles"})
        task, patient = (identifier_of(sandbox, name) for name in ("tasks", "patients"))
        api.patch(f"/api/tasks/{task}", json={"priority": "40"})
        api.patch(f"/api/patients/{patient}", json={"city": "Sampleton"})

        def changed(path: str, since: str) -> list[Any]:
            return [row["updated_at"] for row in api.get(path, params={"since": since}).json()["data"]]

        assert changed("/api/tasks", "2026-06-15T09:00:00") == ["2026-06-15T09:00:00"]
        assert changed("/api/patients", "2026-06-15T12:00:00") == ["2026-06-15T12:00:00"]
        assert max(row["updated_at"] for row in sandbox.practice.records("tasks")) == "2026-06-15T09:00:00"

    def test_an_unknown_zone_is_refused(self) -> None:
        with pytest.raises(ValueError, match="Mars/Olympus"):
            Sandbox(clocks={"tasks": "Mars/Olympus"})
