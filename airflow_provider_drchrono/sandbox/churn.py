"""A busy hour at the practice: random new and changed records of the five resources that the demo syncs."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_drchrono.sandbox.practice import Practice, Row
from airflow_provider_drchrono.sandbox.practice.plausible import money, phone
from airflow_provider_drchrono.sandbox.practice.visits import is_ordinary
from airflow_provider_drchrono.sandbox.practice.words import (
    CITIES,
    FIRST_NAMES,
    LAST_NAMES,
    NOTES,
    PROCEDURES,
    REASONS,
    TASK_TITLES,
)

NEW_SHARE = 0.3
"""Share of the changes that are new records."""


def churn(practice: Practice, *, seed: int, changes: int) -> dict[str, Any]:
    """Make so many changes and return, by resource, how many records are new and how many others changed.

    :param seed: equal seeds make equal choices on equal data.
    :param changes: creates and updates together; a record may be hit twice.
    """
    rng = random.Random(f"{seed}:churn")  # noqa: S311 - synthetic data
    new: dict[str, set[Any]] = {name: set() for name in MAKERS}
    old: dict[str, set[Any]] = {name: set() for name in MAKERS}
    for _ in range(changes):
        name = rng.choice(tuple(MAKERS))
        table = practice.table(name)
        if not len(table) or rng.random() < NEW_SHARE:
            made = MAKERS[name](practice, rng)
            if made is not None:
                new[name].add(practice.create(name, made)["id"])
            continue
        key = table.keys[rng.randrange(len(table))]
        if table[key].get("deleted_flag"):
            continue
        changed = practice.change(name, key, CHANGERS[name](practice, rng, table[key]))["id"]
        if changed not in new[name]:
            old[name].add(changed)
    return {name: {"new": len(new[name]), "changed": len(old[name])} for name in MAKERS}


def _any(practice: Practice, rng: random.Random, name: str) -> Row | None:
    table = practice.table(name)
    return table[table.keys[rng.randrange(len(table))]] if len(table) else None


def _new_patient(practice: Practice, rng: random.Random) -> Row | None:
    doctor = _any(practice, rng, "doctors") or {}
    gender = rng.choice(tuple(FIRST_NAMES))
    first, last = rng.choice(FIRST_NAMES[gender]), rng.choice(LAST_NAMES)
    return {
        "first_name": first,
        "last_name": last,
        "gender": gender,
        "date_of_birth": f"{rng.randrange(1940, 2020)}-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}",
        "doctor": doctor.get("id"),
        "cell_phone": phone(rng),
        "email": f"{first}.{last}.new@example.com".lower(),
    }


def _new_visit(practice: Practice, rng: random.Random) -> Row | None:
    patient, office = _any(practice, rng, "patients"), _any(practice, rng, "offices") or {}
    if patient is None:
        return None
    day = practice.clock.local().date().isoformat()
    return {
        "doctor": patient["doctor"],
        "duration": 30,
        "exam_room": 1,
        "office": office.get("id"),
        "patient": patient["id"],
        "reason": rng.choice(REASONS),
        "scheduled_time": f"{day}T{rng.randrange(8, 18):02d}:{rng.choice((0, 15, 30, 45)):02d}:00",
        "status": "Confirmed",
    }


def _new_charge(practice: Practice, rng: random.Random) -> Row | None:
    visits = [row for row in practice.table("appointments").rows.values() if is_ordinary(row)]
    if not visits:
        return None
    visit = rng.choice(visits)
    code, _, _ = rng.choice(PROCEDURES)
    return {"appointment": int(visit["id"]), "code": code, "diagnosis_pointers": ["1"], "procedure_type": "C"}


def _new_transaction(practice: Practice, rng: random.Random) -> Row | None:
    charge = _any(practice, rng, "line_items")
    if charge is None:
        return None
    shared = {name: charge[name] for name in ("appointment", "doctor", "patient")}
    return shared | {
        "line_item": charge["id"],
        "ins_paid": money(rng, 5, 80),
        "adjustment": "0.00",
        "claim_status": "1",
    }


def _new_task(practice: Practice, rng: random.Random) -> Row | None:
    status = _any(practice, rng, "task_statuses") or {}
    return {"title": rng.choice(TASK_TITLES), "status": status.get("id"), "priority": "20"}


def _change_status(practice: Practice, rng: random.Random, row: Row) -> Row:
    status = _any(practice, rng, "task_statuses") or {}
    return {"status": status.get("id"), "title": f"{rng.choice(TASK_TITLES)} ({rng.choice(NOTES)})"}


MAKERS: Mapping[str, Callable[[Practice, random.Random], Row | None]] = {
    "patients": _new_patient,
    "appointments": _new_visit,
    "line_items": _new_charge,
    "transactions": _new_transaction,
    "tasks": _new_task,
}
CHANGERS: Mapping[str, Callable[[Practice, random.Random, Row], Row]] = {
    "patients": lambda practice, rng, row: dict(
        zip(("city", "state", "zip_code"), rng.choice(CITIES), strict=True), cell_phone=phone(rng)
    ),
    "appointments": lambda practice, rng, row: {"status": rng.choice(("Arrived", "Complete", "Cancelled"))},
    "line_items": lambda practice, rng, row: {"pt_paid": money(rng, 1, 30)},
    "transactions": lambda practice, rng, row: {"adjustment": money(rng, 1, 20)},
    "tasks": _change_status,
}
