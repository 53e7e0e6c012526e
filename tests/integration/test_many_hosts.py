"""Celery on two hosts that share no disk: one quota, one token, and a sync that one begins and the other ends.

It runs in an environment of its own: ``make test-many-hosts``.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from airflow_provider_drchrono.sandbox import Fault, Sandbox
from tests.integration.celery_hosts import CeleryAirflow, Host, ObjectStore, can_separate, celery_airflow
from tests.integration.conftest import PostgresServer, RedisServer
from tests.integration.live_airflow import CONNECTED, url_of
from tests.integration.live_practice import eventually

pytestmark = [
    pytest.mark.integration,
    pytest.mark.postgres,
    pytest.mark.skipif(find_spec("celery") is None, reason="it takes Celery: make test-many-hosts"),
]

PATIENTS, VISITS, PAGE = 30, 20, 20
PAGES = PATIENTS * VISITS // PAGE
TASKS, CALLS = 60, 3
AHEAD = 300
"""Seconds by which the second host's clock is fast."""

GONE = 60 if os.environ.get("THOROUGH_TESTS") else 8
"""Seconds for which Redis is gone."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """DrChrono's limits: a call too many is a 429."""
    with Sandbox(patients=PATIENTS, appointments_per_patient=VISITS) as running:
        yield running


@pytest.fixture(scope="module")
def warehouse(postgres_server: PostgresServer) -> str:
    address = url_of(postgres_server, "postgres", "postgresql")
    with closing(psycopg2.connect(address)) as connection:
        connection.autocommit = True
        connection.cursor().execute("CREATE DATABASE many_hosts_warehouse")
    return url_of(postgres_server, "many_hosts_warehouse", "postgresql")


