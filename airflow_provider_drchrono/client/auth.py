"""Gives each request a good access token, renewing it when it is due, and never twice at once."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncGenerator, Generator
from typing import TypeGuard

from airflow_provider_drchrono.client.errors import AuthenticationError, ConfigurationError, DrChronoError
from airflow_provider_drchrono.client.settings import ClientSettings
from airflow_provider_drchrono.client.token_endpoint import TokenEndpoint
from airflow_provider_drchrono.client.tokens import Token, TokenStore, grant_id_of
from airflow_provider_drchrono.client.transport import Auth, HttpRequest, HttpResponse

LONGEST_LEAD = 900.0
"""Seconds before its end at which a token is renewed at the earliest."""

LEAD_SHARE = 0.1
"""A token that lives less long is renewed within this last part of its life."""


class TokenSource:
    """Answers with an access token that is good as far as anyone knows.

    Everything here blocks. The asynchronous client calls it in a worker thread, where a renewal, once begun, is always
    carried through to the store: a cancelled task cannot lose the only refresh token in between.

    :param settings: client id, secret, first refresh token, and how to reach the API.
    :param store: where tokens are kept.
    """

    def __init__(self, settings: ClientSettings, store: TokenStore) -> None:
        self._settings = settings
        self._store = store
        self._token: Token | None = None
        self._rejected: str | None = None
        self._lock = threading.Lock()
        secret = settings.refresh_token
        self._entered = secret.get_secret_value() if secret else None
        # Drawn once, so that processes which share a token do not all find it due at the same moment.
        self._lead = LONGEST_LEAD * random.uniform(0.3, 1.0)  # noqa: S311

    def at_hand(self) -> Token | None:
        """Return the token in memory if it will do, without asking anyone."""
        token = self._token
        return token if self._good(token) else None

    @property
    def granted(self) -> tuple[str, ...]:
        """The scopes of the token in memory; empty if there is none, or the API did not say."""
        token = self._token
        return token.scope if token else ()

    def reject(self, access_token: str) -> None:
        """Note that the API refused a token: it was voided by a renewal elsewhere, or the grant has ended."""
        self._rejected = access_token

    def obtain(self) -> Token:
        """Return a good token from memory, from the store, or by renewing it.

        :raises ConfigurationError: there is neither a stored token nor a refresh token.
        :raises AuthenticationError: the API refuses to renew it.
        """
        with self._lock:
            self._token = self.at_hand() or self._shared()
            return self._token

    def _shared(self) -> Token:
        token = self._stored()
        if self._good(token):
            return token
        with self._store.lease():
            # The process that held the lease before us has probably just renewed it.
            token = self._stored()
            return token if self._good(token) else self._renew(token)

    def _good(self, token: Token | None) -> TypeGuard[Token]:
        if token is None or token.access_token == self._rejected:
            return False
        if not token.expires_at:
            # Nobody knows when it runs out, so the API will tell.
            return True
        lead = min(self._lead, LEAD_SHARE * (token.expires_at - token.issued_at))
        return time.time() < token.expires_at - lead

    def _stored(self) -> Token | None:
        token = self._store.load()
        if token and self._entered and token.grant_id != grant_id_of(self._entered):
            # A person has entered another refresh token since: the stored grant is the old one.
            return None
        return token

    def _renew(self, old: Token | None) -> Token:
        refresh_token = old.refresh_token if old else self._entered
        if not refresh_token:
            raise self._nothing_to_renew_with(old)
        try:
            grant_id = old.grant_id if old else grant_id_of(self._entered)
            token = TokenEndpoint(self._settings).renew(refresh_token, grant_id)
        except AuthenticationError as error:
            newer = self._stored()
            # A store without working leases: somebody else was quicker.
            if error.kind == "refresh_token" and newer and newer != old and self._good(newer):
                return newer
            raise
        self._store.save(token)
        return token

    def _nothing_to_renew_with(self, old: Token | None) -> DrChronoError:
        if old is None:
            return ConfigurationError(
                "There is no refresh token and no stored token; authorize the application in DrChrono and put the "
                "refresh token into the connection's extra field refresh_token (in plain Python: refresh_token=...)"
            )
        return AuthenticationError(
            "The stored access token has run out or was refused, and no refresh token came with it; authorize the "
            "application again and enter its refresh token",
            kind="no_refresh_token",
        )


class DrChronoAuth(Auth):
    """Puts the access token on each request, for both kinds of client.

    A request that is refused with 401 is not sent again here: the client counts, limits and repeats all calls in one
    place. It only makes sure that the next one goes out with another token.
    """

    def __init__(self, tokens: TokenSource) -> None:
        self._tokens = tokens
        # Tasks that wait for a renewal would each take one of the loop's few worker threads.
        self._gate = asyncio.Lock()

    def granted(self) -> tuple[str, ...]:
        """Return the scopes of the token in use, as far as they are known."""
        return self._tokens.granted

    def ready(self) -> None:
        """Make sure that there is a good token, waiting for it in this thread."""
        if self._tokens.at_hand() is None:
            self._tokens.obtain()

    async def ready_async(self) -> None:
        """Make sure that there is a good token, waiting for it in a worker thread."""
        await self._obtain()

    def sync_auth_flow(self, request: HttpRequest) -> Generator[HttpRequest, HttpResponse, None]:
        """Attach the token, waiting for it in this thread."""
        token = self._tokens.at_hand() or self._tokens.obtain()
        self._note(token, (yield _with(request, token)))

    async def async_auth_flow(self, request: HttpRequest) -> AsyncGenerator[HttpRequest, HttpResponse]:
        """Attach the token, waiting for it in a worker thread."""
        token = await self._obtain()
        self._note(token, (yield _with(request, token)))

    async def _obtain(self) -> Token:
        if token := self._tokens.at_hand():
            return token
        async with self._gate:
            if token := self._tokens.at_hand():
                return token
            return await asyncio.to_thread(self._tokens.obtain)

    def _note(self, token: Token, response: HttpResponse) -> None:
        if response.status_code == 401:
            self._tokens.reject(token.access_token)


def _with(request: HttpRequest, token: Token) -> HttpRequest:
    request.headers["Authorization"] = f"Bearer {token.access_token}"
    return request
