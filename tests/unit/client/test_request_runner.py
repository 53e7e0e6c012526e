"""Calls through a real socket to a server that misbehaves as told."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pytest_mock import MockerFixture

from airflow_provider_drchrono.client import (
    AuthenticationError,
    BadRequestError,
    BulkExpiredError,
    CallQuota,
    ConflictError,
    ConnectionFailedError,
    DrChronoClient,
    DrChronoError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    RequestTimeoutError,
    ResponseError,
    ServerError,
    UnexpectedAnswerError,
)
from tests.unit.client.servers import Reply, ScriptedApi

Connect = Callable[..., DrChronoClient]

HTML = Reply(200, b"<html>Canarybird</html>", {"Content-Type": "text/html; charset=utf-8"})
BROKEN_JSON = Reply(200, b'{"results": [{"name": "Canarybird"')
FAILED = Reply(500, b"Canarybird")
THROTTLED = Reply(429, {"detail": "Request was throttled. Expected available in 1234 seconds."})


def read(client: DrChronoClient) -> Any:
    return client.read("patients", 1)


def write(client: DrChronoClient) -> Any:
    return client.create("patients", {"first_name": "Canarybird"})


@pytest.mark.parametrize(
    "reason", [FAILED, Reply(503), Reply(408), HTML, BROKEN_JSON, Reply(200, b""), Reply(drop=True)],
    ids=["500", "503", "408", "html-with-200", "broken-json", "empty", "dropped"],
)  # fmt: skip
def test_a_read_is_repeated_until_it_succeeds(api: ScriptedApi, connect: Connect, reason: Reply) -> None:
    api.script += [reason, reason, Reply(body={"id": 1})]
    client = connect()
    assert read(client) == {"id": 1}
    assert client.calls == len(api.seen) == 3


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        pytest.param(FAILED, ServerError, id="500"),
        pytest.param(HTML, UnexpectedAnswerError, id="html-with-200"),
        pytest.param(BROKEN_JSON, UnexpectedAnswerError, id="broken-json"),
        pytest.param(Reply(drop=True), ConnectionFailedError, id="dropped"),
    ],
)
def test_a_read_fails_after_the_last_attempt(
    api: ScriptedApi, connect: Connect, reason: Reply, error: type[DrChronoError]
) -> None:
    api.script += [reason] * 9
    client = connect(max_attempts=3)
    with pytest.raises(error, match=r"^patients_read: .*try later") as caught:
        read(client)
    assert client.calls == len(api.seen) == 3
    assert caught.value.transient
    assert caught.value.operation_id == "patients_read"


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        pytest.param(FAILED, ServerError, id="500"),
        pytest.param(Reply(201, BROKEN_JSON.content), UnexpectedAnswerError, id="broken-json"),
        pytest.param(HTML, UnexpectedAnswerError, id="html-with-200"),
        pytest.param(Reply(drop=True), ConnectionFailedError, id="dropped"),
        pytest.param(Reply(hang=True), RequestTimeoutError, id="never-answered"),
    ],
)
def test_a_post_that_may_have_arrived_is_never_repeated(
    api: ScriptedApi, connect: Connect, reason: Reply, error: type[DrChronoError]
) -> None:
    api.script += [reason]
    with pytest.raises(error, match="look before you do it again") as caught:
        write(connect(read_timeout=0.2))
    assert len(api.seen) == 1
    assert not caught.value.transient


def test_a_post_is_repeated_after_a_429(api: ScriptedApi, connect: Connect) -> None:
    api.script += [Reply(429, headers={"Retry-After": "0.01"})] * 2 + [Reply(201, {"id": 1})]
    assert write(connect()) == {"id": 1}
    assert len(api.seen) == 3


def test_a_lost_start_of_a_bulk_list_may_be_made_anew(api: ScriptedApi, connect: Connect) -> None:
    api.script += [FAILED] * 2
    with pytest.raises(ServerError) as caught:
        connect(max_attempts=2).bulk_start("patients")
    assert len(api.seen) == 2
    assert caught.value.transient


@pytest.mark.parametrize("method", ["update", "replace"])
def test_other_writes_are_repeated(api: ScriptedApi, connect: Connect, method: str) -> None:
    api.script += [FAILED, Reply(204)]
    assert getattr(connect(), method)("patients", 1, {"first_name": "x"}) is None
    assert [each.body for each in api.seen] == [b'{"first_name": "x"}'] * 2


def test_a_repeated_delete_that_finds_nothing_has_done_its_work(api: ScriptedApi, connect: Connect) -> None:
    api.script += [Reply(drop=True), Reply(404)]
    assert connect().delete("patients", 1) is None
    api.script += [Reply(404)]
    with pytest.raises(NotFoundError):
        connect().delete("patients", 1)


@pytest.mark.parametrize("reason", [FAILED, HTML, Reply(drop=True)], ids=["500", "html-with-200", "dropped"])
def test_a_delete_whose_answer_was_lost_is_in_doubt_until_the_last_attempt(
    api: ScriptedApi, connect: Connect, reason: Reply
) -> None:
    api.script += [reason, Reply(429, headers={"Retry-After": "0.01"}), Reply(401), Reply(404)]
    assert connect().delete("patients", 1) is None


def test_a_delete_that_was_only_put_off_finds_nothing(api: ScriptedApi, connect: Connect) -> None:
    api.script += [Reply(429, headers={"Retry-After": "0.01"}), Reply(401), Reply(404)]
    with pytest.raises(NotFoundError):
        connect().delete("patients", 1)


def test_a_delete_that_was_never_sent_before_finds_nothing(
    api: ScriptedApi, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect()
    read(client)
    sent = httpx.Client.send
    refusals = iter([httpx.ConnectError("refused")])

    def send(*arguments: Any, **options: Any) -> Any:
        refused = next(refusals, None)
        if refused is not None:
            raise refused
        return sent(*arguments, **options)

    monkeypatch.setattr(httpx.Client, "send", send)
    api.script += [Reply(404)]
    with pytest.raises(NotFoundError):
        client.delete("patients", 1)
    assert next(refusals, None) is None
    assert [each.method for each in api.seen] == ["GET", "DELETE"]


@pytest.mark.parametrize("reason", [FAILED, Reply(503), HTML, Reply(drop=True)], ids=["500", "503", "html", "dropped"])
@pytest.mark.parametrize("method", ["update", "replace", "read"])
def test_nothing_but_a_delete_has_done_its_work_when_a_repeat_finds_nothing(
    api: ScriptedApi, connect: Connect, method: str, reason: Reply
) -> None:
    api.script += [reason, Reply(404)]
    arguments = () if method == "read" else ({"city": "x"},)
    with pytest.raises(NotFoundError):
        getattr(connect(), method)("patients", 1, *arguments)
    assert len(api.seen) == 2


def test_a_timeout_says_which_setting_to_raise(api: ScriptedApi, connect: Connect) -> None:
    api.script += [Reply(hang=True)]
    with pytest.raises(RequestTimeoutError, match=r"no answer within 0.1 s; .*read_timeout"):
        read(connect(read_timeout=0.1, max_attempts=1))


def test_a_long_wait_is_an_error_with_the_time_to_go_on(api: ScriptedApi, connect: Connect) -> None:
    api.script += [THROTTLED]
    began = time.monotonic()
    with pytest.raises(RateLimitedError, match=r"answered 429; go on at 20.* UTC") as caught:
        read(connect())
    assert time.monotonic() - began < 1
    retry_at = caught.value.retry_at
    assert retry_at is not None
    assert abs(retry_at - datetime.now(UTC) - timedelta(seconds=1234)) < timedelta(seconds=5)
    assert len(api.seen) == 1


def test_a_429_without_a_hint_waits_for_the_top_of_the_servers_hour(api: ScriptedApi, connect: Connect) -> None:
    date = {"Date": "Sun, 01 Mar 2026 10:50:00 GMT"}
    api.script += [Reply(429, b"slow down", date)] * 2
    with pytest.raises(RateLimitedError) as caught:
        read(connect(max_wait=1.0))
    assert caught.value.retry_at is not None
    assert abs(caught.value.retry_at - datetime.now(UTC) - timedelta(minutes=10)) < timedelta(seconds=5)
    assert len(api.seen) == 2


@pytest.mark.parametrize("status", [429, 503])
def test_an_answer_that_asks_for_a_day_is_asked_again_when_the_hour_begins(
    api: ScriptedApi, connect: Connect, status: int
) -> None:
    date = {"Date": "Sun, 01 Mar 2026 10:50:00 GMT", "Retry-After": "86400"}
    api.script += [Reply(status, b"come back tomorrow", date)]
    with pytest.raises(RateLimitedError) as caught:
        read(connect())
    assert caught.value.retry_at is not None
    assert abs(caught.value.retry_at - datetime.now(UTC) - timedelta(minutes=10)) < timedelta(seconds=5)


def test_a_429_that_does_not_end_is_put_off(api: ScriptedApi, connect: Connect) -> None:
    api.script += [Reply(429, headers={"Retry-After": "0.01"})] * 9
    with pytest.raises(RateLimitedError):
        read(connect(max_attempts=3))
    assert len(api.seen) == 3


def test_a_server_in_maintenance_is_believed(api: ScriptedApi, connect: Connect) -> None:
    api.script += [Reply(503, headers={"Retry-After": "600"})]
    with pytest.raises(RateLimitedError, match="answered 503") as caught:
        read(connect())
    assert caught.value.status == 503


def test_our_own_count_stops_before_anything_is_sent(api: ScriptedApi, connect: Connect, mocker: MockerFixture) -> None:
    # Half past, so that the hour cannot turn while the test runs.
    mocker.patch("airflow_provider_drchrono.client.quota.stores.time.time", return_value=1_767_225_600.0 + 1800)
    client = connect(quota=CallQuota(per_hour=2, per_second=None))
    read(client)
    read(client)
    with pytest.raises(RateLimitedError, match=r"our own count.*larger quota") as caught:
        read(client)
    assert len(api.seen) == client.calls == 2
    assert caught.value.status is None
    assert caught.value.retry_at is not None
    assert abs(caught.value.retry_at - datetime.now(UTC) - timedelta(minutes=30)) < timedelta(seconds=5)


def test_a_short_wait_for_the_quota_is_slept(api: ScriptedApi, connect: Connect) -> None:
    client = connect(quota=CallQuota(per_hour=None, per_second=2), max_wait=2.0)
    began = time.monotonic()
    for _ in range(3):
        read(client)
    assert 0.5 < time.monotonic() - began < 3
    assert len(api.seen) == 3


def test_the_wait_that_a_429_asks_for_is_slept(api: ScriptedApi, connect: Connect) -> None:
    api.script += [Reply(429, headers={"Retry-After": "0.5"})]
    began = time.monotonic()
    read(connect(max_wait=2.0))
    assert 0.5 <= time.monotonic() - began < 5
    assert len(api.seen) == 2


def test_a_wait_for_the_quota_beyond_max_wait_gives_the_worker_free(
    api: ScriptedApi, connect: Connect, mocker: MockerFixture
) -> None:
    # Ninety seconds before the hour turns: longer than one wait may be, shorter than two.
    mocker.patch("airflow_provider_drchrono.client.quota.stores.time.time", return_value=1_767_225_600.0 + 3510)
    sleep = mocker.patch("airflow_provider_drchrono.client.synchronous.time.sleep")
    client = connect(quota=CallQuota(per_hour=1, per_second=None), max_wait=60.0)
    read(client)
    with pytest.raises(RateLimitedError, match="our own count"):
        read(client)
    sleep.assert_not_called()
    assert len(api.seen) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_replays_method_headers_and_body(api: ScriptedApi, connect: Connect, status: int) -> None:
    api.script += [Reply(status, headers={"Location": "/api/elsewhere?x=1"}), Reply(201, {"id": 1})]
    client = connect()
    assert write(client) == {"id": 1}
    first, second = api.seen
    assert second.target == "/api/elsewhere?x=1"
    assert (first.method, first.body, first.headers["authorization"]) == (
        second.method, second.body, second.headers["authorization"],
    )  # fmt: skip
    assert second.headers["content-type"] == "application/json"
    assert client.calls == 2


@pytest.mark.parametrize(
    "location",
    ["http://127.0.0.1:1/api", "https://127.0.0.1/api", "//evil.example/api", "http://127.0.0.1@evil.example/"],
)
def test_a_redirect_elsewhere_is_not_followed(api: ScriptedApi, connect: Connect, location: str) -> None:
    api.script += [Reply(302, headers={"Location": location})]
    with pytest.raises(UnexpectedAnswerError, match="another host, to which the token must not go") as caught:
        read(connect())
    assert len(api.seen) == 1
    assert "evil" not in str(caught.value)


def test_redirects_come_to_an_end(api: ScriptedApi, connect: Connect) -> None:
    api.script += [Reply(302, headers={"Location": "/api/again"})] * 20
    with pytest.raises(UnexpectedAnswerError, match="6th time"):
        read(connect())
    assert len(api.seen) == 6


def test_a_redirect_without_an_address_is_an_error(api: ScriptedApi, connect: Connect) -> None:
    api.script += [Reply(302)]
    with pytest.raises(UnexpectedAnswerError, match="cannot be followed"):
        read(connect())


@pytest.mark.parametrize(
    ("status", "body", "error", "says"),
    [
        pytest.param(400, {"doctor": ["Invalid pk Canarybird"]}, BadRequestError, "values of doctor", id="400"),
        pytest.param(400, b"Canarybird", BadRequestError, "refused the request", id="400-text"),
        pytest.param(400, {"Canarybird said so": ["x"]}, BadRequestError, "refused the request", id="400-odd-name"),
        pytest.param(
            403, {"detail": "Canarybird"}, PermissionDeniedError, r"patients:read or patients:write.*manage-patients",
            id="403",
        ),
        pytest.param(404, {"detail": "Canarybird"}, NotFoundError, "check the id", id="404"),
        pytest.param(405, b"Canarybird", ResponseError, "405; check the arguments", id="405"),
        pytest.param(413, b"Canarybird", ResponseError, "413", id="413"),
        pytest.param(304, b"", UnexpectedAnswerError, "redirect that cannot be followed", id="304"),
    ],
)  # fmt: skip
def test_refusals_say_what_to_do_and_repeat_nothing(
    api: ScriptedApi, connect: Connect, status: int, body: Any, error: type[DrChronoError], says: str
) -> None:
    api.script += [Reply(status, body)]
    with pytest.raises(error, match=says) as caught:
        read(connect())
    assert caught.value.status == status
    assert "Canarybird" not in repr(caught.value)
    assert not caught.value.transient
    assert len(api.seen) == 1


def test_a_duplicate_patient_is_a_conflict_with_a_remedy(api: ScriptedApi, connect: Connect) -> None:
    api.script += [Reply(409, {"detail": "Canarybird"})] * 2
    with pytest.raises(ConflictError, match="allow_duplicates=true"):
        write(connect())
    with pytest.raises(ConflictError, match="contradicts"):
        connect().create("tasks", {"title": "x"})


def test_field_errors_are_kept_beside_the_message(api: ScriptedApi, connect: Connect) -> None:
    api.script += [
        Reply(
            400,
            [{}, {"doctor": ["Invalid pk."], "custom_demographics": [{"value": ["Too long."]}], "detail": "no"}],
        )
    ]
    with pytest.raises(BadRequestError) as caught:
        write(connect())
    assert caught.value.field_errors == {
        "1.doctor": ["Invalid pk."],
        "1.custom_demographics.0.value": ["Too long."],
        "1.detail": ["no"],
    }


def test_403_carries_scopes_and_permissions(api: ScriptedApi, connect: Connect) -> None:
    api.script += [Reply(403)]
    with pytest.raises(PermissionDeniedError) as caught:
        read(connect())
    assert caught.value.scopes == ("patients:read", "patients:write")
    assert caught.value.permissions == ("manage-patients",)


def test_a_forgotten_bulk_list_is_known_by_its_answer(api: ScriptedApi, connect: Connect) -> None:
    for status in (400, 404, 200):
        api.script += [Reply(status, {"detail": "Invalid uuid specified"})]
        with pytest.raises(BulkExpiredError, match="lives for an hour; start it again"):
            connect().bulk_result("patients", "some-uuid")


def test_documents_come_as_they_are(api: ScriptedApi, connect: Connect) -> None:
    api.script += [
        Reply(200, "<a>é</a>".encode(), {"Content-Type": "application/xml; charset=utf-8"}),
        Reply(200, "<a>é</a>".encode("latin-1"), {"Content-Type": "text/xml; charset=latin-1"}),
        Reply(200, b"%PDF\xff", {"Content-Type": "application/pdf"}),
        Reply(200, b"\xff\xfe", {"Content-Type": "text/xml; charset=utf-8"}),
        Reply(200, {"status": "queued"}),
        Reply(200, b""),
    ]
    client = connect()
    answers = [client.call("patients_ccda", path={"id": 1}) for _ in range(6)]
    assert answers == ["<a>é</a>", "<a>é</a>", b"%PDF\xff", b"\xff\xfe", {"status": "queued"}, None]


def test_json_under_another_name_is_still_json(api: ScriptedApi, connect: Connect) -> None:
    api.script += [Reply(200, {"id": 1}, {"Content-Type": "text/plain"})]
    assert read(connect()) == {"id": 1}


def test_every_request_says_who_asks_and_never_accepts_html(api: ScriptedApi, connect: Connect) -> None:
    read(connect(api_version="v4"))
    headers = api.seen[0].headers
    assert headers["accept"] == "application/json"
    assert headers["x-drc-api-version"] == "v4"
    assert headers["user-agent"].startswith("airflow-provider-drchrono/")
    assert headers["authorization"] == "Bearer access-1"


def test_the_servers_clock_is_remembered(api: ScriptedApi, connect: Connect) -> None:
    client = connect()
    assert client.server_time is None
    api.script += [Reply(body={"id": 1}, headers={"Date": "Sun, 01 Mar 2026 10:50:00 GMT"}), Reply(body={"id": 1})]
    read(client)
    assert client.server_time == datetime(2026, 3, 1, 10, 50, tzinfo=UTC)
    read(client)
    assert client.server_time == datetime(2026, 3, 1, 10, 50, tzinfo=UTC)


def test_a_page_says_when_it_was_read(api: ScriptedApi, connect: Connect) -> None:
    empty = {"results": [], "next": None}
    api.script += [Reply(body=empty, headers={"Date": "Sun, 01 Mar 2026 10:50:00 GMT"}), Reply(body=empty)]
    client, before = connect(), datetime.now(UTC)
    first, second = (next(client.pages("patients")).server_time for _ in range(2))
    assert first == datetime(2026, 3, 1, 10, 50, tzinfo=UTC), "by the server's clock"
    assert before <= second <= datetime.now(UTC), "by our own, where the server does not say"


def test_a_token_refused_twice_is_an_error(api: ScriptedApi, connect: Connect) -> None:
    api.script += [Reply(401)] * 2
    with pytest.raises(AuthenticationError, match="authorize it again") as caught:
        read(connect())
    assert caught.value.kind == "token_refused"
    assert len(api.seen) == 2
    assert api.renewals == 2


def test_an_upload_is_repeated_whole(api: ScriptedApi, connect: Connect) -> None:
    api.script += [Reply(401), Reply(302, headers={"Location": "/api/documents/2"}), FAILED, Reply(204)]
    connect().update("documents", 1, {"description": "x"}, files={"document": ("scan.pdf", b"%PDF" * 50_000)})
    bodies = [each.body for each in api.seen]
    assert len(bodies) == 4
    assert len(set(bodies)) == 1
    assert len(bodies[0]) == int(api.seen[0].headers["content-length"]) > 200_000


def test_each_outcome_is_one_debug_line(api: ScriptedApi, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    api.script += [FAILED, Reply(body={"results": [{"id": 1}, {"id": 2}], "next": None})]
    began = time.monotonic()
    with caplog.at_level(logging.DEBUG, "airflow_provider_drchrono.client"):
        assert len(list(connect().list("patients"))) == 2
    lines = [each.getMessage() for each in caplog.records if each.levelno == logging.DEBUG]
    outcomes = [each for each in lines if each.startswith("patients_list: ")]
    assert [each.split(" ms")[0].rsplit(",", 1)[0] for each in outcomes] == [
        "patients_list: 500, attempt 1",
        "patients_list: 200, attempt 2",
    ]
    milliseconds = [int(each.split(" ms")[0].rsplit(", ", 1)[1]) for each in outcomes]
    assert 0 <= sum(milliseconds) <= (time.monotonic() - began) * 1000 + len(outcomes)
    assert outcomes[1].endswith("2 records")
