"""The flag that a create was sent: where Airflow has a store for a task's state, it lives there."""

from typing import Any

from airflow_provider_drchrono.state.sent_marker import KEY, SentMarker
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
    assert store.log == [f"set {KEY}", f"delete {KEY}"]


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
        return SentMarker(context)._variable

    names = {variable(), variable(map_index=1), variable(run_id="another"), variable(task_id="b"), variable(dag_id="c")}
    assert len(names) == 5
    assert variable() == variable(try_number=2)
    assert all(name.startswith(f"{KEY}_") and len(name) < 60 for name in names)
