"""A throw-away Airflow and practice for ``make demo`` and ``make ui``: one folder, one database, one sandbox."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
DRCHRONO_CONN_ID = "drchrono_default"
WAREHOUSE_CONN_ID = "drchrono_warehouse"

# No command prints what tasks returned, and the tables are not the same in each version of Airflow.
PRINT_RESULTS = """
import json, sys
from airflow.models.dagrun import DagRun

run = max(DagRun.find(dag_id=sys.argv[1]), key=lambda run: run.id)
tasks = sorted(run.get_task_instances(), key=lambda ti: ti.map_index)
print(json.dumps([ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index) for ti in tasks]))
"""


class Playground:
    """The folder of a demonstration, and the processes that run in it.

    :param folder: where everything is written; kept from one run to the next, so that only the first run has to
        create Airflow's tables.
    :param dags: the folder of the DAGs.
    """

    def __init__(self, folder: Path, dags: Path = ROOT / "example_dags") -> None:
        self.folder = folder
        self.dags = dags
        self.airflow_home = folder / "airflow"
        self.warehouse = folder / "warehouse.db"
        self.sandbox_url = ""
        self.connections: dict[str, Mapping[str, Any]] = {}
        self.airflow_home.mkdir(parents=True, exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every process of the playground; nothing of the caller's own Airflow gets in."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
        ours = {
            "AIRFLOW_HOME": str(self.airflow_home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.airflow_home / 'airflow.db'}",
            "NO_PROXY": "127.0.0.1,localhost",
            # `airflow standalone` starts its parts by the name `airflow`.
            "PATH": os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)]),
        }
        connections = {
            f"AIRFLOW_CONN_{conn_id.upper()}": json.dumps(value) for conn_id, value in self.connections.items()
        }
        return inherited | ours | connections

    def prepare(self) -> None:
        """Begin afresh: empty warehouse and logs, and Airflow's tables as they are after ``airflow db migrate``."""
        database, pristine = self.airflow_home / "airflow.db", self.folder / "airflow-empty.db"
        # What a process that was killed has left in a log beside a database would get into the new one.
        for file in (self.warehouse, database):
            for ending in ("", "-wal", "-shm"):
                Path(f"{file}{ending}").unlink(missing_ok=True)
        shutil.rmtree(self.airflow_home / "logs", ignore_errors=True)
        stamp = self.folder / "airflow-version"
        version = subprocess.check_output([BIN / "airflow", "version"], env=self.environment, text=True).split()[-1]
        if not (pristine.exists() and stamp.exists() and stamp.read_text() == version):
            print(f"Creating the tables of Airflow {version}, once ...", flush=True)
            self.airflow("db", "migrate", log="db-migrate.log")
            shutil.copy(database, pristine)
            stamp.write_text(version)
        shutil.copy(pristine, database)

    @contextmanager
    def sandbox(self, *arguments: str) -> Iterator[None]:
        """Serve a synthetic practice while the block runs, and connect to it and to the embedded warehouse.

        :param arguments: as ``python -m airflow_provider_drchrono.sandbox`` takes them, but for the port.
        """
        path = self.folder / "sandbox.log"
        command = [sys.executable, "-m", "airflow_provider_drchrono.sandbox", "--port", "0", *arguments]
        with path.open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=self.environment)
        try:
            connection = self._printed_connection(process, path)
            self.sandbox_url = connection["host"]
            self.connections = {
                DRCHRONO_CONN_ID: connection,
                WAREHOUSE_CONN_ID: {"conn_type": "sqlite", "host": str(self.warehouse)},
            }
            yield
        finally:
            process.terminate()
            process.wait(timeout=20)

    @staticmethod
    def _printed_connection(process: subprocess.Popen[bytes], log: Path) -> dict[str, Any]:
        """Return the connection that the sandbox prints once it is there."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if found := re.search(r"^Connection \(JSON\): (.*)\n", log.read_text(), re.MULTILINE):
                return cast("dict[str, Any]", json.loads(found[1]))
            time.sleep(0.1)
        raise SystemExit(f"The sandbox did not start; {log} says why.")

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Call the sandbox's own administration and return its answer."""
        request = urllib.request.Request(
            f"{self.sandbox_url}/_sandbox/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return cast("dict[str, Any]", json.load(answer))

    def airflow(self, *arguments: str, log: str) -> None:
        """Run an ``airflow`` command, its output into a file of the folder; say where to look when it fails."""
        path = self.folder / log
        with path.open("w") as output:
            command = [str(BIN / "airflow"), *arguments]
            done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, env=self.environment, check=False)
        if done.returncode:
            tail = "\n".join(path.read_text(errors="replace").splitlines()[-15:])
            raise SystemExit(f"{tail}\n\n`airflow {' '.join(arguments)}` failed; all of its output is in {path}")

    def returned_by_newest_run(self, dag_id: str) -> list[dict[str, Any]]:
        """Return what the mapped tasks of a DAG's newest run returned, in the order of their map index."""
        command = [sys.executable, "-c", PRINT_RESULTS, dag_id]
        printed = subprocess.check_output(command, env=self.environment, text=True)
        return cast("list[dict[str, Any]]", json.loads(printed.splitlines()[-1]))
