import json
import multiprocessing
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.client import (
    AuthenticationError,
    ClientSettings,
    ConfigurationError,
    Token,
    grant_id_of,
)
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from airflow_provider_drchrono.state.lease import Timing
from airflow_provider_drchrono.state.token_store import GrantLostError, TokenStoreError, VariableTokenStore
from tests.unit.state.shared_variables import QUICK, MemoryVariables, call_once, live, store_for
from tests.unit.state.simulated_world import Killed, World

NEVER = 4_102_444_800.0
TOKEN = Token("access-canary", "refresh-canary", expires_at=NEVER, scope=("patients:read",), grant_id="one")
SIMULATED = Timing(hold=100.0, patience=10_000.0)


def options_for(sandbox: Sandbox) -> dict[str, Any]:
    return {
        "client_id": sandbox.client_id,
        "client_secret": sandbox.client_secret,
        "refresh_token": sandbox.refresh_token,
        "base_url": sandbox.url,
        "quota_per_second": None,
    }


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(patients=1, quota_per_second=None) as running:
        yield running


@pytest.fixture
def variables() -> MemoryVariables:
    return MemoryVariables()


def renewals(sandbox: Sandbox) -> list[int]:
    return [entry.status for entry in sandbox.journal if entry.path == "/o/token/"]


