"""Keeps the rotating OAuth tokens where every worker, triggerer and API server finds them: in an Airflow variable.

A connection is no place for them, because a task cannot write one. The variable is named after the client id, never
after the connection: the connection test of Airflow's UI runs under an id made up for the occasion.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from airflow_provider_drchrono import compat
from airflow_provider_drchrono.client.auth import LONGEST_LEAD
from airflow_provider_drchrono.client.errors import AuthenticationError, ConfigurationError, DrChronoError
from airflow_provider_drchrono.client.tokens import Token
from airflow_provider_drchrono.state.lease import (
    Claim,
    LeaseUnavailableError,
    Timing,
    VariableLease,
    Variables,
)

# Seconds between the attempts to write a new token: the grant hangs on it.
WRITE_DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0)


class TokenStoreError(DrChronoError):
    """The variable that holds the tokens could not be read or written."""


class GrantLostError(AuthenticationError):
    """DrChrono has replaced the refresh token, and its successor was never stored: only a person can go on."""


class AirflowVariables:
    """The variables of this Airflow, reached as the current process may reach them.

    :param team: the Airflow team of new variables, where the process does not belong to one by itself.
    """

    def __init__(self, team: str | None = None) -> None:
        self._team = team

    def read(self, key: str) -> str | None:
        """Return the value, or None where there is none."""
        return compat.read_variable(key)

    def write(self, key: str, value: str, description: str) -> None:
        """Create or overwrite the value."""
        compat.write_variable(key, value, description, self._team)


class VariableTokenStore:
    """A :class:`~airflow_provider_drchrono.client.TokenStore` on Airflow variables.

    ``drchrono_token_<hash of the client id>`` holds one token for each refresh token that a person entered, so that
    several practices which authorized one application do not overwrite each other. Its name contains "token" so that
    Airflow masks it. ``drchrono_lease_<hash>`` says who is renewing; it holds no secret and is left readable, to
    show who keeps the others waiting.

    :param client_id: the application's client id.
    :param grant_id: fingerprint of the connection's refresh token; empty where the connection has none.
    :param variables: where the values live.
    :param timing: how long the steps of the lease may take.
    :param clock: seconds that only ever rise, for durations.
    :param sleep: waits the given seconds.
    """

    def __init__(
        self,
        client_id: str,
        grant_id: str = "",
        *,
        variables: Variables | None = None,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        name = hashlib.sha256(client_id.encode()).hexdigest()[:12]
        self.key = f"drchrono_token_{name}"
        self.grant_id = grant_id
        self._variables = variables or AirflowVariables()
        self._sleep = sleep
        self._description = "OAuth tokens of a DrChrono application, renewed by the provider. Do not edit."
        self._lease = VariableLease(
            self._variables,
            f"drchrono_lease_{name}",
            f"Who is renewing {self.key}. Safe to delete while nothing runs.",
            timing=timing,
            clock=clock,
            sleep=sleep,
        )

    def load(self) -> Token | None:
        """Return the token of the connection's grant, or None before the first one was saved.

        :raises TokenStoreError: the variable could not be read, so that it is not known whether there is a token.
        :raises ConfigurationError: it holds something else, or several grants and the connection names none.
        """
        grants = self._grants()
        if self.grant_id not in grants and not self.grant_id and len(grants) > 1:
            raise ConfigurationError(
                f"The variable {self.key} holds {len(grants)} grants of this application and the connection has no "
                f"refresh token to tell which; put the one that was entered for this practice on the connection"
            )
        token = grants.get(self.grant_id) or (None if self.grant_id else next(iter(grants.values()), None))
        if token is not None:
            _mask(token)
        return token

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
            yield
        finally:
            if holding is not None:
                holding.give_back()

    def delete(self) -> None:
        """Take the connection's grant out of the variable. Call it while the variable is :meth:`locked`.

        :raises Exception: the variable was not changed.
        """
        grants = self._readable_grants()
        grant_id = self.grant_id if self.grant_id in grants or self.grant_id or len(grants) != 1 else next(iter(grants))
        kept = {name: token.to_dict() for name, token in grants.items() if name != grant_id}
        self._variables.write(self.key, json.dumps({"grants": kept}), self._description)

    def refused_at(self) -> float | None:
        """Return when DrChrono refused to renew the token, in epoch seconds; None if it took it the last time."""
        try:
            moment = self._document().get("refused", {}).get(self.grant_id)
        except Exception:
            return None
        return float(moment) if isinstance(moment, int | float) else None

    def _note_refusal(self) -> None:
        # Only for people to see, so it may fail; whoever saves a token next wipes it out.
        with suppress(Exception):
            document = {"grants": {}} | self._document()
            document["refused"] = document.get("refused", {}) | {self.grant_id: time.time()}
            self._variables.write(self.key, json.dumps(document), self._description)

    def _document(self) -> dict[str, Any]:
        document = json.loads(self._variables.read(self.key) or "{}")
        return document if isinstance(document, dict) else {}

    def _is_renewed_since(self, before: Token | None) -> bool:
        # Only a token that no client would want to renew yet makes the lease superfluous.
        now = self.load()
        return now is not None and now != before and now.expires_at > time.time() + LONGEST_LEAD

    def _write(self, token: Token) -> None:
        grants = {grant_id: each.to_dict() for grant_id, each in self._readable_grants().items()}
        grants[token.grant_id] = token.to_dict()
        self._variables.write(self.key, json.dumps({"grants": grants}), self._description)

    def _readable_grants(self) -> dict[str, Token]:
        try:
            return self._grants()
        except ConfigurationError:
            # What cannot be understood is no reason to lose the new token too.
            return {}

    def _grants(self) -> dict[str, Token]:
        try:
            text = self._variables.read(self.key)
        except Exception as error:
            raise TokenStoreError(
                f"The variable {self.key} with the stored token cannot be read here ({type(error).__name__}), and "
                f"without it the refresh token is not spent; try again, or run: airflow connections test",
                transient=True,
            ) from None
        try:
            grants: dict[str, Any] = json.loads(text)["grants"] if text else {}
            return {grant_id: Token.from_dict(each) for grant_id, each in grants.items()}
        except (AttributeError, KeyError, TypeError, ValueError):
            pass
        raise ConfigurationError(
            f"The variable {self.key} does not hold DrChrono tokens; delete it, authorize the application again and "
            f"put the new refresh token on the connection"
        )


def _mask(token: Token) -> None:
    for secret in (token.access_token, token.refresh_token):
        compat.mask_secret(secret)


def _lost(claim: Claim) -> GrantLostError:
    return GrantLostError(
        f"DrChrono refuses the refresh token. Its renewal was begun by {claim}, and never finished, so that its "
        f"successor is lost: authorize the application again and put the new refresh token on the connection",
        kind="refresh_token",
    )
