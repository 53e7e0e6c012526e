"""Assets that are watched by a real triggerer, and the runs that they begin, while the practice works on."""

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.sdk import Asset

from airflow_provider_drchrono.assets import drchrono_asset
from airflow_provider_drchrono.incremental.cursor import CursorName
from airflow_provider_drchrono.state.cursor_store import variable_of
from tests.integration.conftest import PostgresServer
from tests.integration.live_airflow import LiveAirflow, running_airflow
from tests.integration.live_practice import CANARY, FrontDesk, LivePractice, eventually

pytestmark = [pytest.mark.integration, pytest.mark.postgres, pytest.mark.usefixtures("explained")]

SEED = random.randrange(1_000_000)
READER = "changes"
PATIENTS = drchrono_asset("patients", poll_interval=10)
TASKS = drchrono_asset("tasks", change="created", poll_interval=10)


@pytest.fixture(scope="module")
def practice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePractice]:
    practice = LivePractice(tmp_path_factory.mktemp("practice"), "--patients", "200", "--appointments-per-patient", "1")
    yield practice
    practice.close()


@pytest.fixture(scope="module")
def airflow(
    practice: LivePractice, postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveAirflow]:
    with running_airflow(tmp_path_factory.mktemp("airflow"), "watchers", postgres_server, practice) as airflow:
        for dag_id in ("welcome", "address_book", "to_do", "notes", "after_notes"):
            airflow.unpause(dag_id)
        for asset in (PATIENTS, TASKS):
            eventually(f"the first poll for {asset.name}", lambda asset=asset: cursor_of(airflow, asset).get("at") == 0)
        yield airflow


def cursor_of(airflow: LiveAirflow, asset: Asset) -> dict[str, Any]:
    """Return the cursor of an asset's watcher; empty before its first poll."""
    return dict(json.loads(airflow.variable(variable_of(CursorName.of_asset(asset.name))) or "{}"))


def triggers_of_assets(airflow: LiveAirflow) -> list[tuple[Any, ...]]:
    """Return the assets that are watched, each with its trigger."""
    assets = airflow.ask("GET", "assets", params={"only_active": False, "order_by": "name"})["assets"]
    return [(each["name"], watcher["trigger_id"]) for each in assets for watcher in each["watchers"]]


def events_of(airflow: LiveAirflow, asset: Asset) -> int:
    """Return how many events of an asset Airflow has heard of."""
    found = airflow.ask("GET", "assets/events", params={"name_pattern": asset.name, "limit": 1})
    return int(found["total_entries"])


def events_of_run(airflow: LiveAirflow, dag_id: str, run_id: str) -> list[dict[str, Any]]:
    """Return what the asset events say that began a run."""
    events = airflow.ask("GET", f"dags/{dag_id}/dagRuns/{run_id}/upstreamAssetEvents")["asset_events"]
    return [event["extra"]["payload"] for event in events]


def restart_triggerer(airflow: LiveAirflow) -> None:
    airflow.kill("triggerer")
    airflow.start("triggerer")


def check_that_runs_have_read_what_their_events_name(airflow: LiveAirflow) -> None:
    read: set[str] = set()
    for run in airflow.runs("welcome"):
        airflow.wait_for_run("welcome", run["dag_run_id"])
        events = events_of_run(airflow, "welcome", run["dag_run_id"])
        # One that a killed triggerer has made twice is read once.
        new = [each for each in events if each["until"] not in read]
        read |= {each["until"] for each in events}
        ids = [record["id"] for record in airflow.returned("welcome", run["dag_run_id"], READER)]
        assert events
        assert len(ids) == sum(each["count"] for each in new)
        assert sorted(ids) == sorted(key for each in new for key in each["ids"])
        assert {(each["asset"], each["resource"]) for each in events} == {(PATIENTS.name, "patients")}
    assert len(read) >= 3


def test_each_change_is_read_by_one_run_of_each_dag_though_the_triggerer_is_killed(
    airflow: LiveAirflow, practice: LivePractice
) -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    desk = FrontDesk(practice, rng)
    watched = triggers_of_assets(airflow)
    assert [name for name, _ in watched] == [PATIENTS.name, TASKS.name]

    with desk.at_work():
        # Stored, and Airflow has not got it yet.
        eventually("an event", lambda: cursor_of(airflow, PATIENTS).get("pending_event"), pause=0.05)
        restart_triggerer(airflow)

        eventually("an event", lambda: events_of(airflow, PATIENTS))
        before = events_of(airflow, PATIENTS)
        # Airflow has heard of it, and the watcher does not know that yet.
        eventually("another event", lambda: events_of(airflow, PATIENTS) > before, pause=0.05)
        restart_triggerer(airflow)

        time.sleep(random.Random(SEED).uniform(0, 10))
        restart_triggerer(airflow)

    for dag_id in ("welcome", "address_book"):
        airflow.wait_until_given(dag_id, READER, "nick_name", desk.written)
    # Whatever would come twice comes with the next change at the latest.
    desk.change(desk.written[0][0])
    for dag_id in ("welcome", "address_book"):
        assert airflow.wait_until_given(dag_id, READER, "nick_name", desk.written) == Counter(desk.written)
    assert triggers_of_assets(airflow) == watched
    check_that_runs_have_read_what_their_events_name(airflow)
    assert PATIENTS.name in airflow.stored()
    assert f"Asset {PATIENTS.name}" in airflow.logs()
    assert CANARY not in airflow.stored() + airflow.logs()


def test_a_watcher_of_what_is_created_is_silent_about_updates(airflow: LiveAirflow, practice: LivePractice) -> None:
    status = practice.records("task_statuses")[0]["id"]
    old = practice.records("tasks")[0]["id"]
    practice.change("tasks", old, {"title": "Only changed"})
    created = practice.create("tasks", {"title": "Call the lab", "status": status, "priority": "20"})

    only = (created["id"], "Call the lab")
    assert airflow.wait_until_given("to_do", READER, "title", [only]) == Counter([only])


def test_what_is_created_while_a_dag_is_paused_is_read_afterwards(airflow: LiveAirflow, practice: LivePractice) -> None:
    def is_watched() -> bool:
        return TASKS.name in [name for name, _ in triggers_of_assets(airflow)]

    airflow.pause("to_do")
    eventually("the watcher to go", lambda: not is_watched())
    status = practice.records("task_statuses")[0]["id"]
    created = practice.create("tasks", {"title": "Order gloves", "status": status, "priority": "20"})
    airflow.unpause("to_do")
    eventually("the watcher to come back", is_watched)

    found = airflow.wait_until_given("to_do", READER, "title", [(created["id"], "Order gloves")])
    assert set(found.values()) == {1}


def test_a_sensor_that_finds_something_begins_a_run_of_who_waits_for_its_list(
    airflow: LiveAirflow, practice: LivePractice
) -> None:
    run_id = airflow.trigger("notes")
    airflow.wait_for_task("notes", run_id, READER, "deferred")
    assert airflow.runs("after_notes") == []
    task = practice.records("tasks")[0]["id"]
    practice.create("task_notes", {"task": task, "text": f"{CANARY} called"})

    begun = str(eventually("a run by the sensor", lambda: airflow.runs("after_notes"))[0]["dag_run_id"])
    airflow.wait_for_run("after_notes", begun)
    events = airflow.returned("after_notes", begun, "events")
    assert [each["count"] for each in events] == [1]
    assert CANARY not in airflow.stored() + airflow.logs()
