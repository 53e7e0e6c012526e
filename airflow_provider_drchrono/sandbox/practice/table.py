"""One kind of record: kept in order of id, rendered once, and listed in a time that depends on the page alone."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from airflow_provider_drchrono.catalog import RecordSchema
from airflow_provider_drchrono.sandbox.files import FileLinks
from airflow_provider_drchrono.sandbox.sandbox_options import Spelling
from airflow_provider_drchrono.sandbox.wire import encode

Row = dict[str, Any]
Key = int | str
Elaborate = Callable[[Row], Row]
Make = Callable[[int], Row]
Write = Callable[[int], bytes]

REMEMBERED = 16
"""Answers to filters that a table keeps until it changes: enough for the lists a test reads at once."""

HIDDEN_CHANGE = "_changed"
"""Holds the change time of records that do not show one."""


class Table:
    """The records of one resource.

    A row holds plain fields as they go over the wire. Verbose fields are worked out when they are asked for, unless a
    write has put them into the row. Names that begin with an underscore never leave the sandbox. A row
    holds the path of a file, and its views the link to it.

    :param key: name of the field that tells rows apart; None numbers them.
    :param changed_field: the field that ``since`` compares.
    :param first_key: the number of the first row.
    :ivar zone: the practice's, in which rows hold times that views show in UTC with a Z; None where they show as held.
    """

    def __init__(
        self,
        name: str,
        record: RecordSchema | None,
        *,
        key: str | None = "id",
        changed_field: str | None = None,
        first_key: int = 1,
    ) -> None:
        self.name = name
        self.record = record
        self.key = key
        self.changed_field = changed_field or HIDDEN_CHANGE
        self.origin = ""
        self.links: FileLinks | None = None
        self.spelling: Spelling = "T"
        self.zone: ZoneInfo | None = None
        self.elaborate: Elaborate | None = None
        self.version = 0
        self.next_key = first_key
        fields = record.fields if record else {}
        self.plain = tuple(name for name, field in fields.items() if not field.verbose)
        self.conditions = {name: field.returned_if for name, field in fields.items() if field.returned_if}
        held_back = {name for name, field in fields.items() if field.write_only} | set(self.conditions)
        self.shown = tuple(name for name in self.plain if name not in held_back)
        self.verbose = tuple(name for name, field in fields.items() if field.verbose and name not in held_back)
        self.features: frozenset[str] = frozenset()
        self.files = tuple(name for name, field in fields.items() if field.format == "file" and not field.verbose)
        self.moments = tuple(name for name, field in fields.items() if field.format == "date-time")
        self.rows: dict[Key, Row] = {}
        self.keys: Sequence[Key] = []
        self.unsettled: dict[Key, tuple[float, Row | None]] = {}
        self._named: dict[str, Key] = {}
        self._made: range = range(0)
        self._make: Make | None = None
        self._write: Write | None = None
        self._gone: set[Key] = set()
        self._encoded: dict[Key, bytes] = {}
        self._period = 0
        self._matches: dict[Any, Sequence[Any]] = {}

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Row]:
        return (self[key] for key in self.keys)

    def __contains__(self, key: Key) -> bool:
        return key in self.rows or (key in self._made and key not in self._gone)

    def __getitem__(self, key: Key) -> Row:
        row = self.rows.get(key)
        if row is None:
            if self._make is None or key not in self:
                raise KeyError(key)
            row = self._make(int(key))
        return row

    def find(self, identifier: Any) -> Key | None:
        """Return the key that a path or a reference means, or None when there is no such row."""
        key: Key | None = identifier
        if isinstance(identifier, str) and identifier in self._named:
            return self._named[identifier]
        if isinstance(identifier, str) and identifier.isascii() and identifier.isdigit() and len(identifier) < 19:
            key = identifier if identifier in self.rows else int(identifier)
        return key if isinstance(key, (int, str)) and key in self else None

    def take_key(self) -> int:
        """Return a number that no row has had."""
        key = self.next_key
        self.next_key += 1
        return key

    def make_many(self, count: int, make: Make, write: Write | None = None) -> None:
        """Add rows that are made anew whenever they are read; they cost no memory.

        :param make: returns the row of a number; must return the same for the same number.
        :param write: returns the plain view of that row as JSON, when there is a quicker way to it.
        """
        self._made = range(self.next_key, self.next_key + count)
        self._make = make
        self._write = write
        self.next_key += count
        self.keys = self._made if not self.keys else [*self.keys, *self._made]
        self._forget()

    def fill(self, rows: dict[Key, Row]) -> None:
        """Add many new rows at once."""
        self.rows.update(rows)
        for key, row in rows.items():
            self._name(key, row)
        self.keys = sorted([*self.keys, *rows])
        self._forget()

    def put(self, key: Key, row: Row) -> None:
        """Add a row or put it in the place of the one with the same key."""
        if key not in self:
            keys = self.keys if isinstance(self.keys, list) else list(self.keys)
            insort(keys, key)
            self.keys = keys
        self.rows[key] = row
        self._name(key, row)
        self._forget(key)

    def remove(self, key: Key) -> Row:
        """Take a row out and return it."""
        row = self[key]
        keys = self.keys if isinstance(self.keys, list) else list(self.keys)
        del keys[bisect_left(keys, key)]
        self.keys = keys
        self.rows.pop(key, None)
        self._named.pop(str(row.get("id")), None)
        self._gone.add(key)
        self.unsettled.pop(key, None)
        self._forget(key)
        return row

    def delay(self, key: Key, visible_at: float, before: Row | None) -> None:
        """Let lists go on showing ``before`` until a moment, in epoch seconds."""
        earlier = self.unsettled.get(key)
        self.unsettled[key] = (visible_at, earlier[1] if earlier else before)
        self._matches.clear()

    def settle(self, now: float) -> None:
        """Let the writes whose time has come show up in lists."""
        ripe = [key for key, (visible_at, _) in self.unsettled.items() if visible_at <= now]
        for key in ripe:
            del self.unsettled[key]
        if ripe:
            self._forget()

    def listed(self, key: Key) -> Row | None:
        """Return the row as lists show it, or None when they do not show it yet."""
        held = self.unsettled.get(key)
        return self[key] if held is None else held[1]

    def matching(self, token: Any, keep: Callable[[Row], bool] | None, order: str) -> Sequence[Any]:
        """Return, in order, the rows that a filter keeps: their keys, or pairs of a number for change time and key.

        :param token: stands for the filter; equal tokens are answered from memory while the table stays the same.
        :param order: ``id``, ``updated_at`` or ``-updated_at``, or a field that holds a time.
        """
        by_id = order == "id"
        field = self.changed_field if order in ("updated_at", "-updated_at") else order
        sign = -1 if order.startswith("-") else 1
        if keep is None and by_id and not self.unsettled:
            return self.keys
        remembered = self._matches.get((token, order))
        if remembered is None:
            remembered = self._match(keep, 0 if by_id else sign, field)
            while len(self._matches) >= REMEMBERED:
                self._matches.pop(next(iter(self._matches)))
            self._matches[token, order] = remembered
        return remembered

    def view(self, row: Row, *, verbose: bool = False, met: Collection[str] = ()) -> Row:
        """Return what a request is answered for a row.

        :param met: conditions that the request meets, as ``returned_if`` of the catalogue's fields names them.
        """
        if self.record is None:
            return {name: value for name, value in row.items() if not name.startswith("_")}
        names = [*self.shown, *(self.verbose if verbose else ())]
        if self.conditions:
            names += self._conditional(verbose, met)
        worked_out = self.elaborate(row) if verbose and self.elaborate and any(n not in row for n in names) else {}
        shown = {name: row.get(name, worked_out.get(name)) for name in names}
        for name in self.files:
            if shown[name]:
                path = str(shown[name])
                shown[name] = f"{self.origin}{self.links.signed(path) if self.links else path}"
        if self.zone is not None:
            shown |= {name: _in_utc(str(shown[name]), self.zone) for name in self.moments if shown.get(name)}
        elif self.spelling != "T":
            self._respell(shown)
        return shown

    def serve_at(self, origin: str) -> None:
        """Let links to files begin with this scheme, host and port."""
        self.origin = origin
        self._encoded.clear()

    def encoded(self, key: Key) -> bytes:
        """Return the plain view of a listed row as JSON; worked out once."""
        if self.files and self.links and self.links.period() != self._period:
            self._encoded.clear()
            self._period = self.links.period()
        if key in self.unsettled:
            return encode(self.view(self.listed(key) or {}))
        known = self._encoded.get(key)
        if known is None and self._write is not None and key not in self.rows and key in self:
            return self._write(int(key))
        if known is None:
            known = encode(self.view(self[key]))
            if key in self.rows:
                self._encoded[key] = known
        return known

    def _name(self, key: Key, row: Row) -> None:
        """Remember a row that goes by another name than its number."""
        name = row.get("id")
        if isinstance(name, str) and not name.isdigit():
            self._named[name] = key

    def _conditional(self, verbose: bool, met: Collection[str]) -> list[str]:
        """Return the fields whose condition a request meets, or the feature switched on for the practice."""
        fields = self.record.fields if self.record else {}
        return [
            name
            for name, condition in self.conditions.items()
            if (verbose or not fields[name].verbose)
            and (name in self.features if condition == "feature" else condition in met)
        ]

    def _match(self, keep: Callable[[Row], bool] | None, sign: int, field: str) -> Sequence[Any]:
        rows = ((key, self.listed(key)) for key in self.keys)
        kept = ((key, row) for key, row in rows if row is not None and (keep is None or keep(row)))
        if not sign:
            return [key for key, _ in kept]
        return sorted((sign * _as_number(row.get(field)), key) for key, row in kept)

    def _respell(self, shown: Row) -> None:
        for name in self.moments:
            if shown.get(name):
                shown[name] = respell(shown[name], self.spelling)

    def _forget(self, key: Key | None = None) -> None:
        self.version += 1
        self._matches.clear()
        if key is None:
            self._encoded.clear()
        else:
            self._encoded.pop(key, None)


def _in_utc(moment: str, zone: ZoneInfo) -> str:
    local = datetime.fromisoformat(moment).replace(tzinfo=zone)
    return local.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _as_number(moment: Any) -> int:
    """Return a timestamp as a number that sorts like it."""
    return int("".join(filter(str.isdigit, str(moment or "")))[:14] or 0)


def respell(moment: str, spelling: Spelling) -> str:
    """Return a timestamp in one of the vendor's spellings; ``mixed`` picks one by the moment itself."""
    if spelling == "mixed":
        spelling = ("T", "space", "micro")[hashlib.md5(moment.encode(), usedforsecurity=False).digest()[0] % 3]
    if spelling == "space":
        return moment.replace("T", " ")
    return f"{moment}.000000" if spelling == "micro" and "." not in moment else moment
