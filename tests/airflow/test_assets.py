"""Assets inside real Airflow: what sensors and syncs update, whom that wakes, and what is stored of watches."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.transfers.drchrono_to_warehouse import DrChronoToWarehouseOperator
from tests.conftest import AIRFLOW_HOME
from tests.support.running import unlimited

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("quick_dags")]

Rows = Callable[[str], list[tuple[Any, ...]]]
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
EVENTS = (
    "SELECT asset.uri, asset_event.extra FROM asset_event JOIN asset ON asset.id = asset_id ORDER BY asset_event.id"
)
QUEUED = "SELECT target_dag_id, uri FROM asset_dag_run_queue JOIN asset ON asset.id = asset_id ORDER BY 1"
WATCHED = "SELECT uri, trigger_id FROM asset_watcher JOIN asset ON asset.id = asset_id ORDER BY uri"


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
def rows(airflow_db: Path) -> Rows:
    def fetch(query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(airflow_db)) as database:
            return database.execute(query).fetchall()

    return fetch


@pytest.fixture
def store(run_dag: RunDag) -> Store:
    """Puts a DAG with a schedule where the next run finds and stores it, as the DAG processor does, and not paused."""

    def put(dag_id: str, schedule: str) -> None:
        source = f'with DAG("{dag_id}", schedule={schedule}, is_paused_upon_creation=False): pass'
        (AIRFLOW_HOME / "dags" / f"stored_{dag_id}.py").write_text(IMPORTS + source)

    return put


def events(rows: Rows) -> list[tuple[str, dict[str, Any]]]:
    return [(uri, json.loads(extra)) for uri, extra in rows(EVENTS)]


def test_a_sensor_updates_the_list_and_wakes_who_waits_for_it(
    sandbox: Sandbox, run: RunDag, store: Store, rows: Rows
) -> None:
    store("by_uri", f'[Asset("{LIST}")]')
    store("of_another_practice", '[drchrono_list("patients", drchrono_conn_id="north")]')
    sandbox.practice.change("patients", sandbox.practice.records("patients")[0]["id"], {"last_name": CANARY})

    assert run(READS_ALL).state == "success"

    ((uri, extra),) = events(rows)
    assert uri == LIST
    assert extra.pop("until").endswith("+00:00")
    assert extra == {"count": 5}, "the beginning has no since"
    assert rows(QUEUED) == [("by_uri", LIST)]
    assert rows("SELECT dag_id, task_id FROM task_outlet_asset_reference") == [("reads", "patients")]
    assert CANARY not in str(rows("SELECT * FROM asset_event"))


def test_the_next_event_begins_where_the_last_one_ended(sandbox: Sandbox, run: RunDag, rows: Rows) -> None:
    run(READS_ALL)
    sandbox.practice.change("patients", sandbox.practice.records("patients")[0]["id"], {"city": "Utica"})
    run(READS_ALL)

    first, second = (extra for _, extra in events(rows))
    assert second["count"] == 1
    assert second["until"] >= first["until"]
    assert "since" in second
    assert run(READS_ALL).state == "failed", "nothing changed, so the sensor runs out of time"
    assert len(events(rows)) == 2


def test_an_empty_window_updates_nothing_unless_the_author_says_so(sandbox: Sandbox, run: RunDag, rows: Rows) -> None:
    empty = {"since": "1990-01-01", "until": "1990-01-02"}

    assert run(READS_A_WINDOW.format(**empty, outlets=[])).state == "success"
    assert events(rows) == []

    assert run(READS_A_WINDOW.format(**empty, outlets='[drchrono_list("patients")]')).state == "success"
    span = {"since": "1990-01-01T00:00:00", "until": "1990-01-02T00:00:00"}
    assert events(rows) == [(LIST, {"count": 0} | span)]


READS_MAPPED = """
with DAG("reads", schedule=None) as dag:
    DrChronoNewOrUpdatedPatientsSensor.partial(
        task_id="patients", start="beginning", mode="poke", poke_interval=0.1, timeout=1.0
    ).expand(verbose=[False])
