import json
import multiprocessing
import os
import secrets
import signal
import stat
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_drchrono.client import CallQuota, ConfigurationError
from airflow_provider_drchrono.client.quota.state import Call, Limits, QuotaState
from airflow_provider_drchrono.client.quota.stores import (
    FileQuotaStore,
    MemoryQuotaStore,
    QuotaStorageError,
    RedisQuotaStore,
    quota_key,
)

HALF_PAST = 1_767_225_600.0 + 1800.0


class Clock:
    def __init__(self, mocker: MockerFixture) -> None:
        self.now = HALF_PAST
        mocker.patch("airflow_provider_drchrono.client.quota.stores.time.time", side_effect=lambda: self.now)


@pytest.fixture
def clock(mocker: MockerFixture) -> Clock:
    return Clock(mocker)


class Caller:
    """Makes calls that are answered at once."""

    def __init__(self, quota: CallQuota) -> None:
        self.quota = quota

    def call(self, **end: Any) -> float:
        name = secrets.token_hex(8)
        wait = self.quota.acquire(name)
        self.quota.settle(name, sent=not wait, **end)
        return wait

    def calls(self, number: int) -> list[float]:
        return [self.call() for _ in range(number)]


def caller(**settings: Any) -> Caller:
    return Caller(CallQuota(**{"per_hour": None, "per_second": None} | settings))


def test_a_refusal_does_not_last_longer_than_an_hour_though_the_clock_is_set_back(clock: Clock) -> None:
    refused = caller()
    refused.call(refused_for=86_400.0)
    clock.now += 60
    assert refused.call() == 3540

    clock.now -= 86_400

    assert refused.call() == 0


class TestTheHour:
    def test_begins_on_the_hour(self, clock: Clock) -> None:
        drchrono = caller(per_hour=3)

        assert drchrono.calls(4) == [0, 0, 0, 1800]
        clock.now += 1799
        assert drchrono.call() == 1
        clock.now += 1
        assert drchrono.calls(4) == [0, 0, 0, 3600]

    def test_is_that_of_drchronos_clock(self, clock: Clock) -> None:
        drchrono = caller(per_hour=3)
        ten_minutes_ahead = datetime.fromtimestamp(clock.now + 600, UTC)

        assert drchrono.call(server_time=ten_minutes_ahead) == 0
        assert drchrono.calls(3) == [0, 0, 1200]

    def test_counts_what_was_under_way_when_it_began(self, clock: Clock) -> None:
        quota = CallQuota(per_hour=3, per_second=None)
        clock.now += 1799.9
        assert quota.acquire("under-way") == 0
        clock.now += 0.2

        assert Caller(quota).calls(3) == [0, 0, pytest.approx(3599.9)]

    def test_is_corrected_when_the_first_answer_tells_another_one(self, clock: Clock) -> None:
        drchrono = caller(per_hour=2)
        clock.now += 1500

        drchrono.call(server_time=datetime.fromtimestamp(clock.now + 600, UTC))

        # This call came when it was the next hour at DrChrono, and counts there.
        assert drchrono.calls(2) == [0, 3300]

    def test_is_not_begun_anew_by_a_clock_that_is_set_back(self, clock: Clock) -> None:
        drchrono = caller(per_hour=2)
        assert drchrono.calls(2) == [0, 0]

        clock.now -= 3600

        assert drchrono.call() > 0

    @pytest.mark.parametrize("year", [1960, 2200])
    def test_is_not_begun_anew_by_one_answer_with_a_wrong_clock(self, clock: Clock, year: int) -> None:
        state = QuotaState()
        limits = Limits(application=3, share=None, per_second=None, reserve=0)

        def call(number: int, server_time: datetime) -> float:
            wait = state.admit(f"call-{number}", ("conn", "host"), limits, clock.now)
            state.settle(f"call-{number}", clock.now, server_time=server_time)
            return wait

        right = datetime.fromtimestamp(clock.now, UTC)
        times = (right, right.replace(year=year), right)
        assert [call(number, each) for number, each in enumerate(times)] == [0, 0, 0]
        assert call(3, right) > 0

    def test_goes_by_another_clock_once_two_answers_agree(self, clock: Clock) -> None:
        state = QuotaState()
        limits = Limits(application=3, share=None, per_second=None, reserve=0)
        for number in range(2):
            state.admit(f"call-{number}", ("conn", "host"), limits, clock.now)
            state.settle(f"call-{number}", clock.now, server_time=datetime.fromtimestamp(clock.now + 86_400, UTC))

        assert state.clock_offset is not None
        assert state.clock_offset[0] == pytest.approx(86_400, abs=2)

    def test_does_not_count_what_was_never_sent(self, clock: Clock) -> None:
        quota = CallQuota(per_hour=1, per_second=None)
        assert quota.acquire("unsent") == 0
        quota.settle("unsent", sent=False)

        assert quota.acquire("next") == 0


