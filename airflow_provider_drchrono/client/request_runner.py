"""One call to the API from first attempt to answer: quota, sending, redirects, another token, and repeats."""

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

from airflow_provider_drchrono.client.bounds import SizeLimit
from airflow_provider_drchrono.client.errors import DrChronoError, RateLimitedError, UnexpectedAnswerError
from airflow_provider_drchrono.client.paging import record_count
from airflow_provider_drchrono.client.quota import Quota
from airflow_provider_drchrono.client.request import Request, own_link, same_origin
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

Observer = Callable[[Reply], None]
"""Is given each reply as it came; it holds patient data."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send the request and answer with its :data:`Outcome`."""

    request: Request


@dataclass(frozen=True, slots=True)
class Fetch:
    """Read a file from where a record links to, and answer with its :data:`Outcome`.

    :param sink: takes the bytes as they come.
    :param limit: how large the file may be.
    :param with_token: whether the token may go there.
    """

    url: str = field(repr=False)
    sink: Callable[[bytes], Any] = field(repr=False)
    limit: SizeLimit
    with_token: bool


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


Step = Send | Fetch | Wait | Authorize | BlockingStep
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


REDIRECTS = (301, 302, 307, 308)
MOST_REDIRECTS = 5


@dataclass(slots=True)
class _Call:
    """One call: the request that is sent next, and what has happened to it so far."""

    request: Request
    state: CallState
    redirects: int = 0
    renewed: bool = False
    seconds: float = 0.0


@dataclass(slots=True)
class RequestRunner:
    """Makes calls for one client and counts them.

    :param settings: how often to try and how long to wait.
    :param quota: asked before each request; None means that nothing is counted.
    :param granted: returns the scopes of the token in use, as far as they are known, for the error of a 403.
    :param observer: is given each reply as it came, before it is judged. It holds patient data.
    """

    settings: ClientSettings
    quota: Quota | None
    granted: Callable[[], tuple[str, ...]] = tuple
    observer: Observer | None = None
    calls: int = 0
    server_time: datetime | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, request: Request) -> Flow[Answer]:
        """Carry a request through to its answer.

        :raises DrChronoError: see the tree in :mod:`airflow_provider_drchrono.client.errors`.
        """
        call = _Call(request, CallState(request.operation.id, request.repeatable, self.settings))
        try:
            return (yield from attempt_until_done(call.state, partial(self._send, call), partial(self._judge, call)))
        except DrChronoError as error:
            error.operation_id = error.operation_id or request.operation.id
            raise

    def _send(self, call: _Call) -> Flow[Outcome]:
        yield Authorize()
        began = time.monotonic()
        outcome = yield from (self._send_within(self.quota, call) if self.quota else _send(call))
        call.seconds = time.monotonic() - began
        self._count(outcome)
        if self.observer is not None and isinstance(outcome, Reply):
            self.observer(outcome)
        return outcome

    def _send_within(self, quota: Quota, call: _Call) -> Flow[Outcome]:
        number = secrets.token_hex(8)
        sent = False
        try:
            while seconds := (yield BlockingStep(partial(quota.acquire, number))):
                call.state.hold(seconds, "our own count of the quota is used up", None)
                yield Wait(seconds)
            sent = True
            outcome = yield from _send(call)
        except BaseException as error:
            # The task was cancelled, has to wait for too long, or got no token.
            _settle(quota, number, sent=sent and not isinstance(error, DrChronoError))
            raise
        reply = outcome if isinstance(outcome, Reply) else None
        yield BlockingStep(
            partial(
                _settle,
                quota,
                number,
                sent=reply is not None or (isinstance(outcome, Failure) and outcome.sent),
                server_time=server_time_of(reply) if reply else None,
                refused_for=refused_for(retry_reason_of(outcome), call.state.attempt),
            )
        )
        return outcome

    def _count(self, outcome: Outcome) -> None:
        if isinstance(outcome, Failure) and not outcome.sent:
            return
        with self._lock:
            self.calls += 1
            if isinstance(outcome, Reply):
                self.server_time = server_time_of(outcome) or self.server_time

    def _judge(self, call: _Call, outcome: Outcome) -> Answer | Failed | SendAgain:
        judged = self._judge_reply(call, outcome) if isinstance(outcome, Reply) else None
        if judged is None:
            error = failure_error(call.request, outcome, self.settings, self.granted())
            judged = Failed(retry_reason_of(outcome), error, status_of(outcome))
        _log(call, outcome, judged)
        return judged

    def _judge_reply(self, call: _Call, reply: Reply) -> Answer | Failed | SendAgain | None:
        """Deal with the replies that are no failures; None is for those that are."""
        if 200 <= reply.status < 300:
            return _read(call, reply)
        if reply.status == 401 and not call.renewed:
            # The authentication has noted it and sends the next request with another token.
            call.renewed = True
            return SendAgain()
        if reply.status in REDIRECTS and reply.headers.get("location"):
            call.request = self._redirected(call, reply)
            return SendAgain()
        if reply.status == 404 and call.state.in_doubt and call.request.method == "DELETE":
            # An earlier attempt, whose answer was lost, deleted it.
            return _answer(None, reply)
        return None

    def _redirected(self, call: _Call, reply: Reply) -> Request:
        request = call.request
        call.redirects += 1
        location = reply.headers["location"]
        url = own_link(self.settings.base_url, location, request.url)
        if url is None:
            reason = "to another host, to which the token must not go; check the base URL"
        elif call.redirects > MOST_REDIRECTS:
            reason = f"for the {call.redirects}th time; try later"
        else:
            if "://" in location and not same_origin(self.settings.base_url, location):
                log.debug("%s: a redirect names another origin; it is followed at our own", call.state.name)
            return request.at(url)
        raise UnexpectedAnswerError(
            f"{request.operation.id}: the API redirects {reason}",
            operation_id=request.operation.id,
            status=reply.status,
        )


def _send(call: _Call) -> Flow[Outcome]:
    outcome: Outcome = yield Send(call.request)
    return outcome


def _settle(quota: Quota, number: str, **end: Any) -> None:
    try:
        quota.settle(number, **end)
    except DrChronoError as error:
        # The call has been made; what came of it must not be lost to a count.
        log.warning("%s", error)


def _read(call: _Call, reply: Reply) -> Answer | Failed:
    try:
        answer = _answer(decode(call.request, reply), reply)
    except UnreadableError as unreadable:
        error = unreadable_error(call.request, reply, str(unreadable))
    else:
        return answer
    return Failed(RetryReason("malformed"), error, reply.status)


def _answer(value: Any, reply: Reply) -> Answer:
    return Answer(value, server_time_of(reply) or datetime.now(UTC))


def _log(call: _Call, outcome: Outcome, judged: Answer | Failed | SendAgain) -> None:
    if log.isEnabledFor(logging.DEBUG):
        log.debug(
            "%s: %s, attempt %d, %.0f ms, %d records",
            call.state.name,
            outcome.status if isinstance(outcome, Reply) else outcome.kind,
            call.state.attempt,
            call.seconds * 1000,
            record_count(judged.value) if isinstance(judged, Answer) else 0,
        )
