"""Questions about bulk lists: how large their pages are, what their states are called, and what an unknown ticket gets.

A bulk list is started by a POST that creates nothing but the list itself, which the API forgets within an hour.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

from airflow_provider_drchrono.conformance.findings import Finding, Question, counted, named
from airflow_provider_drchrono.conformance.session import Session
from airflow_provider_drchrono.conformance.step import Step, no_answer

RESOURCES = ("patients", "appointments", "clinical_note_field_values")
WAITS = (3.0, 6.0, 12.0)
"""Seconds before each question whether a list is made."""

STATES = ("in progress", "complete", "pending", "started", "failed", "error")
NO_TICKET = "00000000-0000-4000-8000-000000000000"

SIZE = Question("bulk-page-size", "How many rows does a page of a bulk list hold?", "documented")
MAKING = Question("bulk-states", "What is the state of a bulk list called while it is made, and after?", "documented")
ROWS = Question("bulk-rows", "Under which key do the rows of a bulk list stand?", "documented")
EXPIRED = Question("bulk-expired", "What comes for a ticket that the API does not know?", "disputed")


def steps() -> tuple[Step, ...]:
    """Return the steps of these questions."""
    of_lists = [
        Step(f"bulk list of {name}", 1 + len(WAITS), (SIZE, MAKING, ROWS), partial(_bulk, resource=name))
        for name in RESOURCES
    ]
    return (*of_lists, Step("bulk ticket", 1, (EXPIRED,), _unknown_ticket))


def _bulk(session: Session, resource: str) -> Iterator[Finding]:
    found = session.catalog.resource(resource)
    bulk = found.bulk
    assert bulk is not None  # noqa: S101 - these have a bulk list
    start = session.catalog.operation(bulk.start)
    params: dict[str, Any] = {"page_size": bulk.size}
    if session.catalog.resource(start.resource).requires_one_of:
        today = session.wall_clock().date()
        params["date_range"] = f"{today - timedelta(days=90)}/{today}"
    begun = session.ask(start.path, params, method="POST")
    ticket = begun.value.get("uuid") if isinstance(begun.value, dict) else None
    states = [_state(begun.value)]
    beliefs = {SIZE: f"up to {bulk.size}", MAKING: "In progress, Complete", ROWS: "results"}
    if not begun.works or not isinstance(ticket, str):
        yield from _unknown(resource, beliefs, no_answer(begun) if not begun.works else "the start names no ticket")
        return
    path = session.catalog.operation(bulk.result).path
    for wait in WAITS:
        session.sleep(wait)
        answer = session.ask(path, {"uuid": ticket})
        if not answer.works:
            yield from _unknown(resource, beliefs, no_answer(answer))
            return
        states.append(_state(answer.value))
        if states[-1] != "in progress":
            break
    else:
        yield from _unknown(resource, beliefs, f"it was not made within {counted(round(sum(WAITS)), 'second')}")
        return
    yield from _made(resource, bulk.size, beliefs, answer.value, states)


def _made(resource: str, asked: int, beliefs: dict[Question, str], value: Any, states: list[str]) -> Iterator[Finding]:
    pagination = value.get("pagination") if isinstance(value, dict) else None
    size = pagination.get("page_size") if isinstance(pagination, dict) else None
    pages = pagination.get("pages") if isinstance(pagination, dict) else None
    rows = value.get("results") if isinstance(value, dict) else None
    count = len(rows) if isinstance(rows, list) else 0
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        yield Finding(SIZE.id, "unknown", beliefs[SIZE], "the answer does not name the size of its pages", resource)
    else:
        # What the answer says counts less than what came, where there are further pages.
        served = count if isinstance(pages, int) and pages > 1 and count else size
        observed = f"{counted(served, 'row')}, on {counted(pages, 'page') if isinstance(pages, int) else 'some pages'}"
        if served == asked:
            yield Finding(SIZE.id, "as believed", beliefs[SIZE], observed, resource)
        else:
            facts = {resource: {"bulk_page_size": served}}
            yield Finding(SIZE.id, "differs", beliefs[SIZE], observed, resource, facts)
    expected = set(states) <= {"in progress", "complete"}
    yield Finding(MAKING.id, "as believed" if expected else "differs", beliefs[MAKING], ", ".join(states), resource)
    if isinstance(rows, list):
        yield Finding(ROWS.id, "as believed", beliefs[ROWS], "results", resource)
    else:
        keys = named(key for key, each in value.items() if isinstance(each, list)) if isinstance(value, dict) else ""
        yield Finding(ROWS.id, "differs", beliefs[ROWS], keys or "no list", resource)


def _unknown_ticket(session: Session) -> Iterator[Finding]:
    bulk = session.catalog.resource(RESOURCES[0]).bulk
    assert bulk is not None  # noqa: S101 - it has a bulk list
    answer = session.ask(session.catalog.operation(bulk.result).path, {"uuid": NO_TICKET})
    believed = "an error that says Invalid uuid, with 400 or 200"
    texts = [*answer.reasons, str(answer.value.get("detail", "")) if isinstance(answer.value, dict) else ""]
    said = any("invalid uuid" in each.lower() for each in texts)
    observed = f"{answer.status}, {'which says' if said else 'which does not say'} Invalid uuid"
    result = "as believed" if said and answer.status in (200, 400) else "differs"
    yield Finding(EXPIRED.id, result, believed, observed)  # type: ignore[arg-type]


def _unknown(resource: str, beliefs: dict[Question, str], why: str) -> Iterator[Finding]:
    for question, believed in beliefs.items():
        yield Finding(question.id, "unknown", believed, why, resource)


def _state(value: Any) -> str:
    text = str(value.get("status", "")).strip().lower() if isinstance(value, dict) else ""
    return text if text in STATES else "another word" if text else "none"
