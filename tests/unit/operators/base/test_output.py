"""Records as an XCom with a bound."""

from collections.abc import Iterator
from typing import Any

import pytest

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
