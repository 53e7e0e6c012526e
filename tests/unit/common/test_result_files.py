"""Results as files, whole or not at all."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from airflow_provider_drchrono.common.result_files import write_document, write_records

RECORDS = [{"id": 1, "name": "Ana"}, {"id": 2, "name": "Bédé\u2028"}]


def broken_off() -> Iterator[dict[str, Any]]:
    yield RECORDS[0]
    raise ConnectionError("gone")


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
