"""Variables that several threads or processes share, and a process that renews a token through them."""

import os
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

from airflow_provider_drchrono.client import ClientSettings, DrChronoClient, DrChronoError, grant_id_of
from airflow_provider_drchrono.state.lease import Timing
from airflow_provider_drchrono.state.token_store import VariableTokenStore

QUICK = Timing(write_limit=1.0, settle=1.2, hold=30.0, poll=0.1, patience=60.0)


class MemoryVariables:
    """Shared by the threads of one process."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.log: list[str] = []
        self._lock = threading.Lock()

    def read(self, key: str) -> str | None:
        with self._lock:
            self.log.append(f"read {key.split(':')[1]}")
            return self.values.get(key)

    def write(self, key: str, value: str, description: str) -> None:
        with self._lock:
            self.log.append(f"write {key.split(':')[1]}")
            self.values[key] = value


class FileVariables:
    """Shared by processes, in an SQLite file, with nothing that two of them could use as a lock.

    :param kill_before: before this step, counted from 0, the process ends as by kill -9; None for never.
    """

    def __init__(self, path: Path, kill_before: int | None = None) -> None:
        self.path = path
        self.kill_before = kill_before
        self.steps = 0
        with closing(sqlite3.connect(path, timeout=60)) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS variable (key TEXT PRIMARY KEY, val TEXT)")

    def read(self, key: str) -> str | None:
        self._step()
        with closing(sqlite3.connect(self.path, timeout=60)) as database:
            row = database.execute("SELECT val FROM variable WHERE key = ?", (key,)).fetchone()
            return row[0] if row else None

    def write(self, key: str, value: str, description: str) -> None:
        self._step()
        with closing(sqlite3.connect(self.path, timeout=60)) as database, database:
            database.execute("INSERT OR REPLACE INTO variable VALUES (?, ?)", (key, value))

    def _step(self) -> None:
        if self.steps == self.kill_before:
            os.kill(os.getpid(), signal.SIGKILL)
        self.steps += 1


def store_for(settings: ClientSettings, variables: Any, timing: Timing = QUICK) -> VariableTokenStore:
    entered = settings.refresh_token
    grant_id = grant_id_of(entered.get_secret_value() if entered else None)
    secret = settings.client_secret.get_secret_value()
    return VariableTokenStore(settings.client_id, secret, grant_id, variables=variables, timing=timing)


def call_once(settings: ClientSettings, variables: Any) -> str:
    """Make one call of the API and say how it went."""
    try:
        with DrChronoClient(settings, token_store=store_for(settings, variables)) as client:
            client.current_user()
    except DrChronoError as error:
        return f"{type(error).__name__}: {error}"
    return "ok"


def live(path: Path, options: dict[str, Any], answer: Path, kill_before: int | None = None) -> None:
    """Be a process that makes one call, and leave word in ``answer``."""
    answer.write_text(call_once(ClientSettings(**options), FileVariables(path, kill_before)))
