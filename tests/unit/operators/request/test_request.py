"""The operator for requests past the catalogue."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException

from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.common.masking import MaskedValue
from airflow_provider_drchrono.operators.request import DrChronoRequestOperator
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from tests.support.answering import answering, editing, refusing
from tests.support.running import MemoryStore, connected_sandbox, context_of, execute


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    monkeypatch.setattr("airflow_provider_drchrono.client.retry.FIRST_DELAY", 0.001)
    with connected_sandbox(monkeypatch, patients=7, appointments_per_patient=1) as running:
        yield running


def request(**arguments: Any) -> Any:
    return DrChronoRequestOperator(task_id="request", **arguments)


def test_it_reads_what_is_at_a_path(sandbox: Sandbox) -> None:
    patient = sandbox.practice.records("patients")[0]

    assert execute(request(path=f"/api/patients/{patient['id']}"))["last_name"] == patient["last_name"]


def test_it_writes_and_returns_the_answer(sandbox: Sandbox) -> None:
    status = sandbox.practice.records("task_statuses")[0]["id"]

    created = execute(request(method="POST", path="/api/tasks", json={"title": "Call", "status": status}))
    changed = execute(request(method="patch", path=f"/api/tasks/{created['id']}", json='{"title": "Call again"}'))

    assert changed is None
    assert sandbox.practice.get("tasks", created["id"])["title"] == "Call again"


def test_it_follows_pages_and_bounds_what_goes_to_an_xcom(sandbox: Sandbox, tmp_path: Path) -> None:
    listing = {"path": "/api/patients", "query": {"page_size": 3}, "follow_pages": True}

    assert len(execute(request(**listing))) == 7
    assert [len(batch) for batch in execute(request(**listing, batch_size=5))] == [5, 2]
    written = execute(request(**listing, max_records=1, output_path=str(tmp_path / "patients.jsonl")))
    assert written == {"path": str(tmp_path / "patients.jsonl"), "count": 7}
    with pytest.raises(InvalidArgumentError, match="more than 6 records were found"):
        execute(request(**listing, max_records=6))


def test_it_writes_a_document(sandbox: Sandbox, tmp_path: Path) -> None:
    target = tmp_path / "answer.json"

    written = execute(request(path="/api/offices", output_path=str(target)))

    assert written["bytes"] == target.stat().st_size
    assert json.loads(target.read_text())["data"]


def test_it_keeps_to_the_folders_that_tasks_may_use(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_bytes(b"the key of this Airflow")
    monkeypatch.setenv("AIRFLOW__DRCHRONO__ALLOWED_FILE_ROOTS", str(tmp_path / "inside"))
    form = {"doctor": 1, "patient": 1, "date": "2026-01-31", "description": "Scan"}
    before = len(sandbox.journal.calls())

    for wrong in (
        request(method="POST", path="/api/tasks", json={"title": "Call back"}, output_path=str(tmp_path / "answer")),
        request(method="POST", path="/api/documents", data=form, files={"document": str(tmp_path / "key")}),
    ):
        with pytest.raises(InvalidArgumentError, match="is outside of the folders that tasks may use"):
            execute(wrong)

    assert len(sandbox.journal.calls()) == before


def test_it_sends_files(sandbox: Sandbox, tmp_path: Path) -> None:
    scan = tmp_path / "scan.pdf"
    scan.write_bytes(b"%PDF-1.7 a scan")
    doctor, patient = (sandbox.practice.records(name)[0]["id"] for name in ("doctors", "patients"))
    form = {"doctor": doctor, "patient": patient, "date": "2026-01-31", "description": "Scan"}

    created = execute(request(method="POST", path="/api/documents", data=form, files={"document": str(scan)}))

    assert created["description"] == "Scan"
    with pytest.raises(InvalidArgumentError, match=r"files\['document'\] cannot be read"):
        execute(request(method="POST", path="/api/documents", data=form, files={"document": "/no/such/file"}))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"path": "/api/../o/token"}, "dot segment"),
        ({"path": "/o/token/"}, "OAuth"),
        ({"path": "patients"}, "begin with one slash"),
        ({"path": "/api/x?y=1"}, "query parameters in query"),
        ({"method": "HEAD"}, "method must be one of GET"),
        ({"method": "POST", "follow_pages": True}, "follow_pages reads a list"),
        ({"batch_size": 5}, "batch_size has no effect without follow_pages"),
        ({"max_records": 0}, "max_records must be"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_when_the_dag_is_parsed(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidArgumentError, match=problem):
        request(**{"path": "/api/patients"} | arguments)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"path": "https://elsewhere.example/api/patients"}, "another host"),
        ({"query": "since"}, "query must be a mapping"),
        ({"query": {"since": ""}}, r"query\['since'\] is empty"),
        ({"method": "POST", "json": "text"}, "json must be a mapping or a list"),
        ({"json": {}}, "a GET takes no body"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_fails_before_any_call(arguments: dict[str, Any], problem: str, sandbox: Sandbox) -> None:
    with pytest.raises(AirflowFailException, match=problem):
        execute(request(**{"path": "/api/patients"} | arguments))

    assert sandbox.journal.calls(resource="patients") == []


def test_a_template_is_judged_when_it_has_run(sandbox: Sandbox) -> None:
    operator = request(path="{{ params.path }}", method="{{ params.method }}")
    operator.path, operator.method = "/api/../x", "GET"

    with pytest.raises(InvalidArgumentError, match="dot segment"):
        execute(operator)


def test_values_are_masked_until_airflow_has_stored_the_shape(sandbox: Sandbox) -> None:
    operator = request(path="/api/patients", query={"last_name": "Lopez"}, method="GET")
    operator.render_template_fields({})

    assert isinstance(operator.query, MaskedValue)
    assert operator.query.serialize() == {"last_name": "***"}
    assert {"query", "json", "data", "files"} <= set(operator.template_fields)


def test_a_write_that_is_lost_is_told_and_not_sent_again(sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault(kind="drop", operation="tasks_create", after=True))
    status = sandbox.practice.records("task_statuses")[0]["id"]

    with pytest.raises(AirflowFailException, match="may have been carried out"):
        execute(request(method="POST", path="/api/tasks", json={"title": "Call", "status": status}))

    assert len(sandbox.journal.calls(operation_id="tasks_create")) == 1


def test_a_write_that_was_broken_off_is_not_repeated_by_a_retry(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    status = sandbox.practice.records("task_statuses")[0]["id"]
    operator = request(method="POST", path="/api/tasks", json={"title": "Call", "status": status})

    class KilledError(BaseException):
        pass

    def killed(*arguments: Any, **more: Any) -> Any:
        real(*arguments, **more)
        raise KilledError

    from airflow_provider_drchrono.client import DrChronoClient

    real = DrChronoClient.request
    with monkeypatch.context() as patch:
        patch.setattr(DrChronoClient, "request", killed)
        with pytest.raises(KilledError):
            execute(operator, context_of(store))
    with pytest.raises(AirflowFailException, match="an earlier try of this task was broken off"):
        execute(operator, context_of(store))
    assert len(sandbox.journal.calls(operation_id="tasks_create")) == 1

    # Somebody has looked, and clears the task.
    assert execute(operator, context_of(store))["title"] == "Call"


def test_a_refused_write_can_be_retried_at_once(sandbox: Sandbox) -> None:
    store = MemoryStore()
    operator = request(method="POST", path="/api/tasks", json={"title": "Call"})

    for _ in range(2):
        with pytest.raises(AirflowFailException, match=r"json\['status'\] is missing"):
            execute(operator, context_of(store))
    assert not [key for key in store.values if store.values[key]]


def test_a_spent_quota_reschedules(sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault(kind="throttle", operation="tasks_create", seconds=1800))
    store = MemoryStore()

    with pytest.raises(AirflowRescheduleException):
        execute(request(method="POST", path="/api/tasks", json={"title": "Call"}), context_of(store))
    assert not [key for key in store.values if store.values[key]]


def test_a_rule_of_the_api_is_shown_and_data_is_not(sandbox: Sandbox) -> None:
    rule = refusing("/api/new", 400, {"detail": "Either since or doctor must be specified"})
    data = refusing("/api/new", 400, {"detail": "Jane Doe may not"})

    with (
        answering(sandbox, rule),
        pytest.raises(AirflowFailException, match="Either since or doctor must be specified"),
    ):
        execute(request(path="/api/new"))
    with answering(sandbox, data), pytest.raises(AirflowFailException) as raised:
        execute(request(path="/api/new"))
    assert "Jane" not in str(raised.value)


def test_a_binary_answer_needs_a_file(sandbox: Sandbox, tmp_path: Path) -> None:
    def binary(handle: Any, asked: Any) -> Any:
        response = handle(asked)
        if asked.path == "/api/offices":
            response.headers["content-type"] = "application/pdf"
        return response

    with answering(sandbox, binary):
        with pytest.raises(InvalidArgumentError, match="binary document, which XCom cannot hold; give output_path"):
            execute(request(path="/api/offices"))
        assert execute(request(path="/api/offices", output_path=str(tmp_path / "answer.pdf")))["bytes"] > 0


def test_pages_of_a_list_that_is_not_known_are_followed(sandbox: Sandbox) -> None:
    def unknown(handle: Any, asked: Any) -> Any:
        from dataclasses import replace

        return handle(replace(asked, path="/api/patients") if asked.path == "/api/new_patients" else asked)

    back = editing("/api/new_patients", lambda value, _: None)
    with answering(sandbox, unknown, back):
        found = execute(request(path="/api/new_patients", query={"page_size": 7}, follow_pages=True))
    assert len(found) == 7
