import math
from datetime import UTC, datetime

import pytest
from pytest_mock import MockerFixture

from airflow_provider_drchrono.client import CallQuota
from airflow_provider_drchrono.client.quota.pace import Budget, next_poll, poll_pace
from airflow_provider_drchrono.client.quota.state import Limits, QuotaState
from airflow_provider_drchrono.client.quota.stores import MemoryQuotaStore

HOUR = 1_767_225_600.0
POLLERS = 23
LIMITS = Limits(500, 500, None, 100)


def budget(left: float, *, pollers: int = POLLERS, interval: float = 360.0, hourly: float = 400.0) -> Budget:
    return Budget(left, hourly, pollers / interval)


class TestNextPoll:
    def test_is_after_the_interval_while_calls_are_plenty(self) -> None:
        assert next_poll(360, [budget(400)], 3600, chance=0.5) == 360
        assert next_poll(360, [budget(39)], 600, chance=0.5) == 360

    def test_is_after_the_interval_where_nothing_is_limited(self) -> None:
        assert next_poll(360, [], 3600, chance=0.5) == 360

    def test_lets_what_is_left_last_until_the_hour_ends(self) -> None:
        wait = next_poll(60, [budget(100, interval=60)], 3000, chance=0.5)

        assert wait == pytest.approx(690)
        assert POLLERS / wait == pytest.approx(100 / 3000)

    def test_keeps_to_the_tighter_of_two_limits(self) -> None:
        share = budget(20, pollers=4, hourly=80)

        assert next_poll(360, [budget(400), share], 3600, chance=0.5) == pytest.approx(720)
        assert next_poll(360, [budget(400), share], 3600, chance=0.5) == next_poll(360, [share], 3600, chance=0.5)

    def test_goes_by_the_next_hours_calls_once_that_has_begun(self) -> None:
        # A third of the way is gone when the hour ends; the rest of it is two thirds of an interval.
        assert next_poll(360, [budget(20)], 600, chance=0.5) == pytest.approx(600 + 360 * (1 - 600 / 690))
        # At 60 seconds the next hour will be short as well.
        assert next_poll(60, [budget(20, interval=60)], 300, chance=0.5) == pytest.approx(300 + 207 * (1 - 300 / 345))

    def test_is_spread_over_an_interval_of_the_next_hour_where_nothing_is_left(self) -> None:
        waits = [next_poll(60, [budget(0, pollers=2, interval=60)], 1200, chance=each) for each in (0, 0.5, 1)]

        assert waits == [1200, 1230, 1260]

    def test_is_not_before_the_end_of_a_refusal(self) -> None:
        assert next_poll(60, [], 1200, refused_for=600, chance=0.5) == 630
        assert next_poll(360, [budget(400)], 1200, refused_for=1, chance=0.5) == 360

    def test_of_a_connection_without_any_call_of_its_own_is_in_the_next_hour(self) -> None:
        assert next_poll(360, [Budget(-5, -5, 1 / 360)], 1200, chance=0) == 1200

    @pytest.mark.parametrize("left", [1, 7, 50, 399], ids="{} left".format)
    @pytest.mark.parametrize("resets_in", [1, 60, 900, 3600], ids="{} seconds".format)
    def test_is_never_before_the_interval_nor_long_after_the_hour(self, left: int, resets_in: int) -> None:
        for interval in (1.0, 60.0, 360.0, 7200.0):
            hourly = budget(left, interval=interval)
            wait = next_poll(interval, [hourly], resets_in, chance=1)

            assert interval <= wait <= resets_in + interval * max(1, hourly.demand * 9)


class TestPaceOf:
    def paced(self, state: QuotaState, at: float, interval: float = 60.0, connection: str = "conn") -> float:
        return poll_pace(state, connection, LIMITS, HOUR + at, interval=interval, chance=0.5).seconds

    def test_all_who_poll_share_what_is_left(self) -> None:
        state = QuotaState()

        waits = [self.paced(state, 0) for _ in range(POLLERS)]

        assert waits[:6] == [60.0] * 6
        assert waits[-1] == pytest.approx(60 * POLLERS / 60 * 3600 / 400)

    def test_who_polls_no_more_is_forgotten_after_its_wait(self) -> None:
        state = QuotaState()
        for _ in range(POLLERS):
            self.paced(state, 0)

        assert len(state.polls) == POLLERS
        assert self.paced(state, 207.1) == 60
        assert len(state.polls) == 1

    def test_other_connections_count_for_the_application_and_not_for_the_share(self) -> None:
        state = QuotaState()
        limits = Limits(500, 100, None, 20)
        for _ in range(40):
            poll_pace(state, "others", Limits(500, 500, None, 100), HOUR, interval=60, chance=0.5)

        alone = poll_pace(QuotaState(), "conn", limits, HOUR, interval=60, chance=0.5)
        beside = poll_pace(state, "conn", limits, HOUR, interval=60, chance=0.5)

        assert alone.seconds == 60
        assert beside.seconds == pytest.approx(60 * 41 / 60 * 3600 / 480)

    def test_leaves_the_reserve_of_the_next_hour_to_others_too(self) -> None:
        state = QuotaState(hour=int(HOUR // 3600), used={"conn": {"host": 400}})
        state.polls = [("conn", HOUR + 3600, 60.0)] * (POLLERS - 1)

        # The pollers' 23 calls a minute come down to 400 an hour, and the chance is a half.
        assert self.paced(state, 3000) == pytest.approx(600 + 60 * POLLERS * 60 / 400 / 2)

    def test_tells_what_is_left_and_until_when(self) -> None:
        state = QuotaState(hour=int(HOUR // 3600), used={"conn": {"host": 130}})

        pace = poll_pace(state, "conn", LIMITS, HOUR + 60, interval=60, chance=0.5)

        assert pace.left == 270
        assert pace.until == datetime.fromtimestamp(HOUR + 3600, UTC)

    def test_without_an_interval_the_calls_last_as_well(self) -> None:
        assert self.paced(QuotaState(), 0, interval=0) == pytest.approx(9)

    def test_a_refusal_is_waited_for(self) -> None:
        state = QuotaState(refused_until=HOUR + 1000)

        assert 1000 <= self.paced(state, 0) <= 1060

    def test_nothing_is_noted_where_nothing_is_limited(self) -> None:
        state = QuotaState()

        assert poll_pace(state, "conn", Limits(None, None, 9), HOUR, interval=60, chance=0.5).seconds == 60
        assert state.polls == []


def test_the_book_keeps_who_polls() -> None:
    state = QuotaState()
    poll_pace(state, "conn", LIMITS, HOUR, interval=60, chance=0.5)

    assert QuotaState.from_dict(state.to_dict()) == state
    assert math.isclose(state.polls[0][1], HOUR + 60)


def test_a_book_of_an_earlier_release_is_read() -> None:
    old = {name: value for name, value in QuotaState(hour=7).to_dict().items() if name != "polls"}

    assert QuotaState.from_dict(old) == QuotaState(hour=7)


def test_a_quota_tells_its_pace(mocker: MockerFixture) -> None:
    mocker.patch("airflow_provider_drchrono.client.quota.stores.time.time", return_value=HOUR)
    store = MemoryQuotaStore()
    quota = CallQuota(store, connection="conn", per_hour=500, per_second=9, reserve=100)

    waits = [quota.pace(60).seconds for _ in range(10)]

    assert waits[0] == 60
    assert waits[-1] == pytest.approx(90)
