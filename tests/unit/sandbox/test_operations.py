import httpx
import pytest

from airflow_provider_drchrono.catalog import Operation, load
from airflow_provider_drchrono.sandbox import Sandbox
from tests.unit.sandbox.inputs import call_for, identifier_of
from tests.unit.sandbox.shapes import departures

CATALOG = load()
OPERATIONS = list(CATALOG.operations.values())
WRITES = [each for each in OPERATIONS if each.body is not None and each.body.encoding != "none"]


def prepare(sandbox: Sandbox, operation: Operation) -> None:
    """Bring the practice into the state that an operation presupposes."""
    patient = identifier_of(sandbox, "patients")
    if operation.id in {"patients_onpatient_access_read", "patients_onpatient_access_delete"}:
        sandbox.practice.change("patients", patient, {"_onpatient_invited": True})
    if operation.id == "patients_onpatient_access_create":
        sandbox.practice.change("patients", patient, {"email": "someone@example.com"})
    if operation.id == "consent_forms_unapply_from_appointment":
        form, visit = identifier_of(sandbox, "consent_forms"), sandbox.practice.table("appointments").keys[0]
        sandbox.practice.change("appointments", visit, {"_consent_forms": (form,)})


def check(operation: Operation, answer: httpx.Response) -> None:
    """Compare an answer with what the catalogue says of the operation's success."""
    expected = operation.response
    assert answer.status_code == expected.status, answer.text
    record = expected.record or ""
    if expected.shape == "empty":
        assert answer.content == b""
    elif expected.shape == "record":
        verbose = set(CATALOG.record(record).verbose_fields) <= set(answer.json())
        met = {"read"} if operation.kind == "read" else ()
        # What a report holds depends on what it was asked for.
        partly = operation.kind == "report"
        assert departures(record, answer.json(), verbose=verbose, met=met, partly=partly) == []
    elif expected.shape == "page":
        page = answer.json()
        assert set(page) == {"previous", expected.rows, "next"}
        assert page[expected.rows], "the practice has no such record"
        assert [line for row in page[expected.rows] for line in departures(record, row, verbose=False)] == []
    elif expected.shape == "bulk_ticket":
        assert answer.json()["status"] == "In progress"
        assert answer.json()["uuid"]
    elif expected.shape == "bulk_result":
        result = answer.json()
        assert result["status"] == "Complete"
        assert result["pagination"]["count"] >= len(result["results"]) > 0
        assert [line for row in result["results"] for line in departures(record, row, verbose=False)] == []
    else:
        assert expected.shape == "any"
        assert answer.content


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.id)
def test_a_minimal_request_is_answered_as_the_catalogue_says(
    sandbox: Sandbox, api: httpx.Client, operation: Operation
) -> None:
    prepare(sandbox, operation)

    answer = api.request(**call_for(sandbox, operation).sent())

    check(operation, answer)
    assert sandbox.journal[-1].operation_id == operation.id


@pytest.mark.parametrize("operation", WRITES, ids=lambda each: each.id)
def test_a_full_request_is_answered_as_the_catalogue_says(
    sandbox: Sandbox, api: httpx.Client, operation: Operation
) -> None:
    prepare(sandbox, operation)
    call = call_for(sandbox, operation, full=True)

    check(operation, api.request(**call.sent()))
    assert [note for note in sandbox.journal[-1].notes if "field" in note] == []


@pytest.mark.parametrize(
    "operation",
    [each for each in OPERATIONS if each.kind == "create" and CATALOG.resource(each.resource).key == ("id",)],
    ids=lambda each: each.id,
)
def test_what_was_created_can_be_read(sandbox: Sandbox, api: httpx.Client, operation: Operation) -> None:
    made = api.request(**call_for(sandbox, operation).sent()).json()

    read = api.get(f"/api/{operation.resource}/{made['id']}", params={"verbose": "true"})

    assert read.json().items() <= made.items()


@pytest.mark.parametrize("operation", [each for each in OPERATIONS if "{id}" in each.path], ids=lambda each: each.id)
def test_an_unknown_id_is_not_found(sandbox: Sandbox, api: httpx.Client, operation: Operation) -> None:
    call = call_for(sandbox, operation)
    call.path = operation.path.replace("{id}", "999999999")

    assert api.request(**call.sent()).status_code == 404


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.id)
def test_no_operation_answers_without_a_token(sandbox: Sandbox, operation: Operation) -> None:
    answer = httpx.request(**call_for(sandbox, operation).sent() | {"url": sandbox.url + operation.path})

    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        pytest.param("GET", "/api/nothing", 404, id="unknown resource"),
        pytest.param("GET", "/api/patients/", 404, id="slash at the end"),
        pytest.param("GET", "/api/patients/1/2/3", 404, id="too deep"),
        pytest.param("GET", "/elsewhere", 404, id="outside the API"),
        pytest.param("PUT", "/api/patients", 405, id="method of the item"),
        pytest.param("GET", "/api/patients/1%2F2", 404, id="id with a slash"),
        pytest.param("GET", "/api/patients/..", 404, id="id of dots"),
    ],
)
def test_unknown_addresses(api: httpx.Client, method: str, path: str, status: int) -> None:
    assert api.request(method, path).status_code == status


