"""Tells which of a few watched fields a change is about. Values are compared by hashes and never kept.

A single field, such as a status, has so few values that anybody could find the one behind a hash by trying. So the
hashes are made with a key that is not stored beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow_provider_drchrono.incremental.canonical import canonical, comparable
from airflow_provider_drchrono.incremental.hashes import hashed, unpack

if TYPE_CHECKING:
    from airflow_provider_drchrono.client.paging import Record

CHANGE_FIELD = "_drchrono_change"
"""Where a record says what has changed: ``{"kind": "updated", "fields": ["status"]}``."""

MOST_WATCHED = 12
"""Fields that one sensor or asset may watch."""

MOST_REMEMBERED = 20_000
"""Records whose watched fields are known. Of more, those that have not changed for longest are forgotten."""

VALUE_BYTES = 3
"""Of the hash of one value. Of sixteen million changes, one is taken for none."""

_HASH = VALUE_BYTES * 8 // 6
_MARK = 4

ChangeKind = Literal["created", "updated", "first_seen"]
"""``first_seen``: the record is older than what is known of it, so nobody can say what has changed."""

_KINDS: tuple[ChangeKind, ...] = get_args(ChangeKind)


@dataclass(frozen=True, slots=True)
class FieldChange:
    """What has changed in one record.

    :param fields: those of the watched fields that have another value now; none where that is not known.
    """

    kind: ChangeKind
    fields: tuple[str, ...] = ()

    def added_to(self, record: Record) -> Record:
        """Return the record with what has changed in it."""
        return {**record, CHANGE_FIELD: {"kind": self.kind, "fields": list(self.fields)}}

    def followed_by(self, later: FieldChange) -> FieldChange:
        """Return two changes of one record as one."""
        fields = self.fields + tuple(name for name in later.fields if name not in self.fields)
        return FieldChange(self.kind if self.kind != "updated" else later.kind, fields)


@dataclass(frozen=True, slots=True)
class WatchedFields:
    """The fields of a list whose changes count.

    :param names: of the fields.
    :param key: makes hashes of the values useless to whoever has not got it.
    """

    names: tuple[str, ...]
    key: bytes = field(repr=False)

    def hashes(self, salt: str, record: Mapping[str, Any]) -> str:
        """Return the hashes of the watched values of a record, one after the other."""
        return "".join(self._hash(salt, name, record.get(name)) for name in self.names)

    def check(self, salt: str) -> str:
        """Return what is equal only if the key is the same."""
        return self._hash(salt, "", None)

    def _hash(self, salt: str, name: str, value: Any) -> str:
        return hashed(f"{salt} {name} ".encode() + comparable(canonical(value)), self.key, VALUE_BYTES)


@dataclass(frozen=True, slots=True)
class FieldMemory:
    """What is known of the watched fields of records.

    :param check: of the key by which the hashes were made.
    :param records: the hashes by the records' identities; the one that has not changed for longest comes first.
    """

    names: tuple[str, ...]
    check: str
    records: Mapping[str, str] = field(default_factory=dict, repr=False)

    def serves(self, watched: WatchedFields, salt: str) -> bool:
        """Tell whether the hashes are of these fields, and made by the present key."""
        return self.names == watched.names and self.check == watched.check(salt)

    def dump(self) -> list[str]:
        """Return what is stored."""
        return [",".join(self.names), self.check, "".join(f"{key}{hashes}" for key, hashes in self.records.items())]

    @classmethod
    def read(cls, state: Any) -> FieldMemory:
        """Return what :meth:`dump` wrote.

        :raises ValueError: it is something else.
        """
        names, check, packed = map(str, state)
        fields = tuple(names.split(","))
        return cls(fields, check, unpack(packed, _HASH * len(fields)))


@dataclass(frozen=True, slots=True)
class WindowChanges:
    """What had changed in the records of a window, for whoever reads it again.

    :param changes: by the records' identities.
    """

    names: tuple[str, ...]
    changes: Mapping[str, FieldChange] = field(repr=False)

    def followed_by(self, later: WindowChanges) -> WindowChanges:
        """Return the changes of two windows, of which one follows the other, as those of one."""
        changes = dict(self.changes)
        for identity, change in later.changes.items():
            changes[identity] = changes[identity].followed_by(change) if identity in changes else change
        return replace(self, changes=changes)

    def dump(self) -> str:
        """Return what is stored."""
        marks = (f"{identity}{self._mark(change):0{_MARK}x}" for identity, change in self.changes.items())
        return f"{','.join(self.names)}:{''.join(marks)}"

    @classmethod
    def read(cls, text: str) -> WindowChanges:
        """Return what :meth:`dump` wrote.

        :raises ValueError: it is something else.
        """
        names, packed = text.split(":")
        fields = tuple(names.split(","))
        marks = {identity: int(mark, 16) for identity, mark in unpack(packed, _MARK).items()}
        if any(mark % 4 >= len(_KINDS) or mark >= 4 << len(fields) for mark in marks.values()):
            raise ValueError("a change that cannot be read")
        changes = {
            identity: FieldChange(
                _KINDS[mark % 4], tuple(name for place, name in enumerate(fields) if mark >> place + 2 & 1)
            )
            for identity, mark in marks.items()
        }
        return cls(fields, changes)

    def _mark(self, change: FieldChange) -> int:
        return _KINDS.index(change.kind) + sum(4 << self.names.index(name) for name in change.fields)


class FieldComparison:
    """Compares the watched fields of one poll's records with what is known of them.

    :param memory: what is known; one of other fields, or of another key, does not serve.
    """

    def __init__(self, watched: WatchedFields, salt: str, memory: FieldMemory | None) -> None:
        self._watched = watched
        self._salt = salt
        self._known: Mapping[str, str] = memory.records if memory and memory.serves(watched, salt) else {}
        self._met: dict[str, str] = {}
        self._changes: dict[str, FieldChange] = {}

    def note(self, record: Record, identity: str) -> None:
        """Note the present values of a record that has not changed."""
        if identity not in self._known:
            self._met[identity] = self._watched.hashes(self._salt, record)

    def change_of(self, record: Record, identity: str, *, is_created: bool) -> FieldChange | None:
        """Note the present values of a record that has changed, and return what has; None if no watched field has.

        :param is_created: whether it was created since the last poll, as far as times tell.
        """
        before = self._known.get(identity)
        now = self._met[identity] = self._watched.hashes(self._salt, record)
        if before is None:
            return FieldChange("created" if is_created else "first_seen")
        places = range(0, len(now), _HASH)
        names = zip(self._watched.names, places, strict=True)
        fields = tuple(name for name, at in names if now[at : at + _HASH] != before[at : at + _HASH])
        return FieldChange("updated", fields) if fields else None

    def give(self, identity: str, change: FieldChange) -> None:
        """Note that a change was given to the run."""
        self._changes[identity] = change

    @property
    def changes(self) -> WindowChanges:
        """What was given to the run."""
        return WindowChanges(self._watched.names, self._changes)

    @property
    def memory(self) -> FieldMemory:
        """What is known after the poll."""
        records = {key: hashes for key, hashes in self._known.items() if key not in self._met} | self._met
        kept = list(records.items())[-MOST_REMEMBERED:]
        return FieldMemory(self._watched.names, self._watched.check(self._salt), dict(kept))
