"""Requests and answers as plain records, so that everything behind the socket can be used without one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

Json = Any


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, read whole.

    :param origin: scheme, host and port that the caller used; absolute links in the answer begin with it.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    origin: str = "http://127.0.0.1"

    def argument(self, name: str) -> str | None:
        """Return the last value given for a query parameter, as Django does."""
        return next((value for key, value in reversed(self.query) if key == name), None)

    @property
    def content_type(self) -> str:
        """The media type of the body without its parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def form(self) -> dict[str, str]:
        """Return the fields of a URL-encoded body; empty when the body is anything else."""
        if self.content_type != "application/x-www-form-urlencoded":
            return {}
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


@dataclass(slots=True)
class Response:
    """One HTTP answer, and what is to go wrong while it is sent.

    :param delay: seconds to wait before the first byte.
    :param cut: send the headers and this many bytes of the body, then drop the connection; -1 drops it before the
        first byte of the answer.
    :param date_offset: seconds by which the Date header is wrong.
    """

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: int | None = None
    date_offset: float = 0.0

    def json(self) -> Json:
        """Return the decoded body."""
        return json.loads(self.body)


TRUE = frozenset({"true", "1", "t", "yes"})
FALSE = frozenset({"", "false", "0", "f", "no"})


class Refusal(Exception):  # noqa: N818 - it is an answer, not an error of the sandbox
    """Raised anywhere while a request is handled; carries the answer to send."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"HTTP {response.status}")
        self.response = response


def whole(text: str) -> int | None:
    """Return the whole number that a text writes in plain digits, or None when it is none that an id could be."""
    digits = text.strip().removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 19 else None


def decode(body: bytes) -> Json:
    """Return what a body in JSON says.

    :raises ValueError: for anything that could not be sent back as JSON in UTF-8: NaN, endless numbers, halves of
        characters, depths beyond reason.
    """
    try:
        value = json.loads(body)
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def encode(value: Json) -> bytes:
    """Return compact JSON in UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def answer(status: int, value: Json, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON answer."""
    return Response(status, encode(value), {"content-type": "application/json", **(headers or {})})


def empty(status: int = 204) -> Response:
    """Return an answer without a body."""
    return Response(status)


def detail(status: int, message: str, headers: Mapping[str, str] | None = None) -> Refusal:
    """Return the refusal that the vendor words as ``{"detail": message}``."""
    return Refusal(answer(status, {"detail": message}, headers))


def bad_fields(errors: Json) -> Refusal:
    """Return the 400 that names each wrong field: ``{"field": ["message"]}``, or a list of them."""
    return Refusal(answer(400, errors))


def decode_query(raw: bytes | str) -> tuple[tuple[str, str], ...]:
    """Return the pairs of a query string, blank values included."""
    text = raw.decode("latin-1") if isinstance(raw, bytes) else raw
    return tuple(parse_qsl(text, keep_blank_values=True))
