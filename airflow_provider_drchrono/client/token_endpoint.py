"""Talks to the OAuth endpoints: exchanges a code, renews a token, revokes one, and says what a refusal means."""

from __future__ import annotations

import json
import logging
import math
import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from authlib.common.urls import url_encode  # type: ignore[import-untyped]
from authlib.oauth2.auth import ClientAuth  # type: ignore[import-untyped]

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.client.errors import (
    AuthenticationError,
    DrChronoError,
    RateLimitedError,
    ServerError,
    UnexpectedAnswerError,
)
from airflow_provider_drchrono.client.request_runner import (
    BlockingStep,
    CallState,
    Failed,
    Flow,
    Step,
    Wait,
    attempt_until_done,
    run_flow,
)
from airflow_provider_drchrono.client.responses import retry_reason_of, transport_error
from airflow_provider_drchrono.client.retry import RetryReason
from airflow_provider_drchrono.client.settings import ClientSettings
from airflow_provider_drchrono.client.tokens import Token, grant_id_of
from airflow_provider_drchrono.client.transport import Failure, HttpClient, Outcome, Reply

log = logging.getLogger("airflow_provider_drchrono.client")

ASSUMED_LIFE = 172_800
"""Seconds a token is taken to live where the answer does not say so: the vendor's 48 hours."""

SHORTEST_LIFE = 1.0
"""Seconds. A token that is said to live for less would be renewed before each request."""

TEXT_FIELD = re.compile(r'"(access_token|refresh_token|scope)"\s*:\s*"([^"\\]+)"')
"""A field of a token answer whose value is plain text, as tokens are."""

ERROR_CODE = re.compile(r"[a-z_]{1,40}")

RENEWAL_REFUSED = (
    "The refresh token is used up, revoked or of another application (invalid_grant); authorize the "
    "application again and enter the new refresh token"
)
CODE_REFUSED = (
    "DrChrono does not take the authorization code (invalid_grant): it lives for seconds, works once, and only with "
    "the redirect URI it was made for; authorize again"
)


class TokenEndpoint:
    """The vendor's token and revocation endpoints. Everything blocks.

    :param settings: client id, secret, and how to reach the API.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings

    def renew(self, refresh_token: str, grant_id: str) -> Token:
        """Spend a refresh token on a new pair of tokens.

        :param grant_id: what the new token is to descend from, see :class:`Token`.
        :raises AuthenticationError: the API refuses to renew it.
        """
        # If a lost request was carried out, the refresh token is used up whether we ask again or not.
        form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)]
        values = self._tokens(form, "Renewing the token", RENEWAL_REFUSED, repeatable=True)
        return _token(values, _secret(values, "refresh_token") or refresh_token, grant_id)

    def exchange(self, code: str, redirect_uri: str) -> Token:
        """Exchange the code that a person's consent gave for the first pair of tokens of a grant.

        :param redirect_uri: the very one that the person was sent to DrChrono with.
        :raises AuthenticationError: the API refuses the code, the client id or the secret.
        :raises UnexpectedAnswerError: the answer holds no refresh token, so the grant would end with this token.
        """
        form = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirect_uri)]
        values = self._tokens(form, "Exchanging the authorization code", CODE_REFUSED, repeatable=False)
        refresh_token = _secret(values, "refresh_token")
        if not refresh_token:
            raise UnexpectedAnswerError(
                "The token endpoint answered without a refresh token, so the authorization could not be kept; check "
                "that the base URL is DrChrono's",
                status=200,
            )
        return _token(values, refresh_token, grant_id_of(refresh_token))

    def revoke(self, token: str) -> None:
        """End the grant that an access or refresh token belongs to. A token that is already dead is no error.

        :raises AuthenticationError: the client id or the secret is wrong.
        """
        path = load().service.revoke_path
        self._post(path, [("token", token)], "Revoking the token", RENEWAL_REFUSED, _revoked, repeatable=True)

    def _tokens(self, form: Sequence[tuple[str, str]], doing: str, refused: str, *, repeatable: bool) -> dict[str, Any]:
        path = load().service.token_path
        return self._post(path, form, doing, refused, _tokens_in, repeatable=repeatable)

    def _post(
        self,
        path: str,
        fields: Sequence[tuple[str, str]],
        doing: str,
        refused: str,
        read: Callable[[Reply, str], dict[str, Any] | Failed],
        *,
        repeatable: bool,
    ) -> dict[str, Any]:
        """Post a form, again if need be, and return what the answer holds.

        :param doing: what is done, as the subject of a sentence.
        :param refused: what it means that the token or code is refused.
        :param read: judges a whole answer.
        """
        settings = self._settings
        client = ClientAuth(settings.client_id, settings.client_secret.get_secret_value(), "client_secret_post")
        url = settings.base_url + path
        _, _, form = client.prepare("POST", url, {}, url_encode(fields))
        http = HttpClient(settings)

        def send() -> Flow[Outcome]:
            outcome: Outcome = yield BlockingStep(partial(http.post_form, url, form))
            return outcome

        def judge(outcome: Outcome) -> dict[str, Any] | Failed:
            if isinstance(outcome, Failure):
                return Failed(retry_reason_of(outcome), transport_error(outcome, doing, settings))
            return read(outcome, refused)

        try:
            return run_flow(attempt_until_done(_TokenCall(doing, repeatable, settings), send, judge), _do)
        finally:
            http.close()


class _TokenCall(CallState):
    def put_off(self, seconds: float, reason: str, status: int | None) -> RateLimitedError:
        error = super().put_off(seconds, reason, status)
        return RateLimitedError(
            f"The token endpoint takes no more requests for now; try again at {error.retry_at:%Y-%m-%d %H:%M:%S} UTC",
            retry_at=error.retry_at,
            status=status,
        )


def _do(step: Step) -> Any:
    if isinstance(step, Wait):
        return time.sleep(step.seconds)
    if isinstance(step, BlockingStep):
        return step.work()
    raise NotImplementedError(type(step).__name__)


def _tokens_in(reply: Reply, refused: str) -> dict[str, Any] | Failed:
    values = _values_in(reply.content)
    if reply.status == 200 and values is None:
        # A proxy, or a page for maintenance, stands in the way; the next answer may be the endpoint's own.
        return Failed(RetryReason("malformed"), _no_token(reply, transient=True), reply.status)
    values = values or {}
    if reply.status != 200 or values.get("error"):
        return Failed(retry_reason_of(reply), _refusal(reply, values, refused), reply.status)
    token = _secret(values, "access_token")
    return values | {"access_token": token} if token else Failed(None, _no_token(reply, transient=False), reply.status)


def _revoked(reply: Reply, refused: str) -> dict[str, Any] | Failed:
    if 200 <= reply.status < 300:
        return {}
    return Failed(retry_reason_of(reply), _refusal(reply, _values_in(reply.content) or {}, refused), reply.status)


def _secret(values: dict[str, Any], name: str) -> str | None:
    """Return a token of an answer, or None if there is none that can be sent: OAuth's tokens are printable ASCII."""
    value = values.get(name)
    token = value.strip() if isinstance(value, str) else ""
    return token if token.isascii() and token.isprintable() and token else None


