"""A call as a generator: it yields what is to be done and is sent what came of it.

So the synchronous client, the asynchronous client and the token endpoint run the very same code, and differ only in
how they send and wait. The loop that sends again after a failure is here, too; what it decides is in
:mod:`airflow_provider_drchrono.client.retry`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from airflow_provider_drchrono.client.errors import DrChronoError, RateLimitedError
from airflow_provider_drchrono.client.request import Request
from airflow_provider_drchrono.client.retry import RetryReason, decide
from airflow_provider_drchrono.client.settings import ClientSettings
from airflow_provider_drchrono.client.transport import Outcome, Reply

log = logging.getLogger("airflow_provider_drchrono.client")


@dataclass(frozen=True, slots=True)
class Send:
    """Send the request and answer with its :data:`Outcome`."""

    request: Request


@dataclass(frozen=True, slots=True)
class Wait:
    """Let this many seconds pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Authorize:
    """Make sure that there is an access token, so that no place in the quota is held while it is renewed."""


@dataclass(frozen=True, slots=True)
class BlockingStep:
    """Do something that may block for a moment, and answer with what it returns."""

    work: Callable[[], Any]


Step = Send | Wait | Authorize | BlockingStep
T = TypeVar("T")
Flow = Generator[Step, Any, T]


def run_flow(flow: Flow[T], do: Callable[[Step], Any]) -> T:
    """Carry a flow to its end in this thread.

    :param do: does one step and returns what came of it.
    """
    try:
        step = next(flow)
        while True:
            try:
                result = do(step)
            except BaseException as error:
                # So that the call gives back what it holds of the quota.
                step = flow.throw(error)
            else:
                step = flow.send(result)
    except StopIteration as finished:
        value: T = finished.value
        return value


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt that did not do.

    :param reason: why another attempt may do; None if none will.
    :param error: what is raised if there is no other attempt.
    """

    reason: RetryReason | None
    error: DrChronoError
    status: int | None = None


@dataclass(frozen=True, slots=True)
class SendAgain:
    """The request, or another in its place, has to be sent at once; it is no further attempt."""


@dataclass(slots=True)
class CallState:
    """How far a call has come.

    :param name: what is called, the first words of its errors and log lines.
    :param repeatable: whether a second arrival does no harm.
    :param attempt: the number of the attempt, from 1.
    :param in_doubt: an earlier attempt may have been carried out.
    :param held: seconds for which the quota, or a 429, has kept it waiting.
    """

    name: str
    repeatable: bool
    settings: ClientSettings
    attempt: int = 1
    in_doubt: bool = False
    held: float = 0.0

    def hold(self, seconds: float, reason: str, status: int | None) -> None:
        """Note that the call has to wait for the quota, or give it up so that its worker is free for others.

        :raises RateLimitedError: the wait is too long.
        """
        most = self.settings.max_wait
        if seconds > most or self.held + seconds > 2 * most:
            raise self.put_off(seconds, reason, status)
        self.held += seconds

    def put_off(self, seconds: float, reason: str, status: int | None) -> RateLimitedError:
        """Return the error of a call that has to be made later."""
        retry_at = datetime.now(UTC) + timedelta(seconds=seconds)
        return RateLimitedError(
            f"{self.name}: {reason}; go on at {retry_at:%Y-%m-%d %H:%M:%S} UTC, or ask DrChrono for a larger quota",
            retry_at=retry_at,
            status=status,
        )

    def next_attempt(self, failed: Failed) -> float:
        """Return the seconds until the next attempt.

        :raises DrChronoError: there is none.
        """
        reason = failed.reason
        if reason is None:
            raise failed.error
        decision = decide(
            reason,
            repeatable=self.repeatable,
            attempt=self.attempt,
            max_attempts=self.settings.max_attempts,
            max_wait=self.settings.max_wait,
            jitter=random.random,
        )
        if decision.action == "fail":
            raise failed.error
        if decision.action == "later":
            raise self.put_off(decision.seconds, f"the API answered {failed.status}", failed.status)
        if reason.kind == "throttled":
            self.hold(decision.seconds, f"the API answered {failed.status}", failed.status)
        log.info(
            "%s: attempt %d of %d failed (%s), the next one is in %.1f s",
            self.name,
            self.attempt,
            self.settings.max_attempts,
            reason.kind,
            decision.seconds,
        )
        self.attempt += 1
        self.in_doubt = self.in_doubt or reason.kind in ("lost", "malformed", "failed")
        return decision.seconds


def attempt_until_done(
    state: CallState, send: Callable[[], Flow[Outcome]], judge: Callable[[Outcome], T | Failed | SendAgain]
) -> Flow[T]:
    """Send until there is an answer, or until the state says that it is no use.

    :param send: makes one attempt.
    :param judge: returns the answer that an outcome holds, or why it holds none.
    :raises DrChronoError: there is no answer.
    """
    while True:
        result = judge((yield from send()))
        if isinstance(result, SendAgain):
            continue
        if not isinstance(result, Failed):
            return result
        seconds = state.next_attempt(result)
        if seconds > 0:
            yield Wait(seconds)


def status_of(outcome: Outcome) -> int | None:
    """Return the status of an outcome, if it has one."""
    return outcome.status if isinstance(outcome, Reply) else None
