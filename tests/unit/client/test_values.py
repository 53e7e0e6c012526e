"""How single values are read, whatever a template has made of them."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from airflow_provider_drchrono.client import values

NEW_YORK = "America/New_York"
CANARY = "Canaryname"

Case = tuple[Callable[[Any], Any], Any, Any]


def in_new_york(read: Callable[[Any, str | None], Any]) -> Callable[[Any], Any]:
    return lambda value: read(value, NEW_YORK)


@pytest.mark.parametrize(
    ("read", "value", "sent"),
    [
        pytest.param(values.to_text, "Ana", "Ana", id="text"),
        pytest.param(values.to_text, "", "", id="empty text"),
        pytest.param(values.to_text, 2138, "2138", id="text of a number"),
        pytest.param(values.to_text, Decimal("1.50"), "1.50", id="text of a decimal"),
        pytest.param(values.to_text, date(2026, 1, 31), "2026-01-31", id="text of a date"),
        pytest.param(values.to_text, UUID(int=1), "00000000-0000-0000-0000-000000000001", id="text of a uuid"),
        pytest.param(values.to_integer, 42, 42, id="whole number"),
        pytest.param(values.to_integer, " 42 ", 42, id="whole number as text"),
        pytest.param(values.to_integer, "-1", -1, id="negative"),
        pytest.param(values.to_integer, 42.0, 42, id="whole float"),
        pytest.param(values.to_decimal, 12, 12, id="number"),
        pytest.param(values.to_decimal, 0.1, 0.1, id="float"),
        pytest.param(values.to_decimal, " 12.50 ", "12.50", id="number as text"),
        pytest.param(values.to_decimal, Decimal("1E+2"), "100", id="decimal without exponent"),
        pytest.param(values.to_boolean, True, True, id="truth"),
        pytest.param(values.to_boolean, "False", False, id="falsehood as text"),
        pytest.param(values.to_boolean, "YES", True, id="yes"),
        pytest.param(values.to_boolean, 0, False, id="zero"),
        pytest.param(in_new_york(values.to_date), "2026-01-31", "2026-01-31", id="date as text"),
        pytest.param(in_new_york(values.to_date), date(2026, 1, 31), "2026-01-31", id="date"),
        pytest.param(
            in_new_york(values.to_date), datetime(2026, 1, 31, 3, tzinfo=UTC), "2026-01-30", id="the practice's date"
        ),
        pytest.param(in_new_york(values.to_datetime), "2026-01-31 08:00", "2026-01-31T08:00:00", id="time as text"),
        pytest.param(in_new_york(values.to_datetime), date(2026, 1, 31), "2026-01-31T00:00:00", id="midnight"),
        pytest.param(
            in_new_york(values.to_datetime), "2026-07-01T12:00:00Z", "2026-07-01T08:00:00", id="converted in summer"
        ),
        pytest.param(
            in_new_york(values.to_datetime),
            datetime(2026, 1, 1, 12, tzinfo=ZoneInfo("Europe/Berlin")),
            "2026-01-01T06:00:00",
            id="converted in winter",
        ),
        pytest.param(values.to_time, "08:30", "08:30:00", id="time of day as text"),
        pytest.param(values.to_time, time(8, 30), "08:30:00", id="time of day"),
        pytest.param(values.to_json, {"a": [1, None, True, Decimal("1.5")]}, {"a": [1, None, True, "1.5"]}, id="any"),
        pytest.param(values.to_list, "[1, 'two']", [1, "two"], id="list printed by Python"),
        pytest.param(values.to_list, '[1, "two"]', [1, "two"], id="list in JSON"),
        pytest.param(values.to_list, (1, 2), [1, 2], id="tuple"),
        pytest.param(values.to_mapping, "{'a': None}", {"a": None}, id="mapping printed by Python"),
        pytest.param(values.to_mapping, '{"a": null}', {"a": None}, id="mapping in JSON"),
    ],
)
def test_values_that_can_be_sent(read: Callable[[Any], Any], value: Any, sent: Any) -> None:
    result = read(value)

    assert result == sent
    assert type(result) is type(sent)


@pytest.mark.parametrize(
    ("read", "value", "told"),
    [
        pytest.param(values.to_text, True, "must be text, not true or false", id="truth for text"),
        pytest.param(values.to_text, ["x"], "must be text, not a list", id="list for text"),
        pytest.param(values.to_text, {"x": 1}, "must be text, not a mapping", id="mapping for text"),
        pytest.param(values.to_text, b"x", "must be text, not a bytes", id="bytes for text"),
        pytest.param(values.to_text, "x" * 10_000_000, "is text of 10,000,000 characters", id="ten megabytes"),
        pytest.param(values.to_integer, True, "must be a whole number, not true or false", id="truth for a number"),
        pytest.param(values.to_integer, CANARY, "must be a whole number, not this text", id="text for a number"),
        pytest.param(values.to_integer, "", "must be a whole number, not empty text", id="empty for a number"),
        pytest.param(values.to_integer, 4.5, "must be a whole number, not a number", id="broken number"),
        pytest.param(values.to_integer, "9" * 10_000_000, "must be a whole number", id="ten megabytes of digits"),
        pytest.param(values.to_integer, float("inf"), "must be a whole number", id="endless"),
        pytest.param(values.to_decimal, "NaN", "must be a number such as 12.50", id="no number"),
        pytest.param(values.to_decimal, float("inf"), "must be a number such as 12.50", id="endless amount"),
        pytest.param(values.to_decimal, "12,50", "must be a number such as 12.50", id="comma"),
        pytest.param(values.to_decimal, "9" * 10_000_000, "must be a number such as 12.50", id="ten megabyte amount"),
        pytest.param(values.to_boolean, CANARY, "must be true or false, not this text", id="text for truth"),
        pytest.param(values.to_boolean, 2, "must be true or false, not a number", id="number for truth"),
        pytest.param(in_new_york(values.to_date), "31.01.2026", "must be a date such as 2026-01-31", id="German date"),
        pytest.param(in_new_york(values.to_date), "2026-02-30", "must be a date such as 2026-01-31", id="no such day"),
        pytest.param(in_new_york(values.to_date), "2026-01-31T00:00", "must be a date", id="time for a date"),
        pytest.param(in_new_york(values.to_datetime), "soon", "must be a time such as 2026-01-31T08:00:00", id="soon"),
        pytest.param(in_new_york(values.to_datetime), 1767225600, "must be a time", id="epoch"),
        pytest.param(values.to_time, "8 am", "must be a time of day such as 08:30", id="morning"),
        pytest.param(values.to_time, "08:30Z", "must be a time of day such as 08:30", id="zoned time of day"),
        pytest.param(values.to_json, {"a": object()}, "which JSON has no word for", id="object"),
        pytest.param(values.to_json, float("nan"), "which JSON has no word for", id="no number in JSON"),
        pytest.param(values.to_list, "one, two", "must be a list, not this text", id="text for a list"),
        pytest.param(values.to_list, {"a": 1}, "must be a list, not a mapping", id="mapping for a list"),
        pytest.param(values.to_mapping, "[1]", "must be a mapping of fields, not this text", id="list for a mapping"),
        pytest.param(values.to_mapping, None, "must be a mapping of fields, not null", id="null for a mapping"),
    ],
)
def test_values_that_cannot_be_sent(read: Callable[[Any], Any], value: Any, told: str) -> None:
    with pytest.raises(ValueError, match=r"must|is|holds") as refused:
        read(value)

    assert told in str(refused.value)
    assert CANARY not in str(refused.value)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("read", [values.to_datetime, values.to_date])
def test_a_time_with_a_zone_needs_the_practices(read: Callable[[Any, str | None], Any]) -> None:
    with pytest.raises(ValueError, match="set timezone on the connection"):
        read(datetime(2026, 1, 1, tzinfo=UTC), None)
    with pytest.raises(ValueError, match="DrChrono reads times as the practice's wall clock"):
        values.to_datetime("2026-01-01T00:00:00Z", None)


@pytest.mark.parametrize(
    ("choices", "value", "told"),
    [
        pytest.param(
            ("", "Male", "Female"),
            "male",
            "differs from an allowed value in upper and lower case only: it must be one of '', 'Male', 'Female'",
            id="case",
        ),
        pytest.param(("", "Male", "Female"), CANARY, "is none of the allowed values: it must be one of", id="other"),
        pytest.param(
            tuple(f"A{n}" for n in range(40)),
            "a7",
            "one of 40 codes, all in upper case, such as 'A0', 'A1', 'A2'",
            id="codes",
        ),
        pytest.param(
            tuple(f"Kind {n}" for n in range(40)), "kind 7", "one of 40 values, spelt as in the reference", id="many"
        ),
        pytest.param(("a",), True, "is none of the allowed values", id="truth"),
        pytest.param(("a",), ["a"], "is none of the allowed values", id="list"),
    ],
)
def test_choices_are_told_without_the_value(choices: tuple[str, ...], value: Any, told: str) -> None:
    with pytest.raises(ValueError, match="allowed value") as refused:
        values.choice_of(choices)(value)

    assert told in str(refused.value)
    assert CANARY not in str(refused.value)


def test_choices_are_read_as_they_are_listed() -> None:
    assert values.choice_of(("1", "2"))(1) == "1"
    assert values.choice_of((1, 2))("1") == 1
    assert values.choice_of(("", "Male"))("Male ") == "Male"
    assert values.choice_of(("", "Male"))("") == ""
