"""One call from first attempt to answer: quota, sending, redirects, another token, and repeats.

It is written as a generator that yields what is to be done and is sent what came of it, so that the synchronous and
the asynchronous client run the very same code and differ only in how they send and wait.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urljoin

from airflow_provider_drchrono.client.errors import DrChronoError, RateLimitedError, UnexpectedAnswerError
from airflow_provider_drchrono.client.paging import record_count, same_origin
from airflow_provider_drchrono.client.quota import Quota
from airflow_provider_drchrono.client.request import Request
from airflow_provider_drchrono.client.responses import (
    Answer,
    UnreadableError,
    decode,
    failure_error,
    retry_reason_of,
    server_time_of,
    unreadable_error,
)
from airflow_provider_drchrono.client.retry import RetryReason, decide, refused_for
from airflow_provider_drchrono.client.settings import ClientSettings
from airflow_provider_drchrono.client.transport import Failure, Outcome, Reply

log = logging.getLogger("airflow_provider_drchrono.client")

REDIRECTS = (301, 302, 307, 308)
MOST_REDIRECTS = 5


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
    """See to it that there is an access token, so that no place in the quota is held while it is renewed."""


@dataclass(frozen=True, slots=True)
class BlockingStep:
    """Do something that may block for a moment, and answer with what it returns."""

    work: Callable[[], Any]


Step = Send | Wait | Authorize | BlockingStep
T = TypeVar("T")
Flow = Generator[Step, Any, T]


@dataclass(slots=True)
class _CallState:
    """How far a call has come.

    :param doubtful: an earlier attempt may have been carried out.
    :param held: seconds for which the quota, or a 429, has kept it waiting.
    """

    request: Request
    attempt: int = 1
    hops: int = 0
    renewed: bool = False
    doubtful: bool = False
    held: float = 0.0


@dataclass(slots=True)
class RequestRunner:
    """Makes calls for one client and counts them.

    :param settings: how often to try and how long to wait.
    :param quota: asked before each request; None means that nothing is counted.
    :param granted: returns the scopes of the token in use, as far as they are known, for the error of a 403.
    """

    settings: ClientSettings
    quota: Quota | None
    granted: Callable[[], tuple[str, ...]] = tuple
    calls: int = 0
    server_time: datetime | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, request: Request) -> Flow[Answer]:
        """Carry a request through to its answer.

        :raises DrChronoError: see the tree in :mod:`airflow_provider_drchrono.client.errors`.
        """
        try:
            return (yield from self._carry_out(_CallState(request)))
        except DrChronoError as error:
            error.operation_id = error.operation_id or request.operation.id
            raise

    def _carry_out(self, state: _CallState) -> Flow[Answer]:
        while True:
            yield Authorize()
            began = time.monotonic()
            outcome = yield from (self._send_within(self.quota, state) if self.quota else _send(state))
            self._count(outcome)
            answer = self._advance(state, outcome, time.monotonic() - began)
            if isinstance(answer, Answer):
                return answer
            if answer > 0:
                yield Wait(answer)

    def _send_within(self, quota: Quota, state: _CallState) -> Flow[Outcome]:
        call = secrets.token_hex(8)
        sent = False
        try:
            while seconds := (yield BlockingStep(partial(quota.acquire, call))):
                self._hold(state, seconds, "our own count of the quota is used up", None)
                yield Wait(seconds)
            sent = True
            outcome = yield from _send(state)
        except BaseException as error:
            # The task was cancelled, has to wait for too long, or got no token.
            _settle(quota, call, sent=sent and not isinstance(error, DrChronoError))
            raise
        reply = outcome if isinstance(outcome, Reply) else None
        yield BlockingStep(
            partial(
                _settle,
                quota,
                call,
                sent=reply is not None or (isinstance(outcome, Failure) and outcome.sent),
                server_time=server_time_of(reply) if reply else None,
                refused_for=refused_for(retry_reason_of(outcome), state.attempt),
            )
        )
        return outcome

    def _hold(self, state: _CallState, seconds: float, reason: str, status: int | None) -> None:
        """Note that a call has to wait, or give it up so that its worker is free for others."""
        most = self.settings.max_wait
        if seconds > most or state.held + seconds > 2 * most:
            raise self._later(state.request, seconds, reason, status)
        state.held += seconds

    def _count(self, outcome: Outcome) -> None:
        if isinstance(outcome, Failure) and not outcome.sent:
            return
        with self._lock:
            self.calls += 1
            if isinstance(outcome, Reply):
                self.server_time = server_time_of(outcome) or self.server_time

    def _advance(self, state: _CallState, outcome: Outcome, seconds: float) -> Answer | float:
        """Return the answer, or the seconds to wait before the state's request is sent (again)."""
        if isinstance(outcome, Reply):
            settled = self._settle(state, outcome)
            if settled is not None:
                _log(state, outcome.status, seconds, settled)
                return settled
        _log(state, outcome.status if isinstance(outcome, Reply) else outcome.kind, seconds)
        reason = retry_reason_of(outcome)
        error = failure_error(state.request, outcome, self.settings, self.granted())
        if reason is None:
            raise error
        return self._after(state, reason, error, outcome)

    def _settle(self, state: _CallState, reply: Reply) -> Answer | float | None:
        """Deal with the replies that are no failures; None is for those that are."""
        if 200 <= reply.status < 300:
            return self._read(state, reply)
        if reply.status == 401 and not state.renewed:
            # The authentication has noted it and sends the next request with another token.
            state.renewed = True
            return 0.0
        if reply.status in REDIRECTS and reply.headers.get("location"):
            state.request = self._redirected(state, reply)
            return 0.0
        if reply.status == 404 and state.doubtful and state.request.method == "DELETE":
            # An earlier attempt, whose answer was lost, deleted it.
            return _answer(None, reply)
        return None

    def _read(self, state: _CallState, reply: Reply) -> Answer | float:
        try:
            return _answer(decode(state.request, reply), reply)
        except UnreadableError as unreadable:
            error = unreadable_error(state.request, reply, str(unreadable))
        return self._after(state, RetryReason("malformed"), error, reply)

    def _after(self, state: _CallState, reason: RetryReason, error: DrChronoError, outcome: Outcome) -> float:
        """Return the seconds until the next attempt, or raise when there is none."""
        request = state.request
        decision = decide(
            reason,
            repeatable=request.repeatable,
            attempt=state.attempt,
            max_attempts=self.settings.max_attempts,
            max_wait=self.settings.max_wait,
            jitter=random.random,
        )
        if decision.action == "fail":
            raise error
        status = outcome.status if isinstance(outcome, Reply) else None
        if decision.action == "later":
            raise self._later(request, decision.seconds, f"the API answered {status}", status)
        if reason.kind == "throttled":
            self._hold(state, decision.seconds, f"the API answered {status}", status)
        log.info(
            "%s: attempt %d of %d failed (%s), the next one is in %.1f s",
            request.operation.id,
            state.attempt,
            self.settings.max_attempts,
            reason.kind,
            decision.seconds,
        )
        state.attempt += 1
        state.doubtful = state.doubtful or reason.kind in ("lost", "malformed", "failed")
        return decision.seconds

    def _later(self, request: Request, seconds: float, reason: str, status: int | None) -> RateLimitedError:
        retry_at = datetime.now(UTC) + timedelta(seconds=seconds)
        return RateLimitedError(
            f"{request.operation.id}: {reason}; go on at {retry_at:%Y-%m-%d %H:%M:%S} UTC, or ask DrChrono "
            "for a larger quota",
            retry_at=retry_at,
            operation_id=request.operation.id,
            status=status,
        )

    def _redirected(self, state: _CallState, reply: Reply) -> Request:
        request = state.request
        state.hops += 1
        url = urljoin(request.url, reply.headers["location"])
        if not same_origin(self.settings.base_url, url):
            reason = "to another host, to which the token must not go; check the base URL"
        elif state.hops > MOST_REDIRECTS:
            reason = f"for the {state.hops}th time; try later"
        else:
            return request.at(url)
        raise UnexpectedAnswerError(
            f"{request.operation.id}: the API redirects {reason}",
            operation_id=request.operation.id,
            status=reply.status,
        )


def _send(state: _CallState) -> Flow[Outcome]:
    outcome: Outcome = yield Send(state.request)
    return outcome


def _settle(quota: Quota, call: str, **end: Any) -> None:
    try:
        quota.settle(call, **end)
    except DrChronoError as error:
        # The call has been made; what came of it must not be lost to a count.
        log.warning("%s", error)


def _answer(value: Any, reply: Reply) -> Answer:
    return Answer(value, server_time_of(reply) or datetime.now(UTC))


def _log(state: _CallState, status: int | str, seconds: float, settled: Answer | float | None = None) -> None:
    if log.isEnabledFor(logging.DEBUG):
        rows = record_count(settled.value) if isinstance(settled, Answer) else 0
        log.debug(
            "%s: %s, attempt %d, %.0f ms, %d records",
            state.request.operation.id,
            status,
            state.attempt,
            seconds * 1000,
            rows,
        )
