"""The value of a field that nobody has set, as the API shows it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from airflow_provider_drchrono.catalog import Field, RecordSchema, load


def blank(record: RecordSchema) -> dict[str, Any]:
    """Return a row in which no field is set; verbose fields are left out."""
    return {name: _empty(value) for name, value in _plain_blanks(record.name)}


def blank_value(field: Field) -> Any:
    """Return what an unset field shows."""
    if field.type == "array":
        return []
    if field.type == "boolean":
        return False
    if field.type != "string" or field.format or field.nullable or field.refers_to:
        return None
    return "" if not field.enum or "" in field.enum else None


@lru_cache(maxsize=128)
def _plain_blanks(name: str) -> tuple[tuple[str, Any], ...]:
    fields = load().record(name).fields.values()
    return tuple((field.name, blank_value(field)) for field in fields if not field.verbose)


def _empty(value: Any) -> Any:
    return [] if value == [] else value
