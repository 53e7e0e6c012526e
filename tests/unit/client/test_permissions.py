"""What is said of a 403: the scopes that suffice, those the token has, and the plan where nothing else is left."""

import pytest

from airflow_provider_drchrono.client import DrChronoClient, PermissionDeniedError
from airflow_provider_drchrono.client.permissions import PLAN, refused_access
from airflow_provider_drchrono.sandbox import Sandbox
from tests.unit.client.support import sandbox_settings


def said(
    *granted: str, scopes: tuple[str, ...] = ("tasks:write",), permissions: tuple[str, ...] = ("manage-tasks",)
) -> str:
    return refused_access("tasks_create", scopes=scopes, permissions=permissions, granted=granted)


def test_a_scope_that_is_known_to_lack_is_the_reason() -> None:
    text = said("tasks:read", "user:read")

    assert "a token with the scope tasks:write, and the token has only tasks:read, user:read" in text
    assert "also needs a user with the permission manage-tasks" in text
    assert PLAN not in text


def test_a_scope_that_is_there_leaves_permission_and_plan() -> None:
    text = said("tasks:write", "user:read")

    assert "The scopes suffice: it takes tasks:write, and the token has tasks:write, user:read" in text
    assert "authorize the application" not in text
    assert text.endswith(
        f"a user with the permission manage-tasks, which an administrator gives in DrChrono under the staff "
        f"permissions. If that is there, {PLAN}"
    )


def test_scopes_that_are_not_known_leave_all_three() -> None:
    text = said(scopes=("patients:read", "patients:write"))

    assert "tasks_create: the API refused access (403)" in text
    assert "the scope patients:read or patients:write" in text
    assert "the permission manage-tasks" in text
    assert f"If both are there, {PLAN}" in text


@pytest.mark.parametrize("granted", [(), ("user:read",)])
def test_where_nothing_is_asked_for_the_record_may_be_anothers(granted: tuple[str, ...]) -> None:
    assert f"another practice, or {PLAN}" in said(*granted, scopes=(), permissions=())


def test_a_token_that_only_reads_is_told_the_scope_that_writes() -> None:
    with (
        Sandbox(patients=1, scopes=("tasks:read",)) as sandbox,
        DrChronoClient(sandbox_settings(sandbox)) as client,
        pytest.raises(PermissionDeniedError) as caught,
    ):
        client.create("tasks", {"title": "x"})

    assert caught.value.scopes == ("tasks:write",)
    assert caught.value.granted == ("tasks:read",)
    assert "the scope tasks:write, and the token has only tasks:read" in str(caught.value)
    assert "plan" not in str(caught.value)
