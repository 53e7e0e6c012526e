"""Bounds of one request: the time until its whole answer is there, and the size of that answer.

The HTTP library bounds each single wait only, so a server that sends a byte now and then could hold a thread for ever,
while it sends its headers as well as its body. Tasks of an event loop need none of this: they can be cancelled. And the
library would unpack whatever comes, while a few hundred kilobytes of gzip can hold a gigabyte.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_drchrono.catalog import Operation
from airflow_provider_drchrono.client.errors import DrChronoError

WRITE_STEP = 16 * 1024
"""Bytes that are written with one bound: the library's own bound begins anew with each part that is taken."""

_ends: ContextVar[float | None] = ContextVar("drchrono_deadline", default=None)


@contextmanager
def deadline(seconds: float) -> Iterator[float]:
    """Bound all that is sent and received in the block, and return its end on the monotonic clock."""
    ends = time.monotonic() + seconds
    token = _ends.set(ends)
    try:
        yield ends
    finally:
        _ends.reset(token)


def time_left(timeout: float | None) -> float | None:
    """Return the seconds that a single wait may take.

    :raises TimeoutError: the deadline has passed.
    """
    ends = _ends.get()
    if ends is None:
        return timeout
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError("The deadline of the request has passed")
    return left if timeout is None else min(timeout, left)


class BoundedBackend:
    """Stands before the library's network backend and shortens its timeouts to what is left of the deadline."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, *more: Any, **named: Any) -> Any:
        """Open a connection."""
        return BoundedStream(self._backend.connect_tcp(host, port, time_left(timeout), *more, **named))

    def connect_unix_socket(self, path: str, timeout: float | None = None, *more: Any, **named: Any) -> Any:
        """Open a connection."""
        return BoundedStream(self._backend.connect_unix_socket(path, time_left(timeout), *more, **named))

    def sleep(self, seconds: float) -> None:
        """Wait between attempts to connect."""
        self._backend.sleep(seconds)


class BoundedStream:
    """A connection of :class:`BoundedBackend`."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what has come."""
        received: bytes = self._stream.read(max_bytes, timeout=time_left(timeout))
        return received

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of it."""
        for start in range(0, len(buffer), WRITE_STEP):
            self._stream.write(buffer[start : start + WRITE_STEP], timeout=time_left(timeout))

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> Any:
        """Secure the connection."""
        return BoundedStream(self._stream.start_tls(ssl_context, server_hostname, time_left(timeout)))

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        """Return what is known of the connection."""
        return self._stream.get_extra_info(info)


def bound(transports: Iterable[Any]) -> None:
    """Make the transports of the HTTP library keep to :func:`deadline`."""
    for transport in transports:
        pool: Any = getattr(transport, "_pool", None)
        backend = getattr(pool, "_network_backend", None)
        # The library has no public way to give its connections another backend. Should this part of it change, the
        # body of an answer is still bounded, between its pieces.
        if backend is not None:
            pool._network_backend = BoundedBackend(backend)


MEBIBYTE = 1024 * 1024
STEP = MEBIBYTE
"""Bytes that are unpacked at once, so that the size is known before much memory is taken."""

ACCEPTED_ENCODINGS = "gzip, deflate"


@dataclass(frozen=True, slots=True)
class SizeLimit:
    """How large an answer may be, in bytes: as it is received, and after it is unpacked."""

    received: int
    unpacked: int


TOKEN_ANSWER = SizeLimit(MEBIBYTE, MEBIBYTE)
"""An answer of the token endpoint has less than 2 kB."""

JSON_ANSWER = SizeLimit(64 * MEBIBYTE, 128 * MEBIBYTE)
"""The largest page has 1,000 records, and a long verbose record has some 50 kB of text."""

FILE_ANSWER = SizeLimit(512 * MEBIBYTE, 512 * MEBIBYTE)
"""Scans and exports of a whole chart are larger than JSON, and hardly ever compressed."""


def size_limit(operation: Operation) -> SizeLimit:
    """Return how large the answer of an operation may be."""
    return FILE_ANSWER if operation.response.shape == "any" else JSON_ANSWER


class TooLargeError(DrChronoError):
    """The answer is larger than it may be; ``limit`` is the bound in bytes that it has passed."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit} bytes")
        self.limit = limit


class BrokenEncodingError(DrChronoError):
    """The answer is not compressed as its header says."""


@dataclass(slots=True)
class BodyReader:
    """Collects the pieces of one body.

    :param encoding: the header ``Content-Encoding``.
    :param limit: how large the body may be.
    :param sink: takes the unpacked pieces; without one they are collected in memory.
    """

    encoding: str
    limit: SizeLimit
    sink: Callable[[bytes], Any] | None = None
    _received: int = 0
    _unpacked: int = 0
    _content: bytearray = field(default_factory=bytearray)
    _inflater: Any = None

    def feed(self, piece: bytes) -> None:
        """Take a piece as it was received.

        :raises TooLargeError: the body is too large.
        :raises BrokenEncodingError: the piece cannot be unpacked.
        """
        self._received += len(piece)
        if self._received > self.limit.received:
            raise TooLargeError(self.limit.received)
        if self.encoding.strip().lower() in ("", "identity"):
            self._add(piece)
            return
        while piece:
            piece = self._inflate(piece)

    def finish(self) -> bytes:
        """Return the whole body; nothing, where a sink took it.

        :raises BrokenEncodingError: it ends too early.
        """
        if self._inflater is not None and not self._inflater.eof:
            raise BrokenEncodingError("it ends too early")
        return bytes(self._content)

    def _inflate(self, piece: bytes) -> bytes:
        """Unpack one step, and return what is left to be unpacked."""
        if self._inflater is None or self._inflater.eof:
            # Several gzip streams may follow each other.
            self._inflater = self._new_inflater(piece)
        try:
            self._add(self._inflater.decompress(piece, STEP))
        except zlib.error:
            raise BrokenEncodingError("it cannot be unpacked") from None
        return bytes(self._inflater.unused_data or self._inflater.unconsumed_tail)

    def _new_inflater(self, piece: bytes) -> Any:
        match self.encoding.strip().lower():
            case "gzip" | "x-gzip":
                return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            case "deflate":
                # Some servers leave the header of zlib out, whose first byte always has this low half.
                raw = piece[0] & 0x0F != 8
                return zlib.decompressobj(wbits=-zlib.MAX_WBITS if raw else zlib.MAX_WBITS)
            case _:
                raise BrokenEncodingError("its encoding is not known")

    def _add(self, content: bytes) -> None:
        self._unpacked += len(content)
        if self._unpacked > self.limit.unpacked:
            raise TooLargeError(self.limit.unpacked)
        if self.sink is None:
            self._content += content
        else:
            self.sink(content)
