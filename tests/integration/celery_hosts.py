"""Hosts of one Airflow that share no disk: each is a set of processes with a folder, a name and a clock of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from tests.integration.conftest import PostgresServer, RedisServer, free_port, missing
from tests.integration.live_airflow import BIN, DAGS, LiveAirflow, create_database, url_of
from tests.integration.live_practice import Component, eventually

BUCKET = "staging"
NAMESPACES = ("unshare", "--uts", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc")


@cache
def can_separate() -> bool:
    """Tell whether this machine lets us give processes a host name, process ids and mounts of their own."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*NAMESPACES, "hostname", "a-test"], capture_output=True, check=False).returncode == 0


def faketime_library() -> Path:
    """Return the library that gives a process another clock."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        missing("no libfaketime found: install it, on Debian with scripts/ci-services.sh")
    return found[0]


class Host:
    """A host that runs Celery's worker.

    :param name: its host name.
    :param folder: of all hosts; each has a folder in it, which the others do not see.
    :param others: the names of the others.
    :param queues: whose tasks it takes at first.
    :param ahead: seconds by which its clock is fast.
    """

    def __init__(
        self,
        airflow: LiveAirflow,
        name: str,
        folder: Path,
        *,
        others: Sequence[str],
        queues: Sequence[str],
        ahead: int = 0,
    ) -> None:
        self.name = name
        self.home = folder / name
        (self.home / "tmp").mkdir(parents=True)
        shutil.copytree(DAGS / "many_hosts", self.home / "dags")
        self._log = folder / f"{name}.log"
        self._environment = airflow.environment | {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.home / "dags"),
            # A worker has no business in Airflow's database.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home}/none.db",
            "TMPDIR": str(self.home / "tmp"),
        }
        if ahead:
            self._environment |= {
                "LD_PRELOAD": str(faketime_library()),
                "FAKETIME": f"+{ahead}s",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "PYTHONPATH": str(Path(__file__).parent / "fast_clock"),
            }
        self._queues = ",".join(queues)
        self._hidden = [folder / each for each in others]
        self._component: Component | None = None

    def start(self) -> None:
        """Start the worker."""
        worker = [BIN / "airflow", "celery", "worker", "--skip-serve-logs", "--concurrency", "4"]
        command: list[str | Path] = [*worker, "--celery-hostname", self.address, "--queues", self._queues]
        if can_separate():
            # An empty disk in the place of the others' folders, so that nothing of theirs can be reached.
            hide = "".join(f"mount -t tmpfs none '{each}' && " for each in self._hidden)
            command = [*NAMESPACES, "sh", "-c", f'hostname {self.name} && {hide}exec "$@"', "sh", *command]
        self._component = Component(command, self._environment, self._log)

    @property
    def address(self) -> str:
        """What Celery knows it by."""
        return f"celery@{self.name}"

    @property
    def is_ready(self) -> bool:
        """Whether it takes tasks."""
        return self._log.exists() and self._log.read_text(errors="replace").rstrip().count(" ready.") > 0

    def kill(self) -> None:
        """End all its processes at once, as when the power fails."""
        if self._component is not None:
            self._component.kill()
            self._component = None
            self._log.write_text("")

    def logs(self) -> str:
        """Return what its tasks and processes have logged."""
        files = [self._log, *sorted((self.home / "logs").rglob("*.log"))]
        return "\n".join(path.read_text(errors="replace") for path in files if path.exists())


class ObjectStore:
    """An S3 server."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._component = Component(
            [BIN / "moto_server", "-H", "127.0.0.1", "-p", str(port)], os.environ, folder / "s3.log"
        )
        account = {"conn_type": "aws", "login": "key", "password": "secret"}
        self.connection = account | {"extra": {"endpoint_url": self.url, "region_name": "us-east-1"}}
        self._http = httpx.Client(base_url=self.url, trust_env=False)
        eventually("the object store", self._make_bucket)

    def _make_bucket(self) -> bool:
        try:
            return self._http.put(f"/{BUCKET}").is_success
        except httpx.TransportError:
            return False

    def keys(self) -> list[str]:
        """Return the names of all objects."""
        return re.findall(r"<Key>(.*?)</Key>", self._http.get(f"/{BUCKET}").text)

    def close(self) -> None:
        self._http.close()
        self._component.kill()


class CeleryAirflow(LiveAirflow):
    """An Airflow whose tasks run on hosts.

    :param redis: where Celery's tasks, and so our calls, are.
    """

    def __init__(self, folder: Path, server: PostgresServer, redis: RedisServer) -> None:
        database = "airflow_many_hosts"
        super().__init__(
            folder,
            DAGS / "many_hosts",
            server,
            database,
            core={"executor": "CeleryExecutor", "parallelism": 16},
            celery={
                "broker_url": redis.url,
                "result_backend": url_of(server, database, "db+postgresql+psycopg2"),
                "sync_parallelism": 1,
            },
            drchrono={"staging_path": f"s3://aws_default@{BUCKET}/drchrono"},
            scheduler={"task_instance_heartbeat_timeout": 12, "task_instance_heartbeat_timeout_detection_interval": 1},
            workers={"min_heartbeat_interval": 2},
        )
        create_database(server, database, self.environment)

    def connect(self, connections: Mapping[str, Mapping[str, Any]]) -> None:
        """Create connections, by their ids."""
        for name, each in connections.items():
            extra = json.dumps(each.get("extra", {}))
            self.ask("POST", "connections", json={**each, "connection_id": name, "extra": extra})


@contextmanager
def celery_airflow(
    folder: Path, server: PostgresServer, redis: RedisServer
) -> Iterator[tuple[CeleryAirflow, ObjectStore]]:
    """Start an Airflow without a worker, and an object store, and end them after the block.

    :param folder: AIRFLOW_HOME.
    """
    with ExitStack() as ending:
        store = ObjectStore(folder)
        ending.callback(store.close)
        airflow = CeleryAirflow(folder, server, redis)
        ending.callback(airflow.stop)
        try:
            for name in ("api-server", "scheduler", "dag-processor"):
                airflow.start(name)
            yield airflow, store
        except BaseException:
            print(airflow.tails())
            raise
