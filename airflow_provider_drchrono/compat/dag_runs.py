"""Runs a DAG in this process, as ``dag.test()`` does, and says why its tasks failed. For tests only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.compat.private import mended_in

with mended_in(__name__):
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dag import DagModel
    from airflow.models.dag_version import DagVersion
    from airflow.models.dagrun import DagRun
    from airflow.sdk.execution_time import supervisor
    from airflow.utils.session import create_session
    from sqlalchemy.exc import SQLAlchemyError

    # Both are looked up when a task runs, so that what stands there is called.
    run_task_in_process = supervisor.run_task_in_process
    in_process_api_server = supervisor.in_process_api_server

if TYPE_CHECKING:
    from airflow.sdk import DAG

__all__ = ["DagRun", "FailedTask", "NoDatabaseError", "one_api_server", "run"]


class NoDatabaseError(DrChronoError):
    """Airflow has no migrated database in which a DAG could run."""


class FailedTask(NamedTuple):
    """A task that failed.

    :param name: its id; with the index in brackets where it is mapped.
    :param reason: what it raised, or what is known instead.
    """

    name: str
    reason: str


@contextmanager
def one_api_server() -> Iterator[None]:
    """Let all tasks that run in this process share an API server; Airflow builds one for each of them."""
    with patch.object(supervisor, "in_process_api_server", cache(in_process_api_server)):
        yield


def run(dag: DAG, **arguments: Any) -> tuple[DagRun, list[FailedTask]]:
    """Run a DAG in this process, wherever it was defined, and return the run with the tasks that failed themselves.

    :param arguments: those of ``dag.test``.
    :raises NoDatabaseError: Airflow's database is not there, or is not migrated.
    """
    _check_database()
    raised: dict[tuple[str, int], BaseException] = {}

    def noticing(ti: Any, task: Any, **more: Any) -> Any:
        result = run_task_in_process(ti=ti, task=task, **more)
        if result.error is not None:
            raised[ti.task_id, ti.map_index] = result.error
        return result

    _make_known(dag)
    with patch.object(supervisor, "run_task_in_process", noticing):
        ended = dag.test(**arguments)
    failed = [each for each in ended.get_task_instances() if str(each.state) == "failed"]
    return ended, [_failure(each, raised) for each in failed]


def _failure(ti: Any, raised: dict[tuple[str, int], BaseException]) -> FailedTask:
    error = raised.get((ti.task_id, ti.map_index))
    name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"
    reason = f"{type(error).__name__}: {error}" if error else "no error of the task itself; the log above says why"
    return FailedTask(name, reason)


def _check_database() -> None:
    try:
        with create_session() as session:
            session.query(DagModel.dag_id).first()
    except SQLAlchemyError as error:
        problem = type(error).__name__
    else:
        return
    raise NoDatabaseError(
        f"Airflow's database cannot be read ({problem}), and a DAG runs in one: set AIRFLOW_HOME to a folder of the "
        "tests before Airflow is imported, and run `airflow db migrate` once"
    )


def _make_known(dag: DAG) -> None:
    """Store a DAG that is in no file of the DAGs folder; Airflow refuses to run what it does not know."""
    manager = DagBundlesManager()  # type: ignore[no-untyped-call]
    bundles = list(manager.get_all_dag_bundles())
    if any(Path(dag.fileloc).is_relative_to(each.path) for each in bundles):
        # dag.test() finds it, and stores it together with the others of its folder. Airflow 3.2 stores none of them
        # once it knows the DAG.
        return
    manager.sync_bundles_to_db()
    bundle = bundles[0]
    # The bag reads its folder by itself, so it is given one without files.
    bag = DagBag(dag_folder=os.devnull)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, bundle.name, None)
    if not DagVersion.get_version(dag.dag_id):
        raise RuntimeError(f"Airflow did not store the DAG {dag.dag_id}; it is not run")
