"""The only file that knows the HTTP library: it sends one request and says in our words what became of it.

Errors of the library carry requests, and its log lines carry whole addresses; neither leaves this file.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

import httpx

import airflow_provider_drchrono
from airflow_provider_drchrono.client.errors import ConfigurationError
from airflow_provider_drchrono.client.files import Multipart
from airflow_provider_drchrono.client.settings import ClientSettings

Auth = httpx.Auth
HttpRequest = httpx.Request
HttpResponse = httpx.Response

USER_AGENT = f"airflow-provider-drchrono/{airflow_provider_drchrono.__version__}"

CONNECTIONS = httpx.Limits(max_connections=20, max_keepalive_connections=10, keepalive_expiry=30.0)

LIBRARY_LOGGERS = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
)

FailureKind = Literal["connect", "unknown_host", "connect_timeout", "tls", "timeout", "broken", "malformed"]


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. Header names are lower case; the content may be patient data, so it is not shown."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """No whole answer came.

    :param kind: what happened.
    :param sent: whether any of the request may have reached the API.
    """

    kind: FailureKind
    sent: bool


Outcome = Reply | Failure


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A multipart body for both kinds of client; the asynchronous one reads files in a worker thread."""

    def __init__(self, multipart: Multipart) -> None:
        self._multipart = multipart

    def __iter__(self) -> Iterator[bytes]:
        return self._multipart.chunks()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = self._multipart.chunks()
        while chunk := await asyncio.to_thread(next, chunks, b""):
            yield chunk


class HttpClient:
    """Sends requests one at a time over kept connections."""

    def __init__(self, settings: ClientSettings, auth: Auth | None = None) -> None:
        _silence_library()
        self._client = httpx.Client(
            auth=auth,
            headers=_headers(settings),
            timeout=_timeout(settings),
            verify=_verify(settings),
            limits=CONNECTIONS,
            follow_redirects=False,
        )

    def send(self, method: str, url: str, body: bytes | Multipart | None = None) -> Outcome:
        """Send a request and read the whole answer."""
        token = _ours.set(True)
        try:
            return _reply(self._client.send(_build(self._client, method, url, body)))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _failure(error)
        finally:
            _ours.reset(token)

    def post_form(self, url: str, form: str) -> Outcome:
        """Send an encoded form, as the token endpoint takes it."""
        token = _ours.set(True)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            return _reply(self._client.post(url, content=form, headers=headers))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _failure(error)
        finally:
            _ours.reset(token)

    def close(self) -> None:
        """Close the connections."""
        token = _ours.set(True)
        try:
            self._client.close()
        finally:
            _ours.reset(token)


class AsyncHttpClient:
    """The asynchronous twin of :class:`HttpClient`."""

    def __init__(self, settings: ClientSettings, auth: Auth | None = None) -> None:
        _silence_library()
        self._client = httpx.AsyncClient(
            auth=auth,
            headers=_headers(settings),
            timeout=_timeout(settings),
            verify=_verify(settings),
            limits=CONNECTIONS,
            follow_redirects=False,
        )

    async def send(self, method: str, url: str, body: bytes | Multipart | None = None) -> Outcome:
        """Send a request and read the whole answer."""
        token = _ours.set(True)
        try:
            return _reply(await self._client.send(_build(self._client, method, url, body)))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _failure(error)
        finally:
            _ours.reset(token)

    async def close(self) -> None:
        """Close the connections."""
        token = _ours.set(True)
        try:
            await self._client.aclose()
        finally:
            _ours.reset(token)


def _headers(settings: ClientSettings) -> dict[str, str]:
    # The vendor answers HTML pages to clients that accept them.
    return {
        "Accept": "application/json",
        "User-Agent": USER_AGENT,
        "X-DRC-API-Version": settings.api_version,
    }


def _timeout(settings: ClientSettings) -> httpx.Timeout:
    return httpx.Timeout(settings.read_timeout, connect=settings.connect_timeout)


def _verify(settings: ClientSettings) -> ssl.SSLContext | bool:
    if not settings.verify_tls:
        return False
    try:
        if settings.ca_bundle is None:
            return _trust(None, 0)
        return _trust(settings.ca_bundle, Path(settings.ca_bundle).stat().st_mtime_ns)
    except (ssl.SSLError, OSError):
        pass
    raise ConfigurationError(
        "The setting ca_bundle cannot be used: it holds no certificates in PEM form; give another file"
    )


# To read all certificates takes 20 ms, and whoever polls makes a client for each poll. A file that has changed is read
# again.
@lru_cache(maxsize=8)
def _trust(ca_bundle: str | None, changed_at: int) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_bundle) if ca_bundle else httpx.create_ssl_context()


def _build(
    client: httpx.Client | httpx.AsyncClient, method: str, url: str, body: bytes | Multipart | None
) -> HttpRequest:
    if isinstance(body, Multipart):
        headers = {"Content-Type": body.content_type, "Content-Length": str(body.length)}
        request = client.build_request(method, url, headers=headers)
        # Given as content, it would be taken for a body of one colour only.
        request.stream = _Body(body)
        return request
    if body is not None:
        return client.build_request(method, url, content=body, headers={"Content-Type": "application/json"})
    return client.build_request(method, url)


def _reply(response: HttpResponse) -> Reply:
    return Reply(response.status_code, response.headers, response.content)


def _failure(error: httpx.HTTPError | httpx.InvalidURL) -> Failure:
    causes = list(_causes(error))
    if any(isinstance(each, ssl.SSLError) for each in causes):
        return Failure("tls", sent=not isinstance(error, httpx.ConnectError))
    match error:
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return Failure("connect_timeout", sent=False)
        case httpx.ConnectError() | httpx.ProxyError() | httpx.UnsupportedProtocol() | httpx.InvalidURL():
            unknown = any(isinstance(each, socket.gaierror) for each in causes)
            return Failure("unknown_host" if unknown else "connect", sent=False)
        case httpx.TimeoutException():
            return Failure("timeout", sent=True)
        case httpx.DecodingError():
            return Failure("malformed", sent=True)
        case _:
            return Failure("broken", sent=True)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


# True while a request of ours is on its way, in this thread or task.
_ours: ContextVar[bool] = ContextVar("drchrono_request", default=False)


def _not_ours(_: logging.LogRecord) -> bool:
    return not _ours.get()


def _silence_library() -> None:
    # httpx logs each address with its query, where names of patients stand; other users of httpx keep their lines.
    for name in LIBRARY_LOGGERS:
        logging.getLogger(name).addFilter(_not_ours)
