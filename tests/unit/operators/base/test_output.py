"""Records as an XCom with a bound."""

from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_drchrono.hooks.arguments import checked_fields
from airflow_provider_drchrono.hooks.results import only
from airflow_provider_drchrono.operators.base import InvalidArgumentError
from airflow_provider_drchrono.operators.base.output import checked_bound, collect

RECORDS = [{"id": 1, "name": "Ana"}, {"id": 2, "name": "Bédé\u2028"}]


def test_a_list_within_its_bound_is_kept_and_a_longer_one_is_an_error() -> None:
    assert collect("patients_list", iter(RECORDS), 2) == RECORDS
    with pytest.raises(
        InvalidArgumentError, match=r"more than 1 records.*output_path, narrow the filters, or raise max_"
    ):
        collect("patients_list", iter(RECORDS), 1)


def test_no_more_than_the_bound_is_read() -> None:
    taken = []

    def endless() -> Iterator[dict[str, Any]]:
        while True:
            taken.append(1)
            yield {}

    with pytest.raises(InvalidArgumentError, match="more than 1,000 records"):
        collect("patients_list", endless(), 1000)
    assert len(taken) == 1001


@pytest.mark.parametrize("bound", [0, -1, True, None, "10", 1.5])
def test_a_bound_is_a_number_from_one_up(bound: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="max_records must be a number from 1 up"):
        checked_bound("patients_list", bound)


def test_chosen_fields_are_known_ones_that_the_api_sends() -> None:
    assert checked_fields("patients_list", None, verbose=False) is None
    assert checked_fields("patients_list", ["id", "email"], verbose=False) == ("id", "email")
    assert checked_fields("patients_list", ["primary_insurance"], verbose=True) == ("primary_insurance",)
    assert only({"id": 1, "name": "Ana"}, ("id", "email")) == {"id": 1}
    with pytest.raises(InvalidArgumentError, match="primary_insurance comes only with verbose=True; set it"):
        checked_fields("patients_list", ["id", "primary_insurance"], verbose=False)
    with pytest.raises(InvalidArgumentError, match=r"fields names no field 'emial' \(did you mean 'email'"):
        checked_fields("patients_list", ["emial"], verbose=False)
    for wrong in ("id", [], [1], 3):
        with pytest.raises(InvalidArgumentError, match="fields must be a list of names of fields"):
            checked_fields("patients_list", wrong, verbose=False)
