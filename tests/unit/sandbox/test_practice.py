import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_drchrono.catalog import Field, load
from airflow_provider_drchrono.sandbox import Options, Sandbox
from airflow_provider_drchrono.sandbox.admin import checksum
from airflow_provider_drchrono.sandbox.churn import MAKERS, churn
from airflow_provider_drchrono.sandbox.practice.charges import cents
from airflow_provider_drchrono.sandbox.practice.untidy import GONE_OFFICE
from tests.unit.sandbox.shapes import departures

START = datetime(2026, 6, 15, 16, 0, tzinfo=UTC)
TABLES = list(Sandbox(patients=1).practice.tables)


def whole(sandbox: Sandbox) -> str:
    return json.dumps({name: sandbox.practice.records(name, verbose=True) for name in TABLES})


@pytest.mark.parametrize("table", TABLES)
def test_every_kind_of_record_is_there_and_as_the_catalogue_says(sandbox: Sandbox, table: str) -> None:
    record = sandbox.practice.table(table).record
    assert record is not None
    for verbose in (False, True):
        rows = sandbox.practice.records(table, verbose=verbose)
        assert rows, "no record of this kind"
        assert [line for row in rows for line in departures(record.name, row, verbose=verbose)] == []


@pytest.mark.parametrize("table", TABLES)
def test_every_reference_leads_somewhere(sandbox: Sandbox, table: str) -> None:
    record = sandbox.practice.table(table).record
    assert record is not None
    references = [each for each in record.fields.values() if each.refers_to and not unresolved(table, each)]
    for row in sandbox.practice.records(table, verbose=True):
        for field in references:
            for value in row[field.name] if field.type == "array" else [row.get(field.name)]:
                if field.name == "office" and sandbox.practice.refers("offices", (value or 0) - GONE_OFFICE):
                    # The office has closed; its visits still name it.
                    continue
                assert value is None or sandbox.practice.refers(field.refers_to or "", value), (field.name, value)


def unresolved(table: str, field: Field) -> bool:
    """Positions in a list of rooms, and the number of a charge that is gone, lead nowhere on purpose."""
    return field.name == "exam_room" or (table, field.name) == ("line_item_deletions", "billing_line_item_id")


def test_equal_seeds_give_equal_practices() -> None:
    first, second, other = (Sandbox(patients=20, seed=seed, start=START, frozen=True) for seed in (4, 4, 5))

    assert whole(first) == whole(second)
    assert whole(first) != whole(other)


def test_nothing_was_changed_in_the_future() -> None:
    sandbox = Sandbox(patients=50, start=START, frozen=True)
    now = sandbox.clock.stamp()
    for name in TABLES:
        for row in sandbox.practice.table(name):
            if row.get("updated_at"):
                assert (row.get("created_at") or "") <= row["updated_at"] < now, name


def test_visits_lie_in_the_past_and_ahead() -> None:
    sandbox = Sandbox(patients=50, start=START, frozen=True)
    now = sandbox.clock.stamp()
    visits = sandbox.practice.records("appointments")

    assert len(visits) == 500
    assert 50 < sum(each["scheduled_time"] > now for each in visits) < 150
    assert {datetime.fromisoformat(each["scheduled_time"]).weekday() for each in visits} == {0, 1, 2, 3, 4}


def test_the_money_adds_up(sandbox: Sandbox) -> None:
    charges = sandbox.practice.records("line_items")
    for each in charges:
        assert cents(each["billed"]) == cents(each["paid_total"]) + cents(each["adjustment"]) + cents(
            each["balance_total"]
        )
    paid = {each["line_item"]: each["ins_paid"] for each in sandbox.practice.records("transactions")}
    assert all(paid[each["id"]] == each["ins1_paid"] for each in charges)


def test_two_thousand_patients_are_there_in_a_moment() -> None:
    began = time.process_time()
    sandbox = Sandbox(patients=2000)
    seconds = time.process_time() - began

    assert sandbox.practice.count("appointments") == 20_000
    # Three seconds on an idle machine of two cores; process time leaves out what others take.
    assert seconds < 6


def test_a_million_records_cost_no_memory_and_are_listed_page_by_page() -> None:
    sandbox = Sandbox(patients=2, records={"task_notes": 1_000_000})
    table = sandbox.practice.table("task_notes")

    last = table.keys[-1]
    assert len(table) == 1_000_000
    assert json.loads(table.encoded(last)) == table.view(table[last])
    assert len(table.rows) == 50_000
    sandbox.practice.change("task_notes", last, {"text": "changed"})
    assert json.loads(table.encoded(last))["text"] == "changed"
    sandbox.practice.remove("task_notes", table.keys[-2])
    assert len(table) == 999_999


def test_sizes_of_single_resources() -> None:
    sandbox = Sandbox(patients=3, records={"tasks": 7, "line_items": 0, "allergies": 11})

    assert [len(sandbox.practice.table(name)) for name in ("tasks", "line_items", "transactions", "allergies")] == [
        7, 0, 0, 11,
    ]  # fmt: skip


