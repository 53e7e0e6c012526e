import asyncio
import multiprocessing
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_drchrono.client import (
    AsyncDrChronoClient,
    AuthenticationError,
    ConfigurationError,
    DrChronoClient,
    DrChronoError,
    FileTokenStore,
    MemoryTokenStore,
    RateLimitedError,
    RequestTimeoutError,
    ServerError,
    Token,
    UnexpectedAnswerError,
    grant_id_of,
)
from airflow_provider_drchrono.client.auth import LONGEST_LEAD, TokenSource
from tests.unit.client.servers import Reply, ScriptedApi, scripted_api
from tests.unit.client.support import sandbox_settings, settings_for

if TYPE_CHECKING:
    from airflow_provider_drchrono.sandbox import Sandbox

Connect = Callable[..., DrChronoClient]

FAR = time.time() + 100_000.0


def stored(access: str = "stored-access", **changes: Any) -> Token:
    token = Token(access, "stored-refresh", FAR, grant_id=grant_id_of("refresh-0"), issued_at=FAR - 172_800)
    return replace(token, **changes)


def test_the_first_call_renews_with_the_token_that_was_entered(api: ScriptedApi, connect: Connect) -> None:
    store = MemoryTokenStore()
    connect(token_store=store).current_user()
    (request,) = api.token_requests
    assert request.form == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["refresh-0"],
        "client_id": ["the-client"],
        "client_secret": ["the-secret"],
    }
    assert "authorization" not in request.headers
    token = store.load()
    assert token is not None
    assert (token.access_token, token.refresh_token, token.grant_id) == (
        "access-1",
        "refresh-1",
        grant_id_of("refresh-0"),
    )
    assert token.scope == ("patients:read", "patients:write")
    assert abs(token.expires_at - time.time() - 172_800) < 5


def test_a_stored_token_is_used_without_asking(api: ScriptedApi, connect: Connect) -> None:
    connect(token_store=MemoryTokenStore(stored())).current_user()
    assert api.bearers == ["stored-access"]
    assert api.renewals == 0


def test_a_newly_entered_refresh_token_wins_over_the_stored_grant(api: ScriptedApi, connect: Connect) -> None:
    store = MemoryTokenStore(stored(grant_id=grant_id_of("an-older-one")))
    connect(token_store=store).current_user()
    assert api.token_requests[0].form["refresh_token"] == ["refresh-0"]
    assert api.bearers == ["access-1"]


def test_a_stored_token_is_enough(api: ScriptedApi, connect: Connect) -> None:
    store = MemoryTokenStore(stored(expires_at=time.time() - 1))
    connect(token_store=store, refresh_token=None).current_user()
    assert api.token_requests[0].form["refresh_token"] == ["stored-refresh"]
    assert store.load() is not None
    assert store.load().grant_id == grant_id_of("refresh-0")  # type: ignore[union-attr]


def test_a_bare_access_token_is_used_until_it_is_refused(api: ScriptedApi, connect: Connect) -> None:
    client = connect(token_store=MemoryTokenStore(Token("bare")), refresh_token=None)
    client.current_user()
    api.script += [Reply(401)]
    with pytest.raises(AuthenticationError, match="no refresh token came with it") as caught:
        client.current_user()
    assert caught.value.kind == "no_refresh_token"
    assert api.bearers == ["bare", "bare"]


def test_without_any_token_it_says_where_to_put_one(api: ScriptedApi, connect: Connect) -> None:
    with pytest.raises(ConfigurationError, match="extra field refresh_token") as caught:
        connect(refresh_token=None).current_user()
    assert caught.value.operation_id == "users_read"
    assert api.seen == api.token_requests == []


def test_the_new_token_is_stored_before_it_is_used(api: ScriptedApi, connect: Connect) -> None:
    order: list[str] = []

    class Store(MemoryTokenStore):
        def save(self, token: Token) -> None:
            order.append(f"stored {token.access_token}, {len(api.seen)} calls so far")
            super().save(token)

    connect(token_store=Store()).current_user()
    assert order == ["stored access-1, 0 calls so far"]
    assert api.bearers == ["access-1"]


