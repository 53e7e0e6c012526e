"""The values that all processes of an Airflow share: its variables, reached as the current process may reach them."""

from __future__ import annotations

from typing import Protocol

from airflow_provider_drchrono import compat


class Variables(Protocol):
    """Where the values live that all processes share."""

    def read(self, key: str) -> str | None:
        """Return the value, or None where there is none; an exception means that nothing is known."""

    def write(self, key: str, value: str, description: str) -> None:
        """Create or overwrite the value; an exception means that it may or may not have been written."""

    def delete(self, key: str) -> None:
        """Remove the value, if there is one; an exception means that it may or may not be there."""


class AirflowVariables:
    """The variables of this Airflow.

    :param team: the Airflow team of new variables, where the process does not belong to one by itself.
    """

    def __init__(self, team: str | None = None) -> None:
        self._team = team

    def read(self, key: str) -> str | None:
        """Return the value, or None where there is none.

        :raises Exception: the read failed, so that nothing is known about the variable.
        """
        return compat.read_variable(key)

    def write(self, key: str, value: str, description: str) -> None:
        """Create or overwrite the value.

        :raises Exception: it was not written, or it is not known whether it was.
        """
        compat.write_variable(key, value, description, self._team)

    def delete(self, key: str) -> None:
        """Remove the value, if there is one.

        :raises Exception: it was not removed, or it is not known whether it was.
        """
        compat.delete_variable(key)
