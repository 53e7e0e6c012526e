"""The plugin inside Airflow's own API server application: who may do what, and what a page may load."""

import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from airflow.models.connection import Connection
from airflow.utils.session import create_session
from sqlalchemy import event

from airflow_provider_drchrono.plugin import DrChronoPlugin, pending
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.state import lease as variable_lease
from tests.support.api_server import (
    CALLBACK,
    PAGE,
    SITE,
    api_server_app,
    begin,
    browser_of,
    pending_authorizations,
    state_in,
)
from tests.support.stored import tables_with

pytestmark = pytest.mark.airflow


@pytest.fixture(autouse=True)
def alone_on_the_machine(airflow_db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else wants the lease here, so a claim need not settle."""
    monkeypatch.setattr(variable_lease, "Timing", partial(variable_lease.Timing, write_limit=30.0, settle=0.0))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(patients=1, quota_per_second=None) as running:
        yield running


@pytest.fixture(scope="module")
def api_server() -> Iterator[Any]:
    with api_server_app() as app:
        yield app


@pytest.fixture
def visit(api_server: Any, airflow_db: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Make a browser, as far as requests go, in which a user of a role is signed in; with no role, nobody is."""
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", SITE)
    with create_session() as session:
        session.add(
            Connection(
                conn_id="practice",
                conn_type="drchrono",
                host=sandbox.url,
                login=sandbox.client_id,
                password=sandbox.client_secret,
            )
        )
        session.add(Connection(conn_id="broken", conn_type="drchrono", login="client"))
        session.add(Connection(conn_id="of_others", conn_type="http", host="example.com"))

    return partial(browser_of, api_server)


def begun(client: Any) -> str:
    """Begin an authorization, and return the state."""
    return state_in(begin(client))


def test_is_registered_as_a_link_of_the_menu_that_opens_in_a_tab() -> None:
    (view,) = DrChronoPlugin.external_views

    assert view["category"] == "admin"
    assert "url_route" not in view
    assert view["href"].endswith(PAGE)


def test_bad_connections_are_bad_rows_and_no_part_of_the_policy(
    visit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_drchrono.plugin import app

    browser = visit("admin")
    with create_session() as session:
        for conn_id, host in (("unicode", "https://例え.jp"), ("policy", "https://a; script-src-elem *")):
            session.add(Connection(conn_id=conn_id, conn_type="drchrono", host=host, login="a", password="b"))
        session.add(Connection(conn_id="odd", conn_type="drchrono", login="a", password="b"))
    status_of = app.status_of

    def fails_for_one(conn_id: str, now: float) -> Any:
        if conn_id == "odd":
            raise RuntimeError("canary")
        return status_of(conn_id, now)

    monkeypatch.setattr(app, "status_of", fails_for_one)
    page = browser.get(PAGE)

    assert page.status_code == 200
    assert page.text.count("characters that no host name has") == 2
    assert "It cannot be read (RuntimeError)" in page.text
    assert "canary" not in page.text
    assert "script-src-elem" not in page.headers["content-security-policy"]


@pytest.mark.parametrize(
    "url", ["https://a; script-src-elem *", "https://例え.jp", "https://[x", "javascript://a", "https://a:port"]
)
def test_a_policy_names_no_address_that_could_end_it(url: str) -> None:
    from airflow_provider_drchrono.plugin.pages import _origin

    assert _origin(url) is None
    assert _origin("https://app.drchrono.com:8443/x") == "https://app.drchrono.com:8443"


def test_leftover_authorizations_go_away_when_the_page_is_seen(
    visit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = visit("admin")
    with monkeypatch.context() as earlier:
        earlier.setattr(pending, "LIFETIME", -100_000.0)
        begun(browser)
    assert pending_authorizations() == 1

    browser.get(PAGE)

    assert pending_authorizations() == 0


def test_the_page_lists_what_the_user_may_edit(visit: Callable[..., Any]) -> None:
    page = visit("admin").get(PAGE)

    assert page.status_code == 200
    assert "practice" in page.text
    assert "no password, which is the client secret" in page.text
    assert "of_others" not in page.text
    assert "calls left this hour" not in page.text
    assert f"{SITE}{CALLBACK}" in page.text


def test_pages_load_nothing_and_are_framed_by_nobody(visit: Callable[..., Any], sandbox: Sandbox) -> None:
    page = visit("admin").get(PAGE)

    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'nonce-")
    assert f"form-action 'self' {sandbox.url}" in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["cache-control"] == "no-store"
    assert 'src="' not in page.text
    # The policy would let a browser leave an attribute out.
    assert "style=" not in page.text
    assert "onclick=" not in page.text


def test_names_are_escaped(visit: Callable[..., Any]) -> None:
    client = visit("admin")
    with create_session() as session:
        session.add(
            Connection(
                conn_id="hostile",
                conn_type="drchrono",
                login="client",
                password="secret",
                extra=json.dumps({"<script>alert(1)</script>refresh_token": "x"}),
            )
        )
    page = client.get(PAGE).text

    assert "hostile" in page
    assert "<script>alert" not in page


@pytest.mark.parametrize("role", ["viewer", "user"])
def test_who_may_not_edit_connections_is_refused_everywhere(visit: Callable[..., Any], role: str) -> None:
    client = visit(role)
    answers = [client.get(PAGE), client.post(f"{PAGE}/practice", headers={"Origin": SITE})]

    assert [answer.status_code for answer in answers] == [403, 403]
    assert all("Only users who may edit connections may authorize them" in answer.text for answer in answers)
    assert pending_authorizations() == 0


@pytest.mark.parametrize("role", ["op", "admin"])
def test_who_may_edit_connections_is_sent_to_drchrono(visit: Callable[..., Any], role: str, sandbox: Sandbox) -> None:
    answer = visit(role).post(f"{PAGE}/practice", headers={"Origin": SITE})

    assert answer.status_code == 303
    address = urlsplit(answer.headers["location"])
    assert f"{address.scheme}://{address.netloc}" == sandbox.url
    assert parse_qs(address.query)["redirect_uri"] == [f"{SITE}{CALLBACK}"]


@pytest.mark.parametrize(("method", "path"), [("GET", PAGE), ("POST", f"{PAGE}/practice"), ("GET", CALLBACK)])
def test_who_is_not_signed_in_is_led_to_the_login(visit: Callable[..., Any], method: str, path: str) -> None:
    answer = visit(None).request(method, path)

    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"{SITE}/api/v2/auth/login?next=http%3A%2F%2Flocalhost%3A8080%2F")


def test_who_was_signed_in_once_is_led_to_the_login(visit: Callable[..., Any]) -> None:
    client = visit(None)
    client.cookies.set("_token", "of-another-time")
    answer = client.get(PAGE)

    assert answer.status_code == 303
    assert "/api/v2/auth/login" in answer.headers["location"]


@pytest.mark.parametrize("path", ["docs", "redoc", "openapi.json"])
def test_nothing_describes_the_page_to_strangers(visit: Callable[..., Any], path: str) -> None:
    assert visit("admin").get(f"/drchrono/{path}").status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Origin": "https://evil.example"}, id="origin"),
        pytest.param({"Origin": "null"}, id="hidden origin"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, id="fetch metadata"),
        pytest.param({"Sec-Fetch-Site": "same-site", "Origin": SITE}, id="sister site"),
    ],
)
def test_forms_of_other_sites_are_refused(visit: Callable[..., Any], headers: dict[str, str]) -> None:
    answer = visit("admin").post(f"{PAGE}/practice", headers=headers)

    assert answer.status_code == 403
    assert "Another site has sent this request" in answer.text
    assert pending_authorizations() == 0


