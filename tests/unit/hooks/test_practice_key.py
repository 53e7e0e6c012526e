"""What tells the practices of two connections apart, also when they belong to one application."""

from collections.abc import Iterator

import pytest

from airflow_provider_drchrono.client import ServerError, Token, grant_id_of
from airflow_provider_drchrono.hooks.connection import quota_store_of
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook, token_store_of
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from tests.support.running import connected_sandbox
from tests.unit.state.shared_variables import MemoryVariables


@pytest.fixture
def hook(sandbox: Sandbox) -> Iterator[DrChronoHook]:
    hook = DrChronoHook()
    yield hook
    hook.close()


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    monkeypatch.setattr("airflow_provider_drchrono.client.retry.FIRST_DELAY", 0.001)
    with connected_sandbox(monkeypatch, patients=1) as running:
        yield running


def test_a_practice_goes_by_its_group_and_is_asked_for_once(sandbox: Sandbox, hook: DrChronoHook) -> None:
    assert [hook.practice_key for _ in range(2)] == ["practice_group:1"] * 2
    assert [entry.path for entry in sandbox.journal].count("/api/users/current") == 1


def test_where_the_user_may_not_ask_a_practice_goes_by_its_grant(sandbox: Sandbox, hook: DrChronoHook) -> None:
    sandbox.faults.add(Fault(kind="status", operation="users_read", status=403, times=None))

    assert hook.practice_key == f"grant:{grant_id_of(sandbox.refresh_token)}"
    assert sandbox.refresh_token not in hook.practice_key


def test_a_fault_that_passes_does_not_pass_for_another_practice(sandbox: Sandbox, hook: DrChronoHook) -> None:
    sandbox.faults.add(Fault(kind="status", operation="users_read", status=500, times=None))

    with pytest.raises(ServerError):
        _ = hook.practice_key


def test_connections_of_one_application_share_its_quota_and_not_its_grants(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = MemoryVariables()
    monkeypatch.setattr("airflow_provider_drchrono.state.variables.AirflowVariables", lambda team=None: variables)
    settings = DrChronoHook().settings
    north = settings.model_copy(update={"refresh_token": None})
    stores = [token_store_of(north, "north"), token_store_of(north, "south"), token_store_of(settings, "west")]

    for number, store in enumerate(stores):
        assert store.load() is None
        store.save(Token(f"access-{number}", grant_id=store.grant_id))

    assert [store.load().access_token for store in stores] == ["access-0", "access-1", "access-2"]
    assert len({store.key for store in stores}) == 1
    assert quota_store_of(north) is quota_store_of(north.model_copy())
