"""The trigger that waits for bulk lists, on a real event loop and against the sandbox over a socket."""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_drchrono.sandbox import Fault, Sandbox
from airflow_provider_drchrono.triggers.bulk import BulkEvent, DrChronoBulkListTrigger
from airflow_provider_drchrono.triggers.waiting import MOST_FAILURES
from tests.support.running import connected_sandbox, unlimited

ARGUMENTS: dict[str, Any] = {
    "drchrono_conn_id": "drchrono_default",
    "resource": "patients",
    "uuids": ["one", "two"],
    "ends": 1e10,
    "poll_interval": 0.01,
    "not_before": 0.0,
}


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    monkeypatch.setattr("airflow_provider_drchrono.client.retry.FIRST_DELAY", 0.001)
    with connected_sandbox(monkeypatch, patients=3, bulk_polls=2) as running:
        yield running


def started(sandbox: Sandbox, **given: str) -> str:
    from airflow_provider_drchrono.sandbox.filters import Filters

    table = sandbox.practice.table("patients")
    answer = sandbox.app.bulk.start(table, Filters(), given, resource="patients_list", largest=1000)
    uuid: str = answer.json()["uuid"]
    return uuid


def events(*, debug: bool = False, **changes: Any) -> list[BulkEvent]:
    async def collect() -> list[BulkEvent]:
        trigger = DrChronoBulkListTrigger(**ARGUMENTS | changes)
        return [BulkEvent.read(event.payload) async for event in trigger.run()]

    return asyncio.run(collect(), debug=debug)


def looks(sandbox: Sandbox) -> int:
    return len(sandbox.journal.calls(operation_id="patients_list_list"))


def test_it_is_stored_as_plain_values_under_a_path_that_stays() -> None:
    path, arguments = DrChronoBulkListTrigger(**ARGUMENTS).serialize()

    assert path == "airflow_provider_drchrono.triggers.bulk.DrChronoBulkListTrigger"
    assert arguments == ARGUMENTS
    assert DrChronoBulkListTrigger(**arguments).serialize() == (path, arguments)


def test_an_event_is_plain_values_and_is_read_back_as_it_was() -> None:
    event = BulkEvent("complete", ("one",), 5.0, pages=2, count=3)

    assert event.payload() == {
        "status": "complete",
        "uuids": ["one"],
        "ends": 5.0,
        "pages": 2,
        "count": 3,
        "message": "",
        "transient": False,
        "version": 1,
    }
    assert BulkEvent.read(event.payload()) == event


def test_an_event_of_another_release_is_refused_and_says_so() -> None:
    payload = BulkEvent("complete", ("one",)).payload() | {"version": 2}

    with pytest.raises(ValueError, match="an event in version '2', and this release reads version 1; clear it"):
        BulkEvent.read(payload)


@pytest.mark.parametrize(
    "payload", [None, "success", [], {}, {"status": "success", "uuids": []}, {"status": "complete", "uuids": "u"}]
)
def test_a_foreign_event_is_refused(payload: Any) -> None:
    with pytest.raises(ValueError, match="clear it to start again"):
        BulkEvent.read(payload)


def test_one_event_comes_when_all_pages_are_made(sandbox: Sandbox) -> None:
    uuids = [started(sandbox), started(sandbox)]

    (event,) = events(uuids=uuids)

    assert event == BulkEvent("complete", tuple(uuids), ARGUMENTS["ends"], pages=1, count=3)
    assert looks(sandbox) == 6


def test_it_gives_up_at_the_deadline_and_looks_no_more(sandbox: Sandbox) -> None:
    sandbox.app.bulk.polls = 10_000
    began = time.monotonic()

    (event,) = events(uuids=[started(sandbox)], ends=time.time() + 2, poll_interval=0.6)

    assert event.status == "timeout"
    assert time.monotonic() - began < 10
    assert 1 <= looks(sandbox) <= 4


def test_it_does_not_look_when_the_deadline_passed_while_no_triggerer_ran(sandbox: Sandbox) -> None:
    (event,) = events(uuids=[started(sandbox)], ends=time.time() - 60)

    assert event.status == "timeout"
    assert looks(sandbox) == 0


def test_a_uuid_that_ran_out_fails_at_once(sandbox: Sandbox) -> None:
    (event,) = events(uuids=["00000000-0000-4000-8000-000000000000"])

    assert (event.status, event.transient) == ("failed", True)
    assert "patients_list_list" in event.message
    assert looks(sandbox) == 1


def test_what_will_not_pass_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with connected_sandbox(monkeypatch, patients=1, scopes=("user:read",)) as sandbox:
        (event,) = events(uuids=["u"])

    assert (event.status, event.transient) == ("failed", False)
    assert "403" in event.message
    assert sandbox.client_secret not in str(event.payload())


def test_a_few_failures_in_a_row_are_borne(sandbox: Sandbox) -> None:
    attempts = 5  # of the client, for each look
    sandbox.faults.add(Fault(kind="status", operation="patients_list_list", status=503, times=attempts * 2))
    (event,) = events(uuids=[started(sandbox)])
    assert event.status == "complete"

    sandbox.faults.add(Fault(kind="status", operation="patients_list_list", status=503, times=None))
    (event,) = events(uuids=[started(sandbox)])
    assert (event.status, event.transient) == ("failed", True)
    assert len(sandbox.journal.calls(status=503)) == attempts * 2 + attempts * MOST_FAILURES


def test_a_used_up_quota_is_waited_for(sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault(kind="throttle", operation="patients_list_list", seconds=6, retry_after=True))

    (event,) = events(uuids=[started(sandbox)], ends=time.time() + 2)

    # The API asked for more time than there is.
    assert event.status == "timeout"
    assert looks(sandbox) == 1


def test_every_look_is_preceded_by_a_sleep(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeps: list[float] = []
    real, ours = asyncio.sleep, threading.get_ident()

    async def counted(seconds: float, *rest: Any) -> None:
        # The sandbox's own loop, in another thread, has the same module and must not spin.
        if threading.get_ident() != ours:
            return await real(seconds, *rest)
        sleeps.append(seconds)
        return await real(0)

    monkeypatch.setattr("airflow_provider_drchrono.triggers.waiting.asyncio.sleep", counted)
    sandbox.faults.add(Fault(kind="status", operation="patients_list_list", status=503, times=5))
    sandbox.app.bulk.polls = 3
    pause = 0.0123

    (event,) = events(uuids=[started(sandbox)], poll_interval=pause)

    assert event.status == "complete"
    # One look that failed five times over, three that came too early, one that found it.
    assert sleeps.count(pause) == 5
    assert looks(sandbox) == 5 + 3 + 1


def test_it_does_not_block_the_event_loop(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    uuid = started(sandbox)
    events(uuids=[started(sandbox)])
    caplog.set_level(logging.WARNING, logger="asyncio")

    (event,) = events(uuids=[uuid], debug=True)

    assert event.status == "complete"
    slow = [record.getMessage() for record in caplog.records if "took" in record.getMessage()]
    assert [message for message in slow if "DrChronoBulkListTrigger" in message] == []


def test_an_unusable_connection_is_told(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox, timezone="Nowhere/At_all"))

    (event,) = events(uuids=["u"])

    assert (event.status, event.transient) == ("failed", False)
    assert "timezone" in event.message
