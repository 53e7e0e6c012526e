"""What a grant can do, decided from the catalogue alone."""

from collections import Counter

import pytest

from airflow_provider_drchrono import catalog
from airflow_provider_drchrono.cli.doctor import examine, summary

CATALOG = catalog.load()


def test_everything_has_a_verdict_once() -> None:
    capabilities = examine(CATALOG, CATALOG.service.scopes)

    assert Counter(each.kind for each in capabilities) == {"action": 174, "trigger": 23, "operation": 157}
    assert {each.operation_id for each in capabilities if each.kind != "trigger"} == set(CATALOG.operations)
    assert {each.can for each in capabilities} == {"yes"}


def test_a_grant_that_only_reads_patients_names_what_the_rest_needs() -> None:
    by_operation = {each.operation_id: each for each in examine(CATALOG, ["patients:read"])}

    assert by_operation["patients_list"].can == "yes"
    creating = by_operation["patients_create"]
    assert (creating.can, creating.scopes, creating.permissions) == ("no", ("patients:write",), ("manage-patients",))
    appointments = by_operation["appointments_list"]
    assert appointments.can == "no"
    assert "calendar:read" in appointments.scopes


def test_triggers_need_what_their_list_needs() -> None:
    possible = {each.name for each in examine(CATALOG, ["tasks:read"]) if each.kind == "trigger" and each.can == "yes"}

    expected = {each.title for each in CATALOG.triggers if "tasks:read" in CATALOG.operation(each.operation).scopes}
    assert possible == expected
    assert possible


@pytest.mark.parametrize(
    ("operation_id", "scopes"),
    [
        pytest.param("patients_list", ("patients:read", "patients:write"), id="reading takes either"),
        pytest.param("patients_create", ("patients:write",), id="writing takes the one that writes"),
    ],
)
def test_scopes_that_suffice(operation_id: str, scopes: tuple[str, ...]) -> None:
    assert CATALOG.operation(operation_id).scopes == scopes


def test_operations_without_scopes_are_always_possible() -> None:
    free = {each.id for each in CATALOG.operations.values() if not each.scopes}
    possible = {each.operation_id for each in examine(CATALOG, ["user:read"]) if each.can == "yes"}

    assert free
    assert free <= possible


def test_scopes_that_are_not_known_leave_it_open() -> None:
    assert {each.can for each in examine(CATALOG, ()) if each.scopes} == {"unknown"}


@pytest.mark.parametrize(
    ("outcome", "can"), [("allowed", "yes"), ("refused", "no"), ("empty", "unknown"), ("failed", "unknown")]
)
def test_what_was_tried_decides_for_all_that_need_the_same_permissions(outcome: str, can: str) -> None:
    capabilities = examine(CATALOG, CATALOG.service.scopes, {("manage-patients",): outcome})  # type: ignore[dict-item]

    assert {each.can for each in capabilities if each.permissions == ("manage-patients",)} == {can}
    assert {each.can for each in capabilities if each.permissions != ("manage-patients",)} == {"yes"}


def test_the_summary_counts_what_is_possible() -> None:
    capabilities = examine(CATALOG, ["patients:read"])
    lines = list(summary("jsmith (user 7)", ["patients:read"], 2, capabilities, probed=False))

    actions = sum(each.kind == "action" and each.can == "yes" for each in capabilities)
    assert lines[0] == "Token of jsmith (user 7)"
    assert f"Actions: {actions} of 174 possible" in lines
    assert lines[-1] == "Calls made: 2"
