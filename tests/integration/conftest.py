"""Private PostgreSQL and Redis servers for the tests that need one: own data, a free port, gone afterwards."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import pytest

if TYPE_CHECKING:
    from tests.integration.live_airflow import LiveAirflow

DEBIAN_SERVERS = Path("/usr/lib/postgresql")
INSTALL = "install one, on Debian with scripts/ci-services.sh"
START_TIMEOUT_S = 60


class PostgresServer(NamedTuple):
    """Where the server's programs are and on which port of 127.0.0.1 it listens."""

    programs: Path
    port: int


def find_programs() -> Path | None:
    """The folder of the newest PostgreSQL server on this machine."""
    if (on_path := shutil.which("initdb")) and (Path(on_path).resolve().parent / "postgres").exists():
        return Path(on_path).resolve().parent
    versions = [path.parent for path in DEBIAN_SERVERS.glob("*/bin/initdb")]
    return max(versions, key=lambda programs: float(programs.parent.name), default=None)


def server_account() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then it runs as the user that its package made."""
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam("postgres")
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """A Redis or Valkey server, whose data outlive it.

    :param folder: where to keep them.
    """

    def __init__(self, folder: Path) -> None:
        program = shutil.which("valkey-server") or shutil.which("redis-server")
        if program is None:
            missing(f"no Redis or Valkey server found: {INSTALL}")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        options = {"bind": "127.0.0.1", "port": self.port, "save": "", "appendonly": "yes", "dir": folder}
        self._command = [program, *(str(each) for name, value in options.items() for each in (f"--{name}", value))]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.05)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def missing(what: str) -> NoReturn:
    """Skip a test for which something is not installed; with ``CI=true``, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A running server for the tests of a module."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the whole test session."""
    programs = find_programs()
    if programs is None:
        missing(f"no PostgreSQL server binary found: {INSTALL}")
    account = server_account()
    folder = Path(tempfile.mkdtemp(prefix="drchrono-postgres-"))
    if account:
        os.chown(folder, account["user"], account["group"])
    port = free_port()
    data = folder / "data"
    # Durability buys nothing here, and without it a database is created in a tenth of the time.
    options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder} -F -c full_page_writes=off"

    def pg(program: str, *arguments: str) -> None:
        done = subprocess.run(
            [programs / program, *arguments],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            **account,
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"

    try:
        pg("initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        control = ("-D", str(data), "-w", "-t", str(START_TIMEOUT_S))
        pg("pg_ctl", "start", *control, "-l", str(folder / "log"), "-o", options)
        try:
            yield PostgresServer(programs, port)
        finally:
            pg("pg_ctl", "stop", *control, "-m", "immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def database_numbers() -> Iterator[int]:
    return count(1)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer, database_numbers: Iterator[int]) -> Iterator[str]:
    """URL of an empty database of this test alone, in the form that Airflow connections and libpq read."""
    name = f"test_{next(database_numbers)}"
    server = ["-h", "127.0.0.1", "-p", str(postgres_server.port), "-U", "postgres"]
    subprocess.run([postgres_server.programs / "createdb", *server, name], check=True)
    yield f"postgresql://postgres@127.0.0.1:{postgres_server.port}/{name}"
    subprocess.run([postgres_server.programs / "dropdb", *server, "--force", name], check=True)


@pytest.fixture
def explained(request: pytest.FixtureRequest, airflow: "LiveAirflow") -> Iterator[None]:
    """Show what the processes of an Airflow said when a test has failed."""
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        airflow.show_where_the_triggerer_stands()
        print(airflow.tails())
