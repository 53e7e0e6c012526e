"""Writes, for the reference pages, a call of each operator with as little as it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_drchrono.catalog import Catalog, Field, Parameter
from airflow_provider_drchrono.codegen import naming
from airflow_provider_drchrono.codegen.plan import OperatorPlan

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


def example(catalog: Catalog, operator: OperatorPlan) -> str:
    """Return the source of a call: the task, the ids, the required fields or one, the filters that are insisted on."""
    stem = operator.class_name.removeprefix("DrChrono").removesuffix("Operator")
    lines = [f'    task_id="{naming.snake_of_camel(stem)}",']
    for argument in operator.own:
        if argument.name == "data":
            lines += _argument("data", _data(catalog, operator))
        elif argument.name == "filters" and (filters := _filters(operator)):
            lines += _argument("filters", filters)
        elif argument.name == "uuid":
            lines += _argument("uuid", "{{ ti.xcom_pull(task_ids='start')['uuid'] }}")
        elif argument.assigned and argument.default is None:
            lines += _argument(argument.name, _query(operator, argument.name))
    return "\n".join([f"{operator.class_name}(", *lines, ")"])


def _data(catalog: Catalog, operator: OperatorPlan) -> dict[str, Any]:
    required = [each for each in operator.data_fields if each.name in operator.required_fields]
    return {each.name: sample(catalog, each) for each in required or operator.data_fields[:1]}


def _filters(operator: OperatorPlan) -> dict[str, Any]:
    wanted = [*operator.required_filters, *operator.one_of_filters[:1]]
    return {each.name: _parameter(each) for each in operator.filters if each.name in wanted}


def _query(operator: OperatorPlan, argument: str) -> Any:
    name = {**operator.path_arguments, **operator.query_arguments}[argument]
    parameter = operator.operation.parameter(name)
    return 42 if parameter.place == "path" else _parameter(parameter)


def _parameter(parameter: Parameter) -> Any:
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
