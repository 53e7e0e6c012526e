"""Records as an XCom with a bound, in batches, or in a file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.common.results import Output, only

RECORDS = [{"id": number, "name": f"Name {number}"} for number in range(5)]


def output(**options: Any) -> Output:
    chosen = {"fields": None, "max_records": 5, "batch_size": None, "path": None} | options
    return Output("patients_list", **chosen)


def test_a_field_that_the_api_did_not_send_is_left_out() -> None:
    assert only({"id": 1, "name": "Ana"}, ("id", "email")) == {"id": 1}
    assert only({"id": 1}, None) == {"id": 1}


def test_no_more_than_the_bound_is_read() -> None:
    taken = []

    def endless() -> Iterator[dict[str, Any]]:
        while True:
            taken.append(1)
            yield {}

    with pytest.raises(InvalidArgumentError, match="more than 1,000 records"):
        output(max_records=1000).deliver(endless())
    assert len(taken) == 1001


def test_a_list_within_its_bound_is_kept_and_a_longer_one_is_an_error() -> None:
    assert output().deliver(RECORDS) == RECORDS
    with pytest.raises(InvalidArgumentError, match=r"more than 4 records are new.*output_path.*kept for the next try"):
        output(max_records=4).deliver(RECORDS)
    with pytest.raises(
        InvalidArgumentError, match=r"more than 4 records were found.*output_path, narrow the filters, or raise max_"
    ):
        output(max_records=4, are_new=False).deliver(RECORDS)


@pytest.mark.parametrize(
    ("options", "records", "summary"),
    [
        pytest.param({}, RECORDS, "5 records", id="list"),
        pytest.param({"batch_size": 2}, RECORDS, "5 records", id="batches"),
        pytest.param({"batch_size": 2}, [], "0 records", id="no batches"),
    ],
)
def test_the_log_says_how_many(options: Any, records: Any, summary: str) -> None:
    what = output(**options)

    assert what.summary(what.deliver(iter(records))) == summary


def test_batches_hold_all_in_order() -> None:
    assert output(batch_size=2, fields=("id",)).deliver(RECORDS) == [
        [{"id": 0}, {"id": 1}],
        [{"id": 2}, {"id": 3}],
        [{"id": 4}],
    ]


def test_a_file_has_no_bound(tmp_path: Path) -> None:
    path = tmp_path / "records.ndjson"
    what = output(max_records=1, fields=("id",), path=str(path))

    result = what.deliver(RECORDS)

    assert result == {"path": str(path), "count": 5}
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"id": number} for number in range(5)]
    assert what.summary(result) == "wrote 5 records"
