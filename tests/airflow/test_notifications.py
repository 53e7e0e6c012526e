"""The notifier that creates a task in DrChrono, called by Airflow as for a reader."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.notifications.task_notifier import DrChronoTaskNotifier, title_of
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from tests.support.running import connected_sandbox, unlimited

SECRET = "Canary-Zq7-Surname"
DAG = f"""
from airflow.sdk import DAG, task
from airflow_provider_drchrono.notifications.task_notifier import DrChronoTaskNotifier

notify = DrChronoTaskNotifier(data={{"assignee_user": "{{{{ params.who }}}}"}})

with DAG("nightly", schedule=None, params={{"who": "1"}}, default_args={{"on_failure_callback": notify}}):
    @task
    def load():
        raise ValueError("{SECRET}")

    @task
    def fine():
        return 1

    load() >> fine()
"""


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with connected_sandbox(monkeypatch) as running:
        yield running


def tasks(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [each for each in sandbox.practice.records("tasks") if each["title"].startswith("Airflow: ")]


def context(**changes: Any) -> dict[str, Any]:
    instance = SimpleNamespace(dag_id="nightly", task_id="load", run_id="run 1", map_index=-1)
    return {"ti": instance, "run_id": "run 1"} | changes


@pytest.mark.airflow
def test_a_task_that_fails_is_a_task_in_drchrono(
    run_dag: Callable[..., Any],
    airflow_db: Path,
    quick_dags: None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with Sandbox(patients=3, quota_per_hour=None, quota_per_second=None) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox))
        user = str(sandbox.practice.records("users")[0]["id"])
        run = run_dag(DAG, run_conf={"who": user})
        assert run.state == "failed"

        (created,) = tasks(sandbox)
        assert created["title"] == f"Airflow: nightly.load failed in the run {run.run_id}"
        assert created["assignee_user"] == user
        assert created["status"] == sandbox.practice.records("task_statuses")[0]["id"]
        assert SECRET not in str(sandbox.practice.records("tasks"))
    log = "".join(capfd.readouterr())
    assert "Created the task" in log
    assert "Failed to send notification" not in log


def test_it_is_created_once_for_a_task_and_run(sandbox: Sandbox) -> None:
    for given in (context(), context(), context(run_id="run 2"), context(run_id="run 2")):
        DrChronoTaskNotifier()(given)

    assert sorted(each["title"] for each in tasks(sandbox)) == [
        "Airflow: nightly.load failed in the run run 1",
        "Airflow: nightly.load failed in the run run 2",
    ]


def test_an_answer_that_is_lost_creates_it_once(sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault(kind="drop", operation="tasks_create", after=True))
    with pytest.raises(DrChronoError):
        DrChronoTaskNotifier()(context())
    DrChronoTaskNotifier()(context())

    assert len(tasks(sandbox)) == 1


def test_it_takes_few_calls(sandbox: Sandbox) -> None:
    status = sandbox.practice.records("task_statuses")[0]["id"]

    DrChronoTaskNotifier(data={"status": status, "title": "Airflow: look at {{ run_id }}"})(context())

    assert [each.operation_id for each in sandbox.journal.calls()] == ["tasks_list", "tasks_create"]
    assert [each["title"] for each in tasks(sandbox)] == ["Airflow: look at run 1"]


def test_the_triggerer_is_not_blocked(sandbox: Sandbox) -> None:
    async def notify() -> None:
        await DrChronoTaskNotifier(context=context())  # type: ignore[arg-type]

    asyncio.run(notify())

    assert len(tasks(sandbox)) == 1


@pytest.mark.parametrize(
    ("given", "title"),
    [
        pytest.param(context(), "nightly.load failed in the run run 1", id="a task"),
        pytest.param(
            {"ti": SimpleNamespace(dag_id="nightly", task_id="load", run_id="run 1", map_index=3)},
            "nightly.load[3] failed in the run run 1",
            id="an instance of a mapped task",
        ),
        pytest.param(
            {"dag": SimpleNamespace(dag_id="nightly"), "dag_run": SimpleNamespace(run_id="run 1")},
            "nightly failed in the run run 1",
            id="a DAG",
        ),
    ],
)
def test_the_title_names_what_has_failed(given: dict[str, Any], title: str) -> None:
    assert title_of(given) == f"Airflow: {title}"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"asignee_user": "1"}, "data has no field 'asignee_user'.*assignee_user"),
        ({"created_at": "2026-01-01"}, "'created_at', which is read-only"),
        ("a title", "data must be a mapping of fields, not str"),
    ],
)
def test_data_that_cannot_be_is_refused_when_the_dag_is_parsed(data: Any, problem: str) -> None:
    with pytest.raises(InvalidArgumentError, match=problem):
        DrChronoTaskNotifier(data=data)


def test_a_practice_without_a_status_says_what_to_do(sandbox: Sandbox) -> None:
    statuses = sandbox.practice.table("task_statuses")
    for each in list(statuses):
        statuses.remove(each["id"])

    with pytest.raises(InvalidArgumentError, match="name one in data"):
        DrChronoTaskNotifier()(context())
