"""Keeps cursors and deliveries in Airflow variables, where every worker and triggerer finds them.

A cursor says how far a sensor or the watcher of an asset has come; deliveries say what a task's runs were given of the
events of an asset.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.incremental.cursor import CursorName
from airflow_provider_drchrono.state import lease as variable_lease
from airflow_provider_drchrono.state.lease import LeaseUnavailableError, Timing, VariableLease
from airflow_provider_drchrono.state.names import CURSOR, DELIVERIES, cursor_parts, lease_of, variable_of
from airflow_provider_drchrono.state.variables import AirflowVariables, Variables

HOLD = 30.0
"""Seconds. The holder of the lease reads and writes one variable."""


class CursorStoreError(DrChronoError):
    """The variable that holds a cursor, or deliveries, could not be read or written."""

    transient = True


class VariableCursorStore:
    """A :class:`~airflow_provider_drchrono.incremental.cursor.CursorStore` on Airflow variables.

    ``drchrono:cursor:<dag>:<task>`` holds one, with ``:<map index>`` for an instance of a mapped task, and
    ``drchrono:cursor::<asset>`` that of an asset's watcher. It has hashes and times in it, ids of records for
    which a watcher has just stored an event, and no other patient data.

    :param variables: where the values live.
    :param timing: how long the steps of the lease may take.
    :param clock: seconds that only ever rise, for durations.
    :param sleep: waits the given seconds.
    """

    family: ClassVar[str] = CURSOR
    what: ClassVar[str] = "cursor"
    description: ClassVar[str] = "How far a DrChrono trigger has come. See: airflow drchrono cursor show. Do not edit."

    def __init__(
        self,
        *,
        variables: Variables | None = None,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._variables = variables or AirflowVariables()
        self._timing = timing or variable_lease.Timing(hold=HOLD, patience=4 * HOLD)
        self._clock = clock
        self._sleep = sleep

    def load(self, name: CursorName) -> str | None:
        """Return what is stored, or None where there is nothing.

        :raises CursorStoreError: the variable could not be read, so that it is not known whether there is something.
        """
        key = variable_of(name, self.family)
        try:
            return self._variables.read(key) or None
        except Exception as error:
            cause = type(error).__name__
        raise CursorStoreError(f"The variable {key} with the {self.what} of {name} cannot be read ({cause}); try again")

    def save(self, name: CursorName, text: str) -> None:
        """Store a text.

        :raises CursorStoreError: it may or may not have been stored; a retry finds out.
        """
        key = variable_of(name, self.family)
        try:
            self._variables.write(key, text, self.description)
            return
        except Exception as error:
            cause = type(error).__name__
        raise CursorStoreError(
            f"The variable {key} with the {self.what} of {name} cannot be written ({cause}); try again"
        )

    @contextmanager
    def lease(self, name: CursorName) -> Iterator[None]:
        """Hold the exclusive right to store; it takes some seconds to get.

        :raises CursorStoreError: another process keeps it, or the variables cannot be used.
        """
        lease = VariableLease(
            self._variables,
            lease_of(self.family, *cursor_parts(name)),
            f"Who is storing the {self.what} of {name}. Safe to delete while nothing runs.",
            timing=self._timing,
            clock=self._clock,
            sleep=self._sleep,
        )
        try:
            holding = lease.acquire(served=lambda: False)
        except LeaseUnavailableError as error:
            problem = f"{error.holder} is storing it and does not finish"
        except Exception as error:
            problem = type(error).__name__
        else:
            try:
                yield
            finally:
                if holding is not None:
                    holding.give_back()
            return
        raise CursorStoreError(f"The {self.what} of {name} was not stored ({problem}); try again")


class VariableDeliveriesStore(VariableCursorStore):
    """What the DAG runs of a task were given of an asset's events, in ``drchrono:deliveries:<dag>:<task>``."""

    family = DELIVERIES
    what = "record of reads"
    description = "What DAG runs have read of a DrChrono asset. See: airflow drchrono cursor show. Do not edit."
