"""Seeds the front desk's work: task categories and statuses, tasks and the notes on them."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from airflow_provider_drchrono.sandbox.practice.clinic import add, empty_row
from airflow_provider_drchrono.sandbox.practice.people import life
from airflow_provider_drchrono.sandbox.practice.practice import Practice
from airflow_provider_drchrono.sandbox.practice.words import NOTES, TASK_TITLES

CATEGORIES = ("Billing", "Clinical", "Front desk")
STATUSES = (("Open", "O"), ("In progress", "P"), ("On hold", "H"), ("Closed", "C"))
PRIORITIES = ("10", "20", "30", "40")


def seed_lists(practice: Practice, rng: random.Random, now: datetime) -> None:
    """Add the categories and statuses that tasks can have."""
    made = {"created_at": (now - timedelta(days=700)).isoformat(), "practice_group": practice.options.practice_group}
    made |= {"updated_at": made["created_at"]}
    base = empty_row(practice.table("task_categories")) | made
    add(practice, "task_categories", [base | {"is_global": False, "name": name} for name in CATEGORIES])
    base = empty_row(practice.table("task_statuses")) | made
    add(practice, "task_statuses", [base | {"name": name, "status_category": kind} for name, kind in STATUSES])


def seed_tasks(practice: Practice, rng: random.Random, now: datetime, count: int) -> None:
    """Add tasks."""
    base = empty_row(practice.table("tasks"))
    users = [str(key) for key in practice.table("users").keys]
    groups, categories, statuses = (
        list(practice.table(name).keys) for name in ("user_groups", "task_categories", "task_statuses")
    )
    rows = []
    for _ in range(count):
        created, updated = life(rng, now)
        due = datetime.fromisoformat(created) + timedelta(days=rng.randrange(1, 30))
        rows.append(
            base
            | {
                "assigned_by": int(rng.choice(users)),
                "assignee_group": rng.choice(groups),
                "assignee_user": rng.choice(users),
                "category": rng.choice(categories),
                "created_at": created,
                "created_by": int(users[0]),
                "due_date": {"time": due.isoformat()} if rng.random() < 0.8 else None,
                "priority": rng.choice(PRIORITIES),
                "status": rng.choice(statuses),
                "title": rng.choice(TASK_TITLES),
                "updated_at": updated,
            }
        )
    add(practice, "tasks", rows)


def seed_notes(practice: Practice, rng: random.Random, now: datetime, count: int) -> None:
    """Add notes on tasks, in turn."""
    tasks = list(practice.table("tasks").keys)
    if not tasks:
        return
    base = empty_row(practice.table("task_notes"))
    user = int(next(iter(practice.table("users").keys)))
    rows = []
    for number in range(count):
        created, updated = life(rng, now)
        rows.append(
            base
            | {
                "created_at": created,
                "created_by": user,
                "task": tasks[number % len(tasks)],
                "text": rng.choice(NOTES),
                "updated_at": updated,
            }
        )
    add(practice, "task_notes", rows)
