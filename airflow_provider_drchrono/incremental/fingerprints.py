"""Recognises records that were seen before by salted hashes, so that no patient data has to be remembered."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

Record = dict[str, Any]

MARK_BYTES = 6
"""Of each of the two hashes. Two records are taken for one only where both agree."""

SPLIT = MARK_BYTES * 8 // 6
"""Characters of one hash in base64."""


class Fingerprinter:
    """Makes the marks of one reading's records.

    A record without a key is told apart by its content, and by how many equal ones came before it.

    :param salt: makes the marks of one cursor useless to whoever has another's.
    :param key: names of the fields that tell two records apart; empty where nothing does.
    :param canonical: returns the bytes that equal records share.
    """

    def __init__(
        self, salt: str, key: tuple[str, ...], canonical: Callable[[Mapping[str, Any]], bytes] | None = None
    ) -> None:
        self._salt = salt.encode()
        self._key = key
        self._canonical = canonical or _canonical
        self._equal: Counter[str] = Counter()

    def mark(self, record: Mapping[str, Any]) -> tuple[str, str]:
        """Return the marks of a record's identity and of its content."""
        content = self._hash(self._canonical(record))
        if self._key:
            return self._hash(_canonical([record.get(name) for name in self._key])), content
        self._equal[content] += 1
        return self._hash(f"{content}{self._equal[content]}".encode()), content

    def _hash(self, content: bytes) -> str:
        digest = hashlib.blake2b(content, digest_size=MARK_BYTES, key=self._salt).digest()
        return base64.urlsafe_b64encode(digest).decode()


class CanonicalCache:
    """The bytes of the records of a page, made once for all who mark them."""

    def __init__(self) -> None:
        self._known: dict[int, bytes] = {}

    def __call__(self, record: Mapping[str, Any]) -> bytes:
        """Return the bytes of a record, which must live until :meth:`clear`."""
        known = self._known.get(id(record))
        if known is None:
            known = self._known[id(record)] = _canonical(record)
        return known

    def clear(self) -> None:
        """Forget the records of the page."""
        self._known.clear()


def pack(seen: Mapping[str, str]) -> str:
    """Return marks as one text, ordered so that equal marks make equal text."""
    return "".join(f"{identity}{content}" for identity, content in sorted(seen.items()))


def unpack(text: str) -> dict[str, str]:
    """Return the marks that :func:`pack` wrote.

    :raises ValueError: the text is not one of them.
    """
    if len(text) % (2 * SPLIT) or not re.fullmatch(r"[A-Za-z0-9_-]*", text):
        raise ValueError("marks that cannot be read")
    pairs = (text[place : place + 2 * SPLIT] for place in range(0, len(text), 2 * SPLIT))
    return {each[:SPLIT]: each[SPLIT:] for each in pairs}


def _canonical(value: Any) -> bytes:
    return json.dumps(_without_signatures(value), sort_keys=True, separators=(",", ":"), default=str).encode()


def _without_signatures(value: Any) -> Any:
    """Return a value without the queries of links, which hold signatures that differ in every answer."""
    if isinstance(value, str):
        return value.partition("?")[0] if value.startswith(("https://", "http://")) else value
    if isinstance(value, Mapping):
        return {name: _without_signatures(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_signatures(each) for each in value]
    return value
