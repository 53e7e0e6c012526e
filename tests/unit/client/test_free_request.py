"""Requests past the catalogue: where they go, what they carry, and what they share with all other calls."""

import asyncio
import datetime
import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_drchrono.client import (
    AsyncDrChronoClient,
    ConnectionFailedError,
    DrChronoClient,
    InvalidArgumentError,
    MemoryTokenStore,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    ServerError,
    UnexpectedAnswerError,
)
from airflow_provider_drchrono.client.bounds import size_limit
from airflow_provider_drchrono.client.free_path import METHODS
from tests.unit.client.servers import Reply, ScriptedApi
from tests.unit.client.support import sandbox_settings

if TYPE_CHECKING:
    from airflow_provider_drchrono.sandbox import Sandbox

Connect = Callable[..., DrChronoClient]


def test_it_reads_and_writes_what_an_operation_would(drchrono: DrChronoClient) -> None:
    status = drchrono.request("GET", "/api/task_statuses", query={"page_size": 1})["data"][0]
    created = drchrono.request("post", "/api/tasks", json={"title": "Call the lab", "status": status["id"]})
    drchrono.request("PATCH", f"/api/tasks/{created['id']}", json={"title": "Call again"})

    assert drchrono.request("GET", f"/api/tasks/{created['id']}")["title"] == "Call again"
    assert drchrono.read("tasks", created["id"])["title"] == "Call again"


def test_the_asynchronous_twin_does_the_same(connect_async: Callable[..., AsyncDrChronoClient]) -> None:
    async def work() -> tuple[int, int]:
        async with connect_async() as drchrono:
            one = await drchrono.request("GET", "/api/patients", query={"page_size": 7})
            pages = [page async for page in drchrono.request_pages("/api/patients", query={"page_size": 25})]
            return len(one["data"]), sum(len(page.records) for page in pages)

    assert asyncio.run(work()) == (7, 60)


def test_pages_are_followed_to_the_end(drchrono: DrChronoClient) -> None:
    pages = list(drchrono.request_pages("/api/patients", query={"page_size": 25}))

    assert [len(page.records) for page in pages] == [25, 25, 10]
    assert len({record["id"] for page in pages for record in page.records}) == 60
    assert pages[-1].next_url is None


def test_a_link_to_another_host_is_followed_at_the_own_one(connect: Connect, api: ScriptedApi) -> None:
    api.script += [Reply(body={"results": [{"id": 1}], "next": "https://elsewhere.example/api/new?page=2"})]
    api.script += [Reply(body={"results": [{"id": 2}], "next": None})]

    pages = list(connect().request_pages("/api/new", query={"since": "2026-01-01"}))

    assert [record["id"] for page in pages for record in page.records] == [1, 2]
    assert [each.target for each in api.seen] == ["/api/new?since=2026-01-01", "/api/new?page=2"]


def test_what_is_no_page_is_not_followed(connect: Connect, api: ScriptedApi) -> None:
    api.script.append(Reply(body={"id": 1}))

    with pytest.raises(UnexpectedAnswerError, match="no page of records; ask for it without following pages"):
        list(connect().request_pages("/api/new"))


@pytest.mark.parametrize(
    "path",
    [
        "http://elsewhere.example/api/patients",
        "https://app.drchrono.com.elsewhere.example/api/patients",
        "//elsewhere.example/api/patients",
        "/\\elsewhere.example/api",
        "/api/../o/token/",
        "/api/%2e%2e/o/token/",
        "/api/%252e%252e/x",
        "/api/./patients",
        "/api/a%2fb",
        "/api/a\\b",
        "/api//patients",
        "/api/patients?since=2026-01-01",
        "/api/patients#top",
        "/api/pat\nients",
        "/",
        "api/patients",
        "",
        None,
        "/" + "a" * 3000,
    ],
)
def test_a_path_that_may_lead_elsewhere_is_refused(path: Any, connect: Connect, api: ScriptedApi) -> None:
    with pytest.raises(InvalidArgumentError, match="path"):
        connect().request("GET", path)
    with pytest.raises(InvalidArgumentError, match="path"):
        connect().request_pages(path)

    assert api.seen == api.token_requests == []


@pytest.mark.parametrize("path", ["/o/token/", "/o/revoke_token/", "/O/token", "/o"])
def test_the_oauth_endpoints_are_out_of_reach(path: str, connect: Connect, api: ScriptedApi) -> None:
    with pytest.raises(InvalidArgumentError, match="OAuth"):
        connect().request("POST", path)

    assert api.seen == api.token_requests == []


