"""A sensor whose list may hide records, on a worker and in the triggerer."""

import asyncio
import logging
import time
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from airflow_provider_drchrono.incremental.cursor import MemoryCursorStore
from airflow_provider_drchrono.operators.patients import DrChronoListPatientsOperator
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.sensors.base import InvalidArgumentError
from airflow_provider_drchrono.sensors.patients import DrChronoNewOrUpdatedPatientsSensor as Patients
from airflow_provider_drchrono.triggers.incremental import DrChronoIncrementalTrigger
from tests.support.running import connected_sandbox, execute, unlimited
from tests.unit.sensors.test_sensors import context, poke

RIGHTS = "the scope patients:read or patients:write, and the token has only calendar:read"


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, store: MemoryCursorStore) -> Any:
    with connected_sandbox(monkeypatch, patients=2, missing_scope="empty") as running:
        yield running


def lose_scopes(sandbox: Sandbox, patch: pytest.MonkeyPatch) -> None:
    from airflow_provider_drchrono.client import MemoryTokenStore
    from airflow_provider_drchrono.hooks.drchrono import DrChronoHook

    patch.setattr(DrChronoHook, "token_store", MemoryTokenStore())
    refresh_token = sandbox.new_refresh_token("calendar:read")
    patch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox, refresh_token=refresh_token))


def deferred(**arguments: Any) -> DrChronoIncrementalTrigger:
    with pytest.raises(TaskDeferred) as caught:
        execute(Patients(task_id="changes", deferrable=True, **arguments), context())
    path, kwargs = caught.value.trigger.serialize()
    assert path.endswith("DrChronoIncrementalTrigger")
    return DrChronoIncrementalTrigger(**kwargs | {"poll_interval": 0.01, "not_before": 0.0})


def event_of(trigger: DrChronoIncrementalTrigger, seconds: float) -> dict[str, Any]:
    trigger.ends = time.time() + seconds

    async def first() -> dict[str, Any]:
        async for event in trigger.run():
            return event.payload
        raise AssertionError("a trigger without an event")

    return asyncio.run(first())


def test_a_scope_that_was_lost_is_told_at_each_poll(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert poke(Patients) is None
    assert RIGHTS not in caplog.text
    lose_scopes(sandbox, monkeypatch)

    for number in range(2):
        caplog.clear()
        assert poke(Patients, f"run-{number}") is None
        assert RIGHTS in caplog.text


def test_a_scope_that_was_lost_fails_the_sensor_where_that_is_chosen(
    sandbox: Sandbox, store: MemoryCursorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_scopes(sandbox, monkeypatch)

    for arguments in ({}, {"start": "beginning"}, {"since": "2026-01-01"}):
        with pytest.raises(AirflowFailException, match="Nothing of this read was kept"):
            poke(Patients, on_suspicious="fail", **arguments)
    assert store.texts == {}


def test_a_scope_that_is_lost_while_the_sensor_waits_in_the_triggerer(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    lenient, strict = deferred(), deferred(on_suspicious="fail")
    lose_scopes(sandbox, monkeypatch)

    assert event_of(lenient, 3.0)["status"] == "timeout"
    assert RIGHTS in caplog.text
    event = event_of(strict, 30)

    assert (event["status"], event["transient"]) == ("failed", False)
    assert RIGHTS in event["message"]


def test_a_list_operator_tells_or_fails(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(execute(DrChronoListPatientsOperator(task_id="list"))) == 2
    lose_scopes(sandbox, monkeypatch)

    assert execute(DrChronoListPatientsOperator(task_id="list")) == []
    assert RIGHTS in caplog.text
    with pytest.raises(AirflowFailException, match="the token has only calendar:read"):
        execute(DrChronoListPatientsOperator(task_id="list", on_suspicious="fail"))


@pytest.mark.parametrize("kind", [Patients, DrChronoListPatientsOperator])
def test_the_choice_is_checked_when_the_dag_is_parsed(kind: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="on_suspicious must be one of 'warn', 'fail', not 'ignore'"):
        kind(task_id="x", on_suspicious="ignore")
