"""Airflow stores masks of patient data, and all code that runs with the task sees plain values."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.masked_tasks import SEEN, Listener
from tests.support.stored import rendered_fields

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("quick_dags")]

DAG = """
from datetime import timedelta
from airflow.sdk import DAG
from tests.support.masked_tasks import Deferring, Failing, FailingOnce, Overriding, Sending, noting

with DAG("a_dag", schedule=None, params={{"name": "Canary"}}):
    fields = {{
        "extra_fields": {{"note": ["{{{{ params.name }}}}"]}},
        "filters": {{"last_name": "{{{{ params.name }}}}"}},
        "note": "for the UI",
    }}
    data = {{"first_name": "{{{{ params.name }}}}", "doctor": 7}}
    {task}
"""

PLAIN = ({"first_name": "Canary", "doctor": 7}, {"note": ["Canary"]}, {"last_name": "Canary"})
MASKED = {
    "data": {"doctor": "***", "first_name": "***"},
    "extra_fields": {"note": ["***"]},
    "filters": {"last_name": "***"},
    "note": "for the UI",
}


@pytest.fixture
def seen() -> Iterator[list[Any]]:
    from airflow.sdk.listener import get_listener_manager

    SEEN.clear()
    manager, listener = get_listener_manager(), Listener()
    manager.add_listener(listener)
    yield SEEN
    manager.pm.unregister(listener)
    SEEN.clear()


@pytest.fixture
def run(run_dag: Callable[..., Any]) -> Callable[[str], Any]:
    return lambda task: run_dag(DAG.format(task=task))


def rendered(database: Path) -> list[Any]:
    """Return what the database holds, after seeing that nothing of the patient's is among it."""
    found = rendered_fields(database)
    assert "Canary" not in json.dumps(found)
    return found


def by(seen: list[Any]) -> list[str]:
    """Return who saw something, after seeing that everybody saw plain values."""
    assert [(who, type(data)) for who, data, *_ in seen] == [(who, dict) for who, *_ in seen]
    assert [values for _, *values in seen] == [list(PLAIN)] * len(seen)
    return [who for who, *_ in seen]


def test_a_task(run: Any, airflow_db: Path, seen: list[Any]) -> None:
    run('Overriding(task_id="a", data=data, on_success_callback=noting("on_success"), **fields)')

    assert by(seen) == [
        "listener: running",
        "pre_execute",
        "own execute",
        "execute",
        "on_success",
        "listener: success",
    ]
    assert rendered(airflow_db) == [MASKED]


def test_callbacks_around_a_task(run: Any, airflow_db: Path, seen: list[Any]) -> None:
    run(
        'Sending(task_id="a", data=data, pre_execute=noting("pre"), on_execute_callback=noting("on_execute"), '
        'post_execute=lambda context, result: noting("post")(context), **fields)'
    )

    assert by(seen) == ["listener: running", "pre", "on_execute", "execute", "post", "listener: success"]
    assert rendered(airflow_db) == [MASKED]


def test_a_task_that_fails(run: Any, airflow_db: Path, seen: list[Any]) -> None:
    run('Failing(task_id="a", data=data, on_failure_callback=noting("on_failure"), **fields)')

    assert by(seen) == ["listener: running", "execute", "on_failure", "listener: failed"]
    assert rendered(airflow_db) == [MASKED]


def test_a_task_that_is_retried(run: Any, airflow_db: Path, seen: list[Any]) -> None:
    run(
        'FailingOnce(task_id="a", data=data, retries=1, retry_delay=timedelta(0), '
        'on_retry_callback=noting("on_retry"), **fields)'
    )

    assert by(seen) == [
        "listener: running",
        "execute",
        "on_retry",
        "listener: failed",
        "listener: running",
        "execute",
        "listener: success",
    ]
    stored = rendered(airflow_db)
    assert stored == [MASKED] * len(stored) != []


def test_a_task_that_defers_and_is_resumed(run: Any, airflow_db: Path, seen: list[Any]) -> None:
    run('Deferring(task_id="a", data=data, **fields)')

    assert by(seen) == [
        "listener: running",
        "execute",
        "listener: running",
        "execute_complete",
        "listener: success",
    ]
    assert rendered(airflow_db) == [MASKED]


def test_a_mapped_task(run: Any, airflow_db: Path, seen: list[Any]) -> None:
    run('Overriding.partial(task_id="a", **fields).expand(data=[data, data])')

    assert by(seen) == ["listener: running", "pre_execute", "own execute", "execute", "listener: success"] * 2
    assert rendered(airflow_db) == [MASKED, MASKED]


def test_values_too_long_for_airflow_are_masked_as_well(
    run: Any, airflow_db: Path, seen: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__MAX_TEMPLATED_FIELD_LENGTH", "30")

    run('Sending(task_id="a", data=data, **fields)')

    assert by(seen) == ["listener: running", "execute", "listener: success"]
    (stored,) = rendered(airflow_db)
    assert isinstance(stored["data"], str)


def test_a_part_of_a_field_is_not_stored_by_itself(run: Any, airflow_db: Path, seen: list[Any]) -> None:
    run('setattr(Sending(task_id="a", data=data, **fields), "template_fields_renderers", {"data.first_name": "sql"})')

    assert [who for who, *_ in seen] == ["listener: failed"]
    assert rendered(airflow_db) == []
