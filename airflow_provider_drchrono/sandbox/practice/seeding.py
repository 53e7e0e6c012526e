"""Builds the synthetic practice: what depends on nothing first, then people, visits, money, and everything else."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache

from airflow_provider_drchrono.catalog import Catalog
from airflow_provider_drchrono.sandbox.clock import Clock
from airflow_provider_drchrono.sandbox.practice import untidy
from airflow_provider_drchrono.sandbox.practice.charges import seed_charges, seed_payments, seed_transactions
from airflow_provider_drchrono.sandbox.practice.clinic import add, seed_clinic
from airflow_provider_drchrono.sandbox.practice.desk import seed_lists, seed_notes, seed_tasks
from airflow_provider_drchrono.sandbox.practice.finishing import FINISH
from airflow_provider_drchrono.sandbox.practice.people import life, seed_patients
from airflow_provider_drchrono.sandbox.practice.plausible import Scene, fill
from airflow_provider_drchrono.sandbox.practice.practice import Practice
from airflow_provider_drchrono.sandbox.practice.rules import EFFECTS, RULES
from airflow_provider_drchrono.sandbox.practice.table import Row, Table
from airflow_provider_drchrono.sandbox.practice.verbose import ELABORATE
from airflow_provider_drchrono.sandbox.practice.visits import past_visits, seed_visits
from airflow_provider_drchrono.sandbox.sandbox_options import Options
from airflow_provider_drchrono.sandbox.wire import encode

EAGER = 50_000
"""Records of one resource that are kept as rows; what goes beyond is made when it is read, at no cost of memory."""

KEY_MARK = 7_777_777_777_777
STAMP_MARK = "stamp-goes-here"

SETTINGS: Mapping[str, int] = {
    "appointment_profiles": 4,
    "appointment_templates": 3,
    "billing_profiles": 2,
    "clinical_note_templates": 3,
    "clinical_note_field_types": 9,
    "consent_forms": 3,
    "custom_appointment_fields": 2,
    "custom_demographics": 3,
    "custom_insurance_plan_names": 2,
    "custom_vitals": 2,
    "doctor_options": 3,
    "fee_schedules": 8,
    "fee_schedules_v2": 2,
    "inventory_categories": 2,
    "inventory_vaccines": 6,
    "patient_flag_types": 3,
    "reminder_profiles": 2,
    "sublabs": 2,
    "task_templates": 3,
}
"""What a practice sets up once: this many records, whatever its size."""

PATIENTS_FOR_ONE: Mapping[str, int] = {
    "allergies": 2,
    "amendments": 25,
    "audit_log": 1,
    "care_plans": 5,
    "care_team_members": 5,
    "claim_billing_notes": 10,
    "clinical_notes": 1,
    "clinical_note_field_values": 1,
    "comm_logs": 3,
    "documents": 4,
    "eligibility_checks": 3,
    "eobs": 10,
    "lab_orders": 5,
    "lab_documents": 5,
    "lab_tests": 5,
    "lab_results": 5,
    "line_item_deletions": 25,
    "medications": 2,
    "message_threads": 4,
    "messages": 3,
    "patient_authorizations": 10,
    "patient_communications": 5,
    "patient_interventions": 5,
    "patient_lab_results": 5,
    "patient_messages": 4,
    "patient_physical_exams": 5,
    "patient_risk_assessments": 5,
    "patient_vaccine_records": 2,
    "prescription_messages": 4,
    "problems": 2,
    "procedures": 4,
    "implantable_devices": 20,
    "schedule_blocks": 10,
    "signed_consent_forms": 3,
    "telehealth_appointments": 10,
    "telehealth_appointment_history": 10,
    "yellow_notepad": 20,
}
"""How many patients there are for each record of these; there is always at least one."""


def seed_practice(catalog: Catalog, clock: Clock, options: Options) -> Practice:
    """Return the practice that the options ask for.

    :raises ValueError: the options name a resource that has no records of its own.
    """
    practice = Practice(catalog, clock, options, RULES, EFFECTS)
    unknown = sorted({*options.records, *options.clocks, *options.refuse_unfiltered} - set(practice.tables))
    if unknown:
        raise ValueError(f"No records of their own: {', '.join(unknown)}; choose from {', '.join(practice.tables)}")
    for name, elaborate in ELABORATE.items():
        practice.tables[name].elaborate = lambda row, work=elaborate: work(practice, row)
    now = clock.local()

    def upset(part: Callable[[Practice], None]) -> None:
        if not options.tidy:
            part(practice)

    count = _Counts(options)
    seed_clinic(practice, _random(options, "clinic"), now)
    seed_lists(practice, _random(options, "lists"), now)
    for name, number in SETTINGS.items():
        _seed_generic(practice, name, count(name, number), now)
    seed_patients(practice, _random(options, "patients"), now, count("patients", options.patients))
    upset(untidy.upset_clinic)
    upset(untidy.upset_patients)
    visits = options.patients * options.appointments_per_patient
    seed_visits(practice, _random(options, "appointments"), now, count("appointments", visits))
    upset(untidy.upset_visits)
    seed_charges(practice, _random(options, "line_items"), now, count.given("line_items"))
    upset(untidy.upset_charges)
    seed_transactions(practice, _random(options, "transactions"), now, count.given("transactions"))
    payments = count("patient_payments", _share(options.patients, 2))
    seed_payments(practice, _random(options, "payments"), now, payments)
    upset(untidy.upset_payments)
    seed_tasks(practice, _random(options, "tasks"), now, count("tasks", _share(options.patients, 4)))
    seed_notes(practice, _random(options, "task_notes"), now, count("task_notes", _share(options.patients, 4)))
    for name, patients in PATIENTS_FOR_ONE.items():
        _seed_generic(practice, name, count(name, _share(options.patients, patients)), now)
    upset(untidy.upset_notes)
    for name, number in options.records.items():
        _seed_many(practice.tables[name], number, now)
    for name, zone in options.clocks.items():
        _by_another_clock(practice.table(name), clock, zone)
    return practice


class _Counts:
    """How many records to make as rows."""

    def __init__(self, options: Options) -> None:
        self._records = options.records

    def __call__(self, name: str, usual: int) -> int:
        given = self.given(name)
        return usual if given is None else given

    def given(self, name: str) -> int | None:
        number = self._records.get(name)
        return None if number is None else min(number, EAGER)


def _share(patients: int, for_one: int) -> int:
    return max(1, patients // for_one)


def _random(options: Options, part: str) -> random.Random:
    return random.Random(f"{options.seed}:{part}")  # noqa: S311 - synthetic data


def _seed_generic(practice: Practice, name: str, count: int, now: datetime) -> None:
    table = practice.tables[name]
    if table.record is None:
        return
    rng = _random(practice.options, name)
    visits = past_visits(practice, now) or [{}]
    if table.key == "appointment":
        visits = rng.sample(visits, min(count, len(visits)))
        count = len(visits) if visits[0] else 0
    finish = FINISH.get(name)
    rows = []
    for number in range(count):
        created, updated = life(rng, now)
        scene = Scene(
            random=rng,
            practice=practice,
            table=table,
            key=table.next_key + number,
            now=now,
            created=datetime.fromisoformat(created),
            updated=datetime.fromisoformat(updated),
            visit=visits[number] if table.key == "appointment" else rng.choice(visits),
            user=str(rng.choice(practice.table("users").keys)),
        )
        row = fill(scene, table.record.fields) | {"_changed": updated}
        if finish is not None:
            finish(scene, row, number)
        rows.append(row)
    add(practice, name, rows)


def _by_another_clock(table: Table, clock: Clock, zone: str) -> None:
    """Rewrite when records were made and changed by the wall clock of another zone."""
    names = {"created_at", "updated_at", table.changed_field}
    for key, row in list(table.rows.items()):
        moved = {name: clock.in_zone(row[name], zone) for name in names if row.get(name)}
        table.put(key, row | moved)


def _seed_many(table: Table, wanted: int, now: datetime) -> None:
    extra = wanted - len(table)
    if extra <= 0 or not len(table):
        return
    model = table[table.keys[0]]
    first = table.next_key
    stamps = [name for name in ("created_at", "updated_at", "timestamp", "_changed") if name in model]
    beginning = now - timedelta(days=365)
    hours_apart = 364 * 24 / extra

    @lru_cache(maxsize=1024)
    def stamp_of_hour(hour: int) -> str:
        return (beginning + timedelta(hours=hour)).isoformat()

    def stamp(key: int) -> str:
        return stamp_of_hour(int(hours_apart * (key - first)))

    def make(key: int) -> Row:
        row = model | dict.fromkeys(stamps, stamp(key))
        if table.key == "id":
            row["id"] = str(key) if isinstance(model["id"], str) else key
        return row

    # The plain view of such a row is the same text again and again but for its number and its stamps.
    marked = model | dict.fromkeys(stamps, STAMP_MARK) | {"id": KEY_MARK if isinstance(model.get("id"), int) else ""}
    text = encode(table.view(marked)).replace(b"%", b"%%")
    text = text.replace(str(KEY_MARK).encode(), b"%(key)d").replace(STAMP_MARK.encode(), b"%(stamp)b")

    def write(key: int) -> bytes:
        return text % {b"key": key, b"stamp": stamp(key).encode()}

    quick = table.zone is None and table.key == "id" and isinstance(model["id"], int) and table.spelling == "T"
    table.make_many(extra, make, write if quick else None)
