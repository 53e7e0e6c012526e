"""When a read that succeeded is taken for one that hides records, and what follows."""

import logging
from typing import Any

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.incremental.suspicion import (
    ReadFacts,
    Suspicion,
    SuspiciousReadError,
    act_on,
    is_believable,
    is_far_fewer,
    suspicions,
)

PATIENTS = load().operation("patients_list")
MAY_READ = ("patients:read", "user:read")
MAY_NOT = ("user:read",)


def kinds(read: ReadFacts, granted: tuple[str, ...] = MAY_READ) -> list[str]:
    return [each.kind for each in suspicions(PATIENTS, read, granted)]


@pytest.mark.parametrize("complete", [True, False])
def test_nothing_for_a_token_without_the_scope_is_suspicious_in_any_read(complete: bool) -> None:
    (only,) = suspicions(PATIENTS, ReadFacts(0, complete=complete), MAY_NOT)

    assert only.kind == "rights"
    assert "the scope patients:read or patients:write, and the" in only.text
    assert "token has only user:read: authorize the application with the missing scope" in only.text
    assert kinds(ReadFacts(1, complete=complete), MAY_NOT) == []


def test_nothing_is_usual_where_the_scopes_suffice_or_are_not_known() -> None:
    assert kinds(ReadFacts(0)) == kinds(ReadFacts(0), ()) == kinds(ReadFacts(0, complete=True)) == []


@pytest.mark.parametrize(
    ("records", "expected", "answer"),
    [
        (0, 1, True),
        (0, 60, True),
        (29, 60, True),
        (30, 60, False),
        (40, 60, False),
        (60, 60, False),
        (61, 60, False),
        (1, 8, False),
        (1, 11, False),
        (1, 12, True),
        (0, 0, False),
        (0, None, False),
    ],
)
def test_half_of_what_there_was_is_far_fewer(records: int, expected: int | None, answer: bool) -> None:
    assert is_far_fewer(records, expected) is answer
    assert kinds(ReadFacts(records, complete=True, expected=expected)) == (["missing"] if answer else [])
    assert kinds(ReadFacts(records, complete=False, expected=expected)) == []


@pytest.mark.parametrize(
    ("known", "missing", "believed"),
    [
        pytest.param(0, 0, True, id="an empty table"),
        pytest.param(60, 0, True, id="all seen"),
        pytest.param(60, 60, False, id="nothing seen"),
        pytest.param(1, 1, False, id="the only one not seen"),
        pytest.param(12, 3, True, id="fewer than few"),
        pytest.param(12, 10, True, id="few"),
        pytest.param(60, 11, False, id="many of few"),
        pytest.param(1000, 100, True, id="a tenth"),
        pytest.param(1000, 101, False, id="more than a tenth"),
    ],
)
def test_a_read_is_believed_if_it_saw_most(known: int, missing: int, believed: bool) -> None:
    assert is_believable(known, missing) == believed


def test_what_is_missing_is_said_in_numbers_with_the_rights_that_the_list_takes() -> None:
    (only,) = suspicions(PATIENTS, ReadFacts(3, complete=True, expected=60_000), MAY_READ)

    assert "returned 3 records, where there were 60,000" in only.text
    assert "It needs a user with the permission manage-patients" in only.text


def test_a_page_without_a_record_in_the_middle_is_suspicious() -> None:
    (only,) = suspicions(PATIENTS, ReadFacts(500, gaps=1), MAY_READ)

    assert only.kind == "gap"
    assert only.may_pass


def test_a_suspicion_is_logged_or_raised_as_chosen(caplog: pytest.LogCaptureFixture) -> None:
    found: list[Any] = [Suspicion("gap", "a gap"), Suspicion("missing", "few")]

    with caplog.at_level(logging.WARNING):
        act_on(found, "warn")
    assert caplog.messages == ["a gap", "few"]

    with pytest.raises(SuspiciousReadError, match=r"a gap\. few\. Nothing of this read was kept") as caught:
        act_on(found, "fail")
    assert not caught.value.transient
    with pytest.raises(SuspiciousReadError) as caught:
        act_on(found[:1], "fail")
    assert caught.value.transient
    act_on([], "fail")
