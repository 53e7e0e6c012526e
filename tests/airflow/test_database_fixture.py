"""What Airflow tests run on: a migrated database, private to the process, empty at the start of each test."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.airflow

TWO_STEPS = """
    from airflow.sdk import dag, task

    @dag(schedule=None)
    def two_steps():
        @task
        def count():
            return 20

        @task
        def double(number):
            return number * 2

        double(count())

    two_steps()
"""


@pytest.mark.parametrize("turn", ["first", "second"])
def test_a_dag_runs_on_a_database_without_earlier_runs(run_dag: Callable[..., Any], turn: str) -> None:
    run = run_dag(TWO_STEPS)

    assert run.state == "success"
    assert len(run.find()) == 1
    assert run.get_task_instance("double").xcom_pull(task_ids="double") == 40


def test_nothing_of_the_callers_shell_is_left(airflow_db: Path) -> None:
    from airflow.configuration import conf

    assert conf.get("database", "sql_alchemy_conn") == f"sqlite:///{airflow_db}"
    assert Path(os.environ["AIRFLOW_HOME"]) == airflow_db.parent
    assert [name for name in os.environ if name.startswith(("AIRFLOW_CONN_", "AIRFLOW_VAR_"))] == []
