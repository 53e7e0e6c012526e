"""Pollers on a clock that is set, against a sandbox with DrChrono's quota: how the calls of an hour are spread."""

import heapq
import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.client import RateLimitedError
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook, next_interval, polling_hook
from airflow_provider_drchrono.incremental.lists import IncrementalList
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.sandbox.journal import Entry
from tests.support.clocked import START, clocked_sandbox
from tests.support.running import unlimited

TEN_MINUTES = 600.0
HOUR = 3600.0
LISTS = [IncrementalList.of(load(), each.resource) for each in load().triggers]
ACTION = "offices"

Wait = Callable[[DrChronoHook, float], float]


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    with clocked_sandbox(monkeypatch, tmp_path) as running:
        yield running


class Practice:
    """The 23 pollers, and actions beside them, in the order of their times.

    :param interval: seconds between two polls of one poller.
    :param wait: says how long a poller waits after a poll.
    :param actions: the seconds after the start at which an action calls.
    """

    def __init__(self, sandbox: Sandbox, interval: float, wait: Wait = next_interval, actions: Any = ()) -> None:
        self.sandbox = sandbox
        self.interval = interval
        self.wait = wait
        self.poller, self.actor = polling_hook("drchrono_default"), DrChronoHook()
        self.refused_actions: list[int] = []
        spread = interval / len(LISTS)
        self.due: list[tuple[float, int]] = [(number * spread, number) for number in range(len(LISTS))]
        self.due += [(at, -1) for at in actions]
        heapq.heapify(self.due)

    def run(self, hours: int) -> None:
        while self.due[0][0] < hours * HOUR:
            at, number = heapq.heappop(self.due)
            self.sandbox.clock.advance(max(0.0, at - self._now()))
            if number < 0:
                self._act()
            else:
                self._poll(LISTS[number])
                heapq.heappush(self.due, (self._now() + self.wait(self.poller, self.interval), number))
        self.poller.close()
        self.actor.close()

    def polls(self, begin: float = 0.0, end: float = HOUR) -> list[Entry]:
        return [each for each in self.calls(begin, end) if each.resource != ACTION]

    def calls(self, begin: float = 0.0, end: float = HOUR) -> list[Entry]:
        first, last = START + timedelta(seconds=begin), START + timedelta(seconds=end)
        return [each for each in self.sandbox.journal.calls() if first <= each.at < last]

    def refusals(self) -> int:
        return len(self.sandbox.journal.calls(status=429))

    def _now(self) -> float:
        return (self.sandbox.clock.now() - START).total_seconds()

    def _poll(self, polled: IncrementalList) -> None:
        (query,) = polled.queries({}, datetime(2099, 1, 1))
        try:
            list(self.poller.get_conn().list(polled.operation_id, query))
        except RateLimitedError:
            return

    def _act(self) -> None:
        try:
            list(self.actor.get_conn().list(ACTION))
        except RateLimitedError:
            self.refused_actions.append(len(self.calls()))


def unpaced(hook: DrChronoHook, poll_interval: float) -> float:
    return poll_interval


def test_all_triggers_of_a_practice_are_not_slowed_down(sandbox: Sandbox) -> None:
    practice = Practice(sandbox, interval=360)

    practice.run(hours=2)

    for hour in range(2):
        polls = practice.polls(hour * HOUR, (hour + 1) * HOUR)
        assert len(polls) <= 250
        for polled in LISTS:
            times = [each.at for each in polls if each.resource == polled.resource]
            gaps = {round((after - before).total_seconds()) for before, after in pairwise(times)}
            assert gaps == {360}, polled.resource
    assert practice.refusals() == 0


def test_pollers_slow_down_when_actions_spend_the_hour(sandbox: Sandbox) -> None:
    burst = [2.0 * number for number in range(300)]
    rest = [TEN_MINUTES + 15 * number for number in range(190)]
    practice = Practice(sandbox, interval=360, actions=burst + rest)

    practice.run(hours=1)

    assert practice.refused_actions, "there were more actions than calls"
    assert set(practice.refused_actions) == {500}, "an action was refused while there were calls left"
    assert len(practice.calls()) == 500
    assert practice.refusals() == 0


def test_every_poller_goes_on_after_a_burst_of_actions(sandbox: Sandbox) -> None:
    practice = Practice(sandbox, interval=360, actions=[2.0 * number for number in range(300)])

    practice.run(hours=1)

    after = practice.polls(TEN_MINUTES)
    per_poller = [sum(each.resource == polled.resource for each in after) for polled in LISTS]
    assert min(per_poller) >= 2
    assert practice.polls(HOUR - TEN_MINUTES), "nothing was left for the end of the hour"
    assert len(practice.calls()) <= 400, "a fifth is left to actions"
    assert practice.refused_actions == []
    assert practice.refusals() == 0


def in_each_ten_minutes(practice: Practice) -> list[int]:
    return [len(practice.polls(part * TEN_MINUTES, (part + 1) * TEN_MINUTES)) for part in range(6)]


def test_short_intervals_are_spread_over_the_hour(sandbox: Sandbox) -> None:
    practice = Practice(sandbox, interval=60)

    practice.run(hours=1)

    spread = in_each_ten_minutes(practice)
    print(f"polls in each ten minutes: {spread}")
    assert 390 <= sum(spread) <= 400
    assert min(spread) >= 50
    assert practice.refusals() == 0


def test_without_a_pace_they_are_burnt_in_the_first_half(sandbox: Sandbox) -> None:
    practice = Practice(sandbox, interval=60, wait=unpaced)

    practice.run(hours=1)

    assert in_each_ten_minutes(practice)[2:] == [0, 0, 0, 0]


def test_pollers_begin_the_next_hour_apart(sandbox: Sandbox) -> None:
    practice = Practice(sandbox, interval=360, actions=[float(number) for number in range(480)])

    practice.run(hours=2)

    begins = practice.polls(HOUR, HOUR + 360)
    assert len(begins) >= 20
    assert max(len(practice.polls(HOUR + second, HOUR + second + 10)) for second in range(0, 360, 10)) <= 6
    assert practice.refusals() == 0


def test_a_stretched_pace_is_told_in_one_line(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    hook = polling_hook("drchrono_default")
    caplog.set_level(logging.INFO)

    waits = [next_interval(hook, 60) for _ in range(14)]

    assert waits[0] == 60
    assert waits[-1] == pytest.approx(126)
    assert caplog.messages[-1] == (
        "drchrono_default: 400 calls are left for polling until 10:00 UTC; next poll in 126 seconds"
    )
    assert len(caplog.messages) == sum(wait >= 61 for wait in waits)


def test_a_connection_without_limits_keeps_to_its_interval(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox))
    hook = polling_hook("drchrono_default")

    assert [next_interval(hook, 5) for _ in range(1000)] == [5] * 1000


def test_a_count_that_cannot_be_reached_leaves_the_interval(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    away = unlimited(sandbox, quota_per_hour=500, quota_storage="redis://127.0.0.1:1/0")
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", away)
    caplog.set_level(logging.INFO)

    assert next_interval(polling_hook("drchrono_default"), 60) == 60
    assert "cannot be reached" in caplog.text
