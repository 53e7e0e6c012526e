import httpx
import pytest

from airflow_provider_drchrono.catalog import load
from tests.unit.sandbox.support import Serve

BULK = [each for each in load().resources.values() if each.bulk]
SINCE = {"since": "2020-01-01"}


def path_of(api: httpx.Client, resource: str) -> str:
    bulk = load().resource(resource).bulk
    assert bulk is not None
    return load().operation(bulk.start).path


@pytest.mark.parametrize("resource", BULK, ids=lambda each: each.name)
def test_all_pairs_answer_every_record(serve: Serve, resource: object) -> None:
    sandbox, api = serve(patients=30, bulk_polls=2)
    name = resource.name  # type: ignore[attr-defined]
    path = path_of(api, name)
    started = api.post(path, params=SINCE)

    answers = [api.get(path, params={"uuid": started.json()["uuid"]}).json() for _ in range(3)]

    assert started.status_code == 201
    assert set(started.json()) == {"status", "uuid", "description"}
    assert [each["status"] for each in answers] == ["In progress", "In progress", "Complete"]
    expected = sandbox.practice.records(name)
    largest = 20_000 if name == "clinical_note_field_values" else 1000
    assert answers[-1]["results"] == expected[:largest]
    assert answers[-1]["pagination"] == {"count": len(expected), "pages": 1, "page_size": largest, "page": 1}


def test_pages_are_asked_for_one_by_one(serve: Serve) -> None:
    sandbox, api = serve(patients=25, bulk_polls=0)
    seen = []
    for page in (1, 2, 3, 4):
        asked = {"page": page, "page_size": 10, "order_by": "-updated_at", "verbose": "true"}
        ticket = api.post("/api/patients_list", params=asked).json()["uuid"]
        result = api.get("/api/patients_list", params={"uuid": ticket}).json()
        assert result["pagination"] == {"count": 25, "pages": 3, "page_size": 10, "page": page}
        seen.append(result["results"])

    rows = [row for page in seen for row in page]
    assert [len(page) for page in seen] == [10, 10, 5, 0]
    assert [row["updated_at"] for row in rows] == sorted((row["updated_at"] for row in rows), reverse=True)
    assert "primary_insurance" in rows[0]
    assert sorted(row["id"] for row in rows) == [row["id"] for row in sandbox.practice.records("patients")]


def test_filters_come_in_the_query_or_the_body(serve: Serve) -> None:
    sandbox, api = serve(patients=30, bulk_polls=0)
    doctor = sandbox.practice.records("doctors")[0]["id"]
    expected = [row for row in sandbox.practice.records("line_items") if row["doctor"] == doctor]

    for sent in ({"params": {"doctor": doctor}}, {"json": {"doctor": doctor}}):
        ticket = api.post("/api/line_items_list", **sent).json()["uuid"]  # type: ignore[arg-type]
        assert api.get("/api/line_items_list", params={"uuid": ticket}).json()["results"] == expected != []


def test_it_may_take_a_while(serve: Serve) -> None:
    sandbox, api = serve(bulk_polls=0, bulk_seconds=30)
    ticket = api.post("/api/patients_list").json()["uuid"]

    def status() -> str:
        answer: str = api.get("/api/patients_list", params={"uuid": ticket}).json()["status"]
        return answer

    assert status() == "In progress"
    sandbox.clock.advance(30)
    assert status() == "Complete"


def test_a_result_lives_one_hour(serve: Serve) -> None:
    sandbox, api = serve(bulk_polls=0)
    ticket = api.post("/api/patients_list").json()["uuid"]
    sandbox.clock.advance(3600)

    answer = api.get("/api/patients_list", params={"uuid": ticket})

    assert (answer.status_code, answer.json()) == (400, {"detail": "Invalid uuid specified"})


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        pytest.param("POST", "/api/patients_list", {"since": "2026-01-01T00:00:00"}, id="time where a date is due"),
        pytest.param("POST", "/api/appointments_list", {}, id="no filter where one is due"),
        pytest.param("POST", "/api/patients_list", {"page": "0"}, id="page nought"),
        pytest.param("POST", "/api/patients_list", {"order_by": "shoe_size"}, id="order by nothing"),
        pytest.param("GET", "/api/patients_list", {}, id="no ticket"),
        pytest.param("GET", "/api/patients_list", {"uuid": "unknown"}, id="unknown ticket"),
    ],
)
def test_what_is_refused(serve: Serve, method: str, path: str, query: dict[str, str]) -> None:
    _, api = serve()

    assert api.request(method, path, params=query).status_code == 400


def test_a_ticket_belongs_to_its_list(serve: Serve) -> None:
    _, api = serve(bulk_polls=0)
    ticket = api.post("/api/patients_list").json()["uuid"]

    assert api.get("/api/line_items_list", params={"uuid": ticket}).status_code == 400


def test_the_result_is_the_list_as_it_was(serve: Serve) -> None:
    sandbox, api = serve(bulk_polls=0)
    before = sandbox.practice.records("patients")
    ticket = api.post("/api/patients_list").json()["uuid"]
    sandbox.practice.change("patients", before[0]["id"], {"city": "Elsewhere"})

    assert api.get("/api/patients_list", params={"uuid": ticket}).json()["results"] == before
