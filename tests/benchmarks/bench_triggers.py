"""What a thousand deferred sensors over the 23 lists of a practice cost one triggerer, beside 23, one for each list.

All triggers run on one event loop, as in a triggerer, against a sandbox in a process of its own. Their cursors are
Airflow variables in SQLite. The triggers are those that sensors defer to: one sensor of each list really does, and the
others are given its cursor under names of their own. A watchdog like Airflow's, which sleeps for less, notes by how
much it wakes up late; on the idle loop of the first line that is what the machine itself does.

The reference is polling without a shared poll, measured in the same run with sensors that each have polls of their own;
as that cannot be done with a thousand at this pace, there are fewer, and their calls are proportional to their number.

Run it alone on the machine: ``make bench ARGS=triggers``; ``ARGS="triggers 5000"`` takes another number of sensors.
"""

import asyncio
import base64
import gc
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

SENSORS = 1_000
ALONE = 230
"""Sensors that poll each by itself."""

INTERVAL = 5.0
"""Seconds. A sensor's own is 360 as a rule, which is as many calls for each interval."""

INTERVALS = 4
MOST_CALLS = 1.05
"""Times the calls of one sensor for each list."""

LONGEST_BLOCK = 0.1
"""Seconds for which nothing else may run on the loop."""

WATCH = 0.01
"""Seconds between two looks of the watchdog."""


def serve(orders: Connection) -> None:
    """Be the sandbox: tell how often it was called, or change something in each list."""
    from airflow_provider_drchrono.catalog import load
    from airflow_provider_drchrono.sandbox import Sandbox

    with Sandbox(quota_per_hour=None, quota_per_second=None, patients=20, appointments_per_patient=2) as sandbox:
        orders.send(sandbox.connection_json())
        while (order := orders.recv()) != "end":
            if order == "change":
                for each in load().triggers:
                    sandbox.practice.create(each.resource, {})
            orders.send(len(sandbox.journal.calls()))


class Practice:
    """The sandbox's process, seen from here."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._orders, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs,), daemon=True)
        self._process.start()
        self.connection = str(self._orders.recv())

    def calls(self, order: str = "calls") -> int:
        """Return how many calls there have been so far."""
        self._orders.send(order)
        return int(self._orders.recv())

    def end(self) -> None:
        """Stop the process."""
        self._orders.send("end")
        self._process.join()


def prepare(folder: Path, connection: str) -> None:
    """Make this process an Airflow of its own, with a database."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
        del os.environ[name]
    os.environ |= {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder / 'airflow.db'}",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW_CONN_DRCHRONO_DEFAULT": connection,
    }
    from airflow import models, settings

    models.import_all_models()
    models.Base.metadata.create_all(settings.engine)


def sensor_classes() -> list[Any]:
    """Return the sensors of all lists."""
    from airflow_provider_drchrono.catalog import load
    from airflow_provider_drchrono.codegen.sensors import plan_sensors

    return [
        getattr(import_module(f"airflow_provider_drchrono.sensors.{domain.name}"), each.class_name)
        for domain in plan_sensors(load())
        for each in domain.sensors
    ]


def defer(sensors: int, interval: float) -> list[dict[str, Any]]:
    """Let the sensors of many DAGs, each with one for each list, defer; return the arguments of their triggers.

    :param sensors: how many; those of the first DAG poll and store cursors, of which the others get copies.
    :param interval: seconds between two polls.
    """
    from airflow.sdk.exceptions import TaskDeferred

    from airflow_provider_drchrono.incremental.cursor import CursorName
    from airflow_provider_drchrono.state.cursor_store import VariableCursorStore

    store = VariableCursorStore()
    triggers: list[dict[str, Any]] = []
    for kind in sensor_classes():
        ti = SimpleNamespace(dag_id="dag_0", task_id=kind.resource, run_id="a_run", map_index=-1, try_number=1)
        sensor = kind(task_id=kind.resource, deferrable=True, poke_interval=interval, timeout=86_400.0)
        try:
            sensor._poll_or_defer({"ti": ti}, time.time() + sensor.timeout)
        except TaskDeferred as deferred:
            triggers.append(deferred.trigger.serialize()[1])
    lists = len(triggers)
    cursors = [store.load(CursorName(*each["cursor"])) for each in triggers]
    for number in range(lists, sensors):
        first = triggers[number % lists]
        name = CursorName(f"dag_{number // lists}", first["resource"])
        store.save(name, cursors[number % lists] or "")
        triggers.append(first | {"cursor": [name.dag_id, name.task_id, name.map_index]})
    return triggers


@dataclass
class Measured:
    """What came of following lists for some time.

    :param late: seconds by which the watchdog woke up late, each time.
    :param step: seconds of CPU that the loop took for one thing at most; a machine with other work adds to it, and so
        do the threads of this process.
    :param told: seconds after the change at which a trigger told of it.
    """

    calls: int = 0
    cpu: float = 0.0
    late: list[float] = field(default_factory=list)
    step: float = 0.0
    told: list[float] = field(default_factory=list)

    @property
    def longest(self) -> float:
        """Seconds that the watchdog was late at most."""
        return max(self.late)

    def blocked(self) -> str:
        """Return how late the watchdog was."""
        p99 = statistics.quantiles(self.late, n=100)[98]
        return (
            f"max {self.longest * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, longest step {self.step * 1000:.0f} ms of CPU"
        )


Meanwhile = Callable[[Measured], Awaitable[None]]


async def watch(late: list[float]) -> None:
    """Note, over and over, by how much a short sleep was too long."""
    while True:
        slept_at = time.monotonic()
        await asyncio.sleep(WATCH)
        late.append(time.monotonic() - slept_at - WATCH)


