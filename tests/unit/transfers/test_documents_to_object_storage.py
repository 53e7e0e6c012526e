"""Files of records are copied once for each version, whole or not at all, and nothing names a person."""

import json
import stat
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowRescheduleException
from pytest_mock import MockerFixture

from airflow_provider_drchrono.compat import AirflowFailException
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.transfers.drchrono_documents_to_object_storage import (
    MOST_WITHOUT_VERSION,
    DrChronoDocumentsToObjectStorageOperator,
)
from tests.support.running import connected_sandbox, execute

CANARY = "Canary-Description"


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with connected_sandbox(monkeypatch, patients=60) as running:
        yield running


@pytest.fixture
def memory_store() -> Iterator[str]:
    from airflow.sdk.io.store import attach
    from fsspec.implementations.memory import MemoryFileSystem

    store = MemoryFileSystem()
    attach("memory", fs=store)
    yield "memory://bucket/archive"
    store.store.clear()
    store.pseudo_dirs[:] = [""]


def versions(sandbox: Sandbox) -> list[dict[str, Any]]:
    rows = sandbox.practice.records("documents")
    found = [{"id": row["id"], "updated_at": row["updated_at"]} for row in rows if row["document"]][:6]
    assert len(found) == 6
    return found


def archive(records: Any, path: object, **options: Any) -> dict[str, Any]:
    operator = DrChronoDocumentsToObjectStorageOperator(task_id="archive", records=records, path=str(path), **options)
    result: dict[str, Any] = execute(operator)
    return result


def fetched(sandbox: Sandbox) -> int:
    return len([each for each in sandbox.journal if each.path.startswith("/files/")])


def test_every_file_is_copied_as_it_is_and_once(sandbox: Sandbox, tmp_path: Path) -> None:
    wanted = versions(sandbox)
    first = archive(wanted, tmp_path)

    assert [each["id"] for each in first["files"]] == [each["id"] for each in wanted]
    for each in first["files"]:
        copied = Path(each["path"])
        assert copied.stat().st_size == each["bytes"] > 0
        assert copied.read_bytes()[:4] in (b"%PDF", b"\x89PNG")
        assert copied.suffix == {"application/pdf": ".pdf", "image/png": ".png"}[each["content_type"]]
        assert stat.S_IMODE(copied.stat().st_mode) == 0o600
        assert each["new"]
        assert each["sha256"][:16] in copied.name

    calls = len(sandbox.journal)
    second = archive(wanted, tmp_path)
    assert [each["path"] for each in second["files"]] == [each["path"] for each in first["files"]]
    assert not any(each["new"] for each in second["files"])
    assert len(sandbox.journal) == calls, "what is there already costs no call"


def test_a_new_version_stands_beside_the_old_one(sandbox: Sandbox, tmp_path: Path) -> None:
    wanted = versions(sandbox)[:1]
    archive(wanted, tmp_path)
    archive([wanted[0] | {"updated_at": "2031-01-01T00:00:00"}], tmp_path)
    assert len(list((tmp_path / "documents" / str(wanted[0]["id"])).iterdir())) == 2


def test_ids_alone_are_enough_and_write_nothing_twice(sandbox: Sandbox, tmp_path: Path) -> None:
    ids = [each["id"] for each in versions(sandbox)]
    assert all(each["new"] for each in archive(ids, tmp_path)["files"])
    again = archive([str(each) for each in ids] + ids[:1], tmp_path)
    assert not any(each["new"] for each in again["files"])
    assert len(list(tmp_path.rglob("*.*"))) == len(ids)


def test_an_object_store_takes_them_too(sandbox: Sandbox, memory_store: str) -> None:
    wanted = versions(sandbox)
    assert all(each["path"].startswith("memory://") for each in archive(wanted, memory_store)["files"])
    fetches = fetched(sandbox)
    assert not any(each["new"] for each in archive(wanted, memory_store)["files"])
    assert fetched(sandbox) == fetches


