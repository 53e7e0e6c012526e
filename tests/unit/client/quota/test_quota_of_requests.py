"""What the quota counts of calls that go well, go wrong, or never go."""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_drchrono.client import (
    AsyncDrChronoClient,
    AuthenticationError,
    CallQuota,
    ConfigurationError,
    DrChronoClient,
    DrChronoError,
    MemoryTokenStore,
    RateLimitedError,
    auth,
)
from airflow_provider_drchrono.client.quota.stores import QuotaStorageError
from airflow_provider_drchrono.sandbox import Sandbox
from tests.unit.client.servers import Reply, ScriptedApi
from tests.unit.client.support import sandbox_settings, settings_for

Connect = Callable[..., DrChronoClient]


class Witness:
    """A quota that lets everybody through after the given waits, and remembers what it noted."""

    def __init__(self, *waits: float) -> None:
        self.waits = list(waits)
        self.asked: list[str] = []
        self.noted: list[dict[str, Any]] = []

    def acquire(self, call: str) -> float:
        self.asked.append(call)
        return self.waits.pop(0) if self.waits else 0.0

    def settle(self, call: str, **end: Any) -> None:
        self.noted.append({"call": call, **end})


def test_a_call_is_asked_for_and_settled_under_one_id(api: ScriptedApi, connect: Connect) -> None:
    api.script += [Reply(headers={"Date": "Sun, 06 Nov 2026 08:50:00 GMT"})]
    quota = Witness(0.001, 0.001)
    connect(quota=quota).current_user()

    assert quota.asked == [quota.asked[0]] * 3
    (end,) = quota.noted
    assert end["call"] == quota.asked[0]
    assert end["sent"] is True
    assert end["server_time"] == datetime(2026, 11, 6, 8, 50, tzinfo=UTC)
    assert end["refused_for"] is None


def test_each_attempt_is_a_call_of_its_own(api: ScriptedApi, connect: Connect) -> None:
    api.script += [Reply(500), Reply(401)]
    quota = Witness()
    connect(quota=quota).current_user()

    assert len(set(quota.asked)) == len(quota.noted) == len(api.seen) == 3


def test_a_429_is_passed_on_with_its_wait(api: ScriptedApi, connect: Connect) -> None:
    api.script += [Reply(429, {"detail": "Request was throttled. Expected available in 1234 seconds."})]
    quota = Witness()
    with pytest.raises(RateLimitedError):
        connect(quota=quota).current_user()

    assert [end["refused_for"] for end in quota.noted] == [1234.0]


def test_a_429_without_a_wait_is_one_of_the_second_first_and_then_of_the_hour(
    api: ScriptedApi, connect: Connect
) -> None:
    api.script += [Reply(429, headers={"Date": "Sun, 06 Nov 2026 08:50:00 GMT"})] * 2
    quota = Witness()
    with pytest.raises(RateLimitedError):
        connect(quota=quota, max_wait=1.0).current_user()

    assert [end["refused_for"] for end in quota.noted] == [1.0, 600.0]


def test_what_was_never_sent_is_given_back(connect: Connect) -> None:
    quota = Witness()
    client = connect(quota=quota, base_url="http://127.0.0.1:1", max_attempts=2, token_store=stored())
    with pytest.raises(DrChronoError):
        client.current_user()

    assert [end["sent"] for end in quota.noted] == [False, False]
    assert client.calls == 0


def test_no_place_is_held_while_there_is_no_token(api: ScriptedApi, connect: Connect) -> None:
    quota = Witness()
    with pytest.raises(ConfigurationError, match="no refresh token") as caught:
        connect(quota=quota, refresh_token=None).current_user()

    assert quota.asked == []
    assert caught.value.operation_id == "users_read"


@pytest.fixture
def later(mocker: MockerFixture) -> Callable[[float], None]:
    """Makes the tokens' clock go forward: ``later(seconds)``."""
    clock_offset = 0.0

    def later(seconds: float) -> None:
        nonlocal clock_offset
        clock_offset += seconds

    mocker.patch.object(auth, "time", SimpleNamespace(time=lambda: time.time() + clock_offset))
    return later


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_call_whose_token_ran_out_in_the_queue_and_is_not_renewed_does_not_count(
    api: ScriptedApi, later: Callable[[float], None], colour: str
) -> None:
    class Crowded(CallQuota):
        def acquire(self, call: str) -> float:
            later(200_000)
            return super().acquire(call)

    api.token_script += [Reply(400, {"error": "invalid_grant"})]
    quota = Crowded(per_hour=5, per_second=None)
    settings = settings_for(api.url)

    async def work() -> int:
        async with AsyncDrChronoClient(settings, token_store=stored(), quota=quota) as client:
            with pytest.raises(AuthenticationError):
                await client.current_user()
            return client.calls

    if colour == "async":
        calls = asyncio.run(work())
    else:
        with DrChronoClient(settings, token_store=stored(), quota=quota) as client:
            with pytest.raises(AuthenticationError):
                client.current_user()
            calls = client.calls

    assert api.seen == []
    assert len(api.token_requests) == 1
    assert (quota.status().used, calls) == (0, 0)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply(drop=True), id="dropped"),
        pytest.param(Reply(200, b'{"a": '), id="malformed"),
        *(pytest.param(Reply(status), id=str(status)) for status in (401, 403, 404, 429, 500)),
    ],
)
def test_whatever_was_sent_counts_however_it_ended(api: ScriptedApi, connect: Connect, reply: Reply) -> None:
    api.script += [reply] * 2
    quota = CallQuota(per_hour=5, per_second=None)
    client = connect(quota=quota, max_attempts=1)
    with pytest.raises(DrChronoError):
        client.current_user()

    assert quota.status().used == client.calls == len(api.seen) > 0


