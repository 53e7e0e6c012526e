"""Many processes on two hosts find the token run out; DrChrono ends the grant when a refresh token comes twice."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from airflow_provider_drchrono.sandbox import Sandbox
from tests.integration.conftest import free_port
from tests.integration.task_processes import SECRET, Task

pytestmark = pytest.mark.integration

PROCESSES = 16
THOROUGH = bool(os.environ.get("THOROUGH_TESTS"))
ROUNDS = 200 if THOROUGH else 2
START_TIMEOUT_S = 120

# Before which message about a variable the winner dies, and whether the grant outlives it.
KILLED = [
    pytest.param(2, True, id="before-it-looks-for-a-claim"),
    pytest.param(3, True, id="before-its-claim"),
    pytest.param(5, True, id="before-the-second-look-at-the-token"),
    pytest.param(4, True, id="while-its-claim-settles"),
    pytest.param(7, False, id="before-the-new-token-is-stored"),
    pytest.param(8, True, id="before-the-lease-is-given-back"),
]


@pytest.fixture(scope="module")
def api_server(migrated_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real Airflow API server, as far as tasks see it."""
    home = tmp_path_factory.mktemp("api-server")
    shutil.copy(migrated_database, home / "airflow.db")
    port = free_port()
    environment = os.environ | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__API_AUTH__JWT_SECRET": SECRET,
    }
    command = [sys.executable, "-m", "airflow", "api-server", "--apps", "execution", "--workers", "1"]
    with (
        (home / "log").open("w") as log,
        subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as server,
    ):
        url = f"http://127.0.0.1:{port}"
        try:
            wait_for(f"{url}/execution/health", server, home / "log")
            yield url
        finally:
            os.killpg(server.pid, signal.SIGKILL)


def wait_for(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(url, timeout=5).status_code < 500:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail(f"the API server does not answer: {log.read_text()[-2000:]}")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(patients=1, appointments_per_patient=1, quota_per_hour=None, quota_per_second=None) as running:
        yield running


def connection_to(sandbox: Sandbox, **extra: object) -> str:
    values = json.loads(sandbox.connection_json())
    values["extra"] |= {"quota_per_hour": 0, "quota_per_second": 0} | extra
    return json.dumps(values)


def renewals(sandbox: Sandbox) -> list[int]:
    return [entry.status for entry in sandbox.journal if entry.path == "/o/token/"]


def all_call(tasks: list[Task]) -> list[str]:
    for each in tasks:
        each.begin()
    return [each.outcome() for each in tasks]


def test_a_token_that_ran_out_is_renewed_once(api_server: str, sandbox: Sandbox, tmp_path: Path) -> None:
    connection = connection_to(sandbox)
    tasks = [Task(api_server, tmp_path, connection, f"host-{number % 2}") for number in range(PROCESSES)]
    took = []
    try:
        for done in range(ROUNDS):
            began = time.monotonic()
            assert all_call(tasks) == ["ok"] * PROCESSES
            assert renewals(sandbox) == [200] * (done + 1)
            took.append(time.monotonic() - began)
            sandbox.app.oauth.expire_access_tokens()
    finally:
        for each in tasks:
            each.end()
    print(f"{ROUNDS} rounds of {PROCESSES} processes, one renewal each; longest {max(took):.1f} s")


@pytest.mark.parametrize(("step", "saved"), KILLED if THOROUGH else KILLED[-3:])
def test_the_winner_is_killed(api_server: str, sandbox: Sandbox, tmp_path: Path, step: int, saved: bool) -> None:
    connection = connection_to(sandbox)
    victim = Task(api_server, tmp_path, connection, "host-0", kill_before=step)
    others = [Task(api_server, tmp_path, connection, f"host-{number % 2}") for number in range(4)]
    try:
        assert all_call([victim]) == [f"killed by {signal.SIGKILL}"]
        outcomes = all_call(others)
    finally:
        for each in others:
            each.end()

    if saved:
        assert outcomes == ["ok"] * 4
        assert renewals(sandbox) == [200]
    else:
        assert renewals(sandbox)[0] == 200
        assert 200 not in renewals(sandbox)[1:]
        assert all("authorize the application again" in each for each in outcomes), outcomes
        lost = [each for each in outcomes if each.startswith("GrantLostError")]
        assert lost
        assert all(f"Its renewal was begun by process {victim.process.pid} on " in each for each in lost)
