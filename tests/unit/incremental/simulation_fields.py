"""A practice-month in which only some fields are watched, and people write into others as well."""

from collections import Counter
from typing import Any

from airflow_provider_drchrono.incremental.cursor import Cursor
from airflow_provider_drchrono.incremental.detection import ChangeDetector, Position
from airflow_provider_drchrono.incremental.lists import IncrementalList
from airflow_provider_drchrono.incremental.watched_fields import CHANGE_FIELD, FieldComparison, WatchedFields
from tests.unit.incremental.simulation import HASH_KEY, Month, changing_fields
from tests.unit.incremental.simulation_watched import WatchedMonth


class FieldsMonth(Month):
    """A month of a sensor that watches a field of a list, and mostly a second one, into which nobody writes.

    :ivar writes: how often the watched field of a record was written since the sensor began.
    :ivar kinds: how often each kind of change was given.
    """

    def __init__(self, *given: Any) -> None:
        self.writes: Counter[Any] = Counter()
        self.unwatched_writes = 0
        self.kinds: Counter[str] = Counter()
        super().__init__(*given)

    def times_given(self) -> Counter[Any]:
        """Return how many runs a record was given to."""
        return Counter(key for pairs in self.given.values() for key in {key for key, _ in pairs})

    def _change(self) -> dict[str, Any]:
        watched, _, *others = changing_fields(self.kind.resource)
        return super()._change() | {"watch_fields": sorted([watched, *others[:1]])}

    def _detector(self, incremental_list: IncrementalList, cursor: Cursor, position: Position) -> ChangeDetector:
        watched = WatchedFields(tuple(self._change()["watch_fields"]), HASH_KEY)
        fields = FieldComparison(watched, cursor.salt, cursor.memory)
        return ChangeDetector(incremental_list, cursor.salt, position, self.change, fields=fields)  # type: ignore[arg-type]

    def _check_again(self, first: list[tuple[Any, str]], again: list[tuple[Any, str]]) -> None:
        # A change that somebody made since may be one that no later run is given.
        assert {key for key, _ in again} == {key for key, _ in first}

    def _pairs(self, records: list[dict[str, Any]] | None) -> list[tuple[Any, str]] | None:
        for record in records or ():
            change = record[CHANGE_FIELD]
            self.kinds[change["kind"]] += 1
            # Two changes of which one run reads the records are one.
            assert change["fields"] in ([self.field], [] if change["kind"] != "updated" else [self.field])
        return super()._pairs(records)

    def _write(self) -> None:
        old = [key for key in self.born_at if self._shows_changes(key)]
        if old and self.chance.random() < 0.5:
            self.version += 1
            self.unwatched_writes += 1
            values = {changing_fields(self.kind.resource)[1]: f"version {self.version}"}
            with self.app.lock:
                self.app.practice.change(self.kind.resource, self.chance.choice(old[-8:]), values)
            return
        before = dict(self.latest)
        super()._write()
        for key, version in self.latest.items():
            self.writes[key] += before.get(key) != version


class FieldsAssetMonth(FieldsMonth, WatchedMonth):
    """The same for an asset that is watched."""