def test_a_token_that_cannot_be_stored_is_not_used(api: ScriptedApi, connect: Connect) -> None:
    class Store(MemoryTokenStore):
        def save(self, token: Token) -> None:
            raise ConfigurationError("the disk is full")

    with pytest.raises(ConfigurationError, match="the disk is full"):
        connect(token_store=Store()).current_user()
    assert api.seen == []


def test_after_401_the_store_is_read_before_anything_is_renewed(api: ScriptedApi, connect: Connect) -> None:
    store = MemoryTokenStore(stored())
    client = connect(token_store=store)
    client.current_user()
    store.save(stored("renewed-elsewhere"))
    api.script += [Reply(401)]
    client.current_user()
    assert api.bearers == ["stored-access", "stored-access", "renewed-elsewhere"]
    assert api.renewals == 0


def test_after_401_with_the_newest_token_it_is_renewed_once(api: ScriptedApi, connect: Connect) -> None:
    api.script += [Reply(401)]
    connect(token_store=MemoryTokenStore(stored())).current_user()
    assert api.bearers == ["stored-access", "access-1"]
    assert api.renewals == 1


def test_a_token_is_renewed_ahead_of_its_end(api: ScriptedApi, connect: Connect, mocker: MockerFixture) -> None:
    client = connect()
    client.current_user()
    now = time.time()
    mocker.patch("airflow_provider_drchrono.client.auth.time.time", side_effect=lambda: now)
    now += 172_800 - LONGEST_LEAD - 60
    client.current_user()
    assert api.renewals == 1
    now += LONGEST_LEAD * 0.7 + 120
    client.current_user()
    assert api.renewals == 2


def test_processes_do_not_all_renew_at_the_same_moment() -> None:
    settings = settings_for("http://127.0.0.1:9")
    leads = {TokenSource(settings, MemoryTokenStore())._lead for _ in range(20)}
    assert len(leads) == 20
    assert 0 < min(leads) < max(leads) <= LONGEST_LEAD


def test_a_token_of_a_short_life_is_not_renewed_at_each_call(api: ScriptedApi, connect: Connect) -> None:
    api.expires_in = 120
    client = connect()
    for _ in range(5):
        client.current_user()
    assert api.renewals == 1


@pytest.mark.parametrize("expires_in", [None, "soon", 0, 5e-324, [1]], ids=["missing", "text", "zero", "tiny", "list"])
def test_a_life_that_is_not_told_is_the_vendors(api: ScriptedApi, connect: Connect, expires_in: Any) -> None:
    api.expires_in = expires_in
    store = MemoryTokenStore()
    connect(token_store=store).current_user()
    token = store.load()
    assert token is not None
    assert abs(token.expires_at - time.time() - 172_800) < 5


@pytest.mark.parametrize(
    "expires_in",
    [
        pytest.param("1e999", id="infinite"),
        pytest.param("-1e999", id="minus-infinite"),
        pytest.param("NaN", id="not-a-number"),
        pytest.param("-3600", id="negative"),
        pytest.param("true", id="true"),
        pytest.param("9" * 5000, id="five-thousand-digits"),
        pytest.param("1e12", id="centuries"),
        pytest.param('"in two days"', id="words"),
        pytest.param('"1e999"', id="infinite-text"),
        pytest.param("[" * 100_000 + "]" * 100_000, id="deep"),
        pytest.param('{"a":' * 100_000 + "1" + "}" * 100_000, id="deep-objects"),
        pytest.param("[1, 2", id="broken"),
    ],
)
def test_a_token_that_was_answered_is_never_lost(
    api: ScriptedApi, connect: Connect, expires_in: str, caplog: pytest.LogCaptureFixture
) -> None:
    text = f'{{"access_token": "odd", "refresh_token": "next", "scope": "a:read b:read", "expires_in": {expires_in}}}'
    api.token_script += [Reply(body=text.encode())]
    store = MemoryTokenStore()
    client = connect(token_store=store)

    client.current_user()
    client.current_user()

    token = store.load()
    assert token is not None
    assert (token.access_token, token.refresh_token, token.scope) == ("odd", "next", ("a:read", "b:read"))
    assert abs(token.expires_at - time.time() - 172_800) < 5
    assert len(api.token_requests) == 1
    assert api.bearers == ["odd", "odd"]
    assert ("48 hours" in caplog.text) == ("[" not in expires_in and "{" not in expires_in)


