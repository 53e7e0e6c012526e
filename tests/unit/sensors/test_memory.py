"""What a sensor remembers from one run to the next: nothing is lost and nothing comes twice, whatever clocks do."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_drchrono.incremental.cursor import (
    MOST_FORGOTTEN,
    MOST_RUNS,
    Cursor,
    CursorName,
    MemoryCursorStore,
    read_cursor,
)
from airflow_provider_drchrono.incremental.detection import Position
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.sensors.appointments import DrChronoNewOrUpdatedAppointmentsSensor as Appointments
from airflow_provider_drchrono.sensors.patients import DrChronoNewOrUpdatedPatientsSensor as Patients
from airflow_provider_drchrono.sensors.tasks import DrChronoNewOrUpdatedTasksSensor as Tasks
from tests.support.running import connected_sandbox, unlimited
from tests.support.slow import working_while_answered
from tests.unit.sensors.test_sensors import calls, context, poke

NAME = CursorName("a_dag", "changes")


def ids(records: list[dict[str, Any]] | None) -> list[Any]:
    return [each["id"] for each in records or ()]


def change(sandbox: Sandbox, number: int, **values: Any) -> int:
    patient: int = sandbox.practice.records("patients")[number]["id"]
    sandbox.practice.change("patients", patient, values)
    return patient


def remembered(store: MemoryCursorStore) -> Cursor:
    return read_cursor(store.texts[NAME])


def position(store: MemoryCursorStore) -> Position:
    found = remembered(store).position
    assert found is not None
    return found


def test_after_many_runs_an_old_one_that_is_cleared_does_not_take_what_is_new(
    sandbox: Sandbox, store: MemoryCursorStore
) -> None:
    assert len(poke(Patients, "run-0", start="beginning")) == 4
    due = datetime.now(UTC) - timedelta(minutes=5)
    cursor = remembered(store)
    for number in range(1, MOST_RUNS + MOST_FORGOTTEN + 10):
        cursor = cursor.with_delivery(f"run-{number}", position(store))
        cursor = read_cursor(cursor.dump()) if number % 100 == 0 else cursor
    store.texts[NAME] = cursor.dump()
    changed = change(sandbox, 1, city="Springfield")

    for run_id in ("run-0", "run-20", "run-500"):
        cleared = context(run_id) | {"dag_run": SimpleNamespace(run_after=due, clear_number=1)}
        with pytest.raises(AirflowFailException, match="is not remembered any more"):
            Patients(task_id="changes").poke(cleared)
    assert ids(poke(Patients, "next")) == [changed]


def test_a_cursor_that_was_set_before_the_first_run_is_gone_on_with(sandbox: Sandbox, store: MemoryCursorStore) -> None:
    store.texts[NAME] = Cursor("").restarted("1999-01-01").dump()

    assert len(poke(Patients, "run-1")) == 4
    with pytest.raises(AirflowFailException, match="the cursor of patients, not of tasks"):
        poke(Tasks, "run-2")


def test_a_longer_overlap_does_not_bring_back_what_was_given(sandbox: Sandbox) -> None:
    a_while_ago = (sandbox.clock.local() - timedelta(hours=1)).isoformat()
    old = change(sandbox, 0, city="Springfield", updated_at=a_while_ago)
    assert old in ids(poke(Patients, "run-1", start="beginning"))
    second = change(sandbox, 1, city="Shelbyville")
    assert ids(poke(Patients, "run-2", lookback=timedelta(days=1))) == [second]
    third = change(sandbox, 2, city="Ogdenville")

    assert ids(poke(Patients, "run-3", lookback=timedelta(days=1))) == [third]
    assert poke(Patients, "run-4", lookback=timedelta(days=1)) is None


@pytest.mark.parametrize("start", ["now", "beginning"])
def test_what_changes_while_the_first_page_is_slow_is_given_to_the_next_run(sandbox: Sandbox, start: str) -> None:
    patient = sandbox.practice.records("patients")[0]["id"]

    def work() -> None:
        sandbox.practice.change("patients", patient, {"city": "Springfield"})

    with working_while_answered(sandbox, "patients", work):
        first = poke(Patients, "run-1", start=start, lookback=0)

    assert len(first or ()) == (0 if start == "now" else 4)
    assert ids(poke(Patients, "run-2", start=start, lookback=0)) == [patient]


def test_what_changes_while_a_later_page_is_slow_is_given_to_the_next_run(
    monkeypatch: pytest.MonkeyPatch, store: MemoryCursorStore
) -> None:
    with connected_sandbox(monkeypatch, patients=4, appointments_per_patient=10) as sandbox:
        visit = sandbox.practice.records("appointments")[0]["id"]

        def work() -> None:
            sandbox.practice.change("appointments", visit, {"notes": "Bring X-rays"})

        with working_while_answered(sandbox, "appointments", work, skip=1):
            assert len(poke(Appointments, "run-1", start="beginning", lookback=0)) > 20

        assert ids(poke(Appointments, "run-2", lookback=0)) == [visit]


def test_a_new_zone_is_looked_back_for_once(
    sandbox: Sandbox, store: MemoryCursorStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert poke(Patients) is None
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox, timezone="America/Los_Angeles"))

    for number in range(3):
        assert poke(Patients, f"run-{number}") is None

    assert caplog.text.count("the practice has another time zone now") == 1
    practice = remembered(store).practice
    assert practice is not None
    assert practice.timezones == ("America/Los_Angeles",)


def wall_clock(instant: datetime, zone: str) -> str:
    return instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None, microsecond=0).isoformat()


def test_what_the_clock_of_a_new_zone_dated_just_before_the_last_poll_is_given(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert poke(Patients) is None
    just_now = wall_clock(sandbox.clock.now() - timedelta(seconds=60), "America/Los_Angeles")
    patient = change(sandbox, 0, city="Springfield", updated_at=just_now)
    assert poke(Patients, "too early for New York") is None
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox, timezone="America/Los_Angeles"))

    assert ids(poke(Patients, "run-1")) == [patient]


def test_what_the_clock_of_the_old_zone_dated_is_given_after_the_zone_has_changed(
    monkeypatch: pytest.MonkeyPatch, store: MemoryCursorStore
) -> None:
    with connected_sandbox(monkeypatch, patients=2, timezone="America/Los_Angeles") as sandbox:
        assert poke(Patients) is None
        patient = change(sandbox, 0, city="Springfield")
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox, timezone="America/New_York"))

        assert ids(poke(Patients, "run-1")) == [patient]


def test_a_doctor_in_another_zone_is_noticed_within_a_day_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch, store: MemoryCursorStore, caplog: pytest.LogCaptureFixture
) -> None:
    begun = datetime(2026, 7, 1, 12, tzinfo=UTC)
    with connected_sandbox(
        monkeypatch, patients=4, start=begun, frozen=True, doctor_timezones=("America/New_York",)
    ) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox, timezone=None))
        monkeypatch.setattr("airflow_provider_drchrono.sensors.base.incremental.utcnow", sandbox.clock.now)
        assert poke(Patients) is None
        doctor = sandbox.practice.records("doctors")[0]["id"]
        sandbox.practice.change("doctors", doctor, {"timezone": "Pacific/Honolulu"})
        sandbox.clock.set(begun + timedelta(hours=1))
        in_honolulu = change(sandbox, 0, updated_at=wall_clock(sandbox.clock.now(), "Pacific/Honolulu"))
        sandbox.clock.set(begun + timedelta(hours=12))
        in_new_york = change(sandbox, 1, city="Shelbyville")
        assert ids(poke(Patients, "run-1")) == [in_new_york]

        sandbox.clock.set(begun + timedelta(hours=25))
        assert in_honolulu in ids(poke(Patients, "run-2"))
        for number in range(3, 6):
            assert poke(Patients, f"run-{number}") is None

        assert caplog.text.count("the practice has another time zone now") == 1
        assert calls(sandbox).count("doctors_list") == 2
        practice = remembered(store).practice
        assert practice is not None
        assert set(practice.timezones) == {"America/New_York", "Pacific/Honolulu"}


# Clocks in New York go from 2:00 back to 1:00 at 06:00 UTC on this day.
SET_BACK = datetime(2026, 11, 1, 6, tzinfo=UTC)


class Night:
    """The night in which clocks are set back, and one sensor for creations and one for updates in it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.runs = 0
        self.given: dict[str, list[Any]] = {"created": [], "updated": []}

    def at(self, minutes: float) -> None:
        """Go to a time, in minutes since the clocks were set back."""
        self.sandbox.clock.set(SET_BACK + timedelta(minutes=minutes))

    def poll(self, minutes: float) -> dict[str, list[Any]]:
        """Poll at a time, and return what is given as created and as updated."""
        self.at(minutes)
        self.runs += 1
        found = {}
        for number, kind in enumerate(self.given):
            sensor = Patients(task_id="changes", change=kind, start="2026-11-01T00:00:00")  # type: ignore[arg-type]
            value = sensor.poke(context(f"run-{self.runs}", map_index=number))
            found[kind] = ids(value.xcom_value if value else None)
        return found

    def create(self, minutes: float) -> Any:
        self.at(minutes)
        return self.sandbox.practice.create("patients", {"last_name": "Night"})["id"]

    def change(self, minutes: float, patient: Any) -> None:
        self.at(minutes)
        self.sandbox.practice.change("patients", patient, {"city": f"City {minutes}"})


