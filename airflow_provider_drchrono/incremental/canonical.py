"""The one form in which values are compared, stored and hashed: equal values make equal bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

_REPLACEMENT = "\ufffd"

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder().decode


def canonical(value: Any) -> bytes:
    """Return JSON that is always the same for the same value: one line, compact, keys sorted, UTF-8."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return _encode(storable(value))


def parsed(line: bytes) -> Any:
    """Return the value of a line of JSON, whoever wrote it.

    :raises ValueError: it is not JSON.
    """
    try:
        return _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # The standard library also takes numbers beyond all bounds, and halves of characters.
        return _decode(canonical(json.loads(line)))


def comparable(line: bytes) -> bytes:
    """Return what is compared of a record: its canonical form without the queries of links, at any depth.

    :param line: of :func:`canonical`.
    """
    # Hardly any record holds a link with a query, and looking for one byte costs next to nothing.
    if b"?" not in line or b"://" not in line:
        return line
    return _encode(_without_link_queries(_decode(line)))


def storable(value: Any) -> Any:
    """Return the value with U+FFFD for NULs and halves of characters, at any depth: no database takes these."""
    if isinstance(value, str):
        whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return whole.replace("\0", _REPLACEMENT)
    if isinstance(value, Mapping):
        return {storable(key): storable(each) for key, each in value.items()}
    if isinstance(value, Sequence):
        return [storable(each) for each in value]
    return value


def _without_link_queries(value: Any) -> Any:
    if isinstance(value, str):
        return value.partition("?")[0] if value.startswith(("https://", "http://")) else value
    if isinstance(value, dict):
        return {name: _without_link_queries(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_link_queries(each) for each in value]
    return value
