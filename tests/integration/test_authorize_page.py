"""The authorization page as people meet it: a real browser, a real Airflow, and the sandbox as DrChrono."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.sandbox.oauth import Client
from tests.support.browser import Browser, chromedriver, free_port

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
AIRFLOW = Path(sys.executable).parent / "airflow"
USERS = {"admin": "admin", "olga": "op", "victor": "viewer"}
START_TIMEOUT_S = 180

LET_PENDING_EXPIRE = """
import json
import time
from airflow.models.variable import Variable
from airflow.utils.session import create_session
from airflow_provider_drchrono.state.names import AUTHORIZATION, prefix_of
with create_session() as session:
    rows = [row for row in session.query(Variable) if row.key.startswith(prefix_of(AUTHORIZATION))]
    for row in rows:
        row.set_val(json.dumps(json.loads(row.get_val()) | {"expires_at": time.time() - 1}))
    assert rows
"""


class Airflow:
    """An ``airflow standalone`` with the connections of a sandbox.

    :param folder: its AIRFLOW_HOME.
    """

    def __init__(self, folder: Path, sandbox: Sandbox, database: Path) -> None:
        port = free_port()
        self.url = f"http://localhost:{port}"
        self.folder = folder
        shutil.copy(database, folder / "airflow.db")
        passwords = folder / "passwords.json"
        passwords.write_text(json.dumps({name: f"{name}-secret" for name in USERS}))
        self.environment = os.environ | {
            "AIRFLOW_HOME": str(folder),
            # The standalone command starts its components by name.
            "PATH": f"{AIRFLOW.parent}{os.pathsep}{os.environ['PATH']}",
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder / 'airflow.db'}",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in USERS.items()),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "NO_PROXY": "127.0.0.1,localhost",
        }
        connection = json.loads(sandbox.connection_json())
        entered = connection | {"extra": connection["extra"] | {"refresh_token": sandbox.new_refresh_token()}}
        del connection["extra"]["refresh_token"]
        # Connections of one application that name no grant share the only one, so this is another application.
        other = sandbox.app.oauth.register(Client("front-desk-app", "front-desk-secret"))
        front_desk = connection | {"login": other.id, "password": other.secret}
        wanted = {"practice": connection, "front_desk": front_desk, "imported_practice": entered}
        (folder / "connections.json").write_text(json.dumps(wanted))
        self.run("connections", "import", str(folder / "connections.json"))

    def run(self, *arguments: str) -> str:
        done = subprocess.run([AIRFLOW, *arguments], env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def python(self, script: str) -> None:
        subprocess.run([sys.executable, "-c", script], env=self.environment, cwd=ROOT, check=True)

    def status(self, conn_id: str) -> Any:
        return json.loads(self.run("drchrono", "status", conn_id, "-o", "json"))[0]

    def token_of(self, user: str) -> str:
        """Sign a user in."""
        form = {"username": user, "password": f"{user}-secret"}
        answer = httpx.post(f"{self.url}/auth/token", json=form, timeout=30.0)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["access_token"])


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(patients=5, quota_per_second=None) as running:
        yield running


@pytest.fixture(scope="module")
def airflow(sandbox: Sandbox, migrated_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    folder = tmp_path_factory.mktemp("airflow")
    running = Airflow(folder, sandbox, migrated_database)
    with (folder / "standalone.log").open("w") as log:
        # Commands print JSON, which lines of a log would spoil, so only the processes log so much.
        environment = running.environment | {"AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG"}
        process = subprocess.Popen(
            [AIRFLOW, "standalone"], env=environment, stdout=log, stderr=subprocess.STDOUT, process_group=0
        )
    try:
        wait_until_up(running, process)
        yield running
    finally:
        # Its components are processes of their own.
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=30)


def wait_until_up(airflow: Airflow, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{airflow.url}/api/v2/version", timeout=5.0).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"Airflow did not start:\n{(airflow.folder / 'standalone.log').read_text()[-3000:]}")


@pytest.fixture(scope="module")
def launch() -> Iterator[Callable[[], Browser]]:
    with chromedriver() as launch:
        yield launch


@pytest.fixture
def sign_in(airflow: Airflow, launch: Callable[[], Browser]) -> Callable[[str], Browser]:
    """Open a browser in which a user is signed in to Airflow."""

    def sign_in(user: str) -> Browser:
        browser = launch()
        # A page of the same host on which a cookie can be set.
        browser.open(f"{airflow.url}/api/v2/version")
        browser.set_cookie("_token", airflow.token_of(user))
        return browser

    return sign_in


@pytest.fixture
def page(airflow: Airflow) -> str:
    return f"{airflow.url}/drchrono/authorize"


def button_of(conn_id: str) -> str:
    return f"#connection-{conn_id} button"


def begin(browser: Browser, page: str, sandbox: Sandbox, conn_id: str = "front_desk") -> str:
    """Go as far as DrChrono's consent page, and return its address."""
    browser.open(page)
    browser.click(button_of(conn_id))
    return browser.wait_for_address(f"{sandbox.url}/o/authorize/")


