"""The flag that a create was sent: where Airflow has a store for a task's state, it lives there."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_drchrono.state.sent_marker import MOST_IDS, SentCreate, SentMarker
from airflow_provider_drchrono.state.variables import AirflowVariables
from tests.support.running import MemoryStore, context_of


class BrokenStore(MemoryStore):
    """A store that can be written to but not deleted from."""

    def delete(self, key: str) -> None:
        raise ConnectionError("the API server is away")


def test_a_flag_set_in_one_try_is_seen_in_the_next() -> None:
    store = MemoryStore()

    assert not SentMarker(context_of(store)).is_set()
    SentMarker(context_of(store)).set()
    assert SentMarker(context_of(store)).is_set()
    SentMarker(context_of(store)).clear()
    assert not SentMarker(context_of(store)).is_set()
    assert store.log == ["set drchrono:sent", "delete drchrono:sent"]


def test_where_airflow_has_no_store_the_flag_is_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    variables: dict[str, str] = {}
    monkeypatch.setattr(AirflowVariables, "read", lambda self, key: variables.get(key))
    monkeypatch.setattr(AirflowVariables, "write", lambda self, key, value, why: variables.update({key: value}))
    monkeypatch.setattr(AirflowVariables, "delete", lambda self, key: variables.pop(key))
    context = context_of()
    del context["task_state_store"]

    assert not SentMarker(context).is_set()
    SentMarker(context).set()
    assert SentMarker(context).is_set()
    assert [json.loads(each)["version"] for each in variables.values()] == [1]
    SentMarker(context).clear()
    assert not variables


def test_what_was_known_before_the_create_is_read_by_the_next_try() -> None:
    store = MemoryStore()
    sent = SentCreate.of({"5", "7_1"}, datetime(2026, 1, 31, 8, tzinfo=UTC), "abc")

    SentMarker(context_of(store)).set(sent)

    assert SentMarker(context_of(store)).read() == sent
    assert json.loads(json.dumps(store.values)) == store.values


def test_so_many_ids_that_they_are_not_kept_leave_it_unknown_what_was_there() -> None:
    ids = {str(number) for number in range(MOST_IDS + 1)}

    assert SentCreate.of(ids, None, "").existing is None
    assert SentCreate.of(sorted(ids)[1:], None, "").existing == ids - {sorted(ids)[0]}


@pytest.mark.parametrize("raw", [True, {"version": 2, "existing": []}, {"version": 1}, "x", {"existing": ["5"]}])
def test_of_a_marker_that_cannot_be_read_only_the_flag_counts(raw: Any) -> None:
    store = MemoryStore()
    store.set("drchrono:sent", raw)

    assert SentMarker(context_of(store)).read() == SentCreate()


def test_a_flag_that_cannot_be_cleared_does_not_fail_a_create_that_went_well() -> None:
    store = BrokenStore()
    marker = SentMarker(context_of(store))
    marker.set()

    marker.clear()

    assert marker.is_set()


def test_each_task_instance_has_a_variable_of_its_own() -> None:
    def variable(**changes: Any) -> str:
        context = context_of()
        del context["task_state_store"]
        vars(context["ti"]).update(changes)
        return SentMarker(context)._key

    names = {variable(), variable(map_index=1), variable(run_id="another"), variable(task_id="b"), variable(dag_id="c")}
    assert len(names) == 5
    assert variable() == variable(try_number=2)
    assert all(name.startswith("drchrono:sent:") and len(name) < 60 for name in names)
