"""Lists that the API makes in the background: in one step, in two, and in the triggerer's hands."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred

from airflow_provider_drchrono.operators.base import InvalidArgumentError
from airflow_provider_drchrono.operators.patients import (
    DrChronoCreatePatientsListOperator,
    DrChronoGetPatientsListOperator,
)
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from airflow_provider_drchrono.triggers.bulk import BulkEvent
from tests.support.running import connected_sandbox, context_of, execute

QUICK = {"task_id": "bulk", "poll_interval": 0.01}


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    monkeypatch.setattr("airflow_provider_drchrono.client.retry.FIRST_DELAY", 0.001)
    with connected_sandbox(monkeypatch, patients=5, bulk_polls=1) as running:
        yield running


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_drchrono.sandbox import bulk

    start = bulk.BulkLists.start
    monkeypatch.setattr(
        bulk.BulkLists, "start", lambda *arguments, **options: start(*arguments, **options | {"largest": 2})
    )


def ids(sandbox: Sandbox) -> list[int]:
    return [each["id"] for each in sandbox.practice.records("patients")]


def start(**options: Any) -> Any:
    return execute(DrChronoCreatePatientsListOperator(**QUICK | options))


def fetch(uuid: Any, **options: Any) -> Any:
    return execute(DrChronoGetPatientsListOperator(uuid=uuid, **QUICK | options))


def deferred(make: Any) -> Any:
    with pytest.raises(TaskDeferred) as taken:
        make()
    return taken.value


def complete(sandbox: Sandbox, uuids: list[str], pages: int, ends: float = 4e9) -> dict[str, Any]:
    for uuid in uuids:
        sandbox.app.bulk._jobs[uuid].polls_left = 0
    return BulkEvent("complete", tuple(uuids), ends, pages=pages, count=5).payload()


@pytest.mark.usefixtures("small_pages")
def test_all_pages_come_in_one_step(sandbox: Sandbox) -> None:
    records = start(fields=["id"], order_by="id", verbose=True, filters={"since": "2000-01-01"})

    assert [each["id"] for each in records] == ids(sandbox)
    starts = sandbox.journal.calls(method="POST")
    assert [call.query.get("page") for call in starts] == [None, "2", "3"]
    assert all(call.query["since"] == "2000-01-01" for call in starts)
    assert len(sandbox.journal.calls(method="GET")) == 6


@pytest.mark.usefixtures("small_pages")
def test_a_list_that_is_too_long_fails_after_its_first_page(sandbox: Sandbox) -> None:
    with pytest.raises(InvalidArgumentError, match="more than 4 records"):
        start(max_records=4)
    assert len(sandbox.journal.calls(method="POST")) == 1


def test_the_two_halves_fit_together(sandbox: Sandbox) -> None:
    started = start(wait_for_completion=False)
    assert started["status"] == "In progress"

    assert fetch(started["uuid"], wait_for_completion=False) == started
    assert [each["id"] for each in fetch(started["uuid"], fields=["id"])] == ids(sandbox)


@pytest.mark.usefixtures("small_pages")
def test_a_uuid_of_several_pages_is_not_taken_for_the_whole(sandbox: Sandbox) -> None:
    with pytest.raises(InvalidArgumentError, match="the list has 3 pages, of which a uuid stands for one only"):
        fetch(start(wait_for_completion=False)["uuid"])


@pytest.mark.parametrize("uuid", ["", None, "None"])
def test_no_uuid_is_refused_before_any_call(sandbox: Sandbox, uuid: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="patients_list_list: uuid is empty"):
        fetch(uuid)
    assert sandbox.journal.calls() == []


def test_a_uuid_that_ran_out_says_so(sandbox: Sandbox) -> None:
    from airflow_provider_drchrono.client import BulkExpiredError

    with pytest.raises(BulkExpiredError, match="start it again"):
        fetch("00000000-0000-4000-8000-000000000000")


def test_a_list_that_is_not_done_in_time_may_be_retried(sandbox: Sandbox) -> None:
    sandbox.app.bulk.polls = 1000
    with pytest.raises(AirflowException, match=r"did not make the list within 0\.1 seconds.*raise timeout") as late:
        start(timeout=0.1)
    assert not isinstance(late.value, AirflowFailException)


@pytest.mark.parametrize(
    "options", [{"poll_interval": 0}, {"timeout": -1}, {"timeout": float("inf")}, {"timeout": "1"}]
)
def test_a_wait_has_an_end(sandbox: Sandbox, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match="must be a number of seconds above 0"):
        start(**options)
    assert sandbox.journal.calls() == []


@pytest.mark.usefixtures("small_pages")
def test_deferred_all_pages_are_waited_for_in_the_triggerer(sandbox: Sandbox) -> None:
    operator = DrChronoCreatePatientsListOperator(deferrable=True, fields=["id"], **QUICK)

    first = deferred(lambda: execute(operator))
    path, arguments = first.trigger.serialize()
    assert path == "airflow_provider_drchrono.triggers.bulk.DrChronoBulkListTrigger"
    assert len(arguments["uuids"]) == 1
    assert first.timeout.total_seconds() > operator.timeout

    event = complete(sandbox, arguments["uuids"], pages=3, ends=arguments["ends"])
    second = deferred(lambda: operator.execute_complete(context_of(), event))
    uuids = second.trigger.uuids
    assert uuids[0] == arguments["uuids"][0]
    assert len(uuids) == 3
    assert second.trigger.ends == arguments["ends"]

    records = operator.execute_complete(context_of(), complete(sandbox, uuids, pages=3))
    assert [each["id"] for each in records] == ids(sandbox)
    assert len(sandbox.journal.calls(method="POST")) == 3


def test_a_page_that_ran_out_meanwhile_is_made_again(sandbox: Sandbox) -> None:
    operator = DrChronoCreatePatientsListOperator(deferrable=True, **QUICK)
    (uuid,) = deferred(lambda: execute(operator)).trigger.uuids
    event = complete(sandbox, [uuid], pages=1)
    del sandbox.app.bulk._jobs[uuid]

    assert [each["id"] for each in operator.execute_complete(context_of(), event)] == ids(sandbox)
    assert len(sandbox.journal.calls(method="POST")) == 2


def test_a_fetch_is_deferred_only_if_the_list_is_not_there(sandbox: Sandbox) -> None:
    uuid = start(wait_for_completion=False)["uuid"]
    operator = DrChronoGetPatientsListOperator(uuid=uuid, deferrable=True, **QUICK)

    assert deferred(lambda: execute(operator)).trigger.uuids == [uuid]
    resumed = operator.execute_complete(context_of(), complete(sandbox, [uuid], pages=1))
    assert [each["id"] for each in resumed] == ids(sandbox)
    assert fetch(uuid, deferrable=True) == resumed


def test_airflows_own_default_decides_who_waits(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")
    deferred(start)
    assert start(deferrable=False)


@pytest.mark.parametrize(
    ("event", "kind", "told"),
    [
        pytest.param(BulkEvent("timeout", ("u",)).payload(), AirflowException, "did not make the list", id="late"),
        pytest.param(
            BulkEvent("failed", ("u",), message="gone", transient=True).payload(),
            AirflowException,
            "gone",
            id="may pass",
        ),
        pytest.param(
            BulkEvent("failed", ("u",), message="no right").payload(),
            AirflowFailException,
            "no right",
            id="will not pass",
        ),
        pytest.param(
            {"status": "success"}, AirflowFailException, "an event that is not one of a bulk list", id="foreign"
        ),
        pytest.param("success", AirflowFailException, "an event that is not one of a bulk list", id="text"),
        pytest.param({"status": "complete"}, AirflowFailException, "an event that names no bulk list", id="no uuid"),
    ],
)
def test_only_a_known_event_of_completion_goes_on(sandbox: Sandbox, event: Any, kind: type, told: str) -> None:
    for operator in (
        DrChronoCreatePatientsListOperator(**QUICK),
        DrChronoGetPatientsListOperator(uuid="u", **QUICK),
    ):
        with pytest.raises(AirflowException, match=told) as refused:
            operator.execute_complete(context_of(), event)
        assert type(refused.value) is kind
    assert sandbox.journal.calls() == []


def test_a_quota_that_runs_out_reschedules(sandbox: Sandbox) -> None:
    from airflow.sdk.exceptions import AirflowRescheduleException

    sandbox.faults.add(Fault(kind="throttle", operation="patients_list_create", seconds=600))
    with pytest.raises(AirflowRescheduleException):
        start()


def test_a_deferred_task_stays_away_until_its_worker_has_noticed(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "4")
    operator = DrChronoCreatePatientsListOperator(deferrable=True, **QUICK)

    before = time.time()

    assert before + 6 <= deferred(lambda: execute(operator)).trigger.not_before <= time.time() + 6
