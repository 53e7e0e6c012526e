"""The example that archives documents, run as its readers would run it, crashed, and run again."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_drchrono.assets import drchrono_asset
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.state.cursor_store import VariableCursorStore
from tests.support.events import make_event
from tests.support.example_dags import example_dag
from tests.support.running import unlimited

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("quick_dags")]

EXAMPLE = example_dag("drchrono_documents_to_storage")
DOCUMENTS = drchrono_asset("documents", start="beginning")
COPY = "airflow_provider_drchrono.common.result_files.shutil.copyfileobj"


def test_each_version_is_copied_once(
    run_dag: Callable[..., Any],
    airflow_db: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mocker: MockerFixture,
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_DRCHRONO_ARCHIVE", f"file://{tmp_path}")
    crashes = [1]
    copy = shutil.copyfileobj

    def crash_once(*arguments: Any, **options: Any) -> None:
        if crashes and files():
            crashes.clear()
            raise RuntimeError("the worker is gone")
        copy(*arguments, **options)

    def files() -> dict[Path, int]:
        return {each: each.stat().st_mtime_ns for each in tmp_path.rglob("*") if each.is_file()}

    mocker.patch(COPY, crash_once)
    with Sandbox(patients=30, quota_per_hour=None, quota_per_second=None) as sandbox:

        def fetched() -> int:
            return sum(each.path.startswith("/files/") for each in sandbox.journal)

        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox))
        assert run_dag(EXAMPLE).state == "success"
        assert files() == {}

        assert make_event(VariableCursorStore(), DOCUMENTS) is not None
        first = run_dag(EXAMPLE)
        assert first.state == "success"
        assert first.get_task_instance("archive").try_number == 2
        assert not crashes
        with_file = [each["id"] for each in sandbox.practice.records("documents") if each["document"]]
        assert len(with_file) > 2
        there = files()
        assert sorted(int(each.parent.name) for each in there) == sorted(with_file)
        for each in there:
            assert hashlib.sha256(each.read_bytes()).hexdigest()[:16] in each.name
        # The file that was lost in the crash is fetched again, and no other.
        assert fetched() == len(with_file) + 1

        assert run_dag(EXAMPLE).state == "success"
        assert files() == there

        sandbox.practice.change("documents", with_file[0], {"description": "Another one"})
        assert make_event(VariableCursorStore(), DOCUMENTS) is not None
        assert run_dag(EXAMPLE).state == "success"
        assert fetched() == len(with_file) + 2
    new = files().keys() - there.keys()
    assert [int(each.parent.name) for each in new] == [with_file[0]]
    assert there.items() <= files().items()
