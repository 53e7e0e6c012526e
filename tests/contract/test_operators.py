"""Every operator sends what the contract allows and nothing else, as the sandbox sees it over a socket."""

from collections.abc import Iterator
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_drchrono.catalog import Operation, load
from airflow_provider_drchrono.operators.base import DrChronoOperationOperator
from airflow_provider_drchrono.sandbox import Sandbox
from tests.support.examples import FILE, Example, example, operations, operator_class, prepare
from tests.support.running import connected_sandbox, execute

PAGING = frozenset({"cursor", "page_size", "page"})
NAMED_ACTIONS = 174

OPERATIONS = [pytest.param(operation, id=operation.id) for operation in operations()]
CASES = [
    pytest.param(operation, full, id=f"{operation.id} {'full' if full else 'minimal'}")
    for operation in operations()
    for full in (False, True)
]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with pytest.MonkeyPatch.context() as patch, connected_sandbox(patch, patients=5, bulk_polls=0) as running:
        yield running


def test_every_operation_and_every_named_action_has_an_operator() -> None:
    kinds = {operation.id: operator_class(operation.id) for operation in operations()}

    assert len(set(kinds.values())) == len(load().operations)
    assert all(kind.operation_id == operation_id for operation_id, kind in kinds.items())
    assert sum(1 for operation in operations() if operation.action) == NAMED_ACTIONS


@pytest.mark.parametrize(("operation", "full"), CASES)
def test_sends_what_the_contract_allows(sandbox: Sandbox, operation: Operation, full: bool) -> None:
    prepare(sandbox, operation)
    given = example(sandbox, operation, full=full)
    operator = operator_class(operation.id)(task_id="under_test", **given.arguments)

    assert_sends(sandbox, operator, operation, given)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_survives_serialization_and_rendering(sandbox: Sandbox, operation: Operation) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    prepare(sandbox, operation)
    given = example(sandbox, operation, full=True)
    values: list[Any] = []
    with DAG("a_dag", schedule=None) as dag:
        operator = operator_class(operation.id)(task_id="under_test", **templates_of(given.arguments, values))

    stored = DagSerialization.to_dict(dag)
    (task,) = DagSerialization.from_dict(stored).tasks
    operator.render_template_fields({"values": values})

    assert task.task_type == type(operator).__name__
    assert set(task.template_fields) == set(operator.template_fields)
    assert_sends(sandbox, operator, operation, given)


def templates_of(value: Any, values: list[Any]) -> Any:
    """Return a copy in which each text and number is a template, so that rendering makes it text."""
    if value is FILE:
        return value
    if isinstance(value, dict):
        return {name: templates_of(each, values) for name, each in value.items()}
    if isinstance(value, list):
        return [templates_of(each, values) for each in value]
    if isinstance(value, bool):
        return value
    values.append(value)
    return f"{{{{ values[{len(values) - 1}] }}}}"


def assert_sends(sandbox: Sandbox, operator: DrChronoOperationOperator, operation: Operation, given: Example) -> None:
    if operation.kind == "bulk_start":
        operator.poll_interval = 0.01
    before = len(sandbox.journal.calls())

    execute(operator)

    calls = sandbox.journal.calls()[before:]
    call = calls[0]
    assert (call.operation_id, call.method, call.path) == (operation.id, operation.method, given.path)
    assert {name: value for name, value in call.query.items() if name not in PAGING} == given.query
    assert set(call.query) <= {each.name for each in operation.parameters if each.place == "query"}
    assert call.body == given.body
    assert [note for note in call.notes if "passed over" in note] == []
    assert {each.status for each in calls} <= {operation.response.status, 200}
