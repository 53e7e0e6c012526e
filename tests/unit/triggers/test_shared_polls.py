"""Many triggers on one event loop, against the sandbox over a socket: what they cost, and which is notified of what."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.incremental.cursor import Cursor, CursorName, MemoryCursorStore, read_cursor
from airflow_provider_drchrono.incremental.subscribers import split_filters
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from airflow_provider_drchrono.sensors.labs import DrChronoNewOrUpdatedLabOrdersSensor as LabOrders
from airflow_provider_drchrono.sensors.patients import DrChronoNewOrUpdatedPatientsSensor as Patients
from airflow_provider_drchrono.triggers import shared_polls
from airflow_provider_drchrono.triggers.incremental import DrChronoIncrementalTrigger, PollEvent
from airflow_provider_drchrono.triggers.waiting import MOST_FAILURES
from tests.support.running import connected_sandbox
from tests.support.slow import working_while_answered

INTERVAL = 0.3
PATIENCE = 20.0


def trigger_of(sandbox: Sandbox, number: int = 0, kind: Any = Patients, **changes: Any) -> DrChronoIncrementalTrigger:
    """Return the trigger with which a sensor that has just looked waits on."""
    from airflow.sdk.exceptions import TaskDeferred

    from tests.support.running import execute

    ti = SimpleNamespace(dag_id="a_dag", task_id=f"sensor_{number}", run_id="a_run", map_index=-1, try_number=1)
    filters = changes.pop("filters", None)
    sensor = kind(task_id=f"sensor_{number}", deferrable=True, filters=filters, poke_interval=INTERVAL)
    with pytest.raises(TaskDeferred) as deferred:
        execute(sensor, {"ti": ti})
    given = deferred.value.trigger.serialize()[1]
    return DrChronoIncrementalTrigger(**given | {"ends": time.time() + PATIENCE, "not_before": 0.0} | changes)


async def event_of(trigger: DrChronoIncrementalTrigger) -> PollEvent:
    async for event in trigger.run():
        return PollEvent.read(event.payload)
    raise AssertionError("a trigger ended without an event")


@asynccontextmanager
async def waiting(triggers: list[DrChronoIncrementalTrigger]) -> AsyncIterator[list[asyncio.Task[PollEvent]]]:
    tasks = [asyncio.create_task(event_of(each)) for each in triggers]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def polls(sandbox: Sandbox, operation_id: str = "patients_list") -> list[dict[str, str]]:
    return [entry.query for entry in sandbox.journal.calls(operation_id=operation_id)]


async def until_polled(sandbox: Sandbox, count: int, operation_id: str = "patients_list") -> None:
    """Wait until so many calls more have been made."""
    begun, ends = len(polls(sandbox, operation_id)), time.monotonic() + PATIENCE
    while len(polls(sandbox, operation_id)) < begun + count:
        assert time.monotonic() < ends, "nobody polls"
        await asyncio.sleep(0.02)


def change(sandbox: Sandbox, index: int, **values: Any) -> int:
    patient: int = sandbox.practice.records("patients")[index]["id"]
    sandbox.practice.change("patients", patient, values)
    return patient


def test_thirty_sensors_poll_as_often_as_one(sandbox: Sandbox) -> None:
    triggers = [trigger_of(sandbox, number) for number in range(30)]
    looked = len(polls(sandbox))

    async def run() -> list[PollEvent]:
        async with waiting(triggers) as tasks:
            begun = time.monotonic()
            await until_polled(sandbox, 3)
            assert len(polls(sandbox)) - looked <= 1 + (time.monotonic() - begun) / INTERVAL
            change(sandbox, 1, city="Springfield")
            return await asyncio.gather(*tasks)

    events = asyncio.run(run())

    patient = sandbox.practice.records("patients")[1]["id"]
    assert {(event.status, event.count, event.ids) for event in events} == {("changes", 1, (patient,))}
    # The poll that found it was one for all, and nobody polled after it.
    made = len(polls(sandbox))
    time.sleep(3 * INTERVAL)
    assert len(polls(sandbox)) == made


def test_who_selects_by_id_hears_only_its_own_in_the_same_poll(sandbox: Sandbox) -> None:
    doctors = [each["id"] for each in sandbox.practice.records("doctors")]
    theirs = sandbox.practice.records("patients")[0]["doctor"]
    other = next((each for each in doctors if each != theirs), 10**9)
    triggers = [
        trigger_of(sandbox, 0, filters={"doctor": theirs}),
        trigger_of(sandbox, 1, filters={"doctor": other}),
        trigger_of(sandbox, 2, filters={"doctor": str(theirs)}),
    ]
    looked = len(polls(sandbox))

    async def run() -> tuple[list[PollEvent], bool]:
        async with waiting(triggers) as (one, another, same):
            change(sandbox, 0, city="Springfield")
            events = [await one, await same]
            await until_polled(sandbox, 2)
            return events, another.done()

    events, is_notified = asyncio.run(run())

    assert [event.count for event in events] == [1, 1]
    assert not is_notified
    together, *alone = polls(sandbox)[looked:]
    assert "doctor" not in together
    # Once one is left, the API selects for it.
    assert {query["doctor"] for query in alone} == {str(other)}


def test_filters_that_only_the_api_understands_are_left_to_it(sandbox: Sandbox) -> None:
    sent, shown = split_filters(load(), "appointments", {"doctor": "12", "status": "Arrived", "date": "2026-01-31"})

    assert shown == {"doctor": 12}
    assert sent == {"status": "Arrived", "date": "2026-01-31"}
    # Its records spell the id as text, so nothing is concluded from it.
    assert split_filters(load(), "messages", {"owner": 3}) == ({"owner": 3}, {})


def test_one_who_comes_later_is_told_what_changed_since_it_looked(sandbox: Sandbox) -> None:
    first = trigger_of(sandbox, 0, filters={"doctor": 10**9})
    second = trigger_of(sandbox, 1)
    patient = change(sandbox, 2, city="Springfield")

    async def run() -> PollEvent:
        async with waiting([first]):
            await until_polled(sandbox, 2)
            return await event_of(second)

    assert asyncio.run(run()).ids == (patient,)


def test_a_list_without_a_time_of_change_is_judged_by_content(sandbox: Sandbox, store: MemoryCursorStore) -> None:
    triggers = [trigger_of(sandbox, number, LabOrders) for number in range(3)]

    async def run() -> list[PollEvent]:
        async with waiting(triggers) as tasks:
            await until_polled(sandbox, 2, "lab_orders_list")
            assert not any(task.done() for task in tasks)
            sandbox.practice.create("lab_orders", {"notes": "Fasting"})
            return await asyncio.gather(*tasks)

    assert {event.count for event in asyncio.run(run())} == {1}


@pytest.mark.parametrize("resource", ["patients", "lab_orders"])
def test_one_who_begins_at_the_beginning_hears_everything_beside_those_who_do_not(
    sandbox: Sandbox, resource: str
) -> None:
    kind = {"patients": Patients, "lab_orders": LabOrders}[resource]
    records = sandbox.practice.records(resource)
    others = [trigger_of(sandbox, number, kind) for number in range(2)]
    everything = DrChronoIncrementalTrigger(
        drchrono_conn_id="drchrono_default",
        resource=resource,
        poll_interval=INTERVAL,
        ends=time.time() + PATIENCE,
    )

    async def run() -> tuple[PollEvent, list[bool]]:
        async with waiting([*others, everything]) as (one, another, all_of_it):
            event = await all_of_it
            await until_polled(sandbox, 2, f"{resource}_list")
            return event, [one.done(), another.done()]

    event, are_notified = asyncio.run(run())

    assert (event.since, event.count) == (None, len(records))
    assert set(event.ids) == {each["id"] for each in records}
    assert are_notified == [False, False], "nothing is new to those who looked before"


def test_one_who_begins_earlier_hears_what_changed_since_beside_those_who_do_not(sandbox: Sandbox) -> None:
    yesterday = sandbox.clock.local() - timedelta(days=1)
    patient = change(sandbox, 2, city="Springfield", updated_at=(yesterday + timedelta(hours=1)).isoformat())
    for index in (0, 1, 3):
        change(sandbox, index, updated_at=(yesterday - timedelta(hours=1)).isoformat())
    other = trigger_of(sandbox, 0)
    earlier = trigger_of(sandbox, 1, cursor=None, since=yesterday.isoformat(), timezones=["America/New_York"])

    async def run() -> tuple[PollEvent, bool]:
        async with waiting([other, earlier]) as (late, early):
            event = await early
            await until_polled(sandbox, 2)
            return event, late.done()

    event, is_notified = asyncio.run(run())

    assert event.ids == (patient,)
    assert not is_notified


def test_a_window_begins_with_its_first_second_also_in_a_poll_that_began_earlier(sandbox: Sandbox) -> None:
    start = sandbox.clock.local() - timedelta(hours=1)
    for index in range(1, 4):
        change(sandbox, index, updated_at=(start - timedelta(days=1)).isoformat())
    patient = change(sandbox, 0, updated_at=start.isoformat())
    starts = (start - timedelta(hours=1), start, start + timedelta(seconds=1))
    triggers = [
        trigger_of(sandbox, number, cursor=None, since=each.isoformat(), timezones=["America/New_York"])
        for number, each in enumerate(starts)
    ]

    async def run() -> tuple[list[PollEvent], bool]:
        async with waiting(triggers) as (earlier, in_time, too_late):
            events = [await earlier, await in_time]
            await until_polled(sandbox, 2)
            return events, too_late.done()

    events, is_told = asyncio.run(run())

    assert [event.ids for event in events] == [(patient,), (patient,)]
    assert not is_told


def test_one_who_is_told_early_ends_no_poll_of_the_others(sandbox: Sandbox) -> None:
    one, another = (each["id"] for each in sandbox.practice.records("doctors")[:2])
    yesterday = sandbox.clock.local() - timedelta(days=1)
    for index in range(4):
        change(sandbox, index, updated_at=(yesterday - timedelta(hours=1)).isoformat())
    for number in range(300):
        sandbox.practice.create("patients", {"last_name": f"Patient {number}", "doctor": one})
    last = sandbox.practice.create("patients", {"last_name": "Last", "doctor": another})["id"]
    # It has changed before the poll, so that no later one returns it.
    sandbox.practice.change("patients", last, {"updated_at": (yesterday + timedelta(hours=1)).isoformat()})
    window = {"cursor": None, "since": yesterday.isoformat(), "timezones": ["America/New_York"]}
    triggers = [
        trigger_of(sandbox, number, filters={"doctor": doctor}, **window)
        for number, doctor in enumerate((one, another))
    ]

    async def run() -> list[PollEvent]:
        async with waiting(triggers) as tasks:
            return await asyncio.gather(*tasks)

    first, second = asyncio.run(run())

    assert first.count > 0
    assert second.ids == (last,)


def test_what_changes_while_a_page_is_slow_is_told_after_the_next_poll(sandbox: Sandbox) -> None:
    trigger = trigger_of(sandbox, lookback=0.0)
    told: list[int] = []

    async def run() -> PollEvent:
        async with waiting([trigger]) as (task,):
            return await task

    with working_while_answered(sandbox, "patients", lambda: told.append(change(sandbox, 1, city="Springfield"))):
        event = asyncio.run(run())

    assert event.ids == tuple(told)


def test_a_longer_lookback_wakes_nobody_for_what_was_given(sandbox: Sandbox, store: MemoryCursorStore) -> None:
    an_hour_ago = (sandbox.clock.local() - timedelta(hours=1)).isoformat()
    change(sandbox, 0, city="Springfield", updated_at=an_hour_ago)
    trigger = trigger_of(sandbox)
    # The task has looked again since its cursor was stored, and found nothing.
    looked_at = sandbox.clock.now().isoformat()
    longer = DrChronoIncrementalTrigger(**trigger.serialize()[1] | {"lookback": 86_400.0, "polled_at": looked_at})

    async def run() -> PollEvent:
        async with waiting([longer]) as (task,):
            await until_polled(sandbox, 3)
            assert not task.done()
            change(sandbox, 1, city="Shelbyville")
            return await task

    assert asyncio.run(run()).count == 1


@pytest.mark.parametrize("before", ["polled", "never polled"])
def test_a_cursor_that_is_set_to_a_time_wakes_its_sensor(
    sandbox: Sandbox, store: MemoryCursorStore, before: str
) -> None:
    name = CursorName("a_dag", "sensor_0")
    trigger = trigger_of(sandbox)

    async def run() -> PollEvent:
        async with waiting([trigger]) as (task,):
            await until_polled(sandbox, 1)
            cursor = read_cursor(store.texts[name]) if before == "polled" else Cursor("")
            store.texts[name] = cursor.restarted("1999-01-01").dump()
            return await task

    assert asyncio.run(run()).status == "changes"


def test_many_pages_without_a_time_of_change_are_judged_by_content(
    monkeypatch: pytest.MonkeyPatch, store: MemoryCursorStore
) -> None:
    with connected_sandbox(monkeypatch, patients=2, timezone="America/New_York") as sandbox:
        for number in range(600):
            sandbox.practice.create("lab_orders", {"notes": f"Order {number}"})
        trigger = trigger_of(sandbox, 0, LabOrders)

        async def run() -> PollEvent:
            async with waiting([trigger]) as (task,):
                await until_polled(sandbox, 6, "lab_orders_list")
                assert not task.done(), "nothing has changed"
                sandbox.practice.create("lab_orders", {"notes": "Fasting"})
                return await task

        assert asyncio.run(run()).count == 1


def test_nothing_is_read_beyond_what_wakes_everybody(sandbox: Sandbox) -> None:
    trigger = trigger_of(sandbox)
    for number in range(300):
        sandbox.practice.create("patients", {"last_name": f"Patient {number}"})
    looked = len(polls(sandbox))

    event = asyncio.run(event_of(trigger))

    assert event.count > 0
    assert len(polls(sandbox)) - looked == 1


def test_a_cursor_that_is_gone_or_broken_wakes_its_sensor_and_no_other(
    sandbox: Sandbox, store: MemoryCursorStore
) -> None:
    triggers = [trigger_of(sandbox, number) for number in range(3)]
    del store.texts[CursorName("a_dag", "sensor_0")]
    store.texts[CursorName("a_dag", "sensor_1")] = "{}"

    async def run() -> None:
        async with waiting(triggers) as (gone, broken, whole):
            assert (await gone).status == "changes"
            assert (await broken).status == "changes"
            await until_polled(sandbox, 2)
            assert not whole.done()

    asyncio.run(run())


def test_a_cursor_that_is_set_back_counts_from_the_next_poll_on(sandbox: Sandbox, store: MemoryCursorStore) -> None:
    name = CursorName("a_dag", "sensor_0")
    trigger = trigger_of(sandbox)

    async def run() -> PollEvent:
        async with waiting([trigger]) as (task,):
            await until_polled(sandbox, 2)
            cursor = read_cursor(store.texts[name])
            assert cursor.position is not None
            earlier = cursor.position.since - timedelta(days=20_000) if cursor.position.since else None
            moved = type(cursor.position)(cursor.position.until, earlier, earlier)
            store.texts[name] = Cursor.moved_to(cursor, moved).dump()
            return await task

    assert asyncio.run(run()).count == len(sandbox.practice.records("patients"))


def test_when_polling_fails_for_good_everybody_is_told_once(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    triggers = [trigger_of(sandbox, number) for number in range(5)]
    monkeypatch.setattr("random.random", lambda: 0.0)
    sandbox.faults.add(Fault(kind="status", status=403, resource="patients", times=None))
    looked = len(polls(sandbox))

    async def run() -> list[PollEvent]:
        async with waiting(triggers) as tasks:
            return await asyncio.gather(*tasks)

    events = asyncio.run(run())

    assert {event.status for event in events} == {"failed"}
    assert len(polls(sandbox)) - looked == 1


def test_a_failure_that_passes_is_waited_out(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    trigger = trigger_of(sandbox)
    monkeypatch.setattr("random.random", lambda: 0.0)
    attempts = 5
    sandbox.faults.add(Fault(kind="status", status=500, resource="patients", times=(MOST_FAILURES - 1) * attempts))
    change(sandbox, 0, city="Springfield")

    assert asyncio.run(event_of(trigger)).status == "changes"


def test_the_last_one_to_leave_ends_the_polls(sandbox: Sandbox) -> None:
    triggers = [trigger_of(sandbox, number) for number in range(2)]

    async def run() -> None:
        async with waiting(triggers):
            await until_polled(sandbox, 1)
        made = len(polls(sandbox))
        await asyncio.sleep(3 * INTERVAL)
        assert len(polls(sandbox)) == made
        assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        # And who comes then finds somebody who polls.
        async with waiting(triggers[:1]):
            await until_polled(sandbox, 1)

    asyncio.run(run())


def test_a_poll_that_swallows_its_cancellation_ends_with_the_last_one_to_leave(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = trigger_of(sandbox)
    begun = asyncio.Event()

    async def poll(*arguments: Any) -> float:
        if begun.is_set():
            await asyncio.sleep(PATIENCE)
        begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(PATIENCE)
        return 0.0

    monkeypatch.setattr(shared_polls._Group, "_poll", poll)

    async def run() -> None:
        async with waiting([trigger]):
            await begun.wait()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        if others:
            await asyncio.wait(others, timeout=2.0)
        assert not [task for task in others if not task.done()]

    asyncio.run(run())


def test_the_loop_is_let_in_while_many_hear_a_poll(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trigger_of(sandbox)
    given = first.serialize()[1]
    triggers = [DrChronoIncrementalTrigger(**given) for _ in range(400)]
    for number in range(100):
        sandbox.practice.create("patients", {"last_name": f"Patient {number}"})
    monkeypatch.setattr(shared_polls, "LONGEST_TURN", 0.005)
    turns: list[int] = []

    async def run() -> None:
        async with waiting(triggers) as tasks:
            while not tasks[0].done():
                turns.append(sum(task.done() for task in tasks))
                await asyncio.sleep(0)
            await asyncio.gather(*tasks)

    asyncio.run(run())

    assert len(turns) > 10


def test_one_who_may_not_be_told_yet_is_polled_for_with_the_others(sandbox: Sandbox) -> None:
    soon = time.time() + 5.0
    triggers = [trigger_of(sandbox, 0, not_before=soon), trigger_of(sandbox, 1)]
    looked = len(polls(sandbox))

    async def run() -> tuple[float, float]:
        async with waiting(triggers) as (later, at_once):
            change(sandbox, 1, city="Springfield")
            assert (await at_once).count == 1
            first = time.time()
            assert (await later).count == 1
            return first, time.time()

    first, second = asyncio.run(run())

    assert first < soon <= second
    assert len(polls(sandbox)) - looked == 1
