"""Records of asset events inside real DAG runs: events as Airflow hands them on, and what the command line shows."""

import argparse
import json
import textwrap
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.assets import drchrono_asset
from airflow_provider_drchrono.cli.cursor import cursor as cursor_command
from airflow_provider_drchrono.incremental.events.event import ChangeEvent
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.state.cursor_store import VariableCursorStore
from tests.support.events import make_event
from tests.support.running import unlimited
from tests.support.stored import tables_with

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("quick_dags")]

RunDag = Callable[..., Any]
Variables = Callable[[], dict[str, str]]

CANARY = "Canary-Zq7-Surname"
PATIENTS = drchrono_asset("patients")
TASKS = drchrono_asset("tasks")
CURSOR = "drchrono:cursor::drchrono_default/patients:any"
READ = "drchrono:deliveries:a_dag:changed"
AT_NOON = dict.fromkeys(("logical_date", "run_after"), datetime(2026, 7, 1, 12, tzinfo=UTC))

# Airflow tells a task which events triggered its run when the task starts, so a task before it can let them arrive.
DAG = """
from airflow.sdk import DAG, task
from airflow_provider_drchrono.assets import drchrono_asset
from airflow_provider_drchrono.operators.assets import DrChronoChangedRecordsOperator
from tests.support.events import events_arrive

patients, tasks = drchrono_asset("patients"), drchrono_asset("tasks")
EXTRAS = {extras!r}

with DAG("a_dag", schedule=patients | tasks) as dag:

    @task
    def arrive(dag_run=None):
        if EXTRAS is not None:
            events_arrive(dag_run.dag_id, dag_run.run_id, EXTRAS)

    @task
    def handle(record):
        return record["id"]

    arrived = arrive()
{body}
"""
CHANGED = """
changed = DrChronoChangedRecordsOperator(task_id="changed", asset=patients, fields=["id", "last_name"])
arrived >> changed
handle.expand(record=changed.output)
"""


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, airflow_db: Path) -> Iterator[Sandbox]:
    with Sandbox(patients=4, quota_per_hour=None, quota_per_second=None) as running:
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(running))
        assert make_event(VariableCursorStore(), PATIENTS) is None
        yield running


@pytest.fixture
def run(run_dag: RunDag) -> RunDag:
    """Runs the DAG; the given events triggered it, or nothing did where there are none."""

    def triggered(*events: ChangeEvent, extras: Any = None, body: str = CHANGED, **arguments: Any) -> Any:
        if events:
            extras = [(each.asset, {"from_trigger": True, "payload": each.payload()}) for each in events]
        return run_dag(DAG.format(extras=extras, body=textwrap.indent(textwrap.dedent(body), "    ")), **arguments)

    return triggered


def change_event(sandbox: Sandbox, number: int) -> tuple[int, ChangeEvent]:
    """Change a patient and make an event of it; return the id and the event."""
    patient = sandbox.practice.records("patients")[number]["id"]
    sandbox.practice.change("patients", patient, {"last_name": CANARY})
    event = make_event(VariableCursorStore(), PATIENTS)
    assert event is not None
    return int(patient), event


def given(run: Any, task_id: str = "changed", map_index: int = -1) -> Any:
    ti = run.get_task_instance(task_id, map_index=map_index)
    return ti.xcom_pull(task_ids=task_id, map_indexes=map_index)


def ids(run: Any) -> list[int]:
    assert run.state == "success"
    return [each["id"] for each in given(run)]


def command(action: str, *names: str, **options: Any) -> None:
    dag_id, task_id, *_ = (*names, None, None)
    chosen = {"map_index": -1, "asset": None, "to": None, "output": "json"} | options
    cursor_command(argparse.Namespace(action=action, dag_id=dag_id, task_id=task_id, **chosen))


def test_a_run_is_given_what_its_events_name_each_once(sandbox: Sandbox, run: RunDag) -> None:
    one, first = change_event(sandbox, 0)
    two, second = change_event(sandbox, 1)

    both = run(first, second, **AT_NOON)
    assert given(both) == [{"id": one, "last_name": CANARY}, {"id": two, "last_name": CANARY}]
    assert [ti.map_index for ti in both.get_task_instances() if ti.task_id == "handle"] == [0, 1]

    three, third = change_event(sandbox, 2)
    assert ids(run(second, third)) == [three], "Airflow got the second event twice"
    # A run of the same time is the same run, with its tasks cleared.
    assert ids(run(first, second, **AT_NOON)) == [one, two]


def test_a_run_by_hand_catches_up_and_one_of_another_asset_does_not(sandbox: Sandbox, run: RunDag) -> None:
    one, first = change_event(sandbox, 0)
    assert ids(run(first)) == [one]
    two, _ = change_event(sandbox, 1)

    assert ids(run(extras=[(TASKS.name, {"from_trigger": True, "payload": {}})])) == []
    assert ids(run()) == [two]
    assert ids(run()) == []


