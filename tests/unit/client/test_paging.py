import tracemalloc
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.client import InvalidArgumentError, UnexpectedAnswerError
from airflow_provider_drchrono.client.paging import (
    MOST_EMPTY_PAGES,
    Listing,
    list_query,
    next_url_of,
    record_count,
    record_of,
    records_of,
)

CATALOG = load()
BASE = "https://app.drchrono.com"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PATIENTS = CATALOG.operation("patients_list")


def listing(name: str = "patients", filters: Any = None, **changes: Any) -> Listing:
    return Listing(CATALOG, BASE, name, filters, **changes)


def first_query(**arguments: Any) -> dict[str, str]:
    request = listing(**arguments).request
    assert request is not None
    return dict(parse_qsl(urlsplit(request.url).query))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"previous": None, "results": [{"id": 1}], "next": None}, id="prose-envelope"),
        pytest.param({"previous": None, "data": [{"id": 1}], "next": None}, id="contract-envelope"),
        pytest.param({"results": [{"id": 1}], "data": None}, id="both-keys"),
        pytest.param([{"id": 1}], id="bare-list"),
    ],
)
def test_both_envelopes_and_bare_lists_are_read(answer: Any) -> None:
    assert records_of(PATIENTS, answer) == [{"id": 1}]
    assert record_count(answer) == 1


@pytest.mark.parametrize(
    ("answer", "count"),
    [({"id": 1}, 1), ({"results": []}, 0), ([{}, {}], 2), (None, 0), ("text", 0)],
    ids=["a record", "a page of none", "a bare list", "nothing", "text"],
)
def test_the_records_of_any_answer_are_counted(answer: Any, count: int) -> None:
    assert record_count(answer) == count


@pytest.mark.parametrize(
    "answer",
    [None, {}, {"results": None}, {"results": {"id": 1}}, "text", 7, [1, 2], {"data": ["Canarybird"]}],
    ids=repr,
)
def test_what_is_no_page_is_an_error_rather_than_an_empty_list(answer: Any) -> None:
    with pytest.raises(UnexpectedAnswerError, match=r"patients_list.*no list of records") as caught:
        records_of(PATIENTS, answer)
    assert "Canarybird" not in repr(caught.value)


def test_a_list_that_answers_with_one_record_has_one_record() -> None:
    name = next(each.name for each in CATALOG.resources.values() if each.name == "doctor_work_schedule")
    operation = CATALOG.resource(name).list_operation
    assert operation is not None
    assert records_of(operation, {"id": 1}) == [{"id": 1}]


def test_next_links_may_be_relative_and_never_foreign() -> None:
    assert next_url_of(PATIENTS, BASE, {"next": "/api/patients?cursor=x"}) == f"{BASE}/api/patients?cursor=x"
    assert next_url_of(PATIENTS, BASE, {"next": None}) is None
    assert next_url_of(PATIENTS, BASE, [{"id": 1}]) is None
    for link in ("https://evil.example/?t=Canarybird", "//evil.example/?t=Canarybird"):
        with pytest.raises(UnexpectedAnswerError, match="another host") as caught:
            next_url_of(PATIENTS, BASE, {"next": link})
        assert "Canarybird" not in repr(caught.value)


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        pytest.param({}, {"page_size": "250"}, id="largest"),
        pytest.param({"verbose": True}, {"page_size": "50", "verbose": "true"}, id="largest-verbose"),
        pytest.param({"page_size": 10}, {"page_size": "10"}, id="given"),
        pytest.param({"filters": {"doctor": 7}}, {"doctor": "7", "page_size": "250"}, id="filter"),
        pytest.param(
            {"name": "appointments", "filters": {"since": "2026-01-01"}},
            {"since": "2026-01-01", "page_size": "250"},
            id="appointments",
        ),
        pytest.param(
            {"name": "appointments", "filters": {"since": "2026-01-01"}, "verbose": True},
            {"since": "2026-01-01", "page_size": "25", "verbose": "true"},
            id="appointments-verbose",
        ),
        pytest.param({"name": "patients_list"}, {"page_size": "250"}, id="by-operation"),
        pytest.param({"name": "patients_summary"}, {"page_size": "250"}, id="summary"),
    ],
)
def test_the_first_page_asks_for_as_much_as_there_may_be(arguments: dict[str, Any], query: dict[str, str]) -> None:
    assert first_query(**arguments) == query


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param({"name": "pacients"}, "did you mean 'patients'", id="name"),
        pytest.param({"name": "patients_create"}, "cannot be listed; use call", id="other-operation"),
        pytest.param({"name": "patients_read"}, "cannot be listed; use call", id="read"),
        pytest.param({"name": "patients_partial_update"}, "cannot be listed; use call", id="update"),
        pytest.param({"filters": {"page_size": 5}}, "use the argument page_size", id="page-size"),
        pytest.param({"filters": {"cursor": "x"}}, "use the argument next_url", id="cursor"),
        pytest.param({"filters": {"verbose": True}}, "use the argument verbose", id="verbose"),
        pytest.param({"filters": {"surname": "x"}}, "there is no filter 'surname'", id="filter"),
        pytest.param({"name": "doctors", "verbose": True}, "no verbose form", id="no-verbose"),
        pytest.param({"name": "appointments"}, "filters need at least one of", id="one-of"),
        pytest.param({"next_url": "https://evil.example/x"}, "does not lead to", id="foreign-start"),
        pytest.param({"page_size": 0}, "page_size must be at least 1", id="page-size-zero"),
    ],
)
def test_wrong_lists_are_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says):
        listing(**arguments)


