import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from pytest_mock import MockerFixture

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.client import (
    AsyncDrChronoClient,
    BadRequestError,
    BulkExpiredError,
    DrChronoClient,
    InvalidArgumentError,
    RequestTimeoutError,
    ServerError,
    UnexpectedAnswerError,
)
from airflow_provider_drchrono.client.bulk_lists import BulkPacing, result_of, result_request, start_request
from airflow_provider_drchrono.client.responses import Answer
from tests.unit.client.servers import Reply, ScriptedApi

if TYPE_CHECKING:
    from airflow_provider_drchrono.sandbox import Sandbox

CATALOG = load()
BASE = "https://app.drchrono.com"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RESULT = CATALOG.operation("patients_list_list")
BULK_RESOURCES = [each.name for each in CATALOG.resources.values() if each.bulk]


@pytest.fixture
def slept(mocker: MockerFixture) -> list[float]:
    """Waits take no time but are noted, and the clock goes on by them."""
    waits: list[float] = []
    began = 1000.0
    mocker.patch("airflow_provider_drchrono.client.synchronous.time.sleep", side_effect=waits.append)
    mocker.patch("airflow_provider_drchrono.client.bulk_lists.time.monotonic", side_effect=lambda: began + sum(waits))
    return waits


def start_query(resource: str = "patients", filters: Any = None, **changes: Any) -> dict[str, str]:
    request = start_request(CATALOG, BASE, resource, filters, **changes)
    assert (request.method, request.body) == ("POST", None)
    return dict(parse_qsl(urlsplit(request.url).query))


def pauses(pacing: BulkPacing) -> Iterator[float]:
    """The pauses of a list that is never made."""
    now = 0.0
    while (pause := pacing.next_pause(now)) is not None:
        yield pause
        now += pause
        pacing.answered(made=False)


def test_questions_begin_after_seconds_and_get_rarer() -> None:
    delays = list(islice(pauses(BulkPacing(1e9)), 10))
    assert delays[0] == 3.0
    assert delays == sorted(delays)
    assert delays[-1] == 30.0
    assert sum(delays[:4]) > 20


def test_the_last_question_is_asked_at_the_end() -> None:
    waits = list(pauses(BulkPacing(60.0)))
    assert sum(waits) == 60.0
    assert BulkPacing(60.0).next_pause(60.0) is None


def test_pauses_are_never_longer_than_they_may_be() -> None:
    assert set(islice(pauses(BulkPacing(1e9, longest=2.0)), 5)) == {2.0}
    assert list(islice(pauses(BulkPacing(1e9, longest=10.0)), 6))[-2:] == [10.0, 10.0]


def test_nothing_is_asked_before_its_time() -> None:
    assert BulkPacing(100.0, not_before=50.0).next_pause(10.0) == 40.0
    assert BulkPacing(100.0, not_before=101.0).next_pause(10.0) is None


def test_the_next_page_is_asked_for_at_once() -> None:
    pacing = BulkPacing(100.0)
    pacing.next_pause(0.0)
    pacing.answered(made=True)
    assert pacing.next_pause(3.0) == 0.0
    assert pacing.next_pause(3.0) == 3.0


def test_failures_are_borne_as_far_as_they_may_pass() -> None:
    passing, final = ServerError("x"), BadRequestError("x")
    with pytest.raises(ServerError):
        BulkPacing(100.0).failed(passing, 0.0)
    pacing = BulkPacing(100.0, longest=10.0, most_failures=3)
    for _ in range(2):
        pacing.failed(passing, 0.0)
        assert pacing.next_pause(0.0) == 10.0
    with pytest.raises(ServerError):
        pacing.failed(passing, 0.0)
    pacing.answered(made=False)
    pacing.failed(passing, 0.0)
    for error in (final, BulkExpiredError("x")):
        with pytest.raises(type(error)):
            pacing.failed(error, 0.0)


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_start_that_failed_is_repeated(api: ScriptedApi, connect: Callable[..., DrChronoClient], status: int) -> None:
    api.script += [Reply(status), ticket()]
    assert connect().bulk_start("patients") == "u"
    assert [each.method for each in api.seen] == ["POST", "POST"]


