"""Remembers, across the tries of a task, that a create was sent and its answer has not been seen.

POST has no idempotency key: a worker that dies between the request and the answer leaves a record that the next try
would make once more. What is kept is a flag, no data. Airflow 3.3 has a store for such state of a task; before that
it is a variable, which is deleted as soon as the answer is known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow_provider_drchrono.state.names import SENT_MARKER_KEY, sent_marker_variable
from airflow_provider_drchrono.state.variables import AirflowVariables

if TYPE_CHECKING:
    from airflow.sdk import Context

VERSION = 1
"""Of what is stored. A marker of any version says the same: a create was sent."""


class SentMarker:
    """The flag of one task instance.

    :param context: the context of the running task.
    """

    def __init__(self, context: Context | Mapping[str, Any]) -> None:
        self._store: Any = context.get("task_state_store")
        self._key = SENT_MARKER_KEY if self._store is not None else sent_marker_variable(context["ti"])
        self._variables = AirflowVariables()

    def is_set(self) -> bool:
        """Tell whether an earlier try sent the create and did not see the answer.

        :raises Exception: the store cannot be read, so that it is not known.
        """
        if self._store is not None:
            return bool(self._store.get(self._key))
        return self._variables.read(self._key) is not None

    def set(self) -> None:
        """Note that the create is about to be sent.

        :raises Exception: it could not be noted.
        """
        marker = {"version": VERSION}
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
