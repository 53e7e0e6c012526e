"""Where the state of a quota lies: in this process, in a file of this host, or in Redis.

Each of them hands the state to one caller at a time and keeps what it made of it, whole or not at all, so that a
process that is killed leaves neither a lock nor half a state behind.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast
from urllib.parse import urlsplit, urlunsplit

from airflow_provider_drchrono.client.errors import ConfigurationError, DrChronoError
from airflow_provider_drchrono.client.quota.state import QuotaState
from airflow_provider_drchrono.client.settings import ClientSettings

T = TypeVar("T")

REDIS_SCHEMES = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss"}

REDIS_TIMEOUT = 5.0
"""Seconds to wait for Redis; it is asked twice for each call of the API."""

KEEP = 7200
"""Seconds after which Redis forgets a state that nobody has touched: the next hour has begun."""


class QuotaStorageError(DrChronoError):
    """The shared count of the calls cannot be reached."""

    transient = True


class QuotaStore(Protocol):
    """Keeps the state of one application."""

    def update(self, change: Callable[[QuotaState, float], T]) -> T:
        """Hand out the state and the time, and keep the state as it is afterwards.

        :param change: called with the state and the epoch seconds of the clock that all users of the state share;
            called again if somebody else was quicker.
        :return: what ``change`` returned.
        """


def quota_key(client_id: str) -> str:
    """Return the name of an application's state; the client id cannot be read from it."""
    return hashlib.sha256(client_id.encode()).hexdigest()[:12]


class MemoryQuotaStore:
    """A state of this process, shared by its threads."""

    def __init__(self) -> None:
        self._book = QuotaState()
        self._lock = threading.Lock()

    def update(self, change: Callable[[QuotaState, float], T]) -> T:
        """Hand out the state to one thread at a time."""
        with self._lock:
            return change(self._book, time.time())


class FileQuotaStore:
    """A state in a file, shared by the processes of one host.

    :param folder: where to keep it; made if it is not there, for nobody else to look into.
    :param name: name of the application's state.
    :raises QuotaStorageError: the folder cannot be written.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.json"
        self._lock = folder / f"{name}.lock"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror
        else:
            self.update(lambda state, now: None)
            return
        raise QuotaStorageError(f"The folder {folder} for the count of the calls cannot be made: {reason}")

    def update(self, change: Callable[[QuotaState, float], T]) -> T:
        """Hand out the state while the lock of its file is held; the system lifts the lock of a dead process.

        :raises QuotaStorageError: it cannot be read or written.
        """
        try:
            handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                state = self._read()
                result = change(state, time.time())
                self._write(state)
                return result
            finally:
                os.close(handle)
        except OSError as error:
            reason = error.strerror
        raise QuotaStorageError(
            f"The count of the calls in {self.path} cannot be kept: {reason}; make the folder writable"
        )

    def _read(self) -> QuotaState:
        try:
            return _book_of(self.path.read_bytes())
        except FileNotFoundError:
            return QuotaState()

    def _write(self, state: QuotaState) -> None:
        # Not flushed to the disk: a count that a power failure takes along is made good by the next 429.
        handle, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(state.to_dict(), file)
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


class RedisQuotaStore:
    """A state in Redis or Valkey, shared by all hosts that reach it; the time is that of its server.

    :param url: such as ``redis://cache.example:6379/0``; ``rediss`` and ``valkey`` are known too.
    :param name: name of the application's state.
    :param password: password of the server.
    :raises ConfigurationError: the URL cannot be used, or the library is not installed.
    """

    def __init__(self, url: str, name: str, password: str | None = None) -> None:
        try:
            import redis
        except ImportError:
            raise ConfigurationError(
                "A quota in Redis or Valkey needs a library; run: pip install 'airflow-provider-drchrono[redis]'"
            ) from None
        self._errors = (redis.RedisError, OSError)
        self._conflict = redis.WatchError
        self._key = f"drchrono:quota:{name}"
        try:
            parts = urlsplit(url)
            self._place = f"{parts.hostname}:{parts.port or 6379}"
            self._redis: Any = redis.Redis.from_url(
                urlunsplit(parts._replace(scheme=REDIS_SCHEMES[parts.scheme])),
                password=password,
                socket_timeout=REDIS_TIMEOUT,
                socket_connect_timeout=REDIS_TIMEOUT,
            )
        except (KeyError, ValueError):
            raise ConfigurationError(
                "The setting quota_storage cannot be used; give a URL such as redis://cache.example:6379/0"
            ) from None

    def update(self, change: Callable[[QuotaState, float], T]) -> T:
        """Hand out the state, and again if somebody else has changed it meanwhile.

        :raises QuotaStorageError: the server cannot be reached, or refuses.
        """
        try:
            with self._redis.pipeline() as pipe:
                while True:
                    try:
                        return self._attempt(pipe, change)
                    except self._conflict:
                        continue
        except self._errors as error:
            reason = type(error).__name__
        raise QuotaStorageError(
            f"The count of the calls in Redis at {self._place} cannot be reached ({reason}); see that it runs, or "
            f"take quota_storage off the connection"
        )

    def _attempt(self, pipe: Any, change: Callable[[QuotaState, float], T]) -> T:
        pipe.watch(self._key)
        raw = cast("bytes | None", pipe.get(self._key))
        seconds, micros = pipe.time()
        state = _book_of(raw) if raw else QuotaState()
        result = change(state, seconds + micros / 1e6)
        pipe.multi()
        pipe.set(self._key, json.dumps(state.to_dict()), ex=KEEP)
        pipe.execute()
        return result


def shared_quota_store(settings: ClientSettings) -> RedisQuotaStore | None:
    """Return the state that the settings say is shared, or None if they name no storage.

    :raises ConfigurationError: the library for it is not installed.
    """
    if settings.quota_storage is None:
        return None
    password = settings.quota_storage_password
    return RedisQuotaStore(
        settings.quota_storage, quota_key(settings.client_id), password.get_secret_value() if password else None
    )


def _book_of(raw: bytes) -> QuotaState:
    try:
        return QuotaState.from_dict(json.loads(raw))
    except ValueError:
        # Of another version, or cut off by a power failure; until the hour is over, 429 tells what is spent.
        return QuotaState()
