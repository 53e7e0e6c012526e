"""Where cursors are kept, as far as those who use them need to know."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from airflow_provider_drchrono.incremental.cursor import CursorName


class CursorStore(Protocol):
    """Keeps one text for each cursor."""

    def load(self, name: CursorName) -> str | None:
        """Return what is stored, or None where there is nothing; an exception means that it is not known."""

    def save(self, name: CursorName, text: str) -> None:
        """Store a text; an exception means that it may or may not have been stored."""

    def lease(self, name: CursorName) -> AbstractContextManager[None]:
        """Hold, in the block, the exclusive right to save a cursor."""


class MemoryCursorStore:
    """Keeps cursors for the life of the process, for tests and notebooks."""

    def __init__(self) -> None:
        self.texts: dict[CursorName, str] = {}
        self._lock = threading.RLock()

    def load(self, name: CursorName) -> str | None:
        """Return what is stored."""
        return self.texts.get(name)

    def save(self, name: CursorName, text: str) -> None:
        """Store a text."""
        self.texts[name] = text

    @contextmanager
    def lease(self, name: CursorName) -> Iterator[None]:
        """Hold the right to save."""
        with self._lock:
            yield
