"""What every warehouse has to do alike about deletions and history; each database's tests inherit it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_drchrono.incremental.suspicion import is_believable
from airflow_provider_drchrono.warehouses.base import LoggedDeletion, SyncKey, Warehouse, WarehouseError
from airflow_provider_drchrono.warehouses.registry import open_warehouse
from airflow_provider_drchrono.warehouses.table import (
    DELETED_AT,
    MISSING_SINCE,
    NUMBER,
    PRACTICE,
    VALID_FROM,
    VALID_TO,
    Column,
    Table,
)
from tests.unit.warehouses.conformance import (
    EARLIER,
    KEY,
    LAST,
    LATER,
    STATE,
    TABLE,
    Fetch,
    complete_read,
    load,
    rows_of,
    visit,
)

FLAGGED = replace(TABLE, deletion_flag="done")
IN_PARTS = replace(TABLE, part_of="note")
"""A visit's note is the id of the visit that it is a day of."""
DOCTOR_1, DOCTOR_2 = (replace(KEY, selection=f"doctor {number}") for number in (1, 2))
SECOND_PRACTICE = replace(KEY, practice="practice_group:2")
LOG = Table("log", None, (Column("what", "text"), Column("updated_at", "timestamp")), (), "updated_at")


def moment(value: Any) -> str | None:
    """Return an instant of any driver as text in UTC."""
    if value is None:
        return None
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    return str(found.astimezone(UTC).isoformat(" "))


