"""What operators, sensors and readers of assets refuse in the same words."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_drchrono.catalog.names import did_you_mean
from airflow_provider_drchrono.common.arguments import (
    InvalidArgumentError,
    check_count,
    check_filters,
    check_size,
    check_time,
    checked_fields,
    checked_lookback,
    incremental_filters,
)


def test_chosen_fields_are_known_ones() -> None:
    assert checked_fields("patients_list", None, verbose=False) is None
    assert checked_fields("patients_list", ["id", "email"], verbose=False) == ("id", "email")
    assert checked_fields("patients_list", ["primary_insurance"], verbose=True) == ("primary_insurance",)
    with pytest.raises(InvalidArgumentError, match="primary_insurance comes only with verbose=True; set it"):
        checked_fields("patients_list", ["id", "primary_insurance"], verbose=False)
    with pytest.raises(InvalidArgumentError, match=r"fields names no field 'emial' \(did you mean 'email'"):
        checked_fields("patients_list", ["emial"], verbose=False)


@pytest.mark.parametrize("fields", ["id", [], [1], 3], ids=["text", "none", "numbers", "a number"])
def test_fields_are_a_list_of_names(fields: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="fields must be a list of names of fields"):
        checked_fields("patients_list", fields, verbose=False)


def test_a_name_is_only_guessed_where_one_is_near() -> None:
    assert did_you_mean("doktor", ["doctor", "office"]) == " (did you mean 'doctor'?)"
    assert did_you_mean("zzz", ["doctor", "office"]) == ""


@pytest.mark.parametrize(
    ("filters", "problem"),
    [
        pytest.param(["doctor"], "filters must be a mapping of filters, not list", id="a list"),
        pytest.param({"docter": 1}, r"no filter 'docter' \(did you mean 'doctor'", id="a near name"),
        pytest.param({"since": 1, "zzz": 2}, "use the argument since or start.*; there is no filter 'zzz'$", id="all"),
        pytest.param({"updated_since": 1}, "updated_since is what changes are looked for by", id="what polls set"),
    ],
)
def test_filters_with_names_that_cannot_be_right(filters: Any, problem: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"messages_list: .*{problem}"):
        check_filters(incremental_filters("messages"), filters)


@pytest.mark.parametrize("filters", [None, {}, {"doctor": 1}, "{{ params.filters }}"])
def test_filters_that_may_be_right(filters: Any) -> None:
    check_filters(incremental_filters("messages"), filters)


@pytest.mark.parametrize("count", [0, -1, True, None, "10", 1.5])
def test_a_number_of_records_is_one_from_one_up(count: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="batch_size must be a number of records from 1 up"):
        check_count("patients_list", "batch_size", count)


def test_batches_are_for_an_xcom() -> None:
    check_size("patients_list", 10, None, "file:///tmp/x")
    check_size("patients_list", 10, 5, None)
    with pytest.raises(InvalidArgumentError, match="batch_size has no effect on a file"):
        check_size("patients_list", 10, 5, "file:///tmp/x")
    with pytest.raises(InvalidArgumentError, match="max_records must be a number"):
        check_size("patients_list", 0, None, None)


@pytest.mark.parametrize(
    "value",
    [None, "now", "2026-01-31", " 2026-01-31T08:00:00-05:00 ", date(2026, 1, 31), datetime(2026, 1, 31), "{{ ds }}"],
    ids=str,
)
def test_what_may_be_a_time(value: Any) -> None:
    check_time("patients_list", "start", value, ["now"])


@pytest.mark.parametrize("value", ["later", "2026-13-01", 5, ""], ids=str)
def test_what_is_no_time(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="start must be 'now', a date or a time such as"):
        check_time("patients_list", "start", value, ["now"])


def test_an_overlap_is_a_duration() -> None:
    assert checked_lookback("tasks_list", None, timedelta(minutes=2)) == timedelta(minutes=2)
    assert checked_lookback("tasks_list", 1.5, timedelta(0)) == timedelta(seconds=1.5)
    assert checked_lookback("tasks_list", timedelta(0), timedelta(1)) == timedelta(0)
    for wrong in (-1, True, "5"):
        with pytest.raises(InvalidArgumentError, match="lookback must be a timedelta or seconds, and not negative"):
            checked_lookback("tasks_list", wrong, timedelta(0))