def test_the_current_user_is_a_redirect_on_the_same_host(sandbox: Sandbox, api: httpx.Client) -> None:
    answer = api.get("/api/users/current")

    assert answer.status_code == 302
    assert answer.headers["location"].startswith(f"{sandbox.url}/api/users/")
    assert api.get(answer.headers["location"]).json()["username"] == "doctor1"


def test_a_patch_changes_only_what_is_given(api: httpx.Client, sandbox: Sandbox) -> None:
    before = sandbox.practice.records("patients")[0]

    api.patch(f"/api/patients/{before['id']}", json={"city": "Elsewhere"})

    after = sandbox.practice.get("patients", before["id"])
    assert {name for name in after if after[name] != before[name]} == {"city", "updated_at"}


def test_a_put_resets_what_is_not_given(api: httpx.Client, sandbox: Sandbox) -> None:
    before = sandbox.practice.records("patients")[1]

    api.put(f"/api/patients/{before['id']}", json={"doctor": before["doctor"], "gender": "Female"})

    after = sandbox.practice.get("patients", before["id"])
    assert (after["city"], after["first_name"], after["created_at"]) == ("", "", before["created_at"])


def test_a_list_of_records_is_created_whole_or_not_at_all(api: httpx.Client, sandbox: Sandbox) -> None:
    status = sandbox.practice.records("task_statuses")[0]["id"]
    before = len(sandbox.practice.table("tasks"))

    refused = api.post("/api/tasks", json=[{"title": "One", "status": status}, {"title": "Two"}])
    assert (refused.status_code, refused.json()) == (400, [{}, {"status": ["This field is required."]}])
    assert len(sandbox.practice.table("tasks")) == before

    made = api.post("/api/tasks", json=[{"title": "One", "status": status}, {"title": "Two", "status": status}])
    assert (made.status_code, [each["title"] for each in made.json()]) == (201, ["One", "Two"])
    assert len(sandbox.practice.table("tasks")) == before + 2


def test_a_deleted_visit_is_listed_only_on_demand(api: httpx.Client, sandbox: Sandbox) -> None:
    visit = sandbox.practice.records("appointments")[5]
    day = visit["scheduled_time"][:10]
    assert api.delete(f"/api/appointments/{visit['id']}").status_code == 204

    def listed(**more: str) -> list[str]:
        rows = api.get("/api/appointments", params={"date": day, **more}).json()["data"]
        return [each["id"] for each in rows]

    assert visit["id"] not in listed()
    assert visit["id"] in listed(show_archived="true")


def test_a_deleted_charge_leaves_a_trace(api: httpx.Client, sandbox: Sandbox) -> None:
    charge = sandbox.practice.records("line_items")[0]

    api.delete(f"/api/line_items/{charge['id']}")

    rows = api.get("/api/line_item_deletions", params={"since": sandbox.clock.stamp()[:10]}).json()["results"]
    assert (charge["id"], charge["appointment"]) in [
        (each["billing_line_item_id"], each["appointment_id"]) for each in rows
    ]


def test_one_day_of_a_recurring_visit_has_an_id_of_its_own(api: httpx.Client, sandbox: Sandbox) -> None:
    visit = sandbox.practice.records("appointments")[7]
    assert api.get(f"/api/appointments/2026-05-04_{visit['id']}").status_code == 404
    sandbox.practice.change("appointments", visit["id"], {"recurring_appointment": True})

    day = api.get(f"/api/appointments/2026-05-04_{visit['id']}").json()

    assert (day["id"], day["scheduled_time"][:10]) == (f"2026-05-04_{visit['id']}", "2026-05-04")


def test_writes_are_audited(api: httpx.Client, sandbox: Sandbox) -> None:
    before = len(sandbox.practice.table("audit_log"))

    api.patch(f"/api/tasks/{identifier_of(sandbox, 'tasks')}", json={"priority": "40"})

    last = sandbox.practice.records("audit_log")[-1]
    assert len(sandbox.practice.table("audit_log")) == before + 1
    assert (last["action"], last["page"], last["name_of_user"]) == ("Update", "/api/tasks/{id}", "doctor1")
