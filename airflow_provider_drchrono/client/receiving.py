"""Receives the body of an answer piece by piece, unpacks it, and stops at a size that no honest answer has.

The HTTP library would unpack whatever comes, and a few hundred kilobytes of gzip can hold a gigabyte.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_drchrono.catalog import Operation
from airflow_provider_drchrono.client.errors import DrChronoError

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
    """

    encoding: str
    limit: SizeLimit
    _received: int = 0
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
        """Return the whole body.

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
        if len(self._content) + len(content) > self.limit.unpacked:
            raise TooLargeError(self.limit.unpacked)
        self._content += content
