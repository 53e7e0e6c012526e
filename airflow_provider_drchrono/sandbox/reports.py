"""Answers that are worked out from other records: day sheets, and documents about a patient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from xml.sax.saxutils import escape

from airflow_provider_drchrono.sandbox.availability import number_in_query
from airflow_provider_drchrono.sandbox.moments import read_american_date
from airflow_provider_drchrono.sandbox.operations import Call, found
from airflow_provider_drchrono.sandbox.practice import Row
from airflow_provider_drchrono.sandbox.practice.charges import cents, dollars
from airflow_provider_drchrono.sandbox.wire import Json, Response, answer, bad_fields


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
    # Without the parameter, charges go by the day on which they were entered.
    name = "service_date" if call.request.argument("charges_date_type") == "scheduled_time" else "posted_date"
    return _narrowed(call, call.practice.table("line_items"), lambda row: first <= str(row[name] or "") <= last)


def _payments(call: Call) -> list[Row]:
    first, last = _span(call)
    return _narrowed(call, call.practice.table("patient_payments"), lambda row: first <= row["posted_date"] <= last)


def _narrowed(call: Call, rows: Iterable[Row], keep: Callable[[Row], bool]) -> list[Row]:
    patient, room = number_in_query(call, "patient_id"), number_in_query(call, "examroom_id")
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
    for each in call.operation.parameters:
        text = (call.request.argument(each.name) or "").strip()
        if text and each.enum and text not in map(str, each.enum):
            errors[each.name] = [f'"{text}" is not one of the available choices.']
    if errors:
        raise bad_fields(errors)
    return days["start_date"], days["end_date"]


BY_OPERATION: Mapping[str, Callable[[Call], Response]] = {
    "day_sheet_patient_payments_list": day_sheet_patient_payments,
    "daysheet_charges_list": day_sheet_charges,
    "daysheet_credits_list": day_sheet_credits,
    "daysheet_totals_list": day_sheet_totals,
    "patients_ccda": ccda,
    "patients_ccda_async": ccda_async,
    "patients_qrda1": qrda1,
}
