"""``airflow drchrono describe``: what an operation or a resource is, takes, gives and insists on."""

from __future__ import annotations

import json
import re
import textwrap
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from airflow_provider_drchrono.catalog import Catalog, Field, Operation, Resource, load
from airflow_provider_drchrono.catalog.names import nearest, offered
from airflow_provider_drchrono.catalog.samples import call_of, parameter_sample, sample
from airflow_provider_drchrono.catalog.wording import (
    parameter_label,
    rows_of,
    rules_of,
    type_label,
    values_label,
)
from airflow_provider_drchrono.cli.index import operations as index_rows

Described = dict[str, Any]

WIDTH = 110
MARKS = ("required", "verbose_only")
RETURNED = {
    "list": "a list of records, or path and count of a file",
    "read": "the record, or None where it is missing and may be",
    "create": "the record, or a list of them for a list in data",
    "update": "the id, or with read_back the record",
    "replace": "the id, or with read_back the record",
    "delete": "the id, or None where the record is missing and may be",
    "bulk_start": "a list of records, path and count of a file, or uuid and status",
    "bulk_result": "a list of records, path and count of a file, or uuid and status",
    "report": "the report, or path and size of a file",
    "action": "the record, or the id where the API answers nothing",
}


def describe(args: Namespace) -> None:
    """Print what is known of a thing.

    :param args: ``name``, a list of words that make an operation's id, its operator, the title of its action, or a
        resource; and ``output``, as parsed by Airflow.
    :raises SystemExit: there is no such thing; the message offers the nearest names.
    """
    catalog = load()
    found = find(catalog, " ".join(args.name))
    described = of_operation(catalog, found) if isinstance(found, Operation) else of_resource(catalog, found)
    print(json.dumps(described, indent=2) if args.output == "json" else "\n".join(_text(described)))


def find(catalog: Catalog, name: str) -> Operation | Resource:
    """Return the operation or resource of a name, in any case.

    :param name: an operation's id, the class or path of its operator, the title of its action, or a resource.
    :raises SystemExit: there is none; the message offers the nearest names.
    """
    operations = _names(catalog)
    wanted = name.strip().rpartition(".")[2] or name.strip()
    folded = {each.casefold(): operation_id for each, operation_id in operations.items()}
    if (operation_id := folded.get(wanted.casefold())) is not None:
        return catalog.operations[operation_id]
    if wanted.casefold() in catalog.resources:
        return catalog.resources[wanted.casefold()]
    known = {each.casefold(): each for each in (*operations, *catalog.resources)}
    near = [known[each] for each in nearest(wanted.casefold(), known, most=3)]
    raise SystemExit(
        f"There is no operation, operator, action or resource {name!r}{offered(near)}. "
        "`airflow drchrono operations --search WORDS` looks for words"
    )


def _names(catalog: Catalog) -> dict[str, str]:
    """Return the ids of operations by all that they are called."""
    names: dict[str, str] = {}
    for row in index_rows():
        operator = row["operator"].rpartition(".")[2]
        short = operator.removeprefix("DrChrono").removesuffix("Operator")
        for each in (row["operation_id"], operator, short, row["action"]):
            if each:
                names.setdefault(each, row["operation_id"])
    return {each: names[each] for each in names if each in catalog.operations or each not in catalog.resources}


def of_operation(catalog: Catalog, operation: Operation) -> Described:
    """Return what is known of an operation: plain values, in the order in which they are printed."""
    row = next(each for each in index_rows() if each["operation_id"] == operation.id)
    required = catalog.required_fields(operation)
    data = sorted(catalog.data_fields(operation), key=lambda each: each.name not in required)
    record = catalog.record(operation.response.record) if operation.response.record else None
    if operation.kind == "bulk_start":
        record = catalog.record_of(operation.resource)
    return {
        "operation": operation.id,
        "summary": operation.summary,
        "action": operation.action.title if operation.action else None,
        "category": row["category"],
        "operator": row["operator"],
        "call": f"{operation.method} {operation.path}",
        "scopes": list(operation.scopes),
        "permissions": list(operation.permissions),
        "returns": RETURNED[operation.kind],
        "rules": rules_of(catalog, operation),
        "example": _example(catalog, operation, row),
        "arguments": [
            {
                "argument": each["argument"],
                "name": each["name"],
                "type": parameter_label(operation.parameter(each["name"])),
                "required": each["required"],
                "meaning": operation.parameter(each["name"]).about,
                "values": values_label(operation.parameter(each["name"])),
            }
            for each in row["parameters"]
            if each["place"] in ("path", "query")
        ],
        "data": list(_fields(catalog, data, required, writable=True)),
        "returned": list(_fields(catalog, record.fields.values(), (), writable=False)) if record else [],
    }