def test_an_empty_practice_is_possible() -> None:
    sandbox = Sandbox(patients=0)

    assert sandbox.practice.records("patients") == sandbox.practice.records("appointments") == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"records": {"patient": 1}}, "choose from", id="unknown resource"),
        pytest.param({"patients": -1}, "may not be negative", id="negative size"),
        pytest.param({"timezone": "Mars/Olympus"}, "Mars/Olympus", id="unknown zone"),
        pytest.param({"quota_per_hour": 0}, "None lifts the limit", id="quota of nought"),
        pytest.param({"start": datetime(2026, 1, 1)}, "time zone", id="start without a zone"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sandbox(**options)


def test_doctors_name_their_zones() -> None:
    sandbox = Sandbox(Options(patients=1), doctor_timezones=("America/Denver", "America/Chicago"))

    zones = [each["timezone"] for each in sandbox.practice.records("doctors")]
    assert zones == ["America/Denver", "America/Chicago", "America/Denver"]


def test_the_wall_clock_goes_back_in_autumn() -> None:
    sandbox = Sandbox(patients=1, start=datetime(2026, 11, 1, 5, 30, tzinfo=UTC), frozen=True)
    assert sandbox.clock.stamp() == "2026-11-01T01:30:00"
    sandbox.clock.advance(3600)
    assert sandbox.clock.stamp() == "2026-11-01T01:30:00"


class TestChurn:
    def test_it_reports_exactly_what_a_client_finds_changed(self) -> None:
        sandbox = Sandbox(patients=40, start=START, frozen=True)
        before = {name: {row["id"]: row for row in sandbox.practice.records(name)} for name in MAKERS}
        sandbox.clock.advance(60)

        report = churn(sandbox.practice, seed=3, changes=200)

        for name in MAKERS:
            after = {row["id"]: row for row in sandbox.practice.records(name)}
            new = set(after) - set(before[name])
            changed = {key for key in before[name] if after[key] != before[name][key]}
            assert report[name] == {"new": len(new), "changed": len(changed)}
            assert {after[key]["updated_at"] for key in new | changed} == {"2026-06-15T12:01:00"}

    def test_it_keeps_records_as_the_catalogue_says(self) -> None:
        sandbox = Sandbox(patients=40)
        churn(sandbox.practice, seed=3, changes=300)
        for name in MAKERS:
            record = sandbox.practice.table(name).record
            assert record is not None
            rows = sandbox.practice.records(name)
            assert [line for row in rows for line in departures(record.name, row, verbose=False)] == []

    def test_equal_seeds_stir_equally(self) -> None:
        reports = []
        for _ in range(2):
            sandbox = Sandbox(patients=20, start=START, frozen=True)
            reports.append((churn(sandbox.practice, seed=8, changes=50), whole(sandbox)))
        assert reports[0] == reports[1]


def test_the_checksum_tells_any_change() -> None:
    sandbox = Sandbox(patients=5, start=START, frozen=True)
    before = checksum(sandbox.practice, "patients")
    target = sandbox.practice.records("patients")[0]

    sandbox.practice.change("patients", target["id"], {"city": "Elsewhere"})
    assert checksum(sandbox.practice, "patients")["sha256"] != before["sha256"]
    sandbox.practice.change("patients", target["id"], target)
    assert checksum(sandbox.practice, "patients") == before


def test_given_stamps_are_kept() -> None:
    sandbox = Sandbox(patients=2)
    target = sandbox.practice.table("patients").keys[0]
    yesterday = (sandbox.clock.local() - timedelta(days=1)).isoformat()

    assert sandbox.practice.change("patients", target, {"updated_at": yesterday})["updated_at"] == yesterday
    assert load().resource("patients").incremental is not None


def test_a_write_to_the_key_does_not_make_a_record_another_one() -> None:
    sandbox = Sandbox(patients=5, start=START, frozen=True)
    table = sandbox.practice.table("telehealth_appointments")
    first = table.keys[0]

    other = {"appointment": first + 1, "sent_patient_email": True}
    changed = sandbox.practice.change("telehealth_appointments", first, other)

    assert (changed["appointment"], changed["sent_patient_email"]) == (first, True)
    again = sandbox.practice.change("telehealth_appointments", first, {"sent_patient_email": False})
    assert (again["appointment"], again["sent_patient_email"]) == (first, False)


def test_two_practices_share_no_id() -> None:
    north, south = (Sandbox(patients=5, practice_group=number, start=START, frozen=True) for number in (1, 2))

    for name in TABLES:
        keys = [{str(key) for key in each.practice.table(name).keys} for each in (north, south)]
        if north.practice.table(name).key == "id" and all(key.isdigit() for key in keys[0] | keys[1]):
            assert keys[0].isdisjoint(keys[1]), name
    for sandbox, number in ((north, 1), (south, 2)):
        rows = [row for name in TABLES for row in sandbox.practice.records(name)]
        assert {row["practice_group"] for row in rows if "practice_group" in row} == {number}


@pytest.mark.parametrize("number", [0, -1, 1_001])
def test_a_practice_group_that_cannot_be(number: int) -> None:
    with pytest.raises(ValueError, match="practice_group is a number from 1 to 1000"):
        Sandbox(practice_group=number)
