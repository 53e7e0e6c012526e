"""What the count must not lose: calls that may fall into the next hour, refusals, and itself on its way to others."""

from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_drchrono.client import CallQuota
from airflow_provider_drchrono.client.quota.state import Call, QuotaState
from airflow_provider_drchrono.client.quota.stores import FileQuotaStore, MemoryQuotaStore
from tests.unit.client.quota.test_call_quota import HALF_PAST, Caller, Clock, caller

HOUR_LEFT = 1800.0


@pytest.fixture
def clock(mocker: MockerFixture) -> Clock:
    return Clock(mocker)


def learn_the_time_roughly(quota: CallQuota, clock: Clock) -> None:
    """Let a call be answered after six seconds: the server's clock may be three behind ours, or four clock_offset."""
    assert quota.acquire("slow") == 0
    clock.now += 6
    quota.settle("slow", server_time=datetime.fromtimestamp(clock.now - 3, UTC))


class TestTheHour:
    def test_counts_what_may_have_arrived_in_it_though_it_was_answered_seconds_before(self, clock: Clock) -> None:
        drchrono = caller(per_hour=3)
        learn_the_time_roughly(drchrono.quota, clock)
        clock.now = HALF_PAST + HOUR_LEFT - 2
        assert drchrono.call() == 0
        # It is 2.5 seconds old when somebody next looks, and the hour has not begun beyond doubt.
        clock.now += 2.5
        assert drchrono.quota.status().used == 2

        clock.now += 3

        assert drchrono.quota.status().used == 1
        assert drchrono.calls(3) == [0, 0, pytest.approx(3599.5)]

    def test_counts_only_what_may_have_arrived_in_it(self, clock: Clock) -> None:
        drchrono = caller(per_hour=3)
        learn_the_time_roughly(drchrono.quota, clock)
        clock.now = HALF_PAST + HOUR_LEFT - 4.5
        assert drchrono.call() == 0

        clock.now += 8

        assert drchrono.quota.status().used == 0

    def test_keeps_its_calls_when_the_clock_is_set_back(self, clock: Clock) -> None:
        drchrono = caller(per_hour=3)
        drchrono.calls(2)
        clock.now += 60
        assert drchrono.quota.status().used == 2

        clock.now -= 3600

        assert drchrono.calls(2) == [0, HOUR_LEFT - 60]


class TestTheSecond:
    def test_is_not_over_while_a_call_may_still_be_under_way(self, clock: Clock) -> None:
        quota = CallQuota(per_hour=None, per_second=1)
        assert quota.acquire("slow") == 0

        for _ in range(14):
            clock.now += 1
            assert quota.acquire("next") > 0

    def test_is_over_after_a_second_however_little_is_known_of_the_servers_clock(self, clock: Clock) -> None:
        drchrono = caller(per_second=1)
        learn_the_time_roughly(drchrono.quota, clock)
        clock.now += 1.01

        assert drchrono.call() == 0

    @pytest.mark.parametrize("answered", [True, False], ids=["answered", "under way"])
    def test_ends_though_the_clock_is_set_back_in_it(self, clock: Clock, answered: bool) -> None:
        quota = CallQuota(per_hour=None, per_second=1)
        assert quota.acquire("before") == 0
        if answered:
            quota.settle("before")
        clock.now -= 3600
        quota.status()
        clock.now += 1.01

        assert quota.acquire("after") == 0

    def test_has_no_place_for_those_whose_hour_is_spent(self, clock: Clock) -> None:
        store = MemoryQuotaStore()
        small = CallQuota(store, connection="small", per_hour=1, per_second=1)
        large = CallQuota(store, connection="large", per_hour=500, per_second=1)
        Caller(large).call()
        assert small.acquire("first") > 0
        assert small.acquire("second") > 0
        clock.now += 1.01
        assert small.acquire("first") == 0
        small.settle("first")
        assert small.acquire("second") == pytest.approx(HOUR_LEFT - 1.01)
        clock.now += 1.01

        assert large.acquire("next") == 0


