"""A server that answers anything: from answers that are nearly right to bytes that are no HTTP at all.

What it answers follows from the seed that it was given last, so that a round of calls can be run again by itself.
"""

from __future__ import annotations

import gzip
import json
import random
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

CANARY = "Canarybird"
"""Stands in bodies and headers, and must not be found in any error or log line."""

STATUSES = (
    *(100, 101, 103, 200, 201, 202, 203, 204, 205, 206, 207, 226, 299, 300, 301, 302, 303, 304, 305, 307, 308, 399),
    *(400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 411, 413, 415, 418, 421, 422, 425, 426, 429, 431, 451, 499),
    *(500, 501, 502, 503, 504, 505, 507, 511, 520, 599, 600, 700, 999),
)

MOMENTS = (
    "Thu, 26 Nov 2026 03:42:09 GMT",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Mon, 01 Jan 0001 00:00:00 GMT",
    "Mon, 01 Jan 0001 00:00:00 +1400",
    "Fri, 31 Dec 9999 23:59:59 -1200",
    "Fri, 31 Dec 99999 23:59:59 GMT",
    "Thu, 32 Nov 2026 25:61:61 GMT",
    "Thu, 26 Nov 2026 03:42:09 +99999999999",
    "Thu, 26 Nov 2026 03:42:09 -0000",
    "26 Nov 2026",
    "2026-11-26T03:42:09Z",
    "now",
    "0",
    "-1",
    "nan",
    "inf",
    "1e400",
    "9" * 5000,
    "٣",
    ",",
    "",
    f"{CANARY}, 26 {CANARY} 2026",
)

LINKS = (
    "?page=2",
    "/api/patients?page=2",
    "/api/patients",
    "//elsewhere.example/api/patients",
    "http://elsewhere.example:99999/api/patients",
    "https://elsewhere.example/api/patients?last_name=" + CANARY,
    "http://[::1/api/patients",
    "http://user@127.0.0.1/api/patients",
    "ftp://127.0.0.1/api",
    "/\\elsewhere.example/api",
    "/api/../../etc/passwd",
    "/api/%2e%2e/x",
    "/api/patients?" + "x" * 70_000,
    "/api/pätients?name=Ä",
    "/api/patients?name=\x7f\x85",
    "javascript:" + CANARY,
    "http://",
    ":",
    "",
    "\ud800",
)

HUGE = 10**4000
"""Stands for a number of more digits than Python writes, in answers only."""

NUMBERS = (0, -1, 2**31, 2**63, 10**400, HUGE, 1e308, 5e-324, float("inf"), float("-inf"), float("nan"), -0.0)

TEXTS = ("", CANARY, "\x00", "\ud800", "é" * 50, "<b>", "null", "0", "2026-13-45T99:99:99", "a" * 10_000)

KEYS = (
    *("results", "data", "next", "previous", "count", "id", "uuid", "status", "detail", "pagination", "page", "pages"),
    *("access_token", "refresh_token", "expires_in", "scope", "error", "error_description", "non_field_errors", "x y"),
)

HEADERS = (
    *("Location", "Retry-After", "Date", "Content-Type", "Content-Encoding", "Content-Length", "Transfer-Encoding"),
    *("Connection", "Content-Range", "Set-Cookie", "WWW-Authenticate", "X-Name", "Trailer", "Upgrade"),
)

CONTENT_TYPES = (
    *("application/json", "application/json; charset=utf-16", "text/html", "text/plain; charset=" + CANARY, ""),
    *("application/pdf", "text/xml; charset=idna", "text/csv; charset=undefined", "image/png", "TEXT/HTML; x"),
    *("text/plain; charset=base64", "text/plain; charset=unicode_escape", "text/plain; charset=punycode", "*/*"),
)

ENCODINGS = ("gzip", "deflate", "x-gzip", "br", "zstd", "identity", "gzip, gzip", "GZIP", "")


