import json
import logging
import stat
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono import compat
from airflow_provider_drchrono.client import ClientSettings
from airflow_provider_drchrono.client.quota.stores import FileQuotaStore, MemoryQuotaStore, RedisQuotaStore
from airflow_provider_drchrono.hooks import connection as quota
from airflow_provider_drchrono.hooks.connection import quota_of, quota_store_of
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    quota.quota_store_of.cache_clear()
    return tmp_path / "drchrono" / "quota"


def settings(**changes: Any) -> ClientSettings:
    return ClientSettings(**{"client_id": "id", "client_secret": "secret", **changes})


def test_a_connection_without_limits_has_no_quota() -> None:
    assert quota_of(settings(quota_per_hour=0, quota_per_second=0), "conn") is None


def test_calls_are_counted_for_the_whole_host(folder: Path) -> None:
    first, second = (quota_of(settings(quota_per_hour=each), f"conn-{each}") for each in (3, 400))
    assert first
    assert second

    assert [first.acquire(f"first-{each}") > 0 for each in range(4)] == [False] * 3 + [True]

    assert second.status().used == 3
    assert [(name, calls) for name, _, calls in second.status().by] == [("conn-3", 3)]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_reserve_is_left(folder: Path) -> None:
    sensor = quota_of(settings(quota_per_hour=3), "conn", reserve=2)
    action = quota_of(settings(quota_per_hour=3), "conn")
    assert sensor
    assert action

    assert [sensor.acquire(f"sensor-{each}") > 0 for each in range(2)] == [False, True]
    assert [action.acquire(f"action-{each}") > 0 for each in range(3)] == [False, False, True]


def test_airflows_configuration_names_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__DRCHRONO__QUOTA_PATH", str(tmp_path / "elsewhere"))

    store = quota_store_of(settings())

    assert isinstance(store, FileQuotaStore)
    assert store.path.parent == tmp_path / "elsewhere" == compat.quota_folder()


def test_a_folder_that_cannot_be_made_leaves_each_process_to_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "drchrono").touch()

    with caplog.at_level(logging.WARNING):
        store = quota_store_of(settings())

    assert isinstance(store, MemoryQuotaStore)
    assert quota_store_of(settings()) is store
    (message,) = caplog.messages
    assert "set quota_path" in message


def test_redis_is_used_where_the_connection_names_one() -> None:
    store = quota_store_of(settings(quota_storage="valkey://127.0.0.1:1/0", quota_storage_password="canary"))

    assert isinstance(store, RedisQuotaStore)


def test_the_test_of_a_connection_counts_for_the_application_and_under_no_random_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tests.support.running import connected_sandbox

    with connected_sandbox(monkeypatch, patients=1) as sandbox:
        connection = json.loads(sandbox.connection_json())
        connection["extra"] |= {"quota_per_hour": 500, "quota_per_second": 0}
        monkeypatch.setenv("AIRFLOW_CONN_ABCD1234", json.dumps(connection))
        hook = DrChronoHook("abcd1234")

        assert hook.test_connection()[0]

        others = quota_of(hook.settings, "practice")
        assert others
        assert [name for name, _, _ in others.status().by] == ["connection test"]
        assert others.status().used > 0
