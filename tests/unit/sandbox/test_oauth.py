from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from airflow_provider_drchrono.sandbox import Sandbox
from tests.unit.sandbox.support import Serve, client_of, refresh

CALLBACK = "http://localhost:8080/callback"


def works(sandbox: Sandbox, access_token: str) -> bool:
    answer = httpx.get(f"{sandbox.url}/api/doctors", headers={"authorization": f"Bearer {access_token}"})
    assert answer.status_code in (200, 401)
    return answer.status_code == 200


def test_a_refresh_returns_a_new_pair_for_two_days(serve: Serve) -> None:
    sandbox, _ = serve()

    answer = refresh(sandbox, sandbox.refresh_token)

    tokens = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 172_800)
    assert tokens["refresh_token"] != sandbox.refresh_token
    assert set(tokens["scope"].split()) == set(sandbox.app.catalog.service.scopes)
    assert works(sandbox, tokens["access_token"])


def test_a_refresh_voids_the_access_token_before(serve: Serve) -> None:
    sandbox, _ = serve()
    first = refresh(sandbox, sandbox.refresh_token).json()

    second = refresh(sandbox, first["refresh_token"]).json()

    assert not works(sandbox, first["access_token"])
    assert works(sandbox, second["access_token"])


@pytest.mark.parametrize(
    ("reuse", "status", "alive"),
    [
        pytest.param("end_grant", 400, False, id="ends the grant"),
        pytest.param("refuse", 400, True, id="is refused"),
        pytest.param("allow", 200, False, id="goes on working"),
    ],
)
def test_a_used_refresh_token(serve: Serve, reuse: str, status: int, alive: bool) -> None:
    sandbox, _ = serve(reuse=reuse)
    tokens = refresh(sandbox, sandbox.refresh_token).json()

    again = refresh(sandbox, sandbox.refresh_token)

    assert again.status_code == status
    assert works(sandbox, tokens["access_token"]) is alive
    if status == 400:
        assert again.json() == {"error": "invalid_grant"}
        assert refresh(sandbox, tokens["refresh_token"]).is_success is alive


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        pytest.param({"client_secret": "wrong"}, 401, "invalid_client", id="wrong secret"),
        pytest.param({"client_id": "stranger"}, 401, "invalid_client", id="unknown client"),
        pytest.param({"refresh_token": "dead"}, 400, "invalid_grant", id="unknown token"),
        pytest.param({"grant_type": "password"}, 400, "unsupported_grant_type", id="other grant"),
        pytest.param({"scope": "patients:read bogus"}, 400, "invalid_scope", id="unknown scope"),
    ],
)
def test_refused_refreshes(serve: Serve, changes: dict[str, str], status: int, error: str) -> None:
    sandbox, _ = serve()

    answer = refresh(sandbox, **changes)

    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_the_client_may_sign_in_by_header(serve: Serve) -> None:
    sandbox, _ = serve()
    form = {"grant_type": "refresh_token", "refresh_token": sandbox.refresh_token}

    answer = httpx.post(f"{sandbox.url}/o/token/", data=form, auth=(sandbox.client_id, sandbox.client_secret))

    assert answer.status_code == 200


def test_access_tokens_expire_by_the_clock(serve: Serve) -> None:
    sandbox, _ = serve()
    tokens = refresh(sandbox).json()

    sandbox.clock.advance(172_799 - 60)
    assert works(sandbox, tokens["access_token"])
    sandbox.clock.advance(61)
    assert not works(sandbox, tokens["access_token"])
    assert refresh(sandbox, tokens["refresh_token"]).status_code == 200


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer nonsense", "Basic abc"], ids=["none", "empty", "unknown", "other scheme"]
)
def test_calls_without_a_good_token(serve: Serve, header: str) -> None:
    sandbox, _ = serve()

    answer = httpx.get(f"{sandbox.url}/api/doctors", headers={"authorization": header} if header else {})

    assert answer.status_code == 401
    assert set(answer.json()) == {"detail"}
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_revoking_ends_the_grant(serve: Serve) -> None:
    sandbox, _ = serve()
    tokens = refresh(sandbox).json()
    form = {"client_id": sandbox.client_id, "client_secret": sandbox.client_secret, "token": tokens["access_token"]}

    assert httpx.post(f"{sandbox.url}/o/revoke_token/", data=form).status_code == 200
    assert httpx.post(f"{sandbox.url}/o/revoke_token/", data=form | {"token": "unknown"}).status_code == 200

    assert not works(sandbox, tokens["access_token"])
    assert refresh(sandbox, tokens["refresh_token"]).json() == {"error": "invalid_grant"}


