"""Runs an operator's execute as a task does, without a DAG run around it."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.bases.operator import ExecutorSafeguard

from airflow_provider_drchrono.client import MemoryTokenStore
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.sandbox import Sandbox


class MemoryStore:
    """What Airflow 3.3 gives a task as ``task_state_store``, for the life of a test."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.log: list[str] = []

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        self.log.append(f"set {key}")
        self.values[key] = value

    def delete(self, key: str) -> None:
        self.log.append(f"delete {key}")
        self.values.pop(key, None)


def context_of(store: MemoryStore | None = None) -> dict[str, Any]:
    """Return as much of a task's context as the operators look at."""
    ti = SimpleNamespace(dag_id="a_dag", run_id="a_run", task_id="a_task", map_index=-1, try_number=1)
    return {"ti": ti, "task_state_store": store or MemoryStore()}


def execute(operator: Any, context: dict[str, Any] | None = None) -> Any:
    """Call an operator's ``execute`` with the token by which Airflow tells its own calls from others."""
    sentinel = {f"{type(operator).__name__}__sentinel": ExecutorSafeguard.sentinel_value}
    return operator.execute(context_of() if context is None else context, **sentinel)


@contextmanager
def connected_sandbox(patch: pytest.MonkeyPatch, **options: Any) -> Iterator[Sandbox]:
    """Serve a sandbox that ``drchrono_default`` leads to, its tokens kept in memory instead of Airflow's database."""
    tokens = MemoryTokenStore()
    tokens.grant_id = ""  # type: ignore[attr-defined]
    store = cached_property(lambda hook: tokens)
    store.__set_name__(DrChronoHook, "token_store")
    patch.setattr(DrChronoHook, "token_store", store)
    with Sandbox(**{"quota_per_hour": None, "quota_per_second": None, **options}) as sandbox:
        patch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox))
        yield sandbox


def unlimited(sandbox: Sandbox, **extra: Any) -> str:
    """Return the sandbox's connection as JSON, without a quota of the client's own, so that no test waits."""
    import json

    connection = json.loads(sandbox.connection_json())
    connection["extra"] |= {"quota_per_hour": 0, "quota_per_second": 0} | extra
    return json.dumps(connection)
