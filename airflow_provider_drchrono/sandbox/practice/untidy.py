"""Makes the seeded practice one as practices are: odd names and amounts, breaks, series, deleted visits, long notes.

How many records there are stays as it was asked for. The odd ones take the places of others in the second half of
their table, and never the last place; a small practice has room for the first of them only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_drchrono.sandbox.practice.charges import balance
from airflow_provider_drchrono.sandbox.practice.people import chart_id
from airflow_provider_drchrono.sandbox.practice.practice import Practice
from airflow_provider_drchrono.sandbox.practice.series import VIRTUAL, WEEKDAYS, day_of, days_of
from airflow_provider_drchrono.sandbox.practice.table import Key, Row, Table

CUSTOM_STATUS = "Ready for doctor"
GONE_OFFICE = 999_999
"""Added to an office's id, this is the id of one that is no longer there."""

TWIN: Row = {"address": "22 Specimen Way", "date_of_birth": "2011-11-11", "last_name": "Gemini"}
PATIENTS: Sequence[Row] = (
    {"email": ""},
    {"date_of_birth": None},
    {"first_name": ""},
    TWIN | {"first_name": "Castor", "gender": "Male"},
    TWIN | {"first_name": "Pollux", "gender": "Male"},
    {"first_name": "Zoë", "last_name": "Šimůnková"},
    {"first_name": "Siobhán", "last_name": "O'Sample"},
    {"first_name": "D\u2019Arcy", "last_name": "Ng"},
    {"first_name": "Anne-Marie", "last_name": "Smythe-Specimen"},
    {"first_name": "Ada", "last_name": "Example", "nick_name": "Ada 🌼👩🏽‍🦱"},
    {"first_name": "ליאורה", "last_name": "דוגמה"},
    {"first_name": "نور", "last_name": "مثال"},
    {"cell_phone": "", "email": "", "home_phone": "", "address": "", "city": "", "state": "", "zip_code": ""},
)
"""What is odd about patients, one after the other."""

LONG = 20_000
HTML = "<p>Seen &amp; examined.<br/><b>No</b> change since &lt;last visit&gt;.</p>\n<ul><li>Synthetic</li></ul>"
BROKEN_LINES = 'First line\r\nsecond line\n\n\tindented, with "quotes", a comma; and a semicolon\rlast line'
NOTES: Mapping[str, str] = {
    "allergies": "notes",
    "claim_billing_notes": "text",
    "clinical_note_field_values": "value",
    "comm_logs": "message",
    "patient_messages": "body",
    "problems": "notes",
    "task_notes": "text",
}
"""Where people write at length: table and field."""

CHARGES: Sequence[Row] = (
    {"adjustment": "0.00", "allowed": "0.00", "expected_reimbursement": "0.00", "ins1_paid": "0.00", "price": "0.00"},
    {"denied_flag": False, "ins1_paid": "-45.00"},
    {"adjustment": "1234.56", "allowed": "123333.33", "ins1_paid": "98765.43", "price": "124567.89"},
    {"adjustment": "-12.50"},
    {"pt_paid": "1000.00"},
)
"""A charge of nothing, a payment that the payer took back, a large sum, an adjustment upwards, one paid too often."""

PAYMENTS: Sequence[Row] = (
    {"amount": "-25.00", "payment_transaction_type": "REF"},
    {"amount": "-5.00", "payment_transaction_type": "COR"},
    {"amount": "12345.67", "payment_transaction_type": ""},
    {"amount": "0.01", "payment_transaction_type": ""},
)


def upset_clinic(practice: Practice) -> None:
    """Let the last doctor have left, with his patients and visits still there."""
    doctors = practice.table("doctors")
    doctors[doctors.keys[-1]]["is_account_suspended"] = True


def upset_patients(practice: Practice) -> None:
    """Give patients names of all kinds, and leave out what is often missing."""
    table = practice.table("patients")
    for number, (key, odd) in enumerate(zip(_places(table), PATIENTS, strict=False)):
        row = table[key] | odd
        if row["email"] and "last_name" in odd:
            row["email"] = f"unusual.name.{number + 1}@example.com"
        row["chart_id"] = chart_id(row["first_name"], row["last_name"], int(row["chart_id"][-6:]))
        table.put(key, row)