@pytest.mark.parametrize("resource", BULK_RESOURCES)
def test_every_bulk_list_can_be_started_and_asked_for(resource: str) -> None:
    filters = {"since": "2026-01-01"} if resource == "appointments" else {}
    largest = "20000" if resource == "clinical_note_field_values" else "1000"
    assert start_query(resource, filters) == {**filters, "page_size": largest}
    request = result_request(CATALOG, BASE, resource, "some-uuid")
    assert request.method == "GET"
    assert urlsplit(request.url).query == "uuid=some-uuid"


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        pytest.param({"page": 3}, {"page_size": "1000", "page": "3"}, id="later-page"),
        pytest.param({"page_size": 10, "order_by": "id"}, {"page_size": "10", "order_by": "id"}, id="order"),
        pytest.param({"verbose": True}, {"page_size": "1000", "verbose": "true"}, id="verbose"),
        pytest.param(
            {"filters": {"since": "2026-01-31T08:00:00"}}, {"page_size": "1000", "since": "2026-01-31"}, id="time-cut"
        ),
        pytest.param(
            {"filters": {"since": datetime(2026, 1, 31, 8)}},
            {"page_size": "1000", "since": "2026-01-31"},
            id="datetime",
        ),
        pytest.param(
            {"filters": {"since": date(2026, 1, 31)}}, {"page_size": "1000", "since": "2026-01-31"}, id="date"
        ),
        pytest.param(
            {"resource": "line_items", "filters": {"since": "2026-01-31T08:00:00"}},
            {"page_size": "1000", "since": "2026-01-31T08:00:00"},
            id="time-kept",
        ),
    ],
)
def test_how_a_bulk_list_is_started(arguments: dict[str, Any], query: dict[str, str]) -> None:
    assert start_query(**arguments) == query


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param({"resource": "pacients"}, "did you mean 'patients'", id="unknown"),
        pytest.param({"resource": "doctors"}, "doctors has no bulk list; use list.*appointments", id="none"),
        pytest.param({"filters": {"page_size": 5}}, "argument of this name", id="page-size"),
        pytest.param({"filters": {"frist_name": "x"}}, "did you mean 'first_name'", id="filter"),
        pytest.param({"resource": "appointments"}, "at least one of the filters since, date, date_range", id="one-of"),
        pytest.param({"filters": {"since": "2026-01-31T08:00:00Z"}}, "must be a date such as", id="zone"),
        pytest.param({"page_size": 1001}, "between 1 and 1000", id="large"),
        pytest.param({"page_size": 0}, "at least 1", id="page-size-zero"),
        pytest.param({"page": 0}, "at least 1", id="page-zero"),
        pytest.param({"resource": "prescription_messages", "verbose": True}, "no verbose form", id="no-verbose"),
        pytest.param({"filters": {"since": "yesterday 10:00Z"}}, "must be a date such as", id="no-date-with-zone"),
    ],
)
def test_wrong_bulk_lists_are_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says):
        start_request(CATALOG, BASE, **{"resource": "patients", **arguments})


def test_verbose_is_asked_for_once_at_the_start() -> None:
    assert start_query("appointments", {"since": "2026-01-01"}, verbose=True)["verbose"] == "true"
    request = result_request(CATALOG, BASE, "appointments", "some-uuid")
    assert dict(parse_qsl(urlsplit(request.url).query)) == {"uuid": "some-uuid"}


@pytest.mark.parametrize("uuid", ["", "  "])
def test_an_empty_uuid_is_refused(uuid: str) -> None:
    with pytest.raises(InvalidArgumentError, match="uuid is empty"):
        result_request(CATALOG, BASE, "patients", uuid)


@pytest.mark.parametrize("key", ["results", "data"])
def test_a_finished_page_is_read(key: str) -> None:
    value = {
        "status": "Complete", key: [{"id": 1}], "pagination": {"count": 7, "pages": 4, "page_size": 2, "page": 3},
    }  # fmt: skip
    result = result_of(RESULT, Answer(value, NOW))
    assert result is not None
    assert (result.records, result.page, result.pages, result.count) == ([{"id": 1}], 3, 4, 7)
    assert result.server_time == NOW
    assert "'id'" not in repr(result)


@pytest.mark.parametrize("status", ["In progress", "IN PROGRESS", "Pending"])
def test_a_page_in_progress_is_none(status: str) -> None:
    assert result_of(RESULT, Answer({"status": status, "uuid": "u"}, NOW)) is None


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"status": "Failed"}, id="failed"),
        pytest.param({"status": "Complete"}, id="no-records"),
        pytest.param(None, id="nothing"),
        pytest.param([], id="list"),
        pytest.param("text", id="text"),
    ],
)
def test_other_results_are_errors(value: Any) -> None:
    with pytest.raises(UnexpectedAnswerError) as caught:
        result_of(RESULT, Answer(value, NOW))
    assert caught.value.transient


