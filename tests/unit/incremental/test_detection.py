"""What is new in one poll, and what a poll that is made again gives."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.incremental.canonical import canonical, comparable, parsed, storable
from airflow_provider_drchrono.incremental.detection import (
    ChangeDetector,
    ComparedCache,
    Fingerprinter,
    Position,
    within,
)
from airflow_provider_drchrono.incremental.hashes import pack, unpack
from airflow_provider_drchrono.incremental.lists import Change, IncrementalList, moment_of

ZONES = ("America/New_York",)
LOOKBACK = timedelta(minutes=2)
NOON = datetime(2026, 7, 1, 16, tzinfo=UTC)
PATIENTS = IncrementalList.of(load(), "patients")
START = Position(NOON - timedelta(hours=1), datetime(2026, 7, 1, 11), datetime(2026, 7, 1, 11))


def patient(number: int, changed: str, created: str = "2020-01-01T00:00:00", **fields: Any) -> dict[str, Any]:
    return {"id": number, "updated_at": f"2026-07-01T{changed}", "created_at": created, **fields}


def read(
    position: Position, *pages: list[dict[str, Any]], change: Change = "any", again: Position | None = None
) -> tuple[list[int], Position]:
    detector = ChangeDetector(PATIENTS, "salt", position, change, again)
    ids = [record["id"] for page in pages for record in detector.new_records(page)]
    return ids, detector.position_after(NOON, LOOKBACK, ZONES)


def test_what_was_given_comes_again_only_when_it_changes() -> None:
    ids, after = read(START, [patient(1, "11:30:00"), patient(2, "11:59:00")])
    assert ids == [1, 2]
    assert after.since == datetime(2026, 7, 1, 11, 58)
    assert len(after.fingerprints) == 1, "only what the next poll returns again is remembered"

    ids, _ = read(after, [patient(2, "11:59:00"), patient(3, "11:58:30")])
    assert ids == [3]
    ids, _ = read(after, [patient(2, "11:59:00", city="changed within the second")])
    assert ids == [2]


def test_the_first_version_of_a_record_that_moves_between_pages_counts() -> None:
    ids, after = read(START, [patient(1, "11:59:00")], [patient(1, "12:00:00")])

    assert ids == [1]
    assert read(after, [patient(1, "12:00:00")])[0] == [1]


def test_who_comes_twice_in_a_page_does_not_hide_those_behind() -> None:
    assert read(START, [patient(1, "11:59:00"), patient(1, "11:59:00"), patient(2, "11:59:30")])[0] == [1, 2]


def test_updates_that_are_given_again_leave_out_what_changed_since() -> None:
    ids, after = read(START, [patient(1, "11:30:00"), patient(2, "11:59:00")], change="updated")
    assert ids == [1, 2]

    again = [patient(1, "11:30:00"), patient(2, "12:10:00")]
    assert read(START, again, change="updated", again=after)[0] == [1]


def test_a_poll_that_is_made_again_gives_the_same_less_what_changed_since() -> None:
    old, recent = patient(1, "11:30:00"), patient(2, "11:59:00")
    _, after = read(START, [old, recent])

    assert read(START, [old, recent, patient(3, "11:59:30")], again=after)[0] == [1, 2]
    assert read(START, [old, patient(2, "12:10:00")], again=after)[0] == [1]


@pytest.mark.parametrize(("change", "expected"), [("created", [1]), ("updated", [2]), ("any", [1, 2])])
def test_creations_and_updates(change: Change, expected: list[int]) -> None:
    records = [patient(1, "11:30:00", created="2026-07-01T11:20:00"), patient(2, "11:40:00")]

    assert read(START, records, change=change)[0] == expected


def test_a_creation_is_given_again_in_its_present_version() -> None:
    _, after = read(START, [patient(1, "11:59:00", created="2026-07-01T11:59:00")], change="created")
    later = patient(1, "12:30:00", created="2026-07-01T11:59:00")

    assert read(START, [later], change="created", again=after)[0] == [1]
    assert read(after, [later], change="created")[0] == []
    assert read(after, [later], change="updated")[0] == [1]


def test_a_creation_that_no_later_poll_returns_is_given_again_in_its_present_version() -> None:
    _, after = read(START, [patient(1, "11:20:00", created="2026-07-01T11:20:00")], change="created")
    assert after.fingerprints == {}

    later = patient(1, "12:30:00", created="2026-07-01T11:20:00")
    assert read(START, [later], change="created", again=after)[0] == [1]
    newer = patient(2, "12:40:00", created="2026-07-01T12:40:00")
    assert read(START, [newer], change="created", again=after)[0] == []


@pytest.mark.parametrize(("created", "kind"), [("11:00:00", "created"), ("10:59:59", "updated")])
def test_a_window_of_creations_begins_with_its_first_second(created: str, kind: Change) -> None:
    record = patient(1, "11:30:00", created=f"2026-07-01T{created}")

    assert {each: read(START, [record], change=each)[0] for each in ("created", "updated")} == {  # type: ignore[arg-type]
        "created": [],
        "updated": [],
        kind: [1],
    }


def test_a_creation_that_slipped_through_between_pages_is_still_one() -> None:
    _, after = read(START, [patient(1, "11:10:00")], [patient(2, "11:20:00")], change="created")

    slipped = patient(3, "12:00:10", created="2026-07-01T11:15:00")
    assert read(after, [slipped], change="created")[0] == [3]


def test_a_creation_that_slipped_through_between_pages_is_no_update() -> None:
    _, after = read(START, [patient(1, "11:10:00")], [patient(2, "11:20:00")], change="updated")

    slipped = patient(3, "12:00:10", created="2026-07-01T11:15:00")
    assert read(after, [slipped], change="updated")[0] == []


def test_who_was_given_while_others_may_have_slipped_through_is_not_given_again() -> None:
    given, after = read(
        START, [patient(1, "11:10:00", created="2026-07-01T11:10:00")], [patient(2, "11:20:00")], change="created"
    )
    assert given == [1]

    changed = patient(1, "12:00:10", created="2026-07-01T11:10:00")
    assert read(after, [changed], change="created")[0] == []


def test_changes_of_the_other_kind_are_counted() -> None:
    records = [patient(number, "11:30:00") for number in (1, 2, 3)]
    reading = ChangeDetector(PATIENTS, "salt", START, "created")

    assert list(reading.new_records([*records, patient(4, "11:40:00", created="2026-07-01T11:40:00")])) != []
    assert reading.unwanted == 3


def test_everything_since_the_start_is_new_at_first() -> None:
    position = Position.at_start(datetime(2026, 7, 1, 11))
    assert (position.since, position.created_since) == (datetime(2026, 7, 1, 11), datetime(2026, 7, 1, 11))

    given, after = read(position, [patient(1, "11:30:00", created="2026-07-01T11:30:00")], change="created")
    assert given == [1]
    assert (after.until, after.since) == (NOON, datetime(2026, 7, 1, 11, 58))


def test_nothing_slips_through_between_lists_of_one_page_each() -> None:
    reading = ChangeDetector(PATIENTS, "salt", START, "created")
    for page in ([patient(1, "11:10:00")], [patient(2, "11:20:00")]):
        list(reading.new_records(page))

    after = reading.position_after(NOON, LOOKBACK, ZONES, lists=2)

    assert after.created_since == after.since
    assert after.fingerprints == {}, "or a cursor would grow with each poll"


def test_a_position_never_goes_back() -> None:
    _, after = read(START, [])

    for began, lookback in ((NOON - timedelta(minutes=30), LOOKBACK), (NOON, timedelta(hours=12))):
        later = ChangeDetector(PATIENTS, "salt", after).position_after(began, lookback, ZONES)
        assert (later.until, later.since) == (after.until, after.since)


def test_records_without_a_change_time_are_remembered_by_content() -> None:
    orders = IncrementalList.of(load(), "lab_orders")
    order = {"id": 7, "timestamp": "2026-07-01T11:00:00", "status": "Sent"}
    first = ChangeDetector(orders, "salt", START)
    assert list(first.new_records([order])) == [order]
    after = first.position_after(NOON, LOOKBACK, ZONES)

    second = ChangeDetector(orders, "salt", after)
    assert list(second.new_records([order])) == []
    assert list(ChangeDetector(orders, "salt", after).new_records([order | {"status": "Done"}])) == [
        order | {"status": "Done"}
    ]


def test_equal_records_without_a_key_are_counted() -> None:
    entry = {"action": "View", "updated_at": "2026-07-01T11:59:00"}
    log = IncrementalList.of(load(), "audit_log")
    first = ChangeDetector(log, "salt", START)
    assert len(list(first.new_records([dict(entry), dict(entry)]))) == 2

    second = ChangeDetector(log, "salt", first.position_after(NOON, LOOKBACK, ZONES))
    assert len(list(second.new_records([dict(entry), dict(entry), dict(entry)]))) == 1


def test_signatures_in_links_are_no_change() -> None:
    fingerprinter = Fingerprinter("salt", ("id",))
    links = [{"id": 1, "document": f"https://files.example.com/a.pdf?Signature={n}"} for n in range(2)]

    assert fingerprinter.fingerprint(links[0]) == fingerprinter.fingerprint(links[1])
    assert fingerprinter.fingerprint(links[0]) != Fingerprinter("other", ("id",)).fingerprint(links[0])


def test_what_is_compared_of_a_page_is_made_once_and_dropped_with_it() -> None:
    compared = ComparedCache()
    record: dict[str, Any] = {"id": 1, "city": "Utica"}
    first = compared(record)
    assert first == comparable(canonical(record))
    assert compared(record) is first

    record["city"] = "Troy"
    compared.clear()
    assert compared(record) == comparable(canonical(record)) != first


def test_half_a_character_does_not_stop_a_poll() -> None:
    assert canonical({"name": "Ann\ud800"}) == canonical({"name": "Ann\ufffd"}) == '{"name":"Ann\ufffd"}'.encode()
    assert parsed(b'{"name": "Ann\\ud800", "count": 1e999}') == {"name": "Ann\ufffd", "count": None}


def test_what_no_database_takes_is_replaced_at_any_depth() -> None:
    given = {"na\0me": ["a\0b", {"half": "\ud800!"}, ("x", 1, None, True)], "whole": "\U0001f600"}

    assert storable(given) == {
        "na\ufffdme": ["a\ufffdb", {"half": "\ufffd!"}, ["x", 1, None, True]],
        "whole": "\U0001f600",
    }


def test_records_that_lost_their_id_are_told_apart_by_content() -> None:
    lost = [{"id": None, "updated_at": "2026-07-01T11:30:00", "city": city} for city in ("Utica", "Troy")]

    assert len(list(ChangeDetector(PATIENTS, "salt", START).new_records(lost))) == 2


def test_marks_survive_packing() -> None:
    fingerprinter = Fingerprinter("salt", ("id",))
    seen = dict(fingerprinter.fingerprint({"id": number}) for number in range(20))

    assert unpack(pack(seen)) == seen
    assert len(pack(seen)) == 20 * 16
    for spoilt in (pack(seen)[:-1], "A" * 8, "A" * 40, "!" * 16):
        with pytest.raises(ValueError, match="fingerprints that cannot be read"):
            unpack(spoilt)


def test_the_hour_that_comes_twice_is_remembered_whole() -> None:
    second_hour = datetime(2026, 11, 1, 6, 45, tzinfo=UTC)
    before = Position(second_hour, datetime(2026, 11, 1, 1), datetime(2026, 11, 1, 1), {"A" * 8: "B" * 8})

    after = ChangeDetector(PATIENTS, "salt", before, "created").position_after(second_hour, LOOKBACK, ZONES)
    assert after.fingerprints == before.fingerprints
    later = ChangeDetector(PATIENTS, "salt", after, "created").position_after(
        second_hour + timedelta(hours=25), LOOKBACK, ZONES
    )
    assert later.fingerprints == {}


def test_who_is_met_first_with_an_earlier_time_in_the_repeated_hour_is_remembered() -> None:
    def moved(time: str) -> dict[str, Any]:
        return {"id": 1, "created_at": "2026-11-01T01:50:00", "updated_at": f"2026-11-01T{time}"}

    def poll(before: Position, minutes: int, time: str, change: Change) -> tuple[list[Any], Position]:
        reading = ChangeDetector(PATIENTS, "salt", before, change)
        given = list(reading.new_records([moved(time)]))
        return given, reading.position_after(datetime(2026, 11, 1, 6, minutes, tzinfo=UTC), LOOKBACK, ZONES)

    start = Position(datetime(2026, 11, 1, 5, 45, tzinfo=UTC), datetime(2026, 11, 1, 1), datetime(2026, 11, 1, 1))
    given, after = poll(start, 15, "01:10:00", "created")
    assert given == [moved("01:10:00")]
    assert poll(after, 25, "01:20:00", "created")[0] == []
    assert poll(after, 25, "01:20:00", "updated")[0] == [moved("01:20:00")]


def test_a_window_ends_before_its_end() -> None:
    records = [patient(1, "11:59:59"), patient(2, "12:00:00"), {"id": 3}, patient(4, "12:00:01")]

    kept = within(PATIENTS, records, datetime(2026, 7, 1, 12))

    assert [each["id"] for each in kept] == [1, 3]


def test_a_window_of_creations_ends_by_the_time_of_creation() -> None:
    in_time = patient(1, "12:30:00", created="2026-07-01T11:00:00")
    too_late = patient(2, "12:30:00", created="2026-07-01T12:00:00")

    kept = within(PATIENTS, [in_time, too_late], datetime(2026, 7, 1, 12), "created")

    assert [each["id"] for each in kept] == [1]


def test_long_ranges_of_dates_are_split() -> None:
    visits = IncrementalList.of(load(), "appointments")
    queries = visits.queries({"date_range": "2026-01-01/2026-12-31"}, datetime(2026, 5, 1))
    assert [(each["date_range"], each["since"]) for each in queries] == [
        ("2026-01-01/2026-07-09", "2026-05-01T00:00:00"),
        ("2026-07-10/2026-12-31", "2026-05-01T00:00:00"),
    ]


def test_a_list_that_insists_on_a_start_gets_one() -> None:
    assert IncrementalList.of(load(), "appointments").queries({}, None) == [{"since": "1970-01-01T00:00:00"}]
    assert IncrementalList.of(load(), "patients").queries({}, None) == [{}]
    assert IncrementalList.of(load(), "messages").queries({}, datetime(2026, 1, 1)) == [
        {"updated_since": "2026-01-01T00:00:00"}
    ]


@pytest.mark.parametrize("value", [None, 5, "soon", "2026-01-01T00:00:00Z"], ids=["null", "number", "word", "zoned"])
def test_a_timestamp_that_says_nothing(value: object) -> None:
    assert moment_of(value) is None