class TestRefusal:
    @pytest.mark.parametrize("shorter", [1.0, 600.0])
    def test_is_not_cut_short_by_a_shorter_one(self, clock: Clock, shorter: float) -> None:
        """Of nine calls under way, one may be refused for the hour and the next for the second."""
        quota = CallQuota(per_hour=500, per_second=9)
        assert quota.acquire("hour") == 0
        assert quota.acquire("second") == 0
        quota.settle("hour", refused_for=1500.0)
        clock.now += 0.1

        quota.settle("second", refused_for=shorter)

        assert quota.acquire("next") == pytest.approx(1499.9)

    def test_is_prolonged_by_a_longer_one(self, clock: Clock) -> None:
        quota = CallQuota(per_hour=500, per_second=9)
        assert quota.acquire("second") == 0
        assert quota.acquire("hour") == 0
        quota.settle("second", refused_for=1.0)
        quota.settle("hour", refused_for=1500.0)

        assert quota.acquire("next") == 1500

    def test_is_not_lifted_by_an_answer_to_a_call_that_was_under_way(self, clock: Clock) -> None:
        quota = CallQuota(per_hour=500, per_second=9)
        assert quota.acquire("refused") == 0
        assert quota.acquire("under way") == 0
        quota.settle("refused", refused_for=1500.0)
        quota.settle("under way")

        assert quota.acquire("next") == 1500

    def test_that_comes_late_is_believed(self, clock: Clock) -> None:
        quota = CallQuota(per_hour=500, per_second=9)
        assert quota.acquire("slow") == 0
        for _ in range(20):
            clock.now += 2
            assert quota.status().used == 1

        quota.settle("slow", refused_for=600.0)

        assert quota.acquire("next") == 600


class TestStanding:
    def test_tells_what_others_have_left_of_the_application(self, clock: Clock) -> None:
        store = MemoryQuotaStore()
        caller(store=store, connection="large", per_hour=500).calls(450)
        small = caller(store=store, connection="small", per_hour=100)

        assert (small.quota.status().limit, small.quota.status().left) == (100, 50)

    def test_never_tells_of_less_than_nothing(self, clock: Clock) -> None:
        store = MemoryQuotaStore()
        caller(store=store, per_hour=10).calls(10)

        assert CallQuota(store, per_hour=10, per_second=None, reserve=4).status().left == 0


class TestThroughAFile:
    """Each process reads the state anew, so what is not written does not count."""

    def quotas(self, folder: Path, **settings: Any) -> tuple[CallQuota, CallQuota]:
        values = {"per_hour": None, "per_second": None} | settings
        return CallQuota(FileQuotaStore(folder, "app"), **values), CallQuota(FileQuotaStore(folder, "app"), **values)

    def test_a_book_comes_as_it_went(self, tmp_path: Path, clock: Clock) -> None:
        state = QuotaState(
            hour=int(clock.now // 3600),
            used={"conn": {"host": 7}, "other": {"host": 1, "another": 2}},
            calls={"under way": Call(clock.now, whose=("conn", "host")), "answered": Call(clock.now, clock.now + 0.5)},
            queue={"waiting": (clock.now, clock.now + 3)},
            refused_until=clock.now + 60,
            clock_offset=(-0.5, 0.5),
            polls=[("conn", clock.now + 30, 60.0)],
        )

        def fill(empty: QuotaState, now: float) -> None:
            for each in fields(QuotaState):
                setattr(empty, each.name, getattr(state, each.name))

        FileQuotaStore(tmp_path, "app").update(fill)

        assert FileQuotaStore(tmp_path, "app").update(lambda read, now: read) == state

    def test_a_refusal_is_heard_by_others(self, tmp_path: Path, clock: Clock) -> None:
        first, second = self.quotas(tmp_path, per_hour=500)
        assert first.acquire("call") == 0
        first.settle("call", refused_for=1500.0)

        assert second.acquire("next") == 1500

    def test_a_second_ends_for_others(self, tmp_path: Path, clock: Clock) -> None:
        first, second = self.quotas(tmp_path, per_second=1)
        assert first.acquire("call") == 0
        first.settle("call")
        clock.now += 1.01

        assert second.acquire("next") == 0

    def test_what_was_never_sent_is_given_back_to_who_took_it(self, tmp_path: Path, clock: Clock) -> None:
        first, second = self.quotas(tmp_path, per_hour=1, connection="conn")
        assert first.acquire("unsent") == 0
        first.settle("unsent", sent=False)

        assert second.status().by == ()
        assert second.acquire("next") == 0
