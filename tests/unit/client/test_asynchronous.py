import asyncio
import inspect
import io
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_drchrono.client import (
    AsyncDrChronoClient,
    CallQuota,
    ConfigurationError,
    DrChronoClient,
    InvalidArgumentError,
    MemoryTokenStore,
    Token,
)
from tests.unit.client.servers import Reply, ScriptedApi
from tests.unit.client.support import settings_for

if TYPE_CHECKING:
    from airflow_provider_drchrono.sandbox import Sandbox

ConnectAsync = Callable[..., AsyncDrChronoClient]


def surface(client: type) -> dict[str, list[tuple[str, Any, Any]]]:
    return {
        name: [(each.name, each.kind, each.default) for each in inspect.signature(member).parameters.values()]
        for name, member in vars(client).items()
        if (not name.startswith("_") or name == "__init__") and inspect.isfunction(member)
    }


def test_both_clients_have_the_same_methods_and_arguments() -> None:
    assert surface(AsyncDrChronoClient) == surface(DrChronoClient)
    assert len(surface(DrChronoClient)) > 10
    properties = [
        {name for name, member in vars(each).items() if isinstance(member, property)}
        for each in (DrChronoClient, AsyncDrChronoClient)
    ]
    assert properties[0] == properties[1] == {"settings", "calls", "server_time"}


def test_both_clients_take_arguments_of_the_same_types() -> None:
    for name in surface(DrChronoClient):
        sync, twin = (inspect.signature(getattr(each, name)) for each in (DrChronoClient, AsyncDrChronoClient))
        assert [each.annotation for each in sync.parameters.values()] == [
            each.annotation for each in twin.parameters.values()
        ]
        assert str(twin.return_annotation).removeprefix("Async") == str(sync.return_annotation)


def test_it_does_what_the_other_one_does(sandbox: "Sandbox", connect_async: ConnectAsync) -> None:
    async def work() -> None:
        async with connect_async() as client:
            listed = [each["id"] async for each in client.list("patients")]
            assert sorted(listed) == sorted(each["id"] for each in sandbox.practice.records("patients"))
            pages = [each async for each in client.pages("appointments", {"since": "2000-01-01"})]
            assert [len(each.records) for each in pages] == [20] * 6
            person = {
                "first_name": "A", "last_name": "Sync", "gender": "Other", "date_of_birth": "1990-01-31",
                "doctor": pages[0].records[0]["doctor"],
            }  # fmt: skip
            made = await client.create("patients", person)
            await client.update("patients", made["id"], {"first_name": "B"})
            assert (await client.read("patients", made["id"]))["first_name"] == "B"
            await client.replace("patients", made["id"], person)
            await client.delete("patients", made["id"])
            assert (await client.current_user())["id"]
            document = await client.create(
                "documents",
                {"patient": listed[0], "doctor": person["doctor"], "date": "2026-01-31", "description": "Scan"},
                files={"document": ("scan.pdf", b"%PDF" * 50_000)},
            )
            assert document["id"]
            assert client.server_time is not None
            assert client.calls == len(sandbox.journal.calls()) - before

    before = len(sandbox.journal.calls())
    asyncio.run(work())


def test_wrong_arguments_are_refused_at_once(connect_async: ConnectAsync) -> None:
    async def work() -> None:
        async with connect_async() as client:
            with pytest.raises(InvalidArgumentError):
                client.pages("pacients")
            with pytest.raises(InvalidArgumentError):
                await client.call("pacients_read")

    asyncio.run(work())


def test_errors_of_the_token_name_the_operation(api: ScriptedApi) -> None:
    async def work() -> None:
        async with AsyncDrChronoClient(settings_for(api.url, refresh_token=None)) as client:
            await client.current_user()

    with pytest.raises(ConfigurationError) as caught:
        asyncio.run(work())
    assert caught.value.operation_id == "users_read"


class SlowStore(MemoryTokenStore):
    def load(self) -> Token | None:
        time.sleep(0.8)
        return super().load()

    def save(self, token: Token) -> None:
        time.sleep(0.8)
        super().save(token)


class SlowQuota:
    def __init__(self) -> None:
        self.threads: set[str] = set()

    def acquire(self, call: str) -> float:
        self.threads.add(threading.current_thread().name)
        time.sleep(0.7)
        return 0.0

    def settle(self, call: str, **end: Any) -> None:
        self.threads.add(threading.current_thread().name)
        time.sleep(0.7)


def test_nothing_blocks_the_loop(api: ScriptedApi, tmp_path: Any) -> None:
    upload = tmp_path / "scan.pdf"
    upload.write_bytes(b"x" * 5_000_000)
    quota = SlowQuota()

    async def work() -> tuple[float, int]:
        settings = settings_for(api.url, max_wait=2.0)
        # The first attempt fails, so that a wait and a repeat are part of it.
        api.script += [Reply(500), Reply(401), Reply(body={"id": 1})]
        async with AsyncDrChronoClient(settings, token_store=SlowStore(), quota=quota) as client:
            longest, beats = 0.0, 0

            async def beat() -> None:
                nonlocal longest, beats
                while True:
                    began = time.monotonic()
                    await asyncio.sleep(0.005)
                    longest = max(longest, time.monotonic() - began)
                    beats += 1

            heart = asyncio.create_task(beat())
            await client.update("documents", 1, {"description": "x"}, files={"document": upload})
            heart.cancel()
            return longest, beats

    longest, beats = asyncio.run(work())
    assert len(api.seen) == 3
    assert threading.current_thread().name not in quota.threads
    assert beats > 50
    assert longest < 0.5


def test_files_are_read_beside_the_loop(api: ScriptedApi) -> None:
    readers: set[str] = set()

    class Scan(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if size:  # Looking whether a file is binary reads nothing.
                readers.add(threading.current_thread().name)
            return super().read(size)

    async def work() -> None:
        async with AsyncDrChronoClient(settings_for(api.url), token_store=MemoryTokenStore()) as client:
            await client.update("documents", 1, {}, files={"document": Scan(b"x" * 200_000)})

    asyncio.run(work())
    assert len(api.seen[0].body) > 200_000
    assert readers
    assert threading.current_thread().name not in readers


def test_a_quota_waits_without_blocking(api: ScriptedApi) -> None:
    async def work() -> float:
        settings = settings_for(api.url, max_wait=2.0)
        quota = CallQuota(per_hour=None, per_second=3)
        async with AsyncDrChronoClient(settings, token_store=MemoryTokenStore(), quota=quota) as client:
            began = time.monotonic()
            await asyncio.gather(*(client.current_user() for _ in range(5)))
            return time.monotonic() - began

    assert 0.5 < asyncio.run(work()) < 3.0
    assert len(api.seen) == 5


def test_many_tasks_renew_once(api: ScriptedApi) -> None:
    async def work() -> None:
        async with AsyncDrChronoClient(settings_for(api.url), token_store=MemoryTokenStore()) as client:
            await asyncio.gather(*(client.current_user() for _ in range(10)))

    asyncio.run(work())
    assert api.renewals == 1