def test_a_killed_copy_leaves_no_half_and_is_completed(sandbox: Sandbox, tmp_path: Path, mocker: MockerFixture) -> None:
    wanted = versions(sandbox)
    copy = mocker.patch(
        "airflow_provider_drchrono.common.result_files.shutil.copyfileobj", side_effect=KeyboardInterrupt
    )
    with pytest.raises(KeyboardInterrupt):
        archive(wanted, tmp_path)
    assert copy.called
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == []
    mocker.stopall()
    assert len(archive(wanted, tmp_path)["files"]) == len(wanted)


def test_a_spent_quota_puts_it_off_and_what_is_copied_is_not_fetched_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with connected_sandbox(monkeypatch, patients=60, quota_per_hour=3) as sandbox:
        wanted = versions(sandbox)
        for copied in (3, 6):
            with nullcontext() if copied == 6 else pytest.raises(AirflowRescheduleException):
                archive(wanted, tmp_path)
            assert fetched(sandbox) == copied
            sandbox.clock.advance(3600)


def test_records_without_a_file_are_named_and_hold_up_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    wanted = versions(sandbox)
    sandbox.practice.change("documents", wanted[0]["id"], {"document": None})
    result = archive(wanted, tmp_path)
    assert result["without_file"] == [wanted[0]["id"]]
    assert len(result["files"]) == len(wanted) - 1


@pytest.mark.parametrize("on_missing", ["fail", "skip"])
def test_a_record_that_is_gone(sandbox: Sandbox, tmp_path: Path, on_missing: str) -> None:
    wanted = [{"id": 987654321, "updated_at": "2026-01-01T00:00:00"}, *versions(sandbox)]
    if on_missing == "fail":
        with pytest.raises(AirflowFailException, match="there is no record 987654321; the files of the others"):
            archive(wanted, tmp_path)
    else:
        archive(wanted, tmp_path, on_missing="skip")
    assert len([each for each in tmp_path.rglob("*") if each.is_file()]) == len(wanted) - 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_missing": "ignore"}, "on_missing must be one of 'fail', 'skip', not 'ignore'"),
        ({"resource": "documnts"}, "documents"),
        ({"resource": "audit_log"}, "has no operation that reads one record"),
    ],
)
def test_what_cannot_work_is_refused_at_parse(options: dict[str, Any], message: str) -> None:
    with pytest.raises(AirflowFailException, match=message):
        DrChronoDocumentsToObjectStorageOperator(task_id="archive", records=[1], path="/tmp/x", **options)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ("[1, 2]", "records has to be a list of ids or of records, not str"),
        ({"id": 1}, "records has to be a list of ids or of records, not dict"),
        ([None], "records is missing"),
        (["None"], "records is empty"),
        (["../x"], "records has a character that no id has"),
        ([{"updated_at": "2026-01-01"}], "records is missing"),
        (list(range(1, MOST_WITHOUT_VERSION + 2)), "entries without updated_at"),
    ],
)
def test_bad_records_are_refused_before_any_call(sandbox: Sandbox, tmp_path: Path, records: Any, message: str) -> None:
    with pytest.raises(AirflowFailException, match=message):
        archive(records, tmp_path)
    assert len(sandbox.journal) == 0


def test_no_description_is_returned_or_logged(
    sandbox: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = versions(sandbox)
    rows = [each | {"description": CANARY} for each in wanted]
    with caplog.at_level("DEBUG"):
        result = archive(rows, tmp_path)
    assert CANARY not in json.dumps(result) + caplog.text


def test_what_airflow_stores_of_the_records_is_their_shape(sandbox: Sandbox, tmp_path: Path) -> None:
    operator = DrChronoDocumentsToObjectStorageOperator(
        task_id="archive", records=[{"id": 1, "description": CANARY}], path=str(tmp_path)
    )
    operator.render_template_fields({})
    assert CANARY not in repr(operator.records)
    assert "description" in repr(operator.records)