def test_pages_follow_each_other_to_the_end() -> None:
    pages = listing()
    page = pages.take({"results": [{"id": 1}], "next": f"{BASE}/api/patients?cursor=2"}, NOW)
    assert (page.records, page.index, page.server_time) == ([{"id": 1}], 0, NOW)
    assert pages.request is not None
    assert pages.request.url == page.next_url == f"{BASE}/api/patients?cursor=2"
    last = pages.take({"data": [{"id": 2}], "next": None}, NOW)
    assert (last.index, last.next_url) == (1, None)
    assert pages.request is None


def test_links_to_a_sister_host_are_followed_at_the_own_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "airflow_provider_drchrono.client")
    pages = listing()
    for cursor in (2, 3):
        pages.take({"results": [{"id": cursor}], "next": f"http://drchrono.com/api/patients?cursor={cursor}"}, NOW)
        assert pages.request is not None
        assert pages.request.url == f"{BASE}/api/patients?cursor={cursor}"
    assert len(caplog.records) == 1
    assert "cursor" not in caplog.text


def test_an_iteration_can_begin_anywhere() -> None:
    pages = listing(name="appointments", next_url=f"{BASE}/api/appointments?cursor=9&since=x")
    assert pages.request is not None
    assert pages.request.url == f"{BASE}/api/appointments?cursor=9&since=x"


@pytest.mark.parametrize(
    ("next_link", "later"),
    [
        pytest.param(
            "date_range=2026-01-01%2F2026-07-09", ["2026-07-10/2027-01-15", "2027-01-16/2027-06-30"], id="first"
        ),
        pytest.param("date_range=2026-07-10%2F2027-01-15", ["2027-01-16/2027-06-30"], id="second"),
        pytest.param("date_range=2027-01-16%2F2027-06-30", [], id="last"),
        pytest.param("cursor=9", [], id="it does not show"),
    ],
)
def test_a_long_range_that_begins_anywhere_goes_on_with_the_parts_after_it(next_link: str, later: list[str]) -> None:
    filters = {"date_range": "2026-01-01/2027-06-30", "doctor": 7}
    # The links of the API need not repeat what all parts share.
    pages = listing(name="appointments", filters=filters, next_url=f"{BASE}/api/appointments?{next_link}")
    asked = []
    while pages.request is not None:
        asked.append(dict(parse_qsl(urlsplit(pages.request.url).query)))
        page = pages.take({"results": [{"id": len(asked)}], "next": None}, NOW)
        assert page.gaps == 0, "a part that begins is no page without a record"

    assert [each["date_range"] for each in asked[1:]] == later
    assert {each["doctor"] for each in asked[1:]} <= {"7"}


def test_a_page_that_repeats_its_own_link_is_noticed() -> None:
    pages = listing(next_url=f"{BASE}/api/patients?cursor=2")
    with pytest.raises(UnexpectedAnswerError, match="circles after 1 pages") as caught:
        pages.take({"results": [{"id": 1}], "next": f"{BASE}/api/patients?cursor=2"}, NOW)
    assert caught.value.transient


def test_a_longer_circle_is_noticed() -> None:
    pages = listing()
    answers = [{"results": [{"id": 1}], "next": f"{BASE}/api/patients?cursor={each}"} for each in (1, 2, 3, 1)]
    for answer in answers[:3]:
        pages.take(answer, NOW)
    with pytest.raises(UnexpectedAnswerError, match="circles after 4 pages"):
        pages.take(answers[3], NOW)