def test_a_call_that_gives_up_leaves_the_queue(api: ScriptedApi, connect: Connect) -> None:
    quota = Witness(100.0)
    with pytest.raises(RateLimitedError, match="our own count"):
        connect(quota=quota).current_user()

    assert quota.noted == [{"call": quota.asked[0], "sent": False}]


def test_short_waits_are_not_slept_without_end(api: ScriptedApi, connect: Connect) -> None:
    quota = Witness(*[0.1] * 100)
    began = time.monotonic()
    with pytest.raises(RateLimitedError):
        connect(quota=quota, max_wait=0.2).current_user()

    assert len(quota.asked) == 5
    assert time.monotonic() - began < 2


def test_short_refusals_are_not_slept_without_end(api: ScriptedApi, connect: Connect) -> None:
    api.script += [Reply(429, headers={"Retry-After": "0.1"})] * 100
    with pytest.raises(RateLimitedError):
        connect(max_attempts=100, max_wait=0.2).current_user()

    assert len(api.seen) == 5


class LostCount(Witness):
    def settle(self, call: str, **end: Any) -> None:
        raise QuotaStorageError("The count is gone")


def test_an_answer_is_worth_more_than_its_count(
    api: ScriptedApi, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    api.script += [Reply(201, {"id": 7})]
    with caplog.at_level(logging.WARNING):
        assert connect(quota=LostCount()).create("patients", {"first_name": "x"}) == {"id": 7}

    assert "The count is gone" in caplog.messages


def test_a_cancelled_task_gives_its_place_back(api: ScriptedApi) -> None:
    quota = Witness()

    async def work() -> None:
        settings = settings_for(api.url)
        async with AsyncDrChronoClient(settings, token_store=stored(), quota=quota) as client:
            api.script += [Reply(hang=True)]
            call = asyncio.create_task(client.current_user())
            while not api.seen:
                await asyncio.sleep(0.01)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    asyncio.run(work())

    assert quota.noted == [{"call": quota.asked[0], "sent": True}]


def test_a_task_that_is_cancelled_in_the_queue_leaves_it(api: ScriptedApi) -> None:
    quota = Witness(60.0)

    async def work() -> None:
        settings = settings_for(api.url, max_wait=100.0)
        async with AsyncDrChronoClient(settings, token_store=stored(), quota=quota) as client:
            call = asyncio.create_task(client.current_user())
            while not quota.asked:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    asyncio.run(work())

    assert quota.noted == [{"call": quota.asked[0], "sent": False}]
    assert api.seen == []


@pytest.mark.parametrize("minutes", [10, -10], ids=["clock_offset", "behind"])
def test_the_hour_is_the_servers_though_clocks_are_ten_minutes_apart(minutes: int) -> None:
    start = datetime.now(UTC) + timedelta(minutes=minutes)
    # The hour must not end while the test runs.
    start += timedelta(minutes=2 if start.minute == 59 else 0)
    quota = CallQuota(per_hour=5, per_second=None)
    with (
        Sandbox(patients=1, start=start, quota_per_hour=5) as sandbox,
        DrChronoClient(sandbox_settings(sandbox), token_store=MemoryTokenStore(), quota=quota) as drchrono,
    ):
        for _ in range(5):
            list(drchrono.list("offices"))
        with pytest.raises(RateLimitedError) as caught:
            list(drchrono.list("offices"))
        now = sandbox.clock.now()
        hour_left = timedelta(hours=1) - timedelta(minutes=now.minute, seconds=now.second)

    assert caught.value.retry_at is not None
    assert abs(caught.value.retry_at - datetime.now(UTC) - hour_left) < timedelta(seconds=3)
    assert [entry.status for entry in sandbox.journal.calls()] == [200] * 5


def stored() -> MemoryTokenStore:
    from tests.unit.client.test_auth import stored as stored_token

    return MemoryTokenStore(stored_token())
