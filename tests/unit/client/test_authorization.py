"""The code flow of the client: the address, the answer, and the exchange with the sandbox."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from airflow_provider_drchrono.client import (
    AuthenticationError,
    ConfigurationError,
    DrChronoClient,
    InvalidArgumentError,
    MemoryTokenStore,
    UnexpectedAnswerError,
    grant_id_of,
)
from airflow_provider_drchrono.client.authorization import (
    AuthorizationDeniedError,
    answer_in,
    authorization_url,
    check_redirect_uri,
    code_in,
)
from airflow_provider_drchrono.client.token_endpoint import TokenEndpoint
from airflow_provider_drchrono.sandbox import Sandbox
from tests.unit.client.servers import Reply, ScriptedApi
from tests.unit.client.support import sandbox_settings, settings_for

REDIRECT_URI = "http://localhost:8000/"


@pytest.fixture(scope="module")
def practice() -> Iterator[Sandbox]:
    with Sandbox(patients=1, quota_per_second=None) as running:
        yield running


def consent(sandbox: Sandbox, choice: str = "yes", **changes: str) -> dict[str, str]:
    """Do what the browser does when a person clicks, and return what it comes back with."""
    url = authorization_url(sandbox_settings(sandbox, **changes), REDIRECT_URI, "the-state")
    answer = httpx.get(f"{url}&approve={choice}", trust_env=False)
    assert answer.status_code == 302
    return dict(answer_in(answer.headers["location"]))


class TestAddress:
    def test_names_application_redirect_and_state(self) -> None:
        url = urlsplit(authorization_url(settings_for("https://app.drchrono.com"), REDIRECT_URI, "a state"))

        assert f"{url.scheme}://{url.netloc}{url.path}" == "https://app.drchrono.com/o/authorize/"
        assert parse_qs(url.query) == {
            "response_type": ["code"],
            "client_id": ["the-client"],
            "redirect_uri": [REDIRECT_URI],
            "state": ["a state"],
        }

    def test_asks_for_the_scopes_of_the_connection(self) -> None:
        settings = settings_for("https://app.drchrono.com", scope="patients:read user:read")

        query = parse_qs(urlsplit(authorization_url(settings, REDIRECT_URI, "s")).query)

        assert query["scope"] == ["patients:read user:read"]

    @pytest.mark.parametrize(
        "uri", ["https://airflow.example/drchrono/callback", "http://localhost:8000/", "http://127.0.0.1/x"]
    )
    def test_may_lead_back_over_https_or_to_this_machine(self, uri: str) -> None:
        check_redirect_uri(uri)

    @pytest.mark.parametrize("uri", ["http://airflow.example/x", "airflow.example", "javascript:alert(1)", "https://"])
    def test_may_not_lead_back_in_the_open(self, uri: str) -> None:
        with pytest.raises(ConfigurationError, match="neither https nor on this machine"):
            check_redirect_uri(uri)


class TestAnswer:
    @pytest.mark.parametrize(
        "pasted",
        [
            pytest.param("http://localhost:8000/?code=c1&state=s1", id="address"),
            pytest.param("  'http://localhost:8000/?code=c1&state=s1'\n", id="quoted"),
            pytest.param("?code=c1&state=s1", id="query with question mark"),
            pytest.param("code=c1&state=s1", id="query"),
        ],
    )
    def test_is_read_from_what_was_pasted(self, pasted: str) -> None:
        assert code_in(answer_in(pasted), "s1") == "c1"

    @pytest.mark.parametrize("pasted", ["", "c1", "http://localhost:8000/", "https://app.drchrono.com/?state=s1"])
    def test_without_a_code_says_what_to_paste(self, pasted: str) -> None:
        with pytest.raises(InvalidArgumentError, match="copy the whole address"):
            answer_in(pasted)

    @pytest.mark.parametrize("state", ["", "S1", "s1 ", "\N{SNOWMAN}"])
    def test_to_another_request_is_refused(self, state: str) -> None:
        with pytest.raises(InvalidArgumentError, match="belongs to another authorization"):
            code_in({"code": "c1", "state": state}, "s1")

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            ("access_denied", "was cancelled in DrChrono; nothing was changed"),
            ("invalid_scope", "does not know one of the scopes"),
            ("server_error", r"refused the authorization \(server_error\)"),
            ("<script>alert(1)</script>", "no reason that can be shown"),
        ],
    )
    def test_that_says_no_is_explained(self, error: str, message: str) -> None:
        with pytest.raises(AuthorizationDeniedError, match=message):
            code_in({"error": error, "state": "s1"}, "s1")

    def test_without_code_and_error_is_refused(self) -> None:
        with pytest.raises(InvalidArgumentError, match="holds no code"):
            code_in({"state": "s1"}, "s1")


class TestExchange:
    def test_begins_a_grant_that_works(self, practice: Sandbox) -> None:
        settings = sandbox_settings(practice)
        code = code_in(consent(practice), "the-state")

        token = TokenEndpoint(settings).exchange(code, REDIRECT_URI)

        assert token.grant_id == grant_id_of(token.refresh_token)
        assert len(token.scope) == 22
        fresh = settings.model_copy(update={"refresh_token": None})
        with DrChronoClient(fresh, token_store=MemoryTokenStore(token)) as client:
            assert client.current_user()["username"]

    def test_grants_no_more_than_was_asked_for(self, practice: Sandbox) -> None:
        code = code_in(consent(practice, scope="patients:read"), "the-state")

        assert TokenEndpoint(sandbox_settings(practice)).exchange(code, REDIRECT_URI).scope == ("patients:read",)

    def test_takes_a_code_once(self, practice: Sandbox) -> None:
        code = code_in(consent(practice), "the-state")
        endpoint = TokenEndpoint(sandbox_settings(practice))
        endpoint.exchange(code, REDIRECT_URI)

        with pytest.raises(AuthenticationError, match="does not take the authorization code") as caught:
            endpoint.exchange(code, REDIRECT_URI)
        assert code not in str(caught.value)

    def test_needs_the_same_redirect_uri(self, practice: Sandbox) -> None:
        code = code_in(consent(practice), "the-state")

        with pytest.raises(AuthenticationError, match="only with the redirect URI it was made for"):
            TokenEndpoint(sandbox_settings(practice)).exchange(code, "http://localhost:9000/")

    def test_after_a_cancelled_consent_has_no_code(self, practice: Sandbox) -> None:
        with pytest.raises(AuthorizationDeniedError):
            code_in(consent(practice, "no"), "the-state")

    def test_without_a_refresh_token_is_no_grant(self, api: ScriptedApi) -> None:
        api.token_script.append(Reply(body={"access_token": "a", "expires_in": 60}))

        with pytest.raises(UnexpectedAnswerError, match="without a refresh token"):
            TokenEndpoint(settings_for(api.url)).exchange("code", REDIRECT_URI)


def test_a_revoked_grant_is_over(practice: Sandbox) -> None:
    endpoint = TokenEndpoint(sandbox_settings(practice))
    token = endpoint.exchange(code_in(consent(practice), "the-state"), REDIRECT_URI)
    assert token.refresh_token

    endpoint.revoke(token.refresh_token)

    with pytest.raises(AuthenticationError, match="used up, revoked"):
        endpoint.renew(token.refresh_token, token.grant_id)
    # Ending what has ended is no error.
    endpoint.revoke(token.refresh_token)


def test_revoking_with_a_wrong_secret_fails(practice: Sandbox) -> None:
    with pytest.raises(AuthenticationError, match="does not know this client id and secret"):
        TokenEndpoint(sandbox_settings(practice, client_secret="wrong")).revoke("a-token")
