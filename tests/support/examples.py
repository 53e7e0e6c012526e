"""Valid arguments for any generated operator, worked out from the catalogue and the records of a sandbox."""

import importlib
import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from importlib import resources
from typing import Any

from airflow_provider_drchrono.catalog import Field, Operation, Parameter, load
from airflow_provider_drchrono.operators.base import DrChronoOperationOperator
from airflow_provider_drchrono.sandbox import Sandbox
from tests.support.running import execute

FILE = {"name": "report.pdf", "content": b"%PDF-1.4 synthetic"}

# What the text of a path or query parameter names, where its own name does not say.
REFERENCES = {
    "appointment": "appointments",
    "appointment_id": "appointments",
    "base_recurring_appointment": "appointments",
    "clinical_note_field": "clinical_note_field_types",
    "clinical_note_template": "clinical_note_templates",
    "consent_form": "consent_forms",
    "doctor": "doctors",
    "lab_order": "lab_orders",
    "line_item": "line_items",
    "office": "offices",
    "patient": "patients",
    "patient_id": "patients",
    "template_id": "clinical_note_templates",
}
DATE_RANGE = "2026-01-01/2026-01-31"
TEXTS = {"date_of_birth": "1980-05-17"}
PATTERNED = {
    "default_due_date_offset": "2 12:00:00",
    "employer_state": "NY",
    "json_data": "{}",
    "metatags": '["text"]',
    "pain": "3",
    "state": "MA",
    "template_name": "shoe_size",
}
BY_FORMAT = {
    "base64": FILE,
    "date": "2026-03-04",
    "date-time": "2026-03-04T09:30:00",
    "decimal": "12.50",
    "file": FILE,
    "time": "09:30:00",
}
HOURS = itertools.count()
EARLIER = "2026-03-04T09:00:00"
# What has to be done to a record before an operation finds anything to do.
BEFORE = {
    "consent_forms_unapply_from_appointment": "consent_forms_apply_to_appointment",
    "patients_onpatient_access_delete": "patients_onpatient_access_create",
    "patients_onpatient_access_read": "patients_onpatient_access_create",
}

# Deletes of records that another resource shows and deletes too: each takes a record of its own.
SHARED = {"appointments_list_delete": 1, "patients_summary_delete": 1}


@dataclass(frozen=True)
class Example:
    """An operator's arguments, and the request that they stand for.

    :param query: everything in the query that is not the mechanics of paging, as text.
    :param body: the decoded body; files as name, type and size.
    """

    arguments: dict[str, Any]
    path: str
    query: dict[str, str] = field(default_factory=dict)
    body: Any = None


@lru_cache(maxsize=1)
def index() -> dict[str, dict[str, Any]]:
    """Return the rows of the index by operation id."""
    text = (resources.files("airflow_provider_drchrono.operators") / "index.json").read_text()
    return {row["operation_id"]: row for row in json.loads(text)}


def operator_class(operation_id: str) -> type[DrChronoOperationOperator]:
    """Return the generated operator of an operation."""
    module, _, name = index()[operation_id]["operator"].rpartition(".")
    found: type[DrChronoOperationOperator] = getattr(importlib.import_module(module), name)
    return found


def example(sandbox: Sandbox, operation: Operation, *, full: bool, numbers: bool = False) -> Example:
    """Return valid arguments for an operator: the least it needs, or everything it takes.

    :param numbers: give amounts as numbers, and not as text, which no schema says but the vendor's reference takes.
    """
    kind = operator_class(operation.id)
    path, arguments = operation.path, {}
    for argument, name in kind.path_arguments.items():
        arguments[argument] = identifier_of(sandbox, operation.resource, skip=SHARED.get(operation.id, 0))
        path = path.replace(f"{{{name}}}", str(arguments[argument]))
    query: dict[str, Any] = {}
    for argument, name in kind.query_arguments.items():
        parameter = operation.parameter(name)
        if parameter.required or full:
            arguments[argument] = query[name] = _parameter_value(sandbox, operation, parameter)
    if operation.filters:
        filters = _filters(sandbox, operation, full=full)
        query |= filters
        if filters:
            arguments["filters"] = filters
    if operation.kind == "bulk_result":
        arguments["uuid"] = query["uuid"] = ticket(sandbox, operation)
    names = {each.name for each in operation.parameters}
    if full and "verbose" in names:
        arguments["verbose"] = query["verbose"] = True
    if full and "order_by" in names:
        order_by = next(iter(operation.parameter("order_by").enum), "id")
        arguments["order_by"] = query["order_by"] = order_by
    body = None
    if load().data_fields(operation):
        arguments["data"] = data(sandbox, operation, full=full, numbers=numbers)
        body = _as_sent(arguments["data"], multipart=_is_form(operation, arguments["data"]))
    return Example(arguments, path, {name: _text(value) for name, value in query.items()}, body)


def data(sandbox: Sandbox, operation: Operation, *, full: bool, numbers: bool = False) -> dict[str, Any]:
    """Return a valid body."""
    fields, required = load().data_fields(operation), load().required_fields(operation)
    wanted = [each for each in fields if full or each.name in required] or list(fields[:1])
    if full and operation.body and operation.body.encoding == "multipart":
        # A multipart body is flat.
        wanted = [each for each in wanted if each.type not in ("array", "object")]
    values = {each.name: value_of(sandbox, each, numbers=numbers) for each in wanted}
    if operation.kind == "create" and operation.resource.startswith("patients"):
        values["first_name"] = f"Only {operation.id} {full}"
    if "scheduled_time" in values and operation.resource.startswith("appointments"):
        # Two visits of a doctor at one time are a conflict.
        values["scheduled_time"] = (datetime(2031, 1, 1) + timedelta(hours=next(HOURS))).isoformat()
    return values