def test_a_mapped_task_reads_in_each_instance(sandbox: Sandbox, run: RunDag, variables: Variables) -> None:
    one, first = change_event(sandbox, 0)
    found = run(
        first,
        body="""
        changed = DrChronoChangedRecordsOperator.partial(task_id="changed", asset=patients).expand(
            fields=[["id"], ["last_name"]]
        )
        arrived >> changed
        """,
    )

    assert found.state == "success"
    assert [given(found, map_index=index) for index in range(2)] == [[{"id": one}], [{"last_name": CANARY}]]
    assert {f"{READ}:0", f"{READ}:1"} <= set(variables())


def test_nothing_but_times_and_ids_is_kept_and_the_asset_is_no_inlet(
    sandbox: Sandbox, run: RunDag, variables: Variables, ask: Callable[..., Any], airflow_db: Path
) -> None:
    _, first = change_event(sandbox, 0)
    # What a task of the user's own takes from another is shown by Airflow, so there is none here.
    assert run(first, body=CHANGED.replace("handle.expand(record=changed.output)", "")).state == "success"

    kept = variables()
    assert {CURSOR, READ} <= set(kept)
    assert CANARY not in json.dumps(kept)
    assert tables_with(airflow_db, CANARY) == []
    assets = ask("assets")["assets"]
    assert PATIENTS.name in [each["name"] for each in assets]
    assert [each["consuming_tasks"] for each in assets] == [[] for _ in assets]


def test_what_runs_have_read_is_shown_and_reset(
    sandbox: Sandbox, run: RunDag, capsys: pytest.CaptureFixture[str]
) -> None:
    one, first = change_event(sandbox, 0)
    run(first, **AT_NOON)
    capsys.readouterr()

    command("show")
    cursor, reader = json.loads(capsys.readouterr().out)
    assert (cursor["cursor"], cursor["resource"], cursor["runs"], cursor["problem"]) == (
        "asset drchrono_default/patients:any",
        "patients",
        1,
        None,
    )
    assert reader == {
        "reader": "a_dag:changed",
        "asset": PATIENTS.name,
        "runs": 1,
        "last_event": first.until,
        "problem": None,
    }
    for names, options in (((), {"asset": PATIENTS.name}), (("a_dag", "changed"), {}), (("a_dag",), {})):
        command("show", *names, **options)
        assert reader in json.loads(capsys.readouterr().out)
    command("show", asset="another")
    assert json.loads(capsys.readouterr().out) == []
    command("show", output="table")
    assert "last_event" in capsys.readouterr().out

    with pytest.raises(SystemExit, match=r"cursor set --asset drchrono_default/patients:any --to 2026-01-01"):
        command("set", "a_dag", "changed", to="2026-01-01")
    command("reset", "a_dag", "changed")
    assert "What the runs of a_dag.changed have read is deleted" in capsys.readouterr().out
    assert ids(run()) == [], "it is the first run again"
    assert ids(run(first, **AT_NOON)) == [one]


def test_spoilt_deliveries_stop_the_task_until_they_are_reset(
    sandbox: Sandbox, run: RunDag, variables: Variables, capsys: pytest.CaptureFixture[str]
) -> None:
    from airflow.models.variable import Variable

    one, first = change_event(sandbox, 0)
    run(first)
    Variable.set(READ, variables()[READ][:50])
    capsys.readouterr()

    assert run(first).state == "failed"
    assert "airflow drchrono cursor reset a_dag changed" in capsys.readouterr().out
    command("show", "a_dag")
    (shown,) = json.loads(capsys.readouterr().out)
    assert shown["problem"] == "50 characters of text that is not JSON"
    command("reset", "a_dag", "changed")
    assert ids(run(first)) == [one]


def test_an_asset_can_be_set_before_it_was_ever_watched(sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    command("set", asset=TASKS.name, to="1999-01-01")
    assert "makes an event of what changed since 1999-01-01" in capsys.readouterr().out

    event = make_event(VariableCursorStore(), TASKS)

    assert event is not None
    assert event.count == len(sandbox.practice.records("tasks")) > 0


def test_an_asset_is_set_to_a_time_and_reset(
    sandbox: Sandbox, run: RunDag, variables: Variables, capsys: pytest.CaptureFixture[str]
) -> None:
    _, first = change_event(sandbox, 0)
    assert run(first).state == "success"

    command("set", asset=PATIENTS.name, to="1999-01-01")
    assert "also of what earlier events named" in capsys.readouterr().out
    again = make_event(VariableCursorStore(), PATIENTS)
    assert again is not None
    assert again.count == 4
    assert len(ids(run(again))) == 4

    command("reset", asset=PATIENTS.name)
    assert "where the asset's argument start says" in capsys.readouterr().out
    assert CURSOR not in variables()
    assert run(first).state == "success", "it was read before, so nothing is to be read"
    lost = ChangeEvent.read(first.payload() | {"until": "2026-01-01T00:00:00+00:00"})
    assert run(lost).state == "failed"
    assert "as its cursor was reset since then" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="asset another has no cursor"):
        command("reset", asset="another")