def test_an_html_page_of_the_token_endpoint_is_a_passing_fault(api: ScriptedApi, connect: Connect) -> None:
    page = Reply(200, b"<html>down for maintenance</html>", {"Content-Type": "text/html"})
    api.token_script += [page, page]
    connect().current_user()
    assert len(api.token_requests) == 3

    api.token_script += [page] * 2
    with pytest.raises(UnexpectedAnswerError) as caught:
        connect(max_attempts=2).current_user()
    assert caught.value.transient


def test_a_renewal_that_comes_byte_by_byte_ends_by_its_deadline(api: ScriptedApi, connect: Connect) -> None:
    api.token_script += [Reply(body=b" " * 1000, drip=0.02)]
    began = time.monotonic()
    with pytest.raises(RequestTimeoutError, match=r"Renewing the token: the answer was not complete within 0.5 s"):
        connect(connect_timeout=0.25, read_timeout=0.25).current_user()
    assert time.monotonic() - began < 5


def test_an_endless_token_answer_is_not_read_to_its_end(api: ScriptedApi, connect: Connect) -> None:
    api.token_script += [Reply(body=b" " * 2_000_000)]
    with pytest.raises(UnexpectedAnswerError, match="larger than 1 MiB"):
        connect().current_user()


def test_an_answer_without_a_refresh_token_keeps_the_old_one(api: ScriptedApi, connect: Connect) -> None:
    api.token_script += [Reply(body={"access_token": "only", "expires_in": "3600"})]
    store = MemoryTokenStore()
    connect(token_store=store).current_user()
    token = store.load()
    assert token is not None
    assert token.refresh_token == "refresh-0"
    assert abs(token.expires_at - time.time() - 3600) < 5


def test_white_space_around_tokens_is_no_part_of_them(api: ScriptedApi, connect: Connect) -> None:
    api.token_script += [Reply(body={"access_token": " new\n", "refresh_token": "next\n", "expires_in": "3600"})]
    store = MemoryTokenStore()
    connect(token_store=store).current_user()
    token = store.load()
    assert token is not None
    assert (token.access_token, token.refresh_token) == ("new", "next")
    assert api.bearers == ["new"]


def test_a_refresh_token_that_cannot_be_sent_is_none(api: ScriptedApi, connect: Connect) -> None:
    api.token_script += [Reply(body=b'{"access_token": "new", "refresh_token": "\\ud800"}')]
    store = MemoryTokenStore()
    connect(token_store=store).current_user()
    token = store.load()
    assert token is not None
    assert token.refresh_token == "refresh-0"


