"""Assets inside real Airflow: what sensors and syncs update, whom that wakes, and what is stored of watches."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.transfers.drchrono_to_warehouse import DrChronoToWarehouseOperator
from tests.conftest import AIRFLOW_HOME
from tests.support.running import unlimited

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("quick_dags")]

Ask = Callable[..., Any]
RunDag = Callable[..., Any]
Store = Callable[[str, str], None]

CANARY = "Canary-Zq7-Surname"

IMPORTS = """
from datetime import datetime
from airflow.sdk import DAG, Asset
from airflow_provider_drchrono.assets import drchrono_asset, drchrono_list, drchrono_table
from airflow_provider_drchrono.sensors.patients import DrChronoNewOrUpdatedPatientsSensor
from airflow_provider_drchrono.transfers.drchrono_to_warehouse import DrChronoToWarehouseOperator
"""
READS_ALL = """
with DAG("reads", schedule=None) as dag:
    DrChronoNewOrUpdatedPatientsSensor(
        task_id="patients", start="beginning", mode="poke", poke_interval=0.1, timeout=1.0, fields=["id", "last_name"]
    )
"""
READS_A_WINDOW = """
with DAG("reads", schedule=None) as dag:
    DrChronoNewOrUpdatedPatientsSensor(
        task_id="patients", since="{since}", until="{until}", lookback=0, mode="poke", timeout=1.0, outlets={outlets}
    )
"""
LIST = "drchrono://drchrono_default/patients"
TABLE = "drchrono://drchrono_default/patients?table=patients&warehouse=drchrono_warehouse"


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    monkeypatch.setenv("AIRFLOW__DRCHRONO__STAGING_PATH", str(tmp_path / "staging"))
    warehouse = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_WAREHOUSE", json.dumps(warehouse))
    with Sandbox(patients=5, quota_per_hour=None, quota_per_second=None) as running:
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(running))
        yield running


@pytest.fixture
def run(run_dag: RunDag) -> RunDag:
    """Runs the DAG of a file that has the imports."""
    return lambda source, **arguments: run_dag(IMPORTS + source, **arguments)


@pytest.fixture
def store(run_dag: RunDag) -> Store:
    """Puts a DAG with a schedule where the next run finds and stores it, as the DAG processor does, and not paused."""

    def put(dag_id: str, schedule: str) -> None:
        source = f'with DAG("{dag_id}", schedule={schedule}, is_paused_upon_creation=False): pass'
        (AIRFLOW_HOME / "dags" / f"stored_{dag_id}.py").write_text(IMPORTS + source)

    return put


def assets(ask: Ask) -> list[dict[str, Any]]:
    return ask("assets", only_active=False, order_by="uri")["assets"]  # type: ignore[no-any-return]


def events(ask: Ask) -> list[tuple[str, dict[str, Any]]]:
    found = ask("assets/events", order_by="timestamp")["asset_events"]
    return [(each["uri"], each["extra"]) for each in found]


def waiting(ask: Ask) -> list[tuple[str, str]]:
    """The DAGs that Airflow is to run for an asset, each with the asset; only 3.4 queues more than the first event."""
    uris = {each["id"]: each["uri"] for each in assets(ask)}
    queues = [ask(f"dags/{each['dag_id']}/assets/queuedEvents") for each in ask("dags")["dags"]]
    return sorted({(each["dag_id"], uris[each["asset_id"]]) for queue in queues for each in queue["queued_events"]})


def watched(ask: Ask) -> list[tuple[str, int]]:
    """The assets that are watched, each with the id of its trigger."""
    return [(each["uri"], watcher["trigger_id"]) for each in assets(ask) for watcher in each["watchers"]]


def references(ask: Ask, kind: str) -> list[tuple[str, str, str]]:
    """The tasks that have an asset among their outlets (``producing_tasks``) or inlets (``consuming_tasks``)."""
    return [(task["dag_id"], task["task_id"], each["uri"]) for each in assets(ask) for task in each[kind]]


def test_a_sensor_updates_the_list_and_wakes_who_waits_for_it(
    sandbox: Sandbox, run: RunDag, store: Store, ask: Ask
) -> None:
    store("by_uri", f'[Asset("{LIST}")]')
    store("of_another_practice", '[drchrono_list("patients", drchrono_conn_id="north")]')
    sandbox.practice.change("patients", sandbox.practice.records("patients")[0]["id"], {"last_name": CANARY})

    assert run(READS_ALL).state == "success"

    ((uri, extra),) = events(ask)
    assert uri == LIST
    assert extra.pop("until").endswith("+00:00")
    assert extra == {"count": 5}, "the beginning has no since"
    assert waiting(ask) == [("by_uri", LIST)]
    assert references(ask, "producing_tasks") == [("reads", "patients", LIST)]
    assert CANARY not in str(ask("assets/events"))


def test_the_next_event_begins_where_the_last_one_ended(sandbox: Sandbox, run: RunDag, ask: Ask) -> None:
    run(READS_ALL)
    sandbox.practice.change("patients", sandbox.practice.records("patients")[0]["id"], {"city": "Utica"})
    run(READS_ALL)

    first, second = (extra for _, extra in events(ask))
    assert second["count"] == 1
    assert second["until"] >= first["until"]
    assert "since" in second
    assert run(READS_ALL).state == "failed", "nothing changed, so the sensor runs out of time"
    assert len(events(ask)) == 2


def test_an_empty_window_updates_nothing_unless_the_author_says_so(sandbox: Sandbox, run: RunDag, ask: Ask) -> None:
    empty = {"since": "1990-01-01", "until": "1990-01-02"}

    assert run(READS_A_WINDOW.format(**empty, outlets=[])).state == "success"
    assert events(ask) == []

    assert run(READS_A_WINDOW.format(**empty, outlets='[drchrono_list("patients")]')).state == "success"
    span = {"since": "1990-01-01T00:00:00", "until": "1990-01-02T00:00:00"}
    assert events(ask) == [(LIST, {"count": 0} | span)]


READS_MAPPED = """
with DAG("reads", schedule=None) as dag:
    DrChronoNewOrUpdatedPatientsSensor.partial(
        task_id="patients", start="beginning", mode="poke", poke_interval=0.1, timeout=1.0
    ).expand(verbose=[False])
