"""What becomes of a record's values on their way into columns: nothing is lost, and nothing breaks a load."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_drchrono.incremental.canonical import canonical
from airflow_provider_drchrono.warehouses.plain_records import PlainRecords
from airflow_provider_drchrono.warehouses.table import (
    DIGEST,
    EXTRA,
    SYNCED_AT,
    TIMEZONE,
    Column,
    ColumnType,
    Row,
    RowMaker,
    Table,
    digest,
)

READ_AT = "2026-01-15 12:00:00+00:00"
KINDS: tuple[ColumnType, ...] = ("text", "integer", "decimal", "boolean", "date", "time", "timestamp", "json")
TABLE = Table(
    name="things",
    schema=None,
    columns=(Column("id", "integer", required=True), *(Column(f"a_{kind}", kind) for kind in KINDS)),
    key=("id",),
    changed=None,
)


def maker(timezone: str | None = "America/New_York") -> RowMaker:
    return RowMaker(TABLE, timezone)


def made(making: RowMaker, record: dict[str, Any]) -> Row:
    row = making.row(canonical(record), READ_AT)
    assert row is not None
    return row


def convert(record: dict[str, Any], timezone: str | None = "America/New_York") -> dict[str, Any]:
    row = made(maker(timezone), {"id": 1} | record)
    return dict(zip((column.name for column in TABLE.all_columns), row, strict=True))


@pytest.mark.parametrize(
    ("kind", "value", "stored"),
    [
        pytest.param("text", "Ann", "Ann", id="text"),
        pytest.param("text", "", "", id="empty text stays empty"),
        pytest.param("text", 42, "42", id="number as text"),
        pytest.param("text", True, "true", id="truth as text"),
        pytest.param("text", "a\tb\nc\\d\x1f\x1e", "a\tb\nc\\d\x1f\x1e", id="control characters"),
        pytest.param("text", "nul\0inside", "nul\ufffdinside", id="NUL"),
        pytest.param("text", "half \ud83d", "half \ufffd", id="half a character"),
        pytest.param("text", "whole 😀", "whole 😀", id="whole character"),
        pytest.param("text", "\\u0000", "\\u0000", id="the letters of an escape"),
        pytest.param("integer", 7, 7, id="integer"),
        pytest.param("integer", "7", 7, id="integer as text"),
        pytest.param("integer", 3.0, 3, id="whole number with a point"),
        pytest.param("integer", "3.00", 3, id="whole number with a point, as text"),
        pytest.param("integer", "", None, id="empty integer"),
        pytest.param("integer", -(2**63), -(2**63), id="smallest integer"),
        pytest.param("decimal", "12.50", "12.50", id="decimal"),
        pytest.param("decimal", "-0.05", "-0.05", id="negative decimal"),
        pytest.param("decimal", "1234567890123.45", "1234567890123.45", id="decimal of fifteen digits"),
        pytest.param("decimal", 12.5, "12.5", id="decimal as number"),
        pytest.param("decimal", 12, "12", id="decimal as integer"),
        pytest.param("decimal", "", None, id="empty decimal"),
        pytest.param("boolean", False, False, id="boolean"),
        pytest.param("boolean", "true", True, id="truth in text"),
        pytest.param("boolean", "False", False, id="falsehood in text"),
        pytest.param("boolean", "", None, id="empty boolean"),
        pytest.param("date", "1980-02-29", "1980-02-29", id="date"),
        pytest.param("date", "2026-01-05T00:00:00", "2026-01-05", id="date with midnight"),
        pytest.param("date", "2026-01-05 00:00:00.000", "2026-01-05", id="date with a space and midnight"),
        pytest.param("date", "", None, id="empty date"),
        pytest.param("time", "08:30:00", "08:30:00", id="time"),
        pytest.param("time", "", None, id="empty time"),
        pytest.param("timestamp", "2026-01-15T08:30:00", "2026-01-15 08:30:00", id="timestamp with T"),
        pytest.param("timestamp", "2026-01-15 08:30:00", "2026-01-15 08:30:00", id="timestamp with space"),
        pytest.param("timestamp", "2026-01-15T08:30:00.120000", "2026-01-15 08:30:00.120000", id="microseconds"),
        pytest.param("timestamp", "2026-01-15T13:30:00Z", "2026-01-15 08:30:00", id="timestamp in UTC"),
        pytest.param("timestamp", "", None, id="empty timestamp"),
        pytest.param("json", {"b": 1, "a": [None]}, '{"a":[null],"b":1}', id="object"),
        pytest.param("json", [], "[]", id="empty list"),
        pytest.param("json", {"k\0": "v\0"}, '{"k\ufffd":"v\ufffd"}', id="NUL in an object"),
    ],
)
def test_a_value_that_fits(kind: ColumnType, value: Any, stored: Any) -> None:
    row = convert({f"a_{kind}": value})

    assert row[f"a_{kind}"] == stored
    assert row[EXTRA] is None


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        pytest.param("text", {"a": 1}, id="object for a text"),
        pytest.param("integer", "seven", id="word for an integer"),
        pytest.param("integer", "007", id="integer that would lose its zeros"),
        pytest.param("integer", 1.5, id="fraction for an integer"),
        pytest.param("integer", "1.5", id="fraction for an integer, as text"),
        pytest.param("integer", "1\u0663", id="integer with a digit of another script"),
        pytest.param("integer", 1e300, id="too large a whole number with a point"),
        pytest.param("integer", True, id="truth for an integer"),
        pytest.param("integer", 2**63, id="too large an integer"),
        pytest.param("decimal", "12,50", id="comma in a decimal"),
        pytest.param("decimal", "NaN", id="no decimal"),
        pytest.param("decimal", "1e400000", id="decimal with an exponent"),
        pytest.param("decimal", "1234567890123456.5", id="more digits than every database keeps"),
        pytest.param("decimal", ".", id="decimal point alone"),
        pytest.param("decimal", "1.50\n", id="decimal and a line's end"),
        pytest.param("decimal", "1\u0663.5", id="decimal with a digit of another script"),
        pytest.param("decimal", "1.\u0663", id="decimal with such a digit after the point"),
        pytest.param("decimal", True, id="truth for a decimal"),
        pytest.param("boolean", "maybe", id="word for a boolean"),
        pytest.param("boolean", 2, id="number for a boolean"),
        pytest.param("date", "02/29/1980", id="date in another spelling"),
        pytest.param("date", "1981-02-29", id="no such day"),
        pytest.param("date", "1980-02-2\u0669", id="date with a digit of another script"),
        pytest.param("date", "2026-01-05T08:30:00", id="time of day for a date"),
        pytest.param("date", "2026-01-05T00:00:00Z", id="instant for a date"),
        pytest.param("date", "2026-01-05\u066300:00:00", id="date and midnight with a strange mark between them"),
        pytest.param("date", 19800229, id="number for a date"),
        pytest.param("time", "half past eight", id="words for a time"),
        pytest.param("time", "08:30:00+01:00", id="time with an offset"),
        pytest.param("timestamp", "0001-01-01T00:00:00+14:00", id="timestamp before all years"),
        pytest.param("timestamp", "yesterday", id="word for a timestamp"),
        pytest.param("timestamp", "2026-01-05\u066308:30:00", id="timestamp with a strange mark in the middle"),
        pytest.param("timestamp", 1768480200, id="number for a timestamp"),
    ],
)
def test_a_value_that_does_not_fit_is_kept_beside(kind: ColumnType, value: Any) -> None:
    making = maker()
    row = dict(
        zip(
            (column.name for column in TABLE.all_columns),
            made(making, {"id": 1, f"a_{kind}": value}),
            strict=True,
        )
    )

    assert row[f"a_{kind}"] is None
    assert json.loads(row[EXTRA]) == {f"a_{kind}": value}
    assert making.misfits == {f"a_{kind}": 1}


def test_a_time_with_an_offset_stays_as_it_is_where_the_practice_has_several_zones() -> None:
    row = convert({"a_timestamp": "2026-01-15T13:30:00Z"}, timezone=None)

    assert row["a_timestamp"] is None
    assert json.loads(row[EXTRA]) == {"a_timestamp": "2026-01-15T13:30:00Z"}


def test_an_unknown_field_is_kept_and_counted() -> None:
    making = maker()

    row = made(making, {"id": 1, "new_in_2027": {"b": [1, "é"]}})

    assert json.loads(row[-3]) == {"new_in_2027": {"b": [1, "é"]}}
    assert making.unknown == {"new_in_2027": 1}
    assert making.misfits == {}


def test_what_the_sync_keeps_about_a_row() -> None:
    row = convert({"a_text": "é"})

    assert row[TIMEZONE] == "America/New_York"
    assert row[SYNCED_AT] == READ_AT
    assert row[DIGEST] == hashlib.sha256('{"a_text":"é","id":1}'.encode()).hexdigest()


@pytest.mark.parametrize(
    "record",
    [
        pytest.param({}, id="missing"),
        pytest.param({"id": None}, id="null"),
        pytest.param({"id": ""}, id="empty"),
        pytest.param({"id": "not a number"}, id="does not fit"),
    ],
)
def test_a_record_without_its_key_is_set_aside_and_counted(record: dict[str, Any]) -> None:
    making = maker()
    lines = [(canonical(each), READ_AT) for each in ({"id": 1}, record | {"new_in_2027": 1}, {"id": 2})]

    assert [row[0] for row in making.rows(lines)] == [1, 2]
    assert making.without_key == 1
    assert (making.misfits, making.unknown) == ({}, {}), "nothing of it is in the table"


@pytest.mark.parametrize("record", [{}, {"id": None}, {"id": ""}, {"id": []}], ids=["missing", "null", "empty", "list"])
def test_a_key_of_text_needs_a_value_too(record: dict[str, Any]) -> None:
    table = Table("visits", None, (Column("id", "text", required=True), Column("a", "text")), ("id",), None)

    making = RowMaker(table, None)
    assert list(making.rows([(canonical({"a": "whose?"} | record), READ_AT)])) == []
    assert making.without_key == 1


@pytest.mark.parametrize("name", ["patient", "day"])
@pytest.mark.parametrize("value", [None, ""], ids=["null", "empty"])
def test_every_column_of_a_key_needs_a_value(name: str, value: Any) -> None:
    columns = (Column("patient", "text", required=True), Column("day", "text", required=True), Column("a", "text"))
    making = RowMaker(Table("visits", None, columns, ("patient", "day"), None), None)

    assert list(making.rows([(canonical({"patient": "1", "day": "2026-01-31"} | {name: value}), READ_AT)])) == []
    assert making.without_key == 1


def test_an_id_that_is_text_in_the_catalogue_is_the_same_as_text_and_as_number() -> None:
    table = Table("visits", None, (Column("id", "text", required=True), Column("a", "text")), ("id",), None)
    making = RowMaker(table, None)

    assert [made(making, {"id": each, "a": ""})[0] for each in (42, "42")] == ["42", "42"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=6))
def test_a_canonical_line_is_one_line_that_reads_back_and_knows_no_order(record: dict[str, Any]) -> None:
    line = canonical(record)

    assert b"\n" not in line
    assert json.loads(line) == record
    assert canonical(dict(reversed(record.items()))) == line


@given(st.dictionaries(st.sampled_from([f"a_{kind}" for kind in KINDS] + ["other"]), JSON))
def test_any_record_makes_a_row_whose_values_can_be_stored(record: dict[str, Any]) -> None:
    row = convert(record)

    for value in row.values():
        assert value is None or isinstance(value, str | int | bool)
        assert not (isinstance(value, str) and "\0" in value)
        str(value).encode()


def test_digests_differ_with_any_value() -> None:
    assert digest(canonical({"id": 1, "a": "x"})) != digest(canonical({"id": 1, "a": "y"}))


@pytest.mark.parametrize("kind", ["text", "json"])
def test_the_signature_of_a_link_is_stored_and_not_compared(kind: str) -> None:
    def signed(signature: str) -> dict[str, Any]:
        link: Any = f"https://files.example.com/a.pdf?Signature={signature}"
        return convert({f"a_{kind}": link if kind == "text" else [{"file": link}], "unknown_link": link})

    first, second = signed("1"), signed("2")

    assert "Signature=2" in second[f"a_{kind}"]
    assert json.loads(second[EXTRA]) == {"unknown_link": "https://files.example.com/a.pdf?Signature=2"}
    assert first[DIGEST] == second[DIGEST]


def test_a_row_changes_when_a_column_comes_to_hold_what_stood_beside() -> None:
    line = canonical({"id": 1, "note": "new"})
    wider = RowMaker(Table("things", None, (*TABLE.columns, Column("note", "text")), ("id",), None), None)

    rows = [making.row(line, READ_AT) for making in (maker(None), wider)]

    assert all(rows)
    assert rows[0][-4] != rows[1][-4]  # type: ignore[index]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'{"a_text":"x","id":1,"a_json":{"b":1,"a":2}}', id="another order"),
        pytest.param(b'{ "id": 1, "a_json": {"a": 2, "b": 1}, "a_text": "\\u0078" }', id="another way of writing"),
    ],
)
def test_how_a_record_is_written_is_no_part_of_it(line: bytes) -> None:
    assert maker().row(line, READ_AT) == made(maker(), {"id": 1, "a_text": "x", "a_json": {"a": 2, "b": 1}})


def test_a_line_that_only_the_standard_library_reads_becomes_a_row() -> None:
    row = maker().row(b'{"id":1,"a_text":"\\ud800","a_decimal":1e999}', READ_AT)

    assert row is not None
    assert row == made(maker(), {"id": 1, "a_text": "\ufffd", "a_decimal": None})


SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text()
MOMENTS = st.dates().map(str) | st.datetimes().map(str) | st.datetimes().map(lambda each: each.isoformat())
VALUES = st.recursive(
    SCALARS | MOMENTS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=4
)


@given(st.dictionaries(st.sampled_from([column.name for column in TABLE.columns]), VALUES))
def test_a_plain_record_makes_the_row_that_looking_at_each_value_makes(record: dict[str, Any]) -> None:
    line = json.dumps({"id": 1} | record).encode()
    looking = maker()
    looking._plain.decode = lambda line: None  # type: ignore[method-assign]

    assert maker().row(line, READ_AT) == looking.row(line, READ_AT)


@pytest.mark.parametrize("columns", [TABLE.columns, TABLE.columns[:1]], ids=["many columns", "one column"])
def test_most_records_are_plain(columns: tuple[Column, ...]) -> None:
    record = {"id": 1} if len(columns) == 1 else {"a_date": "2026-01-31", "id": 1, "a_json": {"b": 1, "a": 2}}

    plain = PlainRecords(columns).decode(json.dumps(record).encode())

    assert plain is not None
    assert plain[0][0] == 1
    assert plain[1] == canonical(record)
