"""Stores what a person has just authorized, in place of what the connection had before.

The new refresh token is written into the connection itself, where its fingerprint makes every stored token of the
old grant unused; then its first access token goes into the token store. If the process dies between the
two, the next task renews with the refresh token of the connection, so nothing is lost. A connection that Airflow's
database does not hold, because it comes from the environment or a secrets backend, cannot be written: then the
new token takes the place of the old one in the store, under the fingerprint of the connection's refresh token, or
under the connection's id where it has none.

Used where the database is at hand: in the API server and on the command line.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_drchrono import catalog, compat
from airflow_provider_drchrono.client.authorization import check_redirect_uri
from airflow_provider_drchrono.client.core import warn_if_unverified
from airflow_provider_drchrono.client.errors import ConfigurationError, DrChronoError
from airflow_provider_drchrono.client.settings import ClientSettings
from airflow_provider_drchrono.client.synchronous import DrChronoClient
from airflow_provider_drchrono.client.token_endpoint import TokenEndpoint
from airflow_provider_drchrono.client.tokens import Token, grant_id_of
from airflow_provider_drchrono.compat import AirflowNotFoundException
from airflow_provider_drchrono.hooks.connection import CONNECTION_TYPE, mask_secrets_of, quota_of, settings_of
from airflow_provider_drchrono.hooks.drchrono import token_store_of
from airflow_provider_drchrono.state.token_store import TokenStoreError, VariableTokenStore

if TYPE_CHECKING:
    from airflow_provider_drchrono.compat.database import Connection

log = logging.getLogger(__name__)

State = Literal["never", "unused", "authorized", "expired", "refused", "unusable"]

# Seconds for which a person who looks at the screen waits for a process that renews a token.
PATIENCE = 30.0

__all__ = [
    "Authorization",
    "ConnectionStatus",
    "connections_in_database",
    "find_authorization",
    "settings_seen",
    "status_of",
]


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """The state of a connection's authorization; nothing in it is secret.

    :param state: ``never`` authorized; ``unused``: a refresh token was entered and never used; ``authorized``;
        ``expired``: the access token has run out and is renewed at the next use; ``refused``: DrChrono refuses to renew
        it; ``unusable``: the connection itself cannot work.
    :param expires_at: when the access token runs out, in epoch seconds.
    :param refused_at: when DrChrono last refused to renew it, in epoch seconds.
    :param granted: the scopes that were granted, empty if that is not known.
    :param missing: scopes that the connection asks for, or all if it names none, which were not granted.
    :param calls_left: calls that the connection may still make in this hour, as this machine, or the Redis that the
        connection names, has counted them; None where there is no limit, or no count.
    :param problem: why the connection or its token cannot be used.
    """

    conn_id: str
    state: State
    base_url: str = ""
    expires_at: float | None = None
    refused_at: float | None = None
    granted: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    calls_left: int | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Authorization:
    """The authorization of one connection.

    :param in_database: whether tasks see what Airflow's database holds, so that it can be written.
    :param team: the Airflow team that the connection, and with it its tokens, belong to.
    """

    conn_id: str
    settings: ClientSettings
    in_database: bool
    team: str | None = None

    @property
    def store(self) -> VariableTokenStore:
        """Where the tokens of the connection are kept."""
        return token_store_of(self.settings, self.conn_id, patience=PATIENCE, team=self.team)

    def client(self) -> DrChronoClient:
        """Return a client of the connection; the caller closes it."""
        quota = quota_of(self.settings, self.conn_id)
        return DrChronoClient(self.settings, token_store=self.store, quota=quota)

    def accept(self, code: str, redirect_uri: str) -> Token:
        """Exchange the code for tokens and store them.

        :param redirect_uri: the one that the person was sent to DrChrono with.
        :raises DrChronoError: DrChrono refuses the code, or nothing could be stored.
        """
        check_redirect_uri(redirect_uri)
        warn_if_unverified(self.settings)
        endpoint = TokenEndpoint(self.settings)
        if not self.in_database:
            return self._replace(lambda: endpoint.exchange(code, redirect_uri))
        token = endpoint.exchange(code, redirect_uri)
        _write_refresh_token(self.conn_id, token.refresh_token or "")
        store = token_store_of(self.settings, self.conn_id, grant_id=token.grant_id, patience=PATIENCE, team=self.team)
        try:
            with store.locked():
                if store.load() is None:
                    store.save(token)
        except TokenStoreError as error:
            log.info("The first task renews the token, because its store was busy. %s", error)
        return token

    def revoke(self) -> bool:
        """End the grant at DrChrono, then delete its tokens.

        :return: whether there was a token to revoke.
        :raises DrChronoError: DrChrono did not take the request; nothing was deleted.
        """
        store = self.store
        with store.locked():
            token = store.load()
            secret = (token.refresh_token or token.access_token) if token else _refresh_token_of(self.settings)
            if secret is None:
                return False
            if token and token.grant_id != store.grant_id and (owner := self._owner_of(token)):
                raise ConfigurationError(
                    f"The connection {self.conn_id!r} has no refresh token of its own and uses the authorization of "
                    f"the connection {owner}; revoke that one"
                )
            TokenEndpoint(self.settings).revoke(secret)
            store.delete()
        if self.in_database:
            _write_refresh_token(self.conn_id, None)
        return True

    def _owner_of(self, token: Token) -> str | None:
        for conn_id in connections_in_database():
            with suppress(DrChronoError):
                if grant_id_of(_refresh_token_of(find_authorization(conn_id).settings)) == token.grant_id:
                    return conn_id
        return None

    def _replace(self, exchange: Callable[[], Token]) -> Token:
        # The code is exchanged only once the new token can be stored.
        store = self.store
        with store.locked():
            token = replace(exchange(), grant_id=store.grant_id)
            store.save(token)
        return token


def find_authorization(conn_id: str) -> Authorization:
    """Find a connection wherever tasks find it: in the environment, in a secrets backend, or in the database.

    :raises ConfigurationError: there is no such connection, or it cannot work.
    """
    team = compat.team_of_connection(conn_id)
    seen = _seen(conn_id, team)
    stored = _row(conn_id)
    return Authorization(conn_id, settings_of(seen), stored is not None and _equal(stored, seen), team)


def settings_seen(conn_id: str) -> ClientSettings:
    """Return the settings of a connection as tasks see them; a hook outside of tasks would miss the database.

    :raises ConfigurationError: there is no such connection, or it cannot work.
    """
    return settings_of(_seen(conn_id, compat.team_of_connection(conn_id)))


def _seen(conn_id: str, team: str | None) -> Connection:
    from airflow_provider_drchrono.compat.database import Connection

    try:
        seen = Connection.get_connection_from_secrets(conn_id, team)
    except AirflowNotFoundException:
        seen = None
    if seen is None:
        raise ConfigurationError(
            f"There is no connection {conn_id!r}; add one of type {CONNECTION_TYPE} with the client ID as its login "
            f"and the client secret as its password"
        )
    mask_secrets_of(seen)
    return seen


def connections_in_database() -> Sequence[str]:
    """Return the ids of the DrChrono connections that Airflow's database holds, sorted."""
    from sqlalchemy import select

    from airflow_provider_drchrono.compat.database import Connection, create_session

    with create_session() as session:
        query = select(Connection.conn_id).where(Connection.conn_type == CONNECTION_TYPE).order_by(Connection.conn_id)
        return list(session.scalars(query))


