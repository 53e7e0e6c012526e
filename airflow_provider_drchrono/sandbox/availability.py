"""Free time on the calendar of a doctor, an office or an exam room, and the days of a recurring visit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

from airflow_provider_drchrono.sandbox.moments import LONGEST_RANGE, read_date, read_range
from airflow_provider_drchrono.sandbox.operations import Call
from airflow_provider_drchrono.sandbox.practice import Row
from airflow_provider_drchrono.sandbox.practice.series import VIRTUAL, day_of, unlisted_days
from airflow_provider_drchrono.sandbox.schedule import CALLED_OFF
from airflow_provider_drchrono.sandbox.wire import TRUE, Response, answer, bad_fields, whole

SLOT_MINUTES = 30
DAY_MINUTES = 1440

Span = tuple[datetime, datetime]


def availability(call: Call) -> Response:
    """Answer when an office is open and its doctor or exam room is free, on a day or day by day.

    Each span of free time holds the visits of the wanted length that fit into it.
    """
    first, last, text = _days(call)
    minutes = number_in_query(call, "duration") or SLOT_MINUTES
    length = timedelta(minutes=min(minutes, DAY_MINUTES))
    office = _office(call)
    wanted = {name: number_in_query(call, name) for name in ("doctor", "exam_room")}
    busy = _busy(call, office, wanted)
    head = {"office": office["id"], **{name: value for name, value in wanted.items() if value}, "duration": minutes}
    days = [
        {"date": day.isoformat(), "open_slots": _slots(office, day, length, busy)}
        for day in map(date.fromordinal, range(first.toordinal(), last.toordinal() + 1))
    ]
    if text is None:
        return answer(200, head | days[0])
    return answer(200, {"date_range": text, "dates": days})


def recurring_instances(call: Call) -> Response:
    """Answer the days of a recurring visit as a bare array; a day that nobody has touched yet has no id."""
    base = call.request.argument("base_recurring_appointment")
    if not base:
        raise bad_fields({"base_recurring_appointment": ["This field is required."]})
    days: dict[str, str] = {}
    try:
        for name in ("start_date", "end_date"):
            text = call.request.argument(name)
            days[name] = read_date(text) if text else ""
    except ValueError as problem:
        raise bad_fields({name: [str(problem)]}) from None
    table = call.practice.table("appointments")
    series = call.practice.refers("appointments", base)
    if series is None:
        raise bad_fields({"base_recurring_appointment": [f'Invalid pk "{base}" - object does not exist.']})
    known = [row for row in table.rows.values() if base in (row.get("base_recurring_appointment"), row["id"])]
    known += [day_of(series, day) for day in unlisted_days(series, days["end_date"])]
    found = [
        row
        for row in known
        if not row["deleted_flag"]
        and days["start_date"] <= row["scheduled_time"][:10] <= (days["end_date"] or "9999-12-31")
    ]
    verbose = (call.request.argument("verbose") or "").lower() in TRUE
    chosen = {name for name in (call.request.argument("fields") or "").split(",") if name}
    shown = [
        table.view(row, verbose=verbose) | ({"id": None} if row.get(VIRTUAL) else {})
        for row in sorted(found, key=lambda row: str(row["scheduled_time"]))
    ]
    return answer(200, [{name: row[name] for name in row if not chosen or name in chosen} for row in shown])


def number_in_query(call: Call, name: str) -> int | None:
    """Return a whole number of the query, or None when it is not given.

    :raises Refusal: 400 for anything else.
    """
    text = call.request.argument(name)
    if not text:
        return None
    number = whole(text)
    if number is None or number < 0:
        raise bad_fields({name: ["Enter a whole number."]})
    return number


def _days(call: Call) -> tuple[date, date, str | None]:
    text, span = call.request.argument("date"), call.request.argument("date_range")
    try:
        if span:
            first, last, days = read_range(span)
            if days > LONGEST_RANGE:
                raise ValueError(f"A range may span {LONGEST_RANGE} days at most.")
            return date.fromisoformat(first), date.fromisoformat(last), span
        day = date.fromisoformat(read_date(text)) if text else call.practice.clock.local().date()
    except ValueError as problem:
        raise bad_fields({"date_range" if span else "date": [str(problem)]}) from None
    return day, day, None


def _office(call: Call) -> Row:
    offices = call.practice.table("offices")
    wanted = number_in_query(call, "office")
    if wanted is None:
        return next(iter(offices))
    if wanted not in offices:
        raise bad_fields({"office": [f'Invalid pk "{wanted}" - object does not exist.']})
    return offices[wanted]


def _busy(call: Call, office: Row, wanted: Mapping[str, int | None]) -> list[list[Span]]:
    """Return the taken time of each doctor or room of which one has to be free."""
    doctor, room = wanted["doctor"], wanted["exam_room"]
    rooms = [each["index"] for each in office["exam_rooms"]] if room is None else [room]
    visits = [
        row
        for row in call.practice.table("appointments")
        if not row["deleted_flag"] and row["status"] not in CALLED_OFF and row["scheduled_time"]
    ]
    blocks = [row for row in call.practice.table("schedule_blocks") if row["start_time"] and row["end_time"]]
    if doctor is not None:
        taken = [_of_visit(row) for row in visits if row["doctor"] == doctor]
        taken += [_of_block(row) for row in blocks if row["provider"] == doctor]
        if room is not None:
            taken += [_of_visit(row) for row in visits if (row["office"], row["exam_room"]) == (office["id"], room)]
        return [taken]
    in_office = [row for row in visits if row["office"] == office["id"]]
    return [[_of_visit(row) for row in in_office if row["exam_room"] == each] for each in rooms]


def _of_visit(row: Row) -> Span:
    start = datetime.fromisoformat(row["scheduled_time"])
    # Nothing ends after the last day that there is.
    minutes = min(row["duration"] or SLOT_MINUTES, (datetime.max - start) // timedelta(minutes=1))
    return start, start + timedelta(minutes=minutes)


def _of_block(row: Row) -> Span:
    return datetime.fromisoformat(row["start_time"]), datetime.fromisoformat(row["end_time"])


def _slots(office: Row, day: date, length: timedelta, busy: Iterable[list[Span]]) -> list[dict[str, Any]]:
    if day.weekday() >= 5:
        return []
    opening, closing = _into_day(office["start_time"]), _into_day(office["end_time"])
    midnight = datetime.combine(day, time())
    free: set[timedelta] = set()
    for taken in busy:
        free |= _begins(midnight, opening, closing, length, taken)
    return [
        {
            "start": (midnight + run[0]).isoformat(),
            "end": _at(midnight, run[-1] + length),
            "availability": [
                {"start": (midnight + begin).isoformat(), "end": _at(midnight, begin + length)} for begin in run
            ],
        }
        for run in _runs(sorted(free), length)
    ]


def _begins(
    midnight: datetime, start: timedelta, closing: timedelta, length: timedelta, taken: list[Span]
) -> set[timedelta]:
    """Return when a visit can begin, from opening to closing, one after the other."""
    spans = [(begun - midnight, ended - midnight) for begun, ended in taken]
    begins = set()
    while start + length <= closing:
        if all(start + length <= begun or start >= ended for begun, ended in spans):
            begins.add(start)
        start += length
    return begins


def _runs(begins: list[timedelta], length: timedelta) -> list[list[timedelta]]:
    runs: list[list[timedelta]] = []
    for begin in begins:
        if runs and runs[-1][-1] + length == begin:
            runs[-1].append(begin)
        else:
            runs.append([begin])
    return runs


def _at(midnight: datetime, into_day: timedelta) -> str:
    """Return a moment of a day, of the last day that there is too, which has no midnight after it."""
    return (midnight + min(into_day, timedelta(hours=23, minutes=59, seconds=59))).isoformat()


def _into_day(text: str | None) -> timedelta:
    """Return how far into the day a time is; 24:00 is its end."""
    hours, _, rest = (text or "00:00").partition(":")
    return timedelta(hours=int(hours), minutes=int(rest[:2] or 0))


BY_OPERATION: Mapping[str, Callable[[Call], Response]] = {
    "availability": availability,
    "recurring_appointment_instances_list": recurring_instances,
}
