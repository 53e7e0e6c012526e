"""Files that records link to: fetched whole, bounded, without the token elsewhere, and again after a link expired."""

import asyncio
import hashlib
from typing import Any

import pytest

from airflow_provider_drchrono.client import (
    AsyncDrChronoClient,
    ConnectionFailedError,
    DrChronoClient,
    InvalidArgumentError,
    NotFoundError,
    ResponseError,
    ServerError,
    UnexpectedAnswerError,
)
from airflow_provider_drchrono.client.download import IN_MEMORY
from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.sandbox import Sandbox
from tests.unit.client.servers import Reply, ScriptedApi, scripted_api

PDF = b"%PDF-1.4 synthetic"


def record(link: Any) -> Reply:
    return Reply(body={"id": 7, "document": link})


def file(content: bytes = PDF, status: int = 200, **headers: str) -> Reply:
    return Reply(status, body=content, headers={"Content-Type": "application/pdf", **headers})


def test_a_document_comes_whole_with_its_checksum(sandbox: Sandbox, drchrono: DrChronoClient) -> None:
    row = next(each for each in sandbox.practice.records("documents") if each["document"])
    with drchrono.download("documents", row["id"]) as download:
        content = download.content.read()
        assert content
        assert (download.size, download.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        assert download.content_type in ("application/pdf", "image/png")
        assert download.file_name.startswith("document.")
    assert download.content.closed


def test_the_asynchronous_client_fetches_the_same(sandbox: Sandbox, drchrono: Any, connect_async: Any) -> None:
    key = next(each["id"] for each in sandbox.practice.records("documents") if each["document"])

    async def fetch() -> str:
        client: AsyncDrChronoClient
        async with connect_async() as client:
            with await client.download("documents", key) as download:
                return download.sha256

    with drchrono.download("documents", key) as download:
        assert asyncio.run(fetch()) == download.sha256


def test_a_large_file_does_not_stay_in_memory(api: ScriptedApi, connect: Any) -> None:
    content = b"x" * (3 * IN_MEMORY)
    api.script += [record("/files/7"), file(content)]
    with connect().download("documents", 7) as download:
        assert (download.size, download.content.read()) == (len(content), content)
        assert download.content._rolled


def test_the_token_does_not_go_to_the_host_of_the_files(
    api: ScriptedApi, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted_api() as elsewhere:
        elsewhere.script += [file()]
        # The other host speaks plain http here, which is refused in earnest.
        monkeypatch.setattr("airflow_provider_drchrono.client.download._foreign", lambda link, found_at: link)
        api.script += [record(f"{elsewhere.url}/bucket/7?Signature=s"), file()]
        with connect().download("documents", 7) as download:
            assert download.content.read() == PDF
        (asked,) = elsewhere.seen
    assert asked.target == "/bucket/7?Signature=s"
    assert {each.lower() for each in asked.headers} & {"authorization", "x-drc-api-version"} == set()


def test_the_own_host_is_asked_with_the_token(api: ScriptedApi, connect: Any) -> None:
    api.script += [record("/files/7"), file()]
    connect().download("documents", 7).close()
    assert [each.target for each in api.seen] == ["/api/documents/7", "/files/7"]
    assert api.bearers == ["access-1", "access-1"]


@pytest.mark.parametrize(
    "link",
    [
        "http://files.example/7",
        "ftp://files.example/7",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://me@files.example/7",
        "https://files.example\\@x/7",
        "https://files.example/7 8",
        "https:///7",
        "https://files.example:port/7",
        "https://[broken/7",
        42,
    ],
)
def test_a_link_that_nobody_should_follow_is_refused(api: ScriptedApi, connect: Any, link: Any) -> None:
    api.script += [record(link)]
    with pytest.raises(UnexpectedAnswerError, match="documents_read: document holds no link that can be followed"):
        connect().download("documents", 7)
    assert len(api.seen) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_link_that_has_expired_is_asked_for_again(api: ScriptedApi, connect: Any, status: int) -> None:
    api.script += [record("/files/old"), file(b"<Error/>", status), record("/files/new"), file()]
    with connect().download("documents", 7) as download:
        assert download.content.read() == PDF
    assert [each.target for each in api.seen] == ["/api/documents/7", "/files/old", "/api/documents/7", "/files/new"]


def test_a_new_link_that_is_refused_too_is_an_error(api: ScriptedApi, connect: Any) -> None:
    api.script += [record("/files/old"), file(status=403), record("/files/new"), file(status=403)]
    with pytest.raises(ResponseError, match="answered 403, also to a new link") as caught:
        connect().download("documents", 7)
    assert not caught.value.transient


def test_a_failing_host_is_asked_again_and_no_half_is_kept(api: ScriptedApi, connect: Any) -> None:
    broken = Reply(body=PDF[:5], headers={"Content-Type": "application/pdf", "Content-Length": str(len(PDF))})
    api.script += [record("/files/7"), file(b"busy", 503), broken, file()]
    with connect(max_attempts=4).download("documents", 7) as download:
        assert (download.content.read(), download.size) == (PDF, len(PDF))


def test_a_host_that_keeps_failing_is_a_passing_error(api: ScriptedApi, connect: Any) -> None:
    api.script += [record("/files/7"), file(status=503), file(status=429)]
    with pytest.raises(ServerError, match="the host of the file of document answered 429") as caught:
        connect(max_attempts=2).download("documents", 7)
    assert caught.value.transient


def test_a_file_that_is_too_large_is_not_read_to_its_end(api: ScriptedApi, connect: Any) -> None:
    api.script += [record("/files/7"), file(b"x" * 100_000)]
    with pytest.raises(UnexpectedAnswerError, match="larger than"):
        connect().download("documents", 7, max_bytes=50_000)


def test_redirects_are_followed_and_not_for_ever(api: ScriptedApi, connect: Any) -> None:
    api.script += [record("/files/7"), Reply(302, headers={"Location": "/moved/7"}), file()]
    connect().download("documents", 7).close()
    assert [each.target for each in api.seen][-1] == "/moved/7"
    api.script += [record("/files/7"), *[Reply(302, headers={"Location": "/files/7"})] * 20]
    with pytest.raises(DrChronoError, match="answered 302"):
        connect().download("documents", 7)
    api.script.clear()
    api.script += [record("/files/7"), Reply(302, headers={"Location": "http://elsewhere.example/7"})]
    with pytest.raises(UnexpectedAnswerError, match="no link that can be followed"):
        connect().download("documents", 7)


@pytest.mark.parametrize("link", [None, ""])
def test_a_record_without_a_file_says_so(api: ScriptedApi, connect: Any, link: Any) -> None:
    api.script += [record(link)]
    with pytest.raises(NotFoundError, match="document is empty, so there is no file"):
        connect().download("documents", 7)


def test_what_cannot_be_is_refused_before_any_call(api: ScriptedApi, connect: Any) -> None:
    client = connect()
    with pytest.raises(InvalidArgumentError, match="did you mean 'document'"):
        client.download("documents", 7, "documnt")
    with pytest.raises(InvalidArgumentError, match="name the field that links to the file"):
        client.download("patients", 7)
    with pytest.raises(InvalidArgumentError, match="'documents'"):
        client.download("documnts", 7)
    with pytest.raises(InvalidArgumentError, match="max_bytes has to be above 0"):
        client.download("documents", 7, max_bytes=0)
    assert api.seen == []


def test_an_error_names_neither_link_nor_file(api: ScriptedApi, connect: Any) -> None:
    api.script += [record("https://user@canary.example/canary.pdf?Signature=canary")]
    with pytest.raises(DrChronoError) as caught:
        connect().download("documents", 7)
    assert "canary" not in repr(caught.value)
    api.script += [record("https://127.0.0.1:1/canary.pdf")]
    with pytest.raises(ConnectionFailedError) as gone:
        connect(max_attempts=1).download("documents", 7)
    assert "canary" not in repr(gone.value)


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"Content-Disposition": 'attachment; filename="scan 1.pdf"'}, "scan 1.pdf"),
        ({"Content-Disposition": 'attachment; filename="../../etc/passwd"'}, "passwd"),
        ({"Content-Disposition": "attachment; filename*=UTF-8''%2e%2e%5cx.pdf"}, "x.pdf"),
        ({}, "7 a.pdf"),
    ],
)
def test_a_file_name_leads_nowhere(api: ScriptedApi, connect: Any, headers: dict[str, str], name: str) -> None:
    api.script += [record("/files/7%20a.pdf?Expires=1"), file(**headers)]
    with connect().download("documents", 7) as download:
        assert download.file_name == name
