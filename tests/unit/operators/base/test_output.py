"""Records as an XCom with a bound, and as a file without one."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from airflow_provider_drchrono.operators.base import InvalidArgumentError
from airflow_provider_drchrono.operators.base.output import (
    checked_bound,
    checked_fields,
    collect,
    only,
    write_document,
    write_records,
)

RECORDS = [{"id": 1, "name": "Ana"}, {"id": 2, "name": "Bédé\u2028"}]


def broken_off() -> Iterator[dict[str, Any]]:
    yield RECORDS[0]
    raise ConnectionError("gone")


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


@pytest.mark.parametrize("name", ["records.ndjson", "records.ndjson.gz"])
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_file_holds_one_record_a_line(tmp_path: Path, name: str, scheme: str) -> None:
    path = tmp_path / "new" / "folder" / name

    written = write_records(f"{scheme}{path}", RECORDS)

    content = path.read_bytes()
    text = gzip.decompress(content) if name.endswith("gz") else content
    assert [json.loads(line) for line in text.decode().split("\n")[:-1]] == RECORDS
    assert written["count"] == 2
    assert ObjectStoragePath(written["path"]).read_bytes() == content
    assert write_records(path, RECORDS)["count"] == 2
    assert path.read_bytes() == content


def test_an_unfinished_file_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "records.ndjson"

    with pytest.raises(ConnectionError):
        write_records(str(path), broken_off())

    assert not path.exists()


@pytest.mark.parametrize(
    ("document", "content"),
    [
        pytest.param({"total": "12.50"}, b'{"total": "12.50"}', id="json"),
        pytest.param("<ClinicalDocument/>", b"<ClinicalDocument/>", id="text"),
        pytest.param(b"%PDF", b"%PDF", id="bytes"),
        pytest.param(None, b"null", id="nothing"),
    ],
)
def test_a_report_is_written_as_it_came(tmp_path: Path, document: Any, content: bytes) -> None:
    path = tmp_path / "report"

    assert write_document(str(path), document) == {"path": str(path), "bytes": len(content)}
    assert path.read_bytes() == content
    write_document(str(path) + ".gz", document)
    assert gzip.decompress((tmp_path / "report.gz").read_bytes()) == content


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