class TestWhatIsStored:
    def test_comes_back(self, variables: MemoryVariables) -> None:
        VariableTokenStore("app", "secret", "one", variables=variables).save(TOKEN)

        assert VariableTokenStore("app", "secret", "one", variables=variables).load() == TOKEN

    def test_lies_under_a_name_that_airflow_masks_and_that_does_not_tell_the_client_id(
        self, variables: MemoryVariables
    ) -> None:
        VariableTokenStore("app", "secret", "one", variables=variables).save(TOKEN)

        (key,) = variables.values
        assert key == "drchrono:token:a172cedcae47"

    def test_is_apart_for_each_refresh_token_that_was_entered(self, variables: MemoryVariables) -> None:
        first, second = (
            VariableTokenStore("app", "secret", grant_id, variables=variables) for grant_id in ("one", "two")
        )
        other = replace(TOKEN, access_token="other", grant_id="two")

        first.save(TOKEN)
        second.save(other)

        assert first.load() == TOKEN
        assert second.load() == other
        assert VariableTokenStore("app", "secret", "three", variables=variables).load() is None

    def test_is_found_without_a_refresh_token_while_there_is_one_grant(self, variables: MemoryVariables) -> None:
        VariableTokenStore("app", "secret", "one", variables=variables).save(TOKEN)
        without = VariableTokenStore("app", "secret", variables=variables)
        assert without.load() == TOKEN

        VariableTokenStore("app", "secret", "two", variables=variables).save(replace(TOKEN, grant_id="two"))

        with pytest.raises(ConfigurationError, match=r"holds 2 grants .* put the one that was entered"):
            without.load()

    def test_of_connections_without_refresh_tokens_is_apart_too(self, variables: MemoryVariables) -> None:
        north, south = (
            VariableTokenStore("app", "secret", connection=each, variables=variables) for each in ("north", "south")
        )
        north.save(replace(TOKEN, grant_id=north.grant_id))

        assert south.load() is None

        south.save(replace(TOKEN, access_token="other", grant_id=south.grant_id))

        assert north.load() == replace(TOKEN, grant_id=north.grant_id)
        assert south.load() == replace(TOKEN, access_token="other", grant_id=south.grant_id)

    def test_that_was_given_in_the_browser_is_not_found_by_a_connection_that_may_be_another_practices(
        self, variables: MemoryVariables
    ) -> None:
        VariableTokenStore("app", "secret", "one", variables=variables).save(TOKEN)
        north = VariableTokenStore("app", "secret", connection="north", variables=variables)
        north.save(replace(TOKEN, grant_id=north.grant_id))

        with pytest.raises(ConfigurationError, match=r"holds 2 grants .* authorize this connection"):
            VariableTokenStore("app", "secret", connection="south", variables=variables).load()

    def test_is_removed_alone(self, variables: MemoryVariables) -> None:
        stores = [
            VariableTokenStore("app", "secret", connection=each, variables=variables) for each in ("north", "south")
        ]
        for store in stores:
            store.save(replace(TOKEN, grant_id=store.grant_id))

        stores[0].delete()

        assert stores[0].load() is None
        assert stores[1].load() is not None

    @pytest.mark.parametrize("use", ["load", "save", "locked"])
    def test_of_another_release_is_neither_read_nor_overwritten(self, variables: MemoryVariables, use: str) -> None:
        store = VariableTokenStore(
            "app", "secret", "one", variables=variables, timing=QUICK, sleep=lambda seconds: None
        )
        theirs = '{"version": 3, "grants": {"one": {"access_token": "canary"}}}'
        variables.values[store.key] = theirs

        if use == "save":
            with pytest.raises(GrantLostError):
                store.save(TOKEN)
        else:
            with pytest.raises(ConfigurationError, match="in version '3', and this release of the provider reads") as e:
                store.load() if use == "load" else store.locked().__enter__()
            assert "canary" not in str(e.value)
        assert variables.values[store.key] == theirs

    def test_is_sealed_so_that_no_part_of_a_token_can_be_read(self, variables: MemoryVariables) -> None:
        store = VariableTokenStore("app", "secret", "one", variables=variables)

        store.save(TOKEN)
        (first,) = variables.values.values()
        store.save(TOKEN)
        (second,) = variables.values.values()

        assert not any(part in first for part in ("canary", "access", "refresh", "patients", "4102444800", "secret"))
        assert first != second

    def test_cannot_be_opened_with_another_client_secret_and_says_what_to_do(self, variables: MemoryVariables) -> None:
        VariableTokenStore("app", "secret", "one", variables=variables).save(TOKEN)
        other = VariableTokenStore("app", "other", "one", variables=variables, timing=QUICK)
        before = dict(variables.values)

        for use in (other.load, other.lease().__enter__):
            with pytest.raises(ConfigurationError, match=r"correct the connection's password; .* authorize") as caught:
                use()
            assert caught.value.__context__ is None
        assert variables.values == before

    def test_cannot_be_put_in_anothers_place(self, variables: MemoryVariables) -> None:
        VariableTokenStore("app", "secret", "one", variables=variables).save(TOKEN)
        other = VariableTokenStore("app", "secret", "two", variables=variables)
        document = json.loads(variables.values[other.key])
        variables.values[other.key] = json.dumps(document | {"grants": {"two": document["grants"]["one"]}})

        with pytest.raises(ConfigurationError, match="cannot be opened"):
            other.load()

    def test_is_replaced_after_a_change_of_the_secret_and_leaves_the_other_grants_sealed_with_theirs(
        self, variables: MemoryVariables
    ) -> None:
        one, two = (VariableTokenStore("app", "former", each, variables=variables) for each in ("one", "two"))
        one.save(TOKEN)
        two.save(replace(TOKEN, grant_id="two"))

        renamed = replace(TOKEN, access_token="newer")
        changed = VariableTokenStore("app", "newer secret", "one", variables=variables)
        changed.save(renamed)

        assert changed.load() == renamed
        assert two.load() == replace(TOKEN, grant_id="two")

    @pytest.mark.parametrize(
        "value",
        [
            "canary",
            "[]",
            "{}",
            '{"grants": []}',
            '{"grants": {"one": {}}}',
            '{"grants": {"one": {"access_token": "canary"}}}',
        ],
        ids=["text", "list", "empty", "no-map", "no-token", "not-sealed"],
    )
    def test_is_refused_if_it_is_something_else(self, variables: MemoryVariables, value: str) -> None:
        store = VariableTokenStore("app", "secret", "one", variables=variables)
        variables.values[store.key] = value

        with pytest.raises(ConfigurationError, match="does not hold DrChrono tokens; delete it") as caught:
            store.load()

        assert "canary" not in str(caught.value)
        assert caught.value.__context__ is None

    def test_does_not_keep_a_new_token_from_being_saved(self, variables: MemoryVariables) -> None:
        store = VariableTokenStore("app", "secret", "one", variables=variables)
        variables.values[store.key] = "garbage"

        store.save(TOKEN)

        assert store.load() == TOKEN


class FailingVariables(MemoryVariables):
    def __init__(self, *, reads: bool = True, failing_writes: int = 0) -> None:
        super().__init__()
        self.reads = reads
        self.failing_writes = failing_writes

    def read(self, key: str) -> str | None:
        if not self.reads:
            raise RuntimeError("no database: canary")
        return super().read(key)

    def write(self, key: str, value: str, description: str) -> None:
        if self.failing_writes:
            self.failing_writes -= 1
            raise ImportError(f"no supervisor: {value}")
        super().write(key, value, description)