class Answers:
    """Makes answers from a seed.

    :param hold: waits for so many seconds, or until the client has gone on.
    """

    def __init__(self, seed: str, hold: Callable[[float], object]) -> None:
        self._chance = random.Random(seed)
        self._hold = hold
        self.requests = 0
        self.clear_end = False

    def pick(self, *choices: Any) -> Any:
        return self._chance.choice(choices)

    def one_in(self, number: int) -> bool:
        return self._chance.randrange(number) == 0

    def value(self, depth: int = 0) -> Any:
        """Any JSON, and some that is none."""
        kind = self._chance.randrange(12 if depth < 4 else 6)
        match kind:
            case 0:
                return self.pick(None, True, False)
            case 1 | 2:
                return self.pick(*NUMBERS)
            case 3 | 4:
                return self.pick(*TEXTS, *MOMENTS)
            case 5:
                return self.pick(*LINKS)
            case 6 | 7 | 8:
                return [self.value(depth + 1) for _ in range(self._chance.randrange(4))]
            case _:
                return {self.pick(*KEYS): self.value(depth + 1) for _ in range(self._chance.randrange(6))}

    def record(self) -> Any:
        return {"id": self._chance.randrange(10**6), "last_name": CANARY}

    def nearly_right(self, path: str) -> Any:
        """What the endpoint may answer, with something changed in most cases."""
        records = [self.record() for _ in range(self._chance.randrange(4))]
        if path == "/o/token/":
            body: Any = {"access_token": "a" * 30, "refresh_token": "r" * 30, "expires_in": 172_800, "scope": "x"}
        else:
            body = self.pick(
                self.record(),
                records,
                {"results": records, "next": self.pick(None, *LINKS), "previous": None},
                {"data": records, "next": None},
                {"uuid": "0a"},
                {"status": self.pick("In progress", "Complete"), "results": records, "pagination": self.value()},
                {"detail": self.pick("Invalid uuid", CANARY)},
                {"first_name": [CANARY], "offices": [{"name": [CANARY]}]},
            )
        if isinstance(body, dict) and not self.one_in(3):
            body[self.pick(*body, *KEYS)] = self.value()
        return body

    def content(self, path: str) -> bytes:
        """A body before it is compressed."""
        kind = self._chance.randrange(20)
        if kind < 12:
            body = self.nearly_right(path) if kind < 9 else self.value()
            text = json.dumps(body).replace(json.dumps(HUGE), "9" * 5000)
            return text.encode(self.pick("utf-8", "utf-8", "utf-8", "utf-16", "utf-8-sig"), "replace")
        return self.pick(
            lambda: b"",
            lambda: self._chance.randbytes(self._chance.randrange(2000)),
            lambda: b"[" * self.pick(10, 300, 3000, 200_000),
            lambda: b"[" * 900 + b"]" * 900,
            lambda: b'{"a":' * 300 + b"1" + b"}" * 300,
            lambda: b'{"results": [' + b"{}," * 3000 + b"{}]}",
            lambda: b'{"next": ' + b"9" * 5000 + b', "results": []}',
            lambda: b'{"id": 1e99999, "count": -' + b"9" * 400 + b"}",
            lambda: f"<html>{CANARY}".encode(),
            lambda: b'{"id": NaN, "access_token": "' + CANARY.encode() + b"\xff\xfe",
            lambda: b'{"access_token": "t\\n\\u00e9", "refresh_token": "r\\ud800"}',
            lambda: b"Expected available in " + b"9" * 400 + b" seconds",
            lambda: b"null",
        )()

    def packed(self, content: bytes, encoding: str) -> bytes:
        """The body as the header says, or not quite."""
        if self.one_in(3):
            return content
        match encoding.lower():
            case "gzip" | "x-gzip":
                content = gzip.compress(content, compresslevel=1)
            case "deflate":
                content = zlib.compress(content)[self.pick(0, 2) :]
        return content[: self._chance.randrange(len(content) + 1)] if self.one_in(4) else content

    def header(self, name: str) -> bytes:
        """The value of a header."""
        values = {
            "Location": LINKS,
            "Retry-After": (*MOMENTS, "0.01", "3", "86400"),
            "Date": MOMENTS,
            "Content-Type": CONTENT_TYPES,
            "Content-Encoding": ENCODINGS,
            "Content-Length": ("0", "1", "-1", "99999", "9" * 30, "x", "3, 4", ""),
            "Transfer-Encoding": ("chunked", "gzip", "identity", "chunked, chunked", "x"),
            "Connection": ("close", "keep-alive", "upgrade"),
        }.get(name, (CANARY, "x" * 9000, "\xe9", "a\tb"))
        return str(self.pick(*values)).encode("utf-8", "replace")

    def answer(self, path: str) -> bytes:
        """A whole answer as it goes over the wire."""
        self.requests += 1
        self.clear_end = False
        if self.one_in(40):
            return self.pick(
                b"",
                self._chance.randbytes(300),
                b"HTTP/1.1 200 OK\r\n",
                b"HTTP/9.9 200 OK\r\n\r\n",
                b"HTTP/1.1 20 OK\r\n\r\n",
                b"HTTP/1.1 abc\r\n\r\n",
                b"ICY 200 OK\r\n\r\n",
                b"HTTP/1.1 200 OK\r\n" + b"X-Filler: 1\r\n" * 9000 + b"\r\n",
                b"HTTP/1.1 200 " + b"O" * 200_000 + b"\r\n\r\n",
                b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
                b"HTTP/1.1 200 OK\r\nA\x00b: c\r\n\r\n",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}\r\n0\r\n\r\n",
                b"HTTP/1.1 103 Early\r\n\r\n" * 50,
            )
        status = self.pick(200, 200, 200, 201, self.pick(*STATUSES), self.pick(*STATUSES))
        encoding = self.pick(*ENCODINGS) if self.one_in(4) else ""
        body = self.packed(self.content(path), encoding)
        headers: list[tuple[str, bytes]] = []
        if not self.one_in(10):
            headers.append(("Content-Type", b"application/json"))
        if encoding:
            headers.append(("Content-Encoding", encoding.encode()))
        if 300 <= status < 400:
            headers.append(("Location", self.header("Location")))
        headers += [(name, self.header(name)) for name in HEADERS if self.one_in(20)]
        if self.one_in(8) and not self.one_in(3):
            step = self.pick(1, 10, 1000) if len(body) < 3000 else 5000
            pieces = [body[start : start + step] for start in range(0, len(body), step)]
            body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
            headers.append(("Transfer-Encoding", b"chunked"))
        elif not self.one_in(8):
            length = max(0, len(body) + self.pick(*[0] * 20, 1, -1))
            headers.append(("Content-Length", str(length).encode()))
            self.clear_end = length == len(body)
        head = b"HTTP/1.1 %d OK\r\n" % status + b"".join(
            b"%b: %b\r\n" % (name.encode(), value) for name, value in headers
        )
        whole = head + b"\r\n" + body
        cut = self._chance.randrange(len(whole)) if self.one_in(25) else len(whole)
        told = [name for name, _ in headers if name in ("Content-Length", "Transfer-Encoding")]
        self.clear_end = self.clear_end and cut == len(whole) and len(told) == 1
        return whole[:cut]

    def send(self, path: str, connection: socket.socket) -> bool:
        """Answer a request, and tell whether the connection stays open."""
        whole = self.answer(path)
        slow = self.one_in(200)
        # Where the end of an answer cannot be told, the client waits for more of it until its deadline.
        stays = (self.clear_end and not self.one_in(3)) or self.one_in(200)
        if slow and self.one_in(2):
            self._hold(1.0)
        elif slow:
            for byte in whole[:3000]:
                connection.sendall(bytes([byte]))
                if self._hold(0.01):
                    return False
        connection.sendall(whole)
        return stays