class DeletionsConformance:
    """Tests that use the fixtures ``conn_id`` (of an empty database) and ``fetch`` (runs a query by other means)."""

    @pytest.fixture
    def prepared(self, conn_id: str) -> Iterator[Warehouse]:
        warehouse = open_warehouse(conn_id)
        warehouse.prepare(TABLE)
        yield warehouse
        warehouse.close()

    @pytest.fixture
    def marks(self, fetch: Fetch) -> Callable[[], dict[str, tuple[str | None, str | None]]]:
        """Since when each row is missing, and when it was deleted, by id."""

        def read() -> dict[str, tuple[str | None, str | None]]:
            rows = fetch(f'SELECT id, "{MISSING_SINCE}", "{DELETED_AT}" FROM visits ORDER BY id')
            return {name: (moment(missing), moment(deleted)) for name, missing, deleted in rows}

        return read

    def test_what_one_complete_read_does_not_see_is_noted_and_marked_by_nobody(
        self, prepared: Warehouse, marks: Any
    ) -> None:
        load(prepared, [visit("1"), visit("2"), visit("3")])

        counts = load(prepared, [visit("1")], at=LATER, complete=complete_read())

        assert (counts.known, counts.missing, counts.deleted, counts.in_table) == (3, 2, 0, 3)
        assert marks() == {"1": (None, None), "2": (LATER, None), "3": (LATER, None)}
        assert prepared.missing(TABLE, KEY, selects_all=True, limit=9) == [("2",), ("3",)]
        assert prepared.missing(TABLE, KEY, selects_all=True, limit=1) == [("2",)]

    def test_rows_at_random_are_those_that_should_be_there(self, prepared: Warehouse) -> None:
        load(prepared, [visit("1"), visit("2")], key=DOCTOR_1)
        load(prepared, [visit("3")], key=DOCTOR_2)
        load(prepared, [visit("4")], key=SECOND_PRACTICE)
        load(prepared, [visit("1")], at=LATER, key=DOCTOR_1, complete=complete_read(selects_all=False))

        def taken(key: SyncKey, *, selects_all: bool, limit: int = 9) -> list[str]:
            rows = prepared.sample(TABLE, key, selects_all=selects_all, limit=limit)
            assert all(len(digest) == 64 and changed is not None for _, digest, changed in rows)
            return sorted(identifier for identifier, _, _ in rows)

        assert taken(KEY, selects_all=True) == ["1", "3"]
        assert taken(DOCTOR_2, selects_all=False) == ["3"]
        assert taken(SECOND_PRACTICE, selects_all=True) == ["4"]
        assert len(taken(KEY, selects_all=True, limit=1)) == 1
        assert {row[0] for _ in range(60) for row in prepared.sample(TABLE, KEY, selects_all=True, limit=1)} == {
            "1",
            "3",
        }, "never the same one, but for a chance of 2 in 2 ** 60"

    def test_what_the_next_complete_read_does_not_see_either_is_marked(self, prepared: Warehouse, marks: Any) -> None:
        load(prepared, [visit("1"), visit("2")])
        load(prepared, [visit("1")], at=LATER, complete=complete_read())

        counts = load(prepared, [visit("1")], at=LAST, complete=complete_read(LAST))

        assert (counts.deleted, counts.in_table) == (1, 2)
        assert marks() == {"1": (None, None), "2": (None, LATER)}

    @pytest.mark.parametrize(
        "weaker", [{"continuous": False}, {"selects_all": False}], ids=lambda each: next(iter(each))
    )
    def test_a_read_with_breaks_or_filters_marks_nothing(
        self, prepared: Warehouse, marks: Any, weaker: dict[str, bool]
    ) -> None:
        load(prepared, [visit("1"), visit("2")])
        for at in (LATER, LAST):
            load(prepared, [visit("1")], at=at, complete=complete_read(at, **weaker))

        assert marks() == {"1": (None, None), "2": (LATER, None)}

    def test_parts_of_a_row_that_changes_are_looked_up_but_for_those_that_come_with_it(
        self, prepared: Warehouse, marks: Any
    ) -> None:
        first = [visit("1"), visit("day 1", "1"), visit("day 2", "1"), visit("day 3", "3"), visit("3")]
        load(prepared, first, table=IN_PARTS)
        load(prepared, [visit("day 9", "1")], key=SECOND_PRACTICE, table=IN_PARTS)
        assert prepared.missing(IN_PARTS, KEY, selects_all=True, limit=9) == []
        later, last = (replace(STATE, watermark=datetime.fromisoformat(each)) for each in (LATER, LAST))

        load(prepared, [visit("1", "moved"), visit("day 2", "1")], at=LATER, table=IN_PARTS, state=later)

        assert {name: mark for name, mark in marks().items() if mark != (None, None)} == {"day 1": (LATER, None)}
        assert prepared.missing(IN_PARTS, KEY, selects_all=False, limit=9) == [("day 1",)]
        assert prepared.settle(IN_PARTS, KEY, [], [("day 1",)]).deleted == 1
        # It was looked up, and the row that it is a part of comes once more.
        load(prepared, [visit("1", "moved again")], at=LAST, table=IN_PARTS, state=last)
        assert marks()["day 1"] == (None, LATER)
        assert prepared.missing(IN_PARTS, KEY, selects_all=True, limit=9) == [("day 2",)]

    def test_what_is_settled_as_gone_is_marked_and_what_is_there_is_not(
        self, prepared: Warehouse, marks: Any, fetch: Fetch
    ) -> None:
        load(prepared, [visit("1"), visit("2"), visit("3"), visit("4")])
        load(prepared, [visit("1")], at=LATER, complete=complete_read())

        there = [visit("3"), visit("4", "moved")]
        counts = prepared.settle(TABLE, KEY, rows_of(there, LATER), [("2",)])

        assert (counts.deleted, counts.changed, counts.new) == (1, 1, 0)
        assert marks() == {"1": (None, None), "2": (None, LATER), "3": (None, None), "4": (None, None)}
        assert fetch("SELECT note FROM visits WHERE id = '4'") == [("moved",)]
        assert prepared.missing(TABLE, KEY, selects_all=True, limit=9) == []
        # No list has shown them since, so the next read of the list tells nothing about them.
        load(prepared, [visit("1")], at=LAST, complete=complete_read(LAST))
        assert marks()["3"] == marks()["4"] == (None, None)
        # Once a list has shown one, it counts again.
        load(prepared, [visit("1"), visit("3")], at=LAST)
        load(
            prepared, [visit("1")], at="2026-01-15 15:00:00+00:00", complete=complete_read("2026-01-15 15:00:00+00:00")
        )
        assert [name for name, (missing, _) in marks().items() if missing] == ["3"]

    def test_only_what_is_missing_can_be_settled_as_gone(self, prepared: Warehouse, marks: Any) -> None:
        load(prepared, [visit("1")])

        assert prepared.settle(TABLE, KEY, [], [("1",), ("2",)]).deleted == 0
        assert marks() == {"1": (None, None)}

    @pytest.mark.parametrize("changed", [False, True], ids=["as it was", "changed"])
    def test_what_comes_back_is_marked_no_more(self, prepared: Warehouse, marks: Any, changed: bool) -> None:
        load(prepared, [visit("1"), visit("2")])
        load(prepared, [visit("1")], at=LATER, complete=complete_read())
        prepared.settle(TABLE, KEY, [], [("2",)])

        counts = load(prepared, [visit("2", "back" if changed else "")], at=LAST)

        assert (counts.new, counts.changed) == (0, 1)
        assert marks()["2"] == (None, None)

    def test_what_was_read_before_it_was_deleted_does_not_bring_it_back(self, prepared: Warehouse, marks: Any) -> None:
        load(prepared, [visit("1"), visit("2")])
        load(prepared, [visit("1")], at=LATER, complete=complete_read())
        prepared.settle(TABLE, KEY, [], [("2",)])

        assert load(prepared, [visit("2", "old")], at="2026-01-15 12:30:00+00:00").changed == 0
        assert marks()["2"] == (None, LATER)

    def test_a_missing_row_that_is_seen_again_is_not_missing(self, prepared: Warehouse, marks: Any) -> None:
        load(prepared, [visit("1"), visit("2")])
        load(prepared, [visit("1")], at=LATER, complete=complete_read())

        counts = load(prepared, [visit("2")], at=LAST)

        assert (counts.new, counts.changed) == (0, 0)
        assert marks()["2"] == (None, None)

    def test_a_read_that_is_not_complete_says_nothing_about_other_rows(self, prepared: Warehouse, marks: Any) -> None:
        load(prepared, [visit("1"), visit("2")])
        load(prepared, [visit("1")], at=LATER)
        load(prepared, [], at=LAST)

        assert set(marks().values()) == {(None, None)}

    def test_rows_of_other_filters_and_practices_are_not_missed(self, prepared: Warehouse, marks: Any) -> None:
        load(prepared, [visit("1"), visit("2")], key=DOCTOR_1)
        load(prepared, [visit("3")], key=DOCTOR_2)
        load(prepared, [visit("4")], key=SECOND_PRACTICE)

        counts = load(prepared, [visit("1")], at=LATER, key=DOCTOR_1, complete=complete_read(selects_all=False))

        assert (counts.known, counts.missing) == (2, 1)
        assert [name for name, (missing, _) in marks().items() if missing] == ["2"]
        assert prepared.missing(TABLE, DOCTOR_1, selects_all=False, limit=9) == [("2",)]
        assert prepared.missing(TABLE, DOCTOR_2, selects_all=False, limit=9) == []
        assert prepared.missing(TABLE, SECOND_PRACTICE, selects_all=True, limit=9) == []
        # Without filters all of the practice are missed, and none of another one.
        load(prepared, [visit("1")], at=LATER, complete=complete_read())
        assert [name for name, (missing, _) in marks().items() if missing] == ["2", "3"]

    def test_a_record_that_moves_to_other_filters_belongs_there(self, prepared: Warehouse, marks: Any) -> None:
        load(prepared, [visit("1"), visit("2", "doctor 1")], key=DOCTOR_1)
        load(prepared, [visit("2", "doctor 2")], at=LATER, key=DOCTOR_2)

        load(prepared, [visit("1")], at=LAST, key=DOCTOR_1, complete=complete_read(LAST, selects_all=False))

        assert marks()["2"] == (None, None)

    def test_rows_that_were_written_while_the_list_was_read_are_not_missed(
        self, prepared: Warehouse, marks: Any
    ) -> None:
        load(prepared, [visit("1"), visit("2")])
        load(prepared, [visit("3", "new"), visit("2", "changed")], at=LAST, key=DOCTOR_1)

        load(prepared, [visit("1")], at=LAST, complete=complete_read(LATER))

        assert set(marks().values()) == {(None, None)}

    def test_a_read_that_cannot_be_believed_marks_nothing(self, prepared: Warehouse, marks: Any) -> None:
        load(prepared, [visit(f"{number:03}") for number in range(200)])
        doubtful = complete_read(is_believable=is_believable, counts_if_doubtful=False)

        counts = load(prepared, [visit("000", "still read")], at=LATER, complete=doubtful)

        assert (counts.believed, counts.known, counts.missing, counts.changed) == (False, 200, 199, 1)
        assert set(marks().values()) == {(None, None)}

    @pytest.mark.parametrize("counts_if_doubtful", [True, False])
    def test_a_read_that_is_not_believed_is_made_again_if_that_is_wanted(
        self, prepared: Warehouse, counts_if_doubtful: bool
    ) -> None:
        load(prepared, [visit("1")])
        now = datetime(2026, 1, 16, tzinfo=UTC)
        state = replace(prepared.state(TABLE, KEY), completed_at=now)  # type: ignore[type-var]
        doubtful = complete_read(is_believable=is_believable, counts_if_doubtful=counts_if_doubtful)

        load(prepared, [], at=LATER, complete=doubtful, state=state)

        found = prepared.state(TABLE, KEY)
        assert found is not None
        assert found.completed_at == (now if counts_if_doubtful else None)

    def test_the_time_of_the_last_complete_read_outlasts_others(self, prepared: Warehouse) -> None:
        load(prepared, [visit("1")])
        state = prepared.state(TABLE, KEY)
        assert state is not None
        complete = replace(state, completed_at=datetime(2026, 1, 16, tzinfo=UTC))
        load(prepared, [visit("1")], complete=complete_read(), state=complete)
        load(prepared, [visit("1")], state=state)

        assert prepared.state(TABLE, KEY) == complete

    def test_a_flag_of_the_record_marks_the_row(self, prepared: Warehouse, marks: Any) -> None:
        counts = load(prepared, [visit("1", done=False), visit("2", done=True), visit("3")], table=FLAGGED)
        assert (counts.new, counts.deleted) == (3, 1)
        assert marks() == {"1": (None, None), "2": (None, EARLIER), "3": (None, None)}

        changes = [visit("1", done=True), visit("2", "more", done=True)]
        counts = load(prepared, changes, at=LATER, table=FLAGGED)
        assert (counts.changed, counts.deleted) == (2, 1)
        assert marks() == {"1": (None, LATER), "2": (None, EARLIER), "3": (None, None)}

        assert load(prepared, changes, at=LAST, table=FLAGGED).changed == 0
        assert load(prepared, [visit("1", done=False)], at=LAST, table=FLAGGED).changed == 1
        assert marks()["1"] == (None, None)

    def test_a_logged_deletion_marks_the_row_unless_it_was_read_later(self, prepared: Warehouse, marks: Any) -> None:
        load(prepared, [visit("1"), visit("2")])
        load(prepared, [visit("2", "read after the deletion")], at=LAST)
        load(prepared, [visit("4")], key=SECOND_PRACTICE)
        at, found_at = (datetime.fromisoformat(each) for each in (LATER, LAST))
        deletions = [LoggedDeletion((name,), at, found_at) for name in ("1", "2", "3", "4")]

        counts = load(prepared, [], at=LAST, deletions=deletions)

        assert counts.deleted == 1
        assert marks() == {"1": (None, LAST), "2": (LAST, None), "4": (None, None)}
        assert load(prepared, [], at=LAST, deletions=deletions).deleted == 0

    def test_the_practice_of_an_authorization_is_known_from_the_last_sync(self, prepared: Warehouse) -> None:
        assert prepared.practice_of(TABLE, KEY.source, "grant 1") is None
        load(prepared, [])

        found = prepared.practice_of(TABLE, KEY.source, "grant 1")

        assert found is not None
        assert found.practice == KEY.practice
        assert prepared.practice_of(TABLE, KEY.source, "grant 2") is None
        assert prepared.practice_of(TABLE, "https://elsewhere", "grant 1") is None

    def test_practices_have_states_of_their_own_and_rows_say_whose_they_are(
        self, prepared: Warehouse, fetch: Fetch
    ) -> None:
        load(prepared, [visit("1")])

        assert prepared.state(TABLE, SECOND_PRACTICE) is None
        load(prepared, [visit("2")], key=SECOND_PRACTICE)
        rows = fetch(f'SELECT id, "{PRACTICE}" FROM visits ORDER BY id')
        assert rows == [("1", "practice_group:1"), ("2", "practice_group:2")]

    def test_records_without_a_key_are_added_once_and_equal_ones_of_a_read_are_all_there(
        self, prepared: Warehouse, fetch: Fetch
    ) -> None:
        prepared.prepare(LOG)
        twice = {"what": "viewed", "updated_at": "2026-01-15T07:00:00"}
        once = {"what": "changed", "updated_at": "2026-01-15T07:00:01"}

        counts = load(prepared, [twice, twice, once], table=LOG)
        assert (counts.read, counts.new, counts.changed, counts.in_table) == (3, 3, 0, 3)
        counts = load(prepared, [twice, twice, once, once | {"what": "signed"}], at=LATER, table=LOG)
        assert (counts.read, counts.new, counts.in_table) == (4, 1, 4)

        rows = fetch(f'SELECT what, "{NUMBER}" FROM log ORDER BY what, "{NUMBER}"')
        assert rows == [("changed", 1), ("signed", 1), ("viewed", 1), ("viewed", 2)]
        assert load(prepared, [twice], table=LOG, key=SECOND_PRACTICE).new == 1
        with pytest.raises(WarehouseError, match="never change"):
            prepared.prepare(LOG, history=True)


