"""Finds, for one DAG run of one task, the windows that the events of an asset name and the run has to read."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING

from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.incremental.cursor import (
    Cursor,
    CursorName,
    CursorStore,
    ForgottenRunError,
    read_cursor,
)
from airflow_provider_drchrono.incremental.detection import Window
from airflow_provider_drchrono.incremental.events.deliveries import (
    Deliveries,
    deliver,
    dump_deliveries,
    read_deliveries,
)
from airflow_provider_drchrono.incremental.events.event import ChangeEvent
from airflow_provider_drchrono.incremental.lists import Selection
from airflow_provider_drchrono.incremental.poller import Judge, read_again, trusting

if TYPE_CHECKING:
    from airflow_provider_drchrono.client import DrChronoClient
    from airflow_provider_drchrono.client.paging import Record

log = logging.getLogger(__name__)


class LostEventError(DrChronoError):
    """The asset's cursor does not remember an event's window. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a DAG run has to read.

    :param events: by their ``until``, oldest first.
    :param cursor: the asset's; None where there is none, and then there is nothing to read.
    """

    events: tuple[str, ...]
    windows: tuple[Window, ...] = field(repr=False)
    cursor: Cursor | None = field(repr=False)

    def records(self, drchrono: DrChronoClient, selection: Selection, judge: Judge = trusting) -> Iterator[Record]:
        """Read the records.

        :param judge: says whether a read may hide records.
        """
        if self.cursor is None:
            return iter(())
        cursor = self.cursor
        windows = merged(self.windows, selection)
        return chain.from_iterable(read_again(drchrono, selection, cursor, window, judge=judge) for window in windows)


class EventReader:
    """The events of an asset, as one task reads them.

    :param asset: name of the asset.
    :param cursors: where the asset's cursor is.
    :param deliveries: where it is kept what the task's runs were given.
    :param name: of the task.
    :param cleared_from: see :func:`~airflow_provider_drchrono.incremental.cursor.cleared_from`.
    """

    def __init__(
        self,
        asset: str,
        resource: str,
        *,
        cursors: CursorStore,
        deliveries: CursorStore,
        name: CursorName,
        run_id: str,
        cleared_from: datetime | None = None,
    ) -> None:
        self._asset = asset
        self._resource = resource
        self._cursors = cursors
        self._deliveries = deliveries
        self._name = name
        self._run_id = run_id
        self._cleared_from = cleared_from

    def take(self, triggering: Sequence[ChangeEvent] | None) -> Delivery:
        """Return what the run has to read, after it was stored that it is this run's.

        :param triggering: the events that triggered the run; None where something else did.
        :raises LostEventError: it cannot be read any more.
        :raises ForgottenRunError: it is not known any more what the run was given.
        :raises DeliveriesError: what runs were given is stored in a way that cannot be used.
        :raises CursorError: the asset's stored cursor cannot be used.
        """
        text = self._cursors.load(CursorName.of_asset(self._asset))
        cursor = None if text is None else read_cursor(text, self._resource)
        deliveries, before, events = self._delivered(triggering, cursor)
        delivery = self._delivery(events, cursor, triggering)
        if deliveries.get(self._asset) is not before:
            with self._deliveries.lease(self._name):
                deliveries, _, events = self._delivered(triggering, cursor)
                delivery = self._delivery(events, cursor, triggering)
                self._deliveries.save(self._name, dump_deliveries(deliveries))
        if triggering is None and before is None:
            log.info(
                "%s: no run of this task has read %s yet. This one was not triggered by it, so it is given nothing; "
                "later ones are given the changes from now on",
                self._name,
                self._asset,
            )
        return delivery

    def _delivered(
        self, triggering: Sequence[ChangeEvent] | None, cursor: Cursor | None
    ) -> tuple[dict[str, Deliveries], Deliveries | None, tuple[str, ...]]:
        """Return the deliveries of all assets after this run has asked, this asset's before that, and the events."""
        text = self._deliveries.load(self._name)
        deliveries = {} if text is None else read_deliveries(text)
        before = deliveries.pop(self._asset, None)
        untils = None if triggering is None else [each.until for each in triggering]
        remembered = tuple(cursor.runs) if cursor else ()
        after, events = deliver(before, self._run_id, untils, remembered, self._cleared_from)
        return (deliveries if after is None else {**deliveries, self._asset: after}), before, events

    def _delivery(
        self, events: tuple[str, ...], cursor: Cursor | None, triggering: Sequence[ChangeEvent] | None
    ) -> Delivery:
        windows = cursor.runs if cursor else {}
        if lost := [until for until in events if until not in windows]:
            raise LostEventError(self._about_lost(lost, cursor, triggering or ()))
        return Delivery(events, tuple(windows[until] for until in events), cursor)

    def _about_lost(self, lost: Sequence[str], cursor: Cursor | None, triggering: Sequence[ChangeEvent]) -> str:
        why = "its cursor was reset since then"
        if cursor is not None:
            try:
                cursor.delivered_to(lost[0])
            except ForgottenRunError:
                why = "many others came after them"
        starts = [each.since for each in triggering if each.until in lost]
        since = f"{(min(each or '1970-01-01' for each in starts))!r}" if starts else "the time you want"
        return (
            f"{len(lost)} events of {self._asset}, up to {lost[-1]}, are not remembered any more, as {why}. "
            f"Read that time with a sensor for the same list, since={since} and until={lost[-1]!r}; what is still "
            "remembered is given to the next run that is triggered by hand"
        )


def merged(windows: Sequence[Window], selection: Selection) -> list[Window]:
    """Return windows that meet as one, where that makes no difference.

    It does for updates: a record that was created in one window and changed in the next is an update in that only. And
    it does where records have no time of change: the end of a window knows only what its own poll returned. Where it is
    known of each record what has changed in it, both does not matter, and a record comes once with all that has.
    """
    if selection.watched is not None:
        return _with_changes(windows)
    if selection.change == "updated" or selection.incremental_list.moving_field is None:
        return list(windows)
    found: list[Window] = []
    for window in windows:
        if found and found[-1].after == window.before:
            found[-1] = Window(found[-1].before, window.after)
        else:
            found.append(window)
    return found


def _with_changes(windows: Sequence[Window]) -> list[Window]:
    found: list[Window] = []
    for window in windows:
        last = found[-1] if found else None
        if last is None or last.after != window.before or not last.changes or not window.changes:
            found.append(window)
        elif last.changes.names == window.changes.names:
            found[-1] = Window(last.before, window.after, last.changes.followed_by(window.changes))
        else:
            found.append(window)
    return found
