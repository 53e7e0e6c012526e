"""Callers in simulated time, against a vendor that counts for itself on a clock that is minutes off."""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Generator
from datetime import UTC, datetime

import pytest
from pytest_mock import MockerFixture

from airflow_provider_drchrono.client import CallQuota

PER_HOUR = 30
PER_SECOND = 3
CALLERS = 8
TOP = 1_767_225_600.0
"""The top of an hour, by the vendor's clock."""

Steps = Generator[float, None, None]


class Vendor:
    """Takes down when each call arrives, and dates its answers in whole seconds as HTTP does."""

    def __init__(self, clock_offset: float, dice: random.Random) -> None:
        self.clock_offset = clock_offset
        self.dice = dice
        self.arrivals: list[float] = []

    def call(self, clock: Callable[[], float]) -> Generator[float, None, datetime]:
        slowest = self.dice.choice([0.1, 1.0, 8.0])
        yield self.dice.uniform(0, slowest)
        self.arrivals.append(clock() + self.clock_offset)
        date = datetime.fromtimestamp(int(clock() + self.clock_offset), UTC)
        yield self.dice.uniform(0, slowest)
        return date


class World:
    """The clock of the machine, and the callers on it, of which one runs at a time."""

    def __init__(self, start: float) -> None:
        self.now = start

    def run(self, callers: list[Steps], until: float) -> None:
        due = [(self.now, number, each) for number, each in enumerate(callers)]
        while due and due[0][0] < until:
            self.now, number, caller = heapq.heappop(due)
            wait = next(caller, None)
            if wait is not None:
                heapq.heappush(due, (self.now + wait, number, caller))


def caller(name: int, quota: CallQuota, vendor: Vendor, world: World) -> Steps:
    """Call for as long as the world runs, at times with a rest, and at times dying in the middle of a call."""
    calls = 0
    while True:
        calls += 1
        call = f"{name}-{calls}"
        while wait := quota.acquire(call):
            # All wake at once when the hour begins, which is when it matters.
            yield wait
        date = yield from vendor.call(lambda: world.now)
        if vendor.dice.random() < 0.95:
            quota.settle(call, server_time=date)
        if vendor.dice.random() < 0.2:
            yield vendor.dice.uniform(0, 5)


@pytest.mark.parametrize("seed", range(24))
def test_the_vendor_never_sees_more_than_it_grants(seed: int, mocker: MockerFixture) -> None:
    dice = random.Random(seed)
    vendor = Vendor(dice.choice([0.0, dice.uniform(-900, 900)]), dice)
    world = World(TOP - vendor.clock_offset - dice.uniform(0, 30))
    mocker.patch("airflow_provider_drchrono.client.quota.stores.time.time", side_effect=lambda: world.now)
    quota = CallQuota(per_hour=PER_HOUR, per_second=PER_SECOND)

    world.run([caller(each, quota, vendor, world) for each in range(CALLERS)], until=world.now + 3 * 3600)

    by_hour = Counter(int(each // 3600) for each in vendor.arrivals)
    seen = sorted(vendor.arrivals)
    assert max(by_hour.values()) <= PER_HOUR
    assert all(later - earlier > 1 for earlier, later in zip(seen, seen[PER_SECOND:], strict=False))
    # And it is spent, less what might have been counted for the hour before or after.
    assert min(by_hour[hour] for hour in sorted(by_hour)[1:-1]) >= PER_HOUR - 2 * CALLERS
