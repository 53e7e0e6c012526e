"""Makes the names under which Airflow, its task state store, the host and Redis keep something for this provider.

The rule is ``drchrono:<family>:<parts>``, and ``drchrono:lease:<family>:<parts>`` for the lease that guards it. A
name that would be too long for an Airflow variable is cut, and ends in a hash of the whole. All names are listed in
``docs/reference/stored-names.md``; a test compares the two, since a renamed value is a lost value.

=================  ===================================  =============================================================
family             parts                                holds
=================  ===================================  =============================================================
``token``          hash of the client id                the OAuth tokens of an application's grants
``cursor``         DAG, task, map index; or the asset   how far a sensor or an asset's watcher has come
``deliveries``     DAG, task                            what the runs of a task were given of an asset's events
``sent``           hash of the task instance            that a create was sent and its answer was not seen
``authorization``  hash of the OAuth state              an authorization that somebody has begun in the browser
``quota``          hash of the client id                how many calls an application has made; in a file or in Redis
=================  ===================================  =============================================================
"""

from __future__ import annotations

import hashlib
from typing import Any

from airflow_provider_drchrono.client.quota.stores import quota_key
from airflow_provider_drchrono.incremental.cursor import CursorName

ROOT = "drchrono"

TOKEN = "token"  # noqa: S105 - the name of a family; Airflow masks the values of variables with this word in the name
CURSOR = "cursor"
DELIVERIES = "deliveries"
SENT = "sent"
AUTHORIZATION = "authorization"
QUOTA = "quota"

LEASE = "lease"

RENEWAL = "renewal"
"""Names the lease of the tokens. With the word ``token`` in its name Airflow would hide who is renewing."""

SENT_MARKER_KEY = f"{ROOT}:{SENT}"
"""The sent marker in the task state store, which Airflow keeps for each task instance."""

LONGEST_NAME = 200
"""Characters of a name; Airflow takes 250 for a variable and 512 in its task state store."""

__all__ = [
    "AUTHORIZATION",
    "CURSOR",
    "DELIVERIES",
    "SENT",
    "SENT_MARKER_KEY",
    "TOKEN",
    "authorization_variable",
    "cursor_parts",
    "lease_of",
    "name_of",
    "prefix_of",
    "quota_key",
    "sent_marker_variable",
    "token_lease",
    "token_variable",
    "variable_of",
]


def name_of(family: str, *parts: str) -> str:
    """Return the name of a value.

    :param parts: what tells it from others of its family.
    """
    name = ":".join((ROOT, family, *parts))
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 13]}~{_hash(name, 12)}"


def lease_of(family: str, *parts: str) -> str:
    """Return the name of the lease that guards a value."""
    return name_of(LEASE, family, *parts)


def prefix_of(family: str) -> str:
    """Return what the names of a family begin with, to find all of them."""
    return f"{ROOT}:{family}:"


def cursor_parts(name: CursorName) -> tuple[str, ...]:
    """Return the parts of the names that belong to a task, or to an asset.

    An asset's begin with an empty part, where others have the id of a DAG, so that the two never meet.
    """
    instance = (str(name.map_index),) if name.map_index >= 0 else ()
    return (name.dag_id, name.task_id, *instance)


def variable_of(name: CursorName, family: str = CURSOR) -> str:
    """Return the variable of a cursor, or of another family that belongs to a task."""
    return name_of(family, *cursor_parts(name))


def token_variable(client_id: str) -> str:
    """Return the variable of an application's tokens; it does not tell the client id."""
    return name_of(TOKEN, _hash(client_id, 12))


def token_lease(client_id: str) -> str:
    """Return the variable that says who is renewing a token of an application."""
    return lease_of(RENEWAL, _hash(client_id, 12))


def sent_marker_variable(ti: Any) -> str:
    """Return the variable of a task instance's sent marker, where Airflow has no task state store.

    :param ti: the task instance as it is in the context of a task; all its tries share the variable.
    """
    return name_of(SENT, _hash("\0".join(map(str, (ti.dag_id, ti.run_id, ti.task_id, ti.map_index))), 24))


def authorization_variable(state: str) -> str:
    """Return the variable of an authorization that was begun.

    :param state: what DrChrono hands back; the name does not tell it.
    """
    return name_of(AUTHORIZATION, _hash(state, 32))


def _hash(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]
