"""The hook inside tasks and triggers, as ``airflow dags test`` runs them."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from airflow_provider_drchrono.common import outcomes
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from airflow_provider_drchrono.state import lease as variable_lease
from tests.airflow import patient_counting

pytestmark = pytest.mark.airflow

RunDag = Callable[..., Any]

ONE_TASK = """
    from datetime import timedelta
    from airflow.sdk import dag, task
    from tests.airflow.patient_counting import count_patients

    @dag(schedule=None)
    def one_task():
        task(count_patients, retries={retries}, retry_delay=timedelta(0))()

    one_task()
"""
TASKS_AND_TRIGGER = """
    from airflow.sdk import dag, task
    from tests.airflow.patient_counting import CountPatients, count_patients

    @dag(schedule=None)
    def tasks_and_trigger():
        task(count_patients, task_id="first")() >> task(count_patients, task_id="second")() >> CountPatients(
            task_id="deferred"
        )

    tasks_and_trigger()
"""


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    # Tasks run one after another here, so a claim need not settle.
    monkeypatch.setattr(variable_lease, "Timing", partial(variable_lease.Timing, write_limit=30.0, settle=0.0))
    monkeypatch.setattr(patient_counting, "starts", [])
    with Sandbox(patients=3, quota_per_second=None) as running:
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", running.connection_json())
        yield running


def test_tasks_and_triggers_share_one_renewed_token(sandbox: Sandbox, run_dag: RunDag) -> None:
    run = run_dag(TASKS_AND_TRIGGER)

    assert run.state == "success"
    for name in ("first", "second", "deferred"):
        assert run.get_task_instance(name).xcom_pull(task_ids=name) == 3
    assert sum(entry.path == "/o/token/" for entry in sandbox.journal) == 1


def test_a_spent_quota_costs_neither_a_retry_nor_the_task(
    sandbox: Sandbox, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than the client sleeps by itself, and far shorter than in real life.
    monkeypatch.setattr(outcomes, "SHORTEST_RESCHEDULE", timedelta(0))
    sandbox.faults.add(Fault(kind="throttle", operation="patients_list", seconds=6, times=1))

    run = run_dag(ONE_TASK.format(retries=0))

    assert run.state == "success"
    assert run.get_task_instance("count_patients").try_number == 1
    assert len(patient_counting.starts) == 2
    waits = [later - earlier for earlier, later in pairwise(patient_counting.starts)]
    assert min(waits) > timedelta(seconds=6)


def test_an_error_that_a_retry_may_mend_is_retried(sandbox: Sandbox, run_dag: RunDag) -> None:
    sandbox.faults.add(Fault(kind="status", operation="oauth_token", status=500, times=5))

    run = run_dag(ONE_TASK.format(retries=1))

    assert run.state == "success"
    assert run.get_task_instance("count_patients").try_number == 2


def test_an_error_that_no_retry_mends_fails_at_once(
    sandbox: Sandbox, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    connection = sandbox.connection_json().replace(sandbox.client_secret, "canary-secret")
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", connection)

    run = run_dag(ONE_TASK.format(retries=3))

    assert run.state == "failed"
    assert run.get_task_instance("count_patients").try_number == 1
    printed = "".join(capfd.readouterr())
    assert "does not know this client id and secret" in printed
    assert "canary-secret" not in printed
    assert sandbox.refresh_token not in printed
