"""One who waits while another process renews the token: what sends it on without the lease, and what does not."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_drchrono.client import Token, grant_id_of
from airflow_provider_drchrono.client.auth import LONGEST_LEAD, TokenSource
from airflow_provider_drchrono.hooks import drchrono as hook
from airflow_provider_drchrono.state.lease import Claim, Timing
from airflow_provider_drchrono.state.names import token_lease
from airflow_provider_drchrono.state.sealing import Seal
from airflow_provider_drchrono.state.token_store import VERSION, VariableTokenStore
from tests.unit.client.servers import Reply, ScriptedApi, scripted_api
from tests.unit.client.support import settings_for
from tests.unit.state.shared_variables import MemoryVariables, store_for

SEED = grant_id_of("refresh-0")
LIFE = 172_800.0


@pytest.fixture
def api() -> Iterator[ScriptedApi]:
    with scripted_api() as running:
        yield running


class Elsewhere:
    """Another process that holds the lease, and does one of its ``steps`` at each look that we take at it."""

    def __init__(self) -> None:
        self.variables = MemoryVariables()
        self.now = 0.0
        self.steps: list[Callable[[], None]] = []
        self.store = VariableTokenStore(
            "the-client",
            "the-secret",
            SEED,
            variables=self.variables,
            timing=Timing(hold=1000.0, patience=2000.0),
            clock=lambda: self.now,
            sleep=self._sleep,
        )
        self.lease_key = token_lease("the-client")
        self.claim = Claim(hold=1000.0)
        self.variables.values[self.lease_key] = self.claim.dump()

    def stores(self, token: Token) -> None:
        sealed = Seal("the-client", "the-secret").close(token.to_dict(), f"{self.store.key} {SEED}")
        self.variables.values[self.store.key] = json.dumps({"version": VERSION, "grants": {SEED: sealed}})

    def gives_back(self) -> None:
        self.variables.values[self.lease_key] = "{}"

    @property
    def holder(self) -> Any:
        return json.loads(self.variables.values[self.lease_key]).get("id")

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.steps:
            self.steps.pop(0)()


@pytest.fixture
def elsewhere() -> Elsewhere:
    return Elsewhere()


def token(access: str, seconds_left: float) -> Token:
    expires_at = time.time() + seconds_left
    return Token(access, f"refresh-of-{access}", expires_at, grant_id=SEED, issued_at=expires_at - LIFE)


def test_a_token_that_is_good_for_long_sends_it_on(elsewhere: Elsewhere) -> None:
    elsewhere.stores(token("old", 60))
    elsewhere.steps = [lambda: None, lambda: elsewhere.stores(token("new", LIFE))]

    with elsewhere.store.lease():
        assert elsewhere.holder == elsewhere.claim.id
        loaded = elsewhere.store.load()

    assert loaded is not None
    assert loaded.access_token == "new"
    assert elsewhere.holder == elsewhere.claim.id


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(token("new", 60), id="nearly-out-of-time"),
        pytest.param(token("new", LONGEST_LEAD - 60), id="due-for-some"),
        pytest.param(token("new", -60), id="out-of-time"),
        pytest.param(replace(token("new", 60), expires_at=0.0), id="who-knows"),
    ],
)
def test_a_changed_token_that_is_soon_due_again_does_not(elsewhere: Elsewhere, changed: Token) -> None:
    elsewhere.stores(token("old", 30))
    elsewhere.steps = [lambda: elsewhere.stores(changed), lambda: None, elsewhere.gives_back]

    with elsewhere.store.lease():
        assert elsewhere.steps == []
        assert elsewhere.holder not in (elsewhere.claim.id, None)


def test_a_token_that_is_still_the_same_does_not_though_it_looks_good(elsewhere: Elsewhere) -> None:
    """DrChrono refuses it; that is why there is a renewal at all."""
    elsewhere.stores(token("refused", LIFE))
    elsewhere.steps = [lambda: None, lambda: None, elsewhere.gives_back]

    with elsewhere.store.lease():
        assert elsewhere.steps == []
        assert elsewhere.holder not in (elsewhere.claim.id, None)


def test_nothing_is_renewed_before_the_other_is_done(elsewhere: Elsewhere, api: ScriptedApi) -> None:
    renewals: list[int] = []
    elsewhere.stores(token("old", 30))
    elsewhere.steps = [
        lambda: elsewhere.stores(token("short", 60)),
        lambda: renewals.append(api.renewals),
        elsewhere.gives_back,
        # Our claim settles.
        lambda: renewals.append(api.renewals),
    ]

    obtained = TokenSource(settings_for(api.url), elsewhere.store).obtain()

    assert renewals == [0, 0]
    assert [request.form["refresh_token"] for request in api.token_requests] == [["refresh-of-short"]]
    assert obtained.access_token == "access-1"
    assert elsewhere.holder is None


def test_nothing_is_renewed_where_the_other_has_done_it(elsewhere: Elsewhere, api: ScriptedApi) -> None:
    elsewhere.stores(token("old", 30))
    elsewhere.steps = [lambda: None, lambda: elsewhere.stores(token("new", LIFE)), elsewhere.gives_back]

    assert TokenSource(settings_for(api.url), elsewhere.store).obtain().access_token == "new"
    assert api.token_requests == []
    assert elsewhere.holder == elsewhere.claim.id


def test_a_token_endpoint_that_drips_is_asked_by_one_process_alone(
    api: ScriptedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first process is kept waiting, again and again, and the other one watches its claim meanwhile."""
    monkeypatch.setattr(hook, "LEASE_MARGIN", 0.3)
    settings = settings_for(api.url, connect_timeout=0.5, read_timeout=0.5, max_attempts=4)
    timing = replace(hook.lease_timing(settings), write_limit=0.1, settle=0.12, poll=0.02)
    renewed = {"access_token": "renewed", "refresh_token": "refresh-1", "expires_in": LIFE}
    api.token_script += [Reply(hang=True)] * 3 + [Reply(body=renewed, drip=0.002)]
    variables = MemoryVariables()

    def obtain() -> str:
        return TokenSource(settings, store_for(settings, variables, timing)).obtain().access_token

    with ThreadPoolExecutor(2) as processes:
        first = processes.submit(obtain)
        while not api.token_requests:
            time.sleep(0.01)
        began = time.monotonic()
        second = processes.submit(obtain)
        obtained = [each.result(timeout=30) for each in (first, second)]

    # Longer than one request may take, with the margin: a lease for one attempt alone would have ended.
    assert time.monotonic() - began > settings.token_timeout + hook.LEASE_MARGIN
    assert [request.form["refresh_token"] for request in api.token_requests] == [["refresh-0"]] * 4
    assert obtained == ["renewed", "renewed"]
