"""Remembers, across the tries of a task, that a create was sent and its answer has not been seen.

POST has no idempotency key: a worker that dies between the request and the answer leaves a record that the next try
would make once more. What is kept are the ids of the records that were there before, the time, and a keyed hash of
what was looked for; no data of a patient. Airflow 3.3 has a store for such state of a task; before that it is a
variable, which is deleted as soon as the answer is known.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_drchrono.incremental.clocks import earlier_clock, own_clock
from airflow_provider_drchrono.state.names import SENT_MARKER_KEY, sent_marker_variable
from airflow_provider_drchrono.state.variables import AirflowVariables

if TYPE_CHECKING:
    from airflow.sdk import Context

VERSION = 1
"""Of what is stored. A marker that cannot be read still says that a create was sent."""

MOST_IDS = 500
"""So many ids of existing records are kept at most."""


@dataclass(frozen=True, slots=True)
class SentCreate:
    """What was known before a create was sent.

    :param existing: ids of the records with the same values; None if they are not known, or too many to be kept.
    :param checked_at: when they were read, by the earlier one of the API's clock and ours; None if not known.
    :param fingerprint: a keyed hash of the values that were looked for; empty if nothing was.
    """

    existing: frozenset[str] | None = None
    checked_at: datetime | None = None
    fingerprint: str = ""

    @classmethod
    def of(cls, existing: Collection[str], checked_at: datetime | None, fingerprint: str) -> SentCreate:
        """Return what is kept of a look-up.

        A clock of the future would make the task's own record look older than the look-up, and the record would be
        created once more. So the earlier one of the API's clock and ours counts.
        """
        ids = frozenset(existing)
        earlier = earlier_clock(checked_at, own_clock()) if checked_at else None
        return cls(ids if len(ids) <= MOST_IDS else None, earlier, fingerprint)

    @classmethod
    def read(cls, raw: object) -> SentCreate:
        """Return what a stored marker says; nothing is known of one that cannot be read."""
        if not isinstance(raw, Mapping) or raw.get("version") != VERSION:
            return cls()
        ids, checked_at, fingerprint = (raw.get(name) for name in ("existing", "checked_at", "fingerprint"))
        with suppress(ValueError):
            return cls(
                frozenset(map(str, ids)) if isinstance(ids, list) else None,
                datetime.fromisoformat(checked_at).astimezone(UTC) if isinstance(checked_at, str) else None,
                fingerprint if isinstance(fingerprint, str) else "",
            )
        return cls()

    def stored(self) -> dict[str, Any]:
        """Return the marker as JSON."""
        return {
            "version": VERSION,
            "existing": None if self.existing is None else sorted(self.existing),
            "checked_at": self.checked_at and self.checked_at.isoformat(timespec="seconds"),
            "fingerprint": self.fingerprint,
        }


class _OneTry(dict[str, Any]):
    """What Airflow has as ``task_state_store``, for one try."""

    set = dict.__setitem__
    delete = dict.__delitem__


class SentMarker:
    """The marker of one task instance.

    Without the context of a task, as in a unit test, there is no other try for which it would have to be kept.

    :param context: the context of the running task.
    """

    def __init__(self, context: Context | Mapping[str, Any]) -> None:
        self._store: Any = context.get("task_state_store")
        if self._store is None and "ti" not in context:
            self._store = _OneTry()
        self._key = SENT_MARKER_KEY if self._store is not None else sent_marker_variable(context["ti"])
        self._variables = AirflowVariables()

    def is_set(self) -> bool:
        """Tell whether an earlier try sent the create and did not see the answer.

        :raises Exception: the store cannot be read, so that it is not known.
        """
        return self.read() is not None

    def read(self) -> SentCreate | None:
        """Return what an earlier try knew before it sent a create whose answer it did not see, if there was one.

        :raises Exception: the store cannot be read, so that it is not known.
        """
        if self._store is not None:
            raw = self._store.get(self._key)
            return SentCreate.read(raw) if raw else None
        text = self._variables.read(self._key)
        if text is None:
            return None
        try:
            return SentCreate.read(json.loads(text))
        except ValueError:
            return SentCreate()

    def set(self, sent: SentCreate | None = None) -> None:
        """Note that the create is about to be sent.

        :param sent: what is known before it is sent.
        :raises Exception: it could not be noted.
        """
        marker = (sent or SentCreate()).stored()
        if self._store is not None:
            self._store.set(self._key, marker)
        else:
            self._variables.write(
                self._key,
                json.dumps(marker),
                "A create was sent to DrChrono; this is deleted when the answer is known.",
            )

    def clear(self) -> None:
        """Note that the outcome of the create is known. A failure to note it only makes a later try look first."""
        with suppress(Exception):
            if self._store is not None:
                self._store.delete(self._key)
            else:
                self._variables.delete(self._key)
