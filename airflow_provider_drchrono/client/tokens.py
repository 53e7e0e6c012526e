"""Where the OAuth token is kept between calls, and who may renew it.

Each renewal ends the refresh token that it was made with, so the token has to be kept somewhere that outlives the
process, and only one process may renew it at a time. A :class:`TokenStore` answers for both.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

from airflow_provider_drchrono.client.errors import ConfigurationError


def grant_id_of(refresh_token: str | None) -> str:
    """Return a short fingerprint of the refresh token with which a grant began; it does not unmask the token."""
    return hashlib.sha256(refresh_token.encode()).hexdigest()[:12] if refresh_token else ""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and what is needed to renew it.

    :param access_token: what is sent with each call.
    :param refresh_token: what the next renewal is made with; each renewal brings a new one.
    :param expires_at: when the access token runs out, in epoch seconds on this machine's clock.
    :param scope: the scopes that the token was granted, empty if the API did not say.
    :param grant_id: :func:`grant_id_of` the refresh token that a person entered and that this token descends from. When
        another one is entered, the grant ids differ and the stored token is not used.
    :param issued_at: when the token was received, in epoch seconds; 0 if that is not known.
    """

    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_at: float = 0.0
    scope: tuple[str, ...] = ()
    grant_id: str = ""
    issued_at: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the token as plain JSON values. They hold secrets."""
        return asdict(self) | {"scope": list(self.scope)}

    @classmethod
    def from_dict(cls, values: Any) -> Token:
        """Return the token that :meth:`to_dict` gave; keys of later versions are left out.

        :raises ValueError: it is something else, or the access token is missing.
        """
        known = {each.name for each in fields(cls)}
        rest = {name: values[name] for name in values if name in known} if isinstance(values, dict) else {}
        if not rest.get("access_token"):
            raise ValueError("There is no access token in the stored values")
        return cls(**rest | {"scope": tuple(rest.get("scope") or ())})


class TokenStore(Protocol):
    """Keeps one token for all processes that share it.

    The asynchronous client calls it in a worker thread, and may enter and leave a lease there too.
    """

    def load(self) -> Token | None:
        """Return the newest token, or None before the first one was saved."""

    def save(self, token: Token) -> None:
        """Keep the token so that it outlives a crash of this process the moment after."""

    def lease(self) -> AbstractContextManager[Any]:
        """Hold the exclusive right to renew the token for the length of the ``with`` block."""


class MemoryTokenStore:
    """Keeps the token as long as the process lives. A renewed token dies with it.

    :param token: a token to begin with.
    """

    def __init__(self, token: Token | None = None) -> None:
        self._token = token
        self._lock = threading.Lock()

    def load(self) -> Token | None:
        """Return the token last saved."""
        return self._token

    def save(self, token: Token) -> None:
        """Keep the token."""
        self._token = token

    def lease(self) -> AbstractContextManager[Any]:
        """Keep the other threads from renewing."""
        return self._lock


class FileTokenStore:
    """Keeps the token in a file that only its owner can read, shared by the processes of one machine.

    :param path: the file; made when the first token is saved. Beside it lies an empty ``.lock`` file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser()

    def load(self) -> Token | None:
        """Return the token in the file, or None where there is no file.

        :raises ConfigurationError: the file holds something else, or others may read it.
        """
        try:
            with self.path.open(encoding="utf-8") as file:
                mode = os.fstat(file.fileno()).st_mode
                text = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigurationError(f"The token file {self.path} cannot be read: {error.strerror}") from None
        if mode & 0o077:
            raise ConfigurationError(
                f"The token file {self.path} can be read by other users; run: chmod 600 {self.path}"
            )
        try:
            return Token.from_dict(json.loads(text))
        except (ValueError, TypeError):
            pass
        raise ConfigurationError(f"The token file {self.path} holds no token; delete it and give a new refresh token")

    def save(self, token: Token) -> None:
        """Replace the file in one step, so that a crash leaves the old token or the new one.

        :raises ConfigurationError: the file cannot be written.
        """
        name = None
        try:
            # mkstemp makes the file 0600 from the start.
            handle, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(token.to_dict(), file)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except OSError as error:
            if name:
                Path(name).unlink(missing_ok=True)
            raise ConfigurationError(
                f"The renewed token cannot be written to {self.path}: {error.strerror}; the old one is used up, "
                f"so make the folder writable and authorize the application again"
            ) from None

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Lock the ``.lock`` file; a process that dies sets it free.

        :raises ConfigurationError: the folder cannot be written, found out before a refresh token is spent.
        """
        lock = self.path.with_name(f"{self.path.name}.lock")
        try:
            handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"The lock {lock} of the token file cannot be opened: {error.strerror}; make its folder writable"
            ) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
