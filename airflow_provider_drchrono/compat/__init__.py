"""The one file that knows how Airflow's versions, and its processes, differ.

A variable is reached through the supervisor in a task or a trigger, and through the database in the API server
and on the command line. Airflow's own ``Variable.get`` answers "not found" also when the read failed, which is no
ground on which to spend a refresh token, so reading goes one level deeper here.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, cast

from airflow.sdk import BaseHook
from airflow.sdk import Variable as TaskVariable
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowRescheduleException,
    AirflowRuntimeError,
    ErrorType,
)
from airflow.sdk.log import mask_secret as mask_in_task

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowRescheduleException",
    "BaseHook",
    "mask_secret",
    "quota_folder",
    "read_variable",
    "shortest_deferral",
    "team_of_connection",
    "waits_in_triggerer",
    "write_variable",
]


class _Supervisor(Protocol):
    """The end of the line that a task or trigger process has to its supervisor."""

    def send(self, msg: Any) -> Any:
        """Send a request and return the answer."""


def mask_secret(secret: Any) -> None:
    """Have Airflow replace a secret by asterisks in all that this process and its supervisor write.

    :param secret: text; or a mapping, of which the values are masked whose names are those of secrets.
    """
    if not secret:
        return
    mask_in_task(secret)
    # The API server and the command line have a masker of their own. A worker may be without their package.
    with suppress(ImportError):
        from airflow._shared.secrets_masker import mask_secret as mask_in_server

        mask_in_server(secret)


def read_variable(key: str) -> str | None:
    """Return a variable's stored value, or None where the variable does not exist.

    Only what Airflow's database holds counts: environment variables and secrets backends are not asked,
    because they could not be written to. Where the database is at hand, it does not matter whose team a variable is of.

    :raises Exception: the read failed, so that nothing is known about the variable.
    """
    supervisor = _supervisor()
    if supervisor is not None:
        return _read_through(supervisor, key)
    from airflow.models.variable import Variable as StoredVariable
    from airflow.utils.session import create_session
    from sqlalchemy import select

    # Airflow's own look-up takes a team's variable for absent, and nobody here speaks for a team.
    with create_session() as session:
        row = session.scalar(select(StoredVariable).where(StoredVariable.key == key))
        return None if row is None else row.val


def quota_folder() -> Path:
    """Return the folder in which the calls of this host are counted."""
    named = conf.get("drchrono", "quota_path", fallback="")
    home = Path(os.environ.get("AIRFLOW_HOME") or "~/airflow")
    return (Path(named) if named else home / "drchrono" / "quota").expanduser()


def shortest_deferral() -> float:
    """Return for how many seconds a task that defers has to stay away at least.

    A worker notices only now and then that the process of a task has ended. A task that is to run again by then is
    taken for one that has failed.
    """
    return 1.5 * float(conf.getfloat("workers", "min_heartbeat_interval", fallback=5.0))


def waits_in_triggerer(deferrable: bool | None) -> bool:
    """Return whether a task defers.

    :param deferrable: what its author says; None leaves it to ``[operators] default_deferrable``.
    """
    if deferrable is not None:
        return deferrable
    return bool(conf.getboolean("operators", "default_deferrable", fallback=False))


def write_variable(key: str, value: str, description: str, team: str | None = None) -> None:
    """Create or overwrite a variable.

    :param team: the Airflow team of a new variable. One that is there keeps its team, and what a task makes belongs to
        the team of the task.
    :raises Exception: the variable was not written, or it is not known whether it was.
    """
    if _supervisor() is not None:
        TaskVariable.set(key, value, description=description)
        return
    from airflow.models.variable import Variable as StoredVariable

    StoredVariable.set(key, value, description=description, team_name=_team_of_variable(key, team))


def team_of_connection(conn_id: str) -> str | None:
    """Return the team of a connection in Airflow's database; None where it has none or there are no teams."""
    from airflow.models.connection import Connection

    return Connection.get_team_name(conn_id) if _has_teams() else None


def _team_of_variable(key: str, team: str | None) -> str | None:
    from airflow.models.variable import Variable as StoredVariable
    from airflow.utils.session import create_session
    from sqlalchemy import select

    if not _has_teams():
        return None
    # Airflow 3.2 would hand a variable that is there to the team it is written for.
    with create_session() as session:
        found = session.execute(select(StoredVariable.team_name).where(StoredVariable.key == key)).first()
    return team if found is None else found.team_name


def _has_teams() -> bool:
    return bool(conf.getboolean("core", "multi_team", fallback=False))


def _supervisor() -> _Supervisor | None:
    from airflow.sdk.execution_time import task_runner

    return cast("_Supervisor | None", getattr(task_runner, "SUPERVISOR_COMMS", None))


def _read_through(supervisor: _Supervisor, key: str) -> str | None:
    from airflow.sdk.execution_time.comms import ErrorResponse, GetVariable, VariableResult

    try:
        answer = supervisor.send(GetVariable(key=key))
    except AirflowRuntimeError as error:
        answer = error.error
    if isinstance(answer, VariableResult):
        return answer.value
    if isinstance(answer, ErrorResponse) and answer.error is ErrorType.VARIABLE_NOT_FOUND:
        return None
    reason = answer.error.value if isinstance(answer, ErrorResponse) else type(answer).__name__
    raise AirflowException(f"Airflow did not answer the request for the variable {key} ({reason})")
