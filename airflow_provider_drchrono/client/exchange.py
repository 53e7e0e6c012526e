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

from airflow_provider_drchrono.client.answers import (
    Answer,
    UnreadableError,
    decode,
    failure_error,
    server_time_of,
    setback_of,
    unreadable_error,
)
from airflow_provider_drchrono.client.errors import DrChronoError, RateLimitedError, UnexpectedAnswerError
from airflow_provider_drchrono.client.paging import record_count, same_origin
from airflow_provider_drchrono.client.quota import Quota
from airflow_provider_drchrono.client.request import Request
from airflow_provider_drchrono.client.retry import Setback, decide, refused_for
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
class Consult:
    """Do something that may block for a moment, and answer with what it returns."""

    work: Callable[[], Any]


Step = Send | Wait | Authorize | Consult
T = TypeVar("T")
Flow = Generator[Step, Any, T]


@dataclass(slots=True)
class _Course:
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
class Exchanger:
    """Makes calls for one client and counts them.

    :param settings: how often to try and how long to wait.
    :param quota: asked before each request; None means that nothing is counted.
    """

    settings: ClientSettings
    quota: Quota | None
    calls: int = 0
    server_time: datetime | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def exchange(self, request: Request) -> Flow[Answer]:
        """Carry a request through to its answer.

        :raises DrChronoError: see the tree in :mod:`airflow_provider_drchrono.client.errors`.
        """
        try:
            return (yield from self._carry_out(_Course(request)))
        except DrChronoError as error:
            error.operation_id = error.operation_id or request.operation.id
            raise

    def _carry_out(self, course: _Course) -> Flow[Answer]:
        while True:
            yield Authorize()
            began = time.monotonic()
            outcome = yield from (self._send_within(self.quota, course) if self.quota else _send(course))
            self._count(outcome)
            answer = self._advance(course, outcome, time.monotonic() - began)
            if isinstance(answer, Answer):
                return answer
            if answer > 0:
                yield Wait(answer)

    def _send_within(self, quota: Quota, course: _Course) -> Flow[Outcome]:
        call = secrets.token_hex(8)
        sent = False
        try:
            while seconds := (yield Consult(partial(quota.acquire, call))):
                self._hold(course, seconds, "our own count of the quota is used up", None)
                yield Wait(seconds)
            sent = True
            outcome = yield from _send(course)
        except BaseException as error:
            # The task was cancelled, has to wait for too long, or got no token.
            _settle(quota, call, sent=sent and not isinstance(error, DrChronoError))
            raise
        reply = outcome if isinstance(outcome, Reply) else None
        yield Consult(
            partial(
                _settle,
                quota,
                call,
                sent=reply is not None or (isinstance(outcome, Failure) and outcome.sent),
                server_time=server_time_of(reply) if reply else None,
                refused_for=refused_for(setback_of(outcome), course.attempt),
            )
        )
        return outcome

    def _hold(self, course: _Course, seconds: float, reason: str, status: int | None) -> None:
        """Note that a call has to wait, or give it up so that its worker is free for others."""
        most = self.settings.max_wait
        if seconds > most or course.held + seconds > 2 * most:
            raise self._later(course.request, seconds, reason, status)
        course.held += seconds

    def _count(self, outcome: Outcome) -> None:
        if isinstance(outcome, Failure) and not outcome.sent:
            return
        with self._lock:
            self.calls += 1
            if isinstance(outcome, Reply):
                self.server_time = server_time_of(outcome) or self.server_time

    def _advance(self, course: _Course, outcome: Outcome, seconds: float) -> Answer | float:
        """Return the answer, or the seconds to wait before the course's request is sent (again)."""
        if isinstance(outcome, Reply):
            settled = self._settle(course, outcome)
            if settled is not None:
                _log(course, outcome.status, seconds, settled)
                return settled
        _log(course, outcome.status if isinstance(outcome, Reply) else outcome.mishap, seconds)
        setback = setback_of(outcome)
        error = failure_error(course.request, outcome, self.settings)
        if setback is None:
            raise error
        return self._after(course, setback, error, outcome)

    def _settle(self, course: _Course, reply: Reply) -> Answer | float | None:
        """Deal with the replies that are no failures; None is for those that are."""
        if 200 <= reply.status < 300:
            return self._read(course, reply)
        if reply.status == 401 and not course.renewed:
            # The authentication has noted it and sends the next request with another token.
            course.renewed = True
            return 0.0
        if reply.status in REDIRECTS and reply.headers.get("location"):
            course.request = self._redirected(course, reply)
            return 0.0
        if reply.status == 404 and course.doubtful and course.request.method == "DELETE":
            # An earlier attempt, whose answer was lost, deleted it.
            return _answer(None, reply)
        return None

    def _read(self, course: _Course, reply: Reply) -> Answer | float:
        try:
            return _answer(decode(course.request, reply), reply)
        except UnreadableError as unreadable:
            error = unreadable_error(course.request, reply, str(unreadable))
        return self._after(course, Setback("garbled"), error, reply)

    def _after(self, course: _Course, setback: Setback, error: DrChronoError, outcome: Outcome) -> float:
        """Return the seconds until the next attempt, or raise when there is none."""
        request = course.request
        verdict = decide(
            setback,
            repeatable=request.repeatable,
            attempt=course.attempt,
            max_attempts=self.settings.max_attempts,
            max_wait=self.settings.max_wait,
            jitter=random.random,
        )
        if verdict.action == "fail":
            raise error
        status = outcome.status if isinstance(outcome, Reply) else None
        if verdict.action == "later":
            raise self._later(request, verdict.seconds, f"the API answered {status}", status)
        if setback.kind == "throttled":
            self._hold(course, verdict.seconds, f"the API answered {status}", status)
        log.info(
            "%s: attempt %d of %d failed (%s), the next one is in %.1f s",
            request.operation.id,
            course.attempt,
            self.settings.max_attempts,
            setback.kind,
            verdict.seconds,
        )
        course.attempt += 1
        course.doubtful = course.doubtful or setback.kind in ("lost", "garbled", "failed")
        return verdict.seconds

    def _later(self, request: Request, seconds: float, reason: str, status: int | None) -> RateLimitedError:
        retry_at = datetime.now(UTC) + timedelta(seconds=seconds)
        return RateLimitedError(
            f"{request.operation.id}: {reason}; go on at {retry_at:%Y-%m-%d %H:%M:%S} UTC, or ask DrChrono "
            "for a larger quota",
            retry_at=retry_at,
            operation_id=request.operation.id,
            status=status,
        )

    def _redirected(self, course: _Course, reply: Reply) -> Request:
        request = course.request
        course.hops += 1
        url = urljoin(request.url, reply.headers["location"])
        if not same_origin(self.settings.base_url, url):
            reason = "to another host, to which the token must not go; check the base URL"
        elif course.hops > MOST_REDIRECTS:
            reason = f"for the {course.hops}th time; try later"
        else:
            return request.at(url)
        raise UnexpectedAnswerError(
            f"{request.operation.id}: the API redirects {reason}",
            operation_id=request.operation.id,
            status=reply.status,
        )


def _send(course: _Course) -> Flow[Outcome]:
    outcome: Outcome = yield Send(course.request)
    return outcome


def _settle(quota: Quota, call: str, **end: Any) -> None:
    try:
        quota.settle(call, **end)
    except DrChronoError as error:
        # The call has been made; what came of it must not be lost to a count.
        log.warning("%s", error)


def _answer(value: Any, reply: Reply) -> Answer:
    return Answer(value, server_time_of(reply) or datetime.now(UTC))


def _log(course: _Course, status: int | str, seconds: float, settled: Answer | float | None = None) -> None:
    if log.isEnabledFor(logging.DEBUG):
        rows = record_count(settled.value) if isinstance(settled, Answer) else 0
        log.debug(
            "%s: %s, attempt %d, %.0f ms, %d records",
            course.request.operation.id,
            status,
            course.attempt,
            seconds * 1000,
            rows,
        )
