"""Authorizing connections on Airflow's own database: which token wins, and what the terminal says."""

import argparse
import io
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from airflow.models.connection import Connection
from airflow.secrets.metastore import MetastoreBackend
from airflow.utils.session import create_session
from sqlalchemy import select

from airflow_provider_drchrono.cli.definition import get_drchrono_cli_commands
from airflow_provider_drchrono.client import AuthenticationError, ConfigurationError, DrChronoError, Token, grant_id_of
from airflow_provider_drchrono.client.authorization import answer_in, authorization_url, code_in
from airflow_provider_drchrono.hooks import authorization
from airflow_provider_drchrono.hooks.authorization import find_authorization, status_of
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.sandbox.faults import Fault
from airflow_provider_drchrono.sandbox.oauth import Client
from airflow_provider_drchrono.state import lease as variable_lease
from airflow_provider_drchrono.state.variables import AirflowVariables
from tests.support.browser import free_port

pytestmark = pytest.mark.airflow

REDIRECT_URI = "http://localhost:8000/"
ELSEWHERE = "https://airflow.example/drchrono/callback"

Add = Callable[..., None]


@pytest.fixture(autouse=True)
def alone_on_the_machine(airflow_db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else wants the lease here, so a claim need not settle."""
    monkeypatch.setattr(variable_lease, "Timing", partial(variable_lease.Timing, write_limit=30.0, settle=0.0))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(patients=3, quota_per_second=None, redirect_uris=(ELSEWHERE,)) as running:
        yield running


@pytest.fixture
def add(sandbox: Sandbox) -> Add:
    """Put a connection to the sandbox into Airflow's database."""

    def add(conn_id: str = "practice", **extra: Any) -> None:
        with create_session() as session:
            session.add(
                Connection(
                    conn_id=conn_id,
                    conn_type="drchrono",
                    host=sandbox.url,
                    login=sandbox.client_id,
                    password=sandbox.client_secret,
                    extra=json.dumps(extra),
                )
            )

    return add


def consent(conn_id: str, choice: str = "yes") -> str:
    """Allow what a connection asks for, and return the code."""
    url = authorization_url(find_authorization(conn_id).settings, REDIRECT_URI, "state")
    answer = httpx.get(f"{url}&approve={choice}", trust_env=False)
    return code_in(answer_in(answer.headers["location"]), "state")


def extra_of(conn_id: str = "practice") -> dict[str, Any]:
    stored = MetastoreBackend().get_connection(conn_id)
    assert stored is not None
    return dict(stored.extra_dejson)


def call(conn_id: str = "practice") -> None:
    with find_authorization(conn_id).client() as client:
        client.current_user()


def renewals(sandbox: Sandbox) -> int:
    return sum(entry.path == "/o/token/" for entry in sandbox.journal)


class TestNewGrant:
    def test_makes_a_connection_work_without_a_renewal(self, sandbox: Sandbox, add: Add) -> None:
        add()
        token = find_authorization("practice").accept(consent("practice"), REDIRECT_URI)
        before = renewals(sandbox)
        call()

        assert renewals(sandbox) == before
        assert grant_id_of(extra_of()["refresh_token"]) == token.grant_id

    @pytest.mark.parametrize("verify_tls", [True, False])
    def test_comes_with_a_warning_where_the_server_does_not_have_to_prove_who_it_is(
        self, add: Add, caplog: pytest.LogCaptureFixture, verify_tls: bool
    ) -> None:
        add(verify_tls=verify_tls)

        find_authorization("practice").accept(consent("practice"), REDIRECT_URI)

        assert caplog.text.count("verify_tls is off") == (not verify_tls)

    def test_wins_over_the_old_refresh_token_and_its_stored_token(self, sandbox: Sandbox, add: Add) -> None:
        add(refresh_token=sandbox.new_refresh_token("patients:read", "user:read"))
        call()
        assert len(status_of("practice", time.time()).granted) == 2

        find_authorization("practice").accept(consent("practice"), REDIRECT_URI)

        status = status_of("practice", time.time())
        assert (status.state, len(status.granted)) == ("authorized", 22)
        call()

    def test_keeps_the_other_fields_of_the_connection(self, add: Add) -> None:
        add(timezone="America/New_York", their_own={"deep": [1]})
        find_authorization("practice").accept(consent("practice"), REDIRECT_URI)

        extra = extra_of()
        assert extra.pop("refresh_token")
        assert extra == {"timezone": "America/New_York", "their_own": {"deep": [1]}}

    def test_leaves_the_grant_of_another_connection_alone(self, sandbox: Sandbox, add: Add) -> None:
        add("other", refresh_token=sandbox.new_refresh_token())
        call("other")
        add("practice")
        find_authorization("practice").accept(consent("practice"), REDIRECT_URI)
        before = renewals(sandbox)
        call("other")
        call("practice")

        assert renewals(sandbox) == before

    def test_waits_for_a_renewal_of_another_grant_and_both_are_kept(self, sandbox: Sandbox, add: Add) -> None:
        add("other", refresh_token=sandbox.new_refresh_token())
        call("other")
        add("practice")
        renewing = threading.Event()
        done: list[str] = []

        def renew() -> None:
            store = find_authorization("other").store
            with store.locked():
                token = store.load()
                assert token
                renewing.set()
                time.sleep(1.0)
                store.save(token)
                done.append("renewed")

        thread = threading.Thread(target=renew)
        thread.start()
        assert renewing.wait(20)
        find_authorization("practice").accept(consent("practice"), REDIRECT_URI)
        done.append("authorized")
        thread.join()
        before = renewals(sandbox)
        call("other")
        call("practice")

        assert done == ["renewed", "authorized"]
        assert renewals(sandbox) == before

    def test_is_not_lost_where_its_token_could_not_be_stored(
        self, sandbox: Sandbox, add: Add, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add()
        code = consent("practice")
        with monkeypatch.context() as broken:

            def refuse(*_: Any) -> None:
                raise OSError

            broken.setattr(AirflowVariables, "write", refuse)
            find_authorization("practice").accept(code, REDIRECT_URI)

        before = renewals(sandbox)
        assert status_of("practice", time.time()).state == "unused"
        call()
        assert renewals(sandbox) == before + 1

    def test_takes_the_place_of_the_stored_token_where_the_connection_cannot_be_written(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connection = json.loads(sandbox.connection_json())
        connection["extra"]["refresh_token"] = sandbox.new_refresh_token("user:read")
        monkeypatch.setenv("AIRFLOW_CONN_PRACTICE", json.dumps(connection))
        call()
        found = find_authorization("practice")
        assert not found.in_database

        found.accept(consent("practice"), REDIRECT_URI)

        before = renewals(sandbox)
        call()
        assert renewals(sandbox) == before
        assert len(status_of("practice", time.time()).granted) == 22

    def test_goes_to_the_connection_that_tasks_see(
        self, sandbox: Sandbox, add: Add, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add()
        connection = json.loads(sandbox.connection_json())
        monkeypatch.setenv("AIRFLOW_CONN_PRACTICE", json.dumps(connection))

        find_authorization("practice").accept(consent("practice"), REDIRECT_URI)

        assert "refresh_token" not in extra_of()
        assert status_of("practice", time.time()).state == "authorized"

    def test_is_not_begun_by_a_code_that_is_refused(self, add: Add) -> None:
        add()
        with pytest.raises(AuthenticationError, match="authorize again"):
            find_authorization("practice").accept("not-a-code", REDIRECT_URI)

        assert extra_of() == {}


class TestStatus:
    def test_knows_an_unknown_connection(self, airflow_db: Path) -> None:
        status = status_of("nowhere", time.time())

        assert status.state == "unusable"
        assert status.problem.startswith("There is no connection 'nowhere'; add one of type drchrono")

    def test_knows_a_connection_that_lacks_its_secret(self, airflow_db: Path) -> None:
        with create_session() as session:
            session.add(Connection(conn_id="practice", conn_type="drchrono", login="client"))

        assert "no password, which is the client secret" in status_of("practice", time.time()).problem

    def test_goes_from_never_to_unused_to_authorized_to_expired(self, sandbox: Sandbox, add: Add) -> None:
        add("never")
        add("practice", refresh_token=sandbox.new_refresh_token())
        now = time.time()
        assert status_of("never", now).state == "never"
        assert status_of("practice", now).state == "unused"
        call()
        status = status_of("practice", now)
        assert status.state == "authorized"
        assert status.expires_at is not None
        assert abs(status.expires_at - now - 172_800) < 60
        assert status_of("practice", status.expires_at).state == "expired"

    def test_shows_that_renewing_fails_until_it_is_authorized_again(self, add: Add) -> None:
        add(refresh_token="a-dead-refresh-token")
        with pytest.raises(AuthenticationError):
            call()
        status = status_of("practice", time.time())
        assert status.state == "refused"
        assert status.refused_at is not None
        assert abs(status.refused_at - time.time()) < 60

        find_authorization("practice").accept(consent("practice"), REDIRECT_URI)
        assert status_of("practice", time.time()).state == "authorized"

    def test_of_each_connection_is_its_own_where_they_share_an_application(self, sandbox: Sandbox, add: Add) -> None:
        add("works", refresh_token=sandbox.new_refresh_token())
        call("works")
        for name in ("dead", "dead_too"):
            add(name, refresh_token=f"a-{name}-refresh-token")
            with pytest.raises(AuthenticationError):
                call(name)
        before = renewals(sandbox)

        names = ("works", "dead", "dead_too")
        assert [status_of(name, time.time()).state for name in names] == ["authorized", "refused", "refused"]
        call("works")
        assert renewals(sandbox) == before

    def test_does_not_blame_the_refresh_token_for_a_wrong_secret(self, sandbox: Sandbox, add: Add) -> None:
        add(refresh_token=sandbox.new_refresh_token())
        with create_session() as session:
            row = session.scalar(select(Connection).where(Connection.conn_id == "practice"))
            assert row is not None
            row.password = "wrong"
        with pytest.raises(AuthenticationError, match="does not know this client id and secret"):
            call()

        assert status_of("practice", time.time()).state == "unused"

    def test_counts_the_calls_that_are_left(self, sandbox: Sandbox, add: Add) -> None:
        add(refresh_token=sandbox.new_refresh_token(), quota_per_hour=100)
        before = status_of("practice", time.time()).calls_left
        call()
        after = status_of("practice", time.time()).calls_left
        assert before is not None
        assert after is not None
        # The address of the current user leads on to the user's own.
        assert before - after == 2

    def test_says_which_scopes_of_the_connection_are_missing(self, sandbox: Sandbox, add: Add) -> None:
        add(refresh_token=sandbox.new_refresh_token("user:read"), scope="user:read labs:read")
        call()

        status = status_of("practice", time.time())
        assert (status.granted, status.missing) == (("user:read",), ("labs:read",))


class TestRevoking:
    def test_ends_the_grant_and_forgets_it(self, add: Add) -> None:
        add(timezone="America/New_York")
        token = find_authorization("practice").accept(consent("practice"), REDIRECT_URI)

        assert find_authorization("practice").revoke()

        assert extra_of() == {"timezone": "America/New_York"}
        assert status_of("practice", time.time()).state == "never"
        with pytest.raises(AuthenticationError, match="revoked"):
            authorization.TokenEndpoint(find_authorization("practice").settings).renew(token.refresh_token or "", "")

    def test_ends_a_grant_that_was_never_used(self, sandbox: Sandbox, add: Add) -> None:
        add(refresh_token=sandbox.new_refresh_token())

        assert find_authorization("practice").revoke()
        assert status_of("practice", time.time()).state == "never"

    def test_leaves_the_other_connections_grant(self, sandbox: Sandbox, add: Add) -> None:
        add("other", refresh_token=sandbox.new_refresh_token())
        call("other")
        add("practice", refresh_token=sandbox.new_refresh_token())
        call("practice")
        find_authorization("practice").revoke()
        before = renewals(sandbox)
        call("other")

        assert renewals(sandbox) == before

    def test_does_not_end_what_another_connection_brought(self, add: Add, sandbox: Sandbox) -> None:
        add("other", refresh_token=sandbox.new_refresh_token())
        call("other")
        add("practice")
        call("practice")

        with pytest.raises(ConfigurationError, match="uses the authorization of the connection other; revoke that one"):
            find_authorization("practice").revoke()
        call("other")

    def test_of_nothing_says_so(self, add: Add) -> None:
        add()

        assert not find_authorization("practice").revoke()

    def test_forgets_nothing_if_the_vendor_does_not_answer(
        self, add: Add, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add(refresh_token=sandbox.new_refresh_token())
        call()
        monkeypatch.setitem(sandbox.app.oauth.clients, sandbox.client_id, Client(sandbox.client_id, "given anew"))

        with pytest.raises(DrChronoError, match="does not know this client id and secret"):
            find_authorization("practice").revoke()
        assert status_of("practice", time.time()).state == "authorized"

    def test_forgets_nothing_with_another_client_secret_which_does_not_open_the_tokens(
        self, add: Add, sandbox: Sandbox
    ) -> None:
        add(refresh_token=sandbox.new_refresh_token())
        call()
        set_password("wrong")

        with pytest.raises(DrChronoError, match="cannot be opened with the client secret of this connection"):
            find_authorization("practice").revoke()
        unusable = status_of("practice", time.time())
        assert unusable.state == "unusable"
        assert "authorize the connection again" in unusable.problem

        set_password(sandbox.client_secret)
        assert status_of("practice", time.time()).state == "authorized"


def set_password(password: str) -> None:
    with create_session() as session:
        row = session.scalar(select(Connection).where(Connection.conn_id == "practice"))
        assert row is not None
        row.password = password


def run(*words: str) -> None:
    """Run ``airflow drchrono`` with these words, through the commands that Airflow is given."""
    parser = argparse.ArgumentParser(prog="airflow")
    (group,) = get_drchrono_cli_commands()
    commands = parser.add_subparsers(dest="command").add_parser(group.name).add_subparsers(dest="subcommand")
    for command in group.subcommands:
        sub = commands.add_parser(command.name)
        for arg in command.args:
            arg.add_to_parser(sub)
        sub.set_defaults(func=command.func)
    args = parser.parse_args(["drchrono", *words])
    args.func(args)


class Pasted(io.StringIO):
    """A terminal into which a person pastes what their browser ended up with."""

    def __init__(self, answer: Callable[[str], str]) -> None:
        super().__init__()
        self._answer = answer
        self.shown = threading.Event()
        self.url = ""

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        assert self.shown.wait(20)
        yield "not an address\n"
        yield self._answer(self.url)


@pytest.fixture
def paste(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Answer the consent page with a choice, and paste the address that it leads to."""
    from airflow_provider_drchrono.cli import authorize

    say = authorize._say

    def paste(choice: str) -> None:
        terminal = Pasted(lambda url: httpx.get(f"{url}&approve={choice}", trust_env=False).headers["location"] + "\n")

        def listen(line: str) -> None:
            say(line)
            if "/o/authorize/" in line:
                terminal.url = line.strip()
                terminal.shown.set()

        monkeypatch.setattr(authorize, "_say", listen)
        monkeypatch.setattr(sys, "stdin", terminal)

    return paste


class TestTerminal:
    def test_authorizes_by_a_pasted_address(
        self, add: Add, paste: Callable[[str], None], capsys: pytest.CaptureFixture[str]
    ) -> None:
        add()
        paste("yes")
        run("authorize", "practice", "--no-browser", "--redirect-uri", ELSEWHERE, "--timeout", "20")

        shown = capsys.readouterr()
        assert "This is not the address that DrChrono sent the browser to" in shown.err
        assert "The connection practice is authorized until" in shown.out
        assert "The refresh token is on the connection" in shown.out
        call()

    def test_authorizes_by_the_answer_at_a_port(
        self, add: Add, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from airflow_provider_drchrono.cli import authorize

        add()
        answers: list[int] = []

        def click(url: str) -> bool:
            redirect = httpx.get(f"{url}&approve=yes", trust_env=False).headers["location"]
            forged = redirect.replace("state=", "state=forged-")

            def follow() -> None:
                answers.extend(httpx.get(each, trust_env=False).status_code for each in (forged, redirect))

            threading.Timer(0.5, follow).start()
            return True

        monkeypatch.setattr(sys, "stdin", io.StringIO())
        monkeypatch.setattr(authorize, "_has_browser", lambda: True)
        monkeypatch.setattr(authorize.webbrowser, "open", click)
        run("authorize", "practice", "--port", str(free_port()), "--timeout", "20")

        assert "The connection practice is authorized until" in capsys.readouterr().out
        assert answers[0] == 404
        call()

    def test_says_that_it_was_cancelled(self, add: Add, paste: Callable[[str], None]) -> None:
        add()
        paste("no")

        with pytest.raises(SystemExit, match="was cancelled in DrChrono; nothing was changed"):
            run("authorize", "practice", "--no-browser", "--port", str(free_port()), "--timeout", "20")
        assert extra_of() == {}

    def test_gives_up_after_a_while(self, add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
        add()
        monkeypatch.setattr(sys, "stdin", io.StringIO())

        with pytest.raises(SystemExit, match=r"No answer came within 0\.1 seconds; nothing was changed"):
            run("authorize", "practice", "--no-browser", "--port", str(free_port()), "--timeout", "0.1")

    def test_names_an_unknown_connection(self, airflow_db: Path) -> None:
        with pytest.raises(SystemExit, match="There is no connection 'nowhere'"):
            run("authorize", "nowhere")

    def test_refuses_a_redirect_in_the_open(self, add: Add) -> None:
        add()
        with pytest.raises(SystemExit, match="neither https nor on this machine"):
            run("authorize", "practice", "--redirect-uri", "http://airflow.example/")

    def test_shows_the_status_of_all(self, add: Add, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
        with create_session() as session:
            session.add(Connection(conn_id="never", conn_type="drchrono", login="another", password="application"))
        add("practice", refresh_token=sandbox.new_refresh_token())
        call()
        run("status", "-o", "json")

        rows = json.loads(capsys.readouterr().out)
        assert {row["conn_id"]: row["state"] for row in rows} == {"never": "never", "practice": "authorized"}

    def test_status_ends_with_an_error_where_people_are_needed(
        self, add: Add, capsys: pytest.CaptureFixture[str]
    ) -> None:
        add(refresh_token="a-dead-refresh-token")
        with pytest.raises(AuthenticationError):
            call()
        with pytest.raises(SystemExit) as ended:
            run("status", "practice")

        assert ended.value.code == 1
        assert "renewal refused" in capsys.readouterr().out

    def test_shows_the_quota_of_a_connection_in_the_database(
        self, add: Add, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
    ) -> None:
        add(refresh_token=sandbox.new_refresh_token())
        call()
        run("quota", "practice", "-o", "json")

        assert json.loads(capsys.readouterr().out)["used"] >= 2

    def test_revokes(self, add: Add, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
        add(refresh_token=sandbox.new_refresh_token())
        run("revoke", "practice", "--yes")

        assert "ended the authorization of practice" in capsys.readouterr().out
        with pytest.raises(SystemExit, match="there is nothing to revoke"):
            run("revoke", "practice", "--yes")

    def test_asks_before_it_revokes(self, add: Add, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        add(refresh_token=sandbox.new_refresh_token())
        monkeypatch.setattr("builtins.input", lambda _: "n")

        with pytest.raises(SystemExit, match="Nothing was changed"):
            run("revoke", "practice")
        assert status_of("practice", time.time()).state == "unused"


class TestDoctor:
    def test_finds_everything_possible_in_one_call(
        self, add: Add, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
    ) -> None:
        add(refresh_token=sandbox.new_refresh_token())
        run("doctor", "practice", "-o", "json")

        report = json.loads(capsys.readouterr().out)
        assert report["possible"] == {"action": 174, "trigger": 23, "operation": 157}
        # The address of the current user leads on to the user's own.
        assert (report["calls"], report["scopes_missing"]) == (2, [])
        assert report["user"].startswith(sandbox.practice.records("users")[0]["username"])

    def test_says_what_several_hosts_do_not_share(
        self, add: Add, sandbox: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add(refresh_token=sandbox.new_refresh_token())
        run("doctor", "practice", "-o", "json")
        assert json.loads(capsys.readouterr().out)["problems"] == []

        monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "KubernetesExecutor")
        run("doctor", "practice", "-o", "json")
        counts, pages = json.loads(capsys.readouterr().out)["problems"]
        assert "quota_storage" in counts
        assert "staging_path" in pages
        run("doctor", "practice", "-o", "plain")
        assert {counts, pages} <= set(capsys.readouterr().out.splitlines())

    def test_shows_what_is_missing_to_people(
        self, add: Add, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
    ) -> None:
        add(refresh_token=sandbox.new_refresh_token("user:read", "patients:read"))
        run("doctor", "practice", "-o", "plain")

        text = capsys.readouterr().out
        assert "Permissions inside DrChrono were not tried; --probe tries them" in text
        assert "Calls made: 2" in text
        (line,) = [line for line in text.splitlines() if "Create Patient " in f"{line} " and "patients:write" in line][
            :1
        ]
        assert " no " in line

    def test_tries_permissions_with_one_call_for_each_group(
        self, add: Add, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
    ) -> None:
        add(refresh_token=sandbox.new_refresh_token())
        run("doctor", "practice", "--probe", "-o", "json")

        report = json.loads(capsys.readouterr().out)
        assert report["calls"] == 2 + 14
        assert report["possible"]["action"] > 100


def test_a_permission_that_is_missing_inside_drchrono_shows_when_it_is_tried(
    add: Add, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    add(refresh_token=sandbox.new_refresh_token())
    sandbox.faults.add(Fault(kind="status", operation="schedule_blocks_list", status=403, body={"detail": "No."}))
    run("doctor", "practice", "--probe", "-o", "json")

    rows = json.loads(capsys.readouterr().out)["operations"]
    calendar = [row for row in rows if row["permissions"] == ["calendar"]]
    assert {(row["can"], row["note"]) for row in calendar} == {
        ("no", "DrChrono refused a list that needs the same permissions")
    }
    assert {row["operation_id"] for row in rows if row["can"] == "no"} == {row["operation_id"] for row in calendar}


def test_no_secret_reaches_the_screen_or_the_log(
    add: Add,
    sandbox: Sandbox,
    paste: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    add()
    paste("yes")
    run("authorize", "practice", "--no-browser", "--redirect-uri", ELSEWHERE, "--timeout", "20")
    run("status", "-o", "json")
    run("doctor", "practice")
    token = find_authorization("practice").store.load()
    assert isinstance(token, Token)
    run("revoke", "practice", "-y")

    shown = capsys.readouterr()
    everything = shown.out + shown.err + caplog.text
    for secret in (token.access_token, token.refresh_token, sandbox.client_secret):
        assert secret
        assert secret not in everything
