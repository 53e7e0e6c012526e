"""What was asked of the sandbox, in order, so that a test can say what was called and what was not."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_provider_drchrono.sandbox.wire import Json

KEPT = 100_000
"""Entries kept; a load test asks for a few thousand pages, so nothing of interest falls out."""


@dataclass(slots=True)
class Entry:
    """One request and what it was answered.

    :param body: decoded JSON or form fields of a write; uploaded files appear by name and size.
    :param notes: what the API silently passes over: unknown filters, unknown and read-only fields.
    """

    index: int
    at: datetime
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    operation_id: str | None = None
    resource: str | None = None
    client_id: str | None = None
    status: int = 0
    body: Json = None
    fault: str | None = None
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the entry for the admin interface."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "at"} | {"at": self.at.isoformat()}


class Journal:
    """The entries, oldest first."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self._next = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries))

    def __getitem__(self, index: int) -> Entry:
        return self._entries[index]

    def open(self, at: datetime, method: str, path: str, query: dict[str, str], headers: dict[str, str]) -> Entry:
        """Add an entry for a request that has just arrived."""
        entry = Entry(self._next, at, method, path, query, headers)
        self._next += 1
        self._entries.append(entry)
        return entry

    def calls(
        self,
        *,
        resource: str | None = None,
        operation_id: str | None = None,
        method: str | None = None,
        status: int | None = None,
        since_index: int = 0,
    ) -> list[Entry]:
        """Return the entries for operations of the API that match everything given; token requests are left out."""
        wanted = {"resource": resource, "operation_id": operation_id, "method": method, "status": status}
        return [
            entry
            for entry in self
            if entry.resource is not None
            and entry.index >= since_index
            and all(value is None or getattr(entry, name) == value for name, value in wanted.items())
        ]

    def clear(self) -> None:
        """Forget all entries; the numbering goes on."""
        self._entries.clear()
