"""Remembers, across the tries of a task, that a create was sent and its answer has not been seen.

POST has no idempotency key: a worker that dies between the request and the answer leaves a record that the next try
would make once more. What is kept is a flag, no data. Airflow 3.3 has a store for such state of a task; before that
it is a variable, which lives only as long as the doubt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context

KEY = "drchrono_create_sent"


class SentMarker:
    """The flag of one task instance.

    :param context: the context of the running task.
    """

    def __init__(self, context: Context | Mapping[str, Any]) -> None:
        self._store: Any = context.get("task_state_store")
        self._variable = f"{KEY}_{_instance_of(context['ti'])}" if self._store is None else ""

    def is_set(self) -> bool:
        """Tell whether an earlier try sent the create and did not see the answer."""
        if self._store is not None:
            return bool(self._store.get(KEY))
        from airflow_provider_drchrono.compat import read_variable

        return read_variable(self._variable) is not None

    def set(self) -> None:
        """Note that the create is about to be sent."""
        if self._store is not None:
            self._store.set(KEY, True)
            return
        from airflow_provider_drchrono.compat import write_variable

        write_variable(self._variable, "sent", "A create was sent to DrChrono; it goes when the answer is known.")

    def clear(self) -> None:
        """Note that the outcome of the create is known. A failure to note it only makes a later try look first."""
        with suppress(Exception):
            if self._store is not None:
                self._store.delete(KEY)
            else:
                from airflow.sdk import Variable

                Variable.delete(self._variable)


def _instance_of(ti: Any) -> str:
    whole = "\0".join(map(str, (ti.dag_id, ti.run_id, ti.task_id, ti.map_index)))
    return hashlib.sha256(whole.encode()).hexdigest()[:24]
