"""Servers on loopback for what the sandbox cannot do: answer with rubbish, hang up, refuse, or never answer."""

import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO, Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Reply:
    """What to answer.

    :param drop: hang up after the request was read.
    :param hang: never answer.
    :param drip: seconds between two bytes of the body.
    """

    status: int = 200
    body: bytes | Any = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False
    hang: bool = False
    drip: float = 0.0

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class Seen:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)

    @property
    def form(self) -> dict[str, list[str]]:
        return parse_qs(self.body.decode())


class ScriptedApi:
    """Answers API requests from ``script``, then with ``{}``; hands out a new pair of tokens at each renewal."""

    def __init__(self) -> None:
        self.script: deque[Reply] = deque()
        self.token_script: deque[Reply] = deque()
        self.seen: list[Seen] = []
        self.token_requests: list[Seen] = []
        self.released = threading.Event()
        self.renewals = 0
        self.expires_in: Any = 172_800
        self.url = ""

    def answer(self, seen: Seen) -> Reply:
        if seen.path == "/o/token/":
            self.token_requests.append(seen)
            return self.token_script.popleft() if self.token_script else self._renew()
        self.seen.append(seen)
        return self.script.popleft() if self.script else Reply()

    def _renew(self) -> Reply:
        self.renewals += 1
        return Reply(
            body={
                "access_token": f"access-{self.renewals}",
                "refresh_token": f"refresh-{self.renewals}",
                "expires_in": self.expires_in,
                "scope": "patients:read patients:write",
                "token_type": "Bearer",
            }
        )

    @property
    def bearers(self) -> list[str]:
        return [each.headers["authorization"].removeprefix("Bearer ") for each in self.seen]


def drip(reply: Reply, file: IO[bytes], released: threading.Event) -> None:
    """Write the body byte by byte, until the client has enough."""
    with suppress(OSError):
        for byte in reply.content:
            file.write(bytes([byte]))
            file.flush()
            if released.wait(reply.drip):
                return


@contextmanager
def scripted_api() -> Iterator[ScriptedApi]:
    api = ScriptedApi()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # One packet an answer; two would wait for each other.
        wbufsize = -1

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = api.answer(Seen(self.command, self.path, headers, body))
            if reply.hang:
                api.released.wait(30)
            if reply.drop or reply.hang:
                self.close_connection = True
                return
            self.send_response_only(reply.status)
            headers = {"Content-Type": "application/json", **reply.headers}
            if reply.status != 204:
                headers.setdefault("Content-Length", str(len(reply.content)))
            for name, value in headers.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            if reply.status != 204 and reply.drip:
                drip(reply, self.wfile, api.released)
                self.close_connection = True
            elif reply.status != 204:
                self.wfile.write(reply.content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    api.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        api.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
