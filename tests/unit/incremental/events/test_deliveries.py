"""Which events a DAG run is given: each once, the same on a second try, and what is left to a run by hand."""

import json
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_drchrono.incremental.cursor import MOST_FORGOTTEN, MOST_RUNS, ForgottenRunError
from airflow_provider_drchrono.incremental.events.deliveries import (
    MOST_ASSETS,
    MOST_EVENTS,
    Deliveries,
    DeliveriesError,
    deliver,
    dump_deliveries,
    read_deliveries,
)

FIRST = datetime(2026, 7, 1, tzinfo=UTC)


def until(number: int) -> str:
    """The time of an event; those with odd numbers are spelt with another offset."""
    moment = FIRST + timedelta(hours=number)
    return moment.isoformat().replace("+00:00", "Z") if number % 2 else moment.isoformat()


def untils(numbers: Iterable[int]) -> tuple[str, ...]:
    return tuple(map(until, numbers))


class LostError(Exception):
    """What is given is not remembered by the cursor, so the run fails and stores nothing."""


class Task:
    """The runs of one task, and an asset's cursor that remembers some events."""

    def __init__(self, remembered: Iterable[int] = range(10)) -> None:
        self.deliveries: Deliveries | None = None
        self.remembered = untils(remembered)

    def run(
        self, run_id: str, triggered_by: Iterable[int] | None = None, cleared_from: datetime | None = None
    ) -> tuple[str, ...]:
        """Let a run ask, and store what comes of it."""
        events = None if triggered_by is None else untils(triggered_by)
        after, given = deliver(self.deliveries, run_id, events, self.remembered, cleared_from)
        if not set(given) <= set(self.remembered):
            raise LostError
        if after is not self.deliveries and after is not None:
            (after,) = read_deliveries(dump_deliveries({"an asset": after})).values()
        self.deliveries = after
        return given


def test_a_run_is_given_what_its_events_hold_and_again_on_a_second_try() -> None:
    task = Task()

    assert task.run("first", triggered_by=[5, 4]) == untils([4, 5])
    assert task.run("second", triggered_by=[6]) == untils([6])
    assert task.run("first", triggered_by=[5, 4]) == untils([4, 5])
    # A cleared run may have lost its events, but not what it was given.
    assert task.run("first", triggered_by=None) == untils([4, 5])


def test_an_event_that_airflow_got_twice_is_given_once() -> None:
    task = Task()
    task.run("first", triggered_by=[4])
    before = task.deliveries

    assert task.run("again", triggered_by=[4]) == ()
    assert task.deliveries is before, "there was nothing to store"
    assert task.run("and more", triggered_by=[4, 5, 5]) == untils([5])


def test_a_run_that_another_asset_triggered_is_given_nothing() -> None:
    task = Task()

    assert task.run("of the other", triggered_by=[]) == ()
    assert task.deliveries is None


def test_a_run_by_hand_catches_up_with_what_no_run_was_given_since_the_first() -> None:
    task = Task()
    task.run("triggered", triggered_by=[6])
    task.run("triggered, after events that reached nobody", triggered_by=[8])

    assert task.run("by hand") == untils([7, 9])
    assert task.run("by hand again") == ()
    assert task.run("by hand") == untils([7, 9])
    assert task.run("kept back", triggered_by=[7]) == ()
    assert task.run("earlier", triggered_by=[5]) == untils([5]), "its run may have waited in a queue"


def test_the_first_run_by_hand_only_marks_where_to_begin() -> None:
    task = Task()

    assert task.run("by hand") == ()
    task.remembered = untils(range(12))
    assert task.run("triggered", triggered_by=[3]) == untils([3]), "what a run is triggered by it is always given"
    assert task.run("by hand again") == untils([10, 11])
    assert task.run("by hand") == (), "a cleared run is given the same, which was nothing"


def test_a_first_run_by_hand_before_any_event() -> None:
    task = Task(())

    assert task.run("by hand") == ()
    task.remembered = untils([0])
    assert task.run("by hand again") == untils([0])


def test_many_runs_are_forgotten_but_what_they_took_is_not_given_again() -> None:
    task = Task(range(MOST_RUNS + 5))
    for number in range(MOST_RUNS + 5):
        assert task.run(f"run {number}", triggered_by=[number]) == untils([number])

    assert task.deliveries is not None
    assert len(task.deliveries.runs) == MOST_RUNS
    assert set(task.deliveries.delivered) == set(untils(range(5)))
    assert task.run("given again", triggered_by=[0, 4]) == ()
    with pytest.raises(ForgottenRunError, match="a sensor for the same list, and since and until"):
        task.run("run 4", triggered_by=[4])


