"""What is known of watched fields, and what a change is said to be about."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.incremental.cursor import MOST_CHARACTERS, MOST_RUNS, Cursor, read_cursor
from airflow_provider_drchrono.incremental.detection import ChangeDetector, Position
from airflow_provider_drchrono.incremental.lists import IncrementalList
from airflow_provider_drchrono.incremental.watched_fields import (
    CHANGE_FIELD,
    FieldChange,
    FieldComparison,
    FieldMemory,
    WatchedFields,
    WindowChanges,
)

SALT = "0123456789abcdef"
WATCHED = WatchedFields(("status", "scheduled_time"), b"a key")
VISIT = {"id": 7, "status": "Confirmed", "scheduled_time": "2026-03-04T09:30:00", "notes": "none"}
BEGAN = datetime(2026, 3, 4, 9, tzinfo=UTC)
WHO = "AAAAAAA7"
WHO_ELSE = "AAAAAAA8"


def compared(memory: FieldMemory | None, record: dict[str, Any], watched: WatchedFields = WATCHED) -> Any:
    comparison = FieldComparison(watched, SALT, memory)
    change = comparison.change_of(record, WHO, is_created=False)
    return change, comparison.memory


def test_a_record_is_met_before_it_can_be_compared() -> None:
    change, memory = compared(None, VISIT)
    assert change == FieldChange("first_seen")

    assert compared(memory, VISIT | {"notes": "late"})[0] is None
    assert compared(memory, VISIT | {"status": "Arrived"})[0] == FieldChange("updated", ("status",))
    both = compared(memory, VISIT | {"status": "Arrived", "scheduled_time": None})[0]
    assert both == FieldChange("updated", ("status", "scheduled_time"))
    assert both.added_to(VISIT)[CHANGE_FIELD] == {"kind": "updated", "fields": ["status", "scheduled_time"]}


def test_a_run_from_before_fields_were_watched_is_given_again_what_it_was_given() -> None:
    """A cleared run is given no change that came after it: the later run, which was given that, would have it twice."""
    visits = IncrementalList.of(load(), "appointments")
    before = Position(BEGAN, datetime(2026, 3, 4, 9), datetime(2026, 3, 4, 9))
    met = [VISIT | {"id": number, "updated_at": "2026-03-04T09:59:30"} for number in (1, 2)]
    first = ChangeDetector(visits, SALT, before)
    assert len(list(first.new_records(met))) == 2
    after = first.position_after(BEGAN + timedelta(hours=1), timedelta(minutes=2), ("UTC",))

    later = met[1] | {"status": "Arrived", "updated_at": "2026-03-04T10:30:00"}
    comparison = FieldComparison(WATCHED, SALT, None)
    again = list(ChangeDetector(visits, SALT, before, again=after, fields=comparison).new_records([met[0], later]))
    assert [record["id"] for record in again] == [1]
    assert again[0][CHANGE_FIELD] == {"kind": "first_seen", "fields": []}


def test_a_missing_value_is_not_an_empty_one() -> None:
    _, memory = compared(None, VISIT | {"status": None})

    assert compared(memory, VISIT | {"status": ""})[0] == FieldChange("updated", ("status",))
    assert compared(memory, {"id": 7, "scheduled_time": VISIT["scheduled_time"]})[0] is None


def test_a_link_that_was_signed_anew_is_no_change() -> None:
    watched = WatchedFields(("document",), b"a key")
    _, memory = compared(None, {"document": "https://files.example.com/1.pdf?Signature=a"}, watched)

    assert compared(memory, {"document": "https://files.example.com/1.pdf?Signature=b"}, watched)[0] is None


def test_who_was_created_is_known_by_the_first_meeting_only() -> None:
    comparison = FieldComparison(WATCHED, SALT, None)
    assert comparison.change_of(VISIT, WHO, is_created=True) == FieldChange("created")

    again = FieldComparison(WATCHED, SALT, comparison.memory)
    assert again.change_of(VISIT | {"status": "Arrived"}, WHO, is_created=True) == FieldChange("updated", ("status",))


@pytest.mark.parametrize(
    "other",
    [WatchedFields(WATCHED.names, b"another key"), WatchedFields(("status",), WATCHED.key)],
    ids=["key", "fields"],
)
def test_what_is_known_by_another_key_or_of_other_fields_does_not_serve(other: WatchedFields) -> None:
    _, memory = compared(None, VISIT)

    assert not memory.serves(other, SALT)
    assert compared(memory, VISIT | {"status": "Arrived"}, other)[0] == FieldChange("first_seen")


def test_a_status_is_not_found_by_trying_all_of_them() -> None:
    _, memory = compared(None, VISIT)
    tried = {WatchedFields(("status",), guess).hashes(SALT, VISIT) for guess in (b"", SALT.encode(), b"status")}

    assert not any(each in memory.records[WHO] for each in tried)
    assert WatchedFields(("status",), WATCHED.key).hashes(SALT, VISIT) in memory.records[WHO]


def test_those_that_have_not_changed_for_longest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_drchrono.incremental.watched_fields.MOST_REMEMBERED", 2)
    first = FieldComparison(WATCHED, SALT, None)
    for who in ("AAAAAAA1", "AAAAAAA2"):
        first.change_of(VISIT, who, is_created=True)
    second = FieldComparison(WATCHED, SALT, first.memory)
    second.change_of(VISIT | {"status": "Arrived"}, "AAAAAAA1", is_created=False)
    second.change_of(VISIT, "AAAAAAA3", is_created=True)

    assert list(second.memory.records) == ["AAAAAAA1", "AAAAAAA3"]


CREATED, ARRIVED, MOVED = FieldChange("created"), FieldChange("updated", ("status",)), FieldChange("updated", ("time",))


@pytest.mark.parametrize(
    ("earlier", "later", "both"),
    [
        (ARRIVED, MOVED, FieldChange("updated", ("status", "time"))),
        (ARRIVED, ARRIVED, ARRIVED),
        (CREATED, MOVED, FieldChange("created", ("time",))),
        (FieldChange("first_seen"), ARRIVED, FieldChange("first_seen", ("status",))),
        # It was forgotten in between.
        (ARRIVED, FieldChange("first_seen"), FieldChange("first_seen", ("status",))),
    ],
)
def test_two_changes_that_one_run_reads_are_one(earlier: FieldChange, later: FieldChange, both: FieldChange) -> None:
    names = ("status", "time")
    together = WindowChanges(names, {WHO: earlier}).followed_by(WindowChanges(names, {WHO: later, WHO_ELSE: CREATED}))

    assert together.changes == {WHO: both, WHO_ELSE: CREATED}


def test_a_cursor_keeps_both() -> None:
    _, memory = compared(None, VISIT)
    both = FieldChange("first_seen", WATCHED.names)
    changes = WindowChanges(WATCHED.names, {WHO: ARRIVED, WHO_ELSE: both, "-_AAAAA9": CREATED})
    cursor = Cursor("appointments", memory=memory).moved_to(Position.at_start(None))
    cursor = cursor.with_delivery("a_run", Position.at_start(None), changes)

    again = read_cursor(cursor.dump())
    assert again.memory == memory
    assert again.runs["a_run"].changes == changes
    assert "Confirmed" not in cursor.dump()


def test_a_large_memory_makes_no_run_forgotten() -> None:
    memory = FieldMemory(("status",), "AAAA", {f"{number:08}": "AAAA" for number in range(MOST_CHARACTERS // 12)})
    cursor = Cursor("appointments", memory=memory).moved_to(Position.at_start(None))
    for number in range(MOST_RUNS):
        cursor = cursor.with_delivery(f"run-{number}", Position.at_start(None))

    assert len(read_cursor(cursor.dump()).runs) == MOST_RUNS


def test_a_cursor_that_is_set_to_a_time_forgets_what_it_knows() -> None:
    _, memory = compared(None, VISIT)

    assert Cursor("appointments", memory=memory).restarted("2026-01-01").memory is None


@pytest.mark.parametrize(
    "text", ["status", "status:AAAAAAA7", "status:AAAAAAA7000z", "status:AAAAAAA70003", "status:AAAAAAA7ffff"]
)
def test_changes_that_nobody_wrote_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be read|invalid literal|not enough"):
        WindowChanges.read(text)


@pytest.mark.parametrize(
    "state", [["status", "AAAA"], ["status", "AAAA", "AAAAAAA7"], ["status", "AAAA", "AAAAAAA7AA A"]]
)
def test_a_memory_that_nobody_wrote_is_refused(state: list[str]) -> None:
    with pytest.raises(ValueError, match=r"cannot be read|not enough"):
        FieldMemory.read(state)
