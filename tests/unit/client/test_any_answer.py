"""Whatever a server answers, a call ends in time, with a value of its kind or with an error of ours that tells nothing.

``FUZZ_SEED`` and ``FUZZ_ROUNDS`` run other rounds, and more: ``FUZZ_SEED=12 FUZZ_ROUNDS=5000 pytest <this file>``. A
failure prints the seed of its round; ``FUZZ_SEED=12 FUZZ_FIRST=371 FUZZ_ROUNDS=1`` runs that round again.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import random
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from airflow_provider_drchrono.client import (
    AsyncDrChronoClient,
    ConfigurationError,
    DrChronoClient,
    DrChronoError,
    InvalidArgumentError,
    MemoryTokenStore,
    Token,
    grant_id_of,
)
from airflow_provider_drchrono.client.bulk_lists import BulkPacing, BulkResult
from airflow_provider_drchrono.client.paging import Page
from airflow_provider_drchrono.client.token_endpoint import TokenEndpoint
from tests.unit.client.any_answers import CANARY, AnyServer, any_server
from tests.unit.client.support import settings_for

SEED = os.environ.get("FUZZ_SEED") or str(random.SystemRandom().randrange(10**9))
FIRST = int(os.environ.get("FUZZ_FIRST", "0"))
ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "60"))
CALLS = 8
"""Calls a round, with one client, so that what is left of one answer meets the next request."""

REQUEST_TIMEOUT, MAX_WAIT, ATTEMPTS, REDIRECTS = 0.15, 0.004, 2, 5
MOST_REQUESTS = ATTEMPTS + REDIRECTS + 1
"""Requests that one answer may take: each attempt, each redirect, and one more with another token."""

SLACK = 5.0
"""Seconds by which a busy machine may be late."""

PATIENT = {"first_name": "A", "last_name": "B", "gender": "Male", "doctor": 1}
FILE = {"document": ("x.pdf", b"%PDF-1.4")}


def is_record(value: Any) -> bool:
    return isinstance(value, dict)


def is_page(value: Any) -> bool:
    return isinstance(value, Page) and all(map(is_record, value.records)) and value.server_time.tzinfo is not None


def is_bulk(value: Any) -> bool:
    return value is None or (isinstance(value, BulkResult) and all(map(is_record, value.records)) and value.pages > 0)


def is_uuid(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def is_anything(value: Any) -> bool:
    return True


Call = Callable[[Any], Any]
CALLED: dict[str, tuple[Call, Callable[[Any], bool]]] = {
    "read": (lambda client: client.read("patients", 1), is_record),
    "current_user": (lambda client: client.current_user(), is_record),
    "list": (lambda client: client.list("patients", {"since": "2026-01-01"}), is_record),
    "list of 2": (lambda client: client.list("appointments", {"since": "2026-01-01"}), is_record),
    "pages": (lambda client: client.pages("patients", verbose=True), is_page),
    "resumed": (lambda client: client.pages("patients", next_url=f"{client.settings.base_url}/api/patients"), is_page),
    "create": (lambda client: client.create("patients", PATIENT), is_anything),
    "create many": (lambda client: client.create("patients", [PATIENT, PATIENT]), is_anything),
    "upload": (lambda client: client.create("documents", {"doctor": 1, "patient": 1}, files=FILE), is_anything),
    "update": (lambda client: client.update("patients", 1, PATIENT), is_anything),
    "replace": (lambda client: client.replace("patients", 1, PATIENT), is_anything),
    "delete": (lambda client: client.delete("appointments", 1), is_anything),
    "file": (lambda client: client.call("patients_ccda", path={"id": 1}), is_anything),
    "bulk_pages": (lambda client: client.bulk_pages("patients", deadline=0.02), is_page),
    "bulk_start": (lambda client: client.bulk_start("patients"), is_uuid),
    "bulk_result": (lambda client: client.bulk_result("patients", "0a"), is_bulk),
    "bulk_wait": (
        lambda client: client.bulk_wait("patients", "0a", BulkPacing(time.time() + 0.02, longest=0.005)),
        is_bulk,
    ),
}

MOST_RECORDS = 30
"""Records, or pages, that are taken of a list: a server may send more of them for ever."""


@pytest.fixture(scope="module")
def server() -> Iterator[AnyServer]:
    with any_server() as running:
        yield running


def settings_of(server: AnyServer) -> Any:
    return settings_for(
        server.url,
        request_timeout=REQUEST_TIMEOUT,
        read_timeout=REQUEST_TIMEOUT,
        max_wait=MAX_WAIT,
        max_attempts=ATTEMPTS,
    )


def store_with(token: bool) -> MemoryTokenStore:
    return MemoryTokenStore(Token("access", "refresh-1", grant_id=grant_id_of("refresh-0")) if token else None)


class Round:
    """A client's calls, each with what the server may answer by the seed of this round.

    :param number: which of the rounds it is.
    """

    def __init__(self, server: AnyServer, number: int, caplog: pytest.LogCaptureFixture) -> None:
        self.name = f"FUZZ_SEED={SEED} FUZZ_FIRST={number} FUZZ_ROUNDS=1"
        chance = random.Random(f"{SEED}/{number}")
        self.answers = server.begin(f"{SEED}/{number}/answers")
        self.names = chance.choices(list(CALLED), k=CALLS)
        self.settings = settings_of(server)
        # Without one, the token endpoint answers anything first.
        self.store = store_with(chance.randrange(3) > 0)
        self.caplog = caplog

    def check(self, what: str, began: float, values: list[Any], error: BaseException | None) -> None:
        """See that a call has ended as it may.

        :param values: what it returned before it ended.
        """
        where = f"{what} of {self.name}"
        longest = MOST_REQUESTS * (REQUEST_TIMEOUT + MAX_WAIT) * 2 * max(1, min(len(values) + 1, MOST_RECORDS)) + SLACK
        assert time.monotonic() - began < longest, f"{where} took too long"
        told = "".join(traceback.format_exception(error)) if error else ""
        if not isinstance(error, DrChronoError | None):
            pytest.fail(f"{where}:\n{told}", pytrace=False)
        # Arguments and settings are right, so it is never their fault.
        assert not isinstance(error, InvalidArgumentError | ConfigurationError), f"{where}: {told}"
        assert CANARY not in told + repr(error), f"{where}: {told}"
        written = "\n".join(self.caplog.handler.format(each) for each in self.caplog.records)
        assert CANARY not in written, f"{where}: {written}"
        self.caplog.clear()
        judge = CALLED[what][1]
        for each in values:
            assert judge(each), f"{where}: {each!r:.300}"


def run(round_: Round) -> None:
    with DrChronoClient(round_.settings, token_store=round_.store) as client:
        for name in round_.names:
            began, values, error = time.monotonic(), [], None
            try:
                result = CALLED[name][0](client)
                if isinstance(result, Iterator):
                    for each in itertools.islice(result, MOST_RECORDS):
                        values.append(each)
                else:
                    values.append(result)
            except Exception as caught:
                error = caught
            round_.check(name, began, values, error)


async def run_async(round_: Round) -> None:
    async with AsyncDrChronoClient(round_.settings, token_store=round_.store) as client:
        for name in round_.names:
            began, values, error = time.monotonic(), [], None
            try:
                result = CALLED[name][0](client)
                if isinstance(result, AsyncIterator):
                    async for each in result:
                        values.append(each)
                        if len(values) == MOST_RECORDS:
                            break
                else:
                    values.append(await result)
            except Exception as caught:
                error = caught
            round_.check(name, began, values, error)


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_any_answer_ends_a_call_in_time_with_a_value_or_an_error_of_ours(
    server: AnyServer, colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    print(f"FUZZ_SEED={SEED}")
    caplog.set_level(logging.DEBUG)
    requests = 0
    for number in range(FIRST, FIRST + ROUNDS):
        round_ = Round(server, number, caplog)
        if colour == "sync":
            run(round_)
        else:
            asyncio.run(run_async(round_))
        requests += round_.answers.requests
    # A server that nobody asks anything proves nothing.
    assert requests > ROUNDS * CALLS / 2


def test_any_answer_of_the_token_endpoint_gives_tokens_that_can_be_sent_or_an_error_of_ours(
    server: AnyServer, caplog: pytest.LogCaptureFixture
) -> None:
    print(f"FUZZ_SEED={SEED}")
    caplog.set_level(logging.DEBUG)
    endpoint = TokenEndpoint(settings_of(server))
    steps: list[Callable[[], Token | None]] = [
        lambda: endpoint.renew("refresh-0", "grant"),
        lambda: endpoint.exchange("code", "http://127.0.0.1/x"),
        lambda: endpoint.revoke("refresh-0"),
    ]
    for number, step in itertools.product(range(FIRST, FIRST + ROUNDS), range(len(steps))):
        server.begin(f"{SEED}/{number}/tokens/{step}")
        where = f"step {step} of FUZZ_SEED={SEED} FUZZ_FIRST={number} FUZZ_ROUNDS=1"
        began, token, error = time.monotonic(), None, None
        try:
            token = steps[step]()
        except Exception as caught:
            error = caught
        told = "".join(traceback.format_exception(error)) if error else ""
        assert isinstance(error, DrChronoError | None), f"{where}: {told}"
        assert not isinstance(error, InvalidArgumentError | ConfigurationError), f"{where}: {told}"
        if token is not None:
            assert f"Bearer {token.access_token}".isascii(), where
            assert f"Bearer {token.access_token}".isprintable(), where
            assert time.time() < token.expires_at < time.time() + 200_000, where
            assert Token.from_dict(token.to_dict()) == token, where
        assert time.monotonic() - began < ATTEMPTS * (REQUEST_TIMEOUT + MAX_WAIT) + SLACK, where
        written = "\n".join(caplog.handler.format(each) for each in caplog.records)
        assert CANARY not in written + told, f"{where}: {written}{told}"
        caplog.clear()