def test_no_run_of_the_last_thousand_is_taken_for_new_nor_a_cleared_one_from_before() -> None:
    task = Task(())
    count = MOST_RUNS + MOST_FORGOTTEN + 5
    for number in range(count):
        task.remembered = (*task.remembered, until(number))[-MOST_RUNS:]
        task.run(f"run {number}", triggered_by=[number] if number % 3 else None)
    task.remembered = (*task.remembered, until(count))[-MOST_RUNS:]
    before = task.deliveries

    for number in range(count - MOST_RUNS - MOST_FORGOTTEN, count - MOST_RUNS):
        with pytest.raises(ForgottenRunError):
            task.run(f"run {number}")
    with pytest.raises(ForgottenRunError):
        task.run("run 3", cleared_from=FIRST)
    assert task.deliveries is before
    # It may not have come to this task before it failed.
    assert task.run("of today", cleared_from=FIRST + timedelta(hours=count)) == untils([count])


def test_a_cleared_run_is_given_what_its_own_events_tell_however_old_it_is() -> None:
    task = Task()
    for number in range(MOST_RUNS + MOST_FORGOTTEN + 5):
        task.run(f"by hand {number}")

    assert task.run("kept waiting", triggered_by=[5], cleared_from=FIRST) == untils([5])


def test_what_no_cursor_remembers_needs_no_memory() -> None:
    task = Task()
    for number in range(MOST_RUNS + 5):
        task.remembered = untils([number])
        task.run(f"run {number}", triggered_by=[number])

    assert task.deliveries is not None
    assert task.deliveries.delivered == ()


def test_runs_that_were_given_many_do_not_fill_the_memory() -> None:
    task = Task(())
    for number in range(30):
        task.remembered = untils(range(number * 100, number * 100 + 100))
        task.run(f"run {number}", triggered_by=range(number * 100, number * 100 + 100))

    assert task.deliveries is not None
    assert sum(map(len, task.deliveries.runs.values())) == MOST_EVENTS
    task.remembered = untils(range(5_000, 5_000 + 2 * MOST_EVENTS))
    assert task.run("huge", triggered_by=range(5_000, 5_000 + 2 * MOST_EVENTS)) == task.remembered
    assert list(task.deliveries.runs) == ["huge"]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_each_event_is_given_to_one_run(seed: int) -> None:
    chance = random.Random(seed)
    task = Task(())
    given: dict[str, tuple[str, ...]] = {}
    events_of: dict[str, list[int] | None] = {}
    waiting: list[int] = []
    for number in range(300):
        if chance.random() < 0.7:
            task.remembered = (*task.remembered, until(number))[-MOST_RUNS:]
            waiting.append(number)
        if waiting and chance.random() < 0.5:
            chance.shuffle(waiting)
            events = [waiting.pop() for _ in range(chance.randint(1, len(waiting)))]
            if chance.random() < 0.2:
                events.append(chance.choice([each for each in range(number + 1) if until(each) in task.remembered]))
            events_of[f"triggered {number}"] = events
        elif chance.random() < 0.2:
            events_of[f"by hand {number}"] = None
        for run_id in chance.sample(sorted(events_of), min(3, len(events_of))) + list(events_of)[-1:]:
            try:
                now = task.run(run_id, events_of[run_id])
            except (ForgottenRunError, LostError):
                continue
            assert now == given.setdefault(run_id, now)

    handed = [each for its in given.values() for each in its]
    assert len(handed) == len(set(handed))
    assert set(untils(range(300))).intersection(task.remembered).difference(untils(waiting)) <= set(handed)


def test_what_was_given_of_several_assets_is_kept_apart_and_the_oldest_is_dropped() -> None:
    each, _ = deliver(None, "a run", [until(1)], untils([1]))
    assert each is not None
    many = {f"asset {number}": each for number in range(MOST_ASSETS + 1)}

    assert read_deliveries(dump_deliveries(many)) == {name: each for name in list(many)[1:]}


STORED = dump_deliveries({"an asset": Deliveries(until(2), {"a run": untils([1, 2])}, untils([0]), ("abc",))})


def test_everything_survives() -> None:
    assert dump_deliveries(read_deliveries(STORED)) == STORED


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("", "0 characters of text that is not JSON", id="empty"),
        pytest.param(STORED[:40], "40 characters of text that is not JSON", id="cut off"),
        pytest.param("[]", "JSON of type list without a version", id="another thing"),
        pytest.param('{"version": 2}', "version '2', and this release reads version 1", id="later release"),
        pytest.param('{"version": 1}', "nothing under 'assets'", id="too little"),
        pytest.param('{"version": 1, "assets": []}', "values that cannot be read", id="no assets"),
        pytest.param(STORED.replace('"since"', '"lost"'), "nothing under 'since'", id="no start"),
        pytest.param(STORED.replace("2026-07-01T00", "last July"), "values that cannot be read", id="no time"),
        pytest.param(STORED.replace("+00:00", ""), "values that cannot be read", id="no zone"),
        pytest.param(
            json.dumps({"version": 1, "assets": {"a": None}}), "values that cannot be read", id="no deliveries"
        ),
    ],
)
def test_spoilt_deliveries_say_what_was_found(text: str, found: str) -> None:
    with pytest.raises(DeliveriesError, match=found):
        read_deliveries(text)
