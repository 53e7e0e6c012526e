"""Reads an explicit window of time, for backfills and data intervals: nothing is remembered, each run says its own.

Two windows that meet, as data intervals do, share no record and lose none, also when clocks are set back between them:
both ends are turned into wall-clock times in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from itertools import chain
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.incremental.detection import ChangeDetector, Position, within
from airflow_provider_drchrono.incremental.lists import Selection
from airflow_provider_drchrono.incremental.poller import read_closed_window, trusting
from airflow_provider_drchrono.incremental.window import first_start

if TYPE_CHECKING:
    from airflow_provider_drchrono.client import DrChronoClient
    from airflow_provider_drchrono.client.paging import Record
    from airflow_provider_drchrono.incremental.poller import Deliver, Judge


@dataclass(frozen=True, slots=True)
class ExplicitWindow:
    """Reads what changed from one time on, and before another if there is one.

    :param timezones: the practice's.
    :param since: naive wall-clock time of the practice.
    :param until: the same; None for no end.
    :param due: the instant from which on lists show all of it; None where it has passed, or there is no end.
    """

    selection: Selection
    timezones: tuple[str, ...]
    since: datetime
    until: datetime | None
    due: datetime | None

    @classmethod
    def of(
        cls,
        selection: Selection,
        *,
        since: object,
        until: object,
        timezones: Callable[[], tuple[str, ...]],
        now: datetime,
    ) -> ExplicitWindow:
        """Check the times that the sensor was given.

        :param timezones: returns the practice's zones, for which the API may be called.
        :raises InvalidArgumentError: it is no window, or lies in the future.
        """
        where, lookback = selection.incremental_list.operation_id, selection.lookback
        begins = _moment(where, "since", since)
        ends = None if until is None else _moment(where, "until", until)
        zones = timezones()
        start, end = first_start(begins, zones), None if ends is None else first_start(ends, zones)
        assert start is not None  # noqa: S101 - it was checked above
        if _instant(begins, zones, latest=False) > now + lookback:
            raise InvalidArgumentError(f"{where}: since is in the future, where nothing has changed yet")
        if ends is None:
            return cls(selection, zones, start, None, None)
        if begins == ends or _instant(ends, zones, latest=True) <= _instant(begins, zones, latest=False):
            raise InvalidArgumentError(
                f"{where}: until is not after since, so that nothing lies between them. A DAG whose timetable has no "
                "data interval (such as a cron schedule by default) has the same time at both ends: leave since and "
                "until out, or give the DAG a CronDataIntervalTimetable"
            )
        due = _instant(ends, zones, latest=True) + lookback
        return cls(selection, zones, start, end, due if due > now else None)

    def poll(self, drchrono: DrChronoClient, deliver: Deliver, judge: Judge = trusting) -> tuple[bool, Any]:
        """Read the window; return whether it is complete, and what ``deliver`` made of it.

        :param judge: says whether a read may hide records.

        A window with an end is complete when its end has passed, also if nothing changed in it. Without an end it is
        complete as soon as something has changed.
        """
        if self.due is not None:
            return False, None
        records = self._records(drchrono, judge)
        if self.until is not None:
            return True, deliver(records)
        first = next(records, None)
        return (False, None) if first is None else (True, deliver(chain([first], records)))

    def _records(self, drchrono: DrChronoClient, judge: Judge) -> Iterator[Record]:
        selection = self.selection
        incremental_list = selection.incremental_list
        detector = ChangeDetector(incremental_list, "", Position.at_start(self.since), selection.change)

        records = read_closed_window(drchrono, detector, self.since, selection, self.timezones, judge=judge)
        return within(incremental_list, records, self.until, selection.change)


def _moment(where: str, argument: str, value: object) -> datetime:
    """Return a given time as a datetime, without a zone where it had none."""
    moment: object = value
    if isinstance(value, str):
        text = value.strip()
        if text in ("", "None"):
            raise InvalidArgumentError(
                f"{where}: {argument} is empty: a run that was triggered by hand or by an asset has no data interval; "
                "leave since and until out, and the sensor continues from its cursor"
            )
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            moment = None
    if isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    if not isinstance(moment, datetime):
        raise InvalidArgumentError(f"{where}: {argument} is no date or time in ISO 8601, such as 2026-01-31T08:00:00")
    return moment


def _instant(moment: datetime, zones: tuple[str, ...], *, latest: bool) -> datetime:
    """Return the first, or the last, instant at which a clock of the practice shows a time."""
    if moment.tzinfo is not None:
        return moment.astimezone(UTC)
    readings = [moment.replace(tzinfo=ZoneInfo(name), fold=fold).astimezone(UTC) for name in zones for fold in (0, 1)]
    return max(readings) if latest else min(readings)
