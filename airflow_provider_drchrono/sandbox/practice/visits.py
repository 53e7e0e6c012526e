"""Seeds the calendar: visits spread over a year and a half of the past and three months ahead."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from airflow_provider_drchrono.sandbox.practice.clinic import EXAM_ROOMS, add, empty_row
from airflow_provider_drchrono.sandbox.practice.people import attend
from airflow_provider_drchrono.sandbox.practice.practice import Practice
from airflow_provider_drchrono.sandbox.practice.table import Row
from airflow_provider_drchrono.sandbox.practice.words import COLORS, DIAGNOSES, PAYERS, REASONS

DAYS_BACK, DAYS_AHEAD = 540, 90
PAST = ("Complete",) * 16 + ("No Show", "Cancelled", "Rescheduled", "Complete")
AHEAD = ("", "Confirmed", "Not Confirmed")
LENGTHS = (15, 30, 30, 45, 60)


def seed_visits(practice: Practice, rng: random.Random, now: datetime, count: int) -> None:
    """Add visits, in turn for each patient, at quarter hours of working days."""
    patients = [practice.table("patients")[key] for key in practice.table("patients").keys]
    if not patients:
        return
    base = empty_row(practice.table("appointments"))
    offices = list(practice.table("offices").keys)
    profiles = list(practice.table("appointment_profiles").keys)
    today = now.replace(hour=0, minute=0, second=0)
    rows = []
    for number in range(count):
        patient = patients[number % len(patients)]
        start = _slot(rng, today)
        past = start < now
        created, updated = _written(rng, start, now)
        payer, insurer, _ = PAYERS[patient["id"] % len(PAYERS)]
        insured = patient["patient_payment_profile"] == "Insurance"
        rows.append(
            base
            | {
                "billing_notes": [],
                "billing_status": "",
                "color": rng.choice(COLORS),
                "created_at": created,
                "created_by": "frontdesk",
                "doctor": patient["doctor"],
                "duration": rng.choice(LENGTHS),
                "exam_room": rng.randrange(1, len(EXAM_ROOMS) + 1),
                "icd10_codes": [rng.choice(DIAGNOSES)] if past else [],
                "icd9_codes": [],
                "ins1_status": "",
                "office": rng.choice(offices),
                "patient": patient["id"],
                "payment_profile": patient["patient_payment_profile"],
                "primary_insurance_id_number": f"ID{patient['id']}" if insured else "",
                "primary_insurer_name": insurer if insured else "",
                "primary_insurer_payer_id": payer if insured else "",
                "profile": rng.choice(profiles) if profiles else None,
                "reason": rng.choice(REASONS),
                "recurring_days": [],
                "scheduled_time": start.isoformat(),
                "status": rng.choice(PAST if past else AHEAD),
                "updated_at": updated,
            }
        )
        attend(patient, rows[-1]["scheduled_time"][:10], past=past)
    add(practice, "appointments", rows)


def past_visits(practice: Practice, now: datetime) -> list[Row]:
    """Return the visits of patients that have taken place; days of a series are not among them."""
    stamp = now.isoformat()
    return [row for row in practice.table("appointments") if row["scheduled_time"] < stamp and is_ordinary(row)]


def is_ordinary(row: Row) -> bool:
    """Tell whether an appointment is a visit of a patient with a number of its own, and not deleted."""
    return bool(row["patient"]) and str(row["id"]).isdigit() and not row["deleted_flag"]


def _slot(rng: random.Random, today: datetime) -> datetime:
    day = today + timedelta(days=rng.randrange(-DAYS_BACK, DAYS_AHEAD))
    weekend = max(0, day.weekday() - 4)
    return day + timedelta(days=-weekend, minutes=480 + 15 * rng.randrange(40))


def _written(rng: random.Random, start: datetime, now: datetime) -> tuple[str, str]:
    newest = now - timedelta(seconds=60)
    created = min(start, newest) - timedelta(seconds=rng.randrange(86400, 60 * 86400))
    updated = min(start + timedelta(seconds=rng.randrange(600, 3 * 86400)), newest) if start < now else created
    return created.isoformat(), updated.isoformat()
