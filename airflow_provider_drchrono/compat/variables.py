"""Reads and writes Airflow's variables from every kind of process.

A variable is reached through the supervisor in a task or a trigger, and through the database in the API server
and on the command line. Airflow's own ``Variable.get`` answers "not found" also when the read failed, which is no
ground on which to spend a refresh token, so reading goes one level deeper here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

from airflow.sdk import Variable as TaskVariable
from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError, ErrorType

from airflow_provider_drchrono.compat.private import check_annotation, mended_in

with mended_in(__name__):
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import ErrorResponse, GetVariable, VariableResult

# Airflow sets it when a task or a trigger process starts. If it had another name, every process would be taken for one
# that may use the database.
check_annotation(task_runner, "SUPERVISOR_COMMS", __name__)


_in_memory: dict[str, str] | None = None
"""The variables of a test, in place of Airflow's."""


@contextmanager
def variables_in_memory() -> Iterator[dict[str, str]]:
    """Keep all variables of the provider in this process while the block runs, and forget them at its end.

    For tests: neither a database nor what others keep there is needed, or touched. Blocks may be nested.
    """
    global _in_memory
    before = _in_memory
    _in_memory = {}
    try:
        yield _in_memory
    finally:
        _in_memory = before


def are_variables_in_memory() -> bool:
    """Return whether no other process can see the variables."""
    return _in_memory is not None


class _Supervisor(Protocol):
    """A task or trigger process's connection to its supervisor."""

    def send(self, msg: Any) -> Any:
        """Send a request and return the answer."""


def read_variable(key: str) -> str | None:
    """Return a variable's stored value, or None where the variable does not exist.

    Only what Airflow's database holds counts: environment variables and secrets backends are not asked,
    because they could not be written to. Where the database is at hand, it does not matter whose team a variable is of.

    :raises Exception: the read failed, so that nothing is known about the variable.
    """
    if _in_memory is not None:
        return _in_memory.get(key)
    supervisor = _supervisor()
    if supervisor is not None:
        return _read_through(supervisor, key)
    from airflow_provider_drchrono.compat.database import Variable, create_session, select

    # Airflow's own look-up takes a team's variable for absent, and this code does not know the team.
    with create_session() as session:
        row = session.scalar(select(Variable).where(Variable.key == key))
        return None if row is None else row.val


def write_variable(key: str, value: str, description: str, team: str | None = None) -> None:
    """Create or overwrite a variable.

    :param team: the Airflow team of a new variable. One that is there keeps its team, and what a task makes belongs to
        the team of the task.
    :raises Exception: the variable was not written, or it is not known whether it was.
    """
    if _in_memory is not None:
        _in_memory[key] = value
        return
    if _supervisor() is not None:
        TaskVariable.set(key, value, description=description)
        return
    from airflow_provider_drchrono.compat.database import Variable
    from airflow_provider_drchrono.compat.teams import team_of_variable

    Variable.set(key, value, description=description, team_name=team_of_variable(key, team))


def delete_variable(key: str) -> None:
    """Remove a variable, if there is one.

    :raises Exception: the variable was not removed, or it is not known whether it was.
    """
    if _in_memory is not None:
        _in_memory.pop(key, None)
        return
    if _supervisor() is not None:
        TaskVariable.delete(key)
        return
    from airflow_provider_drchrono.compat.database import Variable

    Variable.delete(key)


def _supervisor() -> _Supervisor | None:
    return cast("_Supervisor | None", getattr(task_runner, "SUPERVISOR_COMMS", None))


def _read_through(supervisor: _Supervisor, key: str) -> str | None:
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
