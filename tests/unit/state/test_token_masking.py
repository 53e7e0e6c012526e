"""What Airflow masks. Tasks and triggers have one masker; the API server and the command line another."""

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow._shared.secrets_masker import redact as redact_in_server
from airflow.sdk._shared.secrets_masker import redact as redact_in_task

from airflow_provider_drchrono.client import Token
from airflow_provider_drchrono.hooks.authorization import find_authorization
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.state.sealing import Seal
from airflow_provider_drchrono.state.token_store import VERSION, GrantLostError, VariableTokenStore
from tests.unit.state.shared_variables import MemoryVariables

pytestmark = pytest.mark.airflow

Redact = Callable[[Any], Any]


@pytest.fixture(params=[redact_in_task, redact_in_server], ids=["task", "server"])
def redact(request: pytest.FixtureRequest) -> Redact:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def token() -> Token:
    """A token that no masker has met yet."""
    return Token(secrets.token_hex(), secrets.token_hex(), expires_at=4_102_444_800.0, grant_id="one")


def line(*words: str | None) -> str:
    return f"a line with {' and '.join(map(str, words))} in it"


MASKED = line("***", "***")


class TestToken:
    def test_that_another_process_stored_is_masked_when_it_is_loaded(self, token: Token, redact: Redact) -> None:
        variables = MemoryVariables()
        store = VariableTokenStore("app", "secret", "one", variables=variables)
        sealed = Seal("app", "secret").close(token.to_dict(), f"{store.key} one")
        variables.values[store.key] = json.dumps({"version": VERSION, "grants": {"one": sealed}})
        shown = line(token.access_token, token.refresh_token)
        assert redact(shown) == shown

        assert store.load() == token

        assert redact(shown) == MASKED

    def test_is_masked_when_it_is_saved(self, token: Token, redact: Redact) -> None:
        VariableTokenStore("app", "secret", "one", variables=MemoryVariables()).save(token)

        assert redact(line(token.access_token, token.refresh_token)) == MASKED

    def test_is_masked_though_it_cannot_be_saved(self, token: Token, redact: Redact) -> None:
        class Broken(MemoryVariables):
            def write(self, key: str, value: str, description: str) -> None:
                raise OSError

        store = VariableTokenStore("app", "secret", "one", variables=Broken(), sleep=lambda seconds: None)
        with pytest.raises(GrantLostError):
            store.save(token)

        assert redact(line(token.access_token, token.refresh_token)) == MASKED

    def test_without_a_refresh_token_is_masked_as_well(self, redact: Redact) -> None:
        bare = Token(secrets.token_hex(), expires_at=4_102_444_800.0)
        VariableTokenStore("app", "secret", variables=MemoryVariables()).save(bare)

        assert redact(line(bare.access_token, None)) == line("***", None)


class TestConnection:
    @pytest.fixture
    def secret(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
        """The secrets of the connection ``practice``, which no masker has met yet."""
        names = ("client_secret", "refresh_token", "quota_storage_password")
        values = {name: secrets.token_hex() for name in names}
        connection = {
            "conn_type": "drchrono",
            "login": "the-client-id",
            "password": values["client_secret"],
            "extra": {name: values[name] for name in names[1:]} | {"timezone": "America/New_York"},
        }
        monkeypatch.setenv("AIRFLOW_CONN_PRACTICE", json.dumps(connection))
        return values

    def assert_masked(self, secret: dict[str, str], redact: Redact) -> None:
        assert {name: redact(line(value)) for name, value in secret.items()} == dict.fromkeys(secret, line("***"))
        # Masking more would take the sense out of messages.
        harmless = line("the-client-id", "America/New_York")
        assert redact(harmless) == harmless

    def test_of_a_hook_is_masked(self, secret: dict[str, str], redact: Redact) -> None:
        assert DrChronoHook("practice").settings.client_secret.get_secret_value() == secret["client_secret"]

        self.assert_masked(secret, redact)

    def test_of_the_page_and_the_command_line_is_masked(
        self, airflow_db: Path, secret: dict[str, str], redact: Redact
    ) -> None:
        assert find_authorization("practice").settings.client_secret.get_secret_value() == secret["client_secret"]

        self.assert_masked(secret, redact)
