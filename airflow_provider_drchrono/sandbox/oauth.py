"""OAuth 2.0 as the vendor runs it: code flow, rotating refresh tokens, one living access token for each grant."""

from __future__ import annotations

import base64
import binascii
import hmac
import html
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlencode, urlsplit

from airflow_provider_drchrono.sandbox.clock import Clock
from airflow_provider_drchrono.sandbox.sandbox_options import Reuse
from airflow_provider_drchrono.sandbox.wire import Refusal, Request, Response, answer, detail

CODE_LIFETIME = timedelta(seconds=60)
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(slots=True)
class Client:
    """An API application as it is registered with the vendor."""

    id: str
    secret: str = field(repr=False)
    redirect_uris: tuple[str, ...] = ()


@dataclass(slots=True)
class Grant:
    """What one person has allowed one client, with the tokens that are good for it now."""

    client_id: str
    scopes: tuple[str, ...]
    refresh_token: str = field(repr=False)
    access_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None
    ended: bool = False
    refreshes: int = 0


@dataclass(frozen=True, slots=True)
class _Code:
    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    expires_at: datetime


class AuthorizationServer:
    """The three OAuth endpoints and the tokens they have given out.

    :param known_scopes: every scope that can be granted.
    :param lifetime: seconds an access token lasts by the sandbox's clock.
    :param reuse: what happens when a refresh token comes a second time.
    """

    def __init__(self, clock: Clock, known_scopes: Iterable[str], lifetime: int, reuse: Reuse) -> None:
        self.clock = clock
        self.known_scopes = tuple(known_scopes)
        self.lifetime = lifetime
        self.reuse = reuse
        self.clients: dict[str, Client] = {}
        self.grants: list[Grant] = []
        self._by_access: dict[str, Grant] = {}
        self._by_refresh: dict[str, Grant] = {}
        self._codes: dict[str, _Code] = {}

    def register(self, client: Client) -> Client:
        """Add an API application."""
        self.clients[client.id] = client
        return client

    def grant(self, client_id: str, scopes: Iterable[str] = (), *, refresh_token: str | None = None) -> Grant:
        """Make a grant as if a person had just allowed it; no scopes means all."""
        wanted = tuple(scopes) or self.known_scopes
        unknown = sorted(set(wanted) - set(self.known_scopes))
        if unknown:
            raise ValueError(f"The API has no scope {', '.join(unknown)}")
        grant = Grant(client_id, wanted, refresh_token or secrets.token_hex(15))
        self.grants.append(grant)
        self._by_refresh[grant.refresh_token] = grant
        return grant

    def expire_access_tokens(self) -> None:
        """Void every access token; refresh tokens go on working."""
        for grant in self.grants:
            self._void(grant)

    def authenticate(self, request: Request) -> Grant:
        """Return the grant of the bearer token.

        :raises Refusal: 401 for a missing, unknown, voided or expired token.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        challenge = {"www-authenticate": 'Bearer realm="api"'}
        if scheme.lower() != "bearer" or not token:
            raise detail(401, "Authentication credentials were not provided.", challenge)
        grant = self._by_access.get(token.strip())
        if grant is None or grant.ended:
            raise detail(401, "Invalid or voided access token.", challenge)
        if grant.expires_at is None or self.clock.now() >= grant.expires_at:
            raise detail(401, "The access token has expired.", challenge)
        return grant

    def authorize(self, request: Request) -> Response:
        """Serve the consent page, and what its two buttons lead to.

        The query parameter ``approve`` with ``yes`` or ``no`` answers in a person's place.
        """
        given = dict(request.query) | request.form()
        client = self.clients.get(given.get("client_id", ""))
        if client is None:
            return _page(400, "<p>Unknown client_id.</p>")
        redirect_uri = given.get("redirect_uri", "")
        if not _may_redirect(client, redirect_uri):
            return _page(400, "<p>The redirect_uri is not one that the application is registered with.</p>")
        problem = self._authorize_problem(given)
        if problem:
            return _redirect(redirect_uri, error=problem, state=given.get("state"))
        choice = given.get("approve", "").lower()
        if choice == "yes":
            return _redirect(redirect_uri, code=self._code(client, redirect_uri, given), state=given.get("state"))
        if choice == "no":
            return _redirect(redirect_uri, error="access_denied", state=given.get("state"))
        return _consent(given, self._scopes(given))

    def token(self, request: Request) -> Response:
        """Exchange a code or a refresh token, given in the form body, for a new pair of tokens."""
        given = request.form()
        client = self._client(request, given)
        kind = given.get("grant_type", "")
        if kind == "authorization_code":
            return self._exchange(client, given)
        if kind == "refresh_token":
            return self._refresh(client, given)
        return answer(400, {"error": "unsupported_grant_type"})

    def revoke(self, request: Request) -> Response:
        """End the grant that an access or refresh token belongs to; an unknown token is no error."""
        given = request.form()
        client = self._client(request, given)
        token = given.get("token", "")
        grant = self._by_access.get(token) or self._by_refresh.get(token)
        if grant is not None and grant.client_id == client.id:
            self._end(grant)
        return Response(200)

    def _authorize_problem(self, given: dict[str, str]) -> str | None:
        if given.get("response_type") != "code":
            return "unsupported_response_type"
        return None if set(self._scopes(given)) <= set(self.known_scopes) else "invalid_scope"

    def _scopes(self, given: dict[str, str]) -> tuple[str, ...]:
        return tuple(given.get("scope", "").split()) or self.known_scopes

    def _code(self, client: Client, redirect_uri: str, given: dict[str, str]) -> str:
        code = secrets.token_urlsafe(16)
        self._codes[code] = _Code(client.id, redirect_uri, self._scopes(given), self.clock.now() + CODE_LIFETIME)
        return code

    def _client(self, request: Request, given: dict[str, str]) -> Client:
        client_id, secret = given.get("client_id", ""), given.get("client_secret", "")
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            client_id, secret = _basic(encoded)
        client = self.clients.get(client_id)
        if client is None or not hmac.compare_digest(client.secret.encode(), secret.encode()):
            raise Refusal(answer(401, {"error": "invalid_client"}))
        return client

    def _exchange(self, client: Client, given: dict[str, str]) -> Response:
        code = self._codes.pop(given.get("code", ""), None)
        if code is None or code.client_id != client.id or self.clock.now() >= code.expires_at:
            return answer(400, {"error": "invalid_grant"})
        if code.redirect_uri != given.get("redirect_uri"):
            return answer(400, {"error": "invalid_grant", "error_description": "Mismatching redirect URI."})
        return self._issue(self.grant(client.id, code.scopes))

    def _refresh(self, client: Client, given: dict[str, str]) -> Response:
        token = given.get("refresh_token", "")
        grant = self._by_refresh.get(token)
        if grant is None or grant.ended or grant.client_id != client.id:
            return answer(400, {"error": "invalid_grant"})
        if token != grant.refresh_token and self.reuse != "allow":
            if self.reuse == "end_grant":
                self._end(grant)
            return answer(400, {"error": "invalid_grant"})
        wanted = given.get("scope", "").split()
        if not set(wanted) <= set(grant.scopes):
            return answer(400, {"error": "invalid_scope"})
        grant.refresh_token = secrets.token_hex(15)
        grant.refreshes += 1
        self._by_refresh[grant.refresh_token] = grant
        return self._issue(grant)

    def _issue(self, grant: Grant) -> Response:
        self._void(grant)
        grant.access_token = secrets.token_hex(15)
        grant.expires_at = self.clock.now() + timedelta(seconds=self.lifetime)
        self._by_access[grant.access_token] = grant
        return answer(
            200,
            {
                "access_token": grant.access_token,
                "token_type": "Bearer",
                "expires_in": self.lifetime,
                "refresh_token": grant.refresh_token,
                "scope": " ".join(grant.scopes),
            },
            {"cache-control": "no-store"},
        )

    def _void(self, grant: Grant) -> None:
        if grant.access_token is not None:
            self._by_access.pop(grant.access_token, None)
        grant.access_token = grant.expires_at = None

    def _end(self, grant: Grant) -> None:
        self._void(grant)
        grant.ended = True


def _basic(encoded: str) -> tuple[str, str]:
    try:
        name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return name, secret


def _may_redirect(client: Client, uri: str) -> bool:
    if uri in client.redirect_uris:
        return True
    try:
        parts = urlsplit(uri)
        return parts.scheme in {"http", "https"} and parts.hostname in LOOPBACK
    except ValueError:
        return False


def _redirect(uri: str, **parameters: str | None) -> Response:
    query = urlencode({name: value for name, value in parameters.items() if value is not None})
    return Response(302, headers={"location": f"{uri}{'&' if '?' in uri else '?'}{query}"})


def _consent(given: dict[str, str], scopes: tuple[str, ...]) -> Response:
    hidden = "".join(
        f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
        for name, value in given.items()
        if name != "approve"
    )
    items = "".join(f"<li>{html.escape(scope)}</li>" for scope in scopes)
    return _page(
        200,
        f"<p>{html.escape(given['client_id'])} asks for:</p><ul>{items}</ul>"
        f'<form method="post" action="/o/authorize/">{hidden}'
        '<button name="approve" value="yes">Allow</button> <button name="approve" value="no">Cancel</button></form>',
    )


def _page(status: int, content: str) -> Response:
    text = f"<!doctype html><title>DrChrono sandbox</title><h1>DrChrono sandbox</h1>{content}"
    return Response(status, text.encode(), {"content-type": "text/html; charset=utf-8"})
