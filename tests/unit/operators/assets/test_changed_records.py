"""The reader of events, run by hand against the sandbox: what a run is given, what it costs, what is refused."""

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset, AssetWatcher
from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException
from airflow.sdk.execution_time.context import TriggeringAssetEventsAccessor

from airflow_provider_drchrono.assets import drchrono_asset, drchrono_list
from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.incremental.cursor import MOST_FORGOTTEN, MOST_RUNS, CursorName, MemoryCursorStore
from airflow_provider_drchrono.incremental.events.deliveries import Deliveries, dump_deliveries
from airflow_provider_drchrono.incremental.events.event import ChangeEvent
from airflow_provider_drchrono.operators.assets import DrChronoChangedRecordsOperator
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from airflow_provider_drchrono.triggers.incremental import DrChronoIncrementalTrigger
from tests.support.events import make_event
from tests.support.running import connected_sandbox, execute

PATIENTS = drchrono_asset("patients")
NAME = CursorName("a_dag", "changed")


class Stores:
    """Where the asset's cursor and the task's deliveries are kept."""

    def __init__(self) -> None:
        self.cursors = MemoryCursorStore()
        self.deliveries = MemoryCursorStore()


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> Stores:
    kept = Stores()
    monkeypatch.setattr("airflow_provider_drchrono.state.cursor_store.VariableCursorStore", lambda: kept.cursors)
    monkeypatch.setattr("airflow_provider_drchrono.state.cursor_store.VariableDeliveriesStore", lambda: kept.deliveries)
    return kept


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, stores: Stores) -> Iterator[Sandbox]:
    with connected_sandbox(monkeypatch, patients=4, appointments_per_patient=1) as running:
        yield running


def change(sandbox: Sandbox, number: int, city: str) -> int:
    patient = sandbox.practice.records("patients")[number]["id"]
    sandbox.practice.change("patients", patient, {"city": city})
    return int(patient)


def change_event(sandbox: Sandbox, stores: Stores, number: int, city: str) -> ChangeEvent:
    """Change a patient and let the watcher make an event of it."""
    change(sandbox, number, city)
    event = make_event(stores.cursors, PATIENTS)
    assert event is not None
    return event


def context(
    run_id: str,
    *given: ChangeEvent | dict[str, Any] | None,
    by: Asset = PATIENTS,
    run_type: str = "asset_triggered",
    iteration: int | None = None,
) -> dict[str, Any]:
    """As much of a task's context as the operator looks at.

    :param given: the events of ``by``; an extra is that of an event that no watcher made.
    :param iteration: of the loop that the task is in.
    """
    key = SimpleNamespace(name=by.name, uri=by.uri)
    events = [SimpleNamespace(asset=key, source_aliases=(), extra=_extra(each)) for each in given]
    return {
        "ti": SimpleNamespace(dag_id="a_dag", task_id="changed", run_id=run_id, map_index=-1, try_number=1),
        "dag_run": SimpleNamespace(run_type=run_type),
        "triggering_asset_events": TriggeringAssetEventsAccessor.build(events),  # type: ignore[arg-type]
    } | ({} if iteration is None else {"loop": SimpleNamespace(index=iteration)})


def _extra(event: ChangeEvent | dict[str, Any] | None) -> dict[str, Any] | None:
    return {"from_trigger": True, "payload": event.payload()} if isinstance(event, ChangeEvent) else event


def read(run_id: str, *events: Any, asset: Asset = PATIENTS, options: Any = None, **details: Any) -> Any:
    """Run the task as a process of its own, and return its result."""
    operator = DrChronoChangedRecordsOperator(task_id="changed", asset=asset, **(options or {}))
    return execute(operator, context(run_id, *events, **details))


def by_hand(run_id: str, **details: Any) -> Any:
    return read(run_id, run_type="manual", **details)


def cities(records: list[dict[str, Any]]) -> list[str]:
    return [each["city"] for each in records]


def calls(sandbox: Sandbox) -> list[str]:
    return [entry.operation_id for entry in sandbox.journal.calls(resource="patients") if entry.operation_id]


@pytest.fixture
def begun(sandbox: Sandbox, stores: Stores) -> Sandbox:
    """A practice whose patients are watched from now on."""
    assert make_event(stores.cursors, PATIENTS) is None
    return sandbox


def test_a_record_that_lost_its_id_is_counted_and_read_and_stops_nobody(begun: Sandbox, stores: Stores) -> None:
    change(begun, 1, "Troy")
    table = begun.practice.table("patients")
    key = table.keys[0]
    moved = {"id": None, "city": "Utica", "updated_at": begun.clock.stamp()}
    table.put(key, dict(table[key]) | moved)

    event = make_event(stores.cursors, PATIENTS)

    assert event is not None
    assert (event.count, len(event.ids)) == (2, 1)
    assert sorted(cities(read("one", event))) == ["Troy", "Utica"]
    assert cities(read("two", change_event(begun, stores, 2, "Rome"))) == ["Rome"]


