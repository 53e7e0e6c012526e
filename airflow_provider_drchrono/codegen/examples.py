"""Writes, for the reference pages, a call of each operator with as little as it takes."""

from __future__ import annotations

from typing import Any

from airflow_provider_drchrono.catalog import Catalog
from airflow_provider_drchrono.catalog.samples import call_of, parameter_sample, sample
from airflow_provider_drchrono.codegen import naming
from airflow_provider_drchrono.codegen.plan import OperatorPlan


def example(catalog: Catalog, operator: OperatorPlan) -> str:
    """Return the source of a call: the task, the ids, the required fields or one, the filters that are insisted on."""
    stem = operator.class_name.removeprefix("DrChrono").removesuffix("Operator")
    arguments: dict[str, Any] = {}
    for argument in operator.own:
        if argument.name == "data" and (argument.default is None):
            arguments["data"] = _data(catalog, operator)
        elif argument.name == "filters" and (filters := _filters(operator)):
            arguments["filters"] = filters
        elif argument.name == "uuid":
            arguments["uuid"] = "{{ ti.xcom_pull(task_ids='start')['uuid'] }}"
        elif argument.assigned and argument.default is None:
            name = {**operator.path_arguments, **operator.query_arguments}[argument.name]
            arguments[argument.name] = parameter_sample(operator.operation.parameter(name))
    return call_of(operator.class_name, naming.snake_of_camel(stem), arguments)


def _data(catalog: Catalog, operator: OperatorPlan) -> dict[str, Any]:
    required = [each for each in operator.data_fields if each.name in operator.required_fields]
    return {each.name: sample(catalog, each) for each in required or operator.data_fields[:1]}


def _filters(operator: OperatorPlan) -> dict[str, Any]:
    wanted = [*operator.required_filters, *operator.one_of_filters[:1]]
    return {each.name: parameter_sample(each) for each in operator.filters if each.name in wanted}
