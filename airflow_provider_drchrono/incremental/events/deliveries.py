"""Decides which events of an asset's watcher a DAG run is given, so that each is given to one run of a task.

An event is named by its ``until``. Airflow's own list of the events that triggered a run would not do: Airflow may get
an event twice, and now and then keeps one back until the next one comes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_provider_drchrono.incremental.cursor import (
    MOST_FORGOTTEN,
    MOST_RUNS,
    CursorError,
    ForgottenRunError,
    hash_of_run,
    read_state,
)

VERSION = 1

MOST_EVENTS = 1_000
"""How many are known by the DAG run that was given them. An asset's cursor remembers fewer."""

MOST_ASSETS = 5
"""Of how many assets it is remembered what one task was given; mostly it is one, until it is renamed."""


class DeliveriesError(CursorError):
    """What DAG runs were given is stored in a way that cannot be used. The message says what was found."""


@dataclass(frozen=True, slots=True)
class Deliveries:
    """What the DAG runs of one task were given of one asset's events.

    :param since: the last one that there was before the first run, from which on all count; None if there was none.
    :param runs: what runs were given, oldest run first.
    :param delivered: what older runs were given, as far as the asset's cursor remembers it.
    :param forgotten: hashes of these older runs.
    """

    since: str | None = None
    runs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    delivered: tuple[str, ...] = ()
    forgotten: tuple[str, ...] = ()

    def delivered_to(self, run_id: str, cleared_from: datetime | None = None) -> tuple[str, ...] | None:
        """Return what a DAG run was given, which may be nothing; None if it did not ask yet.

        :param cleared_from: see :func:`~airflow_provider_drchrono.incremental.cursor.cleared_from`.
        :raises ForgottenRunError: it asked so long ago that it is not known any more.
        """
        if run_id in self.runs:
            return self.runs[run_id]
        if hash_of_run(run_id) in self.forgotten or self._is_older_than_memory(cleared_from):
            raise ForgottenRunError(
                "what this DAG run was given is not remembered any more, as many runs came after it; read that time "
                "with a sensor for the same list, and since and until"
            )
        return None

    def _is_older_than_memory(self, cleared_from: datetime | None) -> bool:
        """Tell whether a run may have asked of which not even that is known any more."""
        if cleared_from is None or len(self.forgotten) < MOST_FORGOTTEN:
            return False
        oldest = _latest(next(filter(None, self.runs.values()), self.delivered))
        return oldest is not None and cleared_from <= datetime.fromisoformat(oldest)

    @property
    def last(self) -> str | None:
        """The last event that any run was given; None if there is none."""
        return _latest(self.delivered + tuple(each for given in self.runs.values() for each in given))

    def with_delivery(self, run_id: str, given: tuple[str, ...], remembered: Iterable[str]) -> Deliveries:
        """Return what is remembered after a DAG run was given something.

        :param remembered: what the asset's cursor remembers; nothing else can be given again.
        """
        runs = {**self.runs, run_id: given}
        oldest: list[str] = []
        left = sum(map(len, runs.values()))
        for each, its in runs.items():
            if len(runs) - len(oldest) <= MOST_RUNS and (left <= MOST_EVENTS or each == run_id):
                break
            oldest.append(each)
            left -= len(its)
        delivered = set(self.delivered).union(*(runs[each] for each in oldest)).intersection(remembered)
        return Deliveries(
            since=self.since,
            runs={each: its for each, its in runs.items() if each not in oldest},
            delivered=tuple(sorted(delivered, key=datetime.fromisoformat)),
            forgotten=(*self.forgotten, *map(hash_of_run, oldest))[-MOST_FORGOTTEN:],
        )


def deliver(
    deliveries: Deliveries | None,
    run_id: str,
    triggering: Iterable[str] | None,
    remembered: Sequence[str],
    cleared_from: datetime | None = None,
) -> tuple[Deliveries | None, tuple[str, ...]]:
    """Return the deliveries after a DAG run has asked, the very same if nothing changed, and the events it is given.

    ======================================  ======================================================================
    the run                                 is given
    ======================================  ======================================================================
    asked before                            the same again
    was triggered by the asset              its events, less what other runs were given
    was triggered otherwise                 all events since the first run that no run was given
    was triggered otherwise, as the first   nothing; from then on events count
    ======================================  ======================================================================

    :param deliveries: None before the first run.
    :param triggering: the events that triggered the run; None where something else did.
    :param remembered: what the asset's cursor remembers, oldest first.
    :param cleared_from: see :func:`~airflow_provider_drchrono.incremental.cursor.cleared_from`.
    :raises ForgottenRunError: the run was given something so long ago that it is not known any more.
    """
    known = deliveries or Deliveries()
    # A run that the asset triggered is given its own events, however old it is.
    given = known.delivered_to(run_id, cleared_from if triggering is None else None)
    if given is not None:
        return deliveries, given
    delivered = set(known.delivered).union(*known.runs.values())
    if triggering is not None:
        given = tuple(sorted(set(triggering) - delivered, key=datetime.fromisoformat))
        if deliveries is None and given:
            known = Deliveries(since=_latest(each for each in remembered if _is_later(given[0], each)))
        return (known.with_delivery(run_id, given, remembered), given) if given else (deliveries, given)
    if deliveries is None:
        return Deliveries(since=_latest(remembered)).with_delivery(run_id, (), remembered), ()
    since = known.since
    given = tuple(each for each in remembered if each not in delivered and (since is None or _is_later(each, since)))
    return known.with_delivery(run_id, given, remembered), given


def dump_deliveries(deliveries: Mapping[str, Deliveries]) -> str:
    """Return the text that is stored.

    :param deliveries: by the names of assets, the one that was asked about last at the end.
    """
    assets = {
        asset: {
            "since": each.since,
            "runs": [[run_id, list(given)] for run_id, given in each.runs.items()],
            "delivered": list(each.delivered),
            "forgotten": " ".join(each.forgotten),
        }
        for asset, each in list(deliveries.items())[-MOST_ASSETS:]
    }
    return json.dumps({"version": VERSION, "assets": assets})


def read_deliveries(text: str) -> dict[str, Deliveries]:
    """Return stored deliveries by the names of assets.

    :raises DeliveriesError: they are none, or of a later release.
    """
    try:
        return {str(asset): _deliveries(state) for asset, state in read_state(text, VERSION)["assets"].items()}
    except CursorError as error:
        problem = str(error)
    except KeyError as error:
        problem = f"nothing under {error.args[0]!r}"
    except (AttributeError, TypeError, ValueError) as error:
        problem = f"values that cannot be read ({type(error).__name__})"
    raise DeliveriesError(problem)


def _deliveries(state: Mapping[str, Any]) -> Deliveries:
    return Deliveries(
        since=None if state["since"] is None else _instant(state["since"]),
        runs={str(run_id): tuple(map(_instant, given)) for run_id, given in state["runs"]},
        delivered=tuple(map(_instant, state["delivered"])),
        forgotten=tuple(str(state["forgotten"]).split()),
    )


def _instant(text: Any) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("an instant without a zone")
    return str(text)


def _is_later(one: str, other: str) -> bool:
    return datetime.fromisoformat(one) > datetime.fromisoformat(other)


def _latest(instants: Iterable[str]) -> str | None:
    return max(instants, key=datetime.fromisoformat, default=None)