def test_a_whole_address_of_the_own_origin_is_taken_for_its_path(connect: Connect, api: ScriptedApi) -> None:
    connect().request("GET", f"{api.url}/api/new/7/")

    assert api.seen[0].target == "/api/new/7/"


def test_segments_are_sent_as_they_were_meant(connect: Connect, api: ScriptedApi) -> None:
    connect().request("GET", "/api/new/2026-01-31_4711/caf%C3%A9 au lait:copy")

    assert api.seen[0].target == "/api/new/2026-01-31_4711/caf%C3%A9%20au%20lait:copy"


def test_parameters_are_sent_as_text(connect: Connect, api: ScriptedApi) -> None:
    query = {
        "doctor": 7,
        "archived": True,
        "since": datetime.datetime(2026, 1, 31, 8),
        "day": datetime.date(2026, 1, 31),
        "ids": [1, 2],
        "left_out": None,
    }

    connect().request("GET", "/api/new", query=query)

    assert api.seen[0].query == {
        "doctor": ["7"],
        "archived": ["true"],
        "since": ["2026-01-31T08:00:00"],
        "day": ["2026-01-31"],
        "ids": ["1,2"],
    }


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"method": "HEAD"}, "method must be one of GET"),
        ({"query": {"since": ""}}, r"query\['since'\] is empty"),
        ({"query": {"ids": []}}, r"query\['ids'\] is an empty list"),
        ({"query": {"since": datetime.datetime.now(datetime.UTC)}}, "has a time zone"),
        ({"query": {"a b": 1}}, "a name that no query parameter has"),
        ({"query": {"x": object()}}, "cannot be sent as object"),
        ({"query": ["x"]}, "query must be a mapping"),
        ({"json": {}}, "a GET takes no body"),
        ({"method": "POST", "json": {}, "data": {"a": 1}}, "give json, or data and files, not both"),
        ({"method": "POST", "json": {"a": {1, 2}}}, "holds a set"),
        ({"method": "POST", "data": [1]}, "data must be a mapping"),
        ({"method": "POST", "data": {"a": {"b": 1}}}, "a is a nested value"),
        ({"method": "POST", "files": {"a": "/no/such/file"}}, "cannot be read"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused_before_any_call(
    arguments: dict[str, Any], problem: str, connect: Connect, api: ScriptedApi
) -> None:
    with pytest.raises(InvalidArgumentError, match=problem):
        connect().request(**{"method": "GET", "path": "/api/new"} | arguments)

    assert api.seen == api.token_requests == []


def test_bodies_are_json_or_a_form(connect: Connect, api: ScriptedApi) -> None:
    drchrono = connect()
    drchrono.request("POST", "/api/new", json=[{"day": datetime.date(2026, 1, 31)}])
    drchrono.request("POST", "/api/new", data={"patient": 7}, files={"document": ("scan.pdf", b"%PDF-1.7")})
    drchrono.request("POST", "/api/new")

    listed, form, empty = api.seen
    assert json.loads(listed.body) == [{"day": "2026-01-31"}]
    assert form.headers["content-type"].startswith("multipart/form-data")
    assert b'name="patient"\r\n\r\n7\r\n' in form.body
    assert b'filename="scan.pdf"' in form.body
    assert empty.body == b""


def test_only_reading_is_repeated(connect: Connect, api: ScriptedApi) -> None:
    drchrono = connect()
    api.script += [Reply(503), Reply(body={"id": 1})]
    assert drchrono.request("GET", "/api/new") == {"id": 1}
    api.seen.clear()
    for method in METHODS[1:]:
        for reply in (Reply(503), Reply(drop=True)):
            api.script.append(reply)
            with pytest.raises((ServerError, ConnectionFailedError), match="may have been carried out") as raised:
                drchrono.request(method, "/api/new/1")
            assert raised.value.transient is False

    assert [each.method for each in api.seen] == [each for each in METHODS[1:] for _ in range(2)]


def test_a_throttled_write_is_sent_again(connect: Connect, api: ScriptedApi) -> None:
    api.script += [Reply(429, {"detail": "Expected available in 0 seconds."}), Reply(201, {"id": 1})]

    assert connect(max_wait=5.0).request("POST", "/api/new", json={}) == {"id": 1}


def test_it_takes_its_place_in_the_quota(sandbox: "Sandbox", sandbox_store: Any) -> None:
    settings = sandbox_settings(sandbox).model_copy(update={"quota_per_hour": 2})

    with DrChronoClient(settings, token_store=sandbox_store) as drchrono:
        drchrono.request("GET", "/api/offices")
        drchrono.request("GET", "/api/offices")
        assert drchrono.calls == 2
        with pytest.raises(RateLimitedError, match="GET /api/offices: our own count of the quota is used up"):
            drchrono.request("GET", "/api/offices")


def test_a_refused_token_is_renewed(sandbox: "Sandbox") -> None:
    settings = sandbox_settings(sandbox, refresh_token=sandbox.new_refresh_token())
    with DrChronoClient(settings, token_store=MemoryTokenStore()) as drchrono:
        drchrono.request("GET", "/api/offices")
        sandbox.app.oauth.expire_access_tokens()
        assert drchrono.request("GET", "/api/offices")["data"]


def test_a_refusal_names_the_rights_that_the_catalogue_knows(sandbox: "Sandbox") -> None:
    settings = sandbox_settings(sandbox, refresh_token=sandbox.new_refresh_token("user:read"))
    with (
        DrChronoClient(settings, token_store=MemoryTokenStore()) as drchrono,
        pytest.raises(PermissionDeniedError, match=r"GET /api/patients: .*patients:read"),
    ):
        drchrono.request("GET", "/api/patients")


def test_errors_and_log_lines_name_the_address_and_no_data(
    connect: Connect, api: ScriptedApi, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "airflow_provider_drchrono")
    api.script.append(Reply(404))

    with pytest.raises(NotFoundError) as raised:
        connect().request("GET", "/api/new/4711/Jane%20Doe", query={"email": "jane@example.com"})

    told = f"{raised.value}\n{caplog.text}"
    assert "GET /api/new/4711/...: the API answered 404" in told
    assert "Jane" not in told
    assert "jane" not in told


def test_answers_are_as_large_as_any_and_pages_as_pages() -> None:
    from airflow_provider_drchrono.catalog import load
    from airflow_provider_drchrono.client.bounds import FILE_ANSWER, JSON_ANSWER
    from airflow_provider_drchrono.client.free_request import free_request

    any_answer = free_request(load(), "https://app.drchrono.com", "GET", "/api/new")
    page = free_request(load(), "https://app.drchrono.com", "GET", "/api/new", paged=True)

    assert size_limit(any_answer.operation) == FILE_ANSWER
    assert size_limit(page.operation) == JSON_ANSWER


def test_documents_come_as_text_or_bytes(connect: Connect, api: ScriptedApi) -> None:
    api.script += [
        Reply(body=b"<xml/>", headers={"Content-Type": "text/xml"}),
        Reply(body=b"\x00\x01", headers={"Content-Type": "application/pdf"}),
        Reply(204, b""),
    ]
    drchrono = connect()

    assert [drchrono.request("GET", "/api/new") for _ in range(3)] == ["<xml/>", b"\x00\x01", None]


def test_extra_filters_are_sent_beside_those_that_are_known(drchrono: DrChronoClient, sandbox: "Sandbox") -> None:
    sandbox.journal.clear()

    list(drchrono.list("patients", {"doctor": 1}, extra_filters={"shoe_size": 43, "none": None}))
    next(drchrono.raw_pages("patients", extra_filters={"shoe_size": 43}))

    first, *_, last = (each.query for each in sandbox.journal.calls(resource="patients"))
    assert (first["doctor"], first["shoe_size"]) == ("1", "43")
    assert "none" not in first
    assert last["shoe_size"] == "43"


def test_an_extra_filter_may_be_what_a_list_insists_on(drchrono: DrChronoClient, sandbox: "Sandbox") -> None:
    sandbox.journal.clear()
    with pytest.raises(Exception, match="since"):
        next(drchrono.pages("appointments", extra_filters={"changed_after": "2026-01-01"}))

    assert sandbox.journal.calls(resource="appointments")[0].query["changed_after"] == "2026-01-01"


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ({"doctor": 1}, "doctor is a filter that is known: give it in filters"),
        ({"page_size": 1}, "cannot have page_size, which belongs to the paging"),
        ({"a b": 1}, "a name that no query parameter has"),
        ({"shoe_size": ""}, r"extra_filters\['shoe_size'\] is empty"),
        ("shoe_size", "extra_filters must be a mapping"),
        (3, "extra_filters must be a mapping"),
    ],
)  # fmt: skip
def test_extra_filters_that_cannot_be_right_are_refused_before_any_call(
    extra: Any, problem: str, drchrono: DrChronoClient, sandbox: "Sandbox"
) -> None:
    sandbox.journal.clear()

    with pytest.raises(InvalidArgumentError, match=problem):
        drchrono.list("patients", extra_filters=extra)

    assert sandbox.journal.calls(resource="patients") == []
