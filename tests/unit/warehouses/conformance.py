"""What every warehouse has to do alike; each database's tests inherit it and bring a connection."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_drchrono.incremental.canonical import canonical
from airflow_provider_drchrono.incremental.window import Practice, SyncState
from airflow_provider_drchrono.warehouses.base import (
    CompleteRead,
    KnownPractice,
    LoadCounts,
    LoggedDeletion,
    Run,
    SyncKey,
    Warehouse,
    WarehouseError,
)
from airflow_provider_drchrono.warehouses.registry import open_warehouse
from airflow_provider_drchrono.warehouses.table import DIGEST, EXTRA, SYNCED_AT, TIMEZONE, Column, RowMaker, Table

Record = dict[str, Any]
Fetch = Callable[[str], list[tuple[Any, ...]]]

TABLE = Table(
    name="visits",
    schema=None,
    columns=(
        Column("id", "text", required=True),
        Column("note", "text"),
        Column("patient", "integer"),
        Column("paid", "decimal"),
        Column("done", "boolean"),
        Column("day", "date"),
        Column("hour", "time"),
        Column("updated_at", "timestamp"),
        Column("order", "json"),
    ),
    key=("id",),
    changed="updated_at",
)
KEY = SyncKey("https://app.drchrono.com", "practice_group:1", "appointments", "visits", "all")
STATE = SyncState(
    datetime(2026, 1, 15, 12, tzinfo=UTC),
    datetime(2024, 1, 1, 8, 30),
    Practice(("America/Los_Angeles", "America/New_York"), datetime(2026, 1, 14, 12, tzinfo=UTC)),
)
EARLIER, LATER, LAST = (f"2026-01-15 {hour}:00:00+00:00" for hour in (12, 13, 14))
SECRET = "Canary Smith"


def visit(identifier: str, note: Any = "", changed: str = "2026-01-15T07:00:00", **fields: Any) -> Record:
    return {"id": identifier, "note": note, "updated_at": changed} | fields


def load(
    warehouse: Warehouse,
    records: list[Record],
    *,
    at: str = EARLIER,
    table: Table = TABLE,
    key: SyncKey = KEY,
    state: SyncState = STATE,
    complete: CompleteRead | None = None,
    deletions: Sequence[LoggedDeletion] = (),
) -> LoadCounts:
    run = Run("scheduled__1", 3, practice=KnownPractice("grant 1", key.practice, state.watermark))
    rows = rows_of(records, at, table)
    return warehouse.load(table, rows, key, state, run, complete=complete, deletions=deletions)


def rows_of(records: list[Record], at: str, table: Table = TABLE) -> Iterator[list[Any]]:
    return RowMaker(table, "America/New_York").rows((canonical(record), at) for record in records)


def complete_read(at: str = LATER, **options: Any) -> CompleteRead:
    """A read of the whole list that began at that time."""
    known = {"selects_all": True, "continuous": True, "is_believable": lambda known, missing: True}
    return CompleteRead(began=datetime.fromisoformat(at), **known | options)


class WarehouseConformance:
    """Tests that use the fixtures ``conn_id`` (of an empty database) and ``fetch`` (runs a query by other means)."""

    @pytest.fixture
    def warehouse(self, conn_id: str) -> Iterator[Warehouse]:
        warehouse = open_warehouse(conn_id)
        yield warehouse
        warehouse.close()

    @pytest.fixture
    def prepared(self, warehouse: Warehouse) -> Warehouse:
        assert warehouse.prepare(TABLE) == []
        return warehouse

    def test_first_load(self, prepared: Warehouse, fetch: Fetch) -> None:
        counts = load(prepared, [visit(str(number), f"note {number}") for number in range(1000)])

        assert counts == LoadCounts(read=1000, new=1000, changed=0, in_table=1000)
        assert fetch("SELECT count(DISTINCT id), min(note), max(note) FROM visits") == [(1000, "note 0", "note 999")]

    def test_the_same_load_again_changes_nothing(self, prepared: Warehouse, fetch: Fetch) -> None:
        records = [visit(str(number)) for number in range(10)]
        load(prepared, records)
        before = fetch(f'SELECT id, "{SYNCED_AT}" FROM visits ORDER BY id')

        assert load(prepared, records, at=LATER) == LoadCounts(read=10, new=0, changed=0, in_table=10)
        assert fetch(f'SELECT id, "{SYNCED_AT}" FROM visits ORDER BY id') == before

    def test_of_readings_of_the_same_second_the_one_loaded_last_stays(self, prepared: Warehouse, fetch: Fetch) -> None:
        load(prepared, [visit("1", "a")])

        assert load(prepared, [visit("1", "b")]).changed == 1
        assert fetch("SELECT note FROM visits") == [("b",)]

    def test_a_row_is_replaced_when_its_times_are_of_another_zone(self, prepared: Warehouse, fetch: Fetch) -> None:
        load(prepared, [visit("1")])

        rows = RowMaker(TABLE, "America/Chicago").rows([(canonical(visit("1")), LATER)])
        assert prepared.load(TABLE, rows, KEY, STATE, Run("r", 1)).changed == 1
        assert fetch(f'SELECT "{TIMEZONE}" FROM visits') == [("America/Chicago",)]

    def test_only_rows_that_differ_are_replaced(self, prepared: Warehouse, fetch: Fetch) -> None:
        load(prepared, [visit("1", "a"), visit("2", "b")])

        counts = load(prepared, [visit("1", "a"), visit("2", "B"), visit("3", "c")], at=LATER)

        assert counts == LoadCounts(read=3, new=1, changed=1, in_table=3)
        assert fetch("SELECT id, note FROM visits ORDER BY id") == [("1", "a"), ("2", "B"), ("3", "c")]

    def test_nothing_to_load_moves_the_watermark(self, prepared: Warehouse) -> None:
        assert load(prepared, []) == LoadCounts(read=0, new=0, changed=0, in_table=0)
        assert prepared.state(TABLE, KEY) == STATE

    @pytest.mark.parametrize("order", ["changed last comes last", "changed last comes first"])
    def test_of_several_versions_in_a_load_the_one_changed_last_stays(
        self, prepared: Warehouse, fetch: Fetch, order: str
    ) -> None:
        versions = [visit("1", "old", "2026-01-15T07:00:00"), visit("1", "new", "2026-01-15T07:00:01")]
        if order == "changed last comes first":
            versions.reverse()

        counts = load(prepared, [*versions, visit("2"), visit("1", "no time", "")])

        assert counts == LoadCounts(read=4, new=2, changed=0, in_table=2)
        assert fetch("SELECT note FROM visits WHERE id = '1'") == [("new",)]

    def test_of_versions_changed_at_the_same_time_the_one_read_last_stays(
        self, prepared: Warehouse, fetch: Fetch
    ) -> None:
        load(prepared, [visit("1", "first"), visit("1", "second")])

        assert fetch("SELECT note FROM visits") == [("second",)]

    def test_what_was_read_earlier_does_not_replace_what_was_read_later(
        self, prepared: Warehouse, fetch: Fetch
    ) -> None:
        load(prepared, [visit("1", "read later")], at=LATER)

        assert load(prepared, [visit("1", "read earlier")], at=EARLIER).changed == 0
        assert fetch("SELECT note FROM visits") == [("read later",)]

    def test_a_change_with_a_smaller_time_wins_after_clocks_were_set_back(
        self, prepared: Warehouse, fetch: Fetch
    ) -> None:
        load(prepared, [visit("1", "before", "2026-11-01T01:50:00")], at=EARLIER)

        assert load(prepared, [visit("1", "after", "2026-11-01T01:10:00")], at=LATER).changed == 1
        assert fetch("SELECT note FROM visits") == [("after",)]

    def test_every_value_arrives_as_it_was(self, prepared: Warehouse, fetch: Fetch) -> None:
        notes = [
            "",
            None,
            "a\tb",
            "line\nbreak\r\n",
            "back\\slash \\N \\.",
            "\x1e",
            "\x1f",
            "\x1e\x1f\\",
            "'\"",
            "é😀",
            "\\x1f",
        ]
        load(prepared, [visit(f"{number:02}", note) for number, note in enumerate(notes)])

        assert [note for (note,) in fetch("SELECT note FROM visits ORDER BY id")] == notes

    def test_columns_are_typed(self, prepared: Warehouse, fetch: Fetch) -> None:
        load(
            prepared,
            [
                visit(
                    "1",
                    patient=2**63 - 1,
                    paid="12.50",
                    done=True,
                    day="2026-01-31",
                    hour="08:30:00",
                    order={"codes": ["a", None]},
                ),
                visit("2", patient=1, paid="0.25", done=False, day="2026-01-09", hour="", order=[]),
            ],
        )

        (totals,) = fetch("SELECT sum(paid), max(patient), min(day), max(updated_at) FROM visits")
        assert Decimal(str(totals[0])) == Decimal("12.75")
        assert totals[1] == 2**63 - 1
        assert [str(each) for each in totals[2:]] == ["2026-01-09", "2026-01-15 07:00:00"]
        assert fetch("SELECT id FROM visits WHERE done") == [("1",)]
        assert fetch("SELECT id FROM visits WHERE hour IS NULL") == [("2",)]
        ((order,),) = fetch("SELECT \"order\" FROM visits WHERE id = '1'")
        assert (json.loads(order) if isinstance(order, str) else order) == {"codes": ["a", None]}

    def test_what_the_sync_keeps_about_a_row(self, prepared: Warehouse, fetch: Fetch) -> None:
        load(prepared, [visit("1", new_field=[1]), visit("2", paid="a lot")])

        rows = fetch(f'SELECT "{DIGEST}", "{EXTRA}", "{TIMEZONE}", "{SYNCED_AT}" FROM visits ORDER BY id')
        assert [len(row[0]) for row in rows] == [64, 64]
        extras = [json.loads(row[1]) if isinstance(row[1], str) else row[1] for row in rows]
        assert extras == [{"new_field": [1]}, {"paid": "a lot"}]
        assert {row[2] for row in rows} == {"America/New_York"}
        moments = [datetime.fromisoformat(row[3]) if isinstance(row[3], str) else row[3] for row in rows]
        assert [moment.astimezone(UTC) for moment in moments] == [datetime(2026, 1, 15, 12, tzinfo=UTC)] * 2

    def test_a_state_comes_back_as_it_was_kept(self, prepared: Warehouse) -> None:
        named = SyncState(datetime(2026, 1, 16, tzinfo=UTC), None, Practice(("Europe/Berlin",), None))
        other = replace(KEY, selection="doctor 1")

        assert prepared.state(TABLE, KEY) is None
        load(prepared, [], state=STATE)
        load(prepared, [], state=named, key=other)

        assert prepared.state(TABLE, KEY) == STATE
        assert prepared.state(TABLE, other) == named

    def test_the_watermark_never_goes_back(self, prepared: Warehouse) -> None:
        overtaken = SyncState(datetime(2026, 1, 15, 11, tzinfo=UTC), STATE.start, STATE.practice)
        load(prepared, [])
        load(prepared, [], state=overtaken)

        assert prepared.state(TABLE, KEY) == STATE

    def test_a_load_that_breaks_off_leaves_everything_as_it_was(self, prepared: Warehouse, fetch: Fetch) -> None:
        load(prepared, [visit("1", "a")])

        def breaking() -> Iterator[tuple[bytes, str]]:
            for number in range(600):
                yield canonical(visit(str(number), "b" * 1000)), LATER
            raise InterruptedError

        moved = SyncState(datetime(2026, 2, 1, tzinfo=UTC), None, STATE.practice)
        with pytest.raises(InterruptedError):
            prepared.load(TABLE, RowMaker(TABLE, None).rows(breaking()), KEY, moved, Run("r", 1))

        assert fetch("SELECT id, note FROM visits") == [("1", "a")]
        assert prepared.state(TABLE, KEY) == STATE
        assert load(prepared, [visit("2")]).new == 1

    def test_rows_and_state_are_written_together_or_not_at_all(
        self, prepared: Warehouse, fetch: Fetch, execute: Callable[[str], None]
    ) -> None:
        load(prepared, [visit("1", "a"), visit("2", "b")])
        other = replace(KEY, selection="doctor 1")
        changes = [visit("1", "A"), visit("3", "c")]
        # The rows can be merged, and then the state cannot be written.
        execute("CREATE UNIQUE INDEX one_run ON _drchrono_sync (run_id)")

        with pytest.raises(WarehouseError):
            load(prepared, changes, at=LATER, key=other)

        assert fetch("SELECT id, note FROM visits ORDER BY id") == [("1", "a"), ("2", "b")]
        assert prepared.state(TABLE, other) is None
        execute("DROP INDEX one_run")
        assert load(prepared, changes, at=LATER, key=other) == LoadCounts(read=2, new=1, changed=1, in_table=3)
        assert prepared.state(TABLE, other) == STATE

    @pytest.mark.parametrize("record", [{}, {"id": None}, {"id": ""}], ids=["missing", "null", "empty"])
    def test_a_record_without_its_key_does_not_stop_the_others(
        self, prepared: Warehouse, fetch: Fetch, record: dict[str, Any]
    ) -> None:
        counts = load(prepared, [visit("1"), {"note": "whose?"} | record, visit("2")])

        assert counts == LoadCounts(read=2, new=2, changed=0, in_table=2)
        assert fetch("SELECT id FROM visits ORDER BY id") == [("1",), ("2",)]

    def test_a_number_with_digits_of_another_script_does_not_stop_the_load(
        self, prepared: Warehouse, fetch: Fetch
    ) -> None:
        counts = load(prepared, [visit("1", paid="1\u0663.5", patient="1\u0663"), visit("2", paid="2.5")])

        assert counts.new == 2
        assert fetch("SELECT paid IS NULL, patient IS NULL FROM visits WHERE id = '1'") == [(True, True)]
        ((extra,),) = fetch(f"SELECT \"{EXTRA}\" FROM visits WHERE id = '1'")
        assert (json.loads(extra) if isinstance(extra, str) else extra) == {"paid": "1\u0663.5", "patient": "1\u0663"}

    def test_another_signature_of_a_link_is_no_change(self, prepared: Warehouse, fetch: Fetch) -> None:
        link = "https://files.example.com/a.pdf?Signature="
        load(prepared, [visit("1", f"{link}1", order=[f"{link}1"], unknown=f"{link}1")])

        again = [visit("1", f"{link}2", order=[f"{link}2"], unknown=f"{link}2")]
        assert load(prepared, again, at=LATER) == LoadCounts(read=1, new=0, changed=0, in_table=1)
        assert fetch("SELECT note FROM visits") == [(f"{link}1",)]
        moved = [visit("1", "https://files.example.com/b.pdf?Signature=3")]
        assert load(prepared, moved, at=LATER).changed == 1

    def test_a_table_is_widened_when_the_catalogue_has_grown(self, warehouse: Warehouse, fetch: Fetch) -> None:
        narrow = Table("visits", None, TABLE.columns[:2] + TABLE.columns[7:8], TABLE.key, TABLE.changed)
        warehouse.prepare(narrow)
        load(warehouse, [visit("1", paid="12.50"), visit("2")], table=narrow)

        assert warehouse.prepare(TABLE) == ["patient", "paid", "done", "day", "hour", "order"]
        assert warehouse.prepare(TABLE) == []
        counts = load(warehouse, [visit("1", paid="12.50"), visit("2")], at=LATER)

        assert counts == LoadCounts(read=2, new=0, changed=1, in_table=2)
        ((paid, extra),) = fetch(f"SELECT paid, \"{EXTRA}\" FROM visits WHERE id = '1'")
        assert (Decimal(str(paid)), extra) == (Decimal("12.5"), None)

    def test_two_columns_make_a_key(self, warehouse: Warehouse) -> None:
        columns = (Column("a", "integer", required=True), Column("b", "integer", required=True), Column("c", "text"))
        table = Table("pairs", None, columns, ("a", "b"), None)
        warehouse.prepare(table)

        counts = load(warehouse, [{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 1, "c": "x"}], table=table)

        assert counts == LoadCounts(read=3, new=2, changed=0, in_table=2)

    def test_several_syncs_load_at_once(self, conn_id: str, fetch: Fetch) -> None:
        failures: list[Exception] = []

        def sync(number: int) -> None:
            table = Table(f"visits_{number}", None, TABLE.columns, TABLE.key, TABLE.changed)
            try:
                warehouse = open_warehouse(conn_id)
                warehouse.prepare(table)
                key = replace(KEY, table_name=table.name)
                load(warehouse, [visit(str(each)) for each in range(500)], table=table, key=key)
                warehouse.close()
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=sync, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert failures == []
        assert [fetch(f"SELECT count(*) FROM visits_{number}") for number in range(5)] == [[(500,)]] * 5
        assert fetch("SELECT sum(rows_new), count(*) FROM _drchrono_sync") == [(2500, 5)]

    def test_someone_elses_table_is_left_alone(self, warehouse: Warehouse, execute: Callable[[str], None]) -> None:
        execute("CREATE TABLE visits (id TEXT PRIMARY KEY, note TEXT)")

        with pytest.raises(
            WarehouseError, match=r"table visits in .* was not made by this sync; give the sync another"
        ):
            warehouse.prepare(TABLE)

    def test_a_table_with_another_key_is_left_alone(self, warehouse: Warehouse) -> None:
        columns = (*TABLE.columns[:1], Column("note", "text", required=True), *TABLE.columns[2:])
        warehouse.prepare(Table("visits", None, columns, ("id", "note"), None))

        with pytest.raises(WarehouseError, match=r"was not made by this sync"):
            warehouse.prepare(TABLE)

    def test_a_column_of_another_type_is_named(self, warehouse: Warehouse) -> None:
        columns = (*TABLE.columns[:2], Column("patient", "text"), *TABLE.columns[3:])
        warehouse.prepare(Table("visits", None, columns, TABLE.key, None))

        text = warehouse.capabilities.types["text"]
        with pytest.raises(
            WarehouseError, match=rf"(?i)Column patient of the table visits in .* is {text} and has to be"
        ) as found:
            warehouse.prepare(TABLE)
        assert not found.value.transient

    def test_a_table_that_somebody_has_changed_is_no_passing_failure(
        self, prepared: Warehouse, execute: Callable[[str], None]
    ) -> None:
        execute("ALTER TABLE visits DROP COLUMN note")

        with pytest.raises(WarehouseError, match="check the connection and the table") as found:
            load(prepared, [visit("1")])
        assert not found.value.transient

    def test_an_error_of_the_database_repeats_no_value(
        self, prepared: Warehouse, execute: Callable[[str], None]
    ) -> None:
        execute("CREATE UNIQUE INDEX one_note ON visits (note)")

        with pytest.raises(WarehouseError) as found:
            load(prepared, [visit("1", SECRET), visit("2", SECRET)])

        error = found.value
        assert not error.transient
        assert "a constraint of the table refuses the rows" in str(error)
        assert "\n" not in str(error)
        assert SECRET not in str(error)
        assert error.__suppress_context__
        assert error.__cause__ is None