def state_in(address: str) -> str:
    return parse_qs(urlsplit(address).query)["state"][0]


def test_a_connection_is_authorized_with_two_clicks(
    airflow: Airflow, sandbox: Sandbox, sign_in: Callable[[str], Browser], page: str, pictures: Path
) -> None:
    browser = sign_in("admin")
    browser.open(page)
    text = browser.wait_for("Redirect URI")
    assert f"{airflow.url}/drchrono/callback" in text
    assert "Never authorized" in text
    assert "Refresh token entered, not used yet" in text

    consent = begin(browser, page, sandbox, "practice")
    browser.click_text("Allow")
    assert "22 scopes were granted" in browser.wait_for("The connection practice is authorized")
    callback = f"{airflow.url}/drchrono/callback"
    assert browser.url == callback, "neither the code nor the state stays in the address"
    browser.click_text("Back to the connections")
    text = browser.wait_for("Valid until")
    assert "500 calls left this hour" in text
    assert "Never authorized" in text
    for scheme in ("light", "dark"):
        browser.screenshot(pictures / f"authorize-{scheme}.png", scheme)

    assert airflow.status("practice")["state"] == "authorized"
    examined = json.loads(airflow.run("drchrono", "doctor", "practice", "-o", "json"))
    assert examined["possible"] == {"action": 174, "trigger": 23, "operation": 157}

    browser.open(f"{callback}?state={state_in(consent)}&code=again")
    browser.wait_for("belongs to no authorization that was begun here, or was used before")
    assert browser.url == callback
    assert airflow.status("practice")["state"] == "authorized"


@pytest.mark.parametrize(
    ("chosen", "preferred", "shown"),
    [
        pytest.param("dark", "light", "dark", id="dark in Airflow"),
        pytest.param("light", "dark", "light", id="light in Airflow"),
        pytest.param("system", "dark", "dark", id="as the system has it"),
        pytest.param(None, "light", "light", id="nothing chosen"),
    ],
)
def test_it_has_the_colours_of_airflow(
    sign_in: Callable[[str], Browser], page: str, chosen: str | None, preferred: str, shown: str
) -> None:
    browser = sign_in("admin")
    browser.open(page)
    browser.prefer(preferred)
    browser.run("localStorage.removeItem('theme')" if chosen is None else f"localStorage.setItem('theme', '{chosen}')")
    browser.open(page)

    browser.wait_for("Redirect URI")
    ground = {"light": "rgb(250, 250, 250)", "dark": "rgb(9, 9, 11)"}
    assert browser.run("return getComputedStyle(document.body).backgroundColor") == ground[shown]


def test_it_is_found_in_the_menu(airflow: Airflow, sign_in: Callable[[str], Browser], page: str) -> None:
    browser = sign_in("admin")
    browser.open(f"{airflow.url}/")
    browser.click_text("Admin")
    browser.click_text("DrChrono authorization")
    browser.use_newest_tab()

    assert browser.wait_for_address(page) == page
    browser.wait_for("Redirect URI")


def test_cancelling_changes_nothing(
    airflow: Airflow, sandbox: Sandbox, sign_in: Callable[[str], Browser], page: str
) -> None:
    browser = sign_in("admin")
    begin(browser, page, sandbox)
    browser.click_text("Cancel")

    browser.wait_for("The authorization was cancelled in DrChrono; nothing was changed")
    assert airflow.status("front_desk")["state"] == "never"


