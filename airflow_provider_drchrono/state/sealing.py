"""Seals secrets before they are handed to Airflow, so that they stand in no log line, export or dump of its own.

With its log level at DEBUG, Airflow writes down each variable that a task stores, and its masker knows only what the
writing process has met. The key is made of the application's client secret: whoever may renew a token has it, on
every host and in every kind of process, while Airflow's own Fernet key is not on every worker.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from airflow_provider_drchrono.client.errors import DrChronoError

NONCE = 12
"""Bytes, as AES-GCM wants them. With random ones a key is good for four thousand million values."""

KEY = 32
"""Bytes: AES-256, and the key of a hash."""


class SealError(DrChronoError, ValueError):
    """A value was sealed with another key, for another place, or is no sealed value at all."""


def hash_key(client_id: str, client_secret: str) -> bytes:
    """Return a key for hashes of values of which there are so few that a hash without a key would give them away.

    :param client_id: the application's client id.
    :param client_secret: its secret.
    """
    return _derived("hashes", client_id, client_secret)


class Seal:
    """Encrypts values with a key that the holders of an application's client secret share.

    :param client_id: the application's client id.
    :param client_secret: its secret.
    """

    def __init__(self, client_id: str, client_secret: str) -> None:
        self._cipher = AESGCM(_derived("tokens", client_id, client_secret))

    def close(self, value: Any, place: str) -> str:
        """Return a value of plain JSON as sealed text.

        :param place: where the text is kept; it can be opened there only.
        """
        nonce = os.urandom(NONCE)
        sealed = nonce + self._cipher.encrypt(nonce, json.dumps(value).encode(), place.encode())
        return base64.urlsafe_b64encode(sealed).decode()

    def open(self, text: str, place: str) -> Any:
        """Return the value that :meth:`close` sealed.

        :raises SealError: it was sealed with another client secret or for another place, was changed, or is something
            else. The error says nothing of the value.
        """
        try:
            sealed = base64.b64decode(text, altchars=b"-_", validate=True)
            return json.loads(self._cipher.decrypt(sealed[:NONCE], sealed[NONCE:], place.encode()))
        except (InvalidTag, binascii.Error, ValueError):
            pass
        # Raised out here, so that no earlier exception is carried along.
        raise SealError("The value cannot be opened")


def _derived(purpose: str, client_id: str, client_secret: str) -> bytes:
    """Return a key that serves one purpose only."""
    info = f"airflow-provider-drchrono {purpose} {client_id}".encode()
    return HKDF(SHA256(), KEY, salt=None, info=info).derive(client_secret.encode())