@pytest.mark.parametrize(
    ("reply", "error", "says"),
    [
        pytest.param(
            Reply(401, {"error": "invalid_client"}), AuthenticationError, "client id and secret", id="wrong-secret"
        ),
        pytest.param(
            Reply(400, {"error": "invalid_grant", "error_description": "canary"}), AuthenticationError,
            "authorize the application again", id="dead-refresh-token",
        ),
        pytest.param(
            Reply(400, {"error": "unauthorized_client"}), AuthenticationError, "unauthorized_client", id="other-code"
        ),
        pytest.param(
            Reply(400, {"error": "Canary <b>"}), AuthenticationError, "400 .no reason.", id="unprintable-code"
        ),
        pytest.param(Reply(404, b"canary"), UnexpectedAnswerError, "404 without a reason; check", id="not-found"),
        pytest.param(Reply(500, b"canary"), ServerError, "500 again and again", id="server-error"),
        pytest.param(
            Reply(200, b"<html>canary</html>", {"Content-Type": "text/html"}), UnexpectedAnswerError,
            "without an access token; check that the base URL", id="html",
        ),
        pytest.param(
            Reply(200, {"error": "invalid_grant", "detail": "canary"}), AuthenticationError,
            "authorize the application again", id="error-with-200",
        ),
        pytest.param(Reply(200, ["canary"]), UnexpectedAnswerError, "without an access token", id="list"),
        pytest.param(Reply(200, {"access_token": 7}), UnexpectedAnswerError, "without an access token", id="number"),
        pytest.param(
            Reply(200, {"access_token": "canary\u00e9"}), UnexpectedAnswerError, "without an access token", id="letters"
        ),
        pytest.param(
            Reply(200, {"access_token": "canary\r\nX-A: 1"}), UnexpectedAnswerError, "without an access token",
            id="header",
        ),
        pytest.param(Reply(302, headers={"Location": "/login"}), UnexpectedAnswerError, "302", id="redirect"),
        pytest.param(
            Reply(429, headers={"Retry-After": "900"}), RateLimitedError, "takes no more requests", id="throttled"
        ),
        pytest.param(Reply(drop=True), DrChronoError, "^Renewing the token: .*try later", id="dropped"),
    ],
)  # fmt: skip
def test_failed_renewals_say_what_to_do(
    api: ScriptedApi, connect: Connect, reply: Reply, error: type[DrChronoError], says: str
) -> None:
    api.token_script += [reply] * 9
    with pytest.raises(error, match=says) as caught:
        connect(max_attempts=2).current_user()
    shown = repr(caught.value)
    assert not any(each in shown for each in ("canary", "refresh-0", "the-secret"))
    assert "\n" not in str(caught.value)
    assert caught.value.operation_id == "users_read"
    assert api.seen == []


def test_a_renewal_that_fails_for_a_moment_is_tried_again(api: ScriptedApi, connect: Connect) -> None:
    api.token_script += [Reply(502), Reply(drop=True)]
    connect().current_user()
    assert len(api.token_requests) == 3
    assert api.bearers == ["access-1"]


def test_a_refresh_token_that_somebody_else_used_first_is_no_error(api: ScriptedApi, connect: Connect) -> None:
    class LeaselessStore(MemoryTokenStore):
        """Another process renews between our last look and our request."""

        def load(self) -> Token | None:
            return stored("renewed-elsewhere") if api.token_requests else stored(expires_at=time.time() - 1)

    api.token_script += [Reply(400, {"error": "invalid_grant"})]
    connect(token_store=LeaselessStore()).current_user()
    assert api.bearers == ["renewed-elsewhere"]


def test_a_successor_that_has_run_out_meanwhile_is_not_taken(api: ScriptedApi, connect: Connect) -> None:
    class LeaselessStore(MemoryTokenStore):
        def load(self) -> Token | None:
            access = "renewed-elsewhere" if api.token_requests else "stored-access"
            return stored(access, expires_at=time.time() - 1)

    api.token_script += [Reply(400, {"error": "invalid_grant"})]
    with pytest.raises(AuthenticationError) as caught:
        connect(token_store=LeaselessStore()).current_user()
    assert caught.value.kind == "refresh_token"
    assert api.seen == []


def test_a_wrong_secret_is_told_though_somebody_else_has_renewed(api: ScriptedApi, connect: Connect) -> None:
    class LeaselessStore(MemoryTokenStore):
        def load(self) -> Token | None:
            return stored("renewed-elsewhere") if api.token_requests else stored(expires_at=time.time() - 1)

    api.token_script += [Reply(401, {"error": "invalid_client"})]
    with pytest.raises(AuthenticationError, match="client id and secret"):
        connect(token_store=LeaselessStore()).current_user()
    assert api.seen == []