class TestVariablesThatFail:
    def test_to_be_read_are_not_taken_for_absent(self, sandbox: Sandbox) -> None:
        outcome = call_once(ClientSettings(**options_for(sandbox)), FailingVariables(reads=False))

        assert outcome.startswith("TokenStoreError: The variable drchrono:token:")
        assert "cannot be read here (RuntimeError)" in outcome
        assert "refresh token is not spent" in outcome
        assert "canary" not in outcome
        assert renewals(sandbox) == []

    def test_to_be_written_keep_the_refresh_token_from_being_spent(self, sandbox: Sandbox) -> None:
        outcome = call_once(ClientSettings(**options_for(sandbox)), FailingVariables(failing_writes=100))

        assert outcome.startswith("TokenStoreError: The token is not renewed, because this process cannot store")
        assert "(ImportError); let a task do it, or run: airflow connections test" in outcome
        assert renewals(sandbox) == []

    def test_are_worth_a_retry_of_the_task(self) -> None:
        store = VariableTokenStore("app", "secret", "one", variables=FailingVariables(reads=False))

        with pytest.raises(TokenStoreError) as caught:
            store.load()

        assert caught.value.transient

    def test_are_tried_again_while_a_new_token_hangs_on_them(self) -> None:
        waited: list[float] = []
        variables = FailingVariables(failing_writes=3)
        store = VariableTokenStore("app", "secret", "one", variables=variables, sleep=waited.append)

        store.save(TOKEN)

        assert store.load() == TOKEN
        assert waited == [0.5, 1.0, 2.0]

    def test_for_good_lose_the_grant_and_say_so(self) -> None:
        waited: list[float] = []
        variables = FailingVariables(failing_writes=100)
        store = VariableTokenStore("app", "secret", "one", variables=variables, sleep=waited.append)

        with pytest.raises(GrantLostError, match=r"has replaced the refresh token.*authorize.*again") as caught:
            store.save(TOKEN)

        assert not caught.value.transient
        assert "canary" not in str(caught.value)
        assert sum(waited) == 15.5


