"""Remembers who was sent to DrChrono for which connection, so that each answer counts once, soon, and for them.

Each pending authorization is an Airflow variable of its own, so that any API server can take the answer. It holds no
secret: the state that DrChrono hands back is kept as a hash only.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import asdict, dataclass
from typing import Literal

from sqlalchemy import delete, select

from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.compat.database import Variable, create_session
from airflow_provider_drchrono.state.names import AUTHORIZATION, prefix_of
from airflow_provider_drchrono.state.names import authorization_variable as _key

VERSION = 1
LIFETIME = 600.0
DESCRIPTION = "A DrChrono authorization that somebody has begun. It goes away by itself."

Refusal = Literal["unknown", "expired", "other_user"]


@dataclass(frozen=True, slots=True)
class Pending:
    """An authorization that was begun.

    :param conn_id: the connection it is for.
    :param user: id of the Airflow user who began it.
    :param redirect_uri: the redirect URI that DrChrono was given.
    :param expires_at: epoch seconds from which on its answer is refused.
    """

    conn_id: str
    user: str
    redirect_uri: str
    expires_at: float


class PendingError(DrChronoError):
    """An answer that nothing may be done with; ``reason`` says why."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason = reason


def begin(conn_id: str, user: str, redirect_uri: str) -> str:
    """Remember an authorization and return the state to send along."""
    state = secrets.token_urlsafe(32)
    pending = Pending(conn_id, user, redirect_uri, time.time() + LIFETIME)
    delete_expired()
    Variable.set(_key(state), json.dumps({"version": VERSION, **asdict(pending)}), description=DESCRIPTION)
    return state


def take(state: str, user: str) -> Pending:
    """Return the authorization that a state stands for, once.

    :param user: id of the Airflow user who brought the state.
    :raises PendingError: nothing was begun with it, it was used before, it came too late, or somebody else began it.
    """
    delete_expired()
    with create_session() as session:
        row = session.scalar(select(Variable).where(Variable.key == _key(state)))
        pending = _read(row)
        if pending is None:
            raise PendingError("unknown")
        if pending.user != user:
            raise PendingError("other_user")
        # Of several requests that bring the same state, one deletes the row.
        deleted = session.execute(delete(Variable).where(Variable.key == _key(state)))
        if getattr(deleted, "rowcount", 0) != 1:
            raise PendingError("unknown")
    if pending.expires_at <= time.time():
        raise PendingError("expired")
    return pending


def delete_expired() -> None:
    """Delete authorizations that were begun and never finished."""
    # Long after its end, so that who comes back late still learns that it was too late.
    limit = time.time() - 24 * LIFETIME
    with create_session() as session:
        for row in session.scalars(
            select(Variable).where(Variable.key.startswith(prefix_of(AUTHORIZATION), autoescape=True))
        ):
            pending = _read(row)
            if pending is None or pending.expires_at < limit:
                session.delete(row)


def _read(row: Variable | None) -> Pending | None:
    try:
        stored = json.loads(row.val or "") if row is not None else {}
        return Pending(**stored) if stored.pop("version", None) == VERSION else None
    except (AttributeError, TypeError, ValueError):
        return None
