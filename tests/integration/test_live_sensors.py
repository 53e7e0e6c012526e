"""Sensors in an Airflow of real processes, in each way of waiting and scheduling, while the practice works on."""

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.integration.conftest import PostgresServer
from tests.integration.live_airflow import LiveAirflow, running_airflow
from tests.integration.live_practice import CANARY, FrontDesk, LivePractice, eventually

pytestmark = [pytest.mark.integration, pytest.mark.postgres, pytest.mark.usefixtures("explained")]

SEED = random.randrange(1_000_000)
ZONE = "America/New_York"
DAYS = 4
SENSOR = "changes"


@pytest.fixture(scope="module")
def practice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePractice]:
    practice = LivePractice(tmp_path_factory.mktemp("practice"), "--patients", "40", "--timezone", ZONE)
    yield practice
    practice.close()


@pytest.fixture(scope="module")
def airflow(
    practice: LivePractice, postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveAirflow]:
    folder = tmp_path_factory.mktemp("airflow")
    with running_airflow(folder, "sensors", postgres_server, practice, log_level="DEBUG") as airflow:
        yield airflow


@pytest.fixture(scope="module", autouse=True)
def waiting_run(airflow: LiveAirflow, practice: LivePractice) -> tuple[str, dict[str, Any]]:
    """A run whose sensor has found nothing and waits a minute for its second poll, and what has come since.

    It is begun at once, so that the other tests do not have to wait for it.
    """
    airflow.unpause("minutely")
    run_id = str(eventually("a run by the clock", lambda: airflow.runs("minutely"))[0]["dag_run_id"])
    airflow.wait_for_task("minutely", run_id, SENSOR, "up_for_reschedule")
    status = practice.records("task_statuses")[0]["id"]
    return run_id, practice.create("tasks", {"title": "Call the pharmacy", "status": status, "priority": "20"})


@pytest.fixture(scope="module")
def secrets(practice: LivePractice) -> dict[str, str]:
    """All secrets of this Airflow so far, by what they are; tests add what they let it renew."""
    return {
        "client secret": practice.connection["password"],
        "first refresh token": practice.connection["extra"]["refresh_token"],
    }


def note_tokens(airflow: LiveAirflow, practice: LivePractice, secrets: dict[str, str], who: str) -> None:
    """Add the tokens that are stored now to the secrets; they have to be new."""
    renewed = {f"{name} of {who}": value for name, value in airflow.tokens(practice).items()}
    assert len(renewed) == 2
    assert not set(renewed.values()) & set(secrets.values()), f"nothing was renewed by {who}"
    secrets |= renewed


def position_of(airflow: LiveAirflow, dag_id: str) -> Any:
    """Return how far the cursor of a DAG's sensor has come; None before its first poll."""
    text = airflow.variable(f"drchrono:cursor:{dag_id}:{SENSOR}")
    return None if text is None else json.loads(text)["at"]


def wait_until_deferred(airflow: LiveAirflow, dag_id: str) -> str:
    """Wait until the newest run's sensor waits in the triggerer, and return the run."""

    def deferred() -> str | None:
        runs = airflow.runs(dag_id)
        run_id = str(runs[-1]["dag_run_id"]) if runs else ""
        return run_id if runs and airflow.task(dag_id, run_id, SENSOR)["state"] == "deferred" else None

    return eventually(f"{dag_id} to wait in the triggerer", deferred)


def test_runs_after_runs_are_given_each_change_once_though_the_triggerer_is_killed(
    airflow: LiveAirflow, practice: LivePractice, secrets: dict[str, str]
) -> None:
    print(f"seed {SEED}")
    desk = FrontDesk(practice, random.Random(SEED))
    airflow.unpause("following")
    wait_until_deferred(airflow, "following")
    note_tokens(airflow, practice, secrets, "the first task")
    practice.let_tokens_run_out("patients_list")
    desk.work(5)
    airflow.wait_until_given("following", SENSOR, "nick_name", desk.written)

    note_tokens(airflow, practice, secrets, "the triggerer")

    orphaned = wait_until_deferred(airflow, "following")
    airflow.kill("triggerer")
    desk.work(4)
    assert airflow.task("following", orphaned, SENSOR)["state"] == "deferred"
    airflow.start("triggerer")
    airflow.wait_until_given("following", SENSOR, "nick_name", desk.written)

    desk.change(desk.written[0][0])
    desk.work(1)
    time.sleep(desk.rng.uniform(0, 4))
    airflow.kill("triggerer")
    airflow.start("triggerer")
    desk.work(2)
    airflow.wait_until_given("following", SENSOR, "nick_name", desk.written)

    # Whatever would come twice comes with the next change at the latest.
    desk.create()
    found = airflow.wait_until_given("following", SENSOR, "nick_name", desk.written)
    airflow.pause("following")
    assert found == Counter(desk.written)
    assert len(airflow.returned_by_all("following", SENSOR)) >= 4
    assert "patients_list: 1 records" in airflow.logs()
    assert CANARY not in airflow.stored() + airflow.logs()


