"""Exports into a real S3 server. It runs in the environment that has one: ``make test-many-hosts``."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.transfers import export_folder
from tests.integration.celery_hosts import BUCKET, ObjectStore

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(find_spec("moto") is None, reason="it takes an S3 server: make test-many-hosts"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """One for all tests: Airflow keeps what it has connected to."""
    running = ObjectStore(tmp_path_factory.mktemp("s3"))
    yield running
    running.close()


@pytest.fixture
def store(server: ObjectStore, airflow_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(server.connection))
    monkeypatch.setenv("AIRFLOW__DRCHRONO__STAGING_PATH", str(tmp_path / "staging"))
    return server


@pytest.fixture
def sandbox(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox(patients=60, quota_per_hour=None, quota_per_second=None) as running:
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", running.connection_json())
        yield running


def export(bucket: str = BUCKET, run_id: str = "run 1") -> dict[str, Any]:
    from airflow_provider_drchrono.transfers.drchrono_to_object_storage import DrChronoToObjectStorageOperator

    operator = DrChronoToObjectStorageOperator(
        task_id="export", resource="patients", path=f"s3://aws_default@{bucket}/lake", read_by="pages", rows_per_file=40
    )
    ti = SimpleNamespace(dag_id="dag", task_id="export", map_index=-1, run_id=run_id)
    return operator.execute({"ti": ti})  # type: ignore[typeddict-item]


def content(store: ObjectStore, key: str) -> bytes:
    return store._http.get(f"/{BUCKET}/{key}").content


def test_an_export_to_s3_commits_by_its_manifest(store: ObjectStore, sandbox: Sandbox, mocker: MockerFixture) -> None:
    mocker.patch.object(export_folder.ExportFolder, "_commit", side_effect=RuntimeError("the power went"))
    with pytest.raises(RuntimeError):
        export()
    mocker.stopall()
    assert len(store.keys()) == 2
    export()
    changed = sandbox.practice.records("patients")[7]["id"]
    sandbox.practice.change("patients", changed, {"city": "Anchorage"})
    export(run_id="run 2")

    keys = store.keys()
    manifests = [json.loads(content(store, each)) for each in keys if "/_manifests/" in each]
    listed = [[f"lake/patients/{file['path']}" for file in each["files"]] for each in manifests]
    assert sorted(each for each in keys if "/date=" in each) == sorted(chain.from_iterable(listed))
    rows = [
        [json.loads(line) for key in each for line in gzip.decompress(content(store, key)).splitlines()]
        for each in listed
    ]
    assert [len(each) for each in rows] == [60, 1]
    assert rows[1][0]["city"] == "Anchorage"


def test_a_bucket_that_is_not_there_is_one_clear_line(store: ObjectStore, sandbox: Sandbox) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException, match=r"cannot be read and written: .*; see that the folder") as raised:
        export(bucket="nobody")
    assert "\n" not in str(raised.value)
    assert [each for each in sandbox.journal if each.path.startswith("/api/patients")] == []
