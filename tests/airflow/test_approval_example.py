"""The example that waits for a person, who answers through Airflow's own API, before it writes."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.sandbox import Sandbox
from tests.support.example_dags import example_dag
from tests.support.running import unlimited

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("quick_dags")]

EXAMPLE = example_dag("drchrono_approve_no_shows")
OPEN, CLOSED = ("", "Confirmed", "Not Confirmed"), ("Complete", "Cancelled", "No Show", "In Room")
PATIENCE = 60.0
AIRFLOW = tuple(map(int, version("apache-airflow-core").split(".")[:2]))


@pytest.fixture
def answer(sign_in: Callable[..., Any]) -> Callable[[str], list[str]]:
    """Answers the next question that Airflow puts, from another thread; the list gets what was asked."""
    person = sign_in("admin", "manager")
    threads: list[threading.Thread] = []

    def run(chosen: str) -> list[str]:
        asked: list[str] = []

        def respond() -> None:
            ends = time.monotonic() + PATIENCE
            while not asked and time.monotonic() < ends:
                time.sleep(0.2)
                found = person.get("/api/v2/dags/~/dagRuns/~/hitlDetails", params={"response_received": False})
                for each in found.json()["hitl_details"]:
                    ti = each["task_instance"]
                    path = f"/api/v2/dags/{ti['dag_id']}/dagRuns/{ti['dag_run_id']}/taskInstances/{ti['task_id']}/-1"
                    answered = person.patch(f"{path}/hitlDetails", json={"chosen_options": [chosen]})
                    assert answered.status_code == 200, answered.text
                    asked.append(each["body"])

        threads.append(threading.Thread(target=respond, daemon=True))
        threads[-1].start()
        return asked

    yield run
    for each in threads:
        each.join(PATIENCE)


def visits_of_yesterday(sandbox: Sandbox) -> dict[str, str]:
    """Give the practice a visit of each status, and a break; return their statuses."""
    day = (sandbox.clock.now() - timedelta(days=1)).date()
    source = sandbox.practice.records("appointments")[0]
    common = {name: source[name] for name in ("doctor", "office", "exam_room", "patient")}
    statuses = {}
    for hour, status in enumerate((*OPEN, *CLOSED), start=8):
        fields = {**common, "scheduled_time": f"{day}T{hour:02}:00:00", "duration": 15, "status": status}
        statuses[sandbox.practice.create("appointments", fields)["id"]] = status
    pause = {**common, "patient": None, "appt_is_break": True, "scheduled_time": f"{day}T20:00:00", "duration": 30}
    statuses[sandbox.practice.create("appointments", {**pause, "status": ""})["id"]] = "break"
    return statuses


def now_of(sandbox: Sandbox, statuses: dict[str, str]) -> dict[str, str]:
    records = {each["id"]: each["status"] for each in sandbox.practice.records("appointments")}
    return {key: records[key] for key in statuses}


@pytest.mark.skipif(AIRFLOW < (3, 3), reason="in dag.test() of this Airflow no answer can be asked for")
@pytest.mark.parametrize("chosen", ["Approve", "Reject"])
def test_nothing_is_written_without_a_yes(
    run_dag: Callable[..., Any],
    airflow_db: Path,
    answer: Callable[[str], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    chosen: str,
) -> None:
    with Sandbox(patients=3, appointments_per_patient=1, quota_per_hour=None, quota_per_second=None) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox))
        statuses = visits_of_yesterday(sandbox)
        asked = answer(chosen)
        before = now_of(sandbox, statuses)
        open_ones = [key for key, status in statuses.items() if status in OPEN]

        run = run_dag(EXAMPLE)

        assert run.state == "success"
        assert asked == [", ".join(open_ones)], "a person sees ids"
        marked = {key: "No Show" for key in open_ones} if chosen == "Approve" else {}
        assert now_of(sandbox, statuses) == before | marked
        writes = [each for each in sandbox.journal if each.method != "GET" and "appointments" in each.path]
        assert len(writes) == len(marked)


def test_where_all_visits_are_closed_nobody_is_asked(
    run_dag: Callable[..., Any], airflow_db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox(patients=1, appointments_per_patient=0, quota_per_hour=None, quota_per_second=None) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox))

        run = run_dag(EXAMPLE)

        assert run.state == "success"
        assert {each.task_id: each.state for each in run.get_task_instances()} == {
            "visits": "success", "open_visits": "skipped", "approve": "skipped", "mark": "skipped",
        }  # fmt: skip
