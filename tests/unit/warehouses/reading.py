"""Looks into a warehouse beside the code under test, through a connection of the database's own driver."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

from tests.unit.warehouses.conformance import Fetch


def fetching(connect: Callable[[], Any]) -> Fetch:
    """Return what runs a query, each time in a connection of its own, and returns the rows."""

    def run(query: str) -> list[tuple[Any, ...]]:
        with closing(connect()) as connection:
            rows: list[tuple[Any, ...]] = connection.execute(query).fetchall()
            return rows

    return run


def executing(connect: Callable[[], Any]) -> Callable[[str], None]:
    """Return what runs a statement, each time in a connection of its own, for good."""

    def run(statement: str) -> None:
        with closing(connect()) as connection:
            connection.execute(statement)
            connection.commit()

    return run