"""


def test_a_mapped_sensor_updates_the_list_for_who_waits_for_it(
    sandbox: Sandbox, run: RunDag, store: Store, rows: Rows
) -> None:
    store("waits", '[drchrono_list("patients")]')

    assert run(READS_MAPPED).state == "success"

    assert [(uri, extra["count"]) for uri, extra in events(rows)] == [(LIST, 5)]
    assert rows(QUEUED) == [("waits", LIST)]


def test_a_mapped_sensor_whose_list_nobody_waits_for_succeeds(sandbox: Sandbox, run: RunDag, rows: Rows) -> None:
    assert run(READS_MAPPED).state == "success"
    assert events(rows) == []


def test_a_connection_that_is_known_only_at_run_time_has_no_outlet(sandbox: Sandbox, run: RunDag, rows: Rows) -> None:
    templated = READS_ALL.replace("task_id=", "drchrono_conn_id=\"{{ 'drchrono_default' }}\", task_id=")

    assert run(templated).state == "success"
    assert rows("SELECT * FROM asset") == []


SYNCS = """
with DAG("syncs", schedule=None) as dag:
    DrChronoToWarehouseOperator{task}
"""
ONE = '(task_id="sync", resource="patients", warehouse_conn_id="drchrono_warehouse")'
MAPPED = '.partial(task_id="sync", warehouse_conn_id="drchrono_warehouse").expand(resource=["patients", "doctors"])'


def test_a_sync_updates_its_table_when_rows_change(sandbox: Sandbox, run: RunDag, store: Store, rows: Rows) -> None:
    store("waits", '[drchrono_table("patients", warehouse_conn_id="drchrono_warehouse")]')

    assert run(SYNCS.format(task=ONE)).state == "success"
    assert run(SYNCS.format(task=ONE)).state == "success"
    sandbox.practice.change("patients", sandbox.practice.records("patients")[0]["id"], {"city": "Utica"})
    assert run(SYNCS.format(task=ONE)).state == "success"

    (uri, first), (_, second) = events(rows)
    assert uri == TABLE
    assert {name: first[name] for name in ("count", "new", "changed")} == {"count": 5, "new": 5, "changed": 0}
    assert {name: second[name] for name in ("count", "new", "changed")} == {"count": 1, "new": 0, "changed": 1}
    assert set(second) == {"count", "new", "changed", "since", "until"}
    assert rows(QUEUED) == [("waits", TABLE)]
    assert rows("SELECT uri FROM task_outlet_asset_reference JOIN asset ON asset.id = asset_id") == [(TABLE,)]
    assert rows("SELECT uri FROM task_inlet_asset_reference JOIN asset ON asset.id = asset_id") == [(LIST,)]


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
    sandbox: Sandbox, run: RunDag, store: Store, rows: Rows
) -> None:
    store("waits", '[drchrono_table("patients", warehouse_conn_id="drchrono_warehouse")]')

    assert run(SYNCS.format(task=MAPPED)).state == "success"

    assert [(uri, extra["count"]) for uri, extra in events(rows)] == [(TABLE, 5)]


def test_dags_that_watch_the_same_share_an_asset_and_its_trigger(
    sandbox: Sandbox, run: RunDag, store: Store, rows: Rows
) -> None:
    store("one", '[drchrono_asset("patients", filters={"doctor": 42})]')
    either = 'drchrono_asset("patients", filters={"doctor": "42"}) | drchrono_asset("tasks")'
    store("other", either)
    run(READS_ALL)

    watched = rows(WATCHED)
    assert [uri for uri, _ in watched] == [
        "drchrono://drchrono_default/patients?doctor=42&watch=any",
        "drchrono://drchrono_default/tasks?watch=any",
    ]
    assert len(rows("SELECT id FROM trigger")) == len({trigger for _, trigger in watched}) == 2
    # The list that the sensor updates and the watch of it are two assets, so nobody is woken by the wrong one.
    assert [uri for uri, _ in events(rows)] == [LIST]
    assert rows(QUEUED) == []

    for dag_id in ("one", "other", "one"):
        process(dag_id)
        assert rows(WATCHED) == watched, "parsing either file again neither takes a watcher away nor makes another"


def process(dag_id: str) -> None:
    """Parse and store a single file, as the DAG processor does again and again."""
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

    folder = AIRFLOW_HOME / "dags"
    bag = BundleDagBag(dag_folder=folder / f"stored_{dag_id}.py", bundle_path=folder, bundle_name="dags-folder")
    assert list(bag.dags) == [dag_id]
    sync_bag_to_db(bag, "dags-folder", None)