def test_an_iteration_of_a_loop_reads_what_the_one_before_has_not(begun: Sandbox, stores: Stores) -> None:
    first = change_event(begun, stores, 0, "Springfield")
    assert cities(read("one", first, iteration=0)) == ["Springfield"]

    assert cities(read("one", first, iteration=1)) == []
    assert cities(read("one", first, iteration=0)) == ["Springfield"], "on a second try"


def test_a_run_reads_exactly_what_its_events_name_and_again_on_a_second_try(begun: Sandbox, stores: Stores) -> None:
    first = change_event(begun, stores, 0, "Springfield")
    second = change_event(begun, stores, 1, "Shelbyville")

    assert cities(read("one", first)) == ["Springfield"]
    assert cities(read("two", second)) == ["Shelbyville"]
    third = change_event(begun, stores, 2, "Ogdenville")
    assert cities(read("one", first)) == ["Springfield"]
    assert cities(by_hand("one")) == ["Springfield"], "its claim counts, not its events"
    assert cities(read("three", third)) == ["Ogdenville"]


def test_what_changed_again_is_left_to_the_run_that_is_told_of_it(begun: Sandbox, stores: Stores) -> None:
    first = change_event(begun, stores, 0, "Springfield")
    second = change_event(begun, stores, 0, "Shelbyville")

    assert read("one", first) == []
    assert cities(read("two", second)) == ["Shelbyville"]


def test_events_of_windows_that_meet_cost_one_call(begun: Sandbox, stores: Stores) -> None:
    events = [change_event(begun, stores, number, f"City {number}") for number in range(3)]
    begun.journal.clear()

    assert sorted(cities(read("one", *reversed(events)))) == ["City 0", "City 1", "City 2"]
    assert calls(begun) == ["patients_list"]


def test_an_update_of_what_was_created_in_the_window_before_is_read(sandbox: Sandbox, stores: Stores) -> None:
    updated = drchrono_asset("patients", change="updated")
    assert make_event(stores.cursors, updated) is None
    change(sandbox, 0, "Springfield")
    first = make_event(stores.cursors, updated)
    newcomer = sandbox.practice.create("patients", {"last_name": "New"})
    assert make_event(stores.cursors, updated) is None
    change(sandbox, 1, "Shelbyville")
    second = make_event(stores.cursors, updated)
    sandbox.practice.change("patients", newcomer["id"], {"city": "Ogdenville"})
    third = make_event(stores.cursors, updated)

    found = read("one", first, second, third, asset=updated, by=updated)

    assert cities(found) == ["Springfield", "Shelbyville", "Ogdenville"]


def test_an_event_that_comes_twice_is_read_once_and_costs_nothing(begun: Sandbox, stores: Stores) -> None:
    event = change_event(begun, stores, 0, "Springfield")
    assert cities(read("one", event)) == ["Springfield"]
    stored = dict(stores.deliveries.texts)
    begun.journal.clear()

    assert read("two", event) == []
    assert calls(begun) == []
    assert stores.deliveries.texts == stored


