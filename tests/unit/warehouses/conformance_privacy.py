"""What every warehouse does alike where rows are masked; each database's tests inherit it and bring a connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from airflow_provider_drchrono.warehouses.base import LoggedDeletion, Warehouse
from airflow_provider_drchrono.warehouses.registry import open_warehouse
from airflow_provider_drchrono.warehouses.table import DELETED_AT, SYNCED_AT, TIMEZONE
from tests.unit.warehouses.conformance import EARLIER, KEY, LAST, LATER, STATE, TABLE, Fetch, complete_read, load, visit

HIDING = replace(TABLE, hides_times=True, changed=None)
MASKED = replace(KEY, selection="all-0123456789abcdef")
POLICY = "0123456789abcdef"


class MaskedTablesConformance:
    """Tests that use the fixtures ``conn_id``, ``fetch`` and ``execute``, as for the other conformance tests."""

    @pytest.fixture
    def warehouse(self, conn_id: str) -> Iterator[Warehouse]:
        warehouse = open_warehouse(conn_id)
        warehouse.prepare(TABLE)
        yield warehouse
        warehouse.close()

    def test_a_table_without_rows_holds_nothing_otherwise(self, warehouse: Warehouse) -> None:
        assert warehouse.holds_as(TABLE, "")
        assert warehouse.holds_as(TABLE, POLICY)

    def test_a_table_holds_what_its_last_load_let_it_hold(
        self, warehouse: Warehouse, execute: Callable[[str], None]
    ) -> None:
        load(warehouse, [visit("1")])
        assert (warehouse.holds_as(TABLE, ""), warehouse.holds_as(TABLE, POLICY)) == (True, False)
        execute("UPDATE _drchrono_sync SET synced_at = '2026-01-01 00:00:00+00:00'")
        load(warehouse, [visit("2")], key=MASKED)
        assert (warehouse.holds_as(TABLE, ""), warehouse.holds_as(TABLE, POLICY)) == (False, True)
        assert not warehouse.holds_as(TABLE, POLICY[::-1])

    def test_rows_that_no_sync_knows_of_are_not_taken_for_masked_ones(
        self, warehouse: Warehouse, execute: Callable[[str], None]
    ) -> None:
        load(warehouse, [visit("1")])
        execute("DELETE FROM _drchrono_sync")
        assert (warehouse.holds_as(TABLE, ""), warehouse.holds_as(TABLE, POLICY)) == (True, False)

    def test_a_history_is_a_part_of_what_is_held(self, warehouse: Warehouse, execute: Callable[[str], None]) -> None:
        warehouse.prepare(TABLE, history=True)
        load(warehouse, [visit("1")])
        execute("DELETE FROM visits")
        assert (warehouse.holds_as(TABLE, ""), warehouse.holds_as(TABLE, POLICY)) == (True, False)

    def test_rows_that_hide_times_say_the_year_and_are_kept_up(self, warehouse: Warehouse, fetch: Fetch) -> None:
        def rows() -> list[tuple[str, ...]]:
            found = fetch(f'SELECT id, note, "{SYNCED_AT}", "{TIMEZONE}" FROM visits ORDER BY id')
            return [(each[0], each[1], str(each[2])[:19], each[3]) for each in found]

        load(warehouse, [visit("1", "a"), visit("2", "b")], table=HIDING)
        assert load(warehouse, [visit("1", "A")], at=LATER, table=HIDING).changed == 1
        year = "2026-01-01 00:00:00"
        assert rows() == [("1", "A", year, None), ("2", "b", year, None)]

    def test_rows_that_hide_times_are_marked_and_come_back(self, warehouse: Warehouse, fetch: Fetch) -> None:
        gone = f'SELECT id FROM visits WHERE "{DELETED_AT}" IS NOT NULL ORDER BY id'
        load(warehouse, [visit(number) for number in ("1", "2", "3")], table=HIDING)
        logged = LoggedDeletion(("3",), STATE.watermark, STATE.watermark)
        assert load(warehouse, [], at=LATER, table=HIDING, deletions=[logged]).deleted == 1
        for at in (LATER, LAST):
            load(warehouse, [visit("1")], at=at, table=HIDING, complete=complete_read(at))
        assert fetch(gone) == [("2",), ("3",)]
        load(warehouse, [visit("2"), visit("3")], at=EARLIER, table=HIDING)
        assert fetch(gone) == []
