"""Staged pages: what is interrupted goes on, what is damaged is noticed, and nobody else reads or writes there."""

import gzip
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_drchrono.transfers import staging as staging_module
from airflow_provider_drchrono.transfers.staging import (
    BulkProgress,
    Checkpoint,
    Job,
    Plan,
    Staging,
    StagingDamagedError,
)
from airflow_provider_drchrono.transfers.staging_files import (
    LocalFolder,
    ObjectFolder,
    StagingError,
    StagingFolder,
    staging_folder,
)

DAY = timedelta(days=1)
NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
PLAN = Plan(watermark=None, since=None, start=None, timezones=("America/New_York",), timezones_read_at=None)
OTHER_PLAN = Plan(
    watermark="2026-01-01T00:00:00+00:00",
    since="2025-12-31T18:59:00",
    start=None,
    timezones=("America/New_York",),
    timezones_read_at=None,
)


@pytest.fixture
def memory_store() -> Iterator[None]:
    """The in-memory file system of fsspec, attached as an object store of Airflow."""
    from airflow.sdk.io.store import attach
    from fsspec.implementations.memory import MemoryFileSystem

    store = MemoryFileSystem()
    attach("memory", fs=store)
    yield
    store.store.clear()
    store.pseudo_dirs[:] = [""]


