"""What the API works out when a record is written: sums, owners taken from the visit, traces left elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from airflow_provider_drchrono.sandbox.practice.charges import balance
from airflow_provider_drchrono.sandbox.practice.people import chart_id
from airflow_provider_drchrono.sandbox.practice.practice import Practice
from airflow_provider_drchrono.sandbox.practice.series import VIRTUAL, follow
from airflow_provider_drchrono.sandbox.practice.table import Row
from airflow_provider_drchrono.sandbox.practice.words import PROCEDURES

Rule = Callable[[Practice, Row, Row | None], None]

AMOUNTS = (
    "adjustment", "allowed", "balance_ins", "expected_reimbursement", "ins1_paid", "ins2_paid", "ins3_paid", "pt_paid",
)  # fmt: skip


def _charge(practice: Practice, row: Row, before: Row | None) -> None:
    visit = practice.refers("appointments", row["appointment"]) or {}
    row |= {"patient": visit.get("patient"), "doctor": visit.get("doctor")}
    row["service_date"] = str(visit.get("scheduled_time", ""))[:10] or None
    known = {code: (text, price) for code, text, price in PROCEDURES}
    text, price = known.get(row["code"], ("", 0))
    row["description"] = text
    row["price"] = row["price"] if row["price"] is not None else f"{price / 100:.2f}"
    row["quantity"] = row["quantity"] or "1.00"
    for name in AMOUNTS:
        row[name] = row[name] if row[name] is not None else "0.00"
    balance(row)


def _visit(practice: Practice, row: Row, before: Row | None) -> None:
    row["created_by"] = row["created_by"] or "api"
    if before is None:
        profile = practice.refers("appointment_profiles", row["profile"]) or {}
        for name in ("color", "duration", "reason"):
            row[name] = row[name] or profile.get(name) or row[name]
    row["duration"] = row["duration"] or 30
    row["allow_overlapping"] = None
    row[VIRTUAL] = False
    status = practice.catalog.record("Appointment").fields["status"]
    if before is None or before["status"] != row["status"]:
        row["custom_status"] = "" if row["status"] in (*status.enum, None) else row["status"]
    if before is None or before["status"] == row["status"]:
        return
    step = {
        "appointment": row["id"],
        "datetime": row["updated_at"],
        "from_status": before["status"],
        "to_status": row["status"],
    }
    row["status_transitions"] = [*before.get("status_transitions", ()), step]


def _patient(practice: Practice, row: Row, before: Row | None) -> None:
    row["chart_id"] = row["chart_id"] or chart_id(row["first_name"], row["last_name"], row["id"])
    row["patient_status"] = row["patient_status"] or "A"


def _payment(practice: Practice, row: Row, before: Row | None) -> None:
    entry = {name: row[name] for name in ("amount", "doctor", "patient", "payment_method")}
    entry |= {"action": "U" if before else "C", "source": "API", "created_by": str(_first_user(practice))}
    entry["appointment"] = None if row["appointment"] is None else str(row["appointment"])
    practice.create("patient_payment_log", entry)


def _task_note(practice: Practice, row: Row, before: Row | None) -> None:
    row["created_by"] = row["created_by"] or _first_user(practice)


def _task(practice: Practice, row: Row, before: Row | None) -> None:
    row["created_by"] = row["created_by"] or _first_user(practice)
    row["assigned_by"] = row["assigned_by"] or row["created_by"]


def _result(practice: Practice, row: Row, before: Row | None) -> None:
    test = practice.refers("lab_tests", row["lab_test"]) or {}
    row["lab_order"] = test.get("lab_order")


def _telehealth(practice: Practice, row: Row, before: Row | None) -> None:
    row["telehealth_url"] = f"https://telehealth.example.com/room/{row['appointment']}"
    visit = practice.refers("appointments", row["appointment"]) or {}
    row["duration"] = visit.get("duration")


def _first_user(practice: Practice) -> int:
    return int(next(iter(practice.table("users").keys)))


RULES: Mapping[str, Rule] = {
    "appointments": _visit,
    "lab_results": _result,
    "line_items": _charge,
    "patient_payments": _payment,
    "patients": _patient,
    "task_notes": _task_note,
    "tasks": _task,
    "telehealth_appointments": _telehealth,
}
"""By table: completes a row that is about to be stored."""

EFFECTS: Mapping[str, Rule] = {"appointments": follow}
"""By table: changes other rows once a row is stored."""
