"""DAGs for a whole practice: what is refused while they are parsed, what they are, and what a run comes to."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.sandbox import Sandbox
from tests.airflow.warehouse_checks import differences

pytestmark = pytest.mark.airflow

EXAMPLE = Path(__file__).resolve().parents[2] / "example_dags" / "drchrono_whole_practice.py"


def made(**arguments: Any) -> dict[str, Any]:
    from airflow_provider_drchrono.transfers.sync_dags import drchrono_sync

    return drchrono_sync(**{"warehouse_conn_id": "drchrono_warehouse"} | arguments)


def tier(*arguments: Any) -> Any:
    from airflow_provider_drchrono.transfers.sync_dags import SyncTier

    return SyncTier(*arguments)


def synced(dag: Any) -> list[str]:
    return [each["resource"] for each in dag.get_task("drchrono.sync").expand_input.value]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"resources": ["patiens"]}, "resources: .*patiens.*did you mean 'patients'"),
        ({"resources": "patients"}, "resources and exclude are lists of names"),
        ({"resources": []}, "resources names none"),
        ({"resources": ["telehealth_appointments"], "exclude": ["tasks"]}, "exclude goes with resources='all'"),
        ({"exclude": ["patiens"]}, "exclude: .*did you mean 'patients'"),
        ({"resources": ["users"], "overrides": {"tasks": {}}}, "overrides are for tasks, which is not synced"),
        ({"resources": ["tasks"], "histroy": True}, "no argument 'histroy' .did you mean 'history'"),
        ({"resources": ["tasks"], "overrides": {"tasks": {"read_by": "x"}}}, "read_by must be one of"),
        ({"resources": ["tasks"], "overrides": {"tasks": {"filters": {"statu": 1}}}}, "no filter 'statu'"),
        ({"resources": ["insurances"]}, "insurances_list: filters need.*payer_type|payer_type"),
        ({"resources": ["tasks", "users"], "overrides": {"users": {"table": "tasks"}}}, "would fill the table tasks"),
        ({"resources": ["tasks"], "schedule": "hourly"}, "schedule 'hourly' is no cron expression"),
        ({"resources": ["tasks"], "on_overrun": "stop"}, "on_overrun must be one of 'warn', 'fail'"),
        ({"resources": ["tasks"], "report_path": "/reports/x.pdf"}, "report_path has to end in .md or .html"),
    ],
)
def test_what_cannot_work_is_refused_when_the_dag_is_parsed(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(Exception, match=told):
        made(**arguments)


@pytest.mark.parametrize(
    ("tiers", "told"),
    [
        ({"a": ("@daily", ["tasks"])}, "patients is in no tier"),
        ({"a": ("@daily", ["tasks", "patients"]), "b": ("@hourly", ["tasks"])}, "tasks is in two tiers, a and b"),
        ({"a": ("@daily",), "b": ("@hourly",)}, "the tiers a and b cannot both have the rest"),
        ({"a": ("@daily", ["offices"]), "b": ("@hourly",)}, "names offices, which is not synced"),
        ({"a": ("@daily", ["ofices"]), "b": ("@hourly",)}, "did you mean 'offices'"),
    ],
)
def test_tiers_have_each_resource_once(tiers: dict[str, Any], told: str) -> None:
    with pytest.raises(Exception, match=told):
        made(resources=["patients", "tasks"], tiers={name: tier(*each) for name, each in tiers.items()})


def test_all_are_the_lists_that_need_no_filter_in_two_tiers() -> None:
    dags = made(exclude=["audit_log"], overrides={"tasks": {"history": True}})

    assert {name: dag.dag_id for name, dag in dags.items()} == {
        "hourly": "drchrono_sync_hourly",
        "nightly": "drchrono_sync_nightly",
    }
    hourly, nightly = synced(dags["hourly"]), synced(dags["nightly"])
    listed = {each.name for each in load().resources.values() if each.list_operation and each.record}
    # It lists the same visits as the other one, and would be paid for twice.
    listed -= {"appointments_list"}
    left_out = dags["hourly"].get_task("drchrono.report").left_out
    assert sorted(hourly + nightly + list(left_out)) == sorted(listed)
    assert left_out["audit_log"] == "excluded"
    assert "needs overrides={'insurances': {'filters': {'payer_type': ...}}}" in left_out["insurances"]
    assert {"patients", "tasks"} <= set(hourly)
    assert {"offices", "problems"} & set(hourly) == set()
    (tasks,) = (each for each in dags["hourly"].get_task("drchrono.sync").expand_input.value if "history" in each)
    assert tasks == {"resource": "tasks", "history": True}


def test_tiers_of_ones_own() -> None:
    dags = made(
        resources=["patients", "offices", "tasks"],
        tiers={"often": tier(timedelta(minutes=15), ["tasks"]), "seldom": tier("@weekly")},
    )

    assert {name: synced(dag) for name, dag in dags.items()} == {"often": ["tasks"], "seldom": ["patients", "offices"]}
    assert dags["often"].get_task("drchrono.plan").interval == timedelta(minutes=15)
    assert dags["seldom"].get_task("drchrono.plan").interval == timedelta(days=7)


def test_airflow_finds_the_dags_of_a_file_with_one_call(airflow_db: Path) -> None:
    from airflow.dag_processing.dagbag import BundleDagBag

    found = BundleDagBag(dag_folder=EXAMPLE, bundle_path=EXAMPLE.parent, bundle_name="examples", safe_mode=True)

    assert found.import_errors == {}
    assert {name: Path(dag.fileloc) for name, dag in found.dags.items()} == {
        "practice_hourly": EXAMPLE,
        "practice_nightly": EXAMPLE,
    }


def test_a_run_fails_with_its_syncs_and_reports_them_all(
    run_dag: Callable[..., Any],
    airflow_db: Path,
    quick_dags: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("AIRFLOW__DRCHRONO__STAGING_PATH", str(tmp_path / "staging"))
    database = tmp_path / "warehouse.db"
    connection = {"conn_type": "sqlite", "host": str(database)}
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_WAREHOUSE", json.dumps(connection))
    with Sandbox(patients=20, quota_per_second=None) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", sandbox.connection_json())
        with closing(sqlite3.connect(database)) as table:
            # This one is somebody else's.
            table.execute("CREATE TABLE offices (id INTEGER PRIMARY KEY)")
        run = run_dag(
            f"""
            from airflow.sdk import DAG, task
            from airflow_provider_drchrono.transfers.sync_dags import drchrono_sync_group

            with DAG("whole", schedule=None):
                @task
                def after() -> str:
                    return "ran"

                drchrono_sync_group(
                    warehouse_conn_id="drchrono_warehouse",
                    resources=["patients", "offices", "doctors"],
                    report_path="{tmp_path}/reports/{{{{ run_id }}}}.html",
                ) >> after()
            """
        )
        assert run.state == "failed"
        states = {(ti.task_id, ti.map_index): ti.state for ti in run.get_task_instances()}
        assert states["after", -1] == "upstream_failed"
        assert states["drchrono.report", -1] == "success"
        report = run.get_task_instance("drchrono.report").xcom_pull(task_ids="drchrono.report")
        assert differences(sandbox, "patients", lambda query: sqlite3.connect(database).execute(query).fetchall()) == []
        calls = [each for each in sandbox.journal.calls() if each.resource in ("patients", "doctors")]

    assert (report["state"], report["synced"], report["of"]) == ("failed", 2, 3)
    lines = {line["table"]: line for line in report["tables"]}
    assert [line["state"] for line in lines.values()] == ["success", "failed", "success"]
    assert lines["patients"]["rows_new"] == lines["patients"]["rows_in_table"] == 20
    assert lines["offices"]["task"] == "drchrono.sync[1]"
    assert report["calls"] == sum(lines[name]["calls"] for name in ("patients", "doctors")) >= len(calls)
    assert 0 < report["quota_left"] < 500
    page = Path(report["path"]).read_text()
    assert f"{tmp_path}/reports/" in report["path"]
    assert "2 of 3 tables are up to date" in page
    assert "failed, see drchrono.sync[1]" in page
    assert page.count("<rect") == len([1 for name in ("patients", "doctors") for _ in (1, 2)])
    assert "2 of 3 tables are up to date" in caplog.text


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Executes the plan of two lists, of which patients has a table with 30,000 rows."""
    database = tmp_path / "warehouse.db"
    connection = {"conn_type": "sqlite", "host": str(database)}
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_WAREHOUSE", json.dumps(connection))
    monkeypatch.setenv(
        "AIRFLOW_CONN_DRCHRONO_DEFAULT", json.dumps({"conn_type": "drchrono", "login": "id-1", "password": "secret-1"})
    )
    with closing(sqlite3.connect(database)) as table:
        table.execute("CREATE TABLE problems (id INTEGER PRIMARY KEY)")
        table.executemany("INSERT INTO problems VALUES (?)", ((number,) for number in range(30_000)))
        table.commit()

    def execute(**arguments: Any) -> dict[str, Any]:
        from airflow_provider_drchrono.transfers.drchrono_sync_plan import DrChronoSyncPlanOperator

        operator = DrChronoSyncPlanOperator(
            task_id="plan",
            tables={"problems": "problems", "patients": "patients"},
            warehouse_conn_id="drchrono_warehouse",
            **arguments,
        )
        return operator.execute({})

    return execute