def _values_in(content: bytes) -> dict[str, Any] | None:
    """Return the object that an answer holds, or None if it is not JSON.

    The tokens are found even where the rest cannot be read: the refresh token that was sent is used up.
    """
    try:
        values = json.loads(content, parse_int=_whole_number)
    except (ValueError, RecursionError):
        text = content.decode("utf-8", "replace").strip()
        found = {name: value for name, value in TEXT_FIELD.findall(text)} if text.startswith("{") else {}
        return found or None
    return values if isinstance(values, dict) else {}


def _whole_number(digits: str) -> float:
    # Python refuses to read whole numbers of thousands of digits.
    return int(digits) if len(digits) < 20 else float(digits)


def _no_token(reply: Reply, *, transient: bool) -> UnexpectedAnswerError:
    return UnexpectedAnswerError(
        f"The token endpoint answered {reply.status} without an access token; check that the base URL is DrChrono's"
        + (", and try later" if transient else ""),
        status=reply.status,
        transient=transient,
    )


def _token(values: dict[str, Any], refresh_token: str, grant_id: str) -> Token:
    now = time.time()
    return Token(
        access_token=values["access_token"],
        refresh_token=refresh_token,
        # Counted from now on our own clock, so the server's may be wrong.
        expires_at=now + _life(values.get("expires_in")),
        scope=_scope(values.get("scope")),
        grant_id=grant_id,
        issued_at=now,
    )


def _life(expires_in: object) -> float:
    """Return the seconds for which a token is taken to live: what the answer says, and never more than the vendor's."""
    if expires_in is None:
        return ASSUMED_LIFE
    try:
        seconds = float(expires_in) if isinstance(expires_in, int | float | str) else math.nan
    except ValueError:
        seconds = math.nan
    if SHORTEST_LIFE <= seconds <= ASSUMED_LIFE and not isinstance(expires_in, bool):
        return seconds
    log.warning(
        "The token endpoint says something about the life of the token that cannot be; it is taken to live for %d "
        "hours",
        ASSUMED_LIFE // 3600,
    )
    return ASSUMED_LIFE


def _scope(scope: object) -> tuple[str, ...]:
    if isinstance(scope, list):
        return tuple(each for each in scope if isinstance(each, str))
    return tuple(scope.split()) if isinstance(scope, str) else ()


def _refusal(reply: Reply, values: dict[str, Any], refused: str) -> DrChronoError:
    code = values.get("error")
    if code == "invalid_client":
        return AuthenticationError(
            "DrChrono does not know this client id and secret (invalid_client); copy both again from its API "
            "management page into the connection's login and password",
            kind="client",
            status=reply.status,
        )
    if code == "invalid_grant":
        return AuthenticationError(refused, kind="refresh_token", status=reply.status)
    if reply.status >= 500:
        return ServerError(
            f"The token endpoint answered {reply.status} again and again; try later", status=reply.status
        )
    shown = code if isinstance(code, str) and ERROR_CODE.fullmatch(code) else "no reason"
    if code:
        return AuthenticationError(
            f"The token endpoint answered {reply.status} ({shown}); check the application's settings in DrChrono",
            kind="client",
            status=reply.status,
        )
    return UnexpectedAnswerError(
        f"The token endpoint answered {reply.status} without a reason; check that the base URL is DrChrono's",
        status=reply.status,
    )
