"""Sample values, and calls of operators with them, for the reference pages and ``airflow drchrono describe``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_drchrono.catalog.model import Catalog, Field, Parameter

LONGEST_LINE = 100

BY_FORMAT = {
    "base64": "/data/photo.png",
    "date": "2026-01-31",
    "date-time": "2026-01-31T09:30:00",
    "decimal": "12.50",
    "file": "/data/report.pdf",
    "time": "09:30",
}
BY_TYPE: dict[str, Any] = {
    "any": "...",
    "array": ["..."],
    "boolean": True,
    "integer": 42,
    "number": 1.5,
    "object": {"...": "..."},
    "string": "...",
}


def call_of(class_name: str, task_id: str, arguments: Mapping[str, Any]) -> str:
    """Return the source of a call of an operator."""
    lines = [f'    task_id="{task_id}",']
    for name, value in arguments.items():
        lines += _argument(name, value)
    return "\n".join([f"{class_name}(", *lines, ")"])


def parameter_sample(parameter: Parameter) -> Any:
    """Return a value that a path or query parameter may have."""
    if parameter.place == "path":
        return 42
    if parameter.enum:
        return next(each for each in parameter.enum if each != "")
    if parameter.format in ("date", "date-time", "M/D/YYYY"):
        return "2026-01-31"
    return BY_TYPE[parameter.type]


def sample(catalog: Catalog, field: Field) -> Any:
    """Return a value that a field may hold."""
    if field.enum:
        return next(each for each in field.enum if each != "")
    if field.type == "array" and field.items:
        return [sample(catalog, field.items)]
    inner = catalog.record(field.record).writable_fields if field.record else field.fields
    if inner:
        required = [each for each in inner if each.required and not each.read_only]
        return {each.name: sample(catalog, each) for each in required or inner[:1]}
    return BY_FORMAT[field.format] if field.format else BY_TYPE[field.type]


def _argument(name: str, value: Any) -> list[str]:
    line = f"    {name}={_source(value)},"
    if len(line) <= LONGEST_LINE or not isinstance(value, Mapping):
        return [line]
    return [
        f"    {name}={{",
        *(f"        {_source(key)}: {_source(each)}," for key, each in value.items()),
        "    },",
    ]


def _source(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_source(key)}: {_source(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_source, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else repr(value)