def test_pagination_that_is_missing_or_odd_means_one_page() -> None:
    for pagination in ({}, {"pagination": None}, {"pagination": {"pages": "x", "page": 0, "count": None}}):
        result = result_of(RESULT, Answer({"status": "Complete", "results": [], **pagination}, NOW))
        assert result is not None
        assert (result.page, result.pages, result.count) == (1, 1, None)


def test_all_pages_are_made_awaited_and_fetched(
    sandbox: "Sandbox", drchrono: DrChronoClient, slept: list[float]
) -> None:
    pages = list(drchrono.bulk_pages("patients", page_size=25))
    assert [len(each.records) for each in pages] == [25, 25, 10]
    assert [each.index for each in pages] == [0, 1, 2]
    listed = [record["id"] for each in pages for record in each.records]
    assert sorted(listed) == sorted(each["id"] for each in sandbox.practice.records("patients"))
    assert slept.count(3.0) == 3
    assert drchrono.calls == 3 + len(slept)


def test_the_halves_let_others_wait(drchrono: DrChronoClient) -> None:
    uuid = drchrono.bulk_start("patients", page_size=10, page=2, order_by="id")
    results = [drchrono.bulk_result("patients", uuid) for _ in range(5)]
    result = results[-1]
    assert result is not None
    assert (result.page, result.pages, result.count, len(result.records)) == (2, 6, 60, 10)


def test_the_asynchronous_client_does_the_same(
    connect_async: Callable[..., AsyncDrChronoClient], mocker: MockerFixture
) -> None:
    waits: list[float] = []
    sleep, ours = asyncio.sleep, threading.get_ident()

    async def no_sleep(seconds: float) -> None:
        # The sandbox's own loop, in another thread, has the same module and must not spin.
        if threading.get_ident() != ours:
            return await sleep(seconds)
        waits.append(seconds)
        return await sleep(0)

    async def work() -> list[int]:
        async with connect_async() as client:
            uuid = await client.bulk_start("patients")
            assert await client.bulk_result("patients", uuid) is None or uuid
            mocker.patch("airflow_provider_drchrono.client.asynchronous.asyncio.sleep", no_sleep)
            return [len(each.records) async for each in client.bulk_pages("patients", page_size=40)]

    assert asyncio.run(work()) == [40, 20]
    assert waits[0] == 3.0


def in_progress() -> Reply:
    return Reply(200, {"status": "In progress", "uuid": "u"})


def ticket() -> Reply:
    return Reply(201, {"status": "In progress", "uuid": "u", "description": "x"})


def complete(pages: int = 1) -> Reply:
    return Reply(200, {"status": "Complete", "results": [{"id": 1}], "pagination": {"pages": pages, "page": 1}})


def test_few_questions_are_asked_before_the_deadline(
    api: ScriptedApi, connect: Callable[..., DrChronoClient], slept: list[float]
) -> None:
    api.script += [ticket()] + [in_progress()] * 100
    with pytest.raises(RequestTimeoutError, match=r"not done within 120 s; .*raise deadline") as caught:
        list(connect().bulk_pages("patients", deadline=120))
    assert sum(slept) == pytest.approx(120)
    assert len(api.seen) == 1 + len(slept) < 12
    assert caught.value.transient


def test_a_page_that_ran_out_is_made_anew_once(
    api: ScriptedApi, connect: Callable[..., DrChronoClient], slept: list[float]
) -> None:
    expired = Reply(400, {"detail": "Invalid uuid specified"})
    api.script += [ticket(), expired, ticket(), in_progress(), complete()]
    assert [each.records for each in connect().bulk_pages("patients")] == [[{"id": 1}]]
    api.script += [ticket(), expired, ticket(), expired]
    with pytest.raises(BulkExpiredError):
        list(connect().bulk_pages("patients"))


def test_a_start_without_a_uuid_is_an_error(api: ScriptedApi, connect: Callable[..., DrChronoClient]) -> None:
    api.script += [Reply(201, {"status": "In progress"})]
    with pytest.raises(UnexpectedAnswerError, match="started no bulk list"):
        connect().bulk_start("patients")


def test_pages_are_made_only_when_they_are_asked_for(
    api: ScriptedApi, connect: Callable[..., DrChronoClient], slept: list[float]
) -> None:
    api.script += [ticket(), complete(pages=2), ticket(), complete(pages=2)]
    pages = connect().bulk_pages("patients")
    assert len(api.seen) == 0
    next(pages)
    assert len(api.seen) == 2
    assert "page" not in api.seen[0].query
    next(pages)
    assert api.seen[2].query["page"] == ["2"]
    assert list(pages) == []