class TestConsent:
    def ask(self, sandbox: Sandbox, **changes: str) -> httpx.Response:
        asked = {"response_type": "code", "client_id": sandbox.client_id, "redirect_uri": CALLBACK, "state": "s&t"}
        return httpx.get(f"{sandbox.url}/o/authorize/", params=asked | changes)

    def redirected(self, answer: httpx.Response) -> dict[str, str]:
        assert answer.status_code == 302
        target = urlsplit(answer.headers["location"])
        assert f"{target.scheme}://{target.netloc}{target.path}" == CALLBACK
        return {name: values[0] for name, values in parse_qs(target.query).items()}

    def exchange(self, sandbox: Sandbox, code: str, **changes: str) -> httpx.Response:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
        form |= {"client_id": sandbox.client_id, "client_secret": sandbox.client_secret}
        return httpx.post(f"{sandbox.url}/o/token/", data=form | changes)

    def test_the_page_shows_what_is_asked_for_and_two_buttons(self, serve: Serve) -> None:
        sandbox, _ = serve()

        page = self.ask(sandbox, scope="patients:read", state='"><script>')

        assert page.headers["content-type"].startswith("text/html")
        assert "<li>patients:read</li>" in page.text
        assert "<script>" not in page.text
        assert "Allow" in page.text
        assert "Cancel" in page.text

    def test_allow_leads_to_tokens(self, serve: Serve) -> None:
        sandbox, _ = serve()
        answer = self.ask(sandbox, approve="yes", scope="user:read")

        given = self.redirected(answer)
        tokens = self.exchange(sandbox, given["code"])

        assert given["state"] == "s&t"
        assert tokens.json()["scope"] == "user:read"
        assert works(sandbox, tokens.json()["access_token"])
        assert self.exchange(sandbox, given["code"]).json()["error"] == "invalid_grant"

    def test_the_buttons_post(self, serve: Serve) -> None:
        sandbox, _ = serve()
        form = {"response_type": "code", "client_id": sandbox.client_id, "redirect_uri": CALLBACK, "approve": "no"}

        assert self.redirected(httpx.post(f"{sandbox.url}/o/authorize/", data=form)) == {"error": "access_denied"}

    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            pytest.param({"approve": "no"}, "access_denied", id="cancel"),
            pytest.param({"scope": "patients:read bogus", "approve": "yes"}, "invalid_scope", id="unknown scope"),
            pytest.param({"response_type": "token"}, "unsupported_response_type", id="other flow"),
        ],
    )
    def test_errors_come_back_by_redirect(self, serve: Serve, changes: dict[str, str], error: str) -> None:
        sandbox, _ = serve()

        assert self.redirected(self.ask(sandbox, **changes)) == {"error": error, "state": "s&t"}

    @pytest.mark.parametrize(
        "changes",
        [{"client_id": "stranger"}, {"redirect_uri": "https://evil.example.com/"}, {"redirect_uri": ""}],
        ids=["unknown client", "foreign address", "no address"],
    )
    def test_nobody_is_sent_to_an_unknown_place(self, serve: Serve, changes: dict[str, str]) -> None:
        sandbox, _ = serve()

        assert self.ask(sandbox, approve="yes", **changes).status_code == 400

    @pytest.mark.parametrize(
        ("wait", "changes"),
        [(61.0, {}), (0.0, {"redirect_uri": "http://localhost:8080/other"})],
        ids=["too late", "other address"],
    )
    def test_codes_that_are_not_taken(self, serve: Serve, wait: float, changes: dict[str, Any]) -> None:
        sandbox, _ = serve()
        code = self.redirected(self.ask(sandbox, approve="yes"))["code"]
        sandbox.clock.advance(wait)

        assert self.exchange(sandbox, code, **changes).json()["error"] == "invalid_grant"


class TestScopes:
    @pytest.mark.parametrize(
        ("scopes", "method", "path", "status"),
        [
            pytest.param(["patients:read"], "GET", "/api/patients", 200, id="reads with read"),
            pytest.param(["patients:write"], "GET", "/api/patients", 200, id="reads with write"),
            pytest.param(["patients:read"], "POST", "/api/patients", 403, id="writes with read"),
            pytest.param(["clinical:read"], "GET", "/api/patients", 403, id="reads with another"),
            pytest.param(["user:read"], "GET", "/api/users", 200, id="needs none"),
            pytest.param(["patients:read"], "POST", "/api/patients_list", 201, id="starts a list with read"),
        ],
    )
    def test_what_a_grant_covers(self, serve: Serve, scopes: list[str], method: str, path: str, status: int) -> None:
        sandbox, _ = serve()
        with client_of(sandbox, *scopes) as api:
            assert api.request(method, path).status_code == status

    def test_a_missing_scope_may_come_as_an_empty_list(self, serve: Serve) -> None:
        sandbox, _ = serve(missing_scope="empty")
        with client_of(sandbox, "clinical:read") as api:
            assert api.get("/api/patients").json() == {"previous": None, "data": [], "next": None}
            assert api.get("/api/patients/1").status_code == 403

    def test_no_grant_of_scopes_that_are_not(self, serve: Serve) -> None:
        sandbox, _ = serve()
        with pytest.raises(ValueError, match="no scope bogus"):
            sandbox.new_refresh_token("bogus")


def test_no_secret_reaches_the_journal_or_a_repr(serve: Serve) -> None:
    sandbox, api = serve()
    tokens = refresh(sandbox, sandbox.refresh_token).json()
    api.get("/api/doctors")

    seen = repr([entry.as_json() for entry in sandbox.journal]) + repr(sandbox.options) + repr(sandbox.app.oauth.grants)
    secrets = (sandbox.client_secret, sandbox.refresh_token, tokens["access_token"], tokens["refresh_token"])

    assert [secret for secret in secrets if secret in seen] == []
