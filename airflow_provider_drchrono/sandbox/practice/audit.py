"""The audit log: a row for each record that is made, changed or removed, whoever does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_drchrono.sandbox.practice.table import Row, Table

if TYPE_CHECKING:
    from airflow_provider_drchrono.sandbox.practice.practice import Practice

TYPES: Mapping[str, str] = {
    "allergies": "Allergy",
    "appointment_profiles": "Appointment Profile",
    "appointment_templates": "Appointment Template",
    "appointments": "Appointment",
    "billing_profiles": "Billing Profile",
    "clinical_note_field_values": "Clinical Note",
    "clinical_notes": "Clinical Note",
    "comm_logs": "Phone Log",
    "consent_forms": "Medical Form",
    "custom_vitals": "Vital Flowsheet",
    "documents": "Uploaded Documents",
    "fee_schedules": "Fee Schedule",
    "fee_schedules_v2": "Fee Schedule",
    "lab_documents": "Lab Order",
    "lab_orders": "Lab Order",
    "lab_results": "Lab Order",
    "lab_tests": "Lab Order",
    "medications": "Medication",
    "offices": "Office",
    "patient_authorizations": "Insurance Authorization",
    "patient_flag_types": "Patient Flag",
    "patient_vaccine_records": "Immunization",
    "patients": "Chart",
    "prescription_messages": "eRx",
    "problems": "Problem",
    "signed_consent_forms": "Medical Form",
    "staff": "Account",
    "telehealth_appointments": "Telehealth",
    "user_groups": "Account",
    "users": "Account",
    "yellow_notepad": "Clinical Note",
}
"""What the log calls a kind of record. The contract lists the words and not what falls under each: this is a guess."""

OTHER = "API"
"""What a record is called that none of the contract's words fits."""

UNLOGGED = frozenset({"audit_log", "line_item_deletions", "patient_payment_log"})
"""Logs do not log themselves."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who changes the practice, as the log names him.

    :param user: user name; the first user of the practice when empty.
    :param page: page of the web application, or path of the API.
    """

    user: str = ""
    page: str = "/"
    address: str = "192.0.2.10"


def entry(practice: Practice, author: Author, table: Table, action: str, row: Row, before: Row | None) -> Row:
    """Return the row of the log for one change.

    :param action: ``Create``, ``Update`` or ``Delete``.
    :param before: the row as it was, for an update.
    """
    user = next((each for each in practice.table("users") if each["username"] == author.user), None)
    user = user or next(iter(practice.table("users")), {})
    visit = _visit_of(table, row)
    patient = practice.refers("patients", row["id"] if table.name == "patients" else row.get("patient"))
    changed = [
        name
        for name, value in row.items()
        if before is not None and not name.startswith("_") and name != table.changed_field and value != before.get(name)
    ]
    return {
        "action": action,
        "appointment_id": visit,
        "doctor_id": user.get("doctor"),
        "field": changed[0] if len(changed) == 1 else "",
        "ip_address": author.address,
        "name_of_user": user.get("username", ""),
        "page": author.page,
        "patient": name_of(patient),
        "type": TYPES.get(table.name, OTHER),
        "user_id": int(user["id"]) if user else None,
        "_patient": patient and patient["id"],
    }


def name_of(patient: Mapping[str, Any] | None) -> str:
    """Return a patient's name as the log writes it; empty for no patient."""
    parts = (patient.get("first_name"), patient.get("last_name")) if patient else ()
    return " ".join(filter(None, parts))


def _visit_of(table: Table, row: Row) -> int | None:
    value = row.get("id") if table.name == "appointments" else row.get("appointment", row.get("appointment_id"))
    text = str(value or "")
    # The field holds a number, so one day of a series is logged under its series.
    number = text.rpartition("_")[2]
    return int(number) if number.isdigit() else None