@pytest.fixture
def night(monkeypatch: pytest.MonkeyPatch, store: MemoryCursorStore) -> Iterator[Night]:
    options: dict[str, Any] = {"start": SET_BACK - timedelta(hours=1), "frozen": True, "patients": 1}
    with connected_sandbox(monkeypatch, **options) as sandbox:
        yield Night(sandbox)


def test_who_was_created_in_an_hour_that_comes_twice_is_created_once(night: Night) -> None:
    patient = night.create(-10)
    assert night.poll(-5) == {"created": [patient], "updated": []}

    # By its times it changes before it was created.
    night.change(10, patient)
    assert night.poll(15) == {"created": [], "updated": [patient]}
    assert night.poll(25) == {"created": [], "updated": []}
    night.change(35, patient)
    assert night.poll(40) == {"created": [], "updated": [patient]}
    night.change(65, patient)
    assert night.poll(70) == {"created": [], "updated": [patient]}
    assert night.poll(80) == {"created": [], "updated": []}


def test_who_was_created_at_the_end_of_the_first_hour_is_no_creation_after_the_second(night: Night) -> None:
    patient = night.create(-0.5)
    assert night.poll(-0.25) == {"created": [patient], "updated": []}
    night.change(58, patient)

    assert night.poll(61) == {"created": [], "updated": [patient]}
    night.change(62, patient)
    assert night.poll(65) == {"created": [], "updated": [patient]}


def test_after_the_hour_that_came_twice_its_marks_are_dropped(night: Night, store: MemoryCursorStore) -> None:
    for minutes in (-20, -10, 10):
        night.create(minutes)
        night.poll(minutes + 1)
    kept = [len(read_cursor(text).position.fingerprints) for text in store.texts.values()]  # type: ignore[union-attr]
    assert min(kept) >= 3

    patient = night.create(120)

    assert night.poll(125) == {"created": [patient], "updated": []}
    left = read_cursor(store.texts[CursorName("a_dag", "changes", 0)]).position
    assert left is not None
    assert len(left.fingerprints) == 0
