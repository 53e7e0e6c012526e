"""Paging, envelopes, order, filters and verbose fields of lists."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from airflow_provider_drchrono.sandbox import Sandbox
from tests.unit.sandbox.support import Serve

NOON = datetime(2026, 6, 15, 16, 0, tzinfo=UTC)


def walk(api: httpx.Client, path: str, rows: str = "data", **query: Any) -> list[list[dict[str, Any]]]:
    """Follow the next links and return the pages."""
    page = api.get(path, params=query).json()
    pages = [page[rows]]
    while page["next"]:
        page = api.get(page["next"]).json()
        pages.append(page[rows])
    return pages


def ids(pages: list[list[dict[str, Any]]]) -> list[Any]:
    return [row["id"] for page in pages for row in page]


@pytest.mark.parametrize(
    ("path", "query", "largest"),
    [
        pytest.param("/api/tasks", {}, 250, id="plain"),
        pytest.param("/api/tasks", {"verbose": "true"}, 50, id="verbose"),
        pytest.param("/api/tasks", {"page_size": "7"}, 7, id="smaller on demand"),
        pytest.param("/api/tasks", {"page_size": "9999"}, 250, id="never larger"),
        pytest.param("/api/tasks", {"page_size": "none"}, 250, id="size that is no number"),
        pytest.param("/api/appointments", {"since": "2020-01-01"}, 20, id="appointments"),
        pytest.param("/api/appointments", {"since": "2020-01-01", "verbose": "true"}, 25, id="verbose appointments"),
        pytest.param("/api/patients_summary", {}, 50, id="patient summaries"),
    ],
)
def test_every_record_comes_once_in_pages_of_the_stated_size(
    serve: Serve, path: str, query: dict[str, str], largest: int
) -> None:
    sandbox, api = serve(patients=60, records={"tasks": 260})
    resource = path.removeprefix("/api/")

    pages = walk(api, path, **query)

    expected = [each["id"] for each in sandbox.practice.records(resource)]
    assert ids(pages) == expected
    assert [len(page) for page in pages] == [largest] * (len(expected) // largest) + (
        [len(expected) % largest] if len(expected) % largest else []
    )


def test_previous_leads_back(sandbox: Sandbox, api: httpx.Client) -> None:
    first = api.get("/api/patients", params={"page_size": 20}).json()
    second = api.get(first["next"]).json()
    third = api.get(second["next"]).json()

    assert first["previous"] is None
    assert api.get(third["previous"]).json()["data"] == second["data"]
    assert api.get(second["previous"]).json()["data"] == first["data"]


def test_links_name_a_sister_host_of_the_one_that_was_asked(api: httpx.Client) -> None:
    page = api.get("/api/patients", params={"page_size": 5}).json()

    assert page["next"].startswith("https://drchrono-sister.invalid/api/patients?page_size=5&cursor=")
    assert (
        "https://drchrono-sister.invalid/api/patients_list?uuid="
        in api.post("/api/patients_list").json()["description"]
    )


def test_links_stay_on_the_address_that_was_asked_if_told_so(serve: Serve) -> None:
    sandbox, api = serve(links="own", patients=10)
    port = sandbox.url.rpartition(":")[2]

    link = api.get(f"http://localhost:{port}/api/patients", params={"page_size": 5, "doctor": ""}).json()["next"]

    assert link.startswith(f"http://localhost:{port}/api/patients?page_size=5&doctor=&cursor=")


@pytest.mark.parametrize(
    "cursor", ["nonsense", "W10", "bnVsbA", "WzEsW1tdXV0"], ids=["text", "empty", "null", "nested"]
)
def test_a_cursor_of_others_is_not_found(api: httpx.Client, cursor: str) -> None:
    assert api.get("/api/patients", params={"cursor": cursor}).status_code == 404


@pytest.mark.parametrize(
    ("options", "resource", "key"),
    [
        pytest.param({}, "tasks", "data", id="contract"),
        pytest.param({}, "signed_consent_forms", "results", id="contract of another list"),
        pytest.param({"envelope": "results"}, "tasks", "results", id="prose"),
        pytest.param({"envelope": "data"}, "signed_consent_forms", "data", id="data for all"),
        pytest.param({"envelopes": {"tasks": "results"}}, "tasks", "results", id="one resource"),
    ],
)
def test_envelopes(serve: Serve, options: dict[str, Any], resource: str, key: str) -> None:
    _, api = serve(**options)

    assert set(api.get(f"/api/{resource}").json()) == {"previous", key, "next"}


def test_verbose_fields_come_on_demand_and_stay_the_same(sandbox: Sandbox, api: httpx.Client) -> None:
    target = sandbox.practice.records("patients")[3]["id"]

    plain = api.get(f"/api/patients/{target}").json()
    verbose = api.get(f"/api/patients/{target}", params={"verbose": "true"}).json()

    assert set(verbose) - set(plain) == set(sandbox.practice.table("patients").verbose)
    assert api.get(f"/api/patients/{target}", params={"verbose": "true"}).json() == verbose


def test_written_verbose_fields_are_kept(sandbox: Sandbox, api: httpx.Client) -> None:
    visit = sandbox.practice.records("appointments")[4]["id"]

    api.patch(f"/api/appointments/{visit}", json={"vitals": {"pulse": 61}})

    assert api.get(f"/api/appointments/{visit}", params={"verbose": "true"}).json()["vitals"] == {"pulse": 61}
    assert "vitals" not in api.get(f"/api/appointments/{visit}").json()


class TestSince:
    def test_it_is_inclusive_and_in_local_time(self, serve: Serve) -> None:
        sandbox, api = serve(start=NOON, frozen=True)
        target = sandbox.practice.records("patients")[0]["id"]
        api.patch(f"/api/patients/{target}", json={"city": "Sampleton"})

        assert sandbox.practice.get("patients", target)["updated_at"] == "2026-06-15T12:00:00"
        assert ids(walk(api, "/api/patients", since="2026-06-15T12:00:00")) == [target]
        assert ids(walk(api, "/api/patients", since="2026-06-15 12:00")) == [target]
        assert ids(walk(api, "/api/patients", since="2026-06-15T12:00:01")) == []

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            pytest.param("2026-06-15T12:00:00Z", "time zone", id="UTC"),
            pytest.param("2026-06-15T12:00:00-04:00", "time zone", id="offset"),
            pytest.param("2026-06-15T12:00:00+00:00", "time zone", id="plus"),
            pytest.param("yesterday", "wrong format", id="words"),
            pytest.param("2026-13-01", "wrong format", id="no such month"),
        ],
    )
    def test_what_it_does_not_take(self, api: httpx.Client, value: str, message: str) -> None:
        answer = api.get("/api/patients", params={"since": value})

        assert answer.status_code == 400
        assert message in answer.json()["since"][0]

    def test_every_list_with_a_change_filter_shows_what_was_just_written(self, serve: Serve) -> None:
        sandbox, api = serve(start=NOON, frozen=True)
        for resource in sandbox.app.catalog.resources.values():
            if resource.incremental is None or resource.list_operation is None:
                continue
            table = sandbox.practice.table(resource.name)
            if resource.incremental.cursor_field == "created_at":
                sandbox.practice.create(resource.name, {})
            else:
                sandbox.practice.change(resource.name, table.keys[0], {})
            rows = walk(api, resource.list_operation.path, resource.list_operation.response.rows or "",
                        **{resource.incremental.filter: "2026-06-15T12:00:00"})  # fmt: skip
            # What was written before is in the audit log; those who write here work in the web application.
            written = [row for page in rows for row in page if row.get("page") != "/"]
            assert len(written) == 1, resource.name


class TestFilters:
    def test_equality(self, sandbox: Sandbox, api: httpx.Client) -> None:
        everyone = sandbox.practice.records("patients")
        target = everyone[0]

        same_doctor = [each["id"] for each in everyone if each["doctor"] == target["doctor"]]
        same_name = [each["id"] for each in everyone if each["last_name"] == target["last_name"]]

        assert ids(walk(api, "/api/patients", doctor=target["doctor"])) == same_doctor
        assert ids(walk(api, "/api/patients", last_name=target["last_name"].upper())) == same_name
        assert ids(walk(api, "/api/patients", date_of_birth=target["date_of_birth"], gender=target["gender"])) == [
            target["id"]
        ]

    def test_days(self, sandbox: Sandbox, api: httpx.Client) -> None:
        visits = sandbox.practice.records("appointments")
        day = visits[0]["scheduled_time"][:10]
        last = (datetime.fromisoformat(day) + timedelta(days=30)).date().isoformat()

        on_day = [each["id"] for each in visits if each["scheduled_time"][:10] == day]
        in_range = [each["id"] for each in visits if day <= each["scheduled_time"][:10] <= last]

        assert ids(walk(api, "/api/appointments", date=day)) == on_day
        assert ids(walk(api, "/api/appointments", date_range=f"{day}/{last}")) == in_range

    def test_filters_reach_the_visit_behind_a_record(self, sandbox: Sandbox, api: httpx.Client) -> None:
        office = sandbox.practice.records("offices")[0]["id"]
        visits = {each["id"]: each["office"] for each in sandbox.practice.records("appointments")}
        expected = [
            each["id"] for each in sandbox.practice.records("line_items") if visits[str(each["appointment"])] == office
        ]

        assert ids(walk(api, "/api/line_items", office=office)) == expected != []

    def test_the_audit_log_is_filtered_by_id_and_names_the_patient(self, sandbox: Sandbox, api: httpx.Client) -> None:
        names = {
            each["id"]: f"{each['first_name']} {each['last_name']}" for each in sandbox.practice.records("patients")
        }
        entry = next(each for each in sandbox.practice.table("audit_log") if each.get("patient"))
        patient = next(number for number, name in names.items() if name == entry["patient"])

        listed = api.get("/api/audit_log", params={"since": "2000-01-01", "patient": patient}).json()["data"]

        assert listed != []
        assert {each["patient"] for each in listed} == {names[patient]}

    @pytest.mark.parametrize(
        ("path", "query"),
        [
            pytest.param("/api/appointments", {}, id="appointments"),
            pytest.param("/api/appointments", {"patient": "1"}, id="appointments of a patient"),
            pytest.param("/api/audit_log", {}, id="audit log"),
            pytest.param("/api/insurances", {}, id="payers"),
        ],
    )
    def test_required_filters(self, api: httpx.Client, path: str, query: dict[str, str]) -> None:
        assert api.get(path, params=query).status_code == 400

    @pytest.mark.parametrize(
        ("query", "status"),
        [
            pytest.param({"date_range": "2026-01-01/2026-07-10"}, 200, id="190 days"),
            pytest.param({"date_range": "2026-01-01/2026-07-11"}, 200, id="191 days"),
            pytest.param({"date_range": "2026-01-01"}, 400, id="half a range"),
            pytest.param({"date": "01.02.2026"}, 400, id="other date"),
            pytest.param({"since": "2020-01-01", "patient": "Una"}, 400, id="text for an id"),
        ],
    )
    def test_odd_values(self, api: httpx.Client, query: dict[str, str], status: int) -> None:
        assert api.get("/api/appointments", params=query).status_code == status

    def test_a_range_that_is_too_long_is_empty(self, serve: Serve) -> None:
        _, api = serve(start=NOON, patients=30)

        assert ids(walk(api, "/api/appointments", date_range="2026-01-01/2026-07-10")) != []
        assert ids(walk(api, "/api/appointments", date_range="2026-01-01/2026-07-11")) == []

    def test_unknown_parameters_have_no_effect_but_show_in_the_journal(
        self, sandbox: Sandbox, api: httpx.Client
    ) -> None:
        assert api.get("/api/tasks", params={"colour": "red"}).json() == api.get("/api/tasks").json()
        assert sandbox.journal[-2].notes == ["unknown parameter colour passed over"]


class TestOrder:
    def test_by_change_time_records_move_between_pages(self, serve: Serve) -> None:
        sandbox, api = serve(order="updated_at", patients=30)
        first = api.get("/api/patients", params={"page_size": 10}).json()
        moved = first["data"][0]["id"]

        sandbox.practice.change("patients", moved, {"city": "Sampleton"})
        rest = walk(api, first["next"])

        assert ids(rest)[-1] == moved
        stamps = [row["updated_at"] for page in rest for row in page]
        assert stamps == sorted(stamps)

    def test_newest_first(self, serve: Serve) -> None:
        sandbox, api = serve(order="-updated_at", patients=30)

        pages = walk(api, "/api/patients", page_size=7)

        stamps = [row["updated_at"] for page in pages for row in page]
        assert stamps == sorted(stamps, reverse=True)
        assert sorted(ids(pages)) == [each["id"] for each in sandbox.practice.records("patients")]


def test_writes_show_up_late_with_their_own_time(serve: Serve) -> None:
    sandbox, api = serve(write_lag=30, start=NOON, frozen=True)
    target = sandbox.practice.records("patients")[0]
    api.patch(f"/api/patients/{target['id']}", json={"city": "Later"})
    made = api.post("/api/tasks", json={"title": "Late", "status": sandbox.practice.table("task_statuses").keys[0]})

    assert api.get(f"/api/patients/{target['id']}").json()["city"] == "Later"
    assert target in api.get("/api/patients").json()["data"]
    assert made.json()["id"] not in ids(walk(api, "/api/tasks"))
    sandbox.clock.advance(30)
    assert ids(walk(api, "/api/patients", since="2026-06-15T12:00:00")) == [target["id"]]
    assert ids(walk(api, "/api/tasks", since="2026-06-15T12:00:00")) == [made.json()["id"]]
    assert api.get("/api/patients").json()["data"][0]["updated_at"] == "2026-06-15T12:00:00"


def test_a_record_that_is_due_stays_visible_while_its_next_change_is_late(serve: Serve) -> None:
    sandbox, api = serve(write_lag=30, start=NOON, frozen=True)
    made = api.post("/api/tasks", json={"title": "New", "status": sandbox.practice.table("task_statuses").keys[0]})
    sandbox.clock.advance(3600)
    api.patch(f"/api/tasks/{made.json()['id']}", json={"title": "Newer"})

    listed = {row["id"]: row["title"] for page in walk(api, "/api/tasks") for row in page}
    assert listed[made.json()["id"]] == "New"


@pytest.mark.parametrize(
    ("spelling", "pattern"),
    [("T", "2026-06-15T12:00:00"), ("space", "2026-06-15 12:00:00"), ("micro", "2026-06-15T12:00:00.000000")],
    ids=["plain", "space", "microseconds"],
)
def test_spellings_of_time(serve: Serve, spelling: str, pattern: str) -> None:
    sandbox, api = serve(timestamps=spelling, start=NOON, frozen=True)
    target = sandbox.practice.table("patients").keys[0]
    api.patch(f"/api/patients/{target}", json={"city": "Sampleton"})

    assert api.get(f"/api/patients/{target}").json()["updated_at"] == pattern
    assert ids(walk(api, "/api/patients", since="2026-06-15T12:00:00")) == [target]


def test_the_date_header_follows_the_clock(serve: Serve) -> None:
    sandbox, api = serve(start=NOON, frozen=True)
    sandbox.clock.advance(3600)

    assert api.get("/api/doctors").headers["date"] == "Mon, 15 Jun 2026 17:00:00 GMT"
