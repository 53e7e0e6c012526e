"""Seeds who works at the practice and where: doctors, staff, users, offices with exam rooms, working hours."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_drchrono.sandbox.practice.blank import blank
from airflow_provider_drchrono.sandbox.practice.plausible import phone
from airflow_provider_drchrono.sandbox.practice.practice import Practice
from airflow_provider_drchrono.sandbox.practice.table import Key, Row, Table
from airflow_provider_drchrono.sandbox.practice.words import CITIES, FIRST_NAMES, LAST_NAMES, PAYERS, STREETS

DOCTORS = 3
OFFICES = 2
STAFF = 4
EXAM_ROOMS = ("Exam 1", "Exam 2", "Procedure Room")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SPECIALTIES = ("Family Practice", "Internal Medicine", "Pediatrics")


def empty_row(table: Table) -> Row:
    """Return a blank row of a table."""
    return blank(table.record) if table.record else {}


def add(practice: Practice, name: str, rows: list[Row]) -> list[Row]:
    """Store new rows, numbering those that have no key yet, and return them."""
    table = practice.table(name)
    numbered: dict[Key, Row] = {}
    for row in rows:
        key: Key = table.take_key()
        if table.key == "id":
            field = table.record.fields["id"] if table.record else None
            row["id"] = str(key) if field is not None and field.type == "string" else key
        elif table.key is not None:
            text = str(row[table.key])
            key = int(text) if text.isdigit() else text
        numbered[key] = row
    table.fill(numbered)
    return rows


def seed_clinic(practice: Practice, rng: random.Random, now: datetime) -> None:
    """Add doctors, offices, staff, users, groups, working hours and payers."""
    doctors = add(practice, "doctors", [_doctor(practice, rng, number) for number in range(DOCTORS)])
    offices = add(practice, "offices", [_office(practice, rng, number, doctors) for number in range(OFFICES)])
    users = add(practice, "users", _users(practice, doctors))
    staff = add(practice, "staff", [_staff(practice, rng, user, now) for user in users[DOCTORS:]])
    for user, person in zip(users[DOCTORS:], staff, strict=True):
        user["staff"] = person["id"]
    group = empty_row(practice.table("user_groups")) | {
        "created_at": (now - timedelta(days=700)).isoformat(),
        "updated_at": (now - timedelta(days=350)).isoformat(),
        "members": [user["id"] for user in users],
        "practice_group": practice.options.practice_group,
    }
    add(practice, "user_groups", [group | {"name": name} for name in ("Front desk", "Billing")])
    for doctor in doctors:
        doctor["doctor_work_schedule"] = _schedule(practice, "doctor_work_schedule", doctor=doctor["id"])
    for office in offices:
        office["office_work_schedule"] = _schedule(practice, "office_work_schedule", office=office["id"])
    payers = [
        {"payer_id": payer, "payer_name": name, "state": state, "_payer_type": kind}
        for kind in ("emdeon", "gateway", "ihcfa")
        for payer, name, state in PAYERS
    ]
    distinct = {row["payer_id"]: row for row in reversed(payers)}
    add(practice, "insurances", list(distinct.values()))


def npi(number: int) -> str:
    """Return a national provider identifier with a valid check digit (Luhn, with the prefix 80840)."""
    body = f"199999{number:03d}"
    digits = [int(each) for each in f"80840{body}"]
    doubled = [sum(divmod(2 * each, 10)) if place % 2 == 0 else each for place, each in enumerate(reversed(digits))]
    return f"{body}{-sum(doubled) % 10}"


def _doctor(practice: Practice, rng: random.Random, number: int) -> Row:
    zones = practice.options.zones
    first = rng.choice(FIRST_NAMES[("Female", "Male")[number % 2]])
    return empty_row(practice.table("doctors")) | {
        "cell_phone": phone(rng),
        "country": "US",
        "email": f"doctor{number + 1}@example.com",
        "first_name": first,
        "home_phone": phone(rng),
        "job_title": "Provider/Staff (Private Practice)",
        "last_name": LAST_NAMES[number],
        "npi_number": npi(number + 1),
        "office_phone": phone(rng),
        "practice_group": practice.options.practice_group,
        "practice_group_name": "Sandbox Family Practice",
        "specialty": SPECIALTIES[number % len(SPECIALTIES)],
        "timezone": zones[number % len(zones)],
        "website": "https://practice.example.com",
    }


def _office(practice: Practice, rng: random.Random, number: int, doctors: list[Row]) -> Row:
    city, state, zip_code = CITIES[number]
    rooms = [{"index": index, "name": name, "online_scheduling": True} for index, name in enumerate(EXAM_ROOMS, 1)]
    return empty_row(practice.table("offices")) | {
        "address": f"{rng.randint(1, 99)} {rng.choice(STREETS)}",
        "city": city,
        "country": "US",
        "doctor": doctors[0]["id"],
        "end_time": "18:00:00",
        "exam_rooms": rooms,
        "fax_number": phone(rng),
        "name": f"{city} office",
        "online_scheduling": True,
        "phone_number": phone(rng),
        "start_time": "08:00:00",
        "state": state,
        "zip_code": zip_code,
    }


def _users(practice: Practice, doctors: list[Row]) -> list[Row]:
    base = empty_row(practice.table("users")) | {"practice_group": practice.options.practice_group}
    as_doctors: list[Row] = [
        base | {"doctor": doctor["id"], "is_doctor": True, "is_staff": False, "username": f"doctor{number}"}
        for number, doctor in enumerate(doctors, 1)
    ]
    as_staff: list[Row] = [
        base | {"doctor": doctors[0]["id"], "is_doctor": False, "is_staff": True, "username": f"staff{number}"}
        for number in range(1, STAFF + 1)
    ]
    return as_doctors + as_staff


def _staff(practice: Practice, rng: random.Random, user: Row, now: datetime) -> Row:
    return empty_row(practice.table("staff")) | {
        "active": True,
        "cell_phone": phone(rng),
        "created_at": (now - timedelta(days=700)).isoformat(),
        "doctor": user["doctor"],
        "email": f"{user['username']}@example.com",
        "first_name": rng.choice(FIRST_NAMES["Female"]),
        "home_phone": phone(rng),
        "last_name": rng.choice(LAST_NAMES),
        "updated_at": (now - timedelta(days=350)).isoformat(),
        "user_id": int(user["id"]),
        "username": user["username"],
    }


def _schedule(practice: Practice, name: str, **owner: int) -> Row:
    table = practice.table(name)
    days: list[dict[str, Any]] = [
        {
            "enabled": weekday < 5,
            "id": table.next_key * 10 + weekday + 1,
            "iso_weekday": name,
            "work_hours": [
                {
                    "enabled": True,
                    "end_time": "18:00:00",
                    "id": table.next_key * 10 + weekday + 1,
                    "start_time": "08:00:00",
                }
            ],
        }
        for weekday, name in enumerate(WEEKDAYS)
    ]
    return add(practice, name, [empty_row(table) | owner | {"work_days": days}])[0]
