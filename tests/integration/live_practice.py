"""The sandbox as a process of its own, and somebody who works with it while Airflow looks on."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

import httpx
import psutil
import pytest

DEADLINE_S = 150
"""Far more than anything takes here, also on a machine with other work."""

CANARY = "Canarybird"
"""Part of the name of each patient that the front desk works on."""

Change = tuple[int, str]
"""A patient's id, and the mark that the change has left in the nick name: each change has one of its own."""

T = TypeVar("T")


def eventually(what: str, look: Callable[[], T | None], pause: float = 0.3) -> T:
    """Look again and again until there is something (that is not None or false), and return it.

    :param what: what is waited for, for the message when it does not come.
    :param pause: seconds between two looks.
    """
    ends = time.monotonic() + DEADLINE_S
    while True:
        if found := look():
            return found
        if time.monotonic() > ends:
            pytest.fail(f"Waited {DEADLINE_S} s in vain: {what}")
        time.sleep(pause)


class Component:
    """A process with the processes that it starts, its output in a file."""

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("a") as output:
            self.process = subprocess.Popen(
                command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    def show_stacks(self) -> None:
        """End the processes that it has started; each writes first where all of its threads are.

        For that it must have been started with ``PYTHONFAULTHANDLER``. It lives on itself: what they write may go
        through it.
        """
        for each in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                each.send_signal(signal.SIGABRT)

    def kill(self) -> None:
        """End it as ``kill -9`` does, with all of its processes."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait(timeout=30)


class LivePractice:
    """The sandbox as a process of its own.

    :param options: as ``python -m airflow_provider_drchrono.sandbox`` takes them, but for the port and the quota.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        log = folder / "sandbox.log"
        unlimited = ("--quota-per-hour", "off", "--quota-per-second", "off")
        command = [sys.executable, "-m", "airflow_provider_drchrono.sandbox", "--port", "0", *unlimited, *options]
        self.component = Component(command, os.environ, log)
        printed = eventually(
            "the sandbox", lambda: re.search(r"^Connection \(JSON\): (.*)\n", log.read_text(), re.MULTILINE)
        )
        self.connection: dict[str, Any] = json.loads(printed[1])
        self.url: str = self.connection["host"]
        self.http = httpx.Client(base_url=self.url, timeout=30, trust_env=False)
        eventually("the sandbox's socket", lambda: self.ask("GET", "state"))
        self._sign_in()

    def _sign_in(self) -> None:
        # A grant of their own: the connection's would be voided by a refresh.
        application = {"client_id": self.connection["login"], "client_secret": self.connection["password"]}
        grant = self.ask("POST", "grant") | {"grant_type": "refresh_token"}
        answer = self.http.post("/o/token/", data=application | grant)
        self.http.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"

    def let_tokens_run_out(self, operation: str) -> None:
        """Let all access tokens run out at the next call of an operation."""
        self.ask("POST", "faults", json={"kind": "expire_token", "operation": operation, "times": 1})

    def _call(self, method: str, address: str, **arguments: Any) -> httpx.Response:
        answer = self.http.request(method, address, **arguments)
        if answer.status_code == 401:
            self._sign_in()
            answer = self.http.request(method, address, **arguments)
        return answer

    def ask(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        """Use the sandbox's side door."""
        try:
            answer = self.http.request(method, f"/_sandbox/{path}", **arguments)
        except httpx.ConnectError:
            return {}
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def create(self, resource: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """Create a record and return it."""
        answer = self._call("POST", f"/api/{resource}", json=data)
        assert answer.status_code == 201, answer.text
        created: dict[str, Any] = answer.json()
        return created

    def change(self, resource: str, key: object, data: Mapping[str, Any]) -> None:
        """Change fields of a record."""
        answer = self._call("PATCH", f"/api/{resource}/{key}", json=data)
        assert answer.status_code == 204, answer.text

    def records(self, resource: str, **query: str) -> list[dict[str, Any]]:
        """Return all records of a list."""
        found: list[dict[str, Any]] = []
        address: str | None = str(httpx.URL(f"{self.url}/api/{resource}", params=query))
        while address:
            page = self._call("GET", address).raise_for_status().json()
            found += page.get("results") or page.get("data") or []
            address = page["next"]
        return found

    def close(self) -> None:
        """End the sandbox."""
        self.http.close()
        self.component.kill()


class FrontDesk:
    """Works on patients and remembers what it did.

    :param rng: chooses whom to work on, and the pauses.
    """

    def __init__(self, practice: LivePractice, rng: random.Random) -> None:
        self.practice = practice
        self.rng = rng
        self.unchanged = [patient["id"] for patient in practice.records("patients")]
        self.doctor = practice.records("doctors")[0]["id"]
        self.written: list[Change] = []

    def work(self, changes: int) -> None:
        """Create and change patients, each of them once, with pauses of up to a second."""
        for _ in range(changes):
            self._do_something()
            time.sleep(self.rng.uniform(0.0, 1.0))

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Do the same, with longer pauses, while the block lasts."""
        closing_time = Event()

        def work() -> None:
            while not closing_time.is_set():
                self._do_something()
                closing_time.wait(self.rng.uniform(0.0, 3.0))

        with ThreadPoolExecutor(1) as desk:
            working = desk.submit(work)
            try:
                yield
            finally:
                closing_time.set()
            working.result()

    def _do_something(self) -> None:
        if self.rng.random() < 0.5:
            self.create()
        else:
            self.change(self.unchanged.pop(self.rng.randrange(len(self.unchanged))))

    def create(self) -> None:
        """Create a patient."""
        mark = self._mark()
        person = {"first_name": "Ada", "last_name": f"{CANARY}-{mark}", "gender": "Female", "doctor": self.doctor}
        created = self.practice.create("patients", person | {"nick_name": mark})
        self.written.append((created["id"], mark))

    def change(self, patient: int) -> None:
        """Change a patient."""
        mark = self._mark()
        self.practice.change("patients", patient, {"nick_name": mark, "middle_name": CANARY})
        self.written.append((patient, mark))

    def _mark(self) -> str:
        return f"mark-{len(self.written)}"