def upset_visits(practice: Practice) -> None:
    """Add deleted visits beside those that were asked for, and make others breaks, series, overlapping, or stale."""
    table = practice.table("appointments")
    places = _places(table)
    if not places:
        return
    now = practice.clock.local()
    monday = (now + timedelta(days=7 - now.weekday())).replace(hour=0, minute=0, second=0)
    at = {name: (monday + timedelta(days=day, hours=hour)).isoformat() for name, day, hour in TIMES}
    break_ = {
        "appt_is_break": True, "icd10_codes": [], "patient": None, "payment_profile": "", "primary_insurer_name": "",
        "primary_insurance_id_number": "", "primary_insurer_payer_id": "", "profile": None, "status": "",
    }  # fmt: skip
    custom = {"custom_status": CUSTOM_STATUS, "scheduled_time": at["custom"], "status": CUSTOM_STATUS}
    changes: list[Row] = [
        break_ | {"duration": 60, "reason": "Lunch", "scheduled_time": at["lunch"]},
        custom,
        {},
        {},
        {"scheduled_time": at["custom"], "status": "Confirmed", "doctor": table[places[1 % len(places)]]["doctor"]},
        {"office": table[places[0]]["office"] + GONE_OFFICE},
        break_ | {"duration": 480, "reason": "", "scheduled_time": at["away"]},
        {"notes": HTML},
        {"notes": BROKEN_LINES, "reason": ""},
    ]
    for key, change in zip(places, changes, strict=False):
        table.put(key, table[key] | change)
    # The days of the series come last, as many as there is room for, but for one that has its place above.
    _series(table, [*places[2:4], *places[len(changes) :][:3]], at["series"])
    _deleted(practice, table)


TIMES = (("lunch", 1, 12), ("away", 4, 8), ("custom", 2, 10), ("series", 3, 9))
"""Day of next week and hour of the visits that lie ahead."""


def _series(table: Table, places: Sequence[Key], start: str) -> None:
    """Make a visit the base of a series, and others its days; the first of them has been touched already."""
    if len(places) < 2:
        return
    base = table[places[0]] | {
        "recur_end_date": (datetime.fromisoformat(start) + timedelta(weeks=len(places) - 1)).date().isoformat(),
        "recur_start_date": start[:10],
        "recurring_appointment": True,
        "recurring_days": [WEEKDAYS[datetime.fromisoformat(start).weekday()]],
        "recurs_every": 1,
        "scheduled_time": start,
        "status": "",
    }
    table.put(places[0], base | {"recurrence_instance_key": f"{base['id']}_{start[:10].replace('-', '')}"})
    for number, (key, day) in enumerate(zip(places[1:], days_of(base), strict=True)):
        occurrence = day_of(base, day)
        table.put(key, occurrence if number else occurrence | {"status": "Confirmed", VIRTUAL: False})


def _deleted(practice: Practice, table: Table) -> None:
    """Add deleted visits, and move what is there up, so that neither the first nor the last visit is one of them."""
    keys = list(table.keys)
    last = table[keys[-1]]
    for number in range(max(1, len(keys) // 50)):
        model = table[keys[number % (len(keys) // 2 + 1)]]
        key = keys[-1] if number == 0 else table.take_key()
        table.put(key, model | {"deleted_flag": True, "id": str(key), "status": "Cancelled"})
    key = table.take_key()
    table.put(key, last | {"id": str(key)})


def upset_charges(practice: Practice) -> None:
    """Make amounts negative, zero and large."""
    table = practice.table("line_items")
    for key, odd in zip(_places(table), CHARGES, strict=False):
        row = table[key] | odd
        balance(row)
        table.put(key, row)


def upset_payments(practice: Practice) -> None:
    """Give money back to patients; what the payer took back is said to be a reversal."""
    table, log = practice.table("patient_payments"), practice.table("patient_payment_log")
    for place, odd in zip(_places(table), PAYMENTS, strict=False):
        table.put(place, table[place] | odd)
    for row in practice.table("transactions").rows.values():
        if row["ins_paid"].startswith("-"):
            row["claim_status"] = "22"
    by_number: Mapping[Any, Row] = dict(zip(log.keys, table, strict=True)) if len(log) == len(table) else {}
    for key, payment in by_number.items():
        log.put(key, log[key] | {"amount": payment["amount"]})


def upset_notes(practice: Practice) -> None:
    """Write HTML, broken lines and long texts into notes, and leave every other clinical note unlocked."""
    long = ("Synthetic text that goes on and on. " * (LONG // 36 + 1))[:LONG]
    for name, field in NOTES.items():
        table = practice.table(name)
        for key, text in zip(_places(table), (HTML, BROKEN_LINES, long), strict=False):
            table.put(key, table[key] | {field: text})
    notes = practice.table("clinical_notes")
    for key in notes.keys[::2]:
        notes.put(key, notes[key] | {"signee": {"locked_by": "", "supervisor_locked_by": ""}})


def _places(table: Table) -> list[Key]:
    """Return the keys of the rows that may be odd."""
    return list(table.keys[len(table) // 2 : -1])
