from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_drchrono.client.errors import ServerError
from airflow_provider_drchrono.client.retry import (
    LONGEST_HINT,
    RetryDecision,
    RetryReason,
    available_in,
    decide,
    hour_left,
    http_date,
    pause_after,
    refused_for,
)

NOW = datetime(2026, 3, 1, 10, 59, 0, tzinfo=UTC)


def decision(reason: RetryReason, **changes: Any) -> RetryDecision:
    values: dict[str, Any] = {
        "repeatable": True,
        "attempt": 1,
        "max_attempts": 5,
        "max_wait": 5.0,
        "jitter": lambda: 1.0,
    }
    return decide(reason, **values | changes)


@pytest.mark.parametrize(
    ("kind", "repeatable", "action"),
    [
        pytest.param("unsent", False, "again", id="post-never-sent"),
        pytest.param("throttled", False, "again", id="post-throttled"),
        pytest.param("lost", False, "fail", id="post-lost"),
        pytest.param("failed", False, "fail", id="post-failed"),
        pytest.param("malformed", False, "fail", id="post-malformed"),
        pytest.param("unsent", True, "again", id="get-never-sent"),
        pytest.param("throttled", True, "again", id="get-throttled"),
        pytest.param("lost", True, "again", id="get-lost"),
        pytest.param("failed", True, "again", id="get-failed"),
        pytest.param("malformed", True, "again", id="get-malformed"),
    ],
)
def test_what_is_sent_again(kind: Any, repeatable: bool, action: str) -> None:
    assert decision(RetryReason(kind), repeatable=repeatable).action == action


@pytest.mark.parametrize("kind", ["unsent", "lost", "failed", "malformed"])
def test_the_last_attempt_fails(kind: Any) -> None:
    assert decision(RetryReason(kind), attempt=5) == RetryDecision("fail")


def test_waits_double_up_to_the_bound() -> None:
    waits = [decision(RetryReason("failed"), attempt=each, max_attempts=9).seconds for each in range(1, 7)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_jitter_is_full() -> None:
    assert decision(RetryReason("failed"), jitter=lambda: 0.0).seconds == 0.0
    assert decision(RetryReason("failed"), attempt=3, jitter=lambda: 0.5).seconds == 1.0


def test_a_hint_is_kept_to() -> None:
    assert decision(RetryReason("throttled", available_in=3.0)) == RetryDecision("again", 3.0)
    assert decision(RetryReason("failed", available_in=3.0)) == RetryDecision("again", 3.0)


@pytest.mark.parametrize("kind", ["throttled", "failed"])
def test_a_long_wait_is_put_off_at_once(kind: Any) -> None:
    assert decision(RetryReason(kind, available_in=1800.0)) == RetryDecision("later", 1800.0)


def test_a_wait_just_as_long_as_may_be_slept_is_slept() -> None:
    assert decision(RetryReason("throttled", available_in=5.0)) == RetryDecision("again", 5.0)
    assert decision(RetryReason("throttled", available_in=5.01)) == RetryDecision("later", 5.01)


def test_a_hint_of_weeks_is_cut() -> None:
    assert decision(RetryReason("throttled", available_in=1e12)) == RetryDecision("later", LONGEST_HINT)


@pytest.mark.parametrize("kind", ["throttled", "failed"])
def test_a_hint_of_a_day_is_asked_again_when_the_next_hour_begins(kind: Any) -> None:
    reason = RetryReason(kind, available_in=86_400.0, hour_left=1200.0)
    assert decision(reason) == RetryDecision("later", 1200.0)
    assert refused_for(reason, 1) == (1200.0 if kind == "throttled" else None)


def test_a_throttle_without_a_hint_is_first_taken_for_the_one_by_the_second_then_by_the_hour() -> None:
    assert decision(RetryReason("throttled", hour_left=1200.0)) == RetryDecision("again", 1.0)
    assert decision(RetryReason("throttled", hour_left=1200.0), attempt=2) == RetryDecision("later", 1200.0)
    assert decision(RetryReason("throttled", hour_left=0.4)) == RetryDecision("again", 0.4)


def test_a_throttle_that_does_not_end_is_put_off_rather_than_failed() -> None:
    assert decision(RetryReason("throttled", available_in=2.0), attempt=5) == RetryDecision("later", 2.0)


@pytest.mark.parametrize(
    ("retry_after", "body", "seconds"),
    [
        pytest.param("7", b"", 7.0, id="seconds"),
        pytest.param("7.5", b"", 7.5, id="fraction"),
        pytest.param("Sun, 01 Mar 2026 11:00:00 GMT", b"", 60.0, id="date"),
        pytest.param("Sun, 01 Mar 2026 10:00:00 GMT", b"", None, id="past-date"),
        pytest.param("0", b"", None, id="zero"),
        pytest.param("-5", b"", None, id="negative"),
        pytest.param("inf", b"", None, id="infinite"),
        pytest.param("nan", b"", None, id="not-a-number"),
        pytest.param("soon", b"", None, id="garbage"),
        pytest.param("Sun, 99 Foo 2026 10:00:00 GMT", b"", None, id="broken-date"),
        pytest.param("", b"", None, id="empty"),
        pytest.param(None, b"", None, id="missing"),
        pytest.param("1e9", b"", 1e9, id="huge"),
        pytest.param(
            None, b'{"detail": "Request was throttled. Expected available in 1234 seconds."}', 1234.0, id="body"
        ),
        pytest.param(None, b'{"detail": "Expected available in 1 second."}', 1.0, id="body-singular"),
        pytest.param("soon", b"expected available in 12 seconds", 12.0, id="garbage-then-body"),
        pytest.param("3", b"expected available in 12 seconds", 3.0, id="header-first"),
        pytest.param(None, b"available in a while", None, id="body-without-number"),
    ],
)
def test_what_the_api_says_about_waiting(retry_after: str | None, body: bytes, seconds: float | None) -> None:
    assert available_in(retry_after, body, NOW) == seconds


@pytest.mark.parametrize(
    ("now", "seconds"),
    [
        pytest.param(datetime(2026, 3, 1, 10, 59, 0, tzinfo=UTC), 60.0, id="last-minute"),
        pytest.param(datetime(2026, 3, 1, 10, 0, 0, tzinfo=UTC), 3600.0, id="just-begun"),
        pytest.param(datetime(2026, 3, 1, 10, 30, 30, 500000, tzinfo=UTC), 1769.5, id="middle"),
    ],
)
def test_the_clock_hour_ends_on_the_hour(now: datetime, seconds: float) -> None:
    assert hour_left(now) == seconds


AFTER_YEAR_9999 = "Fri, 31 Dec 9999 23:59:59 -1200"


@pytest.mark.parametrize("text", [None, "", "yesterday", "2026-99-99", AFTER_YEAR_9999])
def test_what_is_no_http_date(text: str | None) -> None:
    assert http_date(text) is None


def test_the_fifth_failure_of_a_poll_is_the_last() -> None:
    error = ServerError("down")
    assert [pause_after(error, failures, 10.0) for failures in range(1, 5)] == [10.0] * 4
    with pytest.raises(ServerError):
        pause_after(error, 5, 10.0)
