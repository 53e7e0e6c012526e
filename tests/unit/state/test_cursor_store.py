"""Cursors in variables: where they are, what is said when they cannot be reached, and who may write."""

import threading

import pytest

from airflow_provider_drchrono.incremental.cursor import CursorName
from airflow_provider_drchrono.state.cursor_store import (
    CursorStoreError,
    VariableCursorStore,
    VariableDeliveriesStore,
)
from airflow_provider_drchrono.state.lease import Timing
from airflow_provider_drchrono.state.names import variable_of

NAME = CursorName("a_dag", "changes")
QUICK = Timing(write_limit=0.02, settle=0.05, hold=5.0, poll=0.01, patience=5.0)


class Shared:
    """Variables of one process; some cannot be reached."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.broken: set[str] = set()

    def read(self, key: str) -> str | None:
        if key in self.broken:
            raise RuntimeError("Canary: the database says something with values in it")
        return self.values.get(key)

    def write(self, key: str, value: str, description: str) -> None:
        if key in self.broken:
            raise RuntimeError("Canary: the database says something with values in it")
        self.values[key] = value


def test_what_is_saved_is_loaded() -> None:
    shared = Shared()
    VariableCursorStore(variables=shared).save(NAME, "text")

    assert VariableCursorStore(variables=shared).load(NAME) == "text"
    assert shared.values == {"drchrono:cursor:a_dag:changes": "text"}
    assert VariableCursorStore(variables=shared).load(CursorName("a_dag", "changes", 0)) is None


def test_assets_and_claims_have_variables_of_their_own() -> None:
    shared = Shared()
    VariableCursorStore(variables=shared).save(NAME, "cursor")
    VariableCursorStore(variables=shared).save(CursorName.of_asset("a_dag:changes"), "watcher")
    deliveries = VariableDeliveriesStore(variables=shared, timing=QUICK)
    with deliveries.lease(NAME):
        deliveries.save(NAME, "deliveries")

    assert deliveries.load(NAME) == "deliveries"
    assert shared.values == {
        "drchrono:cursor:a_dag:changes": "cursor",
        "drchrono:cursor::a_dag:changes": "watcher",
        "drchrono:deliveries:a_dag:changes": "deliveries",
        "drchrono:lease:deliveries:a_dag:changes": "{}",
    }


def test_long_names_stay_apart_and_fit() -> None:
    names = [CursorName("d" * 250, "t" * 250 + end, index) for end in "ab" for index in (-1, 0)]
    keys = {variable_of(name) for name in names}

    assert len(keys) == 4
    assert max(map(len, keys)) <= 250


def test_a_variable_that_cannot_be_reached_is_no_empty_one() -> None:
    shared = Shared()
    shared.broken.add(variable_of(NAME))
    store = VariableCursorStore(variables=shared)

    for use in (lambda: store.load(NAME), lambda: store.save(NAME, "text")):
        with pytest.raises(
            CursorStoreError, match=r"cursor of a_dag\.changes cannot be .* \(RuntimeError\); try again"
        ) as error:
            use()
        assert error.value.transient
        assert "Canary" not in str(error.value)
        assert error.value.__cause__ is None


def test_errors_name_claims_for_what_they_are() -> None:
    shared = Shared()
    shared.broken.add("drchrono:deliveries:a_dag:changes")

    with pytest.raises(
        CursorStoreError, match=r"drchrono:deliveries:a_dag:changes with the record of reads of a_dag\.changes"
    ):
        VariableDeliveriesStore(variables=shared).load(NAME)


def test_a_lease_that_cannot_be_had_says_so() -> None:
    shared = Shared()
    shared.broken.add("drchrono:lease:cursor:a_dag:changes")

    with (
        pytest.raises(CursorStoreError, match=r"a_dag\.changes was not stored"),
        VariableCursorStore(variables=shared, timing=QUICK).lease(NAME),
    ):
        raise AssertionError("the lease was not held")


def test_one_writes_at_a_time() -> None:
    shared = Shared()
    inside: list[int] = []
    most: list[int] = []

    def add() -> None:
        store = VariableCursorStore(variables=shared, timing=QUICK)
        with store.lease(NAME):
            inside.append(1)
            most.append(len(inside))
            store.save(NAME, (store.load(NAME) or "") + "x")
            inside.pop()

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert max(most) == 1
    assert VariableCursorStore(variables=shared).load(NAME) == "xxxx"
