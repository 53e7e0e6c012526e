"""Short keyed hashes, and the one text in which many of them are stored, each behind the hash of whose it is."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping

HASH_BYTES = 6
"""Of each of the two hashes of a fingerprint. Two records are taken for one only where both agree."""

HASH_CHARACTERS = HASH_BYTES * 8 // 6
"""Of one hash in base64."""


def hashed(content: bytes, key: bytes, size: int = HASH_BYTES) -> str:
    """Return a hash that means nothing without its key, in base64 that needs no padding.

    :param size: bytes of the hash, a multiple of three.
    """
    return base64.urlsafe_b64encode(hashlib.blake2b(content, digest_size=size, key=key).digest()).decode()


def pack(fingerprints: Mapping[str, str]) -> str:
    """Return fingerprints as one text, ordered so that equal fingerprints make equal text."""
    return "".join(f"{identity}{content}" for identity, content in sorted(fingerprints.items()))


def unpack(text: str, size: int = HASH_CHARACTERS) -> dict[str, str]:
    """Return the texts that follow the identities in a packed text, in its order.

    :param size: characters of what follows an identity.
    :raises ValueError: the text is not packed like that.
    """
    whole = HASH_CHARACTERS + size
    if len(text) % whole or not re.fullmatch(r"[A-Za-z0-9_-]*", text):
        raise ValueError("fingerprints that cannot be read")
    pairs = (text[place : place + whole] for place in range(0, len(text), whole))
    return {each[:HASH_CHARACTERS]: each[HASH_CHARACTERS:] for each in pairs}