class HistoryConformance:
    """Tests of the table with the versions of the rows."""

    @pytest.fixture
    def prepared(self, conn_id: str) -> Iterator[Warehouse]:
        warehouse = open_warehouse(conn_id)
        yield warehouse
        warehouse.close()

    @pytest.fixture
    def versions(self, fetch: Fetch) -> Callable[[], list[tuple[Any, ...]]]:
        def read() -> list[tuple[Any, ...]]:
            rows = fetch(f'SELECT id, note, "{VALID_FROM}", "{VALID_TO}" FROM visits_history ORDER BY 1, 3')
            return [(name, note, moment(start), moment(end)) for name, note, start, end in rows]

        return read

    def test_each_version_holds_until_the_next_one_was_read(self, prepared: Warehouse, versions: Any) -> None:
        prepared.prepare(TABLE, history=True)
        load(prepared, [visit("1", "a"), visit("2", "x")])
        load(prepared, [visit("1", "b"), visit("2", "x")], at=LATER)
        load(prepared, [visit("1", "c"), visit("3", "new")], at=LAST)

        assert versions() == [
            ("1", "a", EARLIER, LATER),
            ("1", "b", LATER, LAST),
            ("1", "c", LAST, None),
            ("2", "x", EARLIER, None),
            ("3", "new", LAST, None),
        ]

    def test_the_table_as_it_was_is_one_condition(self, prepared: Warehouse, fetch: Fetch) -> None:
        prepared.prepare(TABLE, history=True)
        load(prepared, [visit("1", "a"), visit("2", "x")])
        load(prepared, [visit("1", "b")], at=LATER, complete=complete_read())
        prepared.settle(TABLE, KEY, [], [("2",)])

        def as_of(instant: str) -> list[tuple[Any, ...]]:
            return fetch(
                f"SELECT id, note FROM visits_history WHERE \"{VALID_FROM}\" <= '{instant}' "
                f'AND ("{VALID_TO}" > \'{instant}\' OR "{VALID_TO}" IS NULL) ORDER BY id'
            )

        assert as_of("2026-01-15 11:59:59+00:00") == []
        assert as_of("2026-01-15 12:30:00+00:00") == [("1", "a"), ("2", "x")]
        assert as_of(LAST) == [("1", "b")]

    def test_a_deletion_closes_the_version_and_a_return_opens_one(self, prepared: Warehouse, versions: Any) -> None:
        prepared.prepare(FLAGGED, history=True)
        load(prepared, [visit("1", "a", done=False)], table=FLAGGED)
        load(prepared, [visit("1", "deleted", done=True)], at=LATER, table=FLAGGED)
        assert versions() == [("1", "a", EARLIER, LATER)]

        load(prepared, [visit("1", "a", done=False)], at=LAST, table=FLAGGED)
        assert versions() == [("1", "a", EARLIER, LATER), ("1", "a", LAST, None)]

    def test_a_logged_deletion_closes_the_version(self, prepared: Warehouse, versions: Any) -> None:
        prepared.prepare(TABLE, history=True)
        load(prepared, [visit("1", "a")])
        at = datetime.fromisoformat(LATER)
        load(prepared, [], at=LATER, deletions=[LoggedDeletion(("1",), at, at)])

        assert versions() == [("1", "a", EARLIER, LATER)]

    def test_a_version_of_no_length_is_not_kept(self, prepared: Warehouse, versions: Any) -> None:
        prepared.prepare(TABLE, history=True)
        load(prepared, [visit("1", "a")])
        load(prepared, [visit("1", "b")])

        assert versions() == [("1", "b", EARLIER, None)]

    def test_a_table_without_history_is_converted_and_loses_nothing(
        self, prepared: Warehouse, versions: Any, fetch: Fetch
    ) -> None:
        prepared.prepare(TABLE)
        load(prepared, [visit("1", "a"), visit("2", "x")])
        load(prepared, [visit("1", "b")], at=LATER, complete=complete_read())
        prepared.settle(TABLE, KEY, [], [("2",)])
        before = fetch("SELECT * FROM visits ORDER BY id")
        assert not prepared.keeps_history(TABLE)

        assert prepared.prepare(TABLE, history=True) == []

        assert prepared.keeps_history(TABLE)
        assert fetch("SELECT * FROM visits ORDER BY id") == before
        assert versions() == [("1", "b", LATER, None), ("2", "x", EARLIER, LATER)]
        prepared.prepare(TABLE, history=True)
        load(prepared, [visit("1", "c")], at=LAST)
        assert versions()[:2] == [("1", "b", LATER, LAST), ("1", "c", LAST, None)]

    def test_a_history_is_kept_up_although_it_is_not_asked_for(self, prepared: Warehouse, versions: Any) -> None:
        prepared.prepare(TABLE, history=True)
        load(prepared, [visit("1", "a")])
        prepared.prepare(TABLE)
        load(prepared, [visit("1", "b")], at=LATER)

        assert versions() == [("1", "a", EARLIER, LATER), ("1", "b", LATER, None)]

    def test_a_history_is_widened_with_its_table(self, prepared: Warehouse, versions: Any, fetch: Fetch) -> None:
        narrow = replace(TABLE, columns=TABLE.columns[:2] + TABLE.columns[7:8])
        prepared.prepare(narrow, history=True)
        load(prepared, [visit("1", "a")], table=narrow)

        assert "paid" in prepared.prepare(TABLE)
        load(prepared, [visit("1", "b", paid="2.50")], at=LATER)

        assert len(versions()) == 2
        assert fetch("SELECT paid IS NULL FROM visits_history ORDER BY note") == [(True,), (False,)]

    def test_rows_and_versions_are_written_together_or_not_at_all(
        self, prepared: Warehouse, versions: Any, fetch: Fetch, execute: Callable[[str], None]
    ) -> None:
        prepared.prepare(TABLE, history=True)
        load(prepared, [visit("1", "a")])
        execute("CREATE UNIQUE INDEX one_note ON visits_history (note)")

        with pytest.raises(WarehouseError):
            load(prepared, [visit("1", "b"), visit("2", "b")], at=LATER)

        assert fetch("SELECT id, note FROM visits") == [("1", "a")]
        assert versions() == [("1", "a", EARLIER, None)]

    def test_someone_elses_table_is_no_history(self, prepared: Warehouse, execute: Callable[[str], None]) -> None:
        execute("CREATE TABLE visits_history (id TEXT PRIMARY KEY, note TEXT)")

        with pytest.raises(WarehouseError, match=r"table visits_history in .* was not made by this sync"):
            prepared.prepare(TABLE, history=True)