class TestClockOfTheServer:
    def test_is_narrowed_down_by_each_answer(self) -> None:
        state = QuotaState()
        for call, (started_at, answered) in enumerate([(1000.0, 1000.2), (1000.6, 1000.7), (1001.1, 1001.3)]):
            state.calls[str(call)] = Call(started_at)
            server = 600.5 + (started_at + answered) / 2
            state.settle(str(call), answered, server_time=datetime.fromtimestamp(int(server), UTC))

        assert state.clock_offset
        low, high = state.clock_offset
        assert low <= 600.5 <= high
        assert high - low < 0.8

    def test_is_learnt_anew_when_it_was_set(self) -> None:
        state = QuotaState(clock_offset=(600.4, 600.6))
        state.calls["x"] = Call(1000.0)

        state.settle("x", 1000.1, server_time=datetime.fromtimestamp(1000, UTC))

        assert state.clock_offset == pytest.approx((-0.1, 1.0))


class TestTheSecond:
    def test_lets_no_more_through(self, clock: Clock) -> None:
        drchrono = caller(per_second=2)

        assert drchrono.calls(2) == [0, 0]
        assert drchrono.call() == pytest.approx(1)
        clock.now += 0.9
        assert drchrono.call() == pytest.approx(0.1)
        clock.now += 0.2
        assert drchrono.call() == 0

    def test_begins_with_the_answer(self, clock: Clock) -> None:
        quota = CallQuota(per_hour=None, per_second=1)
        assert quota.acquire("slow") == 0
        clock.now += 7
        assert quota.acquire("next") > 0

        quota.settle("slow")

        assert quota.acquire("next") == pytest.approx(1)

    def test_does_not_wait_for_the_dead(self, clock: Clock) -> None:
        quota = CallQuota(per_hour=None, per_second=1)
        assert quota.acquire("killed") == 0

        clock.now += 15
        assert quota.acquire("next") == pytest.approx(1)
        clock.now += 1
        assert quota.acquire("next") == 0

    def test_is_given_out_in_the_order_in_which_it_was_asked_for(self, clock: Clock) -> None:
        quota = CallQuota(per_hour=None, per_second=2)
        Caller(quota).calls(2)
        waits = []
        for name in ("first", "second", "third", "fourth"):
            clock.now += 0.01
            waits.append(clock.now + quota.acquire(name) - HALF_PAST)

        assert waits == pytest.approx([1, 1, 2, 2])
        clock.now = HALF_PAST + 1.001
        assert quota.acquire("latecomer") > 0
        assert quota.acquire("third") > 0
        assert quota.acquire("second") == 0
        assert quota.acquire("first") == 0

    def test_is_not_kept_for_those_who_do_not_come_back(self, clock: Clock) -> None:
        quota = CallQuota(per_hour=None, per_second=1)
        Caller(quota).call()
        assert quota.acquire("gone") > 0
        assert quota.acquire("next") > 0

        clock.now += 2.1

        assert quota.acquire("next") == 0

    def test_goes_first_to_those_who_come_late_for_their_turn(self, clock: Clock) -> None:
        quota = CallQuota(per_hour=None, per_second=1)
        Caller(quota).call()
        for name in ("late", "next", "last"):
            clock.now += 0.01
            assert quota.acquire(name) > 0
        clock.now += 2.1
        assert quota.acquire("next") == 0
        quota.settle("next")

        clock.now += 0.5
        assert quota.acquire("late") == pytest.approx(0.5)
        clock.now += 0.51

        assert quota.acquire("last") > 0
        assert quota.acquire("late") == 0

    def test_is_given_up_by_those_who_say_so(self, clock: Clock) -> None:
        quota = CallQuota(per_hour=None, per_second=1)
        Caller(quota).call()
        assert quota.acquire("impatient") == pytest.approx(1)
        quota.settle("impatient", sent=False)

        clock.now += 1

        assert quota.acquire("next") == 0


