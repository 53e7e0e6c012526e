"""A watcher on an event loop, against the sandbox over a socket, until it is killed and begun anew."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from airflow_provider_drchrono.incremental.cursor import CursorName, MemoryCursorStore, read_cursor
from airflow_provider_drchrono.incremental.events.event import ChangeEvent
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from airflow_provider_drchrono.triggers import watching
from airflow_provider_drchrono.triggers.incremental import DrChronoIncrementalTrigger

INTERVAL = 0.2
PATIENCE = 20.0
NAME = CursorName.of_asset("patients")


@pytest.fixture(autouse=True)
def settling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "ACKNOWLEDGE_AFTER", 0.1)


class Watcher:
    """What Airflow does with a watcher: it runs it, and keeps its events."""

    def __init__(self, **arguments: Any) -> None:
        given = {"watch": "patients", "drchrono_conn_id": "drchrono_default", "resource": "patients"}
        trigger = DrChronoIncrementalTrigger(**given | {"poll_interval": INTERVAL} | arguments)
        path, stored = trigger.serialize()
        assert path == "airflow_provider_drchrono.triggers.incremental.DrChronoIncrementalTrigger"
        self.trigger = DrChronoIncrementalTrigger(**stored)
        self.events: list[ChangeEvent] = []

    async def run(self) -> None:
        async for event in self.trigger.run():
            self.events.append(ChangeEvent.read(event.payload))

    async def until(self, count: int) -> list[ChangeEvent]:
        ends = time.monotonic() + PATIENCE
        while len(self.events) < count:
            assert time.monotonic() < ends, "there is no event"
            await asyncio.sleep(0.02)
        return self.events


@asynccontextmanager
async def running(*watchers: Watcher) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each.run()) for each in watchers]
    try:
        yield
        assert not [task for task in tasks if task.done()], "a watcher ended"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Any) -> None:
    ends = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends, "it does not come to pass"
        await asyncio.sleep(0.02)


def change(sandbox: Sandbox, index: int, **values: Any) -> int:
    patient: int = sandbox.practice.records("patients")[index]["id"]
    sandbox.practice.change("patients", patient, values)
    return patient


def polls(sandbox: Sandbox) -> list[dict[str, str]]:
    return [entry.query for entry in sandbox.journal.calls(operation_id="patients_list")]


def acknowledged(store: MemoryCursorStore) -> bool:
    return NAME in store.texts and read_cursor(store.texts[NAME]).pending_event is None


def test_each_change_is_in_one_event_by_ids_and_counts(sandbox: Sandbox, store: MemoryCursorStore) -> None:
    watcher = Watcher()

    async def run() -> None:
        async with running(watcher):
            await until(lambda: NAME in store.texts)
            first = change(sandbox, 0, last_name="Canary")
            (one,) = await watcher.until(1)
            assert (one.asset, one.resource, one.count, one.ids) == ("patients", "patients", 1, (first,))
            await until(lambda: acknowledged(store))
            others = {change(sandbox, 1, city="Springfield"), change(sandbox, 0, city="Shelbyville")}
            await until(lambda: {each for event in watcher.events[1:] for each in event.ids} == others)
            await until(lambda: acknowledged(store))

    asyncio.run(run())

    cursor = read_cursor(store.texts[NAME])
    assert list(cursor.runs) == [event.until for event in watcher.events]
    assert sum(event.count for event in watcher.events) == 3
    assert "Canary" not in str(store.texts) + str(watcher.events)


def test_what_changed_while_nobody_watched_is_in_an_event(sandbox: Sandbox, store: MemoryCursorStore) -> None:
    async def watch(watcher: Watcher, count: int) -> list[ChangeEvent]:
        async with running(watcher):
            await until(lambda: NAME in store.texts)
            events = await watcher.until(count)
            await until(lambda: acknowledged(store))
            return events

    assert asyncio.run(watch(Watcher(), 0)) == []
    patient = change(sandbox, 1, city="Springfield")

    (event,) = asyncio.run(watch(Watcher(), 1))

    assert event.ids == (patient,)
    assert asyncio.run(watch(Watcher(), 0)) == []


def test_an_event_that_may_not_have_arrived_is_sent_again_as_it_was(
    sandbox: Sandbox, store: MemoryCursorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def watch(watcher: Watcher) -> ChangeEvent:
        async with running(watcher):
            return (await watcher.until(1))[0]

    monkeypatch.setattr(watching, "ACKNOWLEDGE_AFTER", 60.0)
    first = asyncio.run(watch(Watcher(start="beginning")))
    change(sandbox, 1, city="Springfield")
    monkeypatch.setattr(watching, "ACKNOWLEDGE_AFTER", 0.1)

    async def rest() -> list[ChangeEvent]:
        watcher = Watcher(start="beginning")
        async with running(watcher):
            events = await watcher.until(2)
            await until(lambda: acknowledged(store))
            return events

    again, next_one = asyncio.run(rest())

    assert again == first
    assert first.count == len(sandbox.practice.records("patients"))
    assert (next_one.count, len(read_cursor(store.texts[NAME]).runs)) == (1, 2)


def test_two_triggerers_with_one_asset_make_the_same_events(sandbox: Sandbox, store: MemoryCursorStore) -> None:
    watchers = Watcher(), Watcher()

    async def run() -> None:
        async with running(*watchers):
            await until(lambda: NAME in store.texts)
            change(sandbox, 0, city="Springfield")
            await until(lambda: any(each.events for each in watchers))
            made = len(polls(sandbox))
            await until(lambda: len(polls(sandbox)) > made + 3)

    asyncio.run(run())

    assert len({event.until for each in watchers for event in each.events}) == 1


def test_watchers_of_one_list_share_its_polls(sandbox: Sandbox, store: MemoryCursorStore) -> None:
    doctor = sandbox.practice.records("patients")[0]["doctor"]
    watchers = [Watcher(watch=f"asset {number}", filters={"doctor": doctor}, start="now") for number in range(3)]
    watchers += [Watcher(watch="any"), Watcher(watch="created", change="created")]

    async def run() -> tuple[int, float]:
        async with running(*watchers):
            await until(lambda: len(store.texts) == len(watchers))
            begun, made = time.monotonic(), len(polls(sandbox))
            await until(lambda: len(polls(sandbox)) > made + 4)
            return len(polls(sandbox)) - made, time.monotonic() - begun

    made, took = asyncio.run(run())

    assert made <= 2 + took / INTERVAL


def test_a_run_of_bad_luck_is_told_and_survived(
    sandbox: Sandbox, store: MemoryCursorStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.random", lambda: 0.0)
    watcher = Watcher()
    begun = CursorName.of_asset("patients")

    async def run() -> None:
        async with running(watcher):
            await until(lambda: begun in store.texts)
            sandbox.faults.add(Fault(kind="status", status=403, resource="patients", times=3))
            await until(lambda: "watching failed" in caplog.text)
            whole = store.texts[begun]
            caplog.clear()
            store.texts[begun] = "{}"
            await until(lambda: "without a version" in caplog.text)
            assert "airflow drchrono cursor reset --asset patients" in caplog.text
            store.texts[begun] = whole
            patient = change(sandbox, 2, last_name="Canary")
            assert (await watcher.until(1))[0].ids == (patient,)

    with caplog.at_level(logging.INFO):
        asyncio.run(run())

    assert "Canary" not in caplog.text


def test_a_connection_that_is_made_later_is_enough(
    sandbox: Sandbox, store: MemoryCursorStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    connection = os.environ["AIRFLOW_CONN_DRCHRONO_DEFAULT"]
    monkeypatch.delenv("AIRFLOW_CONN_DRCHRONO_DEFAULT")
    watcher = Watcher()

    async def run() -> None:
        async with running(watcher):
            await until(lambda: "watching failed" in caplog.text)
            monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", connection)
            await until(lambda: NAME in store.texts)

    asyncio.run(run())

    assert "drchrono_default" in caplog.text


def test_a_used_up_quota_is_waited_for(
    sandbox: Sandbox, store: MemoryCursorStore, caplog: pytest.LogCaptureFixture
) -> None:
    watcher = Watcher()
    sandbox.faults.add(Fault(kind="throttle", resource="patients", seconds=900, times=None))

    async def run() -> None:
        async with running(watcher):
            await until(lambda: "watching failed" in caplog.text)
            made = len(polls(sandbox))
            await asyncio.sleep(5 * INTERVAL)
            assert len(polls(sandbox)) == made

    asyncio.run(run())


def test_it_ends_when_it_is_cancelled_and_polls_no_more(sandbox: Sandbox, store: MemoryCursorStore) -> None:
    async def run() -> None:
        async with running(Watcher()):
            await until(lambda: len(polls(sandbox)) > 2)
        made = len(polls(sandbox))
        await asyncio.sleep(3 * INTERVAL)
        assert len(polls(sandbox)) == made

    asyncio.run(run())


def test_another_interval_goes_on_where_the_watcher_was(sandbox: Sandbox, store: MemoryCursorStore) -> None:
    async def run() -> list[ChangeEvent]:
        async with running(Watcher(poll_interval=3600.0)):
            await until(lambda: NAME in store.texts)
        patient = change(sandbox, 0, city="Utica")
        tuned = Watcher(poll_interval=0.2)
        async with running(tuned):
            (event,) = await tuned.until(1)
            assert event.ids == (patient,)
            await until(lambda: acknowledged(store))
        return tuned.events

    assert len(asyncio.run(run())) == 1


def test_watchers_that_take_turns_cost_no_polls(sandbox: Sandbox, store: MemoryCursorStore) -> None:
    async def run() -> None:
        async with running(Watcher(poll_interval=1.0)):
            await until(lambda: NAME in store.texts)
        sandbox.journal.clear()
        began = time.monotonic()
        while time.monotonic() - began < 2.5:
            for interval in (1.0, 1.5):
                async with running(Watcher(poll_interval=interval)):
                    await asyncio.sleep(0.1)

    asyncio.run(run())

    assert 1 <= len(polls(sandbox)) <= 3


def test_an_event_that_was_not_acknowledged_comes_again_although_no_poll_is_due(
    sandbox: Sandbox, store: MemoryCursorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "ACKNOWLEDGE_AFTER", 60.0)

    async def run() -> tuple[list[ChangeEvent], list[ChangeEvent]]:
        first, second = Watcher(), Watcher(poll_interval=3600.0)
        async with running(first):
            await until(lambda: NAME in store.texts)
            change(sandbox, 0, city="Utica")
            await first.until(1)
        async with running(second):
            await second.until(1)
        return first.events, second.events

    first, second = asyncio.run(run())
    assert first == second


def test_a_new_watch_of_a_list_that_is_polled_begins_at_once(sandbox: Sandbox, store: MemoryCursorStore) -> None:
    async def run() -> None:
        async with running(Watcher(poll_interval=3600.0)):
            await until(lambda: NAME in store.texts)
            async with running(Watcher(poll_interval=3600.0, watch="others", change="created")):
                await until(lambda: CursorName.of_asset("others") in store.texts)

    asyncio.run(run())
