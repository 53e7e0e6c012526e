"""The facts of the catalogue by which the changes of a list are read, and the queries of a poll."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_drchrono.catalog import Catalog
from airflow_provider_drchrono.catalog.model import Change as Change
from airflow_provider_drchrono.client.filters import Filters
from airflow_provider_drchrono.incremental.window import BEGINNING

if TYPE_CHECKING:
    from airflow_provider_drchrono.client import DrChronoClient, Page
    from airflow_provider_drchrono.client.paging import Record
    from airflow_provider_drchrono.incremental.watched_fields import WatchedFields


@dataclass(frozen=True, slots=True)
class IncrementalList:
    """A list that can be asked for changes.

    :param operation_id: the operation that lists it.
    :param since_filter: the filter that takes the time from which on changes are wanted.
    :param changed_field: the field that the filter is said to compare, where there is one.
    :param created_field: the time of creation, where the records have one.
    :param tracks_updates: whether ``changed_field`` moves with each change; if not, nothing is concluded from it.
    :param lookback: how long a change may take until the list shows it, unless somebody says otherwise.
    :param timezone: the zone of its change times, where it is not the practice's.
    :param requires_one_of: filters of which the list needs at least one.
    :param filters: the filters that may be given beside it.
    """

    resource: str
    operation_id: str
    plural: str
    key: tuple[str, ...]
    since_filter: str
    changed_field: str | None
    created_field: str | None
    tracks_updates: bool
    lookback: timedelta
    timezone: str | None
    requires_one_of: tuple[str, ...]
    filters: Filters = field(repr=False, compare=False)

    @classmethod
    def of(cls, catalog: Catalog, resource: str) -> IncrementalList:
        """Return what the catalogue says about a list.

        :raises ValueError: it cannot be asked for changes.
        """
        found = catalog.resource(resource)
        operation = found.list_operation
        if operation is None or found.incremental is None:
            raise ValueError(f"{resource} has no list that can be asked for changes")
        return cls(
            resource=resource,
            operation_id=operation.id,
            plural=found.plural,
            key=found.key,
            since_filter=found.incremental.filter,
            changed_field=found.incremental.cursor_field,
            created_field=found.incremental.created_field,
            tracks_updates=found.incremental.tracks_updates,
            lookback=timedelta(seconds=found.incremental.lookback),
            timezone=found.incremental.timezone,
            requires_one_of=found.requires_one_of,
            filters=Filters.of_incremental(catalog, resource),
        )

    @property
    def moving_field(self) -> str | None:
        """The field that moves with each change; None where only the content tells that a record has changed."""
        return self.changed_field if self.tracks_updates else None

    def moved_at(self, record: Record) -> datetime | None:
        """Return when a record changed by the practice's clock, or None where that is not known."""
        return moment_of(record.get(self.moving_field)) if self.moving_field else None

    def changed_at(self, record: Record) -> datetime | None:
        """Return the time that ``since`` is compared with, or None where there is none."""
        return moment_of(record.get(self.changed_field)) if self.changed_field else None

    def created_at(self, record: Record) -> datetime | None:
        """Return when a record was created by the practice's clock, or None where that is not known."""
        return moment_of(record.get(self.created_field)) if self.created_field else None

    def queries(self, filters: Mapping[str, Any], since: datetime | None) -> list[dict[str, Any]]:
        """Return the filters of the lists that together hold all changes since a time.

        It is more than one where a range of dates is longer than DrChrono answers.

        :param filters: as :meth:`~airflow_provider_drchrono.client.filters.Filters.checked` returns them.
        :param since: naive wall-clock time of the practice; None for all records.
        """
        start = since or needed_start(self.requires_one_of, filters)
        asked = {self.since_filter: start.isoformat()} if start else {}
        return [each | asked for each in self.filters.queries(filters)]


@dataclass(frozen=True, slots=True)
class Selection:
    """What is read of a list.

    :param change: which changes count.
    :param lookback: how long a change may take until the list shows it.
    :param extra_filters: filters that the catalogue does not know.
    :param watched: the fields whose changes count; None for all.
    :param start: where a cursor begins: ``now``, ``beginning``, or a time.
    """

    incremental_list: IncrementalList
    filters: Mapping[str, Any] = field(repr=False)
    verbose: bool
    change: Change
    lookback: timedelta
    start: str
    extra_filters: Mapping[str, Any] = field(default_factory=dict, repr=False)
    watched: WatchedFields | None = None

    @property
    def identity(self) -> str:
        """What is selected, as one text, for a hash of it."""
        extra = [self.extra_filters] if self.extra_filters else []
        return json.dumps([self.filters, self.verbose, *extra], sort_keys=True, default=str)

    def pages(self, drchrono: DrChronoClient, since: datetime | None) -> Iterator[Page]:
        """Iterate over the pages of all lists that together hold the changes since a time.

        :param since: naive wall-clock time of the practice; None for all records.
        """
        for query in self.incremental_list.queries(self.filters, since):
            yield from drchrono.pages(
                self.incremental_list.operation_id, query, extra_filters=self.extra_filters, verbose=self.verbose
            )


def needed_start(requires_one_of: Collection[str], filters: Collection[str]) -> datetime | None:
    """Return the start of a read of everything where the list insists on one; None where it does not.

    :param requires_one_of: filters of which the list needs at least one.
    :param filters: the names of those that are given.
    """
    return BEGINNING if requires_one_of and not set(requires_one_of) & set(filters) else None


def moment_of(value: object) -> datetime | None:
    """Return a timestamp of a record as a naive time, or None where it is none or has a zone of its own."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo is None else None