@pytest.fixture(params=["local folder", "object store"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local folder":
        return str(tmp_path / "root")
    request.getfixturevalue("memory_store")
    return "memory://bucket/staging"


def taken(root: str, name: str = "patients-1", reader: str = "dag/task/-1/run") -> Staging:
    staging = Staging(staging_folder(root, name), reader)
    assert staging.acquire()
    return staging


def add(
    staging: Staging, checkpoint: Checkpoint, *ids: int, next_url: str | None = "more", at: datetime = NOW
) -> Checkpoint:
    records = [{"id": each, "name": f"Name {each}"} for each in ids]
    return staging.add(checkpoint, records, read_at=at, began=at, next_url=next_url, calls=1)


def ids(staging: Staging, checkpoint: Checkpoint) -> list[int]:
    return [json.loads(line)["id"] for line, _ in staging.lines(checkpoint)]


def test_pages_come_back_in_order_with_the_time_of_reading(root: str) -> None:
    staging = taken(root)
    checkpoint = staging.begin(PLAN, DAY)
    checkpoint = add(staging, checkpoint, 3, 1)
    checkpoint = add(staging, checkpoint, 2, next_url=None, at=NOW + timedelta(seconds=5))

    assert list(staging.lines(checkpoint)) == [
        (b'{"id":3,"name":"Name 3"}', "2026-01-15 12:00:00+00:00"),
        (b'{"id":1,"name":"Name 1"}', "2026-01-15 12:00:00+00:00"),
        (b'{"id":2,"name":"Name 2"}', "2026-01-15 12:00:05+00:00"),
    ]
    assert (checkpoint.rows, checkpoint.calls, checkpoint.complete) == (3, 2, True)
    assert checkpoint.began == "2026-01-15T12:00:00+00:00"


def test_another_process_goes_on_after_the_last_page(root: str) -> None:
    first = taken(root)
    checkpoint = add(first, first.begin(PLAN, DAY), 1, 2, next_url="page 2")
    first.release()

    second = taken(root)
    found = second.begin(PLAN, DAY)
    assert (found.next_url, found.rows, found.complete) == ("page 2", 2, False)
    checkpoint = add(second, found, 3, next_url=None)

    assert ids(second, checkpoint) == [1, 2, 3]
    assert checkpoint.calls == 2


def test_a_part_without_its_checkpoint_is_read_again_and_counts_once(root: str) -> None:
    first = taken(root)
    before = add(first, first.begin(PLAN, DAY), 1, next_url="page 2")
    add(first, before, 2, next_url="page 3")
    # The process ended after the part was written and before the checkpoint was.
    first._write(before, None)
    first.release()

    second = taken(root)
    checkpoint = add(second, second.begin(PLAN, DAY), 2, next_url=None)

    assert ids(second, checkpoint) == [1, 2]


def test_a_page_without_records_moves_the_checkpoint(root: str) -> None:
    staging = taken(root)
    checkpoint = add(staging, staging.begin(PLAN, DAY), next_url="page 2")
    checkpoint = add(staging, checkpoint, 1, next_url=None)

    assert ids(staging, checkpoint) == [1]
    assert ids(staging, staging.restart(PLAN)) == []


def test_empty_pages_in_the_middle_are_counted_over_the_whole_read(root: str) -> None:
    staging = taken(root)
    checkpoint = staging.begin(PLAN, DAY)
    for gaps in (1, 0, 2):
        records = [{"id": gaps}]
        checkpoint = staging.add(checkpoint, records, read_at=NOW, began=NOW, next_url="more", calls=1, gaps=gaps)

    staging.release()

    assert checkpoint.gaps == 3
    assert taken(root).begin(PLAN, DAY).gaps == 3


def test_pages_that_are_lost_again_and_again_add_up_until_one_comes() -> None:
    jobs = [Job(page, f"job {page}", NOW.isoformat(), 0.0) for page in (1, 2, 3)]
    progress = BulkProgress(jobs=tuple(jobs), next_page=4, pages=3)

    progress = progress.lost(jobs[:1], failures=1).lost(jobs[1:2], failures=1)

    assert (progress.failures, progress.again) == (2, (1, 2))
    assert progress.fetched(jobs[2], pages=3, count=None).failures == 0


@pytest.mark.parametrize(("page", "again"), [(1, ()), (2, (1,)), (3, (2,))])
def test_the_page_before_is_read_again_where_the_list_became_shorter(page: int, again: tuple[int, ...]) -> None:
    job = Job(page, "job", NOW.isoformat(), 0.0)
    progress = BulkProgress(jobs=(job,), next_page=page + 1, pages=3, count=2500)

    assert progress.fetched(job, pages=3, count=2499).again == again
    assert progress.fetched(job, pages=3, count=2500).again == ()


@pytest.mark.parametrize("reason", ["another plan", "too old"])
def test_what_cannot_be_gone_on_with_is_dropped(root: str, reason: str, mocker: MockerFixture) -> None:
    first = taken(root)
    add(first, first.begin(PLAN, DAY), 1)
    first.release()
    second = taken(root)
    if reason == "too old":
        clock = mocker.patch.object(staging_module, "datetime", wraps=datetime)
        clock.now.return_value = datetime.now(UTC) + DAY + timedelta(seconds=1)

    checkpoint = second.begin(OTHER_PLAN if reason == "another plan" else PLAN, DAY)

    assert checkpoint.began is None
    assert list(second.lines(checkpoint)) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"plan":{}}', b'{"format":99}'], ids=repr)
def test_a_checkpoint_that_cannot_be_read_is_none(root: str, content: bytes) -> None:
    staging = taken(root)
    staging_folder(root, "patients-1").write("checkpoint.json", content, durable=False)

    assert staging.checkpoint() is None
    assert staging.begin(PLAN, DAY).began is None


@pytest.mark.parametrize("damage", ["gone", "cut off", "emptied", "altered"])
def test_a_damaged_part_is_noticed(tmp_path: Path, damage: str) -> None:
    staging = taken(str(tmp_path))
    checkpoint = add(staging, staging.begin(PLAN, DAY), *range(50))
    (part,) = (tmp_path / "patients-1").glob("part-*")
    content = part.read_bytes()
    if damage == "gone":
        part.unlink()
    else:
        part.write_bytes(
            {"cut off": content[:-20], "emptied": b"", "altered": content[:-6] + b"\0" + content[-5:]}[damage]
        )

    with pytest.raises(StagingDamagedError, match=r"^part-000000-[0-9a-f]{8}\.ndjson\.gz$"):
        list(staging.lines(checkpoint))


def test_parts_are_plain_gzipped_ndjson(tmp_path: Path) -> None:
    staging = taken(str(tmp_path))
    add(staging, staging.begin(PLAN, DAY), 1, 2)
    (part,) = (tmp_path / "patients-1").glob("part-*.ndjson.gz")

    with gzip.open(part) as lines:
        assert [json.loads(line)["id"] for line in lines] == [1, 2]


def test_only_the_owner_reads_what_is_staged(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        staging = taken(str(tmp_path / "root"))
        add(staging, staging.begin(PLAN, DAY), 1)
    finally:
        os.umask(before)
    folder = tmp_path / "root" / "patients-1"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(modes) == 3
    assert set(modes.values()) == {0o600}


HOLD_THE_FOLDER = """
import sys
from pathlib import Path
from airflow_provider_drchrono.transfers.staging_files import LocalFolder
assert LocalFolder(Path(sys.argv[1])).acquire()
print("taken", flush=True)
sys.stdin.read()
"""


def test_a_folder_belongs_to_one_living_process(tmp_path: Path) -> None:
    folder = tmp_path / "patients-1"
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_FOLDER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "taken\n"
    ours = Staging(LocalFolder(folder), "dag/task/-1/run")

    assert not ours.acquire()
    other.kill()
    other.communicate()
    assert ours.acquire()


def test_without_locks_a_reader_is_believed_for_a_while(memory_store: None, mocker: MockerFixture) -> None:
    first = taken("memory://bucket/staging", reader="one run")
    add(first, first.begin(PLAN, DAY), 1)

    def can_take(reader: str) -> bool:
        return Staging(staging_folder("memory://bucket/staging", "patients-1"), reader).acquire()

    assert can_take("one run")
    assert not can_take("another run")
    clock = mocker.patch.object(staging_module, "datetime", wraps=datetime)
    clock.now.return_value = datetime.now(UTC) + staging_module.ABANDONED_AFTER + timedelta(seconds=1)
    assert can_take("another run")
    clock.now.return_value = datetime.now(UTC)
    first.release()
    assert can_take("another run")


def test_a_host_with_a_clock_of_the_future_keeps_nobody_out(memory_store: None, mocker: MockerFixture) -> None:
    clock = mocker.patch.object(staging_module, "datetime", wraps=datetime)
    clock.now.return_value = datetime.now(UTC) + timedelta(days=3650)
    first = taken("memory://bucket/staging", reader="one run")
    add(first, first.begin(PLAN, DAY), 1)
    clock.now.return_value = datetime.now(UTC)

    second = Staging(staging_folder("memory://bucket/staging", "patients-1"), "another run")

    assert second.acquire()
    assert second.begin(PLAN, DAY).began is None


def test_sweeping_removes_what_nobody_went_on_with(root: str, mocker: MockerFixture) -> None:
    for name in ("left-1", "left-2"):
        left = taken(root, name)
        add(left, left.begin(PLAN, DAY), 1)
        left.release()
    broken = taken(root, "left-3")
    staging_folder(root, "left-3").write("checkpoint.json", b"of another version", durable=False)
    broken.release()
    ours = taken(root, "ours-1")
    checkpoint = add(ours, ours.begin(PLAN, DAY), 1)

    assert ours.sweep(DAY) == 1
    clock = mocker.patch.object(staging_module, "datetime", wraps=datetime)
    clock.now.return_value = datetime.now(UTC) + DAY + timedelta(seconds=1)
    assert ours.sweep(DAY) == 2
    assert ours.sweep(DAY) == 0

    for name in ("left-1", "left-2", "left-3"):
        assert staging_folder(root, name).read("checkpoint.json") is None
    assert ids(ours, checkpoint) == [1]


def test_sweeping_leaves_alone_what_is_in_use_or_not_ours(tmp_path: Path, mocker: MockerFixture) -> None:
    busy = taken(str(tmp_path), "busy-1")
    add(busy, busy.begin(PLAN, DAY), 1)
    foreign = tmp_path / "someone-elses"
    foreign.mkdir()
    (foreign / "checkpoint.json").write_text("not ours")
    ours = taken(str(tmp_path), "ours-1")
    clock = mocker.patch.object(staging_module, "datetime", wraps=datetime)
    clock.now.return_value = datetime.now(UTC) + 2 * DAY

    assert ours.sweep(DAY) == 0
    assert (foreign / "checkpoint.json").exists()
    assert busy.checkpoint() is not None


def test_a_folder_that_cannot_be_swept_is_left_to_whom_it_belongs(tmp_path: Path) -> None:
    strange = tmp_path / "strange-1"
    (strange / "checkpoint.json").mkdir(parents=True)
    (strange / ".lock").write_text("")
    ours = taken(str(tmp_path), "ours-1")

    assert ours.sweep(DAY) == 0
    assert (strange / "checkpoint.json").exists()


@pytest.mark.parametrize(
    ("path", "kind", "expected"),
    [
        pytest.param("/var/lib/staging", LocalFolder, "/var/lib/staging/x", id="path"),
        pytest.param("file:///var/lib/staging", LocalFolder, "/var/lib/staging/x", id="file URL"),
        pytest.param("memory://bucket/a", ObjectFolder, "memory://bucket/a/x", id="object store"),
    ],
)
def test_where_a_staging_path_leads(memory_store: None, path: str, kind: type[StagingFolder], expected: str) -> None:
    folder: Any = staging_folder(path, "x")

    assert isinstance(folder, kind)
    assert str(folder) == expected


def test_a_store_that_nothing_can_reach_is_named() -> None:
    with pytest.raises(StagingError, match=r"staging_path begins with gopher://.*install the Airflow provider"):
        staging_folder("gopher://bucket/a", "x")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StagingError, match=r"file/x cannot be used: Not a directory; .*staging_path"):
        staging_folder(str(tmp_path / "file"), "x").acquire()
