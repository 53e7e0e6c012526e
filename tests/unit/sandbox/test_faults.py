import json
import threading
import time
from datetime import UTC, datetime

import httpx
import pytest

from airflow_provider_drchrono.sandbox import Fault
from tests.unit.sandbox.support import Serve, refresh


def test_a_status_strikes_the_call_it_is_meant_for(serve: Serve) -> None:
    sandbox, api = serve()
    sandbox.faults.add(Fault(kind="status", resource="patients", skip=1, times=2, status=503, body="out of order"))

    answers = [api.get("/api/patients") for _ in range(4)]

    assert [each.status_code for each in answers] == [200, 503, 503, 200]
    assert answers[1].text == "out of order"
    assert [entry.fault for entry in sandbox.journal.calls(resource="patients")] == [None, "status", "status", None]
    assert api.get("/api/doctors").status_code == 200


def test_a_fault_without_end(serve: Serve) -> None:
    sandbox, api = serve()
    sandbox.faults.add(Fault(kind="status", operation="doctors_list", times=None))

    assert {api.get("/api/doctors").status_code for _ in range(5)} == {500}
    sandbox.faults.clear()
    assert api.get("/api/doctors").status_code == 200


def test_a_replaced_call_is_not_carried_out(serve: Serve) -> None:
    sandbox, api = serve()
    task = {"title": "Once", "status": sandbox.practice.table("task_statuses").keys[0]}
    before = len(sandbox.practice.table("tasks"))
    sandbox.faults.add(Fault(kind="status", operation="tasks_create"))

    assert api.post("/api/tasks", json=task).status_code == 500
    assert len(sandbox.practice.table("tasks")) == before


@pytest.mark.parametrize("kind", ["status", "drop"])
def test_an_answer_may_be_lost_after_the_write(serve: Serve, kind: str) -> None:
    sandbox, api = serve()
    task = {"title": "Once", "status": sandbox.practice.table("task_statuses").keys[0]}
    before = len(sandbox.practice.table("tasks"))
    sandbox.faults.add(Fault.read({"kind": kind, "operation": "tasks_create", "after": True}))

    if kind == "drop":
        with pytest.raises(httpx.RemoteProtocolError):
            api.post("/api/tasks", json=task)
    else:
        assert api.post("/api/tasks", json=task).status_code == 500
    assert len(sandbox.practice.table("tasks")) == before + 1


@pytest.mark.parametrize("half", [False, True], ids=["before the answer", "in the middle"])
def test_the_connection_drops(serve: Serve, half: bool) -> None:
    sandbox, api = serve()
    sandbox.faults.add(Fault(kind="drop", resource="patients", half=half))

    with pytest.raises(httpx.RemoteProtocolError):
        api.get("/api/patients")
    assert api.get("/api/patients").status_code == 200


def test_json_breaks_off(serve: Serve) -> None:
    sandbox, api = serve()
    sandbox.faults.add(Fault(kind="truncated", resource="patients"))

    answer = api.get("/api/patients")

    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_html_with_200(serve: Serve) -> None:
    sandbox, api = serve()
    sandbox.faults.add(Fault(kind="html", resource="patients"))

    answer = api.get("/api/patients")

    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html")


def test_a_slow_answer(serve: Serve) -> None:
    sandbox, api = serve()
    sandbox.faults.add(Fault(kind="slow", resource="patients", seconds=0.2))
    began = time.monotonic()

    assert api.get("/api/patients").status_code == 200
    assert time.monotonic() - began >= 0.2


def test_a_slow_answer_is_dated_when_it_is_sent(serve: Serve) -> None:
    sandbox, api = serve(frozen=True, start=datetime(2026, 1, 15, 12, tzinfo=UTC))
    sandbox.faults.add(Fault(kind="slow", resource="patients", seconds=0.2))

    def work_on() -> None:
        while not sandbox.journal.calls(resource="patients", status=200):
            time.sleep(0.005)
        sandbox.clock.advance(600)

    practice = threading.Thread(target=work_on, daemon=True)
    practice.start()
    answer = api.get("/api/patients")
    practice.join()

    assert answer.headers["date"] == "Thu, 15 Jan 2026 12:10:00 GMT"


