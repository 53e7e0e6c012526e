"""Where staged pages are kept: a folder of this machine, readable by its owner only, or an object store.

Both offer the same few operations. The folder is guarded by a lock of the operating system, which ends with the
process that holds it; an object store has none, so there a time written at each checkpoint has to do.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from airflow_provider_drchrono.client.errors import DrChronoError

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

_LOCK = ".lock"


class StagingError(DrChronoError):
    """The staging folder cannot be used. The message is one line."""

    transient = True


class StagingFolder(Protocol):
    """The files of one sync."""

    locks: bool
    """Whether :meth:`acquire` keeps other processes away by itself."""

    def acquire(self) -> bool:
        """Take the folder for this process; false if another one has it."""

    def release(self) -> None:
        """Leave the folder to others."""

    def write(self, name: str, content: bytes, *, durable: bool) -> None:
        """Write a file so that it is there whole or not at all.

        :param durable: return only when the content would survive a loss of power. Until then, a part of the file may
            be there.
        """

    def read(self, name: str) -> bytes | None:
        """Return a file's content, or None where there is no such file."""

    def clear(self) -> None:
        """Remove all files."""

    def siblings(self) -> Iterator[StagingFolder]:
        """Go through the folders of other syncs under the same root."""


class LocalFolder:
    """A folder on this machine."""

    locks = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def __str__(self) -> str:
        return str(self.path)

    def acquire(self) -> bool:
        with self._explained():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
            lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write(self, name: str, content: bytes, *, durable: bool) -> None:
        path = self.path / name
        # What a checkpoint names once it is written need not appear at once: that would be one more change of the disk.
        written = path if durable else self.path / f"{name}.unfinished"
        with self._explained():
            descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(descriptor)
            if not durable:
                written.replace(path)

    def read(self, name: str) -> bytes | None:
        with self._explained():
            try:
                return (self.path / name).read_bytes()
            except FileNotFoundError:
                return None

    def clear(self) -> None:
        # The lock file stays: another process may be waiting on it, and a new file would be a second lock.
        with self._explained():
            for path in self.path.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name != _LOCK:
                    path.unlink(missing_ok=True)

    def siblings(self) -> Iterator[StagingFolder]:
        for path in sorted(self.path.parent.iterdir()):
            if path != self.path and (path / _LOCK).exists():
                yield LocalFolder(path)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StagingError(
                f"The staging folder {self.path} cannot be used: {error.strerror}; see that the worker may write there "
                f"and that there is room, or name another one with staging_path"
            ) from None


class ObjectFolder:
    """A prefix in an object store."""

    locks = False

    def __init__(self, path: ObjectStoragePath) -> None:
        self.path = path
        self._files = path.fs

    def __str__(self) -> str:
        return str(self.path)

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        """Do nothing: nothing was taken."""

    def write(self, name: str, content: bytes, *, durable: bool) -> None:
        self._files.pipe_file(self._at(name), content)

    def read(self, name: str) -> bytes | None:
        try:
            content: bytes = self._files.cat_file(self._at(name))
        except FileNotFoundError:
            return None
        return content

    def clear(self) -> None:
        if self._files.exists(self.path.path):
            self._files.rm(self.path.path, recursive=True)

    def siblings(self) -> Iterator[StagingFolder]:
        root = self.path.parent
        try:
            entries = self._files.ls(root.path, detail=False)
        except FileNotFoundError:
            return
        for entry in entries:
            sibling = root / entry.rstrip("/").rpartition("/")[2]
            if sibling != self.path:
                yield ObjectFolder(sibling)

    def _at(self, name: str) -> str:
        return str((self.path / name).path)


def staging_folder(root: str, name: str) -> StagingFolder:
    """Return the folder of one sync.

    :param root: a path of this machine, or a URL that ``ObjectStoragePath`` takes, with a connection id if need be.
    :raises StagingError: nothing that is installed can reach it.
    """
    from airflow.sdk import ObjectStoragePath

    if "://" not in root:
        return LocalFolder(Path(root).expanduser().absolute() / name)
    try:
        path = ObjectStoragePath(root) / name
        return LocalFolder(Path(path.path)) if path.protocol == "file" else ObjectFolder(path)
    except ValueError:
        scheme = root.partition("://")[0]
        raise StagingError(
            f"staging_path begins with {scheme}://, which nothing that is installed can reach; install the Airflow "
            f"provider of that object store, or name a folder of the worker"
        ) from None