class TestSharing:
    def test_by_name_of_the_state(self, clock: Clock, tmp_path: Path) -> None:
        first, second = (caller(store=FileQuotaStore(tmp_path, "app"), per_hour=5) for _ in range(2))
        other = caller(store=FileQuotaStore(tmp_path, "other"), per_hour=5)

        assert first.calls(3) == [0, 0, 0]
        assert second.calls(3) == [0, 0, 1800]
        assert other.call() == 0

    def test_a_connection_keeps_to_its_share(self, clock: Clock) -> None:
        store = MemoryQuotaStore()
        small = caller(store=store, connection="small", per_hour=5)
        large = caller(store=store, connection="large", per_hour=500)

        assert {*large.calls(100)} == {0}
        assert small.calls(6) == [0] * 5 + [1800]
        assert sum(wait == 0 for wait in large.calls(500)) == 395

    def test_a_share_is_no_claim_to_what_others_have_spent(self, clock: Clock) -> None:
        store = MemoryQuotaStore()
        assert {*caller(store=store, connection="large", per_hour=500).calls(498)} == {0}

        assert caller(store=store, connection="small", per_hour=5).calls(3) == [0, 0, 1800]

    def test_a_larger_grant_is_taken_at_its_word(self, clock: Clock) -> None:
        assert {*caller(per_hour=700).calls(700)} == {0}

    def test_a_reserve_is_left_to_those_who_ask_without(self, clock: Clock) -> None:
        store = MemoryQuotaStore()
        sensor = caller(store=store, per_hour=10, reserve=4)
        action = caller(store=store, per_hour=10)

        assert sensor.calls(7) == [0] * 6 + [1800]
        assert action.calls(5) == [0] * 4 + [1800]

    def test_a_429_is_believed_by_everybody(self, clock: Clock) -> None:
        store = MemoryQuotaStore()
        first, second = (caller(store=store, per_hour=500) for _ in range(2))

        assert first.call(refused_for=1800.0) == 0

        assert second.call() == 1800
        clock.now += 1800
        assert second.call() == 0

    def test_a_429_is_believed_for_an_hour_at_most(self, clock: Clock) -> None:
        drchrono = caller(per_hour=500)
        drchrono.call(refused_for=80_000.0)

        assert drchrono.call() == 3600


def test_the_standing_tells_who_spent_what(clock: Clock) -> None:
    store = MemoryQuotaStore()
    nightly = caller(store=store, connection="nightly", per_hour=100)
    nightly.calls(3)
    caller(store=store, connection="actions", per_hour=500).calls(4)

    status = nightly.quota.status()

    assert (status.used, status.limit, status.left) == (7, 100, 97)
    assert [(connection, calls) for connection, _, calls in status.by] == [("actions", 4), ("nightly", 3)]
    assert status.resets_at == datetime.fromtimestamp(HALF_PAST + 1800, UTC)
    assert status.refused_until is None


def test_the_standing_tells_of_a_refusal(clock: Clock) -> None:
    drchrono = caller(per_hour=500)
    drchrono.call(refused_for=60.0)

    status = drchrono.quota.status()

    assert status.left == 0
    assert status.refused_until == datetime.fromtimestamp(HALF_PAST + 60, UTC)


def test_threads_together_get_no_more_than_there_is(clock: Clock) -> None:
    quota = CallQuota(per_hour=20, per_second=None)
    granted: list[float] = []

    def work(name: int) -> None:
        granted.extend(quota.acquire(f"{name}-{each}") for each in range(10))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert granted.count(0.0) == 20


