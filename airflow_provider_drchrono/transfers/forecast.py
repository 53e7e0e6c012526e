"""Forecasts the calls and hours of syncs from how many rows the lists have, by the decisions that a sync takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import ceil, floor
from typing import Literal

from airflow_provider_drchrono.catalog import Catalog
from airflow_provider_drchrono.transfers.extraction import ListFacts, ReadCost, cost_of
from airflow_provider_drchrono.warehouses.deletions import interval_of

Reads = Literal["changes", "everything"]

CHANGED_AN_HOUR = 0.001
"""The part of the rows that is reckoned to change in an hour."""

MOST_NAMED = 3
"""A sentence names so many of the dearest lists."""

LARGE_PRACTICE: Mapping[str, int] = {
    "patients": 14_000,
    "appointments": 250_000,
    "line_items": 400_000,
    "transactions": 400_000,
    "clinical_notes": 200_000,
    "clinical_note_field_values": 2_000_000,
    "problems": 42_000,
    "medications": 56_000,
    "allergies": 14_000,
    "lab_orders": 15_000,
    "lab_tests": 20_000,
    "lab_results": 60_000,
    "documents": 80_000,
    "lab_documents": 10_000,
    "messages": 60_000,
    "tasks": 30_000,
    "patient_payments": 60_000,
    "eobs": 40_000,
    "eligibility_checks": 30_000,
}
"""Rows of a practice of some twenty doctors after ten years."""

PRACTICES: Mapping[str, Mapping[str, int]] = {
    "small": {name: ceil(rows / 28) for name, rows in LARGE_PRACTICE.items()},
    "medium": {name: ceil(rows / 7) for name, rows in LARGE_PRACTICE.items()},
    "large": LARGE_PRACTICE,
}


@dataclass(frozen=True, slots=True)
class ListForecast:
    """What keeping one table up to date takes.

    :param rows: how many rows the list has; None where nobody knows, and a page is reckoned with.
    :param first: the read of the whole list.
    :param later: a later run.
    :param reads: what a later run reads: lists that do not tell what has changed are read whole each time.
    :param weekly: calls of the read of the whole list that shows once a week what was deleted; 0 where changes tell.
    :param done_after: hours from the start of all first loads to the end of this one.
    :param needs: filters without which the API does not list these records.
    """

    resource: str
    rows: int | None
    first: ReadCost
    later: ReadCost
    reads: Reads
    weekly: int
    done_after: float | None
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What keeping several tables up to date takes.

    :param calls_per_hour: how many calls the syncs may make in an hour; None: as many as they like.
    """

    lists: tuple[ListForecast, ...]
    calls_per_hour: int | None

    @property
    def first_load(self) -> int:
        """Calls of all first loads."""
        return sum(each.first.calls for each in self.lists)

    @property
    def least(self) -> int:
        """Calls of first loads by a reader that knew everything before."""
        return sum(each.first.least for each in self.lists)

    @property
    def hours(self) -> float | None:
        """Hours that the first loads take."""
        return _hours(self.first_load, self.calls_per_hour)

    @property
    def later_run(self) -> int:
        """Calls of one run of all lists after their first loads."""
        return sum(each.later.calls for each in self.lists)

    @property
    def weekly(self) -> int:
        """Calls that the reads of whole lists add once a week, which show what was deleted."""
        return sum(each.weekly for each in self.lists)

    def overrun(self, interval: timedelta) -> str | None:
        """Return why a run of all lists does not fit between two runs, with the arithmetic; None if it does.

        :param interval: time between the beginnings of two runs.
        """
        if self.calls_per_hour is None:
            return None
        hours = interval / timedelta(hours=1)
        allowed = floor(self.calls_per_hour * hours)
        if self.later_run <= allowed:
            return None
        needed = ceil(self.later_run / self.calls_per_hour)
        dearest = sorted(self.lists, key=lambda each: -each.later.calls)[:MOST_NAMED]
        return (
            f"A run of these {len(self.lists)} lists takes about {self.later_run:,} calls ("
            + ", ".join(f"{each.resource} {each.later.calls:,}" for each in dearest)
            + (" and others" if len(self.lists) > len(dearest) else "")
            + f"), and between two runs there are {self.calls_per_hour:,} calls an hour x {hours:g} hours = "
            f"{allowed:,}. Run them every {'hour' if needed == 1 else f'{needed} hours'} or more seldom, or give the "
            "dearest a schedule of their own"
        )

    def run(self, reads: Reads) -> int:
        """Return the calls of one run of the lists of which a later run reads this."""
        return sum(each.later.calls for each in self.lists if each.reads == reads)


def forecast(
    catalog: Catalog,
    resources: Sequence[str],
    rows: Mapping[str, int],
    *,
    calls_per_hour: int | None,
    changed: float = CHANGED_AN_HOUR,
) -> Forecast:
    """Return what it takes to load lists for the first time, one after the other, and to keep them up to date.

    :param resources: in the order in which they are loaded.
    :param rows: how many rows the lists have, as far as that is known.
    :param changed: the part of the rows that changes between two runs.
    :raises ValueError: the API does not list one of the resources.
    """
    lists = []
    calls = 0
    for name in resources:
        resource = catalog.resource(name)
        facts = ListFacts.of(catalog, resource)
        known = rows.get(name)
        first = cost_of(facts, known or 0)
        later = cost_of(facts, ceil((known or 0) * changed)) if facts.by_change else first
        calls += first.calls
        operation = resource.list_operation
        lists.append(
            ListForecast(
                resource=name,
                rows=known,
                first=first,
                later=later,
                reads="changes" if facts.by_change else "everything",
                weekly=first.calls if facts.by_change and interval_of(resource.deletions) else 0,
                done_after=_hours(calls, calls_per_hour),
                needs=tuple(each.name for each in operation.filters if each.required) if operation else (),
            )
        )
    return Forecast(tuple(lists), calls_per_hour)


def _hours(calls: int, calls_per_hour: int | None) -> float | None:
    return None if calls_per_hour is None else calls / calls_per_hour
