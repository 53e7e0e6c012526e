"""Each mask, value by value."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from airflow_provider_drchrono.privacy.masks import (
    LONGEST_SHIFT,
    SMALL_ZIP_PREFIXES,
    Key,
    birth_year_of,
    hashed,
    number,
    shifted,
    year_of,
    zip3,
)

KEY = Key("k" * 32)
TODAY = date(2026, 11, 26)


@pytest.mark.parametrize(
    ("value", "year"),
    [
        ("1980-02-03", 1980),
        ("2026-01-31T08:00:00", 2026),
        ("2026-01-31T08:00:00Z", 2026),
        ("20260131", 2026),
        ("202601310815", 2026),
        ("01/31/2026", 2026),
        ("1-31-2026 8:00", 2026),
        ("1999", 1999),
        (1999, 1999),
        ("yesterday", None),
        ("about 1999", None),
        ("123-45-6789", None),
        ("1234-567", None),
        ("555-0199", None),
        ("\u0662\u0660\u0662\u0666-\u0660\u0661-\u0660\u0661", None),
        (True, None),
    ],
)
def test_a_date_becomes_its_year_and_nothing_else_does(value: Any, year: int | None) -> None:
    assert year_of(value) == year


@pytest.mark.parametrize(
    ("born", "year"),
    [
        ("1900-01-01", 1936),
        ("1936-12-31", 1936),
        ("1937-01-01", 1937),
        ("2026-11-26", 2026),
        ("", None),
    ],
)
def test_whoever_may_be_over_89_is_in_one_group(born: str, year: int | None) -> None:
    assert birth_year_of(born, TODAY) == year


def test_all_ages_over_89_share_a_year() -> None:
    def age(born: date) -> int:
        return TODAY.year - born.year - ((TODAY.month, TODAY.day) < (born.month, born.day))

    births = [date(year, month, 26) for year in range(1910, 1945) for month in (1, 11, 12)]
    old = {birth_year_of(each.isoformat(), TODAY) for each in births if age(each) > 89}
    assert old == {1936}
    assert all(birth_year_of(each.isoformat(), TODAY) == each.year for each in births if each.year > 1936)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("90210", "902"),
        ("90210-1234", "902"),
        ("902101234", "902"),
        (90210, "902"),
        (" 02138 ", "021"),
        ("03601", "000"),
        ("82101-0001", "000"),
        ("89301", "000"),
        ("9021", None),
        ("902", None),
        ("90210 Beverly Hills", None),
        ("K1A 0B1", None),
        ("\u0669\u0660\u0662\u0661\u0660", None),
    ],
)
def test_a_zip_code_keeps_three_digits(value: Any, kept: str | None) -> None:
    assert zip3(value) == kept


def test_the_small_prefixes_are_those_of_the_guidance() -> None:
    assert len(SMALL_ZIP_PREFIXES) == 17
    assert {zip3(f"{each}01") for each in SMALL_ZIP_PREFIXES} == {"000"}


@pytest.mark.parametrize(
    "value", ["7.2", "<0.5", ">= 60", "120/80", "1-2", "70-99", "3.5 - 5.0", "97 %", "-3", "1,5", 12, 1.5, True]
)
def test_numbers_stay(value: Any) -> None:
    assert number(value) == value


@pytest.mark.parametrize(
    "value",
    ["negative", "call 555-0199", "123-45-6789", "9005501421", "(555) 010", "1 2 3", "", "12a", "\u0667"],
)
def test_what_is_no_number_goes(value: str) -> None:
    assert number(value) is None


@pytest.mark.parametrize(
    ("value", "moved"),
    [
        ("2026-01-31", "2026-02-10"),
        ("2026-01-31T08:15:00", "2026-02-10T08:15:00"),
        ("2026-01-31 08:15:00.5", "2026-02-10 08:15:00.5"),
        ("2026-01-31T08:15:00Z", "2026-02-10T08:15:00Z"),
        ("2026-01-31T08:15:00-05:00", "2026-02-10T08:15:00-05:00"),
        ("2026-01-31 with John", None),
        ("9999-12-31", None),
        ("2026-13-01", None),
        ("Monday", None),
    ],
)
def test_a_date_moves_by_whole_days(value: str, moved: str | None) -> None:
    assert shifted(value, 10) == moved


def test_a_patient_always_moves_by_the_same_days_and_others_by_others() -> None:
    days = {number: KEY.days(str(number)) for number in range(2000)}
    assert all(KEY.days(str(number)) == each for number, each in days.items())
    assert 0 not in days.values()
    assert (min(days.values()), max(days.values())) == (-LONGEST_SHIFT, LONGEST_SHIFT)
    assert Key("x" * 32).days("1") != days[1] or Key("x" * 32).days("2") != days[2]


def test_an_id_is_hashed_alike_as_number_and_as_text() -> None:
    assert hashed(123, KEY, "Patient") == hashed("123", KEY, "Patient") == hashed(123.0, KEY, "Patient")
    assert len(hashed(123, KEY, "Patient") or "") == 32
    assert hashed("", KEY, "Patient") is None


def test_hashes_of_other_domains_keys_and_values_have_nothing_in_common() -> None:
    others = [
        hashed(123, KEY, "Appointment"),
        hashed(124, KEY, "Patient"),
        hashed(123, Key("x" * 32), "Patient"),
        hashed("2026-01-31_123", KEY, "Patient"),
        hashed(123, KEY, "Patient"),
    ]
    assert len(set(others)) == 5


def test_spelling_does_not_part_what_is_one_number_or_link() -> None:
    assert hashed("900-55-0142", KEY, "ssn") == hashed("900550142", KEY, "ssn")
    assert hashed("https://x.test/a?sig=1", KEY, "url") == hashed("https://x.test/a?sig=2", KEY, "url")
    assert hashed("Q@Canary.example", KEY, "email") == hashed("q@canary.example ", KEY, "email")


def test_the_key_does_not_show() -> None:
    assert "kkk" not in f"{KEY!r} {KEY.check}"
    assert KEY.check != Key("x" * 32).check
