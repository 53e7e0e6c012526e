"""An Airflow of real processes, for the tests that need what ``dags test`` does not run.

The components that ``airflow standalone`` starts together are started one by one, so that a test can kill one.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psycopg2
from cryptography.fernet import Fernet

from airflow_provider_drchrono.state.sealing import Seal
from tests.integration.conftest import PostgresServer, free_port
from tests.integration.live_practice import Change, Component, LivePractice, eventually

BIN = Path(sys.executable).parent
DAGS = Path(__file__).parent / "dags"
TEMPLATE = "airflow_template"
COMPONENTS = {
    "api-server": ("--workers", "1"),
    "scheduler": ("--skip-serve-logs",),
    "dag-processor": (),
    "triggerer": ("--skip-serve-logs",),
}
CONNECTED = "drchrono_default"


class LiveAirflow:
    """Scheduler, DAG processor, triggerer and API server on a PostgreSQL database.

    :param folder: AIRFLOW_HOME.
    :param dags: the folder of DAGs.
    :param log_level: of all processes.
    :param more: settings beside the usual ones, by section.
    """

    def __init__(
        self,
        folder: Path,
        dags: Path,
        server: PostgresServer,
        database: str,
        log_level: str = "INFO",
        **more: Mapping[str, Any],
    ) -> None:
        port = free_port()
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.server = server
        self.database = database
        self.components: dict[str, Component] = {}
        # Without bytecode each start costs seconds more.
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self.environment = (
            inherited | settings(self.url, port, folder, dags, more) | {"NO_PROXY": "127.0.0.1,localhost"}
        )
        self.environment["AIRFLOW__LOGGING__LOGGING_LEVEL"] = log_level
        self.environment["PYTHONFAULTHANDLER"] = "1"
        self.environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = url_of(server, database, "postgresql+psycopg2")
        self.http = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    def start(self, name: str) -> None:
        """Start a component."""
        command = [BIN / "airflow", name, *COMPONENTS[name]]
        self.components[name] = Component(command, self.environment, self.folder / f"{name}.log")

    def kill(self, name: str) -> None:
        """End a component as ``kill -9`` does, with the processes that it has started."""
        self.components.pop(name).kill()

    def wait_until_up(self) -> None:
        """Wait until all components that report do so, and sign in."""

        def health() -> bool:
            died = [name for name, each in self.components.items() if each.process.poll() is not None]
            assert not died, f"{died} ended"
            try:
                parts = self.http.get("/api/v2/monitor/health").json()
            except (httpx.TransportError, ValueError):
                return False
            watched = {name.replace("-", "_") for name in self.components} & parts.keys()
            return all(parts[name]["status"] == "healthy" for name in watched)

        eventually("Airflow", health)
        token = self.http.get("/auth/token").raise_for_status().json()["access_token"]
        self.http.headers["Authorization"] = f"Bearer {token}"

    def ask(self, method: str, path: str, **arguments: Any) -> Any:
        """Call the public API. A question that meets a process which is being killed is asked again."""
        for pause in (0.5, 1.0, 2.0, 4.0):
            answer = self.http.request(method, f"/api/v2/{path}", **arguments)
            if method != "GET" or answer.status_code < 500:
                break
            time.sleep(pause)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def run(self, *arguments: str) -> str:
        """Run an ``airflow`` command and return what it printed."""
        command = [BIN / "airflow", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def unpause(self, dag_id: str) -> None:
        """Wait for a DAG to be there, and switch it on."""
        eventually(f"the DAG {dag_id}", lambda: self.http.get(f"/api/v2/dags/{dag_id}").is_success)
        self.ask("PATCH", f"dags/{dag_id}", json={"is_paused": False})

    def pause(self, dag_id: str) -> None:
        """Let a DAG begin no more runs."""
        self.ask("PATCH", f"dags/{dag_id}", json={"is_paused": True})

    def trigger(self, dag_id: str, **params: Any) -> str:
        """Begin a run that has no logical date, and so no data interval."""
        wanted = {"logical_date": None, "conf": params}
        return str(self.ask("POST", f"dags/{dag_id}/dagRuns", json=wanted)["dag_run_id"])

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return all runs of a DAG, oldest first."""
        found = self.ask("GET", f"dags/{dag_id}/dagRuns", params={"limit": 100, "order_by": "id"})
        assert found["total_entries"] <= 100
        return list(found["dag_runs"])

    def task(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """Return a task instance."""
        found: dict[str, Any] = self.ask("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}")
        return found

    def wait_for_task(self, dag_id: str, run_id: str, task_id: str, state: str) -> dict[str, Any]:
        """Wait until a task instance is in a state."""

        def there() -> dict[str, Any] | None:
            found = self.task(dag_id, run_id, task_id)
            assert found["state"] not in {"failed", "upstream_failed"} - {state}, f"{dag_id}.{task_id} failed"
            return found if found["state"] == state else None

        return eventually(f"{dag_id}.{task_id} of {run_id} to be {state}", there)

    def wait_for_run(self, dag_id: str, run_id: str) -> None:
        """Wait until a run has succeeded."""

        def there() -> bool:
            state = self.ask("GET", f"dags/{dag_id}/dagRuns/{run_id}")["state"]
            assert state != "failed", f"{run_id} of {dag_id} failed"
            return bool(state == "success")

        eventually(f"{run_id} of {dag_id} to succeed", there)

    def returned(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """Return what a task returned; None if it has not yet."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        answer = self.http.get(f"/api/v2/{path}")
        return answer.json()["value"] if answer.is_success else None

    def returned_by_all(self, dag_id: str, task_id: str) -> dict[str, Any]:
        """Return what a task has returned in each run so far."""
        found = {run["dag_run_id"]: self.returned(dag_id, run["dag_run_id"], task_id) for run in self.runs(dag_id)}
        return {run_id: value for run_id, value in found.items() if value is not None}

    def given(self, dag_id: str, task_id: str, mark: str) -> Counter[Change]:
        """Return how often the runs of a DAG were given each change: a record's id, and what the change left in it.

        :param mark: the field in which to look for that.
        """
        lists = self.returned_by_all(dag_id, task_id).values()
        return Counter((record["id"], record[mark]) for records in lists for record in records)

    def wait_until_given(self, dag_id: str, task_id: str, mark: str, wanted: list[Change]) -> Counter[Change]:
        """Wait until the runs of a DAG were given all of these changes, and return how often each was."""

        def found() -> Counter[Change] | None:
            failed = [run["dag_run_id"] for run in self.runs(dag_id) if run["state"] == "failed"]
            assert not failed, f"{failed} of {dag_id} failed"
            changes = self.given(dag_id, task_id, mark)
            return changes if changes.keys() >= set(wanted) else None

        return eventually(f"{dag_id} to be given {len(wanted)} changes", found)

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Clear a task of a run, so that it runs again."""
        wanted = {"dry_run": False, "dag_run_id": run_id, "task_ids": [task_id], "only_failed": False}
        cleared = self.ask("POST", f"dags/{dag_id}/clearTaskInstances", json=wanted | {"reset_dag_runs": True})
        assert cleared["total_entries"] == 1

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the database."""
        address = url_of(self.server, self.database, "postgresql")
        with closing(psycopg2.connect(address)) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    def variable(self, key: str) -> str | None:
        """Return a variable's value; one that Airflow would mask, too."""
        answer = self.http.get(f"/api/v2/variables/{quote(key, safe='')}")
        return str(answer.json()["value"]) if answer.is_success else None

    def stored(self) -> str:
        """Return all that is in the database, with what is encrypted in clear, but for what tasks handed on (XCom)."""
        programs, port = self.server.programs, str(self.server.port)
        address = ["-h", "127.0.0.1", "-p", port, "-U", "postgres", self.database]
        command = [programs / "pg_dump", "--data-only", "--exclude-table-data=xcom*", *address]
        dump = subprocess.check_output(command, text=True)
        tokens = [text for (text,) in self.rows("SELECT val FROM variable UNION SELECT kwargs FROM trigger")]
        return "\n".join([dump, *map(decrypted, tokens)])

    def tokens(self, practice: LivePractice) -> dict[str, str]:
        """Return the tokens that tasks and triggers have stored last, opened with the practice's client secret."""
        found: dict[str, str] = {}
        seal = Seal(practice.connection["login"], practice.connection["password"])
        for key, text in self.rows("SELECT key, val FROM variable WHERE key LIKE 'drchrono:token:%'"):
            for grant_id, sealed in json.loads(decrypted(text))["grants"].items():
                token = seal.open(sealed, f"{key} {grant_id}")
                found |= {name: token[name] for name in ("access_token", "refresh_token")}
        return found

    def logs(self, pattern: str = "**/*") -> str:
        """Return what processes and tasks have logged.

        :param pattern: of files below AIRFLOW_HOME.
        """
        files = [path for path in sorted(self.folder.glob(pattern)) if path.is_file() and path.suffix == ".log"]
        return "\n".join(path.read_text(errors="replace") for path in files)

    def show_where_the_triggerer_stands(self) -> None:
        """Have its stacks in its log if it says that its event loop stands still; nothing else can tell why it does."""
        triggerer = self.components.get("triggerer")
        if triggerer is not None and "appears deadlocked" in triggerer.log.read_text(errors="replace"):
            triggerer.show_stacks()
            time.sleep(3)

    def tails(self) -> str:
        """Return the ends of the processes' logs."""
        files = sorted(self.folder.glob("*.log"))
        return "\n".join(f"== {path.name}\n{path.read_text(errors='replace')[-4000:]}" for path in files)

    def stop(self) -> None:
        """End everything."""
        for name in list(self.components):
            self.kill(name)
        self.http.close()


def settings(url: str, port: int, folder: Path, dags: Path, more: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return Airflow's settings: quick to notice what a test does, small enough for two cores."""
    wanted: dict[str, dict[str, Any]] = {
        "api": {"host": "127.0.0.1", "port": port, "base_url": url, "secret_key": "a-secret-key-of-this-test"},
        "api_auth": {"jwt_secret": "a-jwt-secret-of-sixty-four-characters-for-the-tests-of-this-folder"},
        "core": {
            "dags_folder": dags,
            "execution_api_server_url": f"{url}/execution/",
            "parallelism": 4,
            "simple_auth_manager_all_admins": True,
        },
        "dag_processor": {"min_file_process_interval": 8, "parsing_processes": 1, "refresh_interval": 60},
        "scheduler": {
            "job_heartbeat_sec": 1,
            "scheduler_heartbeat_sec": 1,
            "scheduler_idle_sleep_time": 0.3,
            "trigger_timeout_check_interval": 2,
        },
        "triggerer": {
            # The watchdog sleeps for a tenth of a second between two looks, so this is a tenth of being blocked.
            "blocked_main_thread_warning_threshold": 0.2,
            "job_heartbeat_sec": 1,
            # How long the triggers of one that was killed wait for another.
            "triggerer_health_check_threshold": 6,
        },
        "workers": {"min_heartbeat_interval": 5},
    }
    for section, each in more.items():
        wanted[section] = wanted.get(section, {}) | dict(each)
    given = {f"AIRFLOW__{at}__{key}".upper(): str(value) for at, each in wanted.items() for key, value in each.items()}
    return given | {"AIRFLOW_HOME": str(folder)}


def url_of(server: PostgresServer, database: str, scheme: str) -> str:
    """Return the address of a database."""
    return f"{scheme}://postgres@127.0.0.1:{server.port}/{database}"


def decrypted(text: str) -> str:
    """Return what Airflow has stored encrypted."""
    return Fernet(os.environ["AIRFLOW__CORE__FERNET_KEY"].encode()).decrypt(text.encode()).decode()


def create_database(server: PostgresServer, name: str, environment: Mapping[str, str]) -> None:
    """Create a database with Airflow's tables, which the first one of a server has made."""
    address = ["-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres"]
    listed = [server.programs / "psql", *address, "-Atc", f"SELECT 1 FROM pg_database WHERE datname = '{TEMPLATE}'"]
    if not subprocess.check_output(listed):
        subprocess.run([server.programs / "createdb", *address, TEMPLATE], check=True)
        migrating = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url_of(server, TEMPLATE, "postgresql+psycopg2")}
        command = [BIN / "airflow", "db", "migrate"]
        done = subprocess.run(command, env={**environment, **migrating}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    subprocess.run([server.programs / "createdb", *address, "-T", TEMPLATE, name], check=True)


@contextmanager
def running_airflow(
    folder: Path, dags: str, server: PostgresServer, practice: LivePractice, log_level: str = "INFO"
) -> Iterator[LiveAirflow]:
    """Run an Airflow with the connection ``drchrono_default`` to a practice while the block lasts.

    :param dags: name of the folder below ``dags``, and of the database.
    :param log_level: of all processes.
    """
    airflow = LiveAirflow(folder, DAGS / dags, server, f"airflow_{dags}", log_level)
    create_database(server, airflow.database, airflow.environment)
    with ExitStack() as ending:
        ending.callback(airflow.stop)
        try:
            for name in COMPONENTS:
                airflow.start(name)
            airflow.wait_until_up()
            extra = json.dumps(practice.connection["extra"])
            airflow.ask("POST", "connections", json=practice.connection | {"connection_id": CONNECTED, "extra": extra})
            yield airflow
        except BaseException:
            print(airflow.tails())
            raise
