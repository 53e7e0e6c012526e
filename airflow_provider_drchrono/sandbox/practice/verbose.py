"""Works out verbose fields when they are asked for: the same record always gets the same ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_drchrono.sandbox.practice.blank import blank_value
from airflow_provider_drchrono.sandbox.practice.practice import Practice
from airflow_provider_drchrono.sandbox.practice.table import Row
from airflow_provider_drchrono.sandbox.practice.words import PAYERS, PROCEDURES

Elaborate = Callable[[Practice, Row], Row]


def _random(practice: Practice, row: Row) -> random.Random:
    return random.Random(f"{practice.options.seed}:verbose:{row['id']}")  # noqa: S311 - synthetic data


def _empty(practice: Practice, record: str, name: str) -> dict[str, Any]:
    fields = practice.catalog.record(record).fields[name].fields
    return {each.name: blank_value(each) for each in fields}


def _patient(practice: Practice, row: Row) -> Row:
    payer, name, state = PAYERS[row["id"] % len(PAYERS)]
    primary = _empty(practice, "Patient", "primary_insurance")
    if row["patient_payment_profile"] == "Insurance":
        primary |= {
            "insurance_company": name,
            "insurance_id_number": f"ID{row['id']}",
            "insurance_payer_id": payer,
            "insurance_plan_name": f"{name} Standard",
            "is_subscriber_the_patient": True,
            "subscriber_state": state,
        }
    others = ("auto_accident_insurance", "referring_doctor", "secondary_insurance", "tertiary_insurance")
    return {
        **{each: _empty(practice, "Patient", each) for each in (*others, "workers_comp_insurance")},
        "custom_demographics": [],
        "patient_flags": [],
        "patient_flags_attached": [],
        "primary_insurance": primary,
    }


def _visit(practice: Practice, row: Row) -> Row:
    rng = _random(practice, row)
    seen = row["status"] == "Complete"
    note = practice.refers("clinical_notes", row["id"])
    locked = bool((note["signee"] or {}).get("locked_by")) if note else seen
    vitals = _empty(practice, "Appointment", "vitals")
    if seen:
        vitals |= {
            "blood_pressure_1": rng.randrange(100, 150),
            "blood_pressure_2": rng.randrange(60, 95),
            "height": f"{rng.randrange(58, 76)}.00",
            "height_units": "inches",
            "pulse": rng.randrange(55, 100),
            "temperature": f"9{rng.randrange(7, 9)}.{rng.randrange(10, 99)}",
            "temperature_units": "f",
            "weight": f"{rng.randrange(110, 260)}.00",
            "weight_units": "lbs",
        }
    return {
        "clinical_note": {"locked": locked, "pdf": "", "updated_at": row["updated_at"]} if seen else None,
        "custom_fields": [],
        "custom_vitals": [],
        "extended_updated_at": row["updated_at"],
        "reminders": [],
        "status_transitions": [],
        "vitals": vitals,
    }


def _task(practice: Practice, row: Row) -> Row:
    table = practice.table("task_notes")
    notes = [note for note in table.rows.values() if note["task"] == row["id"]]
    return {
        "associated_items": [],
        "notes": [
            {name: str(value) if name == "created_by" else value for name, value in table.view(note).items()}
            for note in notes
        ],
    }


def _charge(practice: Practice, row: Row) -> Row:
    return {"description": next((text for code, text, _ in PROCEDURES if code == row["code"]), "")}


def _template(practice: Practice, row: Row) -> Row:
    fields = [
        each for each in practice.table("clinical_note_field_types") if each["clinical_note_template"] == row["id"]
    ]
    shown = ("allowed_values", "archived", "clinical_note_template", "data_type", "name", "required")
    return {"clinical_note_fields": [{name: each[name] for name in shown} for each in fields]}


def _office(practice: Practice, row: Row) -> Row:
    return {"online_timeslots": [{"day": day, "hour": 9, "minute": 0} for day in range(5)]}


def _slots(practice: Practice, row: Row) -> Row:
    return {"open_slots": [{"end": "09:30", "start": "09:00"}]}


def _allergy(practice: Practice, row: Row) -> Row:
    return {"description": row["notes"]}


def _audit(practice: Practice, row: Row) -> Row:
    return {"description": f"{row['action']} of {row['type']}"}


ELABORATE: Mapping[str, Elaborate] = {
    "allergies": _allergy,
    "appointment_templates": _slots,
    "appointments": _visit,
    "audit_log": _audit,
    "clinical_note_templates": _template,
    "line_items": _charge,
    "offices": _office,
    "patients": _patient,
    "tasks": _task,
}
"""By table: the verbose fields of a row."""
