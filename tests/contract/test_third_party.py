"""A validator of others finds nothing wrong with what the named actions send, with little and with all they take.

It judges by the document that is made from the catalogue. With ``DRCHRONO_OPENAPI=/path/to/a/document.json`` it judges
by that one, such as the vendor's own.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.catalog import Operation, load
from airflow_provider_drchrono.codegen.openapi import document
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.sandbox.wire import Request, Response
from tests.support.all_actions import named_actions
from tests.support.examples import example, operator_class, prepare
from tests.support.running import connected_sandbox, execute

pytest.importorskip("openapi_core", reason="it is installed with the newest Airflow only")

ACTIONS = named_actions()
CASES = [
    pytest.param(operation, full, id=f"{operation.id} {'full' if full else 'minimal'}")
    for operation in ACTIONS
    for full in (False, True)
]


@pytest.fixture(scope="module")
def judge() -> Any:
    from tests.support.third_party import Judge

    source = os.environ.get("DRCHRONO_OPENAPI")
    return Judge(json.loads(Path(source).read_text()) if source else document(load()), load())


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with pytest.MonkeyPatch.context() as patch, connected_sandbox(patch, patients=5, bulk_polls=0) as running:
        yield running


@pytest.fixture
def sent(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """Return the calls of the API that the sandbox receives from here on, byte by byte."""
    requests: list[Request] = []
    answer = sandbox.app.handle

    def handle(request: Request) -> Response:
        if request.path.startswith("/api/"):
            requests.append(request)
        return answer(request)

    monkeypatch.setattr(sandbox.app, "handle", handle)
    return requests


def test_all_named_actions_are_judged() -> None:
    assert len(ACTIONS) == 174


@pytest.mark.parametrize(("operation", "full"), CASES)
def test_an_action_sends_what_the_document_wants(
    sandbox: Sandbox, judge: Any, sent: list[Request], operation: Operation, full: bool
) -> None:
    prepare(sandbox, operation)
    sent.clear()
    operator = operator_class(operation.id)(
        task_id="judged", **example(sandbox, operation, full=full, numbers=True).arguments
    )
    if operation.kind == "bulk_start":
        operator.poll_interval = 0.01  # type: ignore[attr-defined]

    execute(operator)

    assert sent
    assert {f"{each.method} {each.path}": judge.problems(each) for each in sent if judge.problems(each)} == {}


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        pytest.param(Request("GET", "/api/patients", (("docter", "1"),)), "no parameter 'docter'", id="unknown name"),
        pytest.param(
            Request("GET", "/api/patients", (("doctor", "x"),)), "ParameterValidationError", id="type in the query"
        ),
        pytest.param(
            Request("PUT", "/api/tasks/1", (), {"content-type": "application/json"}, b'{"status": 1}'),
            "'title' is a required property",
            id="required field",
        ),
        pytest.param(
            Request("PATCH", "/api/tasks/1", (), {"content-type": "application/json"}, b'{"priority": "high"}'),
            "'high' is not one of",
            id="value",
        ),
        pytest.param(
            Request("POST", "/api/tasks", (), {"content-type": "text/csv"}, b"a,b"), "text/csv", id="media type"
        ),
        pytest.param(Request("GET", "/api/appointments/1"), "", id="nothing wrong"),
    ],
)
def test_the_judge_sees_what_is_wrong(judge: Any, request_: Request, told: str) -> None:
    problems = judge.problems(request_)

    assert (told in " ".join(problems)) if told else problems == []
