"""Facts of the connection: what sensors, triggers, operators and the client ask once they are given."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider_drchrono.assets import drchrono_asset
from airflow_provider_drchrono.client import (
    AsyncDrChronoClient,
    ConfigurationError,
    DrChronoClient,
    UnexpectedAnswerError,
)
from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.incremental.cursor import MemoryCursorStore
from airflow_provider_drchrono.operators.assets.changed_records import watching_trigger
from airflow_provider_drchrono.operators.labs import DrChronoListLabOrdersOperator
from airflow_provider_drchrono.operators.patients import DrChronoListPatientsOperator
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.sensors.labs import DrChronoNewOrUpdatedLabOrdersSensor
from airflow_provider_drchrono.sensors.patients import DrChronoNewOrUpdatedPatientsSensor
from tests.support.answering import answering, editing
from tests.support.running import connected_sandbox, execute, unlimited

NOW = datetime(2026, 3, 3, 18, 30, tzinfo=UTC)
ZONE = "America/New_York"


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, store: MemoryCursorStore) -> Iterator[Sandbox]:
    options = {"patients": 4, "appointments_per_patient": 1, "timezone": ZONE, "start": NOW, "frozen": True}
    monkeypatch.setattr("airflow_provider_drchrono.sensors.base.incremental.utcnow", lambda: NOW)
    with connected_sandbox(monkeypatch, **options) as running:
        yield running


def tell(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, facts: Any) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox, facts=facts))


def asked(sandbox: Sandbox, operation_id: str = "patients_list") -> list[dict[str, str]]:
    return [each.query for each in sandbox.journal.calls(operation_id=operation_id)]


def about(since: str, expected: str) -> bool:
    """Tell whether two times are the same but for the seconds that a call takes."""
    return abs(datetime.fromisoformat(since) - datetime.fromisoformat(expected)) < timedelta(seconds=20)


def test_page_sizes_are_those_of_the_facts(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(monkeypatch, sandbox, {"patients": {"page_size": 3, "verbose_page_size": 2}})

    found = execute(DrChronoListPatientsOperator(task_id="list"))
    execute(DrChronoListPatientsOperator(task_id="verbose", verbose=True))

    assert len(found) == 4
    assert {each["page_size"] for each in asked(sandbox)} == {"3", "2"}


def test_both_clients_take_facts(sandbox: Sandbox) -> None:
    settings = DrChronoHook().settings.model_copy(update={"facts": {"patients": {"page_size": 3}}})
    with DrChronoClient(settings, token_store=DrChronoHook().token_store) as drchrono:
        assert len(list(drchrono.list("patients"))) == 4

    async def list_patients() -> int:
        async with AsyncDrChronoClient(settings, token_store=DrChronoHook().token_store) as drchrono:
            return len([each async for each in drchrono.list("patients")])

    assert asyncio.run(list_patients()) == 4
    assert {each["page_size"] for each in asked(sandbox)} == {"3"}


def test_bulk_pages_are_as_large_as_the_facts_say(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(monkeypatch, sandbox, {"*": {"bulk_page_size": 700}})

    with DrChronoHook() as drchrono:
        drchrono.bulk_start("patients")

    assert asked(sandbox, "patients_list_create")[0]["page_size"] == "700"


def test_a_list_that_needs_a_filter_is_not_asked_without(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(monkeypatch, sandbox, {"lab_orders": {"requires_one_of": ["doctor"]}})

    with pytest.raises(InvalidArgumentError, match="at least one of doctor"):
        execute(DrChronoListLabOrdersOperator(task_id="list"))
    with pytest.raises(InvalidArgumentError, match="at least one of doctor"):
        execute(DrChronoNewOrUpdatedLabOrdersSensor(task_id="sensor", mode="poke"))
    assert asked(sandbox, "lab_orders_list") == []
    execute(DrChronoListLabOrdersOperator(task_id="one", filters={"doctor": 1}))
    assert asked(sandbox, "lab_orders_list")[0]["doctor"] == "1"


def test_a_sensor_that_begins_at_the_beginning_gives_the_since_that_is_needed(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(monkeypatch, sandbox, {"lab_orders": {"requires_one_of": ["since", "doctor"]}})

    execute(DrChronoNewOrUpdatedLabOrdersSensor(task_id="sensor", mode="poke", start="beginning"))

    assert asked(sandbox, "lab_orders_list")[0]["since"] == "1970-01-01T00:00:00"


def test_records_are_found_under_the_key_of_the_facts(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    items = editing("/api/patients", lambda value, _: {"items": value["data"], "next": None})
    settings = DrChronoHook().settings.model_copy(update={"max_attempts": 1})
    with answering(sandbox, items):
        with (
            DrChronoClient(settings, token_store=DrChronoHook().token_store) as drchrono,
            pytest.raises(UnexpectedAnswerError, match="no list of records"),
        ):
            next(drchrono.list("patients"))
        tell(monkeypatch, sandbox, {"patients": {"records_key": "items"}})
        assert len(execute(DrChronoListPatientsOperator(task_id="list"))) == 4


@pytest.mark.parametrize(
    ("facts", "since"),
    [
        pytest.param({}, "2026-03-03T13:30:00", id="the practice's clock"),
        pytest.param({"patients": {"timezone": "America/Los_Angeles"}}, "2026-03-03T10:30:00", id="of the list"),
        pytest.param({"*": {"timezone": "UTC"}}, "2026-03-03T18:30:00", id="of all lists"),
    ],
)
def test_an_instant_is_asked_for_by_the_clock_of_the_list(
    facts: Any, since: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(monkeypatch, sandbox, facts)

    sensor = DrChronoNewOrUpdatedPatientsSensor(
        task_id="sensor", mode="poke", since="2026-03-03T18:30:00+00:00", timeout=0, soft_fail=True
    )
    _poke(sensor)

    assert asked(sandbox)[0]["since"] == since


@pytest.mark.parametrize(
    ("facts", "given", "since"),
    [
        pytest.param({}, None, "2026-03-03T13:28:00", id="two minutes"),
        pytest.param({"patients": {"lookback": 3600}}, None, "2026-03-03T12:30:00", id="as the facts say"),
        pytest.param({"patients": {"lookback": 3600}}, 600, "2026-03-03T13:20:00", id="an argument counts more"),
        pytest.param({"patients": {"timezone": "UTC"}}, None, "2026-03-03T18:28:00", id="by the clock of the list"),
    ],
)
def test_a_sensor_reads_again_as_much_as_the_facts_say(
    facts: Any, given: Any, since: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, store: MemoryCursorStore
) -> None:
    tell(monkeypatch, sandbox, facts)
    sensor = DrChronoNewOrUpdatedPatientsSensor(task_id="sensor", mode="poke", lookback=given)
    monkeypatch.setattr("airflow_provider_drchrono.sensors.base.incremental.utcnow", lambda: NOW)
    _poke(sensor)
    sandbox.journal.clear()

    _poke(sensor)

    assert about(asked(sandbox)[0]["since"], since)


def test_a_deferred_sensor_polls_by_the_facts(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, store: MemoryCursorStore
) -> None:
    tell(monkeypatch, sandbox, {"patients": {"page_size": 3, "lookback": 3600}})
    sensor = DrChronoNewOrUpdatedPatientsSensor(task_id="sensor", deferrable=True, poke_interval=0.2)
    with pytest.raises(TaskDeferred) as deferred:
        execute(sensor)
    sandbox.journal.clear()
    trigger = deferred.value.trigger
    monkeypatch.setattr(trigger, "not_before", 0.0)

    async def poll_once() -> None:
        async def events() -> None:
            async for _ in trigger.run():  # type: ignore[attr-defined]
                return

        waiting = asyncio.create_task(events())
        while not asked(sandbox):
            await asyncio.sleep(0.02)
        waiting.cancel()

    asyncio.run(asyncio.wait_for(poll_once(), 20))
    assert about(asked(sandbox)[0]["since"], "2026-03-03T12:30:00")
    assert asked(sandbox)[0]["page_size"] == "3"


def test_a_watched_asset_reads_again_as_much_as_the_facts_of_its_connection_say(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(monkeypatch, sandbox, {"patients": {"lookback": 3600}})
    trigger = watching_trigger(drchrono_asset("patients"))
    own = watching_trigger(drchrono_asset("patients", lookback=600))

    assert trigger.selection(DrChronoHook().catalog).lookback == timedelta(hours=1)
    assert own.selection(DrChronoHook().catalog).lookback == timedelta(minutes=10)


def test_facts_may_come_as_text(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(monkeypatch, sandbox, json.dumps({"patients": {"page_size": 3}}))

    assert DrChronoHook().settings.facts == {"patients": {"page_size": 3}}
    assert DrChronoHook().catalog.resource("patients").paging.size == 3  # type: ignore[union-attr]


@pytest.mark.parametrize("facts", ["{", "[1]", 3, {"patience": {}}, {"patients": {"page_size": "many"}}])
def test_facts_that_cannot_hold_are_refused_with_the_connection(
    facts: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(monkeypatch, sandbox, facts)

    with pytest.raises(ConfigurationError, match=r"The connection drchrono_default cannot be used.*facts"):
        _ = DrChronoHook().settings


def _poke(sensor: Any) -> Any:
    from tests.support.running import context_of

    return sensor.poke(context_of())