class TestManyThreads:
    def test_renew_an_absent_token_once(self, sandbox: Sandbox, variables: MemoryVariables) -> None:
        settings = ClientSettings(**options_for(sandbox))
        outcomes: list[str] = []

        threads = [threading.Thread(target=lambda: outcomes.append(call_once(settings, variables))) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert outcomes == ["ok"] * 16
        assert renewals(sandbox) == [200]

    def test_renew_a_token_that_was_voided_once(self, sandbox: Sandbox, variables: MemoryVariables) -> None:
        settings = ClientSettings(**options_for(sandbox))
        assert call_once(settings, variables) == "ok"
        sandbox.app.oauth.expire_access_tokens()
        outcomes: list[str] = []

        threads = [threading.Thread(target=lambda: outcomes.append(call_once(settings, variables))) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert outcomes == ["ok"] * 16
        assert renewals(sandbox) == [200, 200]


def test_the_token_is_read_again_before_and_stored_before_use(sandbox: Sandbox, variables: MemoryVariables) -> None:
    assert call_once(ClientSettings(**options_for(sandbox)), variables) == "ok"

    assert variables.log == [
        "read token",
        # Enters the lease: is anybody there, here I am, is it still me?
        "read token",
        "read lease",
        "write lease",
        "read lease",
        # Inside: did somebody renew it meanwhile? Then the successor is added to the grants and stored.
        "read token",
        "read token",
        "write token",
        "write lease",
    ]


def test_a_refresh_token_entered_anew_begins_a_new_grant(sandbox: Sandbox, variables: MemoryVariables) -> None:
    options = options_for(sandbox)
    assert call_once(ClientSettings(**options), variables) == "ok"

    entered = sandbox.new_refresh_token("patients:read", "user:read")
    settings = ClientSettings(**options | {"refresh_token": entered})
    assert call_once(settings, variables) == "ok"

    token = store_for(settings, variables).load()
    assert token
    assert token.grant_id == grant_id_of(entered)
    assert set(token.scope) == {"patients:read", "user:read"}


class TestManyProcesses:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "variables.db"

    @pytest.fixture
    def context(self) -> Any:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.unit.state.shared_variables"])
        return context

    def test_renew_the_token_once(self, sandbox: Sandbox, context: Any, path: Path, tmp_path: Path) -> None:
        answers = [tmp_path / f"answer-{number}" for number in range(8)]
        processes = [context.Process(target=live, args=(path, options_for(sandbox), answer)) for answer in answers]
        for process in processes:
            process.start()
        for process in processes:
            process.join()

        assert [answer.read_text() for answer in answers] == ["ok"] * 8
        assert renewals(sandbox) == [200]

    @pytest.mark.parametrize(
        ("step", "outcome"),
        [
            pytest.param(2, "ok", id="before-it-looks-for-a-claim"),
            pytest.param(3, "ok", id="before-its-claim"),
            pytest.param(4, "ok", id="while-its-claim-settles"),
            pytest.param(5, "ok", id="before-the-second-look-at-the-token"),
            pytest.param(6, "lost", id="before-the-new-token-is-stored"),
            pytest.param(8, "ok", id="before-the-lease-is-given-back"),
        ],
    )
    def test_outlive_one_that_is_killed(
        self, sandbox: Sandbox, context: Any, path: Path, tmp_path: Path, step: int, outcome: str
    ) -> None:
        victim = context.Process(target=live, args=(path, options_for(sandbox), tmp_path / "victim", step))
        survivor = context.Process(target=live, args=(path, options_for(sandbox), tmp_path / "survivor"))

        victim.start()
        victim.join()
        survivor.start()
        survivor.join()

        assert victim.exitcode == -9
        said = (tmp_path / "survivor").read_text()
        if outcome == "ok":
            assert said == "ok"
            assert renewals(sandbox) == [200]
        else:
            assert said.startswith("GrantLostError: DrChrono refuses the refresh token. Its renewal was begun by")
            assert f"process {victim.pid} on " in said
            assert "authorize the application again and put the new refresh token on the connection" in said


@pytest.mark.parametrize("grant_id", range(20))
@pytest.mark.parametrize("step", range(12))
def test_whatever_step_a_process_is_killed_at_the_grant_is_spent_once_or_known_to_be_lost(
    step: int, grant_id: int
) -> None:
    world = World(grant_id)
    vendor = SimulatedVendor(world)
    outcomes: list[str] = []

    def store(variables: Any) -> VariableTokenStore:
        return VariableTokenStore(
            "app", "secret", "one", variables=variables, timing=SIMULATED, clock=world.clock, sleep=world.sleep
        )

    def survivor() -> None:
        try:
            outcomes.append(vendor.use(store(world)))
        except AuthenticationError as error:
            outcomes.append("lost" if isinstance(error, GrantLostError) else "refused")

    world.run(lambda: vendor.use(store(KilledAt(world, step))) and None, survivor, survivor)

    # Who finds the unfinished renewal explains it; who comes later only sees a dead refresh token.
    assert outcomes == (["lost", "refused"] if vendor.unstored else ["ok", "ok"])
    assert vendor.generation == 1


class KilledAt:
    """Variables whose user is killed at one of its steps."""

    def __init__(self, world: World, step: int) -> None:
        self.world = world
        self.left = step

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed

    def read(self, key: str) -> str | None:
        self._step()
        return self.world.read(key)

    def write(self, key: str, value: str, description: str) -> None:
        self._step()
        self.world.write(key, value, description)


class SimulatedVendor:
    """Rotates the refresh token and ends the grant when a used one comes again."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.generation = 0
        self.unstored = False

    def use(self, store: VariableTokenStore) -> str:
        """Get a token as the client does."""
        if store.load() is None:
            with store.lease():
                token = store.load()
                if token is None:
                    token = self._renew(0)
                    self.unstored = True
                    store.save(token)
                    self.unstored = False
        return "ok"

    def _renew(self, generation: int) -> Token:
        self.world.sleep(0.5)
        if generation != self.generation:
            raise AuthenticationError("invalid_grant", kind="refresh_token")
        self.generation += 1
        self.world.sleep(0.5)
        return Token(f"access-{self.generation}", f"refresh-{self.generation}", expires_at=NEVER, grant_id="one")


def test_a_dead_refresh_token_is_not_blamed_on_anybody_without_evidence(
    sandbox: Sandbox, variables: MemoryVariables
) -> None:
    settings = ClientSettings(**options_for(sandbox) | {"refresh_token": "never-was-one"})

    outcome = call_once(settings, variables)

    assert outcome.startswith("AuthenticationError: The refresh token is used up, revoked")


def test_the_lease_is_free_after_a_renewal_that_failed(sandbox: Sandbox, variables: MemoryVariables) -> None:
    sandbox.faults.add(Fault(kind="status", operation="oauth_token", status=503, times=None))
    settings = ClientSettings(**options_for(sandbox), max_attempts=1)

    assert call_once(settings, variables).startswith("ServerError: ")

    leases = [value for key, value in variables.values.items() if key.startswith("drchrono:lease:")]
    assert [json.loads(value) for value in leases] == [{}]
