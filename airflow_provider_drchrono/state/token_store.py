"""Keeps the rotating OAuth tokens where every worker, triggerer and API server finds them: in an Airflow variable.

A connection is no place for them, because a task cannot write one. The variable is named after the client id, never
after the connection: the connection test of Airflow's UI runs under an id made up for the occasion.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from airflow_provider_drchrono import compat
from airflow_provider_drchrono.client.auth import LONGEST_LEAD
from airflow_provider_drchrono.client.errors import AuthenticationError, ConfigurationError, DrChronoError
from airflow_provider_drchrono.client.tokens import Token
from airflow_provider_drchrono.state.lease import Claim, LeaseUnavailableError, Timing, VariableLease
from airflow_provider_drchrono.state.names import token_lease, token_variable
from airflow_provider_drchrono.state.sealing import Seal, SealError
from airflow_provider_drchrono.state.variables import AirflowVariables, Variables

VERSION = 2
"""Of what the variable holds. In version 1 the tokens were not sealed."""

CONNECTION = "connection:"
"""Begins the id of a grant that a connection without a refresh token was given; the connection's id follows."""

# Seconds between the attempts to write a new token: the grant hangs on it.
WRITE_DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0)


class TokenStoreError(DrChronoError):
    """The variable that holds the tokens could not be read or written."""


class GrantLostError(AuthenticationError):
    """DrChrono has replaced the refresh token, and the new one was never stored: a person has to authorize again."""


