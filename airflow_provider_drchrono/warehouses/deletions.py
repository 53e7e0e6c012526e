"""Decides what a read of a list may conclude about rows that it did not see."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from airflow_provider_drchrono.catalog import Deletions
from airflow_provider_drchrono.incremental.suspicion import FEW
from airflow_provider_drchrono.incremental.window import SyncState

CompleteEvery: TypeAlias = timedelta | Literal["auto"] | None
"""How often a list that goes by change is read as a whole; see :func:`complete_is_due`."""

COMPLETE_EVERY = timedelta(days=7)
"""What ``auto`` means for a list that does not tell of its deletions."""

MOST_LOOKUPS = 50
"""Of rows that are missing, how many a run looks up one by one. The hour has 500 calls."""

LEAST_SEEN = 0.9
"""A complete read that sees a smaller share of what is known is not believed: a lost right is likelier than that."""


def is_believable(known: int, missing: int) -> bool:
    """Tell whether rows that a complete read did not see may be taken for deleted.

    A grant that may see less than before gets shorter lists, and no error.

    :param known: rows that it should have seen.
    :param missing: those of them that it did not see.
    """
    if not missing:
        return True
    return missing < known and (missing <= FEW or known - missing >= known * LEAST_SEEN)


def complete_is_due(
    state: SyncState | None, deletions: Deletions | None, complete_every: CompleteEvery, now: datetime
) -> bool:
    """Tell whether a list that goes by change is to be read as a whole, so that deletions show.

    The first read is a whole one anyway, and a sync with a start is never complete.

    :param deletions: how the list tells of deletions.
    :param complete_every: ``auto`` is once a week for a list that does not tell of every deletion, and else never.
    """
    if complete_every == "auto":
        complete_every = None if deletions and deletions.come_as_changes else COMPLETE_EVERY
    if complete_every is None or state is None or state.start is not None:
        return False
    return state.completed_at is None or now - state.completed_at >= complete_every
