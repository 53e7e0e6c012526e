"""Fills any field of any record with something plausible, judged by its name, format and type."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_drchrono.catalog import Field
from airflow_provider_drchrono.sandbox.files import seeded_path
from airflow_provider_drchrono.sandbox.practice.practice import Practice
from airflow_provider_drchrono.sandbox.practice.table import Row, Table
from airflow_provider_drchrono.sandbox.practice.words import (
    CITIES,
    COLORS,
    DIAGNOSES,
    DRUGS,
    LAB_TESTS,
    LAST_NAMES,
    PAYERS,
    PROBLEMS,
    PROCEDURES,
    REASONS,
    SENTENCES,
    STREETS,
    VACCINES,
)


@dataclass(slots=True)
class Scene:
    """The circumstances of one record: whose it is, at which visit, and when it was written.

    :param now: the practice's wall clock when the seed begins.
    """

    random: random.Random
    practice: Practice
    table: Table
    key: int
    now: datetime
    created: datetime
    updated: datetime
    visit: Row
    user: str

    def one(self, choices: Any) -> Any:
        """Return one of several."""
        return self.random.choice(choices)

    def ago(self, longest: int, shortest: int = 0) -> datetime:
        """Return a moment so many days back, in whole minutes."""
        minutes = self.random.randint(shortest * 1440, longest * 1440)
        return (self.now - timedelta(minutes=minutes)).replace(second=0)


def money(random: random.Random, low: int, high: int) -> str:
    """Return an amount between two whole numbers of dollars, as the API writes it."""
    cents = random.randrange(low * 100, high * 100)
    return f"{cents // 100}.{cents % 100:02d}"


def phone(random: random.Random) -> str:
    """Return a number from the range that is kept free for fiction."""
    return f"(555) 555-{random.randrange(100, 200):04d}"


def fill(scene: Scene, fields: Mapping[str, Field]) -> Row:
    """Return a row with all plain fields filled."""
    return {name: value(scene, field) for name, field in fields.items() if not field.verbose}


def value(scene: Scene, field: Field) -> Any:
    """Return something plausible for a field."""
    if field.name == "id":
        return str(scene.key) if field.type == "string" else scene.key
    if field.refers_to:
        return _reference(scene, field)
    if field.format == "file":
        return seeded_path(scene.table.name, scene.key, field.name)
    if field.enum:
        return scene.one([each for each in field.enum if each not in ("", "blank")][:12])
    by_name = BY_NAME.get(field.name)
    if by_name is not None and (field.type, field.format) in SHAPES.get(field.name, {(field.type, field.format)}):
        made = by_name(scene)
        return str(made) if field.type == "string" and made is not None else made
    return _by_shape(scene, field)


def _by_shape(scene: Scene, field: Field) -> Any:
    if field.type == "array":
        return [value(scene, field.items)] if field.items and field.items.type == "object" else []
    if field.type == "object":
        return {each.name: value(scene, each) for each in field.fields} or None
    if field.format in _FORMATS:
        return _FORMATS[field.format](scene)
    return _TYPES[field.type](scene)


def _reference(scene: Scene, field: Field) -> Any:
    if field.type == "array":
        return []
    own = {
        "appointments": scene.visit.get("id"),
        "doctors": scene.visit.get("doctor"),
        "offices": scene.visit.get("office"),
        "patients": scene.visit.get("patient"),
        "users": scene.user,
    }
    picked = own.get(field.refers_to or "")
    if picked is None:
        keys = scene.practice.table(field.refers_to or "").keys
        picked = scene.one(keys) if keys else None
    if picked is None:
        return None
    return str(picked) if field.type == "string" else int(picked)


def _stamp(moment: datetime) -> str:
    return moment.isoformat()


_FORMATS: Mapping[str | None, Callable[[Scene], Any]] = {
    "base64": lambda scene: "",
    "date": lambda scene: scene.ago(400).date().isoformat(),
    "date-time": lambda scene: _stamp(scene.created),
    "decimal": lambda scene: money(scene.random, 5, 200),
    "time": lambda scene: "09:00:00",
}
_TYPES: Mapping[str, Callable[[Scene], Any]] = {
    "any": lambda scene: None,
    "boolean": lambda scene: False,
    "integer": lambda scene: scene.random.randint(1, 10),
    "number": lambda scene: scene.random.randint(1, 100),
    "string": lambda scene: scene.one(SENTENCES),
}

SHAPES: Mapping[str, set[tuple[str, str | None]]] = {
    "category": {("string", None)},
    "description": {("string", None)},
    "order": {("integer", None)},
    "status": {("string", None)},
    "type": {("string", None)},
    "units": {("string", None)},
    "value": {("string", None)},
}
"""Names that mean different things: the guess by name is used only for these types."""

BY_NAME: Mapping[str, Callable[[Scene], Any]] = {
    "active": lambda s: True,
    "address": lambda s: f"{s.random.randint(1, 999)} {s.one(STREETS)}",
    "author": lambda s: "frontdesk",
    "brand_name": lambda s: "Sample Stent",
    "cell_phone": lambda s: phone(s.random),
    "city": lambda s: s.one(CITIES)[0],
    "code": lambda s: s.one(PROCEDURES)[0],
    "code_system": lambda s: "CPT",
    "color": lambda s: s.one(COLORS),
    "company_name": lambda s: "Example Devices",
    "count": lambda s: 1,
    "country": lambda s: "US",
    "created_at": lambda s: _stamp(s.created),
    "created_by": lambda s: "frontdesk",
    "cvx_code": lambda s: s.one(VACCINES)[1],
    "dosage_quantity": lambda s: "1",
    "dosage_units": lambda s: "tablet",
    "duration": lambda s: s.one((15, 30, 45)),
    "email": lambda s: f"record{s.key}@example.com",
    "entered_by": lambda s: "frontdesk",
    "facility_code": lambda s: f"SBX-{s.key % 1000}",
    "fax_number": lambda s: phone(s.random),
    "frequency": lambda s: "once daily",
    "home_phone": lambda s: phone(s.random),
    "icd_code": lambda s: s.one(DIAGNOSES),
    "indication": lambda s: s.one(PROBLEMS)[0],
    "insurance_payer_id": lambda s: s.one(PAYERS)[0],
    "insurance_payer_name": lambda s: s.one(PAYERS)[1],
    "ip_address": lambda s: "192.0.2.10",
    "json_data": lambda s: "{}",
    "last_name": lambda s: s.one(LAST_NAMES),
    "loinc_code": lambda s: s.one(LAB_TESTS)[1],
    "lot_number": lambda s: f"LOT{s.key % 10000:04d}",
    "manufacturer": lambda s: "Example Biologics",
    "manufacturer_code": lambda s: "EXB",
    "name_of_user": lambda s: "frontdesk",
    "office_phone": lambda s: phone(s.random),
    "payer_id": lambda s: s.one(PAYERS)[0],
    "payer_name": lambda s: s.one(PAYERS)[1],
    "phone_number": lambda s: phone(s.random),
    "practice_group": lambda s: s.practice.options.practice_group,
    "priority": lambda s: s.random.randint(1, 3),
    "quantity": lambda s: "1.00",
    "reaction": lambda s: "Hives",
    "reason": lambda s: s.one(REASONS),
    "recur_start_date": lambda s: None,
    "reminder_profile": lambda s: None,
    "route": lambda s: "oral",
    "rxnorm": lambda s: s.one(DRUGS)[1],
    "scheduled_date": lambda s: s.ago(200).date().isoformat(),
    "serial_number": lambda s: f"SN{s.key}",
    "site": lambda s: "left arm",
    "snomed_code": lambda s: "91936005",
    "sort_order": lambda s: s.key % 100,
    "state": lambda s: s.one(CITIES)[1],
    "timestamp": lambda s: _stamp(s.updated),
    "trace_number": lambda s: f"TR{s.key}",
    "udi": lambda s: f"(01)00000000{s.key}",
    "unit": lambda s: s.one(LAB_TESTS)[2],
    "updated_at": lambda s: _stamp(s.updated),
    "uri": lambda s: f"https://forms.example.com/{s.key}",
    "username": lambda s: f"user{s.key}",
    "value": lambda s: str(s.random.randint(3, 150)),
    "vendor_name": lambda s: "Sample Laboratories",
    "website": lambda s: "https://practice.example.com",
    "zip_code": lambda s: s.one(CITIES)[2],
}
