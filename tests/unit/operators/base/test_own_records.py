"""Which of the records that are found after a lost answer may be the task's own."""

from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.operators.base.lookup import plan_lookup
from airflow_provider_drchrono.operators.base.own_records import InDoubtError, OwnRecords, age, fingerprint_of
from airflow_provider_drchrono.state.sent_marker import SentCreate

ANA = {"first_name": "Ana", "last_name": "Lopez", "date_of_birth": "1980-05-17", "gender": "Female", "doctor": 1}
BEA = ANA | {"first_name": "Bea"}
CHECKED_AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
PATIENTS = load().resource("patients")
LOOKUP: Any = plan_lookup("patients_create", [], ANA)


def pick(
    sent: SentCreate, records: list[dict[str, Any]], found: list[list[dict[str, Any]]], zone: str | None = None
) -> list[Any]:
    own = OwnRecords(PATIENTS, sent, zone).pick([LOOKUP] * len(records), records, found)
    return [each and each["id"] for each in own]


@pytest.mark.parametrize(
    ("created_at", "zone", "own"),
    [
        pytest.param("2026-01-30T23:00:00", None, [None], id="older in every zone"),
        pytest.param("2026-01-31T01:00:00", None, [7], id="older in some zones"),
        pytest.param("2026-01-31T06:30:00", "America/New_York", [None], id="older by the practice's clock"),
        pytest.param("2026-01-31T06:59:00", "America/New_York", [7], id="as old, but for what clocks differ"),
        pytest.param("2026-01-31T11:00:00+00:00", None, [None], id="older, with a zone"),
        pytest.param("2026-01-31T12:00:01", None, [7], id="younger"),
        pytest.param("soon", None, [7], id="no time"),
        pytest.param(None, None, [7], id="not shown"),
    ],
)
def test_a_record_that_is_older_than_the_create_is_not_its_own(created_at: Any, zone: str | None, own: Any) -> None:
    # It may have been changed to these values, or restored, since the look-up.
    sent = SentCreate(frozenset(), CHECKED_AT)

    assert pick(sent, [ANA], [[ANA | {"id": 7, "created_at": created_at}]], zone) == own


def test_records_of_a_list_that_are_alike_are_told_by_their_number_and_their_other_values() -> None:
    sent = SentCreate(frozenset({"1"}))
    twins = [ANA | {"city": city} for city in ("Springfield", "Shelbyville")]
    old, first, second = ({"id": number} | twin for number, twin in ((1, ANA), (8, twins[1]), (10, twins[0])))

    assert pick(sent, twins, [[old, second, first]] * 2) == [10, 8]
    assert pick(sent, twins, [[old, first]] * 2) == [None, 8]
    with pytest.raises(InDoubtError) as several:
        pick(sent, twins, [[old, first, second, second | {"id": 11}]] * 2)
    assert several.value.ids == ["8", "10", "11"]


def test_where_it_is_not_known_what_was_there_every_match_is_in_doubt() -> None:
    assert pick(SentCreate(), [ANA], [[]]) == [None]
    with pytest.raises(InDoubtError):
        pick(SentCreate(), [ANA], [[ANA | {"id": 7}]])


def test_records_that_nothing_tells_apart_are_in_doubt() -> None:
    own = OwnRecords(load().resource("telehealth_appointment_history"), SentCreate(frozenset()), None)

    with pytest.raises(InDoubtError):
        own.pick([LOOKUP], [ANA], [[ANA]])


def test_the_fingerprint_is_of_what_is_looked_for_in_any_order() -> None:
    both = fingerprint_of("secret", [LOOKUP] * 2, [ANA, BEA])

    assert both == fingerprint_of("secret", [LOOKUP] * 2, [BEA | {"city": "Springfield"}, ANA])
    assert both != fingerprint_of("secret", [LOOKUP], [ANA])
    assert both != fingerprint_of("another", [LOOKUP] * 2, [ANA, BEA])
    assert len(both) == 16


def test_occurrences_of_a_recurring_visit_are_ordered_by_the_number_of_their_series() -> None:
    ids = ["99", "2026-02-01_100", "2026-01-01_101"]
    assert sorted(ids, key=lambda each: age({"id": each})) == ids
