"""Waits for the answer of DrChrono's consent page: at a port of this machine, and pasted into the terminal.

Over SSH the browser is on another machine, where nothing listens at the redirect URI: the page there fails to load,
but its address holds the answer and can be pasted here. Whichever comes first counts.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TextIO
from urllib.parse import parse_qsl, urlsplit

from airflow_provider_drchrono.client.authorization import answer_in
from airflow_provider_drchrono.client.errors import InvalidArgumentError
from airflow_provider_drchrono.client.settings import is_loopback

Answer = Mapping[str, str]
Say = Callable[[str], None]

RECEIVED = "DrChrono's answer has arrived. You can close this page and go back to the terminal."
NOT_OURS = "This is not the answer that the terminal is waiting for."


def port_of(redirect_uri: str) -> int | None:
    """Return the port of this machine that a redirect URI leads to, or None if it leads elsewhere."""
    parts = urlsplit(redirect_uri)
    if parts.scheme != "http" or not is_loopback(parts.hostname or ""):
        return None
    return parts.port or 80


def wait_for_answer(redirect_uri: str, state: str, source: TextIO, timeout: float, say: Say) -> Answer | None:
    """Return the parameters that DrChrono sent the browser back with, or None if none came in time.

    The answer of another authorization is refused with a line, and the wait continues.

    :param source: where a person may paste the address.
    :param timeout: seconds.
    :param say: shows a line to the person.
    """
    answers: queue.Queue[Answer] = queue.Queue()
    threading.Thread(target=_read, args=(source, state, answers, say), daemon=True).start()
    with _listening(redirect_uri, state, answers, say):
        try:
            return answers.get(timeout=timeout)
        except queue.Empty:
            return None


def _read(source: TextIO, state: str, answers: queue.Queue[Answer], say: Say) -> None:
    for line in source:
        if not line.strip():
            continue
        try:
            answer = answer_in(line)
        except InvalidArgumentError as error:
            say(str(error))
            continue
        if answer.get("state") == state:
            answers.put(answer)
            return
        say("This address is of another authorization than the one begun here; paste the newest one.")


@contextmanager
def _listening(redirect_uri: str, state: str, answers: queue.Queue[Answer], say: Say) -> Iterator[None]:
    port = port_of(redirect_uri)
    if port is None:
        yield
        return
    path = urlsplit(redirect_uri).path or "/"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            answer = dict(parse_qsl(parts.query))
            ours = parts.path == path and answer.get("state") == state and bool(answer.keys() & {"code", "error"})
            text = (RECEIVED if ours else NOT_OURS).encode()
            self.send_response(200 if ours else 404)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(text)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(text)
            if ours:
                answers.put(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the address holds the code."""

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        say(f"Port {port} cannot be listened at ({error.strerror}), so paste the address below.")
        yield
        return
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
