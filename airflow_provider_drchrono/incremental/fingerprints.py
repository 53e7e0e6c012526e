"""Tells whether two records are the same: one canonical form for sensors, watchers and warehouses, and hashes of it.

A link to a file ends in a signature that differs in every answer of the API, so the query of a link is no part of what
is compared. What is stored of a record stays as the API sent it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

Record = dict[str, Any]

HASH_BYTES = 6
"""Of each of the two hashes of a fingerprint. Two records are taken for one only where both agree."""

HASH_CHARACTERS = HASH_BYTES * 8 // 6
"""Of one hash in base64."""

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
    # Hardly any record holds a link with a query, and looking for these two costs next to nothing.
    if b"://" not in line or b"?" not in line:
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


class Fingerprinter:
    """Makes the fingerprints of one poll's records: two hashes each, one of the identity and one of the content.

    A record without a usable key is told apart by its content, and by how many equal ones came before it.

    :param salt: makes the fingerprints of one cursor useless for another.
    :param key: names of the fields that tell two records apart; empty where nothing does.
    :param compared: returns the bytes that equal records share.
    """

    def __init__(
        self, salt: str, key: tuple[str, ...], compared: Callable[[Mapping[str, Any]], bytes] | None = None
    ) -> None:
        self._salt = salt.encode()
        self._key = key
        self._compared = compared or _compared
        self._equal: Counter[str] = Counter()

    def fingerprint(self, record: Mapping[str, Any]) -> tuple[str, str]:
        """Return the hashes of a record's identity and of its content."""
        content = self._hash(self._compared(record))
        if key := key_of(record, self._key):
            return self._hash(canonical(key)), content
        self._equal[content] += 1
        return self._hash(f"{content}{self._equal[content]}".encode()), content

    def _hash(self, content: bytes) -> str:
        digest = hashlib.blake2b(content, digest_size=HASH_BYTES, key=self._salt).digest()
        return base64.urlsafe_b64encode(digest).decode()


class ComparedCache:
    """The bytes that are compared of the records of a page, made once for all who take fingerprints of them."""

    def __init__(self) -> None:
        self._known: dict[int, bytes] = {}

    def __call__(self, record: Mapping[str, Any]) -> bytes:
        """Return the bytes of a record, which must live until :meth:`clear`."""
        known = self._known.get(id(record))
        if known is None:
            known = self._known[id(record)] = _compared(record)
        return known

    def clear(self) -> None:
        """Drop the records of the page."""
        self._known.clear()


def key_of(record: Mapping[str, Any], names: tuple[str, ...]) -> list[Any]:
    """Return the values that identify a record; none where its list has no key, or the record lacks it."""
    values = [record.get(name) for name in names]
    return values if all(map(_is_usable, values)) else []


def pack(fingerprints: Mapping[str, str]) -> str:
    """Return fingerprints as one text, ordered so that equal fingerprints make equal text."""
    return "".join(f"{identity}{content}" for identity, content in sorted(fingerprints.items()))


def unpack(text: str) -> dict[str, str]:
    """Return the fingerprints that :func:`pack` wrote.

    :raises ValueError: the text is not one of them.
    """
    size = 2 * HASH_CHARACTERS
    if len(text) % size or not re.fullmatch(r"[A-Za-z0-9_-]*", text):
        raise ValueError("fingerprints that cannot be read")
    pairs = (text[place : place + size] for place in range(0, len(text), size))
    return {each[:HASH_CHARACTERS]: each[HASH_CHARACTERS:] for each in pairs}


def _is_usable(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool) and value != ""


def _compared(record: Mapping[str, Any]) -> bytes:
    return comparable(canonical(record))


def _without_link_queries(value: Any) -> Any:
    if isinstance(value, str):
        return value.partition("?")[0] if value.startswith(("https://", "http://")) else value
    if isinstance(value, dict):
        return {name: _without_link_queries(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_link_queries(each) for each in value]
    return value
