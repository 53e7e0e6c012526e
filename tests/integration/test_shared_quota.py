"""Sixteen processes spend one application's quota as fast as they can, against a sandbox that counts for itself."""

import multiprocessing
import os
import socket
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.client import (
    CallQuota,
    ClientSettings,
    DrChronoClient,
    FileTokenStore,
    RateLimitedError,
)
from airflow_provider_drchrono.client.quota.stores import FileQuotaStore, QuotaStore, RedisQuotaStore, quota_key
from airflow_provider_drchrono.sandbox import Sandbox
from tests.integration.conftest import RedisServer

pytestmark = pytest.mark.integration

PROCESSES = 16
# DrChrono grants 500, which take a minute to spend.
PER_HOUR, REDIS_PER_HOUR = (500, 500) if os.environ.get("THOROUGH_TESTS") else (250, 200)


@pytest.fixture(scope="module")
def redis_url(redis_server: RedisServer) -> str:
    return redis_server.url


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """DrChrono's limits, on a clock ten minutes from ours and far from the top of the hour."""
    start = datetime.now(UTC).replace(minute=10) + timedelta(hours=1)
    with Sandbox(patients=1, appointments_per_patient=1, start=start, quota_per_hour=PER_HOUR) as running:
        yield running


def store_in(place: str, name: str) -> QuotaStore:
    return RedisQuotaStore(place, name) if place.startswith("redis") else FileQuotaStore(Path(place), name)


def be_another_host() -> None:
    """Take another name, and a clock that is three minutes fast."""
    right = time.time
    time.time = lambda: right() + 180
    socket.gethostname = lambda: "another-host"


def spend(options: dict[str, Any], place: str, folder: Path, number: int, begin: Any) -> None:
    """Be a process that calls until the quota is used up, and leave word how many calls it made and how it ended."""
    if place.startswith("redis") and number % 2:
        be_another_host()
    settings = ClientSettings(**options)
    store = store_in(place, quota_key(settings.client_id))
    quota = CallQuota(store, per_hour=settings.quota_per_hour, per_second=9)
    with DrChronoClient(settings, token_store=FileTokenStore(folder / "token"), quota=quota) as drchrono:
        # Whoever is ready first would have a whole second to itself.
        list(drchrono.list("offices"))
        begin.wait()
        began = time.monotonic()
        try:
            while True:
                began = time.monotonic()
                list(drchrono.list("offices"))
        except RateLimitedError:
            (folder / f"process-{number}").write_text(f"{drchrono.calls} {time.monotonic() - began}")


def spend_everything(
    sandbox: Sandbox, place: str, folder: Path, per_hour: int = PER_HOUR
) -> tuple[list[int], list[float]]:
    """Return the calls of each process, and the seconds that each was held by its last one."""
    options = {
        "quota_per_hour": per_hour,
        "client_id": sandbox.client_id,
        "client_secret": sandbox.client_secret,
        "refresh_token": sandbox.refresh_token,
        "base_url": sandbox.url,
    }
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    begin = context.Barrier(PROCESSES)
    processes = [
        context.Process(target=spend, args=(options, place, folder, number, begin)) for number in range(PROCESSES)
    ]
    for each in processes:
        each.start()
    for each in processes:
        each.join()
    words = [(folder / f"process-{number}").read_text().split() for number in range(PROCESSES)]
    return [int(calls) for calls, _ in words], [float(seconds) for _, seconds in words]


def assert_well_spent(sandbox: Sandbox, calls: list[int], held: list[float], per_hour: int = PER_HOUR) -> None:
    answers = [entry.status for entry in sandbox.journal.calls()]
    mean = statistics.mean(calls)
    seconds = (sandbox.journal[-1].at - sandbox.journal[1].at).total_seconds()
    print(
        f"{len(answers)} of {per_hour} calls in {seconds:.0f} s, {answers.count(429)} refused, each process "
        f"{min(calls)} to {max(calls)}, the last held for {max(held):.1f} s"
    )
    assert answers.count(429) == 0
    assert per_hour * 0.98 <= len(answers) == sum(calls) <= per_hour
    assert min(calls) >= 0.8 * mean, calls
    assert max(calls) <= 1.2 * mean, calls
    assert max(held) < 10


def test_processes_of_one_host_never_meet_a_429(sandbox: Sandbox, tmp_path: Path) -> None:
    calls, held = spend_everything(sandbox, str(tmp_path / "quota"), tmp_path)

    assert_well_spent(sandbox, calls, held)


def test_two_hosts_with_redis_never_meet_a_429(sandbox: Sandbox, redis_url: str, tmp_path: Path) -> None:
    calls, held = spend_everything(sandbox, redis_url, tmp_path, REDIS_PER_HOUR)

    assert_well_spent(sandbox, calls, held, REDIS_PER_HOUR)
    quota = CallQuota(RedisQuotaStore(redis_url, quota_key(sandbox.client_id)), per_hour=PER_HOUR, per_second=9)
    by = {host: used for _, host, used in quota.status().by}
    assert len(by) == 2
    assert by["another-host"] == sum(calls[1::2])


def test_redis_keeps_the_count_for_the_whole_hour_and_not_for_ever(redis_url: str) -> None:
    import redis

    quota = CallQuota(RedisQuotaStore(redis_url, "lasting"), per_hour=5, per_second=None)
    assert quota.acquire("call") == 0

    with redis.Redis.from_url(redis_url) as server:
        (key,) = server.keys("*lasting*")
        assert 3600 <= server.ttl(key) <= 86_400


def test_a_quota_that_somebody_else_spent_holds_nobody_up(sandbox: Sandbox, tmp_path: Path) -> None:
    already = PER_HOUR - 20
    for second in range(already):
        earlier = sandbox.clock.now() - timedelta(seconds=already - second)
        assert sandbox.app.quota.spend(sandbox.client_id, earlier) is None

    calls, held = spend_everything(sandbox, str(tmp_path / "quota"), tmp_path)

    refused = len(sandbox.journal.calls(status=429))
    assert sum(calls) - refused == 20
    # Those that were under way when the first one was refused.
    assert 1 <= refused <= 9
    assert max(held) < 10
