"""What hosts share by themselves, and what the product says where they share too little."""

import logging
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono import compat
from airflow_provider_drchrono.client import CallQuota, ClientSettings
from airflow_provider_drchrono.client.quota.stores import FileQuotaStore, MemoryQuotaStore, QuotaStorageError
from airflow_provider_drchrono.hooks import many_hosts
from airflow_provider_drchrono.hooks.connection import quota_of, quota_store_of
from airflow_provider_drchrono.hooks.many_hosts import ASK_AGAIN, CeleryQuotaStore, quota_problem, staging_problem

CELERY = "airflow.providers.celery.executors.celery_executor.CeleryExecutor"
LIMITS = CallQuota(per_hour=500, per_second=9).limits
BROKER = "redis://:canary@broker.example:6379/0"


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    quota_store_of.cache_clear()


def settings(**changes: Any) -> ClientSettings:
    return ClientSettings(**{"client_id": "id", "client_secret": "secret", **changes})


def configure(monkeypatch: pytest.MonkeyPatch, executor: str, broker: str | None = None) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    if broker is not None:
        monkeypatch.setenv("AIRFLOW__CELERY__BROKER_URL", broker)


@pytest.mark.parametrize(
    ("executor", "many"),
    [
        ("LocalExecutor", None),
        ("SequentialExecutor", None),
        ("CeleryExecutor", "CeleryExecutor"),
        (CELERY, "CeleryExecutor"),
        ("LocalExecutor,CeleryExecutor", "CeleryExecutor"),
        ("LocalExecutor, KubernetesExecutor", "KubernetesExecutor"),
        (f"LocalExecutor,far:{CELERY}", "CeleryExecutor"),
        ("LocalExecutor;team_a=EdgeExecutor", "EdgeExecutor"),
    ],
)
def test_which_executors_may_use_several_hosts(
    monkeypatch: pytest.MonkeyPatch, executor: str, many: str | None
) -> None:
    configure(monkeypatch, executor)

    assert compat.executor_of_many_hosts() == many


@pytest.mark.parametrize(
    ("executor", "broker", "found"),
    [
        ("CeleryExecutor", BROKER, True),
        (CELERY, "rediss://broker.example/1?ssl_cert_reqs=required", True),
        # Wherever Celery's provider is installed, the setting has a default that leads nowhere.
        ("LocalExecutor", BROKER, False),
        ("CeleryExecutor", "amqp://broker.example", False),
        ("CeleryExecutor", "sentinel://broker.example:26379", False),
        ("CeleryExecutor", "redis://a.example/0;redis://b.example/0", False),
        ("CeleryExecutor", "redis+socket:///run/redis.sock", False),
        ("CeleryExecutor", "", False),
    ],
)
def test_the_redis_of_celery(monkeypatch: pytest.MonkeyPatch, executor: str, broker: str, found: bool) -> None:
    configure(monkeypatch, executor, broker)

    assert compat.celery_redis() == (broker if found else None)


def test_calls_are_counted_in_the_redis_of_celery(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    configure(monkeypatch, "CeleryExecutor", BROKER)

    assert isinstance(quota_store_of(settings()), CeleryQuotaStore)
    assert quota_problem(settings()) is None
    assert caplog.messages == []


def test_a_store_that_the_connection_names_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, "CeleryExecutor", BROKER)

    store = quota_store_of(settings(quota_storage="redis://named.example/0"))

    assert not isinstance(store, CeleryQuotaStore)


def test_hosts_that_share_no_count_are_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    configure(monkeypatch, "CeleryExecutor", "amqp://broker.example")

    with caplog.at_level(logging.WARNING):
        stores = [quota_store_of(settings()) for _ in range(3)]

    assert isinstance(stores[0], FileQuotaStore)
    (message,) = caplog.messages
    assert message == quota_problem(settings())
    assert "CeleryExecutor may run tasks on several hosts" in message
    assert "quota_storage of the connection" in message


@pytest.mark.parametrize(
    ("executor", "changes"),
    [
        ("LocalExecutor", {}),
        ("KubernetesExecutor", {"quota_per_hour": 0, "quota_per_second": 0}),
        ("KubernetesExecutor", {"quota_storage": "redis://named.example/0"}),
    ],
)
def test_who_is_told_nothing_about_the_count(
    monkeypatch: pytest.MonkeyPatch, executor: str, changes: dict[str, Any]
) -> None:
    configure(monkeypatch, executor)

    assert quota_problem(settings(**changes)) is None


def test_a_redis_of_celery_whose_url_is_not_understood_costs_the_count_and_no_task(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    configure(monkeypatch, "CeleryExecutor", "redis://:canary@broker.example:first/0")

    assert isinstance(quota_store_of(settings()), FileQuotaStore)
    assert "[celery] broker_url is not understood" in caplog.text
    assert "canary" not in caplog.text


def test_without_the_library_celerys_redis_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    configure(monkeypatch, "CeleryExecutor", BROKER)
    monkeypatch.setattr(many_hosts, "find_spec", lambda name: None)

    assert isinstance(quota_store_of(settings()), FileQuotaStore)
    assert "quota_storage" in caplog.text


def test_pages_on_the_disk_of_one_host_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, "LocalExecutor")
    assert staging_problem(None) is None

    configure(monkeypatch, "KubernetesExecutor")
    problem = staging_problem(None)
    assert problem is not None
    assert "KubernetesExecutor may run tasks on several hosts" in problem
    assert "staging_path" in problem
    assert staging_problem("s3://bucket/pages") is None

    monkeypatch.setenv("AIRFLOW__DRCHRONO__STAGING_PATH", "/mnt/shared")
    assert staging_problem(None) is None


def test_a_redis_of_celery_that_is_gone_leaves_each_host_to_itself_and_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Gone(MemoryQuotaStore):
        gone = True
        asked = 0

        def update(self, change: Any) -> Any:
            self.asked += 1
            if self.gone:
                raise QuotaStorageError("gone")
            return super().update(change)

    shared, own, now = Gone(), MemoryQuotaStore(), [1000.0]
    monkeypatch.setattr(many_hosts.time, "monotonic", lambda: now[0])
    store = CeleryQuotaStore(shared, own)

    def take(call: str) -> Any:
        return store.update(lambda state, at: state.admit(call, ("conn", "host"), LIMITS, at))

    with caplog.at_level(logging.WARNING):
        assert [take(f"call-{each}") for each in range(3)] == [0, 0, 0]
    assert shared.asked == 1
    # A call that goes is counted where the next one looks.
    assert own.update(lambda state, at: state.total) == 3
    (message,) = caplog.messages
    assert "[celery] broker_url" in message

    now[0] += ASK_AGAIN
    shared.gone = False
    assert take("call-3") == 0
    assert own.update(lambda state, at: state.total) == 3
    assert shared.asked == 2


def test_a_broker_that_refuses_costs_a_call_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    configure(monkeypatch, "CeleryExecutor", f"redis://:canary@127.0.0.1:{port}/0")
    quota = quota_of(settings(), "conn")
    assert quota is not None

    began = time.monotonic()
    assert [quota.acquire(f"call-{each}") for each in range(3)] == [0, 0, 0]
    assert time.monotonic() - began < 4
    assert quota.status().used == 3
