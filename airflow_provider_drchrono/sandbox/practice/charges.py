"""Seeds the money: a charge for every other past visit, what the payer did about it, and what patients paid."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from airflow_provider_drchrono.sandbox.practice.clinic import add, empty_row
from airflow_provider_drchrono.sandbox.practice.practice import Practice
from airflow_provider_drchrono.sandbox.practice.table import Row
from airflow_provider_drchrono.sandbox.practice.visits import past_visits
from airflow_provider_drchrono.sandbox.practice.words import PAYERS, PROCEDURES

METHODS = ("CASH", "CHCK", "CRDT", "VISA")


def dollars(cents: int) -> str:
    """Return an amount as the API writes it."""
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02d}"


def cents(amount: object) -> int:
    """Return an amount of the API in cents; an unset amount is nothing."""
    return round(float(str(amount)) * 100) if amount not in (None, "") else 0


def balance(row: Row) -> None:
    """Work out what a charge comes to and what is still owed of it."""
    billed = round(cents(row["price"]) * float(row["quantity"] or 1))
    insured = sum(cents(row[name]) for name in ("ins1_paid", "ins2_paid", "ins3_paid"))
    open_amount = billed - cents(row["adjustment"]) - insured - cents(row["pt_paid"])
    from_payer = cents(row["balance_ins"])
    row |= {
        "billed": dollars(billed),
        "balance_total": dollars(open_amount),
        "balance_pt": dollars(open_amount - from_payer),
        "ins_total": dollars(insured),
        "paid_total": dollars(insured + cents(row["pt_paid"])),
    }


def seed_charges(practice: Practice, rng: random.Random, now: datetime, count: int | None) -> None:
    """Add line items of past visits; ``count`` None takes every other visit."""
    visits = past_visits(practice, now)
    if not visits:
        return
    chosen = visits[::2] if count is None else [visits[number % len(visits)] for number in range(count)]
    base = empty_row(practice.table("line_items"))
    newest = now - timedelta(seconds=60)
    rows = []
    for visit in chosen:
        code, description, price = rng.choice(PROCEDURES)
        day = datetime.fromisoformat(visit["scheduled_time"])
        posted = min(day + timedelta(hours=rng.randrange(1, 72)), newest)
        adjustment = price * rng.randrange(0, 40) // 100
        paid = (price - adjustment) * rng.choice((0, 60, 80, 100)) // 100
        row = base | {
            "adjustment": dollars(adjustment),
            "allowed": dollars(price - adjustment),
            "appointment": int(visit["id"]),
            "balance_ins": "0.00",
            "billing_status": "",
            "code": code,
            "denied_flag": paid == 0,
            "description": description,
            "diagnosis_pointers": ["1"],
            "doctor": visit["doctor"],
            "expected_reimbursement": dollars(price - adjustment),
            "ins1_paid": dollars(paid),
            "ins2_paid": "0.00",
            "ins3_paid": "0.00",
            "insurance_status": "",
            "modifiers": [],
            "patient": visit["patient"],
            "posted_date": posted.date().isoformat(),
            "price": dollars(price),
            "procedure_type": "C",
            "pt_paid": "0.00",
            "quantity": "1.00",
            "service_date": visit["scheduled_time"][:10],
            "units": "UN",
            "updated_at": posted.isoformat(),
        }
        balance(row)
        rows.append(row)
    add(practice, "line_items", rows)


def seed_transactions(practice: Practice, rng: random.Random, now: datetime, count: int | None) -> None:
    """Add the payer's answer to each line item; ``count`` None makes one for each."""
    charges = list(practice.table("line_items"))
    if not charges:
        return
    chosen = charges if count is None else [charges[number % len(charges)] for number in range(count)]
    base = empty_row(practice.table("transactions"))
    newest = now - timedelta(seconds=60)
    rows = []
    for charge in chosen:
        posted = min(datetime.fromisoformat(charge["updated_at"]) + timedelta(days=rng.randrange(1, 30)), newest)
        payer, name, _ = PAYERS[charge["patient"] % len(PAYERS)]
        rows.append(
            base
            | {
                "adjustment": charge["adjustment"],
                "adjustment_group_code": "CO",
                "adjustment_reason": "45" if cents(charge["adjustment"]) else "0",
                "appointment": charge["appointment"],
                "check_date": posted.date().isoformat(),
                "claim_status": "1" if cents(charge["ins1_paid"]) else "4",
                "created_at": posted.isoformat(),
                "doctor": charge["doctor"],
                "ins_name": 1,
                "ins_paid": charge["ins1_paid"],
                "insurance": {"id_number": f"ID{charge['patient']}", "message": payer, "name": name},
                "line_item": charge["id"],
                "patient": charge["patient"],
                "posted_date": posted.date().isoformat(),
                "trace_number": f"TR{charge['id']}",
                "updated_at": posted.isoformat(),
            }
        )
    add(practice, "transactions", rows)


def seed_payments(practice: Practice, rng: random.Random, now: datetime, count: int) -> None:
    """Add payments at the desk, and the log entry that each leaves."""
    visits = past_visits(practice, now)
    if not visits:
        return
    base, log_base = (empty_row(practice.table(name)) for name in ("patient_payments", "patient_payment_log"))
    user = str(practice.table("users").keys[0])
    payments, log = [], []
    for _ in range(count):
        visit = rng.choice(visits)
        paid = visit["scheduled_time"]
        shared = {
            "amount": "25.00",
            "doctor": visit["doctor"],
            "patient": visit["patient"],
            "payment_method": rng.choice(METHODS),
            "updated_at": paid,
        }
        payments.append(
            base
            | shared
            | {
                "appointment": int(visit["id"]),
                "created_at": paid,
                "created_by": "frontdesk",
                "payment_transaction_type": "COPAY",
                "posted_date": paid[:10],
                "received_date": paid[:10],
            }
        )
        entry = {"action": "C", "appointment": visit["id"], "created_by": user, "source": "Web"}
        log.append(log_base | shared | entry)
    add(practice, "patient_payments", payments)
    add(practice, "patient_payment_log", log)