def test_a_get_begins_nothing(visit: Callable[..., Any]) -> None:
    assert visit("admin").get(f"{PAGE}/practice").status_code == 405


@pytest.mark.parametrize("conn_id", ["nowhere", "of_others"])
def test_only_drchrono_connections_can_be_authorized(visit: Callable[..., Any], conn_id: str) -> None:
    answer = visit("admin").post(f"{PAGE}/{conn_id}", headers={"Origin": SITE})

    assert answer.status_code == 404
    assert "holds no connection" in answer.text


def test_a_connection_that_cannot_work_says_why(visit: Callable[..., Any]) -> None:
    answer = visit("admin").post(f"{PAGE}/broken", headers={"Origin": SITE})

    assert answer.status_code == 400
    assert "no password, which is the client secret" in answer.text


def test_airflow_in_the_open_is_told_to_use_https(visit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow.example")
    answer = visit("admin").post(f"{PAGE}/practice", headers={"Origin": "http://airflow.example"})

    assert answer.status_code == 400
    assert "serve Airflow over https and say so in [api] base_url" in answer.text


class TestState:
    def test_is_kept_as_a_hash(self, visit: Callable[..., Any], airflow_db: Path) -> None:
        state = begun(visit("admin"))

        assert pending_authorizations() == 1
        assert tables_with(airflow_db, state) == []

    def test_counts_once(self, visit: Callable[..., Any]) -> None:
        client = visit("admin")
        state = begun(client)
        first = client.get(CALLBACK, params={"state": state, "error": "access_denied"})
        second = client.get(CALLBACK, params={"state": state, "code": "c"})

        assert "was cancelled in DrChrono" in first.text
        assert (second.status_code, "or was used before" in second.text) == (400, True)
        assert pending_authorizations() == 0

    def test_counts_once_though_it_comes_twice_at_the_same_moment(self, visit: Callable[..., Any]) -> None:
        from airflow import settings

        state = begun(visit("admin"))
        taken = []

        def come_between(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
            if statement.startswith("DELETE FROM variable") and threading.current_thread() is threading.main_thread():
                other = threading.Thread(target=lambda: taken.append(pending.take(state, "someone")))
                other.start()
                other.join()

        event.listen(settings.engine, "before_cursor_execute", come_between)
        try:
            with pytest.raises(pending.PendingError, match="unknown"):
                pending.take(state, "someone")
        finally:
            event.remove(settings.engine, "before_cursor_execute", come_between)

        assert [each.conn_id for each in taken] == ["practice"]

    def test_of_another_user_is_refused_and_stays_good_for_the_first(self, visit: Callable[..., Any]) -> None:
        first, second = visit("admin", "ann"), visit("admin", "bob")
        state = begun(first)

        assert "Somebody else began" in second.get(CALLBACK, params={"state": state, "code": "c"}).text
        assert "was cancelled" in first.get(CALLBACK, params={"state": state, "error": "access_denied"}).text

    def test_ends_after_ten_minutes(self, visit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
        client = visit("admin")
        with monkeypatch.context() as earlier:
            earlier.setattr(pending, "LIFETIME", -1.0)
            state = begun(client)
        answer = client.get(CALLBACK, params={"state": state, "code": "c"})

        assert (answer.status_code, "more than ten minutes" in answer.text) == (400, True)

    def test_is_not_left_lying_around(self, visit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
        client = visit("admin")
        with monkeypatch.context() as earlier:
            earlier.setattr(pending, "LIFETIME", -100_000.0)
            begun(client)
        begun(client)

        assert pending_authorizations() == 1

    @pytest.mark.parametrize("parameters", [{}, {"state": ""}, {"state": "forged", "code": "c"}])
    def test_is_asked_for(self, visit: Callable[..., Any], sandbox: Sandbox, parameters: dict[str, str]) -> None:
        before = len(sandbox.journal)
        answer = visit("admin").get(CALLBACK, params=parameters)

        assert (answer.status_code, "belongs to no authorization" in answer.text) == (400, True)
        assert len(sandbox.journal) == before


def test_a_code_that_is_refused_is_explained(visit: Callable[..., Any]) -> None:
    client = visit("admin")
    answer = client.get(CALLBACK, params={"state": begun(client), "code": "not-a-code"})

    assert answer.status_code == 400
    assert "does not take the authorization code" in answer.text
    assert "not-a-code" not in answer.text
