"""The only file that knows the HTTP library: it sends one request and says in our words what became of it.

Errors of the library carry requests, and its log lines carry whole addresses; neither leaves this file.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, Literal

import httpx

import airflow_provider_drchrono
from airflow_provider_drchrono.client.bounds import (
    ACCEPTED_ENCODINGS,
    JSON_ANSWER,
    TOKEN_ANSWER,
    BodyReader,
    BrokenEncodingError,
    SizeLimit,
    TooLargeError,
    bound,
    deadline,
    time_left,
)
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

FailureKind = Literal[
    "connect", "unknown_host", "connect_timeout", "tls", "timeout", "deadline", "broken", "malformed", "too_large"
]

FAILURES = (httpx.HTTPError, httpx.InvalidURL, TimeoutError, TooLargeError, BrokenEncodingError)


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
    :param limit: the bound that was passed: seconds of a deadline, bytes of an answer that is too large.
    """

    kind: FailureKind
    sent: bool
    limit: float = 0.0


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
        self._settings = settings
        self._client = httpx.Client(
            auth=auth,
            headers=_headers(settings),
            timeout=_timeout(settings),
            verify=_verify(settings),
            limits=CONNECTIONS,
            cookies=_no_cookies(),
            follow_redirects=False,
        )
        # Without a public way to ask for them: the client's own connections, and those through the network's proxies.
        bound([self._client._transport, *self._client._mounts.values()])

    def send(
        self, method: str, url: str, body: bytes | Multipart | None = None, limit: SizeLimit = JSON_ANSWER
    ) -> Outcome:
        """Send a request and read the whole answer.

        :param limit: how large the answer may be.
        """
        return self._exchange(lambda: _build(self._client, method, url, body), limit, self._settings.request_timeout)

    def fetch(self, url: str, sink: Callable[[bytes], Any], limit: SizeLimit, *, with_token: bool) -> Outcome:
        """Read a file and hand its bytes on as they come; the content of the reply is empty.

        :param sink: takes the bytes of a success.
        :param limit: how large the file may be.
        :param with_token: whether the token may go there.
        """
        return self._exchange(
            lambda: _build_fetch(self._client, url, with_token=with_token),
            limit,
            self._settings.request_timeout,
            sink,
            with_token=with_token,
        )

    def post_form(self, url: str, form: str) -> Outcome:
        """Send an encoded form, as the token endpoint takes it."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._exchange(
            lambda: self._client.build_request("POST", url, content=form, headers=headers),
            TOKEN_ANSWER,
            self._settings.token_timeout,
        )

    def _exchange(
        self,
        build: Callable[[], HttpRequest],
        limit: SizeLimit,
        seconds: float,
        sink: Callable[[bytes], Any] | None = None,
        *,
        with_token: bool = True,
    ) -> Outcome:
        token = _ours.set(True)
        try:
            with deadline(seconds) as ends:
                try:
                    return self._read(build(), limit, sink, with_token=with_token)
                except FAILURES as error:
                    return _failure(error, seconds, late=time.monotonic() >= ends)
        finally:
            _ours.reset(token)

    def _read(
        self, request: HttpRequest, limit: SizeLimit, sink: Callable[[bytes], Any] | None, *, with_token: bool
    ) -> Reply:
        response = self._client.send(request, stream=True, auth=_auth(with_token=with_token))
        try:
            reader = _reader(response, limit, sink)
            for piece in [] if response.is_stream_consumed else response.iter_raw():
                reader.feed(piece)
                time_left(None)
            return _reply(response, reader)
        finally:
            response.close()

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
        self._settings = settings
        self._client = httpx.AsyncClient(
            auth=auth,
            headers=_headers(settings),
            timeout=_timeout(settings),
            verify=_verify(settings),
            limits=CONNECTIONS,
            cookies=_no_cookies(),
            follow_redirects=False,
        )

    async def send(
        self, method: str, url: str, body: bytes | Multipart | None = None, limit: SizeLimit = JSON_ANSWER
    ) -> Outcome:
        """Send a request and read the whole answer.

        :param limit: how large the answer may be.
        """
        return await self._exchange(lambda: _build(self._client, method, url, body), limit)

    async def fetch(self, url: str, sink: Callable[[bytes], Any], limit: SizeLimit, *, with_token: bool) -> Outcome:
        """Read a file and hand its bytes on as they come; see :meth:`HttpClient.fetch`."""
        return await self._exchange(
            lambda: _build_fetch(self._client, url, with_token=with_token), limit, sink, with_token=with_token
        )

    async def _exchange(
        self,
        build: Callable[[], HttpRequest],
        limit: SizeLimit,
        sink: Callable[[bytes], Any] | None = None,
        *,
        with_token: bool = True,
    ) -> Outcome:
        token = _ours.set(True)
        seconds = self._settings.request_timeout
        ends = time.monotonic() + seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._read(build(), limit, sink, with_token=with_token)
        except FAILURES as error:
            return _failure(error, seconds, late=time.monotonic() >= ends)
        finally:
            _ours.reset(token)

    async def _read(
        self, request: HttpRequest, limit: SizeLimit, sink: Callable[[bytes], Any] | None, *, with_token: bool
    ) -> Reply:
        response = await self._client.send(request, stream=True, auth=_auth(with_token=with_token))
        try:
            reader = _reader(response, limit, sink)
            if not response.is_stream_consumed:
                async for piece in response.aiter_raw():
                    reader.feed(piece)
            return _reply(response, reader)
        finally:
            await response.aclose()

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
        "Accept-Encoding": ACCEPTED_ENCODINGS,
        "User-Agent": USER_AGENT,
        "X-DRC-API-Version": settings.api_version,
    }


def _timeout(settings: ClientSettings) -> httpx.Timeout:
    return httpx.Timeout(settings.read_timeout, connect=settings.connect_timeout)


def _no_cookies() -> CookieJar:
    # The token alone says who asks. A cookie that came with an answer could make the next request somebody else's, and
    # one with other letters than ASCII could not be sent at all.
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


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


# To read all certificates takes 20 ms, and polling makes a client for each poll. A file that has changed is read
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
        # Given as content, the body would fit the synchronous or the asynchronous client, not both.
        request.stream = _Body(body)
        return request
    if body is not None:
        return client.build_request(method, url, content=body, headers={"Content-Type": "application/json"})
    return client.build_request(method, url)


def _build_fetch(client: httpx.Client | httpx.AsyncClient, url: str, *, with_token: bool) -> HttpRequest:
    request = client.build_request("GET", url, headers={"Accept": "*/*"})
    if not with_token:
        # It is meant for the API, and nobody else has to know what this client is.
        del request.headers["X-DRC-API-Version"]
    return request


def _auth(*, with_token: bool) -> Any:
    return httpx.USE_CLIENT_DEFAULT if with_token else None


def _reader(response: HttpResponse, limit: SizeLimit, sink: Callable[[bytes], Any] | None) -> BodyReader:
    sink = sink if response.is_success else None
    if not response.is_stream_consumed:
        return BodyReader(response.headers.get("content-encoding", ""), limit, sink)
    # A transport that answers from memory hands the body over whole.
    reader = BodyReader("", limit, sink)
    reader.feed(response.content)
    return reader


def _reply(response: HttpResponse, reader: BodyReader) -> Reply:
    return Reply(response.status_code, response.headers, reader.finish())


def _failure(error: Exception, seconds: float, *, late: bool) -> Failure:
    """Say in our words what became of a request.

    :param seconds: how long it was allowed to take.
    :param late: whether that time is over.
    """
    causes = list(_causes(error))
    if isinstance(error, TooLargeError):
        return Failure("too_large", sent=True, limit=error.limit)
    if isinstance(error, TimeoutError) or (late and isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout)):
        return Failure("deadline", sent=True, limit=seconds)
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
        case BrokenEncodingError():
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
