"""Talks to the OAuth endpoints: exchanges a code, renews a token, revokes one, and says what a refusal means."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from authlib.common.urls import url_encode  # type: ignore[import-untyped]
from authlib.oauth2.auth import ClientAuth  # type: ignore[import-untyped]
from authlib.oauth2.rfc6749 import OAuth2Token  # type: ignore[import-untyped]

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.client.errors import (
    AuthenticationError,
    DrChronoError,
    RateLimitedError,
    ServerError,
    UnexpectedAnswerError,
)
from airflow_provider_drchrono.client.responses import retry_reason_of, transport_error
from airflow_provider_drchrono.client.retry import decide
from airflow_provider_drchrono.client.settings import ClientSettings
from airflow_provider_drchrono.client.tokens import Token, grant_id_of
from airflow_provider_drchrono.client.transport import Failure, HttpClient, Outcome, Reply

ASSUMED_LIFE = 172_800
"""Seconds a token is taken to live where the answer does not say: the vendor's 48 hours."""

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
        outcome = self._post(load().service.token_path, form, repeatable=True)
        values = self._values(outcome, "Renewing the token", RENEWAL_REFUSED)
        return _token(values, values.get("refresh_token") or refresh_token, grant_id)

    def exchange(self, code: str, redirect_uri: str) -> Token:
        """Exchange the code that a person's consent gave for the first pair of tokens of a grant.

        :param redirect_uri: the very one that the person was sent to DrChrono with.
        :raises AuthenticationError: the API refuses the code, the client id or the secret.
        :raises UnexpectedAnswerError: the answer holds no refresh token, so the grant would end with this token.
        """
        form = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirect_uri)]
        outcome = self._post(load().service.token_path, form, repeatable=False)
        values = self._values(outcome, "Exchanging the authorization code", CODE_REFUSED)
        refresh_token = values.get("refresh_token")
        if not isinstance(refresh_token, str) or not refresh_token:
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
        outcome = self._post(load().service.revoke_path, [("token", token)], repeatable=True)
        if isinstance(outcome, Failure):
            raise transport_error(outcome, "Revoking the token", self._settings)
        if not 200 <= outcome.status < 300:
            raise _refusal(outcome, _json_object(outcome), RENEWAL_REFUSED)

    def _post(self, path: str, fields: Sequence[tuple[str, str]], *, repeatable: bool) -> Outcome:
        settings = self._settings
        url = settings.base_url + path
        client = ClientAuth(settings.client_id, settings.client_secret.get_secret_value(), "client_secret_post")
        _, _, form = client.prepare("POST", url, {}, url_encode(fields))
        http = HttpClient(settings)
        try:
            return self._send(http, url, form, repeatable=repeatable)
        finally:
            http.close()

    def _send(self, http: HttpClient, url: str, form: str, *, repeatable: bool) -> Outcome:
        attempt = 1
        while True:
            outcome = http.post_form(url, form)
            reason = retry_reason_of(outcome)
            if reason is None:
                return outcome
            decision = decide(
                reason,
                repeatable=repeatable,
                attempt=attempt,
                max_attempts=self._settings.max_attempts,
                max_wait=self._settings.max_wait,
                jitter=random.random,
            )
            if decision.action == "later":
                retry_at = datetime.now(UTC) + timedelta(seconds=decision.seconds)
                raise RateLimitedError(
                    f"The token endpoint takes no more requests for now; try again at {retry_at:%Y-%m-%d %H:%M:%S} UTC",
                    retry_at=retry_at,
                    status=outcome.status if isinstance(outcome, Reply) else None,
                )
            if decision.action == "fail":
                return outcome
            time.sleep(decision.seconds)
            attempt += 1

    def _values(self, outcome: Outcome, doing: str, refused: str) -> dict[str, Any]:
        if isinstance(outcome, Failure):
            raise transport_error(outcome, doing, self._settings)
        values = _json_object(outcome)
        if outcome.status != 200 or values.get("error"):
            raise _refusal(outcome, values, refused)
        if not isinstance(values.get("access_token"), str) or not values["access_token"]:
            raise UnexpectedAnswerError(
                f"The token endpoint answered {outcome.status} without an access token; check that the base URL is "
                "DrChrono's",
                status=outcome.status,
            )
        return values


def _token(values: dict[str, Any], refresh_token: str, grant_id: str) -> Token:
    return Token(
        access_token=values["access_token"],
        refresh_token=refresh_token,
        expires_at=_expiry(values.get("expires_in")),
        scope=tuple(str(values.get("scope") or "").split()),
        grant_id=grant_id,
        issued_at=time.time(),
    )


def _expiry(expires_in: object) -> float:
    # Counted from now on our own clock, so the server's may be wrong.
    try:
        return float(OAuth2Token({"expires_in": expires_in or ASSUMED_LIFE})["expires_at"])
    except (TypeError, ValueError):
        return time.time() + ASSUMED_LIFE


def _json_object(reply: Reply) -> dict[str, Any]:
    try:
        values = json.loads(reply.content)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


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