class Scene:
    """Everything that runs: what belongs to all, and two hosts, of which the first takes syncs."""

    def __init__(
        self, airflow: CeleryAirflow, store: ObjectStore, sandbox: Sandbox, warehouse: str, folder: Path
    ) -> None:
        self.airflow = airflow
        self.store = store
        self.sandbox = sandbox
        self.warehouse = warehouse
        self.first = Host(airflow, "worker-1", folder, others=["worker-2"], queues=["default", "syncs"])
        self.second = Host(airflow, "worker-2", folder, others=["worker-1"], queues=["default"], ahead=AHEAD)

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the ids in the warehouse's table."""
        with closing(psycopg2.connect(self.warehouse)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT id FROM appointments ORDER BY id")
            return cursor.fetchall()

    def pages(self) -> Counter[str]:
        """Return how often each page of the synced list has been asked for."""
        return Counter(
            json.dumps(each.query, sort_keys=True) for each in self.sandbox.journal.calls(resource="appointments")
        )

    def wait_for_pages(self, number: int) -> None:
        eventually(f"{number} pages", lambda: self.pages().total() >= number, pause=0.05)

    def token_requests(self) -> int:
        return sum(each.path == "/o/token/" for each in self.sandbox.journal)

    def refused(self) -> int:
        return len(self.sandbox.journal.calls(status=429))


@pytest.fixture(scope="module")
def scene(
    sandbox: Sandbox,
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    warehouse: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scene]:
    server = {"conn_type": "postgres", "host": "127.0.0.1", "port": postgres_server.port, "login": "postgres"}
    connections = {
        CONNECTED: json.loads(sandbox.connection_json()),
        "drchrono_warehouse": server | {"schema": "many_hosts_warehouse"},
    }
    print(f"hosts have names and process ids of their own: {can_separate()}")
    with celery_airflow(tmp_path_factory.mktemp("control"), postgres_server, redis_server) as (airflow, s3):
        scene = Scene(airflow, s3, sandbox, warehouse, tmp_path_factory.mktemp("hosts"))
        try:
            scene.first.start()
            scene.second.start()
            airflow.wait_until_up()
            airflow.connect(connections | {"aws_default": s3.connection})
            yield scene
        finally:
            scene.first.kill()
            scene.second.kill()


@pytest.fixture(autouse=True)
def _explained(request: pytest.FixtureRequest, scene: Scene) -> Iterator[None]:
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        print(scene.airflow.tails(), scene.first.logs()[-20_000:], scene.second.logs()[-20_000:])


def test_a_sync_goes_on_at_its_page_on_another_host(scene: Scene, redis_server: RedisServer) -> None:
    from celery import Celery

    airflow, sandbox = scene.airflow, scene.sandbox
    sandbox.faults.add(Fault(kind="slow", resource="appointments", times=None, seconds=0.5))
    airflow.unpause("syncing")
    run_id = airflow.trigger("syncing")
    eventually("the second host", lambda: scene.second.is_ready)
    with Celery(broker=redis_server.url) as celery:
        celery.control.add_consumer("syncs", destination=[scene.second.address])
    scene.wait_for_pages(5)
    assert airflow.task("syncing", run_id, "sync")["state"] == "running"

    scene.first.kill()
    read = scene.pages().total()
    sandbox.faults.clear()
    airflow.wait_for_run("syncing", run_id)

    print(f"killed after page {read} of {PAGES}, {scene.pages().total()} were asked for in all")
    assert read < PAGES
    # The page in flight, whose answer nobody saw, is asked for again, and no other one.
    assert scene.pages().total() <= PAGES + 1
    assert len(scene.pages()) == PAGES
    assert airflow.task("syncing", run_id, "sync")["try_number"] == 2
    assert "Resuming after" in scene.second.logs()
    assert scene.rows() == sorted((each["id"],) for each in sandbox.practice.records("appointments"))
    assert scene.store.keys() == []
    assert scene.token_requests() == 1


def test_tasks_go_on_while_redis_is_gone(scene: Scene, redis_server: RedisServer) -> None:
    airflow, sandbox = scene.airflow, scene.sandbox
    sandbox.journal.clear()
    sandbox.faults.add(Fault(kind="slow", resource="appointments", times=None, seconds=0.3))
    run_id = airflow.trigger("syncing", again=True)
    scene.wait_for_pages(3)

    redis_server.kill()
    before, went = scene.pages().total(), time.monotonic()
    # The first of them may have been asked for before.
    scene.wait_for_pages(before + 4)
    time.sleep(max(0.0, went + GONE - time.monotonic()))
    during = scene.pages().total()
    redis_server.start()
    sandbox.faults.clear()
    # Not earlier: a worker of Celery does not begin without its broker.
    scene.first.start()
    airflow.wait_for_run("syncing", run_id)

    print(f"page {before} when Redis went, page {during} of {PAGES} when it came back")
    assert airflow.task("syncing", run_id, "sync")["try_number"] == 1
    assert scene.pages().total() == PAGES
    assert scene.refused() == 0
    assert "cannot be reached" in scene.first.logs() + scene.second.logs()


def test_sixty_tasks_of_two_hosts_share_one_quota_and_one_token(scene: Scene, redis_server: RedisServer) -> None:
    airflow, sandbox = scene.airflow, scene.sandbox
    # A new grant, whose first token all of them want at the same moment.
    connection = json.loads(sandbox.connection_json())
    extra = json.dumps(connection["extra"] | {"refresh_token": sandbox.new_refresh_token()})
    airflow.ask("PATCH", f"connections/{CONNECTED}", json=connection | {"connection_id": CONNECTED, "extra": extra})
    eventually("the first host", lambda: scene.first.is_ready)
    sandbox.journal.clear()
    earlier = counted(redis_server)
    airflow.unpause("crowd")
    began = time.monotonic()

    airflow.wait_for_run("crowd", airflow.trigger("crowd"))

    calls = sandbox.journal.calls(resource="offices")
    print(f"{len(calls)} calls of {TASKS} tasks in {time.monotonic() - began:.0f} s, {scene.refused()} refused")
    assert len(calls) == TASKS * CALLS
    assert scene.refused() == 0
    assert scene.token_requests() == 1
    hosts = airflow.rows("SELECT hostname, count(*) FROM task_instance WHERE dag_id = 'crowd' GROUP BY 1")
    assert sum(count for _, count in hosts) == TASKS
    spent = counted(redis_server) - earlier
    # A new clock hour may have begun meanwhile.
    assert spent.total() == TASKS * CALLS or counted(redis_server).total() < TASKS * CALLS
    if can_separate():
        assert {name for name, _ in hosts} == spent.keys() == {"worker-1", "worker-2"}
    assert "several hosts" not in scene.first.logs() + scene.second.logs()


def counted(server: RedisServer) -> Counter[str]:
    """Return the calls of this hour that Celery's Redis has counted, by host."""
    import redis

    with redis.Redis.from_url(server.url) as client:
        (key,) = client.keys("drchrono:quota:*")
        state = json.loads(client.get(key) or b"")
    return Counter(state["used"][CONNECTED])
