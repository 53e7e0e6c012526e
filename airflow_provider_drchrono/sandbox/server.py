"""Serves the sandbox over a real socket: in a thread of this process, on the loopback interface only."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_drchrono.sandbox.app import App, http_date
from airflow_provider_drchrono.sandbox.clock import Clock
from airflow_provider_drchrono.sandbox.faults import Faults
from airflow_provider_drchrono.sandbox.journal import Journal
from airflow_provider_drchrono.sandbox.practice import Practice
from airflow_provider_drchrono.sandbox.sandbox_options import Options
from airflow_provider_drchrono.sandbox.wire import Request, Response, decode_query

if TYPE_CHECKING:
    import uvicorn

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

START_TIMEOUT = 30.0
"""Seconds; a server that is not up by then never will be."""


class Sandbox:
    """A stand-in for the DrChrono API with a seeded practice behind it.

    Used as a context manager it serves while the block runs::

        with Sandbox(patients=20) as sandbox:
            print(sandbox.url, sandbox.connection_json())

    :param options: all options at once; single ones are given, or overridden, by name (see :class:`Options`).
    :param host: address to listen on; loopback only.
    :param port: 0 takes any free port.
    :param certificate: paths of a certificate and its key in PEM; then it serves HTTPS.
    """

    def __init__(
        self,
        options: Options | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        certificate: tuple[str, str] | None = None,
        **settings: Any,
    ) -> None:
        refuse_open_bind(host)
        self.options = replace(options, **settings) if options else Options(**settings)
        self.app = App(self.options)
        self._host, self._port = host, port
        self._certificate = certificate
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._url: str | None = None

    def __enter__(self) -> Sandbox:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Scheme, host and port that it serves at."""
        if self._url is None:
            raise RuntimeError("The sandbox is not running; use it as a context manager or call start() first")
        return self._url

    @property
    def port(self) -> int:
        """The port that it serves at."""
        return int(self.url.rpartition(":")[2])

    @property
    def client_id(self) -> str:
        """The client id of the ready-made API application."""
        return self.options.client_id

    @property
    def client_secret(self) -> str:
        """Its secret."""
        return self.options.client_secret

    @property
    def refresh_token(self) -> str:
        """The refresh token that the ready-made grant began with; it is good once."""
        return self.options.refresh_token

    @property
    def practice(self) -> Practice:
        """The practice behind the API."""
        return self.app.practice

    @property
    def journal(self) -> Journal:
        """What was asked so far."""
        return self.app.journal

    @property
    def clock(self) -> Clock:
        """The clock that everything follows."""
        return self.app.clock

    @property
    def faults(self) -> Faults:
        """What is going to go wrong."""
        return self.app.faults

    def new_refresh_token(self, *scopes: str) -> str:
        """Make another grant and return its refresh token; no scopes means all."""
        with self.app.lock:
            return self.app.oauth.grant(self.client_id, scopes).refresh_token

    def connection_json(self) -> str:
        """Return an Airflow connection in JSON, as ``AIRFLOW_CONN_...`` takes it.

        It names the port twice: Airflow's Test button refuses a saved connection whose field for the port is empty.
        """
        return json.dumps(
            {
                "conn_type": "drchrono",
                "login": self.client_id,
                "password": self.client_secret,
                "host": self.url,
                "port": self.port,
                "extra": self._extra(),
            }
        )

    def connection_uri(self) -> str:
        """Return the same connection as a URI."""
        login, password, host = (quote(each, safe="") for each in (self.client_id, self.client_secret, self.url))
        extra = quote(json.dumps(self._extra()), safe="")
        return f"drchrono://{login}:{password}@{host}:{self.port}/?__extra__={extra}"

    def start(self) -> Sandbox:
        """Serve in a thread; returns when the socket answers."""
        server, listening = self._prepare()
        ready = threading.Event()
        self._thread = threading.Thread(
            target=_run, args=(server, listening, ready), name="drchrono-sandbox", daemon=True
        )
        self._thread.start()
        if not ready.wait(START_TIMEOUT) or not server.started:
            listening.close()
            raise RuntimeError(f"The sandbox did not start at {self._url}")
        return self

    def stop(self) -> None:
        """Stop serving; connections that are still open are closed."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join()
        self._server = self._thread = None

    def serve_forever(self, announce: Callable[[Sandbox], None]) -> None:
        """Serve in the foreground until interrupted.

        :param announce: called when the socket is bound.
        """
        server, listening = self._prepare()
        announce(self)
        with listening:
            server.run(sockets=[listening])

    def _extra(self) -> dict[str, Any]:
        extra: dict[str, Any] = {"refresh_token": self.refresh_token, "timezone": self.options.timezone}
        if self.options.quota_per_hour != Options.quota_per_hour:
            extra["quota_per_hour"] = self.options.quota_per_hour or 0
        per_second = self.options.quota_per_second
        if per_second != Options.quota_per_second:
            # A client keeps one call below the limit, so that calls that arrive closer together still pass.
            extra["quota_per_second"] = max(1, per_second - 1) if per_second else 0
        return extra

    def _prepare(self) -> tuple[uvicorn.Server, socket.socket]:
        import uvicorn

        if self._server is not None:
            raise RuntimeError("The sandbox is running already")
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((self._host, self._port))
        except OSError as problem:
            listening.close()
            raise OSError(
                f"The sandbox cannot listen on {self._host}:{self._port} ({problem.strerror}); choose another port"
            ) from None
        self._url = self._address(listening.getsockname()[1])
        self.app.practice.serve_at(self._url)
        certificate, key = self._certificate or (None, None)
        config = uvicorn.Config(
            asgi(self.app),
            log_level="critical",
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=1,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        self._server = uvicorn.Server(config)
        return self._server, listening

    def _address(self, port: int) -> str:
        scheme = "https" if self._certificate else "http"
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{scheme}://{host}:{port}"


def refuse_open_bind(host: str) -> None:
    """Raise ValueError for an address that other machines can reach."""
    if host == "localhost":
        return
    try:
        if ipaddress.ip_address(host).is_loopback:
            return
    except ValueError:
        pass
    raise ValueError(f"The sandbox listens on this machine only; {host} is no loopback address, use 127.0.0.1")


def asgi(app: App) -> Callable[[Message, Receive, Send], Awaitable[None]]:
    """Return the sandbox as an ASGI application."""

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = await _read(receive)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        request = Request(
            scope["method"],
            scope["raw_path"].decode("latin-1").partition("?")[0],
            decode_query(scope["query_string"]),
            headers,
            body,
            f"{scope['scheme']}://{headers.get('host', '127.0.0.1')}",
        )
        response = app.handle(request)
        if response.delay:
            await asyncio.sleep(response.delay)
            # Servers date an answer when they begin to send it, long after they looked the records up.
            response.headers["date"] = http_date(app.clock.now() + timedelta(seconds=response.date_offset))
        await _write(send, response)

    return application


async def _read(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _write(send: Send, response: Response) -> None:
    if response.cut == -1:
        _hang_up(send)
        return
    headers = (
        response.headers if response.status == 204 else response.headers | {"content-length": str(len(response.body))}
    )
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": raw})
    if response.cut is None:
        await send({"type": "http.response.body", "body": response.body})
        return
    await send({"type": "http.response.body", "body": response.body[: response.cut], "more_body": True})
    _hang_up(send)


def _hang_up(send: Send) -> None:
    # ASGI has no way to drop a connection; uvicorn's request cycle, which send belongs to, holds the transport.
    cycle = getattr(send, "__self__", None)
    if cycle is None:
        raise ConnectionError("This server cannot drop connections; serve the sandbox with uvicorn")
    cycle.transport.close()


def _run(server: uvicorn.Server, listening: socket.socket, ready: threading.Event) -> None:
    startup = server.startup

    async def announced(sockets: list[socket.socket] | None = None) -> None:
        await startup(sockets=sockets)
        ready.set()

    server.startup = announced  # type: ignore[method-assign]
    try:
        with listening:
            server.run(sockets=[listening])
    finally:
        ready.set()