def test_a_link_to_another_host(serve: Serve) -> None:
    sandbox, api = serve(patients=20)
    sandbox.faults.add(Fault(kind="foreign_next", resource="patients", host="https://evil.example.com"))

    link = api.get("/api/patients", params={"page_size": 5}).json()["next"]

    assert link.startswith("https://evil.example.com/api/patients?page_size=5&cursor=")


def test_a_page_that_links_to_itself(serve: Serve) -> None:
    sandbox, api = serve(patients=20)
    first = api.get("/api/patients", params={"page_size": 5}).json()
    sandbox.faults.add(Fault(kind="repeat_cursor", resource="patients"))

    second = api.get(first["next"]).json()

    assert api.get(second["next"]).json()["data"] == second["data"] != first["data"]


def test_the_token_dies(serve: Serve) -> None:
    sandbox, api = serve()
    sandbox.faults.add(Fault(kind="expire_token", resource="patients"))

    assert [api.get("/api/patients").status_code for _ in range(2)] == [401, 401]


@pytest.mark.parametrize("retry_after", [True, False], ids=["with header", "without header"])
def test_throttling_out_of_turn(serve: Serve, retry_after: bool) -> None:
    sandbox, api = serve()
    sandbox.faults.add(Fault(kind="throttle", resource="patients", seconds=7, retry_after=retry_after))

    answer = api.get("/api/patients")

    assert answer.json() == {"detail": "Request was throttled. Expected available in 7 seconds."}
    assert answer.headers.get("retry-after") == ("7" if retry_after else None)


def test_tokens_fail_only_when_asked_to(serve: Serve) -> None:
    sandbox, _ = serve()
    sandbox.faults.add(Fault(kind="status", status=502))
    assert refresh(sandbox).status_code == 200

    sandbox.faults.add(Fault(kind="status", operation="oauth_token", status=503))
    assert refresh(sandbox).status_code == 503


@pytest.mark.parametrize(
    ("raw", "message"),
    [({"kind": "fire"}, "kind is one of"), ({"kind": "slow", "wait": 3}, "has no wait")],
    ids=["unknown kind", "unknown name"],
)
def test_faults_that_are_none(raw: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Fault.read(raw)


def test_a_firewall_refuses_in_html(serve: Serve) -> None:
    sandbox, api = serve()
    sandbox.faults.add(Fault(kind="firewall", resource="patients"))

    answers = [api.get("/api/patients") for _ in range(2)]

    assert [each.status_code for each in answers] == [403, 200]
    assert (answers[0].headers["content-type"], answers[0].text[:6]) == ("text/html", "<html>")


def test_a_token_endpoint_under_maintenance_spends_no_token(serve: Serve) -> None:
    sandbox, _ = serve()
    token = sandbox.new_refresh_token()
    sandbox.faults.add(Fault(kind="maintenance", operation="oauth_token"))

    answers = [refresh(sandbox, token) for _ in range(2)]

    assert [each.status_code for each in answers] == [200, 200]
    assert answers[0].headers["content-type"] == "text/html"
    assert answers[1].json()["refresh_token"] != token


def test_the_date_of_one_answer_is_wrong(serve: Serve) -> None:
    sandbox, api = serve(start=datetime(2026, 6, 15, 16, tzinfo=UTC), frozen=True)
    sandbox.faults.add(Fault(kind="wrong_date", resource="patients", seconds=86400))

    dates = [api.get("/api/patients").headers["date"] for _ in range(2)]

    assert dates == ["Tue, 16 Jun 2026 16:00:00 GMT", "Mon, 15 Jun 2026 16:00:00 GMT"]
