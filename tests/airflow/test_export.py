"""Exports of a practice's lists into files, in real Airflow code over a real socket."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from airflow_provider_drchrono.transfers import export_files, export_folder
from airflow_provider_drchrono.warehouses.base import WarehouseError
from airflow_provider_drchrono.warehouses.table import table_for
from tests.airflow.test_privacy import KEY, SAFE, plant
from tests.airflow.test_warehouse_sync import calls, home, outcome, practice, staged

pytestmark = pytest.mark.airflow
__all__ = ["home", "practice"]

Export = Callable[..., dict[str, Any]]


@pytest.fixture
def root(home: Path) -> Path:
    return home / "lake"


@pytest.fixture
def export(root: Path) -> Export:
    """Executes the operator as a worker does, less the worker."""

    def run(resource: str = "patients", *, run_id: str = "run 1", day: int = 1, **arguments: Any) -> dict[str, Any]:
        from airflow_provider_drchrono.transfers.drchrono_to_object_storage import DrChronoToObjectStorageOperator

        given: dict[str, Any] = {"path": str(root), "read_by": "pages"} | arguments
        operator = DrChronoToObjectStorageOperator(task_id="export", resource=resource, **given)
        ti = SimpleNamespace(dag_id="dag", task_id="export", map_index=-1, run_id=run_id)
        dag_run = SimpleNamespace(run_after=datetime(2026, 3, day, 4, tzinfo=UTC))
        return operator.execute({"ti": ti, "dag_run": dag_run})  # type: ignore[typeddict-item]

    return run


def manifests(root: Path, resource: str = "patients") -> list[dict[str, Any]]:
    found = sorted((root / resource / "_manifests").glob("*"))
    assert [each.name for each in found] == [f"{number:06}.json" for number in range(1, len(found) + 1)]
    return [json.loads(each.read_bytes()) for each in found]


def read(root: Path, manifest: dict[str, Any], name: str = "files") -> list[dict[str, Any]]:
    """What a reader who goes by a manifest sees, after he has compared what it says of each file."""
    rows = []
    for each in manifest[name]:
        content = (root / manifest["resource"] / each["path"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (each["bytes"], each["sha256"])
        lines = gzip.decompress(content).decode().splitlines()
        assert len(lines) == each["rows"]
        rows += map(json.loads, lines)
    return rows


def data_files(root: Path) -> set[str]:
    return {
        str(each.relative_to(root)) for each in root.rglob("*") if each.is_file() and "_manifests" not in each.parts
    }


def listed_files(root: Path) -> set[str]:
    found = manifests(root)
    return {f"{each['resource']}/{file['path']}" for each in found for file in each["files"] + each["deletions"]}


def test_the_first_run_exports_everything_and_the_next_ones_what_changed(
    export: Export, practice: Callable[..., Sandbox], root: Path
) -> None:
    sandbox = practice()

    first = export(rows_per_file=25)
    changed = sandbox.practice.records("patients")[7]["id"]
    sandbox.practice.change("patients", changed, {"city": "Anchorage"})
    created = sandbox.practice.create("patients", {"last_name": "Late"})["id"]
    second = export(run_id="run 2", day=2)
    third = export(run_id="run 3", day=3)

    one, two, three = manifests(root)
    assert [each["rows"] for each in one["files"]] == [25, 25, 10]
    assert one["files"][0]["path"].startswith("date=2026-03-01/run=000001-")
    assert one["files"][2]["path"].endswith("/part-00002.ndjson.gz")
    assert {row["id"] for row in read(root, one)} | {created} == {e["id"] for e in sandbox.practice.records("patients")}
    assert {(row["id"], row["city"]) for row in read(root, two)} >= {(changed, "Anchorage")}
    assert {row["id"] for row in read(root, two)} == {changed, created}
    assert read(root, three) == []
    assert [each["complete"] for each in (one, two, three)] == [True, False, False]
    assert one["window"]["since"] is None
    assert two["window"] == {"since": second["since"], "until": second["watermark"]}
    assert (first["rows_written"], second["rows_written"], third["rows_written"]) == (60, 2, 0)
    assert third["rows_read"] == third["rows_unchanged"] > 0, "the lookback is read again, and not written again"
    assert data_files(root) == listed_files(root)
    assert first["manifest"].endswith("/lake/patients/_manifests/000001.json")
    assert not staged(root.parent)


def test_rows_hold_what_the_api_sent(export: Export, practice: Callable[..., Sandbox], root: Path) -> None:
    sandbox = practice()
    export("appointments")
    (manifest,) = manifests(root, "appointments")
    records = {str(each["id"]): each for each in sandbox.practice.records("appointments")}
    fields = load().record_of("appointments").fields  # type: ignore[union-attr]
    rows = read(root, manifest)
    assert len(rows) == len(records) == 180
    for row in rows:
        record = records[row["id"]]
        for name, field in fields.items():
            if field.type in ("array", "object", "boolean") and not field.verbose:
                assert row[name] == record.get(name), name
        assert row["_drchrono_timezone"] == sandbox.options.timezone
    assert [each["name"] for each in manifest["columns"]] == list(rows[0])


def test_parquet_has_the_types_of_the_warehouse_table(
    export: Export, practice: Callable[..., Sandbox], root: Path
) -> None:
    from pyarrow import parquet

    practice()
    export("appointments", path=str(root / "lines"))
    export("appointments", file_format="parquet", rows_per_file=100)

    (manifest,) = manifests(root, "appointments")
    tables = [parquet.ParquetFile(root / "appointments" / each["path"]).read() for each in manifest["files"]]
    assert [each.num_rows for each in tables] == [100, 80]
    table = table_for(load(), load().resource("appointments"), name="t", schema=None, verbose=False)
    types = {
        "text": "string", "json": "string", "integer": "int64", "decimal": "decimal128(38, 15)", "boolean": "bool",
        "date": "date32[day]", "time": "time64[us]", "timestamp": "timestamp[us]", "instant": "timestamp[us, tz=UTC]",
    }  # fmt: skip
    assert [(each.name, str(each.type)) for each in tables[0].schema] == [
        (column.name, types[column.kind]) for column in table.all_columns
    ]
    kinds = {column.name: column.kind for column in table.all_columns}
    parse: dict[str, Callable[[Any], Any]] = {
        "decimal": Decimal, "date": date.fromisoformat, "time": time.fromisoformat,
        "timestamp": datetime.fromisoformat, "instant": lambda text: None, "json": lambda value: value,
    }  # fmt: skip
    lines = {row["id"]: row for row in read(root / "lines", manifests(root / "lines", "appointments")[0])}
    met = set()
    for row in (row for each in tables for row in each.to_pylist()):
        for name, value in row.items():
            other, kind = lines[row["id"]][name], kinds[name]
            if kind == "json":
                value = None if value is None else json.loads(value)
            if kind == "instant":
                assert value.tzinfo is not None
                continue
            assert value == (None if other is None else parse.get(kind, lambda each: each)(other)), name
            if value is not None:
                met.add(kind)
    assert met >= {"text", "integer", "boolean", "timestamp", "json"}


CRASH = RuntimeError("the power went")


@pytest.mark.parametrize("moment", ["after staging", "between files", "before the manifest"])
def test_a_run_that_was_killed_is_made_again_and_leaves_no_row_twice(
    export: Export, practice: Callable[..., Sandbox], root: Path, mocker: MockerFixture, moment: str
) -> None:
    sandbox = practice()
    export()
    for record in sandbox.practice.records("patients")[:30]:
        sandbox.practice.change("patients", record["id"], {"city": "Anchorage"})
    before = data_files(root)
    if moment == "after staging":
        mocker.patch.object(export_folder, "write_files", side_effect=CRASH)
    elif moment == "between files":
        mocker.patch.object(export_files, "_write_ndjson", side_effect=_once(export_files._write_ndjson))
    else:
        mocker.patch.object(export_folder.ExportFolder, "_commit", side_effect=CRASH)
    with pytest.raises(RuntimeError, match="the power went"):
        export(run_id="run 2", rows_per_file=10)
    mocker.stopall()
    assert len(manifests(root)) == 1
    left = data_files(root) - before
    assert len(left) == {"after staging": 0, "between files": 1, "before the manifest": 3}[moment]
    for each in left:
        gzip.decompress((root / each).read_bytes())
    sandbox.journal.clear()

    export(run_id="run 2", rows_per_file=10)

    assert calls(sandbox) == 0, "what was staged is not read again"
    _, two = manifests(root)
    ids = [row["id"] for row in read(root, two)]
    assert len(ids) == len(set(ids)) == 30
    assert data_files(root) == listed_files(root)


def _once(real: Any) -> Any:
    done = []

    def write(*arguments: Any) -> Any:
        if done:
            raise CRASH
        done.append(True)
        return real(*arguments)

    return write


def test_a_retry_after_the_manifest_reads_nothing_and_says_the_same(
    export: Export, practice: Callable[..., Sandbox], root: Path
) -> None:
    sandbox = practice()
    first = export()
    sandbox.practice.create("patients", {"last_name": "Late"})
    sandbox.journal.clear()
    again = export()
    assert calls(sandbox) == 0
    assert len(manifests(root)) == 1
    same = first.keys() - {"seconds"}
    assert {name: again[name] for name in same} == {name: first[name] for name in same}


def test_what_another_run_left_without_a_manifest_is_removed(
    export: Export, practice: Callable[..., Sandbox], root: Path, mocker: MockerFixture
) -> None:
    practice()
    mocker.patch.object(export_folder.ExportFolder, "_commit", side_effect=CRASH)
    with pytest.raises(RuntimeError):
        export(run_id="run 1", day=1)
    mocker.stopall()
    export(run_id="run 2", day=2)
    assert data_files(root) == listed_files(root)


def test_a_full_refresh_exports_the_whole_list_again(
    export: Export, practice: Callable[..., Sandbox], root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    practice()
    export()
    caplog.set_level(logging.WARNING)
    export(run_id="run 2", full_refresh="true")
    assert [(each["rows"], each["complete"]) for each in manifests(root)] == [(60, True), (60, True)]
    assert "new or have changed" not in caplog.text


def test_a_list_without_changes_is_exported_whole_each_time(
    export: Export, practice: Callable[..., Sandbox], root: Path
) -> None:
    practice()
    export("doctors")
    export("doctors", run_id="run 2")
    one, two = manifests(root, "doctors")
    assert one["complete"]
    assert two["complete"]
    assert [row["id"] for row in read(root, one)] == [row["id"] for row in read(root, two)]


def test_logged_deletions_are_written_once(export: Export, practice: Callable[..., Sandbox], root: Path) -> None:
    sandbox = practice()
    export("line_items")
    row = sandbox.practice.records("line_items")[3]
    gone = row["id"]
    sandbox.practice.remove("line_items", gone)
    trace = {"billing_line_item_id": gone, "appointment_id": row["appointment"]}
    sandbox.practice.create("line_item_deletions", trace)
    second = export("line_items", run_id="run 2")
    third = export("line_items", run_id="run 3")
    found = [read(root, each, "deletions") for each in manifests(root, "line_items")]
    assert [[row["id"] for row in each] for each in found] == [[], [gone], []]
    assert (second["rows_deleted"], third["rows_deleted"]) == (1, 0)


def test_records_without_a_key_are_written_once(export: Export, practice: Callable[..., Sandbox], root: Path) -> None:
    sandbox = practice()
    assert not load().resource("audit_log").key
    export("audit_log")
    export("audit_log", run_id="run 2")
    one, two = manifests(root, "audit_log")
    assert one["rows"] == len(sandbox.practice.records("audit_log")) > 0
    assert two["rows"] == 0


def test_nothing_of_a_person_is_in_files_that_safe_harbor_made(
    export: Export,
    practice: Callable[..., Sandbox],
    home: Path,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("AIRFLOW_CONN_PRIVACY_KEY", json.dumps({"conn_type": "generic", "password": KEY}))
    sandbox = practice()
    planted = plant(sandbox, "patients")
    result = export(full_refresh=True, **SAFE)
    files = [each for each in home.rglob("*") if each.is_file()]
    contents = [gzip.decompress(each.read_bytes()) if each.suffix == ".gz" else each.read_bytes() for each in files]
    text = b"\n".join(contents).decode("latin-1") + json.dumps(result) + caplog.text
    assert len(planted) > 20
    assert [mark for mark in planted if mark in text] == []
    assert result["rows_written"] == 60
    with pytest.raises(InvalidArgumentError, match=r"days are masked.*full_refresh=True"):
        export(**SAFE)


def test_manifests_hold_nothing_of_a_record(export: Export, practice: Callable[..., Sandbox], root: Path) -> None:
    sandbox = practice()
    planted = plant(sandbox, "patients")
    export()
    text = "".join(each.read_text() for each in (root / "patients" / "_manifests").iterdir())
    assert [mark for mark in planted if mark in text] == []
    assert any(mark in json.dumps(read(root, manifests(root)[0])) for mark in planted)


def test_a_list_that_may_hide_records_is_not_exported(
    export: Export, practice: Callable[..., Sandbox], root: Path
) -> None:
    sandbox = practice()
    export()
    for record in sandbox.practice.records("patients")[:50]:
        sandbox.practice.remove("patients", record["id"])
    with pytest.raises(outcome("AirflowFailException"), match="returned 10 records, where there were 60"):
        export(run_id="run 2", full_refresh=True, on_suspicious="fail")
    assert len(manifests(root)) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"path": "lake"}, "path 'lake' is relative"),
        ({"path": "/"}, "path has to name a folder"),
        ({"file_format": "csv"}, "file_format"),
        ({"rows_per_file": 0}, "rows_per_file has to be a whole number from 1"),
        ({"resource": "patient"}, "patients"),
    ],
)
def test_arguments_that_cannot_be_right_are_refused_when_the_dag_is_parsed(
    arguments: dict[str, Any], says: str
) -> None:
    from airflow_provider_drchrono.transfers.drchrono_to_object_storage import DrChronoToObjectStorageOperator

    given = {"resource": "patients", "path": "/lake"} | arguments
    with pytest.raises(InvalidArgumentError, match=says) as raised:
        DrChronoToObjectStorageOperator(task_id="export", **given)
    assert "\n" not in str(raised.value)


def test_places_that_cannot_be_written_are_refused_before_anything_is_read(
    export: Export, practice: Callable[..., Sandbox], root: Path, monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture
) -> None:
    sandbox = practice()
    (root.parent / "file").write_text("not a folder")
    failed = outcome("AirflowFailException")
    with pytest.raises(failed, match=r"cannot be read and written: (Not a directory|File exists); see that the folder"):
        export(path=str(root.parent / "file"))
    with pytest.raises(failed, match=r"path is on a kind of storage that is not installed"):
        export(path="nowhere://bucket/lake")
    monkeypatch.setattr("airflow_provider_drchrono.common.arguments.is_template", lambda text: text == "lake")
    with pytest.raises(failed, match="is relative"):
        export(path="lake")
    mocker.patch.object(export_files, "find_spec", return_value=None)
    with pytest.raises(failed, match=r"install airflow-provider-drchrono\[parquet\]"):
        export(file_format="parquet")
    assert calls(sandbox) == 0


def test_the_fence_holds(
    export: Export, practice: Callable[..., Sandbox], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = practice()
    monkeypatch.setenv("AIRFLOW__DRCHRONO__ALLOWED_FILE_ROOTS", str(root / "inside"))
    with pytest.raises(outcome("AirflowFailException"), match="path is outside of the folders"):
        export()
    assert calls(sandbox) == 0
    assert not root.exists()
    assert export(path=str(root / "inside"))["rows_written"] == 60


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 2}, "later release"),
        ({"resource": "offices"}, "another resource"),
        ({"practice": "practice_group:0"}, "another practice"),
        ({"selection": "0"}, "another selection"),
        ({"files": 3}, "is no manifest of an export"),
        ({"file_format": "parquet"}, "another file_format"),
    ],
)
def test_a_manifest_of_something_else_is_refused(
    export: Export, practice: Callable[..., Sandbox], root: Path, change: dict[str, Any], says: str
) -> None:
    sandbox = practice()
    export()
    path = root / "patients/_manifests/000001.json"
    found = json.loads(path.read_text())
    if "practice" in change:
        # Otherwise the practice of this authorization is the one that the manifest names.
        found["state"]["grant_id"] = "of another"
    path.write_text(json.dumps(found | change))
    before = data_files(root)
    sandbox.journal.clear()
    with pytest.raises(outcome("AirflowFailException"), match=says) as raised:
        export(run_id="run 2")
    assert "\n" not in str(raised.value)
    assert calls(sandbox) == 0
    assert data_files(root) == before


def test_a_partition_of_somebody_else_is_left_alone(
    export: Export, practice: Callable[..., Sandbox], root: Path, mocker: MockerFixture
) -> None:
    practice()
    mocker.patch.object(export_folder.ExportFolder, "_commit", side_effect=CRASH)
    with pytest.raises(RuntimeError):
        export()
    mocker.stopall()
    (partition,) = (root / "patients").glob("date=*/run=*")
    (partition / "notes.txt").write_text("mine")
    with pytest.raises(outcome("AirflowFailException"), match=r"not of this export, such as notes.txt"):
        export()
    assert (partition / "notes.txt").read_text() == "mine"
    assert manifests(root) == []


def test_a_long_list_is_exported_in_bulk_while_the_triggerer_waits(
    practice: Callable[..., Sandbox], root: Path, home: Path
) -> None:
    from airflow.sdk.exceptions import TaskDeferred

    from airflow_provider_drchrono.transfers.drchrono_to_object_storage import DrChronoToObjectStorageOperator

    sandbox = practice(bulk_seconds=300.0)
    operator = DrChronoToObjectStorageOperator(
        task_id="export", resource="patients", path=str(root), read_by="bulk", deferrable=True
    )
    ti = SimpleNamespace(dag_id="dag", task_id="export", map_index=-1, run_id="run 1")
    context: Any = {"ti": ti, "dag_run": SimpleNamespace(run_after=datetime(2026, 3, 1, 4, tzinfo=UTC))}
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    assert not root.exists() or data_files(root) == set()
    sandbox.clock.advance(400)

    result = getattr(operator, deferred.value.method_name)(context, event={})

    assert (result["rows_written"], len(sandbox.journal.calls(operation_id="patients_list_create"))) == (60, 1)
    (manifest,) = manifests(root)
    assert {row["id"] for row in read(root, manifest)} == {e["id"] for e in sandbox.practice.records("patients")}
    assert staged(home) == []


def test_two_tasks_at_once_do_not_both_commit(
    export: Export, practice: Callable[..., Sandbox], root: Path, mocker: MockerFixture
) -> None:
    practice()
    real = export_folder.write_files
    others = []

    def meanwhile(*arguments: Any, **named: Any) -> Any:
        if not others:
            others.append(True)
            export(run_id="other", staging_path=str(root.parent / "elsewhere"))
        return real(*arguments, **named)

    mocker.patch.object(export_folder, "write_files", side_effect=meanwhile)
    with pytest.raises(WarehouseError, match="at the same time; give the DAG max_active_runs=1"):
        export()
    assert len(manifests(root)) == 1
    mocker.stopall()
    export()
    assert [each["rows"] for each in manifests(root)] == [60, 0]
    assert data_files(root) == listed_files(root)


def test_a_read_that_was_cut_off_is_resumed_and_writes_nothing_before(
    export: Export, practice: Callable[..., Sandbox], root: Path
) -> None:
    sandbox = practice()
    sandbox.faults.add(Fault(kind="status", status=403, resource="appointments", skip=3))
    with pytest.raises(outcome("AirflowFailException")):
        export("appointments")
    assert staged(root.parent)
    assert not data_files(root)
    assert export("appointments")["rows_written"] == 180


DAG = """
from datetime import datetime
from airflow.sdk import DAG
from airflow_provider_drchrono.transfers.drchrono_to_object_storage import DrChronoToObjectStorageOperator

with DAG("exports", start_date=datetime(2026, 1, 1), schedule=None):
    DrChronoToObjectStorageOperator(task_id="export", resource="patients", path="{path}", read_by="pages")
"""


def test_in_airflow_an_export_updates_its_asset_only_when_it_wrote_rows(
    practice: Callable[..., Sandbox], root: Path, run_dag: Callable[..., Any], ask: Callable[..., Any]
) -> None:
    from airflow_provider_drchrono.assets import drchrono_export

    practice()
    for _ in range(2):
        assert run_dag(DAG.format(path=root)).state == "success"

    one, two = manifests(root)
    assert one["files"][0]["path"].startswith(f"date={datetime.now(UTC).date()}/run=000001-")
    assert two["rows"] == 0
    events = ask("assets/events")["asset_events"]
    assert [each["uri"] for each in events] == [drchrono_export("patients", path=str(root)).uri]
    assert events[0]["extra"]["count"] == 60
    assert events[0]["extra"]["manifest"] == "000001"
