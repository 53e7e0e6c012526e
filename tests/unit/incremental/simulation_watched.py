"""A practice-month of an asset that is watched, and of the DAG that it triggers: the watcher is killed at any moment,
Airflow gets events twice or keeps them back, and runs fail, are retried, cleared and started by hand."""

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowRescheduleException

from airflow_provider_drchrono.assets import drchrono_asset
from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.client import DrChronoError
from airflow_provider_drchrono.incremental.events.deliveries import read_deliveries
from airflow_provider_drchrono.incremental.events.event import ChangeEvent
from airflow_provider_drchrono.incremental.events.writer import EventWriter
from airflow_provider_drchrono.operators.assets import DrChronoChangedRecordsOperator
from airflow_provider_drchrono.sensors.base import IncrementalSensor
from tests.support.running import execute
from tests.unit.incremental.simulation import HASH_KEY, ZONE, FlakyStore, Killed, Month


class WatchedMonth(Month):
    """A month of one watched asset."""

    def __init__(self, patch: pytest.MonkeyPatch, kind: type[IncrementalSensor], seed: int, change: str) -> None:
        super().__init__(patch, kind, "watched", seed, change)
        self.asset = drchrono_asset(kind.resource, **self._change())  # type: ignore[call-overload]
        self.deliveries = FlakyStore(self.chance)
        self.writer: EventWriter | None = None
        self.sent: list[ChangeEvent] = []
        self.events: dict[str, list[ChangeEvent]] = {}
        self.twice = 0
        patch.setattr(DrChronoChangedRecordsOperator, "cursor_store", self.store)
        patch.setattr(DrChronoChangedRecordsOperator, "deliveries_store", self.deliveries)
        hook = SimpleNamespace(
            get_conn=lambda: self.client,
            close=lambda: None,
            catalog=load(),
            suspicions=lambda *_: [],
            hash_key=HASH_KEY,
        )
        patch.setattr(DrChronoChangedRecordsOperator, "hook", hook)

    def _one_run(self, run_id: str) -> None:
        """Let the watcher poll some times, and Airflow start a run, if there is something to start it for."""
        self.runs += 1
        if run_id.startswith("beside"):
            # Another triggerer watches, too.
            ours, self.writer = self.writer, None
            self._watch()
            self.writer = ours
            return
        patience = 20 if self.resting else self.chance.randrange(1, 4)
        for _ in range(patience):
            self._watch()
            self._pass(self.chance.uniform(10, 400))
        if self.deliveries.texts and self.chance.random() < 0.15:
            self._succeed(f"{run_id}-by-hand")
        # Airflow keeps events back when several come at once.
        while self.sent and (self.resting or self.chance.random() < 0.8):
            number = len(self.sent) if self.resting else self.chance.randrange(1, len(self.sent) + 1)
            events, self.sent = self.sent[:number], self.sent[number:]
            name = f"{run_id}-{len(self.events)}"
            self.events[name] = events
            self._succeed(name)

    def _watch(self) -> None:
        writer = self.writer or self._writer()
        self.writer = writer
        try:
            event = writer.next_event(self.client)
            if event is None:
                return
            self._may_die(0.1)
            self.twice += event in sum(self.events.values(), self.sent)
            self.sent.append(event)
            self._may_die(0.2)
            writer.acknowledge(event)
        except Killed:
            self.writer = None
        except DrChronoError:
            pass

    def _may_die(self, likely: float) -> None:
        if self.chance.random() < likely:
            raise Killed

    def _writer(self) -> EventWriter:
        zones = SimpleNamespace(settings=SimpleNamespace(timezone=None), practice_timezones=lambda: (ZONE,))
        selection = self.asset.watchers[0].trigger.selection(load(), HASH_KEY)
        return EventWriter(
            selection, store=self.store, asset=self.asset.name, timezones=zones, now=lambda: self.app.clock.now()
        )

    def _succeed(self, run_id: str) -> None:
        for _ in range(100):
            result = self._attempt(run_id)
            if result is not None and self.chance.random() > 0.05:
                self.given[run_id] = result
                return
            self._pass(self.chance.choice((20, 360)))
        raise AssertionError("a run never succeeds")

    def _attempt(self, run_id: str) -> list[tuple[Any, str]] | None:
        events = [
            SimpleNamespace(extra={"from_trigger": True, "payload": each.payload()})
            for each in self.events.get(run_id, ())
        ]
        kind = "asset_triggered" if events else "manual"
        context = {
            "ti": SimpleNamespace(dag_id="a_dag", task_id="changed", run_id=run_id, map_index=-1, try_number=1),
            "dag_run": SimpleNamespace(run_type=kind),
            "triggering_asset_events": {self.asset: events} if events else {},
        }
        reader = DrChronoChangedRecordsOperator(task_id="changed", asset=self.asset)
        try:
            return self._pairs(execute(reader, context))
        except (Killed, DrChronoError, AirflowRescheduleException):
            return None

    def _was_given(self, run_id: str) -> bool:
        text = next(iter(self.deliveries.texts.values()), None)
        return text is not None and run_id in read_deliveries(text)[self.asset.name].runs