def status_of(conn_id: str, now: float) -> ConnectionStatus:
    """Return the state of a connection's authorization, without a call of the API.

    :param now: epoch seconds.
    """
    try:
        authorization = find_authorization(conn_id)
    except DrChronoError as error:
        return ConnectionStatus(conn_id, "unusable", problem=str(error))
    settings, store = authorization.settings, authorization.store
    try:
        token = store.load()
    except DrChronoError as error:
        return ConnectionStatus(conn_id, "unusable", settings.base_url, problem=str(error))
    refused_at = store.refused_at()
    granted = token.scope if token else ()
    wanted = settings.scope or catalog.load().service.scopes
    return ConnectionStatus(
        conn_id,
        _state(token, refused_at, entered=settings.refresh_token is not None, now=now),
        settings.base_url,
        expires_at=(token.expires_at or None) if token else None,
        refused_at=refused_at,
        granted=granted,
        missing=tuple(scope for scope in wanted if scope not in granted) if granted else (),
        calls_left=_calls_left(settings, conn_id),
        problem="DrChrono refuses the refresh token; authorize again" if refused_at is not None else "",
    )


def _state(token: Token | None, refused_at: float | None, *, entered: bool, now: float) -> State:
    if refused_at is not None:
        return "refused"
    if token is None:
        return "unused" if entered else "never"
    return "expired" if token.expires_at and token.expires_at <= now else "authorized"


def _calls_left(settings: ClientSettings, conn_id: str) -> int | None:
    try:
        quota = quota_of(settings, conn_id)
        return quota.status().left if quota else None
    except DrChronoError as error:
        log.info("The count of calls cannot be read. %s", error)
        return None


def _refresh_token_of(settings: ClientSettings) -> str | None:
    return settings.refresh_token.get_secret_value() if settings.refresh_token else None


def _row(conn_id: str) -> Connection | None:
    from sqlalchemy import select

    from airflow_provider_drchrono.compat.database import Connection, create_session

    with create_session() as session:
        found: Connection | None = session.scalar(select(Connection).where(Connection.conn_id == conn_id))
        if found is not None:
            session.expunge(found)
        return found


def _write_refresh_token(conn_id: str, refresh_token: str | None) -> None:
    from sqlalchemy import select

    from airflow_provider_drchrono.compat.database import Connection, create_session

    with create_session() as session:
        row = session.scalar(select(Connection).where(Connection.conn_id == conn_id).with_for_update())
        if row is None:
            raise ConfigurationError(
                f"The connection {conn_id!r} was deleted meanwhile, so what was authorized is not kept; add it again"
            )
        extra = json.loads(row.extra) if row.extra else {}
        if refresh_token is None:
            extra.pop("refresh_token", None)
        else:
            extra["refresh_token"] = refresh_token
        row.extra = json.dumps(extra)


def _equal(stored: Any, seen: Any) -> bool:
    return all(getattr(stored, name) == getattr(seen, name) for name in ("login", "password", "extra"))
