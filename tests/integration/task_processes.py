"""Processes that stand for tasks on two hosts, which share nothing but the variables of one Airflow API server."""

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from uuid import uuid4

from airflow.api_fastapi.auth.tokens import JWTGenerator
from airflow.sdk.api.client import Client
from airflow.sdk.api.datamodels._generated import VariableResponse
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import GetVariable, MaskSecret, PutVariable, VariableResult

from airflow_provider_drchrono.client import DrChronoError
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.state import lease as variable_lease

SECRET = "a-jwt-secret-of-sixty-four-characters-for-the-tests-of-this-module"


class ApiServer:
    """What the supervisor of a task does with the messages about variables: it asks the API server.

    :param kill_before: before this message about a variable, counted from 0, the process ends as by kill -9; None for
        never.
    """

    def __init__(self, url: str, kill_before: int | None) -> None:
        generator = JWTGenerator(secret_key=SECRET, audience="urn:airflow.apache.org:task", valid_for=7200, issuer=None)
        token = generator.generate({"sub": str(uuid4()), "scope": "execution"})
        self.client = Client(base_url=f"{url}/execution/", token=token)
        self.kill_before = kill_before
        self.messages = 0

    def send(self, msg: Any) -> Any:
        if isinstance(msg, MaskSecret):
            return None
        if self.messages == self.kill_before:
            os.kill(os.getpid(), signal.SIGKILL)
        self.messages += 1
        if isinstance(msg, PutVariable):
            self.client.variables.set(msg.key, msg.value, msg.description)
            return None
        assert isinstance(msg, GetVariable), msg
        answer = self.client.variables.get(msg.key)
        return VariableResult.from_variable_response(answer) if isinstance(answer, VariableResponse) else answer


def call_once() -> str:
    """Make one call of the API as a task does, and say how it went."""
    hook = DrChronoHook()
    try:
        list(hook.get_conn().list("offices"))
    except DrChronoError as error:
        return f"{type(error).__name__}: {error}"
    finally:
        hook.close()
    return "ok"


def live(url: str, home: Path, connection: str, host: str, kill_before: int | None, orders: Connection) -> None:
    """Be a process on a host: make a call whenever there is an order, and answer with its outcome."""
    os.environ["AIRFLOW_HOME"] = str(home / host)
    os.environ["AIRFLOW_CONN_DRCHRONO_DEFAULT"] = connection
    own_space = variable_lease.process_space()
    # Process ids of one host mean nothing on another.
    variable_lease.process_space = lambda: f"{own_space}-{host}"
    task_runner.SUPERVISOR_COMMS = ApiServer(url, kill_before)  # type: ignore[assignment]
    while orders.recv() == "call":
        orders.send(call_once())


class Task:
    """One such process, seen from the test."""

    def __init__(self, url: str, home: Path, connection: str, host: str, kill_before: int | None = None) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._orders, theirs = context.Pipe()
        arguments = (url, home, connection, host, kill_before, theirs)
        self.process = context.Process(target=live, args=arguments, daemon=True)
        self.process.start()
        theirs.close()

    def begin(self) -> None:
        self._orders.send("call")

    def outcome(self) -> str:
        """Wait for the call's outcome; a killed process has none."""
        try:
            return str(self._orders.recv())
        except EOFError:
            self.process.join()
            return f"killed by {-(self.process.exitcode or 0)}"

    def end(self) -> None:
        if self.process.is_alive():
            self._orders.send("end")
        self.process.join()
