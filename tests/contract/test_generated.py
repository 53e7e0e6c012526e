"""The generated operators beside what they are made from and what they stand on."""

import inspect
import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import BaseOperator

from airflow_provider_drchrono import catalog
from airflow_provider_drchrono.codegen import __main__ as command
from airflow_provider_drchrono.codegen.bases import BASES, options_of
from airflow_provider_drchrono.codegen.plan import OperatorPlan, plan
from airflow_provider_drchrono.common.task_options import TaskOptions
from airflow_provider_drchrono.operators import base
from airflow_provider_drchrono.operators.base import options

ROOT = Path(__file__).resolve().parents[2]
PLANNED = {each.class_name: each for each in plan(catalog.load()).operators}
INDEX = json.loads((ROOT / "airflow_provider_drchrono/operators/index.json").read_text())
PAGES = sorted((ROOT / "docs/reference/operators").glob("*.md"))


def operator_class(row: dict[str, Any]) -> type[base.DrChronoOperationOperator]:
    module, name = row["operator"].rsplit(".", 1)
    found: type[base.DrChronoOperationOperator] = getattr(import_module(module), name)
    return found


def test_what_is_generated_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ruff", reason="the generator formats with ruff, which this environment does not have")

    status = command.main(["--check"])

    assert status == 0, capsys.readouterr().out


@pytest.mark.parametrize("row", INDEX, ids=lambda row: row["operation_id"])
def test_the_index_names_a_class_that_takes_its_arguments(row: dict[str, Any]) -> None:
    cls = operator_class(row)
    taken = {name for each in cls.__mro__ for name in inspect.signature(each.__init__).parameters}

    assert cls.operation_id == row["operation_id"]
    assert {each["argument"] for each in row["parameters"]} <= taken
    assert {each["argument"] for each in row["parameters"] if each["argument"] != "verbose"} <= set(cls.template_fields)


@pytest.mark.parametrize("class_name", PLANNED)
def test_no_argument_means_something_else_to_airflow(class_name: str) -> None:
    reserved = set(inspect.signature(BaseOperator.__init__).parameters) | set(dir(BaseOperator))

    assert {each.name for each in PLANNED[class_name].arguments} & reserved == set()


@pytest.mark.parametrize("kind", BASES)
def test_what_is_said_of_options_is_true_of_the_base_class(kind: str) -> None:
    inherited = getattr(base, BASES[kind]).__mro__
    ours = inherited[: inherited.index(base.DrChronoOperationOperator) + 1]
    defaults = {
        name: parameter.default
        for cls in reversed(ours)
        for name, parameter in inspect.signature(cls.__init__).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    read = {each.name: each.default for each in options_of(BASES[kind])}

    assert set(read) == set(defaults)
    assert {name: eval(text) for name, text in read.items() if text is not None} == {
        name: default for name, default in defaults.items() if default is not inspect.Parameter.empty
    }


@pytest.mark.parametrize("class_name", PLANNED)
def test_the_types_of_options_are_the_arguments_that_have_an_effect(class_name: str) -> None:
    planned = PLANNED[class_name]
    found = {**vars(options), "TaskOptions": TaskOptions}[planned.options_type]

    assert set(found.__annotations__) == {each.name for each in planned.options} | set(TaskOptions.__annotations__)


def test_the_arguments_of_every_task_are_airflows_and_the_connection() -> None:
    airflow = set(inspect.signature(BaseOperator.__init__).parameters) - {"self", "kwargs"}
    since_airflow_3_3 = {"retry_policy"}

    assert set(TaskOptions.__annotations__) - since_airflow_3_3 == (airflow - since_airflow_3_3) | {"drchrono_conn_id"}


@pytest.mark.parametrize("class_name", PLANNED)
def test_what_is_templated_is_an_attribute_of_the_operator(class_name: str) -> None:
    planned = PLANNED[class_name]
    operator = from_example(planned)

    assert {name for name in operator.template_fields if not hasattr(operator, name)} == set()
    assert (
        {each.name for each in planned.own}
        <= set(operator.template_fields)
        <= {each.name for each in planned.arguments}
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_example_on_a_reference_page_runs(page: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    domain = vars(import_module(f"airflow_provider_drchrono.operators.{page.stem}"))

    operators = [eval(each, dict(domain)) for each in examples]

    assert sorted(each.operation_id for each in operators) == sorted(
        each.operation.id for each in PLANNED.values() if each.resource.domain == page.stem
    )


def from_example(planned: OperatorPlan) -> BaseOperator:
    from airflow_provider_drchrono.codegen.examples import example

    module = import_module(f"airflow_provider_drchrono.operators.{planned.resource.domain}")
    operator: BaseOperator = eval(example(catalog.load(), planned), dict(vars(module)))
    return operator