def test_threads_of_one_client_ask_for_the_lease_once(api: ScriptedApi, connect: Connect) -> None:
    leases: list[str] = []

    class Store(MemoryTokenStore):
        def lease(self) -> AbstractContextManager[Any]:
            leases.append("asked")
            # Elsewhere it takes seconds to come by.
            time.sleep(0.2)
            return super().lease()

    client = connect(token_store=Store())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: client.current_user(), range(8)))
    assert leases == ["asked"]


def test_tasks_that_wait_for_a_token_leave_the_loops_threads_to_others(api: ScriptedApi) -> None:
    free = threading.Event()

    class SlowStore(MemoryTokenStore):
        def lease(self) -> AbstractContextManager[Any]:
            assert free.wait(30)
            return super().lease()

    async def work() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(4))
        async with AsyncDrChronoClient(settings_for(api.url), token_store=SlowStore()) as client:
            calls = [asyncio.create_task(client.current_user()) for _ in range(8)]
            await asyncio.sleep(0.1)
            try:
                assert await asyncio.wait_for(asyncio.to_thread(lambda: "done"), 5) == "done"
            finally:
                free.set()
                await asyncio.gather(*calls)

    asyncio.run(work())
    assert api.renewals == 1


def test_many_threads_renew_once(api: ScriptedApi, connect: Connect) -> None:
    client = connect()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: client.current_user(), range(24)))
    assert api.renewals == 1
    assert len(api.seen) == client.calls == 24


def test_many_clients_renew_once(api: ScriptedApi, connect: Connect) -> None:
    store = MemoryTokenStore()
    clients = [connect(token_store=store) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda each: each.current_user(), clients))
    assert api.renewals == 1
    assert set(api.bearers) == {"access-1"}


def _call_from_another_process(url: str, path: Path) -> None:
    with DrChronoClient(settings_for(url), token_store=FileTokenStore(path)) as client:
        client.current_user()


def test_many_processes_renew_once(api: ScriptedApi, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    others = [
        context.Process(target=_call_from_another_process, args=(api.url, tmp_path / "token.json")) for _ in range(3)
    ]
    for each in others:
        each.start()
    for each in others:
        each.join(60)
    assert [each.exitcode for each in others] == [0, 0, 0]
    assert api.renewals == 1
    assert api.bearers == ["access-1"] * 3


def test_a_cancelled_task_does_not_lose_the_new_token() -> None:
    answered = threading.Event()
    store = MemoryTokenStore()
    saved = threading.Event()

    class SlowStore(MemoryTokenStore):
        def save(self, token: Token) -> None:
            answered.set()
            time.sleep(0.3)
            store.save(token)
            saved.set()

    async def cancel_in_the_middle(url: str) -> None:
        async with AsyncDrChronoClient(settings_for(url), token_store=SlowStore()) as client:
            task = asyncio.create_task(client.current_user())
            await asyncio.to_thread(answered.wait, 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with scripted_api() as api:
        asyncio.run(cancel_in_the_middle(api.url))
        assert saved.wait(10)
        assert api.seen == []
    token = store.load()
    assert token is not None
    assert token.refresh_token == "refresh-1"


def test_the_default_store_says_what_it_costs(
    api: ScriptedApi, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    connect().current_user()
    assert "give a token_store" in caplog.text
    caplog.clear()
    connect(token_store=MemoryTokenStore()).current_user()
    assert caplog.text == ""


def test_three_lives_of_a_token_on_one_grant(sandbox: "Sandbox", tmp_path: Path) -> None:
    """The sandbox ends the grant for ever when a refresh token is used twice."""
    store = FileTokenStore(tmp_path / "token.json")
    tokens = set()
    for _ in range(3):
        with DrChronoClient(sandbox_settings(sandbox), token_store=store) as client:
            assert client.current_user()["id"]
            token = store.load()
            assert token is not None
            tokens.add((token.access_token, token.refresh_token))
            sandbox.clock.advance(49 * 3600)
            # The stored token still looks good on our clock, and the API refuses it.
            assert client.current_user()["id"]
    assert len(tokens) == 3