def test_a_run_without_a_date_is_given_what_is_new_and_when_cleared_the_same_again(
    airflow: LiveAirflow, practice: LivePractice, secrets: dict[str, str]
) -> None:
    task = practice.records("tasks")[0]["id"]

    def write(text: str) -> int:
        return int(practice.create("task_notes", {"task": task, "text": text})["id"])

    airflow.unpause("by_hand")
    first = airflow.trigger("by_hand")
    eventually("the first poll", lambda: position_of(airflow, "by_hand") is not None)
    practice.let_tokens_run_out("task_notes_list")
    one = {"id": write("one"), "text": "one"}
    airflow.wait_for_run("by_hand", first)
    assert airflow.returned("by_hand", first, SENSOR) == [one]
    note_tokens(airflow, practice, secrets, "a task on a worker")

    two = {"id": write("two"), "text": "two"}
    airflow.clear("by_hand", first, SENSOR)
    eventually("the second try", lambda: airflow.task("by_hand", first, SENSOR)["try_number"] == 2)
    airflow.wait_for_run("by_hand", first)
    assert airflow.returned("by_hand", first, SENSOR) == [one]

    second = airflow.trigger("by_hand")
    airflow.wait_for_run("by_hand", second)
    assert airflow.returned("by_hand", second, SENSOR) == [two]
    assert airflow.ask("GET", f"dags/by_hand/dagRuns/{second}")["data_interval_start"] is None


def test_the_windows_of_backfilled_days_meet_and_share_nothing(airflow: LiveAirflow, practice: LivePractice) -> None:
    today = datetime.now(ZoneInfo(ZONE)).replace(hour=0, minute=0, second=0, microsecond=0)
    days = [today - timedelta(days=each) for each in range(DAYS, -1, -1)]
    changed = [(row["id"], row["updated_at"]) for row in practice.records("transactions")]
    airflow.unpause("by_the_day")
    yesterday = str(eventually("yesterday's run", lambda: airflow.runs("by_the_day"))[0]["dag_run_id"])
    airflow.run(
        *("backfill", "create", "--dag-id", "by_the_day", "--max-active-runs", "2"),
        *("--from-date", days[0].isoformat(), "--to-date", days[-3].isoformat()),
    )
    assert len(airflow.runs("by_the_day")) == DAYS

    for run in airflow.runs("by_the_day"):
        airflow.wait_for_run("by_the_day", run["dag_run_id"])
        begins, ends = (
            datetime.fromisoformat(run[f"data_interval_{each}"]).astimezone(ZoneInfo(ZONE)).replace(tzinfo=None)
            for each in ("start", "end")
        )
        assert ends.date() - begins.date() == timedelta(days=1)
        records = airflow.returned("by_the_day", run["dag_run_id"], SENSOR)
        wanted = [each for each in changed if begins <= datetime.fromisoformat(each[1]) < ends]
        assert sorted((record["id"], record["updated_at"]) for record in records) == sorted(wanted)

    bounds = [each.replace(tzinfo=None) for each in (days[0], days[-1])]
    wanted = [each for each in changed if bounds[0] <= datetime.fromisoformat(each[1]) < bounds[1]]
    assert wanted
    assert airflow.given("by_the_day", SENSOR, "updated_at") == Counter(wanted)
    assert yesterday.startswith("scheduled")


def test_a_sensor_that_gives_its_worker_free_finds_at_its_second_poll_what_came_after_the_first(
    airflow: LiveAirflow, waiting_run: tuple[str, dict[str, Any]]
) -> None:
    run_id, created = waiting_run
    airflow.wait_for_run("minutely", run_id)
    airflow.pause("minutely")

    assert airflow.returned("minutely", run_id, SENSOR) == [{"id": created["id"], "title": "Call the pharmacy"}]
    waits = airflow.rows(
        "SELECT count(*) FROM task_reschedule JOIN task_instance ON task_instance.id = task_reschedule.ti_id "
        f"WHERE dag_id = 'minutely' AND run_id = '{run_id}'"
    )
    assert waits == [(1,)]


def test_no_secret_stands_in_a_log_at_debug_or_in_the_database(airflow: LiveAirflow, secrets: dict[str, str]) -> None:
    logs = {path: airflow.logs(path) for path in ("*.log", "logs/**/*.log")}
    # The line of Airflow that shows what a task stores, in the log of whoever supervises the task.
    assert "PutVariable(key='drchrono:token:" in logs["*.log"]
    assert all("DEBUG" in text or "debug" in text for text in logs.values())
    assert len(secrets) == 8

    written = logs | {"the database": airflow.stored()}
    assert [(what, place) for place, text in written.items() for what, each in secrets.items() if each in text] == []
