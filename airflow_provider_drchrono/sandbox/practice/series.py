"""Recurring visits: the days of a series, which have ids of their own and are worked out until one is touched."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_provider_drchrono.sandbox.practice.table import Row

if TYPE_CHECKING:
    from airflow_provider_drchrono.sandbox.practice.practice import Practice

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
OCCURRENCE = re.compile(r"(\d{4}-\d{2}-\d{2})_(\d+)")
"""The id of one day of a recurring visit."""

HORIZON = timedelta(days=90)
"""How far ahead a series without an end is worked out."""

MOST_DAYS = 100
VIRTUAL = "_virtual"
"""Marks a day of a series that is worked out and that nobody has touched yet."""


def days_of(row: Row) -> list[date]:
    """Return the days on which a series takes place after its first one; none for a visit that names no weekdays."""
    weekdays = {WEEKDAYS.index(name) for name in row.get("recurring_days") or () if name in WEEKDAYS}
    try:
        first = datetime.fromisoformat(row["scheduled_time"]).date()
        end = date.fromisoformat(row["recur_end_date"]) if row.get("recur_end_date") else first + HORIZON
        weeks = max(1, int(row.get("recurs_every") or 1))
    except (TypeError, ValueError, OverflowError):
        return []
    if not row.get("recurring_appointment") or not weekdays:
        return []
    found: list[date] = []
    monday = first.toordinal() - first.weekday()
    for number in range(first.toordinal() + 1, min(end.toordinal(), first.toordinal() + 3660) + 1):
        if (number - monday) // 7 % weeks == 0 and (number - monday) % 7 in weekdays:
            found.append(date.fromordinal(number))
            if len(found) == MOST_DAYS:
                break
    return found


def unlisted_days(row: Row, last: str) -> list[date]:
    """Return the days of a series that names no weekdays: it is taken for a weekly one, and lists do not show its days.

    :param last: the day to end with, as ``YYYY-MM-DD``; empty for the end of the series.
    """
    if row.get("recurring_days"):
        return []
    weekday = WEEKDAYS[datetime.fromisoformat(row["scheduled_time"]).weekday()]
    return days_of(row | {"recurring_days": [weekday], "recur_end_date": last or row.get("recur_end_date")})


def day_of(base: Row, day: date | str) -> Row:
    """Return one day of a series as a row of its own."""
    number = f"{base['id']}_{str(day).replace('-', '')}"
    return base | {
        "base_recurring_appointment": str(base["id"]),
        "id": f"{day}_{base['id']}",
        "recurrence_instance_key": number,
        "scheduled_time": f"{day}{base['scheduled_time'][10:]}",
        "status": "",
        VIRTUAL: True,
    }


def follow(practice: Practice, row: Row, before: Row | None) -> None:
    """Work the days of a series out anew when its base is made or changed; days that were touched stay."""
    if "_" in str(row["id"]) or not (row.get("recurring_appointment") or (before or {}).get("recurring_appointment")):
        return
    table = practice.table("appointments")
    days = {key: each for key, each in table.rows.items() if each.get("base_recurring_appointment") == str(row["id"])}
    touched = {each["id"] for each in days.values() if not each.get(VIRTUAL)}
    for key, each in days.items():
        if each.get(VIRTUAL):
            table.remove(key)
    for day in () if row.get("deleted_flag") else days_of(row):
        occurrence = day_of(row, day)
        if occurrence["id"] not in touched:
            table.put(table.take_key(), occurrence)
