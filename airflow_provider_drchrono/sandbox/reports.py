"""Answers that are worked out from other records: day sheets, free time, series, and documents about a patient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any
from xml.sax.saxutils import escape

from airflow_provider_drchrono.sandbox.moments import read_american_date, read_date, read_range
from airflow_provider_drchrono.sandbox.operations import Call, found
from airflow_provider_drchrono.sandbox.practice import Row
from airflow_provider_drchrono.sandbox.practice.charges import cents, dollars
from airflow_provider_drchrono.sandbox.wire import Json, Response, answer, bad_fields

SLOT_MINUTES = 30

SERIES = timedelta(weeks=12)
"""How much of a series is listed unless an end is given."""


def day_sheet_charges(call: Call) -> Response:
    """Answer the charges of a span of days."""
    rows = _charges(call)
    shown = ("id", "appointment", "patient", "doctor", "code", "service_date", "posted_date", "billed", "adjustment")
    return _sheet([{name: row[name] for name in shown} for row in rows], total=_sum(rows, "billed"))


def day_sheet_credits(call: Call) -> Response:
    """Answer what payers paid in a span of days."""
    first, last = _span(call)
    rows = _narrowed(call, call.practice.table("transactions"), lambda row: first <= row["posted_date"] <= last)
    shown = ("id", "line_item", "appointment", "patient", "posted_date", "ins_paid", "adjustment", "trace_number")
    return _sheet([{name: row[name] for name in shown} for row in rows], total=_sum(rows, "ins_paid"))


def day_sheet_patient_payments(call: Call) -> Response:
    """Answer what patients paid in a span of days."""
    rows = _payments(call)
    shown = ("id", "appointment", "patient", "doctor", "posted_date", "payment_method", "amount")
    return _sheet([{name: row[name] for name in shown} for row in rows], total=_sum(rows, "amount"))


def day_sheet_totals(call: Call) -> Response:
    """Answer the sums of a span of days."""
    charges, payments = _charges(call), _payments(call)
    return answer(
        200,
        {
            "charges": _sum(charges, "billed"),
            "adjustments": _sum(charges, "adjustment"),
            "insurance_payments": _sum(charges, "ins1_paid"),
            "patient_payments": _sum(payments, "amount"),
            "balance": _sum(charges, "balance_total"),
            "count": len(charges),
        },
    )


def availability(call: Call) -> Response:
    """Answer the free time of an office, less what keeps the doctor or the room busy: on a day, or day by day."""
    first, last = _days(call)
    length = timedelta(minutes=_whole(call, "duration") or SLOT_MINUTES)
    asked = {name: number for name in ("doctor", "exam_room") if (number := _whole(call, name)) is not None}
    offices = call.practice.table("offices")
    office = call.practice.refers("offices", _whole(call, "office") or next(iter(offices.keys), None))
    if office is None:
        raise bad_fields({"office": ["There is no such office."]})
    taken = _taken(call, first, last, asked or {"office": office["id"]})
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    open_slots = {day: _open_slots(office, day, length, taken.get(day, [])) for day in days}
    if span := call.request.argument("date_range"):
        dates = [{"date": day.isoformat(), "open_slots": slots} for day, slots in open_slots.items()]
        return answer(200, {"date_range": span, "dates": dates})
    minutes = int(length.total_seconds()) // 60
    of_day = {"date": first.isoformat(), "office": office["id"], **asked, "duration": minutes}
    return answer(200, of_day | {"open_slots": open_slots[first]})


def recurring_instances(call: Call) -> Response:
    """Answer the days of a recurring visit as a bare array: the stored visit, and days worked out, without an id."""
    base = call.practice.refers("appointments", _whole(call, "base_recurring_appointment"))
    if base is None:
        raise bad_fields({"base_recurring_appointment": ["There is no such appointment."]})
    begin = datetime.fromisoformat(base["scheduled_time"])
    first, last = (_day_or(call, name, usual) for name, usual in (("start_date", begin), ("end_date", begin + SERIES)))
    weeks = timedelta(weeks=base.get("recurs_every") or 1)
    rows = []
    moment = begin
    while moment.date() <= last and (moment == begin or base.get("recurring_appointment")):
        if first <= moment.date():
            stored = moment == begin
            row = base if stored else base | {"id": None, "scheduled_time": moment.isoformat()}
            rows.append(call.practice.table("appointments").view(row, verbose=call.verbose))
        moment += weeks
    if names := call.request.argument("fields"):
        rows = [{name: row[name] for name in names.split(",") if name in row} for row in rows]
    return answer(200, rows)


def ccda(call: Call) -> Response:
    """Answer a continuity-of-care document."""
    return _document(call, "ClinicalDocument", "2.16.840.1.113883.10.20.22.1.2")


def ccda_async(call: Call) -> Response:
    """Answer that the document is on its way, with the link where it is going to be."""
    row = found(call)
    link = f"{call.request.origin}/api/patients/{row['id']}/ccda"
    return answer(200, {"status": "In progress", "url": link})


def qrda1(call: Call) -> Response:
    """Answer a quality-reporting document."""
    return _document(call, "ClinicalDocument", "2.16.840.1.113883.10.20.24.1.1")


def _document(call: Call, tag: str, template: str) -> Response:
    row = found(call)
    name = f"<given>{escape(row['first_name'] or '')}</given><family>{escape(row['last_name'] or '')}</family>"
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?><{tag} xmlns="urn:hl7-org:v3"><templateId root="{template}"/>'
        f'<title>Synthetic document of the sandbox</title><recordTarget><patientRole><id extension="{row["id"]}"/>'
        f"<patient><name>{name}</name></patient></patientRole></recordTarget></{tag}>"
    )
    return Response(200, text.encode(), {"content-type": "application/xml"})


def _sheet(rows: list[dict[str, Any]], *, total: str) -> Response:
    return answer(200, {"data": rows, "count": len(rows), "total": total})


def _charges(call: Call) -> list[Row]:
    first, last = _span(call)
    name = "posted_date" if call.request.argument("charges_date_type") == "posted_date" else "service_date"
    return _narrowed(call, call.practice.table("line_items"), lambda row: first <= str(row[name] or "") <= last)


def _payments(call: Call) -> list[Row]:
    first, last = _span(call)
    return _narrowed(call, call.practice.table("patient_payments"), lambda row: first <= row["posted_date"] <= last)


def _narrowed(call: Call, rows: Iterable[Row], keep: Callable[[Row], bool]) -> list[Row]:
    patient, room = _whole(call, "patient_id"), _whole(call, "examroom_id")
    office = call.request.argument("office_id") or call.request.argument("office")
    kept = [row for row in rows if keep(row) and patient in (None, row["patient"])]
    if room is None and not office:
        return kept
    visits = [call.practice.refers("appointments", row["appointment"]) or {} for row in kept]
    return [
        row
        for row, visit in zip(kept, visits, strict=True)
        if room in (None, visit.get("exam_room")) and (not office or str(visit.get("office")) == office)
    ]


def _sum(rows: Iterable[Row], name: str) -> str:
    return dollars(sum(cents(row[name]) for row in rows))


def _span(call: Call) -> tuple[str, str]:
    errors: dict[str, Json] = {}
    days = {"start_date": "", "end_date": ""}
    for name in days:
        text = call.request.argument(name)
        try:
            days[name] = read_american_date(text) if text else ""
            if not text:
                errors[name] = ["This field is required."]
        except ValueError as problem:
            errors[name] = [str(problem)]
    if errors:
        raise bad_fields(errors)
    return days["start_date"], days["end_date"]


def _days(call: Call) -> tuple[date, date]:
    text, span = call.request.argument("date"), call.request.argument("date_range")
    try:
        if span:
            first, last, _ = read_range(span)
            return date.fromisoformat(first), date.fromisoformat(last)
        day = date.fromisoformat(read_date(text)) if text else call.practice.clock.local().date()
    except ValueError as problem:
        raise bad_fields({"date_range" if span else "date": [str(problem)]}) from None
    return day, day


def _whole(call: Call, name: str) -> int | None:
    text = call.request.argument(name)
    if not text:
        return None
    if not text.isdigit():
        raise bad_fields({name: ["Enter a whole number."]})
    return int(text)


def _day_or(call: Call, name: str, usual: datetime) -> date:
    text = call.request.argument(name)
    try:
        return date.fromisoformat(read_date(text)) if text else usual.date()
    except ValueError as problem:
        raise bad_fields({name: [str(problem)]}) from None


def _taken(
    call: Call, first: date, last: date, wanted: Mapping[str, int]
) -> dict[date, list[tuple[datetime, datetime]]]:
    taken: dict[date, list[tuple[datetime, datetime]]] = {}
    for row in call.practice.table("appointments"):
        busy = all(row[name] == value for name, value in wanted.items())
        if not busy or row["deleted_flag"] or not first.isoformat() <= row["scheduled_time"][:10] <= last.isoformat():
            continue
        start = datetime.fromisoformat(row["scheduled_time"])
        taken.setdefault(start.date(), []).append((start, start + timedelta(minutes=row["duration"] or SLOT_MINUTES)))
    return taken


def _open_slots(
    office: Row, day: date, length: timedelta, taken: list[tuple[datetime, datetime]]
) -> list[dict[str, Any]]:
    """Return the stretches of a working day that nothing takes, each with the visits that fit in."""
    if day.weekday() > 4:
        return []
    start = datetime.fromisoformat(f"{day}T{office['start_time']}")
    closing = datetime.fromisoformat(f"{day}T{office['end_time']}")
    stretches = []
    for begun, ended in [*sorted(taken), (closing, closing)]:
        if start + length <= min(begun, closing):
            stretches.append((start, min(begun, closing)))
        start = max(start, ended)
    return [
        {"start": begin.isoformat(), "end": end.isoformat(), "availability": _fitting(begin, end, length)}
        for begin, end in stretches
    ]


def _fitting(begin: datetime, end: datetime, length: timedelta) -> list[dict[str, str]]:
    count = int((end - begin) / length)
    starts = [begin + number * length for number in range(count)]
    return [{"start": start.isoformat(), "end": (start + length).isoformat()} for start in starts]


BY_OPERATION: Mapping[str, Callable[[Call], Response]] = {
    "availability": availability,
    "day_sheet_patient_payments_list": day_sheet_patient_payments,
    "daysheet_charges_list": day_sheet_charges,
    "daysheet_credits_list": day_sheet_credits,
    "daysheet_totals_list": day_sheet_totals,
    "patients_ccda": ccda,
    "patients_ccda_async": ccda_async,
    "patients_qrda1": qrda1,
    "recurring_appointment_instances_list": recurring_instances,
}
