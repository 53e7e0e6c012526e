"""One practice-month of a trigger in seconds: a sandbox without a socket, a clock that is set, and trouble by chance.

Sensor, poller, client and trigger are the real ones. Only Airflow, the network and time are played.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from airflow.sdk.exceptions import AirflowRescheduleException, TaskDeferred

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.client import (
    AsyncDrChronoClient,
    ClientSettings,
    DrChronoClient,
    DrChronoError,
    MemoryTokenStore,
)
from airflow_provider_drchrono.incremental.cursor import Cursor, CursorName, MemoryCursorStore, read_cursor
from airflow_provider_drchrono.incremental.detection import ChangeDetector, Position
from airflow_provider_drchrono.incremental.lists import IncrementalList
from airflow_provider_drchrono.incremental.subscribers import Subscriber, SubscriberPosition
from airflow_provider_drchrono.incremental.window import earliest_wall_clock
from airflow_provider_drchrono.sandbox.app import App
from airflow_provider_drchrono.sandbox.faults import Fault
from airflow_provider_drchrono.sandbox.sandbox_options import Options
from airflow_provider_drchrono.sandbox.wire import Request, decode_query
from airflow_provider_drchrono.sensors.base import IncrementalSensor
from airflow_provider_drchrono.triggers.incremental import DrChronoIncrementalTrigger, PollEvent
from airflow_provider_drchrono.triggers.shared_polls import locate, poll_for

ZONE = "America/New_York"
CHANGES_OF_CLOCKS = (datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2026, 11, 1, 6, tzinfo=UTC))
# Clocks are set in each of them.
MONTHS = (datetime(2026, 10, 18, 12, tzinfo=UTC), datetime(2026, 2, 24, 12, tzinfo=UTC))
LATEST_WRITE = 30.0
PAGE = 3
HASH_KEY = b"of the client secret"
MOST_TRIES = 100
FAULTS = (
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 502, "times": 7},
    {"kind": "truncated"},
    {"kind": "html"},
    {"kind": "drop", "half": True},
    {"kind": "expire_token"},
    {"kind": "throttle", "seconds": 1},
    {"kind": "throttle", "seconds": 900, "times": 2},
)


class Killed(BaseException):
    """The process ends here."""


class PagedClient(DrChronoClient):
    """Asks for pages so small that a handful of records takes several."""

    def pages(self, *args: Any, **kwargs: Any) -> Any:
        return super().pages(*args, **kwargs | {"page_size": PAGE})


class PagedAsyncClient(AsyncDrChronoClient):
    def pages(self, *args: Any, **kwargs: Any) -> Any:
        return super().pages(*args, **kwargs | {"page_size": PAGE})


class FlakyStore(MemoryCursorStore):
    """A store whose process may be killed before or after it stores, and beside which other runs go on."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.chance = chance
        self.longest = 0
        self.meanwhile: Any = None

    def save(self, name: CursorName, text: str) -> None:
        if self.chance.random() < 0.03:
            raise Killed
        super().save(name, text)
        self.longest = max(self.longest, len(text))
        if self.chance.random() < 0.05:
            raise Killed

    @contextmanager
    def lease(self, name: CursorName) -> Iterator[None]:
        if self.meanwhile is not None and self.chance.random() < 0.1:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        yield


