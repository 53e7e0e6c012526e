"""Whether a task waits in the triggerer, and how short a deferral may be."""

from __future__ import annotations

from airflow.sdk import conf


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
