"""A private PostgreSQL server for the tests that need one: own data, a free port, gone afterwards."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the whole test session."""
    programs = find_programs()
    if programs is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no PostgreSQL server binary found: {INSTALL}", pytrace=False)
        pytest.skip(f"no PostgreSQL server binary found: {INSTALL}")
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
        print(airflow.tails())