def value_of(sandbox: Sandbox, expected: Field, *, numbers: bool = False) -> Any:
    """Return a value that a field of a body takes."""
    if expected.refers_to and expected.name != "exam_room":
        key = sandbox.practice.table(expected.refers_to).keys[0]
        if expected.type == "array":
            return [key]
        return str(key) if expected.type == "string" else key
    if expected.enum:
        return next(each for each in expected.enum if each != "")
    if expected.format == "decimal" and expected.type == "number" and numbers:
        return 12.5
    if ruled := _kept_rule(expected):
        return ruled
    if expected.type == "array":
        return [value_of(sandbox, expected.items, numbers=numbers)] if expected.items else []
    if expected.type == "object":
        inner = load().record(expected.record).fields.values() if expected.record else expected.fields
        return {each.name: value_of(sandbox, each, numbers=numbers) for each in inner if not each.read_only}
    if expected.pattern or expected.json_text:
        return PATTERNED[expected.name]
    plain = {"integer": 1, "number": 1.5, "boolean": True, "any": "anything", "string": f"text {expected.name}"}
    return plain[expected.type]


def _kept_rule(expected: Field) -> Any:
    """Return a value that keeps to a format, or to a rule in the vendor's words; None where there is none."""
    if expected.before is not None:
        return EARLIER
    if expected.json_text:
        return '["text"]'
    return BY_FORMAT.get(expected.format or "") or PATTERNED.get(expected.name if expected.pattern else "")


def identifier_of(sandbox: Sandbox, resource: str, *, skip: int = 0) -> Any:
    """Return what a path names the last record of a resource by, or one before it."""
    table = sandbox.practice.table(resource)
    return [key for key in table.keys if not table[key].get("deleted_flag")][-1 - skip]


def ticket(sandbox: Sandbox, operation: Operation) -> str:
    """Start the background list that an operation fetches, behind the API's back."""
    from airflow_provider_drchrono.sandbox.filters import Filters

    table = sandbox.practice.table(operation.resource)
    started = sandbox.app.bulk.start(table, Filters(), {}, resource=operation.resource, largest=1000)
    uuid: str = started.json()["uuid"]
    return uuid


def prepare(sandbox: Sandbox, operation: Operation) -> None:
    """Bring the record into the state that an operation begins from."""
    if operation.id.startswith("patients_onpatient_access"):
        # An invite goes out by mail, and other tests make patients without an address.
        address = {"email": "invited@example.com"}
        sandbox.practice.change("patients", identifier_of(sandbox, "patients"), address)
    if before := BEFORE.get(operation.id):
        first = example(sandbox, load().operation(before), full=False)
        execute(operator_class(before)(task_id="before", **first.arguments))
    if operation.kind == "delete":
        # The tests come in any order, and none may find that others have deleted the last one.
        table = sandbox.practice.table(operation.resource)
        model = next(row for row in table if not row.get("deleted_flag"))
        sandbox.practice.create(operation.resource, {name: model[name] for name in model if name != table.key})


def _filters(sandbox: Sandbox, operation: Operation, *, full: bool) -> dict[str, Any]:
    chosen = {each.name for each in operation.filters if full or each.required}
    if not full and operation.kind in ("list", "bulk_start") and load().resource(operation.resource).requires_one_of:
        chosen.add("since")
    return {each.name: _parameter_value(sandbox, operation, each) for each in operation.filters if each.name in chosen}


def _parameter_value(sandbox: Sandbox, operation: Operation, parameter: Parameter) -> Any:
    if operation.id.startswith("yellow_notepad_retrieve"):
        return sandbox.practice.records("yellow_notepad")[0][parameter.name]
    if parameter.name == "id":
        return identifier_of(sandbox, operation.resource)
    if parameter.name == "since" and operation.id == "patients_list_create":
        return "2026-01-01"
    if parameter.enum:
        return next(each for each in parameter.enum if each != "")
    if parameter.type == "boolean":
        return True
    if parameter.name in REFERENCES:
        key = sandbox.practice.table(REFERENCES[parameter.name]).keys[0]
        return str(key) if parameter.type == "string" else key
    if parameter.type == "array":
        return [1, 2]
    return 1 if parameter.type == "integer" else _parameter_text(parameter)


def _parameter_text(parameter: Parameter) -> str:
    by_format = {
        "M/D/YYYY": "1/15/2026",
        "comma-separated": "one,two",
        "date": "2026-01-15",
        "date-range": DATE_RANGE,
        "date-time": "2026-01-01T00:00:00",
    }
    return TEXTS.get(parameter.name) or by_format.get(parameter.format or "", f"text {parameter.name}")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _is_form(operation: Operation, values: Mapping[str, Any]) -> bool:
    if operation.body is not None and operation.body.multipart_only:
        return True
    files = {each.name for each in load().body_fields(operation) if each.format == "file"}
    return bool(files & set(values))


def _as_sent(value: Any, *, multipart: bool) -> Any:
    """Return what the journal shows of a body: a form is text, and files are told by name, type and size."""
    import base64

    if value is FILE:
        content = FILE["content"]
        assert isinstance(content, bytes)
        if multipart:
            return {"file": FILE["name"], "content_type": "application/pdf", "size": len(content)}
        return base64.b64encode(content).decode()
    if isinstance(value, dict):
        return {name: _as_sent(each, multipart=multipart) for name, each in value.items()}
    if isinstance(value, list):
        return [_as_sent(each, multipart=multipart) for each in value]
    return _text(value) if multipart else value


def operations() -> Iterable[Operation]:
    """Return all operations of the catalogue."""
    return load().operations.values()