def take(folder: Path, answer: Path) -> None:
    quota = CallQuota(FileQuotaStore(folder, "app"), per_hour=100, per_second=None)
    answer.write_text(str(sum(quota.acquire(f"{os.getpid()}-{each}") == 0 for each in range(20))))


def work_until_killed(folder: Path) -> None:
    quota = CallQuota(FileQuotaStore(folder, "app"), per_hour=1_000_000, per_second=None)
    for each in range(1_000_000):
        quota.acquire(f"{os.getpid()}-{each}")
        quota.settle(f"{os.getpid()}-{each}")


class TestFile:
    @pytest.fixture
    def context(self) -> Any:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        return context

    def test_lets_processes_together_have_no_more_than_there_is(self, context: Any, tmp_path: Path) -> None:
        answers = [tmp_path / f"answer-{each}" for each in range(8)]
        processes = [context.Process(target=take, args=(tmp_path / "quota", answer)) for answer in answers]
        for each in processes:
            each.start()
        for each in processes:
            each.join()

        # At the top of an hour, a new one begins.
        assert sum(int(answer.read_text()) for answer in answers) in (100, 160)

    def test_outlives_kill_9(self, context: Any, tmp_path: Path) -> None:
        store = FileQuotaStore(tmp_path, "app")
        for _ in range(3):
            victim = context.Process(target=work_until_killed, args=(tmp_path,))
            before = store.update(lambda state, now: state.total)
            victim.start()
            deadline = time.monotonic() + 30
            while store.update(lambda state, now: state.total) < before + 20:
                assert time.monotonic() < deadline
            os.kill(victim.pid, signal.SIGKILL)
            victim.join()

        assert CallQuota(store, per_hour=1_000_000, per_second=None).acquire("next") == 0
        assert store.update(lambda state, now: state.total) >= 60

    def test_is_nobody_elses_business(self, tmp_path: Path) -> None:
        store = FileQuotaStore(tmp_path / "quota", quota_key("client-id"))

        assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
        assert {stat.S_IMODE(each.stat().st_mode) for each in store.path.parent.iterdir()} == {0o600}
        assert "client-id" not in str(store.path) + store.path.read_text()

    @pytest.mark.parametrize("content", ["", "[]", '{"hour": 1}', '{"calls": 3}'], ids=str)
    def test_that_is_broken_begins_anew(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "app.json").write_text(content)

        assert caller(store=FileQuotaStore(tmp_path, "app"), per_hour=500).calls(2) == [0, 0]

    def test_keeps_everything_it_was_given(self, tmp_path: Path) -> None:
        store = FileQuotaStore(tmp_path, "app")
        quota = CallQuota(store, connection="conn", per_hour=500, per_second=1)
        quota.acquire("one")
        quota.acquire("two")
        quota.settle("one", server_time=datetime.now(UTC), refused_for=0.5)

        written = json.loads(store.path.read_text())

        assert (
            QuotaState.from_dict(written).to_dict() == QuotaState.from_dict(json.loads(json.dumps(written))).to_dict()
        )
        assert store.update(lambda state, now: (state.of("conn"), len(state.queue), bool(state.clock_offset))) == (
            1,
            1,
            True,
        )

    def test_that_cannot_be_written_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()

        with pytest.raises(QuotaStorageError, match=r"^The folder .* cannot be made: "):
            FileQuotaStore(tmp_path / "file" / "quota", "app")


class TestRedis:
    def test_that_is_not_there_says_so(self) -> None:
        quota = CallQuota(RedisQuotaStore("redis://127.0.0.1:1/0", "app", "secret-canary"), per_hour=5, per_second=None)

        with pytest.raises(QuotaStorageError, match=r"in Redis at 127.0.0.1:1 cannot be reached .*quota_storage") as it:
            quota.acquire("call")

        assert it.value.transient
        assert "canary" not in str(it.value)

    @pytest.mark.parametrize("url", ["ftp://here", "redis://here:port", "nonsense"], ids=["scheme", "port", "text"])
    def test_refuses_other_addresses(self, url: str) -> None:
        with pytest.raises(ConfigurationError, match="give a URL such as redis://"):
            RedisQuotaStore(url, "app")
