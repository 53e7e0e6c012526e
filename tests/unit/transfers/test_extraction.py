"""The way in which a list is read: the fewest calls, by facts of the catalogue and what is known of the read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.transfers.extraction import (
    LOOKS_IN_VAIN,
    MOST_JOBS,
    PAGES_TO_FIND_OUT,
    ListFacts,
    ReadSoFar,
    cost_of,
    jobs_at_once,
    next_way,
)

SMALL_PAGES = ListFacts("appointments", page_size=20, bulk_size=1000, by_change=True)
PAGES = ListFacts("patients", page_size=250, bulk_size=1000, by_change=True)
NO_BULK = ListFacts("problems", page_size=250, bulk_size=None, by_change=False)


def facts(resource: str, filters: dict[str, Any] | None = None, *, verbose: bool = False) -> ListFacts:
    return ListFacts.of(load(), load().resource(resource), filters, verbose=verbose)


@pytest.mark.parametrize(
    ("resource", "page_size", "bulk_size", "by_change"),
    [
        ("patients", 250, 1000, True),
        ("appointments", 20, 1000, True),
        ("clinical_note_field_values", 250, 20_000, True),
        ("eligibility_checks", 250, 1000, False),
        ("problems", 250, None, False),
    ],
)
def test_the_facts_are_those_of_the_catalogue(
    resource: str, page_size: int, bulk_size: int | None, by_change: bool
) -> None:
    assert facts(resource) == ListFacts(resource, page_size, bulk_size, by_change)


def test_verbose_fields_cost_pages_and_nothing_in_bulk() -> None:
    assert facts("patients", verbose=True) == ListFacts("patients", 50, 1000, True)


@pytest.mark.parametrize(
    ("filters", "able"),
    [
        pytest.param({"doctor": 1}, True, id="a filter of both"),
        pytest.param({"ignore_virtual": True}, False, id="a filter of the list only"),
        pytest.param({"date_range": "2026-01-01/2026-02-01"}, True, id="a short range"),
        pytest.param({"date_range": "2025-01-01/2026-02-01"}, False, id="a range that has to be split"),
    ],
)
def test_bulk_is_for_what_it_can_select(filters: dict[str, Any], able: bool) -> None:
    assert (facts("appointments", filters).bulk_size is not None) == able


def test_a_long_range_is_read_in_parts() -> None:
    assert facts("appointments", {"date_range": "2025-01-01/2026-02-01"}).calls_by_pages(0) == 3


def test_a_resource_without_a_list_is_refused() -> None:
    resource = next(each for each in load().resources.values() if each.list_operation is None)

    with pytest.raises(ValueError, match="no list"):
        ListFacts.of(load(), resource)


@pytest.mark.parametrize(
    ("read", "way"),
    [
        pytest.param(ReadSoFar(), "pages", id="it begins with a page"),
        pytest.param(ReadSoFar(pages=PAGES_TO_FIND_OUT - 1), "pages", id="it may be short"),
        pytest.param(ReadSoFar(pages=PAGES_TO_FIND_OUT), "bulk", id="it is not short"),
        pytest.param(ReadSoFar(rows=250_000), "bulk", id="known to be long"),
        pytest.param(ReadSoFar(rows=250_000, pages=12_497), "pages", id="nearly at its end"),
        pytest.param(ReadSoFar(rows=80), "pages", id="as many calls by pages"),
        pytest.param(ReadSoFar(rows=20, pages=1), "pages", id="a little longer than was said"),
        pytest.param(ReadSoFar(rows=20, pages=PAGES_TO_FIND_OUT), "bulk", id="much longer than was said"),
    ],
)
def test_the_way_to_go_on(read: ReadSoFar, way: str) -> None:
    assert next_way(SMALL_PAGES, read) == way
    assert next_way(SMALL_PAGES, read, "pages") == "pages"
    assert next_way(SMALL_PAGES, read, "bulk") == "bulk"
    assert next_way(NO_BULK, read, "bulk") == "pages"


@given(rows=st.integers(0, 3_000_000), told=st.booleans())
def test_no_read_costs_much_more_than_one_that_knew_everything(rows: int, told: bool) -> None:
    for each in (SMALL_PAGES, PAGES, NO_BULK):
        cost = cost_of(each, rows, told=rows if told else None)
        assert cost.least <= cost.calls <= cost.least + PAGES_TO_FIND_OUT + LOOKS_IN_VAIN
        if told:
            assert cost.calls <= each.calls_by_pages(rows)


def test_the_calls_of_a_large_list() -> None:
    cost = cost_of(SMALL_PAGES, 250_000)

    assert (cost.way, cost.least, cost.calls) == ("bulk", 500, 505)
    assert cost_of(SMALL_PAGES, 250_000, read_by="pages").calls == 12_500
    for known in (cost_of(SMALL_PAGES, 250_000, told=250_000), cost_of(SMALL_PAGES, 250_000, read_by="bulk")):
        assert (known.way, known.calls) == ("bulk", 502)


@pytest.mark.parametrize(("rows", "calls"), [(0, 2), (1, 2), (1000, 2), (1001, 4)])
def test_each_page_in_bulk_takes_two_calls(rows: int, calls: int) -> None:
    assert SMALL_PAGES.calls_in_bulk(rows) == calls


@pytest.mark.parametrize(("left", "jobs"), [(None, MOST_JOBS), (500, MOST_JOBS), (9, 4), (1, 1), (0, 1)])
def test_no_more_pages_are_started_than_can_be_fetched(left: int | None, jobs: int) -> None:
    assert jobs_at_once(left) == jobs