class AnyServer:
    """The server, on loopback. :meth:`begin` says by which seed it answers from now on."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._moved_on = threading.Event()
        self._answers = Answers("", self._moved_on.wait)

    def begin(self, seed: str) -> Answers:
        """Answer by this seed from now on, and close what is still open."""
        self._moved_on.set()
        with self._lock:
            for each in list(self._connections):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            self._moved_on = threading.Event()
            self._answers = Answers(seed, self._moved_on.wait)
        return self._answers

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection, self._answers), daemon=True).start()

    def _talk(self, connection: socket.socket, answers: Answers) -> None:
        self._connections.add(connection)
        # Without an end, a client that leaves its connection open would keep the thread.
        connection.settimeout(10)
        with connection, suppress(OSError), connection.makefile("rb") as reader:
            while path := read_request(reader):
                with self._lock:
                    mine = answers is self._answers
                if not mine or not answers.send(path, connection):
                    break
        self._connections.discard(connection)

    def close(self) -> None:
        self.begin("")
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def read_request(reader: Any) -> str | None:
    """Read a request to its end, and return its path; None when there are no more."""
    first = reader.readline(200_000).split()
    if len(first) < 2:
        return None
    length, chunked = 0, False
    while (line := reader.readline(200_000).strip().lower()) != b"":
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
        chunked = chunked or line == b"transfer-encoding: chunked"
    assert not chunked
    reader.read(length)
    return first[1].decode("latin-1").partition("?")[0]


@contextmanager
def any_server() -> Iterator[AnyServer]:
    server = AnyServer()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join(10)