"""


def test_a_mapped_sensor_updates_the_list_for_who_waits_for_it(
    sandbox: Sandbox, run: RunDag, store: Store, ask: Ask
) -> None:
    store("waits", '[drchrono_list("patients")]')

    assert run(READS_MAPPED).state == "success"

    assert [(uri, extra["count"]) for uri, extra in events(ask)] == [(LIST, 5)]
    assert waiting(ask) == [("waits", LIST)]


def test_a_mapped_sensor_whose_list_nobody_waits_for_succeeds(sandbox: Sandbox, run: RunDag, ask: Ask) -> None:
    assert run(READS_MAPPED).state == "success"
    assert events(ask) == []


def test_a_connection_that_is_known_only_at_run_time_has_no_outlet(sandbox: Sandbox, run: RunDag, ask: Ask) -> None:
    templated = READS_ALL.replace("task_id=", "drchrono_conn_id=\"{{ 'drchrono_default' }}\", task_id=")

    assert run(templated).state == "success"
    assert assets(ask) == []


SYNCS = """
with DAG("syncs", schedule=None) as dag:
    DrChronoToWarehouseOperator{task}
"""
ONE = '(task_id="sync", resource="patients", warehouse_conn_id="drchrono_warehouse")'
MAPPED = '.partial(task_id="sync", warehouse_conn_id="drchrono_warehouse").expand(resource=["patients", "doctors"])'


def test_a_sync_updates_its_table_when_rows_change(sandbox: Sandbox, run: RunDag, store: Store, ask: Ask) -> None:
    store("waits", '[drchrono_table("patients", warehouse_conn_id="drchrono_warehouse")]')

    assert run(SYNCS.format(task=ONE)).state == "success"
    assert run(SYNCS.format(task=ONE)).state == "success"
    sandbox.practice.change("patients", sandbox.practice.records("patients")[0]["id"], {"city": "Utica"})
    assert run(SYNCS.format(task=ONE)).state == "success"

    (uri, first), (_, second) = events(ask)
    assert uri == TABLE
    assert {name: first[name] for name in ("count", "new", "changed")} == {"count": 5, "new": 5, "changed": 0}
    assert {name: second[name] for name in ("count", "new", "changed")} == {"count": 1, "new": 0, "changed": 1}
    assert set(second) == {"count", "new", "changed", "deleted", "since", "until"}
    assert waiting(ask) == [("waits", TABLE)]
    assert references(ask, "producing_tasks") == [("syncs", "sync", TABLE)]
    assert references(ask, "consuming_tasks") == [("syncs", "sync", LIST)]


def test_a_second_try_of_a_sync_tells_what_the_first_one_may_have_loaded(sandbox: Sandbox, airflow_db: Path) -> None:
    def outlets_after(try_number: int) -> list[str]:
        sync = DrChronoToWarehouseOperator(task_id="sync", resource="patients", warehouse_conn_id="drchrono_warehouse")
        ti = SimpleNamespace(dag_id="syncs", task_id="sync", map_index=-1, run_id="a run", try_number=try_number)
        sync.execute({"ti": ti})  # type: ignore[typeddict-item]
        return [each.uri for each in sync.outlets]

    assert outlets_after(1) == [TABLE], "all rows are new"
    assert outlets_after(1) == []
    assert outlets_after(2) == [TABLE]


def test_a_mapped_sync_updates_the_tables_that_somebody_waits_for(
    sandbox: Sandbox, run: RunDag, store: Store, ask: Ask
) -> None:
    store("waits", '[drchrono_table("patients", warehouse_conn_id="drchrono_warehouse")]')

    assert run(SYNCS.format(task=MAPPED)).state == "success"

    assert [(uri, extra["count"]) for uri, extra in events(ask)] == [(TABLE, 5)]


def test_dags_that_watch_the_same_share_an_asset_and_its_trigger(
    sandbox: Sandbox, run: RunDag, store: Store, ask: Ask
) -> None:
    from airflow.models.trigger import Trigger

    store("one", '[drchrono_asset("patients", filters={"doctor": 42})]')
    either = 'drchrono_asset("patients", filters={"doctor": "42"}) | drchrono_asset("tasks")'
    store("other", either)
    run(READS_ALL)

    before = watched(ask)
    assert [uri for uri, _ in before] == [
        "drchrono://drchrono_default/patients?doctor=42&watch=any",
        "drchrono://drchrono_default/tasks?watch=any",
    ]
    triggers = {trigger for _, trigger in before}
    assert len(triggers) == 2
    assert set(Trigger.bulk_fetch(range(100))) == triggers, "no trigger without a watcher"
    # The list that the sensor updates and the watch of it are two assets, so nobody is woken by the wrong one.
    assert [uri for uri, _ in events(ask)] == [LIST]
    assert waiting(ask) == []

    for dag_id in ("one", "other", "one"):
        process(dag_id)
        assert watched(ask) == before, "parsing either file again neither takes a watcher away nor makes another"


def process(dag_id: str) -> None:
    """Parse and store a single file, as the DAG processor does again and again."""
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

    folder = AIRFLOW_HOME / "dags"
    bag = BundleDagBag(dag_folder=folder / f"stored_{dag_id}.py", bundle_path=folder, bundle_name="dags-folder")
    assert list(bag.dags) == [dag_id]
    sync_bag_to_db(bag, "dags-folder", None)