def of_resource(catalog: Catalog, resource: Resource) -> Described:
    """Return what is known of a resource: plain values, in the order in which they are printed."""
    record = catalog.record_of(resource.name)
    changes = resource.incremental
    return {
        "resource": resource.name,
        "summary": resource.about,
        "key": list(resource.key),
        "changes": {"filter": changes.filter, "field": changes.cursor_field} if changes else None,
        "page": resource.paging.size if resource.paging else None,
        "bulk": resource.bulk.start if resource.bulk else None,
        "needs_one_of": list(resource.requires_one_of),
        "practice_access": list(resource.practice_access or ()),
        "operations": [
            {"operation": each.id, "call": f"{each.method} {each.path}", "summary": each.summary}
            for each in resource.operations.values()
        ],
        "fields": list(_fields(catalog, record.fields.values(), (), writable=False)) if record else [],
    }


def _fields(
    catalog: Catalog, fields: Iterable[Field], required: Iterable[str], *, writable: bool
) -> Iterator[Described]:
    needed = set(required)
    for row in rows_of(catalog, fields, writable=writable):
        if not writable and row.field.write_only:
            continue
        marks = {"required": row.name in needed or (row.name != row.field.name and row.field.required)}
        if not writable:
            marks = {"verbose_only": row.field.verbose}
        values = values_label(row.field)
        yield {"name": row.name, "type": type_label(row.field), **marks, "meaning": row.field.about, "values": values}


def _example(catalog: Catalog, operation: Operation, row: Mapping[str, Any]) -> str:
    arguments: dict[str, Any] = {}
    one_of = catalog.resource(operation.resource).requires_one_of if operation.kind in ("list", "bulk_start") else ()
    for each in row["parameters"]:
        if each["place"] not in ("path", "query") or not (each["required"] or each["name"] in one_of[:1]):
            continue
        value = parameter_sample(operation.parameter(each["name"]))
        if each["argument"] == "filters":
            arguments.setdefault("filters", {})[each["name"]] = value
        else:
            arguments[each["argument"]] = value
    fields = catalog.data_fields(operation)
    if fields and not catalog.can_do_without_body(operation):
        needed = [each for each in fields if each.name in catalog.required_fields(operation)]
        arguments["data"] = {each.name: sample(catalog, each) for each in needed or fields[:1]}
    name = row["operator"].rpartition(".")[2]
    stem = name.removeprefix("DrChrono").removesuffix("Operator")
    return call_of(name, re.sub(r"(?<!^)(?=[A-Z])", "_", stem).lower(), arguments)


def _text(described: Described) -> Iterator[str]:
    """Yield the lines that people read."""
    name = described.get("operation") or described["resource"]
    yield from textwrap.wrap(f"{name}: {described['summary']}", WIDTH)
    for key, value in described.items():
        if key in ("operation", "resource", "summary") or value in (None, [], ""):
            continue
        title = key.replace("_", " ").capitalize()
        if key == "example":
            yield from ("", "Example", *textwrap.indent(str(value), "  ").splitlines())
        elif isinstance(value, list) and isinstance(value[0], dict):
            yield from ("", title, *(line for each in value for line in _row(each)))
        elif key == "rules":
            rules = (f"- {each}".replace("`", "") for each in value)
            yield from ("", title, *(line for each in rules for line in _wrapped(each, "  ", "    ")))
        else:
            shown = value if not isinstance(value, dict) else [f"{name} {each}" for name, each in value.items()]
            shown = ", ".join(map(str, shown)) if isinstance(shown, list) else str(shown)
            yield from _wrapped(f"{title + ':':<17}{shown}", "", " " * 17)


def _row(row: Described) -> Iterator[str]:
    if "call" in row:
        yield from _wrapped(f"{row['operation']}: {row['summary']} {row['call']}", "  ", "    ")
        return
    argument = row.get("argument")
    place = f"{argument}[{row['name']!r}]" if argument == "filters" else argument or row["name"]
    marks = ", ".join([row["type"], *(word.replace("_", " ") for word in MARKS if row.get(word))])
    text = f"{place} ({marks}) {_meaning(row['meaning'], row['values'])}"
    yield from _wrapped(text.replace("`", ""), "  ", "    ")


def _meaning(meaning: str, values: str) -> str:
    sentences = [meaning.rstrip(".")] if meaning else []
    if "," in values:
        sentences.append(f"One of {values}")
    elif values and values.replace("`", "") not in meaning:
        sentences.append(values.capitalize())
    return " ".join(f"{each}." for each in sentences)


def _wrapped(text: str, first: str, later: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=later, break_long_words=False)