def test_an_answer_that_comes_too_late_is_refused(
    airflow: Airflow, sandbox: Sandbox, sign_in: Callable[[str], Browser], page: str
) -> None:
    browser = sign_in("admin")
    begin(browser, page, sandbox)
    airflow.python(LET_PENDING_EXPIRE)
    browser.click_text("Allow")

    browser.wait_for("The answer came more than ten minutes after")
    assert airflow.status("front_desk")["state"] == "never"


def test_a_forged_answer_is_refused(
    airflow: Airflow, sandbox: Sandbox, sign_in: Callable[[str], Browser], page: str
) -> None:
    browser = sign_in("admin")
    begin(browser, page, sandbox)
    before = len(sandbox.journal.calls())
    browser.open(f"{airflow.url}/drchrono/callback?state=forged&code=forged")

    browser.wait_for("belongs to no authorization that was begun here")
    assert len(sandbox.journal.calls()) == before
    assert airflow.status("front_desk")["state"] == "never"


def test_an_answer_to_somebody_else_is_refused(
    airflow: Airflow, sandbox: Sandbox, sign_in: Callable[[str], Browser], page: str
) -> None:
    state = state_in(begin(sign_in("admin"), page, sandbox))
    other = sign_in("olga")
    other.open(f"{airflow.url}/drchrono/callback?state={state}&code=stolen")

    other.wait_for("Somebody else began this authorization")
    assert airflow.status("front_desk")["state"] == "never"


def test_a_viewer_is_refused(airflow: Airflow, sign_in: Callable[[str], Browser], page: str) -> None:
    browser = sign_in("victor")
    browser.open(page)
    text = browser.wait_for("Only users who may edit connections may authorize them")
    assert "front_desk" not in text

    posted = httpx.post(
        f"{page}/front_desk", headers={"Authorization": f"Bearer {airflow.token_of('victor')}"}, timeout=30.0
    )
    assert posted.status_code == 403


def test_an_unknown_connection_is_refused(sign_in: Callable[[str], Browser], page: str) -> None:
    browser = sign_in("admin")
    browser.open(page)
    browser.wait_for("front_desk")
    browser.run("document.forms[0].action = 'authorize/nowhere'; document.forms[0].submit()")

    browser.wait_for("Airflow's database holds no connection 'nowhere' of type drchrono")


def test_who_is_not_signed_in_is_led_to_the_login(launch: Callable[[], Browser], airflow: Airflow, page: str) -> None:
    browser = launch()
    browser.open(page)

    browser.wait_for_address(f"{airflow.url}/auth/login")


def test_a_terminal_without_a_browser_authorizes_too(airflow: Airflow, sandbox: Sandbox) -> None:
    command = [AIRFLOW, "drchrono", "authorize", "front_desk", "--port", str(free_port()), "--timeout", "60"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=airflow.environment | {"SSH_CONNECTION": "x"}, text=True, **pipes) as process:
        assert process.stdin
        assert process.stderr
        url = next(line.strip() for line in process.stderr if "/o/authorize/" in line)
        answer = httpx.get(f"{url}&approve=yes", trust_env=False).headers["location"]
        printed, _ = process.communicate(f"{answer}\n", timeout=60)

    assert process.returncode == 0
    assert "The connection front_desk is authorized until" in printed
    assert airflow.status("front_desk")["state"] == "authorized"
    assert "ended the authorization of front_desk" in airflow.run("drchrono", "revoke", "front_desk", "--yes")
    assert airflow.status("front_desk")["state"] == "never"


def test_no_secret_stands_in_a_log_at_debug(airflow: Airflow, sandbox: Sandbox) -> None:
    grants = [grant for grant in sandbox.app.oauth.grants if grant.access_token]
    secrets = {token for grant in grants for token in (grant.access_token, grant.refresh_token)}
    secrets |= {client.secret for client in sandbox.app.oauth.clients.values()}
    logs = {path: path.read_text(errors="replace") for path in airflow.folder.rglob("*.log")}

    assert len(secrets) >= 4
    assert "debug" in logs[airflow.folder / "standalone.log"].lower()
    assert "has authorized the DrChrono connection practice" in logs[airflow.folder / "standalone.log"]
    assert [path for path, text in logs.items() if any(each in text for each in secrets)] == []


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures go: into the documentation if DRCHRONO_SCREENSHOTS is set."""
    return ROOT / "docs" / "images" if os.environ.get("DRCHRONO_SCREENSHOTS") else tmp_path
