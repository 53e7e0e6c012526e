"""Valid input for any operation, worked out from the catalogue and the records of a sandbox."""

import itertools
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_drchrono.catalog import Field, Operation, load
from airflow_provider_drchrono.sandbox import Sandbox

CATALOG = load()
HOURS = itertools.count()
PATTERNS = {r"[A-Za-z]{2}": "NY", r"10|\d": "7", r"[A-Za-z0-9_]+": "text_name"}
SIGNATURE = ("signature.png", b"\x89PNG\r\n\x1a\n\x00synthetic", "image/png")


@dataclass
class Call:
    """One request: what goes where."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    body: Any = None
    files: dict[str, Any] = field(default_factory=dict)
    form: bool = False

    def sent(self) -> dict[str, Any]:
        """Return the arguments of ``httpx.Client.request``."""
        arguments: dict[str, Any] = {"method": self.method, "url": self.path, "params": self.query}
        if self.form:
            parts = {name: (None, str(value)) for name, value in (self.body or {}).items()} | self.files
            return arguments | {"files": parts} if parts else arguments
        if self.files:
            return arguments | {"files": self.files, "data": {name: str(value) for name, value in self.body.items()}}
        return arguments if self.body is None else arguments | {"json": self.body}


def identifier_of(sandbox: Sandbox, resource: str) -> Any:
    """Return what a path names the last record of a resource by."""
    table = sandbox.practice.table(resource)
    return next(key for key in reversed(table.keys) if not table[key].get("deleted_flag"))


def value_for(sandbox: Sandbox, expected: Field) -> Any:
    """Return a value that a field takes."""
    if expected.refers_to and expected.name != "exam_room":
        key = sandbox.practice.table(expected.refers_to).keys[0]
        if expected.type == "array":
            return [key]
        return str(key) if expected.type == "string" else key
    if expected.enum:
        return next(each for each in expected.enum if each != "")
    if expected.pattern:
        return PATTERNS.get(expected.pattern, "3 00:00:00")
    if expected.json_text:
        return '["text"]'
    if expected.before:
        return "2026-03-04T08:30:00"
    by_format = {
        "date": "2026-03-04",
        "date-time": "2026-03-04T09:30:00",
        "time": "09:30:00",
        "decimal": "12.50",
        "base64": "AAAA",
    }
    if expected.format in by_format:
        return by_format[expected.format]
    if expected.type == "array":
        return [value_for(sandbox, expected.items)] if expected.items else []
    if expected.type == "object":
        fields = CATALOG.record(expected.record).fields.values() if expected.record else expected.fields
        return {each.name: value_for(sandbox, each) for each in fields if not each.read_only}
    plain: dict[str, Any] = {"integer": 1, "number": 1.5, "boolean": True, "any": True}
    return plain.get(expected.type, f"text {expected.name}")


def call_for(sandbox: Sandbox, operation: Operation, *, full: bool = False) -> Call:
    """Return a valid request, with the least that the operation needs or with everything that it takes."""
    path = operation.path
    if "{id}" in path:
        path = path.replace("{id}", str(identifier_of(sandbox, operation.resource)))
    call = Call(operation.method, path)
    for parameter in operation.parameters:
        if parameter.place == "query" and parameter.required:
            call.query[parameter.name] = _query_value(sandbox, operation, parameter.name)
    resource = CATALOG.resource(operation.resource)
    if operation.kind in ("list", "bulk_start") and resource.requires_one_of:
        call.query["since"] = "2020-01-01"
    if operation.kind == "bulk_result":
        call.query["uuid"] = ticket_for(sandbox, operation)
    _add_body(sandbox, operation, call, full=full)
    return call


def ticket_for(sandbox: Sandbox, operation: Operation) -> str:
    """Start the background list that an operation fetches, behind the API's back, and return its ticket."""
    from airflow_provider_drchrono.sandbox.filters import Filters

    table = sandbox.practice.table(operation.resource)
    started = sandbox.app.bulk.start(table, Filters(), {}, resource=operation.resource, largest=1000)
    ticket: str = started.json()["uuid"]
    return ticket


def _query_value(sandbox: Sandbox, operation: Operation, name: str) -> str:
    references = {
        "appointment": "appointments",
        "appointment_id": "appointments",
        "base_recurring_appointment": "appointments",
        "consent_form": "consent_forms",
        "id": operation.resource,
        "patient": "patients",
        "template_id": "clinical_note_templates",
    }
    if operation.id == "yellow_notepad_retrieve":
        return str(sandbox.practice.records("yellow_notepad")[0][name])
    if name in references:
        return str(sandbox.practice.table(references[name]).keys[0])
    fixed = {"payer_type": "emdeon", "start_date": "1/1/2026", "end_date": "12/31/2026", "uuid": ""}
    return fixed[name]


def _add_body(sandbox: Sandbox, operation: Operation, call: Call, *, full: bool) -> None:
    if operation.body is None or operation.body.encoding == "none":
        return
    fields = [each for each in CATALOG.body_fields(operation) if not each.read_only]
    needed = [each for each in fields if full or (each.required and operation.kind in ("create", "replace"))]
    if operation.kind in ("update", "action") and not needed:
        needed = [each for each in fields if each.format != "file"]
        needed = needed if operation.kind == "action" else needed[:1]
    if operation.id == "yellow_notepad_create":
        needed = fields
    if operation.id == "telehealth_appointment_history_create":
        needed = fields
    call.body = {each.name: value_for(sandbox, each) for each in needed if each.format != "file"}
    if "scheduled_time" in call.body and operation.resource.startswith("appointments"):
        # Two visits of a doctor at one time are a conflict.
        call.body["scheduled_time"] = (datetime(2031, 1, 1) + timedelta(hours=next(HOURS))).isoformat()
    if "id" in call.body:
        call.body["id"] = identifier_of(sandbox, operation.resource)
    if operation.kind == "create" and operation.resource.startswith("patients"):
        call.body["first_name"] = f"Only {operation.id} {full}"
    if operation.body.encoding == "multipart":
        call.files = {each.name: SIGNATURE for each in needed if each.format == "file"}
        call.form = operation.body.multipart_only
        # A form holds no nested values; the API takes them in JSON only.
        if call.files or call.form:
            call.body = {name: value for name, value in call.body.items() if not isinstance(value, (dict, list))}