class VariableTokenStore:
    """A :class:`~airflow_provider_drchrono.client.TokenStore` on Airflow variables.

    ``drchrono:token:<hash of the client id>`` holds one token for each grant, so that several practices which
    authorized one application do not overwrite each other. Its name contains "token" so that Airflow masks it, and each
    token is sealed with the client secret, since Airflow writes the value into its logs at DEBUG all the same.
    ``drchrono:lease:renewal:<hash>`` says who is renewing; it holds no secret and is left readable, to show who keeps
    the others waiting.

    A grant goes by the refresh token that a person put on the connection. Where the connection has none, because it
    comes from the environment or a secrets backend and was authorized in the browser, the grant goes by the
    connection's id.

    :param client_id: the application's client id.
    :param client_secret: its secret, with which the tokens are sealed.
    :param grant_id: fingerprint of the connection's refresh token; empty where the connection has none.
    :param connection: the connection's id, for a connection without a refresh token.
    :param variables: where the values live.
    :param timing: how long the steps of the lease may take.
    :param clock: seconds that only ever rise, for durations.
    :param sleep: waits the given seconds.
    """

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        grant_id: str = "",
        *,
        connection: str = "",
        variables: Variables | None = None,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.key = token_variable(client_id)
        self.grant_id = grant_id or (f"{CONNECTION}{connection}" if connection else "")
        self._has_refresh_token = bool(grant_id)
        self._seal = Seal(client_id, client_secret)
        self._variables = variables or AirflowVariables()
        self._sleep = sleep
        self._description = "OAuth tokens of a DrChrono application, renewed by the provider. Do not edit."
        self._lease = VariableLease(
            self._variables,
            token_lease(client_id),
            f"Who is renewing {self.key}. Safe to delete while nothing runs.",
            timing=timing,
            clock=clock,
            sleep=sleep,
        )

    def load(self) -> Token | None:
        """Return the token of the connection's grant, or None before the first one was saved.

        A connection without a refresh token that was never authorized uses the only grant there is, if a refresh token
        on another connection began it. One that another connection was given in the browser is never used.

        :raises TokenStoreError: the variable could not be read, so that it is not known whether there is a token.
        :raises ConfigurationError: it holds something else, or several grants and the connection does not tell which;
            or the token was sealed with another client secret.
        """
        grants = self._grants()
        grant_id = self._grant_in(grants)
        token = self._unsealed(grant_id, grants[grant_id]) if grant_id in grants else None
        if token is not None:
            _mask(token)
        elif not self._has_refresh_token and not all(each.startswith(CONNECTION) for each in grants):
            raise ConfigurationError(
                f"The variable {self.key} holds {len(grants)} grants of this application and the connection has no "
                f"refresh token to tell which; put the one that was entered for this practice on the connection, or "
                f"authorize this connection"
            )
        return token

    def _grant_in(self, grants: Mapping[str, str]) -> str:
        """Return the id of the connection's grant, which may not be there."""
        if self.grant_id in grants or self._has_refresh_token or len(grants) != 1:
            return self.grant_id
        (only,) = grants
        return self.grant_id if only.startswith(CONNECTION) else only

    def save(self, token: Token) -> None:
        """Store the token, trying again and again for some seconds, because nothing else has it.

        :raises GrantLostError: it could not be stored.
        """
        _mask(token)
        for delay in (*WRITE_DELAYS, None):
            try:
                self._write(token)
            except Exception as error:
                # The message of the failure may hold the value that was to be written.
                cause = type(error).__name__
            else:
                return
            if delay is not None:
                self._sleep(delay)
        raise GrantLostError(
            f"DrChrono has replaced the refresh token, and Airflow did not store the new one in the variable "
            f"{self.key} ({cause}): authorize the application again and put the new refresh token on the connection",
            kind="refresh_token",
        )

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Hold the right to renew the token, or learn that another process has just renewed it.

        Either way the token has to be loaded again inside the block.

        :raises TokenStoreError: the variables cannot be used here, or another process keeps the lease. Nothing was
            spent.
        :raises GrantLostError: the refresh token is dead, and an unfinished renewal explains why.
        """
        before = self.load()
        try:
            holding = self._lease.acquire(served=lambda: self._is_renewed_since(before))
        except LeaseUnavailableError as error:
            raise TokenStoreError(
                f"The token of {self.key} was not renewed: {error.holder} is at it and does not finish; "
                f"try again later, or end that process",
                transient=True,
            ) from None
        except DrChronoError:
            raise
        except Exception as error:
            raise TokenStoreError(
                f"The token is not renewed, because this process cannot store its successor in the variable "
                f"{self.key} ({type(error).__name__}); let a task do it, or run: airflow connections test",
                transient=True,
            ) from None
        try:
            yield
        except AuthenticationError as error:
            if error.kind != "refresh_token" or holding is None:
                raise
            self._note_refusal()
            if holding.abandoned is None:
                raise
            raise _lost(holding.abandoned) from None
        finally:
            if holding is not None:
                holding.give_back()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the right to change the variable, even if somebody has just renewed the token.

        :raises TokenStoreError: the variables cannot be used here, or another process keeps the lease.
        :raises ConfigurationError: another release of this provider has written the variable.
        """
        try:
            holding = self._lease.acquire(served=lambda: False)
        except LeaseUnavailableError as error:
            raise TokenStoreError(
                f"{self.key} cannot be changed: {error.holder} is renewing a token and does not finish; "
                f"try again later, or end that process",
                transient=True,
            ) from None
        except Exception as error:
            raise TokenStoreError(
                f"The variable {self.key} cannot be changed here ({type(error).__name__}); try again",
                transient=True,
            ) from None
        try:
            self._refuse_other_version(self._text())
            yield
        finally:
            if holding is not None:
                holding.give_back()

    def delete(self) -> None:
        """Take the connection's grant out of the variable. Call it while the variable is :meth:`locked`.

        :raises Exception: the variable was not changed.
        """
        grants = self._readable_grants()
        own = self._grant_in(grants)
        self._save_document({"grants": {grant_id: sealed for grant_id, sealed in grants.items() if grant_id != own}})

    def refused_at(self) -> float | None:
        """Return when DrChrono refused to renew the token, in epoch seconds; None if it took it the last time."""
        try:
            moment = self._document().get("refused", {}).get(self.grant_id)
        except Exception:
            return None
        return float(moment) if isinstance(moment, int | float) else None

    def _note_refusal(self) -> None:
        # Only for people to see, so it may fail; the next token that is saved removes it.
        with suppress(Exception):
            document = {"grants": {}} | self._document()
            document["refused"] = document.get("refused", {}) | {self.grant_id: time.time()}
            self._save_document(document)

    def _document(self) -> dict[str, Any]:
        document = json.loads(self._variables.read(self.key) or "{}")
        return document if isinstance(document, dict) else {}

    def _is_renewed_since(self, before: Token | None) -> bool:
        # Only a token that no client would want to renew yet makes the lease superfluous.
        now = self.load()
        return now is not None and now != before and now.expires_at > time.time() + LONGEST_LEAD

    def _write(self, token: Token) -> None:
        # The other grants stay sealed: their connections may not have the client secret of this one yet, or any more.
        sealed = self._seal.close(token.to_dict(), self._place(token.grant_id))
        self._save_document({"grants": self._readable_grants() | {token.grant_id: sealed}})

    def _save_document(self, document: Mapping[str, Any]) -> None:
        self._variables.write(self.key, json.dumps({**document, "version": VERSION}), self._description)

    def _place(self, grant_id: str) -> str:
        return f"{self.key} {grant_id}"

    def _unsealed(self, grant_id: str, sealed: str) -> Token:
        try:
            return Token.from_dict(self._seal.open(sealed, self._place(grant_id)))
        except (SealError, TypeError, ValueError):
            pass
        raise ConfigurationError(
            f"The token in the variable {self.key} cannot be opened with the client secret of this connection, because "
            f"it was sealed with another one. If the secret was mistyped, correct the connection's password; if "
            f"DrChrono has given the application a new secret, authorize the connection again"
        )

    def _readable_grants(self) -> dict[str, str]:
        text = self._text()
        # What another release wrote can still be read by that release, and is not overwritten.
        self._refuse_other_version(text)
        # What cannot be understood is no reason to lose the new token too.
        return _grants_in(text) or {}

    def _grants(self) -> dict[str, str]:
        text = self._text()
        self._refuse_other_version(text)
        grants = _grants_in(text)
        if grants is not None:
            return grants
        raise ConfigurationError(
            f"The variable {self.key} does not hold DrChrono tokens; delete it, authorize the application again and "
            f"put the new refresh token on the connection"
        )

    def _text(self) -> str | None:
        try:
            return self._variables.read(self.key)
        except Exception as error:
            raise TokenStoreError(
                f"The variable {self.key} with the stored token cannot be read here ({type(error).__name__}), and "
                f"without it the refresh token is not spent; try again, or run: airflow connections test",
                transient=True,
            ) from None

    def _refuse_other_version(self, text: str | None) -> None:
        try:
            version = json.loads(text or "{}").get("version", VERSION)
        except (AttributeError, ValueError):
            return
        if version != VERSION:
            raise ConfigurationError(
                f"The variable {self.key} holds tokens in version {str(version)[:20]!r}, and this release of the "
                f"provider reads version {VERSION}; use the release that wrote them, or delete the variable and "
                f"authorize the application again"
            )


def _grants_in(text: str | None) -> dict[str, str] | None:
    """Return the sealed tokens by their grants; None if the text is something else."""
    try:
        grants: dict[str, str] = json.loads(text)["grants"] if text else {}
        return grants if all(isinstance(each, str) for each in grants.values()) else None
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _mask(token: Token) -> None:
    for secret in (token.access_token, token.refresh_token):
        compat.mask_secret(secret)


def _lost(claim: Claim) -> GrantLostError:
    return GrantLostError(
        f"DrChrono refuses the refresh token. Its renewal was begun by {claim}, and never finished, so that its "
        f"successor is lost: authorize the application again and put the new refresh token on the connection",
        kind="refresh_token",
    )
