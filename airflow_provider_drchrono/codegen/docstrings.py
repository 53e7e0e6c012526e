"""Writes the docstrings of generated classes: what an operator or sensor does, asks for, and returns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from airflow_provider_drchrono.catalog import Operation, RecordSchema
from airflow_provider_drchrono.codegen.bases import Option
from airflow_provider_drchrono.codegen.plan import OperatorPlan
from airflow_provider_drchrono.codegen.sensors import SensorPlan

WIDTH = 119
MAIN_FIELDS = 5


def operator_docstring(operator: OperatorPlan) -> str:
    """Return the docstring of an operator's class, indented for it, without its quotes."""
    operation = operator.operation
    facts = call_facts(operation)
    if operation.action:
        facts.insert(1, f'The action "{operation.action.title}".')
    if operation.kind == "replace":
        lost = "What ``data`` leaves out is lost"
        facts.append(f"{lost}; :class:`{operator.update}` leaves it as it is." if operator.update else f"{lost}.")
    facts.append(f"{returned(operator)} Further arguments: :class:`{operator.base}`.")
    return _docstring(operation.summary, facts, operator.own)


def sensor_docstring(sensor: SensorPlan) -> str:
    """Return the docstring of a sensor's class, indented for it, without its quotes."""
    facts = call_facts(sensor.operation)
    facts.insert(1, f'The trigger "{sensor.trigger.title}".')
    facts.append(
        f"Returns {_many(sensor.record)}, or ``{{'path', 'count'}}`` of a file, or batches of records. Lookback: "
        f"{sensor.lookback_label}. Further arguments: :class:`IncrementalSensor`."
    )
    return _docstring(f"Wait for new or updated {sensor.resource.plural}.", facts, ())


def module_docstring(summary: str, names: Iterable[str]) -> str:
    """Return the docstring of a module, without its quotes: what it is, and the list of its classes."""
    return "\n".join([summary, "", *_wrap(f"{', '.join(sorted(names))}.", room=0)])


def call_facts(operation: Operation) -> list[str]:
    """Return sentences about the call: method, path, scopes and permissions."""
    facts = [f"``{operation.method} {operation.path}``."]
    if operation.scopes:
        kind = "Scope:" if len(operation.scopes) == 1 else "One of the scopes"
        facts.append(f"{kind} {_literals(operation.scopes)}.")
    if operation.permissions:
        facts.append(f"Permissions in DrChrono: {_literals(operation.permissions)}.")
    return facts


def returned(operator: OperatorPlan) -> str:
    """Return a sentence or two about what an operator returns, and so pushes as its XCom."""
    record = operator.record
    by_kind = {
        "list": f"Returns {_many(record)}, or ``{{'path', 'count'}}`` of a file.",
        "read": f"Returns {_one(record)}, or None where it is missing and may be.",
        "create": f"Returns {_one(record)}, or a list of them for a list in ``data``.",
        "update": "Returns ``{'id'}``, or with ``read_back`` the record.",
        "replace": "Returns ``{'id'}``, or with ``read_back`` the record.",
        "delete": "Returns ``{'id'}``, or None where the record is missing and may be.",
        "bulk_start": f"Returns {_many(record)}, ``{{'path', 'count'}}`` of a file, or ``{{'uuid', 'status'}}``.",
        "bulk_result": f"Returns {_many(record)}, ``{{'path', 'count'}}`` of a file, or ``{{'uuid', 'status'}}``.",
        "report": "Returns the report, or ``{'path', 'bytes'}`` of a file.",
        "action": f"Returns {_one(record)}." if record else "Returns ``{'id'}``.",
    }
    return by_kind[operator.operation.kind]


def attribute_doc(about: str) -> str:
    """Return the docstring of a key of a TypedDict, indented for it; nothing where there is nothing to say."""
    if not about:
        return ""
    text = about.replace("\\", "\\\\")
    return textwrap.indent("\n".join(_wrap(f'"""{text}"""', room=4)), "    ")


def _one(record: RecordSchema | None) -> str:
    return f"the record ({_main_keys(record)})" if record else "the answer"


def _many(record: RecordSchema | None) -> str:
    return f"a list of records ({_main_keys(record)})" if record else "a list of records"


def _main_keys(record: RecordSchema) -> str:
    """Name the fields that say what a record is: its id, what a create has to give, and then the first others."""
    fields = list(record.fields.values())
    ordered = [
        *(each for each in fields if each.name == "id"),
        *(each for each in fields if each.required),
        *(each for each in fields if not each.verbose and not each.write_only),
    ]
    names = list(dict.fromkeys(each.name for each in ordered))
    return _literals(names[:MAIN_FIELDS]) + (", ..." if len(names) > MAIN_FIELDS else "")


def _docstring(summary: str, facts: Iterable[str], arguments: Iterable[Option]) -> str:
    paragraphs = [summary, "", *_wrap(" ".join(facts))]
    params = [line for each in arguments for line in _wrap(f":param {each.name}: {each.about}", hanging="    ")]
    if params:
        paragraphs += ["", *params]
    return "\n".join(f"    {line}" if line else "" for line in paragraphs).strip()


def _wrap(text: str, hanging: str = "", room: int = 4) -> list[str]:
    return textwrap.wrap(text, WIDTH - room, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False)


def _literals(names: Iterable[str]) -> str:
    return ", ".join(f"``{name}``" for name in names)
