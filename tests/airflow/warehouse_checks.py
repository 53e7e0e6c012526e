"""Compares a warehouse with the practice behind the sandbox, by rules of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.sandbox import Sandbox

RESOURCES = ("patients", "appointments", "line_items", "transactions", "tasks")
EXAMPLE_DAG = "drchrono_to_warehouse.py"

Fetch = Callable[[str], list[tuple[Any, ...]]]


def listed(sandbox: Sandbox, resource: str) -> dict[str, dict[str, Any]]:
    """The records that the resource's list shows, by id."""
    records = sandbox.practice.records(resource)
    return {str(record["id"]): record for record in records if not record.get("deleted_flag")}


def differences(sandbox: Sandbox, resource: str, fetch: Fetch) -> list[str]:
    """Say where the table of a resource is not what the practice has: rows, digests and each column's value."""
    records = listed(sandbox, resource)
    fields = [field for field in load().record_of(resource).fields.values() if not field.verbose]  # type: ignore[union-attr]
    names = ", ".join(f'"{field.name}"' for field in fields)
    metadata = '"_drchrono_digest", "_drchrono_timezone"'
    rows = fetch(f'SELECT {metadata}, {names} FROM "{resource}" WHERE "_drchrono_deleted_at" IS NULL')
    found = []
    seen = set()
    for digest, timezone, *values in rows:
        row = dict(zip((field.name for field in fields), values, strict=True))
        identifier = str(row["id"])
        record = records.get(identifier)
        if record is None or identifier in seen:
            found.append(f"{resource} {identifier} should not be there, or not twice")
            continue
        seen.add(identifier)
        text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        if digest != hashlib.sha256(text.encode()).hexdigest() or timezone != sandbox.options.timezone:
            found.append(f"{resource} {identifier} has another digest or zone")
        found += [
            f"{resource} {identifier}: {field.name} is {row[field.name]!r}, the practice has {record.get(field.name)!r}"
            for field in fields
            if not same(field.type, field.format, record.get(field.name), row[field.name])
        ]
    found += [f"{resource} {identifier} is missing" for identifier in records.keys() - seen]
    return found


def same(kind: str, form: str | None, sent: Any, stored: Any) -> bool:
    """Tell whether a column holds what the API sent, in a type of the database."""
    if sent is None:
        return stored is None
    if form == "decimal":
        return bool(Decimal(str(stored)) == Decimal(str(sent)))
    if kind in ("array", "object", "any"):
        return bool((json.loads(stored) if isinstance(stored, str) else stored) == sent)
    if form == "date-time":
        moment = datetime.fromisoformat(stored) if isinstance(stored, str) else stored
        return bool(moment == datetime.fromisoformat(sent)) and "+" not in str(stored)
    if form == "date":
        return (stored.isoformat() if isinstance(stored, date) else stored) == sent
    if form == "time":
        return bool(str(stored) == sent)
    if kind == "string":
        return isinstance(stored, str) and stored == sent
    if kind == "integer" and isinstance(stored, str):
        # A reference to ids that are text.
        return stored == str(sent)
    return bool(stored == sent)


def pages(records: int, size: int) -> int:
    """How many requests a list of so many records takes."""
    return max(1, -(-records // size))
