"""Which links are followed, and that none leads anywhere but to the own origin."""

from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_drchrono.client import MemoryTokenStore, Token, UnexpectedAnswerError, grant_id_of
from airflow_provider_drchrono.client.request import own_link, same_origin
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from tests.unit.client.servers import Reply, ScriptedApi, scripted_api

BASE = "https://app.drchrono.com"
SISTER_HOST = "https://drchrono.com"


@pytest.mark.parametrize(
    ("url", "same"),
    [
        pytest.param(f"{BASE}/api/patients?cursor=x", True, id="own"),
        pytest.param("https://APP.drchrono.com:443/api/patients", True, id="port-and-capitals"),
        pytest.param("http://app.drchrono.com/api/patients", False, id="other-scheme"),
        pytest.param("https://app.drchrono.com:8443/api", False, id="other-port"),
        pytest.param("https://evil.example/api", False, id="other-host"),
        pytest.param("https://app.drchrono.com.evil.example/api", False, id="longer-host"),
        pytest.param("https://app.drchrono.com@evil.example/api", False, id="host-as-user"),
        pytest.param("https://me@app.drchrono.com/api", False, id="user"),
        pytest.param("https://evil.example\\@app.drchrono.com/api", False, id="backslash"),
        pytest.param("https://app.drchrono.com:port/api", False, id="broken-port"),
        pytest.param("https://[broken/api", False, id="broken-host"),
        pytest.param("//evil.example/api", False, id="no-scheme"),
        pytest.param("/api/patients", False, id="no-host"),
        pytest.param("javascript:alert(1)", False, id="script"),
    ],
)
def test_only_the_own_origin_is_followed(url: str, same: bool) -> None:
    assert same_origin(BASE, url) is same


@pytest.mark.parametrize(
    ("link", "target"),
    [
        pytest.param("https://drchrono.com/api/patients?cursor=x%3D", "/api/patients?cursor=x%3D", id="sister-host"),
        pytest.param("http://app.drchrono.com/api/patients", "/api/patients", id="http"),
        pytest.param("https://app.drchrono.com:8443/api/patients", "/api/patients", id="other-port"),
        pytest.param("https://10.0.0.7/api/patients?a=1#frag", "/api/patients?a=1", id="address"),
        pytest.param("/api/patients?cursor=x", "/api/patients?cursor=x", id="path"),
        pytest.param("?cursor=x", "/api/patients?cursor=x", id="query"),
        pytest.param(f"{BASE}/elsewhere", "/elsewhere", id="own-origin"),
    ],
)
def test_of_a_link_path_and_query_are_believed(link: str, target: str) -> None:
    assert own_link(BASE, link, f"{BASE}/api/patients?first=1") == BASE + target


HOSTILE = [
    "https://evil.example/",
    "https://evil.example/api",
    "https://evil.example/o/token/",
    "https://evil.example/api/../o/revoke",
    "https://evil.example/api/%2e%2e/o/revoke",
    "https://evil.example:port/api/x",
    "https://me@evil.example/api/x",
    "https://app.drchrono.com@evil.example/api/x",
    "https://evil.example\\@app.drchrono.com/api/x",
    "https://evil.example\\/api/x",
    "https://app.drchrono.com/\\evil.example/api/x",
    "https://evil.example\t/api/x",
    "https://evil.example/api/x y",
    "https://evil.example/api/\r\nHost: evil.example",
    "https://ev_il.example/api/x",
    "https://[broken/api/x",
    "https:///api/x",
    "//evil.example/api/x",
    "/\\evil.example/api/x",
    "ftp://evil.example/api/x",
    "javascript:alert(1)//api/x",
    "file:///api/x",
]


@pytest.mark.parametrize("link", HOSTILE)
def test_a_hostile_link_is_not_followed_or_followed_at_home(link: str) -> None:
    url = own_link(BASE, link)
    assert url is None or (url.startswith(f"{BASE}/") and urlsplit(url).hostname == "app.drchrono.com")


@pytest.mark.parametrize("link", HOSTILE)
@pytest.mark.parametrize("kind", ["next", "location"])
def test_a_hostile_link_never_moves_the_token(api: ScriptedApi, connect: Any, kind: str, link: str) -> None:
    with scripted_api() as elsewhere:
        hostile = link.replace("evil.example", elsewhere.url.removeprefix("http://")).replace("https:", "http:")
        odd = any(each in hostile for each in "\r\n\t")
        page = Reply(body={"results": [{"id": 1}], "next": hostile})
        moved = Reply(302, headers={"Location": "/" if odd else hostile})
        api.script += [page if kind == "next" else moved]
        client = connect(token_store=MemoryTokenStore(Token("secret", grant_id=grant_id_of("refresh-0"))))
        with suppress(UnexpectedAnswerError):
            list(client.list("patients"))
        assert elsewhere.seen == elsewhere.token_requests == []


def test_a_redirect_to_a_sister_host_is_followed_at_home(api: ScriptedApi, connect: Any) -> None:
    api.script += [Reply(302, headers={"Location": f"{SISTER_HOST}/api/patients/2?x=1"}), Reply(body={"id": 2})]
    assert connect().read("patients", 1) == {"id": 2}
    assert api.seen[1].target == "/api/patients/2?x=1"
    assert api.bearers == ["access-1", "access-1"]


def test_a_whole_list_comes_although_its_links_name_a_sister_host(sandbox: Sandbox, drchrono: Any) -> None:
    sandbox.faults.add(Fault(kind="foreign_next", resource="patients", host=SISTER_HOST, times=None))
    try:
        assert len(list(drchrono.list("patients", page_size=20))) == 60
    finally:
        sandbox.faults.clear()