class Month:
    """A month of one sensor in one practice.

    :param sensor: the class under test.
    :param mode: ``poke``, ``reschedule`` or ``deferrable``.
    :param change: which changes the sensor is for.
    """

    def __init__(
        self, patch: pytest.MonkeyPatch, sensor: type[IncrementalSensor], mode: str, seed: int, change: str
    ) -> None:
        self.chance = random.Random(f"{seed}:{sensor.__name__}:{mode}:{change}")
        # The client draws its waits from here.
        random.seed(seed)
        self.kind, self.mode, self.change = sensor, mode, change
        self.start = self.chance.choice(MONTHS)
        self.resource = load().resource(sensor.resource)
        self.field = changing_field(sensor.resource)
        self.app = App(
            Options(
                patients=2,
                appointments_per_patient=1,
                seed=seed,
                frozen=True,
                start=self.start,
                timezone=ZONE,
                quota_per_hour=None,
                quota_per_second=None,
                write_lag=LATEST_WRITE,
                order=self.chance.choice(("id", "updated_at", "-updated_at")),
                timestamps="mixed",
                reuse="allow",
            )
        )
        self.table = self.app.practice.table(sensor.resource)
        self.version = 0
        self.latest: dict[Any, str] = {}
        self.birth: dict[Any, str] = {}
        self.born_at: dict[Any, datetime] = {}
        self.given: dict[str, list[tuple[Any, str]]] = {}
        self.writes_during_reads = 0.0
        self.runs = 0
        self.resting = False
        self.store = FlakyStore(self.chance)
        self.client, self.async_client = self._clients(patch)
        hook = SimpleNamespace(
            get_conn=lambda: self.client,
            close=lambda: None,
            catalog=load(),
            settings=SimpleNamespace(timezone=ZONE if seed % 2 else None),
            practice_timezones=lambda: (ZONE,),
            suspicions=lambda operation_id, read: [],
            continued_source=lambda known: known,
            hash_key=HASH_KEY,
        )
        patch.setattr(IncrementalSensor, "hook", hook)
        patch.setattr(IncrementalSensor, "cursor_store", self.store)
        patch.setattr("airflow_provider_drchrono.state.cursor_store.VariableCursorStore", lambda: self.store)
        skew = timedelta(seconds=self.chance.uniform(-300, 300))
        patch.setattr("airflow_provider_drchrono.sensors.base.incremental.utcnow", lambda: self.app.clock.now() + skew)
        patch.setattr("time.sleep", self.app.clock.advance)
        patch.setattr("asyncio.sleep", self._sleep)

    def run(self, runs: int) -> None:
        """Let so many DAG runs go by, then let the practice rest and make sure that all was given."""
        step = timedelta(days=30).total_seconds() / runs
        self._one_run("first")
        for number in range(runs):
            self._pass(self._next_pause(step))
            if self.chance.random() < 0.3:
                self.app.faults.add(Fault(resource=self.kind.resource, **self.chance.choice(FAULTS)))
            self.writes_during_reads = 0.3 if self.chance.random() < 0.3 else 0.0
            self.store.meanwhile = lambda number=number: self._one_run(f"beside-{number}")
            self._one_run(f"run-{number}")
            if self.given and self.chance.random() < 0.15:
                self._clear(self.chance.choice(list(self.given)[-20:]))
        self.writes_during_reads = 0.0
        self.store.meanwhile = None
        self.resting = True
        for number in range(3):
            self._pass(600)
            self._one_run(f"last-{number}")

    def _next_pause(self, step: float) -> float:
        """Return the seconds to the next run; around the change of clocks there is one every few minutes."""
        to_change = (
            next(each for each in CHANGES_OF_CLOCKS if each > self.start) - self.app.clock.now()
        ).total_seconds()
        if -5400 < to_change <= 5400:
            return self.chance.uniform(300, 1500)
        pause = self.chance.uniform(0, 2 * step)
        return to_change - 4800 if 5400 < to_change < pause + 5400 else pause

    @property
    def following(self) -> bool:
        """Whether the first poll has been made, after which nothing may be missed."""
        return bool(self.store.texts)

    def missing(self) -> dict[Any, str]:
        """Return what changed last and was given to no run; of a sensor for creations, what was born and not given."""
        if self.change == "created":
            given = {key for each in self.given.values() for key, _ in each}
            return {key: version for key, version in self.birth.items() if key not in given}
        given = {pair for each in self.given.values() for pair in each}
        wanted = self.latest.items()
        if self.change == "updated":
            wanted = [(key, version) for key, version in wanted if self.birth.get(key) != version]
            # A record that changed before anybody saw it counts as created. One born just before the first poll may
            # have become visible after it.
            wanted = [
                (key, version) for key, version in wanted if key not in self.born_at or key in {k for k, _ in given}
            ]
        return {key: version for key, version in wanted if (key, version) not in given}

    def repeated(self) -> dict[Any, list[str]]:
        """Return what was given to more than one run."""
        runs: dict[Any, list[str]] = defaultdict(list)
        for run_id, pairs in self.given.items():
            for pair in pairs:
                runs[pair[0] if self.change == "created" else pair].append(run_id)
        return {pair: given for pair, given in runs.items() if len(given) > 1}

    def _one_run(self, run_id: str) -> None:
        self.runs += 1
        tries = 0
        # A task that was given something and failed for good is cleared by somebody.
        while tries < 8 or self._was_given(run_id):
            tries += 1
            assert tries < MOST_TRIES, "a run that was given something is given it no more"
            result = self._attempt(run_id)
            if result is not None and self.chance.random() > 0.05:
                assert run_id not in self.given, "a run that succeeded does not run again"
                self.given[run_id] = result
                return
            self._pass(self.chance.choice((20, 360, 360, 1800)))

    def _was_given(self, run_id: str) -> bool:
        text = next(iter(self.store.texts.values()), None)
        return text is not None and read_cursor(text).delivered_to(run_id) is not None

    def _clear(self, run_id: str) -> None:
        again = None
        for _ in range(MOST_TRIES):
            again = self._attempt(run_id)
            if again is not None:
                break
            self.app.clock.advance(60)
        assert again is not None, "a run that was cleared is given nothing"
        self._check_again(self.given[run_id], again)

    def _check_again(self, first: list[tuple[Any, str]], again: list[tuple[Any, str]]) -> None:
        """Make sure that a run that was cleared is given the same again."""
        if self.change == "created":
            assert {key for key, _ in again} == {key for key, _ in first}
        else:
            kept = [pair for pair in first if self._stored(pair[0]) == pair[1]]
            assert set(kept) <= set(again) <= set(first)

    def _attempt(self, run_id: str) -> list[tuple[Any, str]] | None:
        """Return what one try of a run was given; None if that was nothing, or the try failed."""
        options = {"deferrable": True} if self.mode == "deferrable" else {"mode": self.mode}
        sensor = self.kind(task_id="changes", poke_interval=60, **options, **self._change())
        context = {"ti": SimpleNamespace(dag_id="a_dag", task_id="changes", run_id=run_id, map_index=-1)}
        try:
            if self.mode != "deferrable":
                found = sensor.poke(context)
                return self._pairs(found.xcom_value) if found else None
            return self._pairs(self._deferred(sensor, context))
        except (Killed, DrChronoError, AirflowRescheduleException):
            return None

    def _deferred(self, sensor: IncrementalSensor, context: Any) -> Any:
        try:
            return sensor._poll_or_defer(context, 4e9)
        except TaskDeferred as deferred:
            trigger = deferred.trigger
        path, arguments = trigger.serialize()
        assert path.endswith(DrChronoIncrementalTrigger.__name__)
        restarted = DrChronoIncrementalTrigger(**arguments)
        subscriber = restarted.subscriber(load(), HASH_KEY)
        for _ in range(self.chance.randrange(1, 6)):
            self._pass(120)
            if asyncio.run(self._is_notified(subscriber)):
                event = PollEvent("changes", self.kind.resource, ends=4e9)
                try:
                    return sensor.execute_complete(context, event.payload())
                except TaskDeferred:
                    return None
        return None

    async def _is_notified(self, subscriber: Subscriber) -> bool:
        """Poll as the triggerer does, together with others who come from elsewhere and select other records."""
        if not await locate([subscriber]):
            return True
        incremental_list = IncrementalList.of(load(), self.kind.resource)
        ago = timedelta(seconds=self.chance.uniform(0, 7200))
        since = earliest_wall_clock(self.app.clock.now() - ago, (ZONE,))
        other = Subscriber(
            incremental_list,
            filters={},
            change="any",
            lookback=timedelta(minutes=2),
            at=SubscriberPosition("", Position.at_start(since), since, (ZONE,)),
        )
        assert await locate([other])
        together = [subscriber, other] if self.chance.random() < 0.5 else [subscriber]
        self.writes_during_reads, rate = 0.0, self.writes_during_reads
        summaries = await poll_for(self.async_client, incremental_list, {}, together, verbose=False)
        self.writes_during_reads = rate
        notified = summaries[subscriber] is not None
        found = await self._finds_something(incremental_list)
        assert notified or not found, "a shared poll does not tell what the task's own would find"
        # Who has met a record between two polls of the task does not take its next change for its creation.
        assert found or not notified or self.change == "updated", "a shared poll tells what the task would not find"
        return notified

    async def _finds_something(self, incremental_list: IncrementalList) -> bool:
        """Poll from the stored position, as the sensor itself would."""
        cursor = read_cursor(next(iter(self.store.texts.values())))
        assert cursor.position is not None
        detector = self._detector(incremental_list, cursor, cursor.position)
        self.app.faults.clear()
        found = False
        for query in incremental_list.queries({}, cursor.position.since):
            async for page in self.async_client.pages(incremental_list.operation_id, query):
                found = bool(list(detector.new_records(page.records))) or found
        return found

    def _detector(self, incremental_list: IncrementalList, cursor: Cursor, position: Position) -> ChangeDetector:
        return ChangeDetector(incremental_list, cursor.salt, position, self.change)  # type: ignore[arg-type]

    def _change(self) -> dict[str, Any]:
        return {} if self.change == "any" else {"change": self.change}

    def _pairs(self, records: list[dict[str, Any]] | None) -> list[tuple[Any, str]] | None:
        if records is None:
            return None
        return [(self._key(each), each[self.field]) for each in records]

    def _key(self, record: dict[str, Any]) -> Any:
        return record[self.resource.key[0]] if self.resource.key else record[self.field]

    def _stored(self, key: Any) -> str:
        if not self.resource.key:
            return str(key)
        return str(self.app.practice.get(self.kind.resource, key)[self.field])

    def _pass(self, seconds: float) -> None:
        """Let time pass, and people write."""
        moments = sorted(
            self.chance.uniform(0, seconds) for _ in range(0 if self.resting else self.chance.randrange(4))
        )
        at = 0.0
        for moment in moments:
            self.app.clock.advance(moment - at)
            at = moment
            for _ in range(self.chance.choice((1, 1, 2, 5))):
                self._write()
        self.app.clock.advance(seconds - at)

    def _write(self) -> None:
        self.version += 1
        version = f"version {self.version}"
        old = [key for key in self.born_at if self._shows_changes(key)]
        with self.app.lock:
            if self.resource.key and old and self.chance.random() < 0.6:
                key = self.chance.choice(old[-8:])
                self.app.practice.change(self.kind.resource, key, {self.field: version})
            else:
                row = self.app.practice.create(self.kind.resource, {self.field: version})
                key = self._key(row)
                self.born_at[key] = self.app.clock.now()
                if self.following:
                    self.birth[key] = version
        if self.following:
            self.latest[key] = version

    def _shows_changes(self, key: Any) -> bool:
        changes = self.resource.incremental
        if changes is None or changes.cursor_field != changes.created_field:
            return True
        # A list that goes by the time of birth shows a change only in the lookback, which is a day here.
        return self.app.clock.now() - self.born_at[key] < timedelta(hours=12)

    def _clients(self, patch: pytest.MonkeyPatch) -> tuple[DrChronoClient, AsyncDrChronoClient]:
        transport = httpx.MockTransport(self._answer)
        sync, asynchronous = httpx.Client, httpx.AsyncClient
        patch.setattr(httpx, "Client", lambda **given: sync(**given | {"transport": transport}))
        patch.setattr(httpx, "AsyncClient", lambda **given: asynchronous(**given | {"transport": transport}))
        settings = ClientSettings(
            client_id=self.app.options.client_id,
            client_secret=self.app.options.client_secret,
            refresh_token=self.app.options.refresh_token,
            base_url="http://127.0.0.1",
            quota_per_hour=None,
            quota_per_second=None,
        )
        tokens = MemoryTokenStore()
        return PagedClient(settings, token_store=tokens), PagedAsyncClient(settings, token_store=tokens)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.chance.random() < self.writes_during_reads:
            self.app.clock.advance(1)
            self._write()
        answer = self.app.handle(
            Request(
                request.method,
                request.url.path,
                decode_query(request.url.query),
                {name.lower(): value for name, value in request.headers.items()},
                request.read(),
                "http://127.0.0.1",
            )
        )
        if answer.cut is not None:
            raise httpx.ReadError("broken off")
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body)

    async def _sleep(self, seconds: float, *_: Any) -> None:
        self.app.clock.advance(seconds)


def changing_field(resource: str) -> str:
    """Return a text field of a record that people may fill in freely."""
    return changing_fields(resource)[0]


def changing_fields(resource: str) -> list[str]:
    """Return all such fields."""
    found = load().resource(resource)
    record = load().record_of(resource)
    assert record is not None
    return [
        each.name
        for each in record.fields.values()
        if each.type == "string"
        and not (each.format or each.enum or each.verbose or each.refers_to)
        and each.name not in (*found.key, "code")
    ]