@contextmanager
def timed_steps(measured: Measured) -> Iterator[None]:
    """Note the longest step that an event loop makes in the block."""
    run = asyncio.events.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        before = time.thread_time()
        run(handle)
        measured.step = max(measured.step, time.thread_time() - before)

    with mock.patch.object(asyncio.events.Handle, "_run", timed):
        yield


async def follow(
    practice: Practice,
    triggers: Sequence[dict[str, Any]],
    seconds: float,
    meanwhile: Meanwhile,
    measured: Measured,
) -> None:
    """Run triggers for some time."""
    from airflow_provider_drchrono.triggers.incremental import DrChronoIncrementalTrigger

    async def one(arguments: dict[str, Any]) -> None:
        async for event in DrChronoIncrementalTrigger(**arguments).run():
            if event.payload["status"] != "changes" or not event.payload["count"]:
                raise RuntimeError(f"a trigger told {event.payload}")
            measured.told.append(time.monotonic())

    before, cpu = await asyncio.to_thread(practice.calls), time.process_time()
    watchdog = asyncio.create_task(watch(measured.late))
    running = []
    for each in triggers:
        # As a triggerer does.
        await asyncio.sleep(0)
        running.append(asyncio.create_task(one(each)))
    acting = asyncio.ensure_future(meanwhile(measured))
    await asyncio.sleep(seconds)
    measured.cpu = time.process_time() - cpu
    await acting
    watchdog.cancel()
    measured.calls = await asyncio.to_thread(practice.calls) - before
    failed = [error for each in running if each.done() and (error := each.exception())]
    for each in running:
        each.cancel()
    await asyncio.gather(*running, watchdog, return_exceptions=True)
    if failed:
        raise RuntimeError(f"{len(failed)} triggers failed") from failed[0]


def measure(practice: Practice, triggers: Sequence[dict[str, Any]], seconds: float, meanwhile: Meanwhile) -> Measured:
    """Run triggers on an event loop of their own."""
    measured = Measured()
    with timed_steps(measured):
        asyncio.run(follow(practice, triggers, seconds, meanwhile, measured))
    return measured


async def nothing(measured: Measured) -> None:
    """Let the lists be."""


def quiet(practice: Practice, triggers: Sequence[dict[str, Any]]) -> Measured:
    """Follow lists in which nothing changes."""
    return measure(practice, triggers, (INTERVALS + 0.5) * INTERVAL, nothing)


def alone(practice: Practice, triggers: Sequence[dict[str, Any]]) -> Measured:
    """Do the same with polls of its own for each trigger."""
    shared_polls = import_module("airflow_provider_drchrono.triggers.shared_polls")
    with mock.patch.object(shared_polls, "shared_polls", shared_polls.SharedPolls):
        return quiet(practice, triggers)


def busy(practice: Practice, triggers: Sequence[dict[str, Any]]) -> Measured:
    """Follow lists in each of which something changes half an interval after a poll."""

    async def change(measured: Measured) -> None:
        await asyncio.sleep(1.5 * INTERVAL)
        changed = time.monotonic()
        await asyncio.to_thread(practice.calls, "change")
        await asyncio.sleep(2 * INTERVAL)
        measured.told = [each - changed for each in measured.told]

    return measure(practice, triggers, 3.6 * INTERVAL, change)


def show(label: str, measured: Measured, intervals: float) -> None:
    """Print a line."""
    print(
        f"{label:<42}{measured.calls / intervals:7.1f} calls and {measured.cpu / intervals:5.2f} s of CPU an interval, "
        f"loop blocked {measured.blocked()}",
        flush=True,
    )


def main() -> int:
    """Print what polling costs and return 1 if calls grow with the sensors or the loop is blocked."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else SENSORS
    practice = Practice()
    with tempfile.TemporaryDirectory(prefix="drchrono-bench-") as name:
        prepare(Path(name), practice.connection)
        from airflow_provider_drchrono.state import lease as variable_lease

        # Nobody else is there to claim anything.
        with mock.patch.object(variable_lease, "Timing", partial(variable_lease.Timing, write_limit=30.0, settle=0.0)):
            started = time.monotonic()
            triggers = defer(wanted, INTERVAL)
            lists = len({each["resource"] for each in triggers})
            print(f"{wanted} sensors over {lists} lists deferred in {time.monotonic() - started:.0f} s", flush=True)
            # Python looks through all that Airflow has loaded whenever so much else was made; that takes a tenth of a
            # second with or without us, and would fall into one of the lines by chance.
            gc.collect()
            gc.freeze()
            show("no sensor", quiet(practice, []), INTERVALS)
            few = quiet(practice, triggers[:lists])
            show(f"{lists} sensors", few, INTERVALS)
            many = quiet(practice, triggers)
            show(f"{wanted} sensors", many, INTERVALS)
            apart = alone(practice, triggers[:ALONE])
            show(f"{ALONE} sensors, each by itself (reference)", apart, INTERVALS)
            woken = busy(practice, triggers)
            show(f"{wanted} sensors, all lists change", woken, 2)
    practice.end()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(woken.told)} of {wanted} told within {max(woken.told, default=0):.1f} s; peak memory {peak:.0f} MB")
    print(f"calls of {wanted} sensors / of {lists}   {many.calls / few.calls:.2f}   at most {MOST_CALLS}")
    longest = max(few.longest, many.longest, woken.longest)
    print(f"loop blocked for at most      {longest * 1000:.0f} ms   under {LONGEST_BLOCK * 1000:.0f} ms")
    return int(many.calls > few.calls * MOST_CALLS or longest >= LONGEST_BLOCK or len(woken.told) != wanted)


if __name__ == "__main__":
    sys.exit(main())
