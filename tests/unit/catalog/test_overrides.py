"""Facts that take the place of the catalogue's: which can be given, and what they change."""

import re
from typing import Any

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.catalog.overrides import DEFAULT_LOOKBACK, FactsOfList, checked_facts, with_facts

CATALOG = load()


def told(facts: dict[str, Any]) -> Any:
    return with_facts(CATALOG, checked_facts(CATALOG, facts))


def test_without_facts_the_catalogue_is_itself() -> None:
    assert with_facts(CATALOG, None) is CATALOG
    assert with_facts(CATALOG, {}) is CATALOG


def test_a_fact_changes_one_list_and_leaves_the_others() -> None:
    catalog = told({"patients": {"page_size": 100, "verbose_page_size": 10, "lookback": 600}})

    patients = catalog.resource("patients")
    assert (patients.paging.size, patients.paging.verbose_size, patients.incremental.lookback) == (100, 10, 600)
    assert patients.incremental.filter == "since"
    assert catalog.resource("tasks") is CATALOG.resource("tasks")
    assert set(catalog.operations) == set(CATALOG.operations)


def test_what_holds_for_all_lists_is_overridden_by_what_holds_for_one() -> None:
    catalog = told({"*": {"page_size": 80, "lookback": 300}, "tasks": {"page_size": 20}})

    assert catalog.resource("tasks").paging.size == 20
    assert catalog.resource("tasks").incremental.lookback == 300
    assert catalog.resource("patients").paging.size == 80
    # There is nothing to change where there is no list, or none that is asked for changes.
    assert catalog.resource("lab_results").incremental is None


def test_a_size_that_was_seen_ends_the_dispute_about_it() -> None:
    assert CATALOG.resource("appointments").paging.expected(verbose=False) == 20  # type: ignore[union-attr]
    assert told({"appointments": {"page_size": 100}}).resource("appointments").paging.expected(verbose=False) == 100


def test_a_list_can_be_asked_for_changes_that_the_catalogue_does_not_know_to_be() -> None:
    name, filter_name = next(
        (each.name, each.list_operation.filters[0].name)
        for each in CATALOG.resources.values()
        if each.list_operation and each.incremental is None and each.list_operation.filters
    )
    incremental = told({name: {"since_filter": filter_name}}).resource(name).incremental

    assert (incremental.filter, incremental.tracks_updates, incremental.lookback) == (
        filter_name,
        False,
        DEFAULT_LOOKBACK,
    )


def test_the_key_of_the_records_is_that_of_the_list_operation_alone() -> None:
    catalog = told({"patients": {"records_key": "items"}})

    assert catalog.operation("patients_list").response.rows == "items"
    assert catalog.resource("patients").list_operation.response.rows == "items"
    assert catalog.operation("patients_read") == CATALOG.operation("patients_read")
    assert catalog.operation("tasks_list") == CATALOG.operation("tasks_list")


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        ([], "they are of type list, not a mapping"),
        ({"patients": 3}, "facts['patients'] is of type int, not a mapping"),
        ({"patience": {}}, "did you mean 'patients"),
        ({"patients": {"pagesize": 3}}, "facts['patients'] has no fact 'pagesize' (did you mean 'page_size'?)"),
        ({"*": {"since_filter": "since"}}, "facts['*'] cannot hold since_filter, which differs from list to list"),
        ({"patients": {"page_size": 0}}, "facts['patients']['page_size'] must be a whole number from 1 to"),
        ({"patients": {"page_size": True}}, "facts['patients']['page_size'] must be a whole number"),
        ({"patients": {"page_size": "100"}}, "facts['patients']['page_size'] must be a whole number"),
        ({"*": {"lookback": -1}}, "facts['*']['lookback'] must be seconds"),
        ({"*": {"lookback": float("nan")}}, "facts['*']['lookback'] must be seconds"),
        ({"tasks": {"timezone": "Mars/Olympus"}}, "facts['tasks']['timezone'] must be an IANA name"),
        ({"tasks": {"timezone": ""}}, "facts['tasks']['timezone'] must be an IANA name"),
        ({"tasks": {"tracks_updates": "yes"}}, "facts['tasks']['tracks_updates'] must be true or false"),
        ({"patients": {"changed_field": "updated"}}, "names no field of the list (did you mean 'updated_at'?)"),
        ({"patients": {"since_filter": "sinc"}}, "names no filter of the list (did you mean 'since'?)"),
        ({"patients": {"requires_one_of": ["doctr"]}}, "names no filter of the list (did you mean 'doctor'?)"),
        ({"patients": {"requires_one_of": "since"}}, "must be a list of names of filters"),
        ({"patients": {"records_key": "a b"}}, "facts['patients']['records_key'] must be the name of a key"),
        ({"lab_results": {"lookback": 60}}, "facts['lab_results']['lookback'] needs since_filter"),
        ({"lab_results": {"bulk_page_size": 60}}, "there is no bulk list of them"),
        ({"patients": {"changed_field": None}}, "facts['patients']['tracks_updates'] needs changed_field"),
    ],
)  # fmt: skip
def test_what_cannot_hold_is_named_with_its_place(facts: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        checked_facts(CATALOG, facts)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ValueError, match=r"page_size.*; .*lookback"):
        checked_facts(CATALOG, {"patients": {"page_size": 0}, "tasks": {"lookback": "x"}})


def test_the_page_on_connections_lists_every_fact() -> None:
    from pathlib import Path

    page = (Path(__file__).resolve().parents[3] / "docs/connection.md").read_text()
    table = page.partition("| fact | what it says")[2].partition("\n\n")[0]
    assert [line.split("`")[1] for line in table.splitlines()[2:]] == list(FactsOfList.__annotations__)