def test_a_plan_says_with_the_arithmetic_that_a_run_does_not_fit(
    planned: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    from airflow_provider_drchrono.transfers.extraction import ListFacts, cost_of

    problems = cost_of(ListFacts.of(load(), load().resource("problems")), 30_000).calls
    needed = f"{problems + 1:,} calls (problems {problems:,}, patients 1)"
    found = planned(interval=timedelta(minutes=10))

    assert found["calls"] == problems + 1
    assert found["rows"] == {"problems": 30_000}
    assert needed in found["overrun"]
    assert "500 calls an hour x 0.166667 hours = 83" in found["overrun"]
    assert needed in caplog.text
    with pytest.raises(Exception, match="Run them every hour or more seldom") as refused:
        planned(interval=timedelta(minutes=10), on_overrun="fail")
    assert type(refused.value).__name__ == "AirflowFailException"


def test_a_plan_that_fits_says_nothing(
    planned: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    assert planned(interval=timedelta(hours=1), on_overrun="fail")["overrun"] is None
    assert planned(interval=None, on_overrun="fail")["overrun"] is None
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


def test_the_plan_counts_each_table_in_its_own_schema(mocker: MockerFixture) -> None:
    from airflow_provider_drchrono.transfers import counts
    from airflow_provider_drchrono.transfers.sync_dags import drchrono_sync

    dags = drchrono_sync(
        warehouse_conn_id="drchrono_warehouse",
        resources=["patients", "problems"],
        nightly_schedule=None,
        schema="clinic",
        overrides={"problems": {"schema": "charts"}},
    )
    warehouse = mocker.patch.object(counts, "open_warehouse").return_value
    warehouse.row_count.return_value = 7
    plan = dags["hourly"].get_task("drchrono.plan")
    counts.rows_in_warehouse("any", load(), plan.tables, schema=plan.schema, schemas=plan.schemas)

    counted = [call.args[0].label for call in warehouse.row_count.call_args_list]
    assert counted == ["clinic.patients", "charts.problems"]
