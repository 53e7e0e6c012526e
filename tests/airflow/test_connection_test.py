"""The connection through the hook, on Airflow's own variables: what the test button says, and what failures say."""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from airflow.models.connection import Connection

from airflow_provider_drchrono.client import DrChronoError
from airflow_provider_drchrono.common.outcomes import airflow_outcome
from airflow_provider_drchrono.compat import AirflowFailException, AirflowNotFoundException, read_variable
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.state import lease as variable_lease
from tests.support.certificates import self_signed

pytestmark = pytest.mark.airflow

Connect = Callable[..., DrChronoHook]


@pytest.fixture(autouse=True)
def alone_on_the_machine(airflow_db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else wants the lease here, so a claim need not settle."""
    monkeypatch.setattr(variable_lease, "Timing", partial(variable_lease.Timing, write_limit=30.0, settle=0.0))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(patients=5, quota_per_second=None) as running:
        yield running


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """Make a hook on a connection to a sandbox, with a grant of its own."""
    hooks: list[DrChronoHook] = []

    def make(sandbox: Sandbox, *scopes: str, extra: dict[str, Any] | None = None, **fields: Any) -> DrChronoHook:
        connection = json.loads(sandbox.connection_json()) | fields
        connection["extra"] |= {"refresh_token": sandbox.new_refresh_token(*scopes)} | (extra or {})
        monkeypatch.setenv("AIRFLOW_CONN_PRACTICE", json.dumps(connection))
        hooks.append(DrChronoHook("practice"))
        return hooks[-1]

    yield make
    for hook in hooks:
        hook.close()


def renewals(sandbox: Sandbox) -> int:
    return sum(entry.path == "/o/token/" for entry in sandbox.journal)


class TestConnectionTest:
    def test_says_whose_token_it_is(self, sandbox: Sandbox, connect: Connect) -> None:
        works, line = connect(sandbox).test_connection()

        user = sandbox.practice.records("users")[0]
        assert works
        assert line.startswith(f"Authorized as {user['username']} (user {user['id']}, practice group ")
        assert line.endswith(". All scopes are granted.")

    @pytest.mark.parametrize("port", [443, None, "own"])
    def test_works_with_any_port_that_the_form_may_hold(self, sandbox: Sandbox, connect: Connect, port: Any) -> None:
        works, line = connect(sandbox, port=urlsplit(sandbox.url).port if port == "own" else port).test_connection()

        assert works, line

    def test_does_not_name_the_id_that_airflow_made_up(self, sandbox: Sandbox, connect: Connect) -> None:
        works, line = connect(sandbox, login="").test_connection()

        assert not works
        assert line.startswith("The connection cannot be used. It has no login")

    # Airflow's own endpoint asks its manager of providers in a way that it has given up.
    @pytest.mark.filterwarnings("ignore:ProvidersManager")
    @pytest.mark.parametrize("printed", ["JSON", "URI"])
    def test_airflows_button_takes_the_connection_that_the_sandbox_prints(
        self, sandbox: Sandbox, sign_in: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, printed: str
    ) -> None:
        monkeypatch.setenv("AIRFLOW__CORE__TEST_CONNECTION", "Enabled")
        if printed == "JSON":
            saved = Connection.from_json(sandbox.connection_json(), conn_id="of_the_sandbox")
        else:
            saved = Connection(conn_id="of_the_sandbox", uri=sandbox.connection_uri())
        extra = json.loads(saved.extra) | {"refresh_token": sandbox.new_refresh_token()}
        form = {"connection_id": saved.conn_id, "extra": json.dumps(extra)}
        form |= {name: getattr(saved, name) for name in ("conn_type", "host", "login", "password", "port")}
        browser = sign_in("admin")

        assert browser.post("/api/v2/connections", json=form).status_code == 201
        # The form sends what it shows, and hides the password as Airflow does.
        shown = browser.get("/api/v2/connections/of_the_sandbox").json()
        answer = browser.post("/api/v2/connections/test", json=form | {"port": shown["port"]})

        assert answer.status_code == 200, answer.text
        assert answer.json()["status"], answer.json()["message"]
        assert answer.json()["message"].startswith("Authorized as doctor1")

    def test_says_which_scopes_were_not_granted(self, sandbox: Sandbox, connect: Connect) -> None:
        works, line = connect(sandbox, "user:read", "patients:read").test_connection()

        assert works
        assert "Not granted: billing:patient-payment:read, " in line
        assert "patients:write" in line
        assert "patients:read," not in line

    def test_fails_if_the_connection_asks_for_a_scope_that_was_not_granted(
        self, sandbox: Sandbox, connect: Connect
    ) -> None:
        hook = connect(sandbox, "user:read", extra={"scope": "user:read clinical:read"})

        works, line = hook.test_connection()

        assert not works
        assert "asks for what is not granted: clinical:read; authorize the application again" in line

    def test_is_content_with_the_scopes_of_the_connection(self, sandbox: Sandbox, connect: Connect) -> None:
        hook = connect(sandbox, "user:read", "patients:read", extra={"scope": ["user:read", "patients:read"]})

        works, line = hook.test_connection()

        assert works
        assert line.endswith(". All scopes of the connection are granted.")

    def test_stores_the_renewed_token_for_the_tasks(self, sandbox: Sandbox, connect: Connect) -> None:
        hook = connect(sandbox)
        before = renewals(sandbox)

        assert hook.test_connection()[0]
        assert DrChronoHook("practice").test_connection()[0]

        assert renewals(sandbox) == before + 1

    def test_is_the_same_under_the_random_id_of_airflows_button(
        self, sandbox: Sandbox, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connection = connect(sandbox)
        assert connection.test_connection()[0]
        before = renewals(sandbox)
        monkeypatch.setenv("AIRFLOW_CONN_UG1VDMNH", os.environ["AIRFLOW_CONN_PRACTICE"])

        assert DrChronoHook("ug1vdmnh").test_connection()[0]

        assert renewals(sandbox) == before

    def test_spends_nothing_where_the_token_could_not_be_stored(
        self, sandbox: Sandbox, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hook = connect(sandbox)
        before = renewals(sandbox)

        def refuse(*arguments: Any, **named: Any) -> None:
            raise ImportError("cannot import name 'SUPERVISOR_COMMS'")

        monkeypatch.setattr("airflow.models.variable.Variable.set", refuse)
        works, line = hook.test_connection()

        assert not works
        assert "cannot store its successor" in line
        assert "let a task do it, or run: airflow connections test" in line
        assert renewals(sandbox) == before

    @pytest.mark.filterwarnings("ignore:ProvidersManager.hooks is deprecated")
    def test_of_airflow_itself_reports_the_line(self, sandbox: Sandbox, connect: Connect) -> None:
        connect(sandbox)
        connection = Connection.from_json(os.environ["AIRFLOW_CONN_PRACTICE"], conn_id="practice")

        works, line = connection.test_connection()

        assert works
        assert line.startswith("Authorized as ")


class TestBadConnections:
    """Each ends the task at once, with one line that says what to do."""

    def line_of(self, hook: DrChronoHook) -> str:
        with pytest.raises(AirflowFailException) as caught, airflow_outcome(), closing(hook):
            list(hook.get_conn().list("patients"))
        line = str(caught.value)
        assert "\n" not in line
        assert len(line) < 300
        return line

    def test_wrong_secret(self, sandbox: Sandbox, connect: Connect) -> None:
        line = self.line_of(connect(sandbox, password="wrong-canary"))

        assert "DrChrono does not know this client id and secret (invalid_client); copy both again" in line
        assert "canary" not in line

    def test_no_refresh_token(self, sandbox: Sandbox, connect: Connect) -> None:
        line = self.line_of(connect(sandbox, extra={"refresh_token": None}, login="another-application"))

        assert "no refresh token and no stored token" in line
        assert "put the refresh token into the connection's extra field refresh_token" in line

    def test_dead_refresh_token(self, sandbox: Sandbox, connect: Connect) -> None:
        line = self.line_of(connect(sandbox, extra={"refresh_token": "dead-canary"}))

        assert "(invalid_grant); authorize the application again and enter the new refresh token" in line
        assert "canary" not in line

    def test_missing_scope(self, sandbox: Sandbox, connect: Connect) -> None:
        line = self.line_of(connect(sandbox, "user:read"))

        assert "patients_list" in line
        assert "403" in line
        assert "patients:read" in line

    def test_plain_http(self, sandbox: Sandbox, connect: Connect) -> None:
        line = self.line_of(connect(sandbox, host="http://app.drchrono.com"))

        assert "base_url" in line
        assert "unprotected; use https" in line

    def test_certificate_of_nobody_we_trust(self, tmp_path: Path, connect: Connect) -> None:
        with Sandbox(patients=0, certificate=self_signed(tmp_path)) as sandbox:
            line = self.line_of(connect(sandbox))

        assert "certificate" in line.lower()
        assert "ca_bundle" in line

    def test_certificate_of_the_bundle(self, tmp_path: Path, connect: Connect) -> None:
        certificate, key = self_signed(tmp_path)
        with Sandbox(patients=0, certificate=(certificate, key)) as sandbox:
            works, line = connect(sandbox, extra={"ca_bundle": certificate}).test_connection()

        assert works, line

    def test_unknown_host(self, sandbox: Sandbox, connect: Connect) -> None:
        hook = connect(sandbox, host="https://drchrono.invalid", extra={"connect_timeout": 1})

        works, line = hook.test_connection()

        assert not works
        assert "drchrono.invalid" in line
        assert "\n" not in line

    def test_connection_that_is_not_there(self) -> None:
        with pytest.raises(AirflowNotFoundException, match="`nowhere` isn't defined"):
            DrChronoHook("nowhere").get_conn()


class TestPracticeTimezones:
    def test_are_those_of_the_doctors(self, connect: Connect) -> None:
        zones = ("America/Denver", "America/New_York", "America/Denver")
        with Sandbox(patients=0, doctor_timezones=zones) as sandbox:
            hook = connect(sandbox, extra={"timezone": None})

            assert hook.practice_timezones() == ("America/Denver", "America/New_York")
            calls = hook.get_conn().calls
            assert hook.practice_timezones() == ("America/Denver", "America/New_York")

            assert hook.get_conn().calls == calls

    def test_are_that_of_the_connection_without_a_call(self, sandbox: Sandbox, connect: Connect) -> None:
        hook = connect(sandbox, extra={"timezone": "America/Chicago"})

        assert hook.practice_timezones() == ("America/Chicago",)
        assert hook.get_conn().calls == 0

    @pytest.mark.parametrize(
        ("zone", "complaint"),
        [("Boston", "'Boston', which is not one"), (None, "No doctor .* has a time zone")],
        ids=["unknown", "absent"],
    )
    def test_have_to_exist(self, connect: Connect, zone: str | None, complaint: str) -> None:
        with Sandbox(patients=0) as sandbox:
            for doctor in list(sandbox.practice.records("doctors")):
                sandbox.practice.change("doctors", doctor["id"], {"timezone": zone})
            hook = connect(sandbox, extra={"timezone": None})

            with pytest.raises(DrChronoError, match=f"{complaint}; set timezone on the connection"):
                hook.practice_timezones()


class TestClients:
    def test_are_made_once_and_again_after_closing(self, sandbox: Sandbox, connect: Connect) -> None:
        hook = connect(sandbox)

        first = hook.get_conn()
        assert hook.get_conn() is first
        hook.close()

        assert hook.get_conn() is not first

    async def use_async(self, hook: DrChronoHook) -> list[dict[str, Any]]:
        client = await hook.get_async_conn()
        assert await hook.get_async_conn() is client
        try:
            return [patient async for patient in client.list("patients")]
        finally:
            await hook.aclose()

    def test_come_in_both_kinds_and_share_the_token(self, sandbox: Sandbox, connect: Connect) -> None:
        hook = connect(sandbox)
        before = renewals(sandbox)

        patients = asyncio.run(self.use_async(hook))

        assert patients == list(hook.get_conn().list("patients"))
        assert len(patients) == 5
        assert renewals(sandbox) == before + 1

    def test_work_with_the_connection_that_the_sandbox_prints_as_a_uri(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_PRACTICE", sandbox.connection_uri())
        from_uri = DrChronoHook("practice").settings
        monkeypatch.setenv("AIRFLOW_CONN_PRACTICE", sandbox.connection_json())

        assert DrChronoHook("practice").settings == from_uri


def test_secrets_and_patients_stay_out_of_logs_reprs_and_errors(
    sandbox: Sandbox, connect: Connect, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    with caplog.at_level(logging.DEBUG):
        hook = connect(sandbox)
        said += map(str, hook.test_connection())
        patients = list(hook.get_conn().list("patients"))
        with pytest.raises(DrChronoError) as caught:
            hook.get_conn().create("patients", {"first_name": "Canary-First-Name", "gender": "Canary-Gender"})
        said += [repr(caught.value), str(caught.value)]
        said += [repr(each) for each in (hook, hook.settings, hook.token_store, hook.get_conn())]
        said += [repr(hook.token_store.load()), str(hook.settings.model_dump())]
        hook.close()
    said += [record.getMessage() for record in caplog.records]
    said += [str(record.__dict__) for record in caplog.records]
    said += capfd.readouterr()
    stored = read_variable(hook.token_store.key)
    assert stored
    everything = "\n".join([*said, stored])

    token = hook.token_store.load()
    assert token
    canaries = {
        "client secret": sandbox.client_secret,
        "entered refresh token": hook.settings.refresh_token.get_secret_value(),  # type: ignore[union-attr]
        "access token": token.access_token,
        "refresh token": token.refresh_token or "",
        "body": "Canary-",
    }
    canaries |= {f"patient {patient['id']}": f"{patient['last_name']}" for patient in patients}
    assert len(patients) == 5
    assert {name for name, canary in canaries.items() if canary in everything} == set()
