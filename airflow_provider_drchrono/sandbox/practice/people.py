"""Seeds the patients: names from fixed lists, telephone numbers and addresses that lead nowhere."""

from __future__ import annotations

import random
from datetime import date, datetime, timedelta

from airflow_provider_drchrono.sandbox.practice.clinic import add, empty_row
from airflow_provider_drchrono.sandbox.practice.plausible import phone
from airflow_provider_drchrono.sandbox.practice.practice import Practice
from airflow_provider_drchrono.sandbox.practice.table import Row
from airflow_provider_drchrono.sandbox.practice.words import CITIES, FIRST_NAMES, LAST_NAMES, STREETS

RACES = ("indian", "asian", "black", "hawaiian", "white", "other", "declined")
LANGUAGES = (("eng", "English"), ("spa", "Spanish"), ("fra", "French"), ("rus", "Russian"))
YEARS_BACK = 2


def seed_patients(practice: Practice, rng: random.Random, now: datetime, count: int) -> None:
    """Add patients; everyone was entered before now and changed last between then and now."""
    base = empty_row(practice.table("patients"))
    doctors = list(practice.table("doctors").keys)
    offices = list(practice.table("offices").keys)
    first_day = date(now.year - 90, 1, 1)
    rows = []
    for number in range(count):
        gender = "Female" if rng.random() < 0.52 else "Male"
        first, last = rng.choice(FIRST_NAMES[gender]), rng.choice(LAST_NAMES)
        city, state, zip_code = rng.choice(CITIES)
        language, language_name = rng.choice(LANGUAGES)
        created, updated = life(rng, now)
        born = first_day + timedelta(days=rng.randrange(88 * 365))
        rows.append(
            base
            | {
                "address": f"{rng.randrange(1, 999)} {rng.choice(STREETS)}",
                "cell_phone": phone(rng),
                "chart_id": chart_id(first, last, number + 1),
                "city": city,
                "copay": "25.00",
                "created_at": created,
                "date_of_birth": born.isoformat(),
                "doctor": rng.choice(doctors),
                "email": f"{first}.{last}.{number + 1}@example.com".lower(),
                "emergency_contact_name": f"{rng.choice(FIRST_NAMES['Male'])} {last}",
                "emergency_contact_phone": phone(rng),
                "emergency_contact_relation": "sibling",
                "ethnicity": "not_hispanic" if rng.random() < 0.8 else "hispanic",
                "first_name": first,
                "gender": gender,
                "home_phone": phone(rng),
                "last_name": last,
                "offices": [rng.choice(offices)],
                "patient_payment_profile": "Insurance" if rng.random() < 0.85 else "Cash",
                "patient_status": "A" if rng.random() < 0.95 else "I",
                "preferred_language": language,
                "preferred_language_code": language,
                "preferred_language_description": language_name,
                "preferred_pharmacies": [],
                "race": rng.choice(RACES),
                "race_subcategories": [],
                "social_security_number": "",
                "state": state,
                "updated_at": updated,
                "zip_code": zip_code,
            }
        )
    add(practice, "patients", rows)


def chart_id(first: str | None, last: str | None, number: int) -> str:
    """Return a chart's number: two letters of the last name, two of the first, six digits."""
    letters = ["".join(each for each in str(name or "") if each.isascii() and each.isalpha()) for name in (last, first)]
    return "".join(f"{each[:2].upper():X<2}" for each in letters) + f"{number % 1_000_000:06d}"


def life(rng: random.Random, now: datetime) -> tuple[str, str]:
    """Return when a record was created and last changed, both at least a minute ago."""
    age = rng.randrange(120, YEARS_BACK * 365 * 86400)
    calm = rng.randrange(60, age) if rng.random() < 0.7 else age
    return (now - timedelta(seconds=age)).isoformat(), (now - timedelta(seconds=calm)).isoformat()


def attend(patient: Row, day: str, *, past: bool) -> None:
    """Note a visit in the patient's first and last appointment dates."""
    if not past:
        return
    first, last = patient["date_of_first_appointment"], patient["date_of_last_appointment"]
    patient["date_of_first_appointment"] = day if first is None else min(first, day)
    patient["date_of_last_appointment"] = day if last is None else max(last, day)
