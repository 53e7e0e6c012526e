"""What counts as one run of a task, in Airflow's versions with and without loops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context


def run_of(context: Context | Mapping[str, Any]) -> str:
    """Return what all tries of a task have in common, and no other execution of it: the DAG run's id, as a rule.

    From Airflow 3.4 on, a loop runs a task many times in one DAG run. Each iteration counts as a run of its own, or
    the second one would be given what the first one was.

    :param context: the context of the running task.
    """
    run_id = str(context["ti"].run_id)
    loop: Any = context.get("loop")
    return run_id if loop is None else f"{run_id}#{loop.index}"
