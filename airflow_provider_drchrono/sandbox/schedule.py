"""Refuses visits and breaks that overlap others on the doctor's calendar, unless the caller allows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_drchrono.catalog import Operation
from airflow_provider_drchrono.sandbox.practice import Practice, Row
from airflow_provider_drchrono.sandbox.wire import detail

CALLED_OFF = frozenset({"Cancelled", "No Show", "Rescheduled"})
"""Statuses of visits that take no time of the doctor's."""

USUAL_MINUTES = 30
Span = tuple[str, str]


def refuse_overlap(
    practice: Practice, operation: Operation, several: Sequence[Mapping[str, Any]], before: Row | None
) -> None:
    """Refuse a write whose visits overlap visits, breaks or blocks of the same doctor, or each other.

    :param several: the new values of the visits.
    :param before: the visit that is changed; checked only when its time, length or doctor changes.
    :raises Refusal: 409.
    """
    conflict = operation.conflict
    if conflict is None or conflict.meaning != "overlap":
        return
    wanted: list[tuple[Any, Span]] = []
    for values in several:
        row = {**(before or {}), **values}
        moved = before is None or any(
            row.get(name) != before.get(name) for name in ("scheduled_time", "duration", "doctor")
        )
        if values.get(conflict.remedy or "") or not moved or row.get("status") in CALLED_OFF:
            continue
        doctor, span = row.get("doctor"), span_of(row, practice)
        if any(doctor == other and _overlap(span, theirs) for other, theirs in wanted) or any(
            _overlap(span, theirs) for theirs in taken(practice, doctor, except_for=before and before["id"])
        ):
            raise detail(409, "Scheduled time overlaps with an existing appointment")
        wanted.append((doctor, span))


def taken(practice: Practice, doctor: Any, *, except_for: Any = None) -> Iterator[Span]:
    """Yield the spans of time of a doctor that visits, breaks and blocks take."""
    for row in practice.table("appointments"):
        free = row.get("deleted_flag") or row.get("status") in CALLED_OFF or row["id"] == except_for
        if row["doctor"] == doctor and not free and row["scheduled_time"]:
            yield span_of(row)
    for row in practice.table("schedule_blocks"):
        if row["provider"] == doctor and row["start_time"] and row["end_time"]:
            yield row["start_time"], row["end_time"]


def span_of(row: Mapping[str, Any], practice: Practice | None = None) -> Span:
    """Return begin and end of a visit, as the API writes times.

    :param practice: looked up for the length that the visit's profile brings, when it names none itself.
    """
    profile = practice.refers("appointment_profiles", row.get("profile")) if practice else None
    minutes = row.get("duration") or (profile or {}).get("duration") or USUAL_MINUTES
    begin = datetime.fromisoformat(row["scheduled_time"])
    try:
        end = begin + timedelta(minutes=minutes)
    except OverflowError:
        end = datetime.max
    return begin.isoformat(), end.replace(microsecond=0).isoformat()


def _overlap(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] < one[1]
