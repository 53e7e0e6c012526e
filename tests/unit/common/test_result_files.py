"""Results as files, whole or not at all."""

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_drchrono.common.arguments import InvalidArgumentError
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


def test_the_file_of_an_earlier_run_stays_until_the_next_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "records.ndjson"
    write_records(str(path), RECORDS)
    whole = path.read_bytes()

    def looking() -> Iterator[dict[str, Any]]:
        yield RECORDS[0]
        assert path.read_bytes() == whole
        (unfinished,) = tmp_path.glob(".records.ndjson.*.unfinished")
        assert unfinished.stat().st_mode & 0o777 == 0o600

    write_records(str(path), looking())
    assert len(path.read_bytes().splitlines()) == 1
    with pytest.raises(ConnectionError):
        write_records(str(path), broken_off())

    assert len(path.read_bytes().splitlines()) == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_only_the_owner_reads_what_was_written(tmp_path: Path, umask: int) -> None:
    paths = [tmp_path / name for name in ("records.ndjson", "records.ndjson.gz", "report", "report.gz")]
    before = os.umask(umask)
    try:
        for path in paths[:2]:
            path.write_text("somebody could read this")
            path.chmod(0o644)
            write_records(str(path), RECORDS)
        for path in paths[2:]:
            write_document(f"file://{path}", "text")
    finally:
        os.umask(before)

    assert [path.stat().st_mode & 0o777 for path in paths] == [0o600] * 4


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    for path in (pipe, tmp_path):
        with pytest.raises(InvalidArgumentError, match="which is there and no file"):
            write_records(str(path), RECORDS)

    assert pipe.is_fifo()


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "latest.ndjson"
    link.symlink_to(tmp_path / "there" / "records.ndjson")

    write_records(str(link), RECORDS)

    assert link.is_symlink()
    assert len((tmp_path / "there" / "records.ndjson").read_bytes().splitlines()) == 2


def test_an_object_store_shows_a_file_when_it_is_whole() -> None:
    attach("memory", fs=MemoryFileSystem())
    path = ObjectStoragePath("memory://bucket/records.ndjson")
    seen: list[bool] = []

    def looking() -> Iterator[dict[str, Any]]:
        yield RECORDS[0]
        seen.append(path.exists())

    with pytest.raises(ConnectionError):
        write_records(path, broken_off())
    assert not path.exists()
    write_records(path, looking())
    assert seen == [False]
    whole = path.read_bytes()
    with pytest.raises(ConnectionError):
        write_records(path, broken_off())
    assert path.read_bytes() == whole
    path.unlink()


class WithoutTransactions(MemoryFileSystem):
    """Publishes each file as soon as it is opened, as some stores do."""

    protocol = "plain"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        self._intrans = False
        return super().open(path, mode, **options)


def test_a_store_without_transactions_does_not_keep_an_unfinished_file() -> None:
    attach("memory", conn_id="plain", fs=WithoutTransactions())
    path = ObjectStoragePath("memory://plain@bucket/records.ndjson")
    seen: list[bool] = []

    def looking() -> Iterator[dict[str, Any]]:
        yield RECORDS[0]
        seen.append(path.exists())
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        write_records(path, looking())

    assert seen == [True]
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
