"""Runs syncs in processes that can be killed: everything is imported once, and each sync is a fork.

It reads lines ``resource run_id`` and answers each with the process id, and then with how the process ended.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace

from airflow_provider_drchrono.client import MemoryTokenStore, Token
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.transfers.drchrono_to_warehouse import DrChronoToWarehouseOperator

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "TOKEN_OF_THE_TEST"


def sync(resource: str, run_id: str) -> None:
    """Execute the operator as a worker does, less the worker. A run whose id begins with ``full`` reads everything."""
    operator = DrChronoToWarehouseOperator(
        task_id="sync",
        resource=resource,
        warehouse_conn_id="drchrono_warehouse",
        full_refresh=run_id.startswith("full"),
        # The kills are counted by pages; those of a read in bulk have a test of their own.
        read_by="pages",
    )
    ti = SimpleNamespace(dag_id="dag", task_id=f"sync_{resource}", map_index=-1, run_id=run_id, try_number=1)
    operator.execute({"ti": ti})  # type: ignore[typeddict-item]


def serve() -> None:
    store = cached_property(lambda hook: MemoryTokenStore(Token.from_dict(json.loads(os.environ[TOKEN]))))
    store.__set_name__(DrChronoHook, "token_store")
    DrChronoHook.token_store = store  # type: ignore[assignment]
    print("ready", flush=True)
    for line in sys.stdin:
        process = os.fork()
        if not process:
            status = 1
            try:
                sync(*line.split())
                status = 0
            except BaseException:
                traceback.print_exc()
            os._exit(status)
        print(process, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


class ForkedSyncs:
    """The process that forks, seen from the test."""

    def __init__(self, environment: Mapping[str, str], errors: Path) -> None:
        self._errors = errors
        with errors.open("w") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                env=environment,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )
        self._read_until("ready")

    def begin(self, resource: str, run_id: str) -> int:
        """Start a sync and return its process id."""
        assert self._process.stdin
        self._process.stdin.write(f"{resource} {run_id}\n")
        self._process.stdin.flush()
        return int(self._read())

    def end(self) -> int:
        """Wait for the sync's end, and return its exit code; that of a killed one is -9."""
        return int(self._read())

    def _read(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        # What Airflow logs goes the same way.
        while line and not line.strip().lstrip("-").isdecimal() and line != "ready\n":
            line = self._process.stdout.readline()
        assert line, self.errors
        return line.strip()

    def _read_until(self, word: str) -> None:
        while self._read() != word:
            pass

    @property
    def errors(self) -> str:
        """What the syncs have complained about."""
        return self._errors.read_text()[-4000:]

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


if __name__ == "__main__":
    serve()
