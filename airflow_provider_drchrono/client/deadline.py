"""The deadline of a whole request in a thread: no connect, read or write may wait beyond it.

The HTTP library bounds each single wait only, so a server that sends a byte now and then could hold a thread for ever,
while it sends its headers as well as its body. Tasks of an event loop need none of this: they can be cancelled.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

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