def test_a_run_by_hand_catches_up_and_the_first_one_does_not(
    begun: Sandbox, stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    first = change_event(begun, stores, 0, "Springfield")
    assert by_hand("first of all") == []
    assert "no run of this task has read drchrono_default/patients:any yet" in caplog.text
    change_event(begun, stores, 1, "Shelbyville")
    change_event(begun, stores, 2, "Ogdenville")

    assert sorted(cities(by_hand("by hand"))) == ["Ogdenville", "Shelbyville"]
    assert by_hand("again") == []
    assert cities(read("its event", first)) == ["Springfield"]


def test_a_run_before_anything_was_watched_is_given_nothing(sandbox: Sandbox, stores: Stores) -> None:
    assert by_hand("early") == []
    assert calls(sandbox) == []


def test_a_run_that_another_asset_triggered_does_not_catch_up(begun: Sandbox, stores: Stores) -> None:
    event = change_event(begun, stores, 0, "Springfield")
    other = drchrono_asset("tasks")
    assert cities(read("one", event)) == ["Springfield"]
    change_event(begun, stores, 1, "Shelbyville")
    stored = dict(stores.deliveries.texts)

    assert read("two", {"payload": "of the other"}, by=other) == []
    assert read("three") == [], "Airflow says that assets triggered it, and names none"
    assert stores.deliveries.texts == stored


@pytest.mark.parametrize("extra", [None, {}, {"from_rest_api": True}], ids=["nothing", "empty", "by hand"])
def test_an_event_that_was_made_by_hand_makes_a_run_as_by_hand(begun: Sandbox, stores: Stores, extra: Any) -> None:
    event = change_event(begun, stores, 0, "Springfield")
    later = change_event(begun, stores, 1, "Shelbyville")

    assert cities(read("one", event, extra)) == ["Springfield"], "with others it is none"
    assert cities(read("two", extra)) == ["Shelbyville"]
    assert read("three", later) == []


def test_an_event_of_somebody_else_is_refused_without_its_content(begun: Sandbox, stores: Stores) -> None:
    with pytest.raises(AirflowFailException, match="nothing that fits under asset") as error:
        read("one", {"payload": {"last_name": "Canary"}})

    assert "Canary" not in str(error.value)
    assert stores.deliveries.texts == {}


class Overtaken(MemoryCursorStore):
    """Claims that another run stores while this one waits for the lease."""

    def __init__(self, meanwhile: Callable[[], Any]) -> None:
        super().__init__()
        self._meanwhile = [meanwhile]

    @contextmanager
    def lease(self, name: CursorName) -> Iterator[None]:
        if self._meanwhile:
            self._meanwhile.pop()()
        with super().lease(name):
            yield


def test_of_two_runs_at_once_one_is_given_what_both_were_notified_of(begun: Sandbox, stores: Stores) -> None:
    event = change_event(begun, stores, 0, "Springfield")
    given = []
    stores.deliveries = Overtaken(lambda: given.append(read("one", event)))

    assert read("two", event, change_event(begun, stores, 1, "Shelbyville"))[0]["city"] == "Shelbyville"
    assert [cities(each) for each in given] == [["Springfield"]]


def test_two_tasks_read_the_same(begun: Sandbox, stores: Stores) -> None:
    event = change_event(begun, stores, 0, "Springfield")
    mapped = context("one", event)
    mapped["ti"].map_index = 0

    assert cities(read("one", event)) == ["Springfield"]
    assert cities(execute(DrChronoChangedRecordsOperator(task_id="changed", asset=PATIENTS), mapped)) == ["Springfield"]
    assert set(stores.deliveries.texts) == {NAME, CursorName("a_dag", "changed", 0)}


def test_records_are_handed_on_as_by_a_sensor(begun: Sandbox, stores: Stores, tmp_path: Path) -> None:
    events = [change_event(begun, stores, number, f"City {number}") for number in range(3)]
    path = tmp_path / "new.ndjson.gz"

    def handed(**options: Any) -> Any:
        return read("one", *events, options={"fields": ["city"], **options})

    assert handed() == [{"city": "City 0"}, {"city": "City 1"}, {"city": "City 2"}]
    assert [len(batch) for batch in handed(batch_size=2)] == [2, 1]
    assert handed(output_path=str(path)) == {"path": str(path), "count": 3}
    assert len(gzip.decompress(path.read_bytes()).splitlines()) == 3
    with pytest.raises(AirflowFailException, match=r"more than 2 records are new.*output_path"):
        handed(max_records=2)
    with pytest.raises(AirflowFailException, match=r"fields names no field 'town'"):
        handed(fields=["town"])


def test_nothing_is_handed_on_in_the_same_way(begun: Sandbox, stores: Stores, tmp_path: Path) -> None:
    path = tmp_path / "nothing.ndjson"

    assert read("one", by=drchrono_asset("tasks"), options={"output_path": str(path)}) == {
        "path": str(path),
        "count": 0,
    }
    assert path.read_bytes() == b""


def test_a_full_quota_reschedules_the_run_which_then_reads_the_same(begun: Sandbox, stores: Stores) -> None:
    event = change_event(begun, stores, 0, "Springfield")
    begun.faults.add(Fault(kind="throttle", resource="patients", seconds=900))
    with pytest.raises(AirflowRescheduleException):
        read("one", event)
    assert read("two", event) == [], "it is the first one's"

    assert cities(read("one", event)) == ["Springfield"]


def test_what_a_forgetful_cursor_has_dropped_is_read_otherwise(begun: Sandbox, stores: Stores) -> None:
    event = change_event(begun, stores, 0, "Springfield")
    for number in range(MOST_RUNS):
        change_event(begun, stores, 1, f"City {number}")

    with pytest.raises(AirflowFailException, match=r"patients_list: 1 events.*as many others came after") as error:
        read("one", event)
    assert f"since={event.since!r} and until={event.until!r}" in str(error.value)
    assert stores.deliveries.texts == {}, "nobody was given it"


def test_events_from_before_a_reset_are_read_otherwise(begun: Sandbox, stores: Stores) -> None:
    event = change_event(begun, stores, 0, "Springfield")
    assert cities(read("one", event)) == ["Springfield"]
    stores.cursors.texts.clear()

    for run_id in ("one", "two"):
        with pytest.raises(AirflowFailException, match="as its cursor was reset since then"):
            read(run_id, replace(event, until="2026-01-01T00:00:00+00:00") if run_id == "two" else event)


def test_a_cleared_run_of_long_ago_does_not_take_what_is_new(begun: Sandbox, stores: Stores) -> None:
    event = change_event(begun, stores, 0, "Springfield")
    read("one", event)
    for number in range(MOST_RUNS):
        by_hand(f"by hand {number}")
    change_event(begun, stores, 1, "Shelbyville")

    with pytest.raises(AirflowFailException, match="what this DAG run was given is not remembered any more"):
        by_hand("one")
    assert cities(by_hand("another")) == ["Shelbyville"]


def test_a_cleared_run_that_is_older_than_all_memory_does_not_take_what_is_new(begun: Sandbox, stores: Stores) -> None:
    event = change_event(begun, stores, 0, "Springfield")
    forgotten = tuple(f"{number:012}" for number in range(MOST_FORGOTTEN))
    deliveries = Deliveries(runs={"the last one": (event.until,)}, forgotten=forgotten)
    stores.deliveries.texts[NAME] = dump_deliveries({PATIENTS.name: deliveries})
    change_event(begun, stores, 1, "Shelbyville")
    long_ago = context("long ago", run_type="manual")
    long_ago["dag_run"] = SimpleNamespace(
        run_type="manual", run_after=datetime.fromisoformat(event.until), clear_number=1
    )

    with pytest.raises(AirflowFailException, match="what this DAG run was given is not remembered any more"):
        execute(DrChronoChangedRecordsOperator(task_id="changed", asset=PATIENTS), long_ago)
    assert cities(by_hand("another")) == ["Shelbyville"]


def test_spoilt_deliveries_are_never_begun_anew(begun: Sandbox, stores: Stores) -> None:
    event = change_event(begun, stores, 0, "Springfield")
    stores.deliveries.texts[NAME] = "{"

    with pytest.raises(
        AirflowFailException, match=r"what runs of a_dag\.changed have read is stored as 1 char"
    ) as error:
        read("one", event)
    assert "airflow drchrono cursor reset a_dag changed" in str(error.value)
    assert stores.deliveries.texts[NAME] == "{"


def test_a_spoilt_cursor_names_the_asset(begun: Sandbox, stores: Stores) -> None:
    event = change_event(begun, stores, 0, "Springfield")
    stores.cursors.texts[CursorName.of_asset(PATIENTS.name)] = "{"

    with pytest.raises(AirflowFailException, match="the stored cursor of asset drchrono_default/patients:any") as error:
        read("one", event)
    assert "cursor reset --asset drchrono_default/patients:any" in str(error.value)
    assert stores.deliveries.texts == {}


def test_no_patient_data_is_stored_or_logged(
    begun: Sandbox, stores: Stores, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    event = change_event(begun, stores, 0, "Canaryville")

    assert cities(read("one", event)) == ["Canaryville"]
    logged = caplog.text + "".join(capfd.readouterr())
    assert f"reading 1 events, the last until {event.until}" in logged
    assert "Canaryville" not in logged + str(stores.deliveries.texts) + str(stores.cursors.texts)


OF_ANOTHER_NAME = AssetWatcher(
    name="w",
    trigger=DrChronoIncrementalTrigger(watch="other", drchrono_conn_id="drchrono_default", resource="patients"),
)


@pytest.mark.parametrize(
    ("asset", "given"),
    [
        pytest.param(Asset("mine"), "asset mine, which nothing of DrChrono watches", id="a plain asset"),
        pytest.param(drchrono_list("patients"), "which nothing of DrChrono watches", id="a list"),
        pytest.param(Asset("a", watchers=[OF_ANOTHER_NAME]), "asset a, which", id="another asset's watcher"),
        pytest.param("patients", "not str", id="a name"),
    ],
)
def test_another_asset_is_refused_when_the_dag_is_parsed(asset: Any, given: str) -> None:
    with pytest.raises(InvalidArgumentError, match=rf"asset must be what drchrono_asset\(\.\.\.\) returned.*{given}"):
        DrChronoChangedRecordsOperator(task_id="changed", asset=asset)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        pytest.param({"max_records": 0}, "max_records must be a number", id="no records"),
        pytest.param({"batch_size": True}, "batch_size must be a number", id="no batches"),
        pytest.param({"batch_size": 5, "output_path": "file:///x"}, "batch_size has no effect", id="batches of a file"),
    ],
)
def test_options_that_cannot_work_fail_when_the_dag_is_parsed(options: Any, problem: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"DrChronoChangedRecordsOperator: {problem}"):
        DrChronoChangedRecordsOperator(task_id="changed", asset=PATIENTS, **options)
