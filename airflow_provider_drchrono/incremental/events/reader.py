"""Finds, for one DAG run of one task, the windows that the watcher of an asset announced and the run has to read."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.incremental.cursor import Cursor, CursorName, ForgottenRunError, read_cursor
from airflow_provider_drchrono.incremental.cursor_store import CursorStore
from airflow_provider_drchrono.incremental.detection import Window
from airflow_provider_drchrono.incremental.events.deliveries import Deliveries, claim, dump_claims, read_claims
from airflow_provider_drchrono.incremental.events.event import ChangeEvent
from airflow_provider_drchrono.incremental.fingerprints import Record
from airflow_provider_drchrono.incremental.poller import Selection, read_again

if TYPE_CHECKING:
    from airflow_provider_drchrono.client import DrChronoClient

log = logging.getLogger(__name__)


class LostEventError(DrChronoError):
    """The asset's cursor does not remember what was announced. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Due:
    """What a DAG run has to read.

    :param untils: the announcements, by their ``until``, oldest first.
    :param cursor: the asset's; None where there is none, and then nothing is due.
    """

    untils: tuple[str, ...]
    windows: tuple[Window, ...] = field(repr=False)
    cursor: Cursor | None = field(repr=False)

    def records(self, drchrono: DrChronoClient, followed: Selection) -> Iterator[Record]:
        """Read them."""
        if self.cursor is None:
            return iter(())
        cursor = self.cursor
        windows = joined(self.windows, followed)
        return chain.from_iterable(read_again(drchrono, followed, cursor, window) for window in windows)


class EventReader:
    """What an asset's watcher announced, as one task reads it.

    :param asset: name of the asset.
    :param cursors: where the asset's cursor is.
    :param claims: where it is kept what the task's runs were given.
    :param name: of the task.
    """

    def __init__(
        self, asset: str, resource: str, *, cursors: CursorStore, claims: CursorStore, name: CursorName, run_id: str
    ) -> None:
        self._asset = asset
        self._resource = resource
        self._cursors = cursors
        self._claims = claims
        self._name = name
        self._run_id = run_id

    def due(self, told: Sequence[ChangeEvent] | None) -> Due:
        """Return what the run has to read, after it was stored that it is this run's.

        :param told: what the events that triggered the run announce; None where it was triggered otherwise.
        :raises LostEventError: it cannot be read any more.
        :raises ForgottenRunError: it is not known any more what the run was given.
        :raises DeliveriesError: what runs were given is stored in a way that cannot be gone on with.
        :raises CursorError: the asset's stored cursor cannot be gone on with.
        """
        text = self._cursors.load(CursorName.of_asset(self._asset))
        cursor = None if text is None else read_cursor(text, self._resource)
        claims, before, given = self._claimed(told, cursor)
        due = self._due(given, cursor, told)
        if claims.get(self._asset) is not before:
            with self._claims.lease(self._name):
                claims, _, given = self._claimed(told, cursor)
                due = self._due(given, cursor, told)
                self._claims.save(self._name, dump_claims(claims))
        if told is None and before is None:
            log.info(
                "%s: no run of this task has read %s yet. This one was not triggered by it, so it is given nothing; "
                "later ones are given what is announced from now on",
                self._name,
                self._asset,
            )
        return due

    def _claimed(
        self, told: Sequence[ChangeEvent] | None, cursor: Cursor | None
    ) -> tuple[dict[str, Deliveries], Deliveries | None, tuple[str, ...]]:
        """Return the claims of all assets after this run has asked, this asset's before that, and what is given."""
        text = self._claims.load(self._name)
        claims = {} if text is None else read_claims(text)
        before = claims.pop(self._asset, None)
        untils = None if told is None else [each.until for each in told]
        after, given = claim(before, self._run_id, untils, tuple(cursor.runs) if cursor else ())
        return (claims if after is None else {**claims, self._asset: after}), before, given

    def _due(self, given: tuple[str, ...], cursor: Cursor | None, told: Sequence[ChangeEvent] | None) -> Due:
        windows = cursor.runs if cursor else {}
        if lost := [until for until in given if until not in windows]:
            raise LostEventError(self._about_lost(lost, cursor, told or ()))
        return Due(given, tuple(windows[until] for until in given), cursor)

    def _about_lost(self, lost: Sequence[str], cursor: Cursor | None, told: Sequence[ChangeEvent]) -> str:
        why = "its cursor was reset since then"
        if cursor is not None:
            try:
                cursor.given_to(lost[0])
            except ForgottenRunError:
                why = "many others came after them"
        starts = [each.since for each in told if each.until in lost]
        since = f"{(min(each or '1970-01-01' for each in starts))!r}" if starts else "the time you want"
        return (
            f"{len(lost)} announcements of {self._asset}, up to {lost[-1]}, are not remembered any more, as {why}. "
            f"Read that time with a sensor for the same list, since={since} and until={lost[-1]!r}; what is still "
            "remembered is given to the next run that is triggered by hand"
        )


def joined(windows: Sequence[Window], followed: Selection) -> list[Window]:
    """Return windows that meet as one, where that makes no difference.

    It does for updates: a record that was created in one window and changed in the next is an update in that only. And
    it does where records have no time of change: the end of a window knows only what its own poll returned.
    """
    if followed.change == "updated" or followed.subject.moving_field is None:
        return list(windows)
    found: list[Window] = []
    for window in windows:
        if found and found[-1].after == window.before:
            found[-1] = Window(found[-1].before, window.after)
        else:
            found.append(window)
    return found
