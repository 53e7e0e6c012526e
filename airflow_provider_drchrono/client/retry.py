"""Decides whether a request is sent again, and when. Nothing here waits or sends."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Literal

from airflow_provider_drchrono.client.errors import DrChronoError, RateLimitedError

FIRST_DELAY = 0.5
"""Seconds before the second attempt, at most; each further wait may be twice as long."""

THROTTLE_DELAY = 1.0
"""Seconds to wait after a 429 that says nothing: calls are also limited by the second."""

LONGEST_HINT = 3600.0
"""Seconds. The quota is by the hour, so after a longer hint we ask again when the next hour begins."""

MOST_FAILURES = 5
"""So many calls of a poll may fail one after the other before its error is raised."""

AVAILABLE_IN = re.compile(rb"available in (\d+(?:\.\d+)?) second", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RetryReason:
    """Why an attempt did not do.

    :param kind: ``unsent``: it never reached the API; ``lost``: it may have, and no whole answer came; ``malformed``:
        the answer of a success cannot be read; ``throttled``: 429; ``failed``: the API failed, 5xx and the like.
    :param available_in: seconds after which the API says it will answer, if it does.
    :param hour_left: seconds until the clock hour ends, on the API's clock.
    """

    kind: Literal["unsent", "lost", "malformed", "throttled", "failed"]
    available_in: float | None = None
    hour_left: float = 3600.0


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """``again`` after ``seconds``; or ``later``: too long to be slept, go on in ``seconds``; or ``fail``."""

    action: Literal["again", "later", "fail"]
    seconds: float = 0.0


def decide(
    reason: RetryReason,
    *,
    repeatable: bool,
    attempt: int,
    max_attempts: int,
    max_wait: float,
    jitter: Callable[[], float],
) -> RetryDecision:
    """Say what follows a failed attempt.

    :param repeatable: whether a second arrival does no harm. If not, only what was never sent or was answered 429 is
        sent again.
    :param attempt: the number of the attempt, from 1.
    :param max_attempts: how many there may be.
    :param max_wait: the longest wait in seconds that may be slept.
    :param jitter: a random number from 0 to 1.
    """
    throttled = reason.kind == "throttled"
    if not repeatable and reason.kind not in ("unsent", "throttled"):
        return RetryDecision("fail")
    wait = _wait(reason, attempt, max_wait, jitter)
    if wait > max_wait or (throttled and attempt >= max_attempts):
        return RetryDecision("later", wait)
    if attempt >= max_attempts:
        return RetryDecision("fail")
    return RetryDecision("again", wait)


def _wait(reason: RetryReason, attempt: int, max_wait: float, jitter: Callable[[], float]) -> float:
    if reason.available_in:
        return _believed(reason, reason.available_in)
    if reason.kind != "throttled":
        return jitter() * min(max_wait, FIRST_DELAY * 2.0 ** (attempt - 1))
    return _unexplained(reason, attempt)


def refused_for(reason: RetryReason | None, attempt: int) -> float | None:
    """Return for how many seconds an answer shuts out every caller of the application; None if it is not a 429."""
    if reason is None or reason.kind != "throttled":
        return None
    return _believed(reason, reason.available_in) if reason.available_in else _unexplained(reason, attempt)


def _believed(reason: RetryReason, seconds: float) -> float:
    return seconds if seconds <= LONGEST_HINT else reason.hour_left


def _unexplained(reason: RetryReason, attempt: int) -> float:
    if attempt == 1:
        return min(THROTTLE_DELAY, reason.hour_left)
    # A second has passed and it is still refused: the hour's quota is used up.
    return reason.hour_left


def pause_after(
    error: DrChronoError, failures: int, poll_interval: float, *, most_failures: int = MOST_FAILURES
) -> float:
    """Return the seconds for which a poll waits after a call that failed.

    :param failures: how many calls have failed one after the other, with this one.
    :param poll_interval: seconds between two polls.
    :raises DrChronoError: the error itself, where waiting does not help.
    """
    if isinstance(error, RateLimitedError):
        return max(poll_interval, error.retry_at.timestamp() - time.time() if error.retry_at else 0.0)
    if not error.transient or failures >= most_failures:
        raise error
    return poll_interval


def available_in(retry_after: str | None, body: bytes, now: datetime) -> float | None:
    """Return the seconds after which the API says it will answer again, or None if it says nothing of use.

    :param retry_after: the ``Retry-After`` header: seconds or an HTTP date.
    :param body: the answer's body, where the vendor writes "Expected available in N seconds".
    :param now: the time of the answer, for an HTTP date.
    """
    from_header = _seconds(retry_after, now) if retry_after else None
    if from_header is not None:
        return from_header
    found = AVAILABLE_IN.search(body)
    return float(found[1]) if found else None


def _seconds(text: str, now: datetime) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        date = http_date(text)
        seconds = (date - now).total_seconds() if date else math.nan
    return seconds if math.isfinite(seconds) and seconds > 0 else None


@lru_cache(maxsize=16)
def http_date(text: str | None) -> datetime | None:
    """Return an HTTP date as an aware time in UTC, or None if it is not one."""
    if not text:
        return None
    try:
        date = parsedate_to_datetime(text)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, OverflowError):
        # Where its zone leads out of the years 1 to 9999, too.
        return None


def hour_left(now: datetime) -> float:
    """Return the seconds until the top of the next clock hour, when the quota begins anew."""
    return 3600.0 - (now.minute * 60 + now.second + now.microsecond / 1e6)