def test_an_empty_page_in_between_is_no_end_but_many_are() -> None:
    pages = listing()
    for cursor in range(MOST_EMPTY_PAGES - 1):
        pages.take({"results": [], "next": f"{BASE}/api/patients?cursor={cursor}"}, NOW)
    pages.take({"results": [{"id": 1}], "next": f"{BASE}/api/patients?cursor=a"}, NOW)
    for cursor in range(100, 99 + MOST_EMPTY_PAGES):
        pages.take({"results": [], "next": f"{BASE}/api/patients?cursor={cursor}"}, NOW)
    last = pages.take({"results": [], "next": f"{BASE}/api/patients?cursor=b"}, NOW)
    assert (last.records, last.next_url, pages.request) == ([], None, None)


def test_a_list_that_is_empty_from_the_beginning_ends_after_many_pages() -> None:
    pages = listing()
    for cursor in range(MOST_EMPTY_PAGES - 1):
        page = pages.take({"results": [], "next": f"{BASE}/api/patients?cursor={cursor}"}, NOW)
        assert page.next_url is not None
    pages.take({"results": [], "next": f"{BASE}/api/patients?cursor=last"}, NOW)
    assert pages.request is None


def test_a_page_tells_how_many_empty_ones_came_before_it() -> None:
    pages = listing()
    gaps = []
    for number, count in enumerate((1, 0, 0, 0, 2, 3, 0, 1, 0)):
        answer = {"results": [{"id": [number, each]} for each in range(count)], "next": f"{BASE}/api/?cursor={number}"}
        gaps.append(pages.take(answer, NOW).gaps)
    assert gaps == [0, 0, 0, 0, 3, 0, 0, 1, 0]


def test_the_largest_and_the_smallest_page_are_asked_for() -> None:
    assert first_query(page_size=1) == {"page_size": "1"}
    assert first_query(page_size=250) == {"page_size": "250"}


def test_a_list_that_takes_no_page_size_is_not_sent_one() -> None:
    lists = [each for each in CATALOG.operations.values() if each.kind == "list"]
    unsized = [each for each in lists if "page_size" not in {parameter.name for parameter in each.parameters}]
    for each in unsized:
        query = list_query(each, CATALOG.resource(each.resource), {}, verbose=False, page_size=None)
        assert query == {}, each.id
    assert unsized


@pytest.mark.parametrize("read", [records_of, record_of], ids=["list", "record"])
def test_an_answer_of_another_kind_may_be_whole_the_next_time(read: Any) -> None:
    with pytest.raises(UnexpectedAnswerError) as caught:
        read(PATIENTS, "maintenance")
    assert caught.value.transient
    assert (caught.value.operation_id, caught.value.status) == ("patients_list", 200)


def test_a_list_whose_last_page_leads_to_itself_ends_when_it_is_empty(caplog: pytest.LogCaptureFixture) -> None:
    pages = listing()
    pages.take({"results": [{"id": 1}], "next": f"{BASE}/api/patients?cursor=2"}, NOW)
    last = pages.take({"results": [], "next": f"{BASE}/api/patients?cursor=2"}, NOW)
    assert (last.records, last.next_url, pages.request) == ([], None, None)
    assert "patients_list: the last page names a next one" in caplog.text


def test_a_last_page_that_is_answered_for_ever_comes_to_an_end() -> None:
    pages = listing()
    pages.take({"results": [{"id": 1}], "next": f"{BASE}/api/patients?cursor=x"}, NOW)
    for cursor in range(MOST_EMPTY_PAGES):
        assert pages.request is not None
        pages.take({"results": [{"id": 2}], "next": f"{BASE}/api/patients?cursor={cursor}"}, NOW)
    last = pages.take({"results": [{"id": 2}], "next": f"{BASE}/api/patients?cursor=y"}, NOW)
    assert (last.records, last.next_url, pages.request) == ([], None, None)


def test_a_page_shows_neither_records_nor_filters() -> None:
    answer = {"results": [{"n": "Canarybird"}], "next": f"{BASE}/?last_name=Canarybird"}
    assert "Canarybird" not in repr(listing().take(answer, NOW))
    assert "Canarybird" not in repr(listing(raw=True).take_raw(answer, NOW))


def test_memory_stays_flat_over_a_thousand_pages() -> None:
    pages = listing()

    def read(first: int, last: int) -> int:
        for number in range(first, last):
            records = [{"id": number * 1000 + each, "text": "x" * 100} for each in range(100)]
            pages.take({"results": records, "next": f"{BASE}/api/patients?cursor={number}"}, NOW)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    before = read(0, 10)
    after = read(10, 1010)
    tracemalloc.stop()
    # A thousand pages hold 40 MB of records; what stays is a fingerprint of each address.
    assert after - before < 200_000
