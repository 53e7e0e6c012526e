from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_drchrono.client import AsyncDrChronoClient, DrChronoClient, MemoryTokenStore, TokenStore
from tests.unit.client.servers import ScriptedApi, scripted_api
from tests.unit.client.support import sandbox_settings, settings_for

if TYPE_CHECKING:
    from airflow_provider_drchrono.sandbox import Sandbox


@pytest.fixture
def api() -> Iterator[ScriptedApi]:
    with scripted_api() as running:
        yield running


@pytest.fixture
def connect(api: ScriptedApi) -> Iterator[Callable[..., DrChronoClient]]:
    """Makes a client of the scripted server: ``connect(max_attempts=2, token_store=store)``."""
    clients: list[DrChronoClient] = []

    def make(token_store: TokenStore | None = None, quota: Any = None, **changes: Any) -> DrChronoClient:
        settings = settings_for(api.url, **changes)
        clients.append(DrChronoClient(settings, token_store=token_store, quota=quota))
        return clients[-1]

    yield make
    for each in clients:
        each.close()


@pytest.fixture(scope="module")
def sandbox() -> Iterator["Sandbox"]:
    """A practice of 60 patients, 120 appointments, and no quota."""
    from airflow_provider_drchrono.sandbox import Sandbox

    with Sandbox(
        patients=60, appointments_per_patient=2, seed=7, quota_per_hour=None, quota_per_second=None
    ) as running:
        yield running


@pytest.fixture(scope="module")
def sandbox_store() -> TokenStore:
    """One store for all clients of a module's sandbox: its first refresh token works only once."""
    return MemoryTokenStore()


@pytest.fixture
def drchrono(sandbox: "Sandbox", sandbox_store: TokenStore) -> Iterator[DrChronoClient]:
    with DrChronoClient(sandbox_settings(sandbox), token_store=sandbox_store) as client:
        yield client


@pytest.fixture
def connect_async(sandbox: "Sandbox", sandbox_store: TokenStore) -> Callable[..., AsyncDrChronoClient]:
    """Makes an asynchronous client of the sandbox; it belongs to the loop that enters it."""
    return lambda **changes: AsyncDrChronoClient(sandbox_settings(sandbox, **changes), token_store=sandbox_store)
