"""Keeps the pages of an extraction until they are loaded, so that an interrupted sync resumes where it was.

Each page is a part: gzipped NDJSON, the records one a line as they came, with the time at which they were read in the
gzip header. A checkpoint is written after its part is safe and names the page to ask for next. Both hold patient data
(records, and filters inside the address of the next page), so neither leaves the staging folder.
"""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from typing import Any, Protocol

from isal import igzip, isal_zlib

from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.incremental.canonical import canonical
from airflow_provider_drchrono.incremental.window import BEGINNING, Practice
from airflow_provider_drchrono.transfers.staging_files import StagingError, StagingFolder

FORMAT = 1
ABANDONED_AFTER = timedelta(minutes=15)
"""In a store without locks, how long after its last checkpoint a reader is taken to be gone: longer than all
attempts at one page may take."""

_CHECKPOINT = "checkpoint.json"

# ISA-L's gzip takes a third of the time of zlib's at the same size; level 2 is its best one that is no slower.
_COMPRESSION = 2

# The stubs call the class of ISA-L's errors an instance.
_DAMAGED: tuple[Any, ...] = (OSError, EOFError, isal_zlib.error, struct.error)


class StagingDamagedError(DrChronoError):
    """A staged part is missing or cannot be read."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What makes an extraction the same one as before: an interrupted one is resumed only if this has not changed.

    :param watermark: the sync's watermark when the extraction was planned, in ISO 8601.
    :param since: start of the window, in ISO 8601 without a zone.
    :param start: the earliest change that the table will hold once this is loaded, like ``since``; None: all.
    :param timezones_read_at: when the practice's zones were asked for, in ISO 8601; None if the connection names one.
    :param practice_key: tells the practice from others.
    """

    watermark: str | None
    since: str | None
    start: str | None
    timezones: tuple[str, ...]
    timezones_read_at: str | None
    practice_key: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether everything that the sync selects is read, however long ago it changed."""
        return self.start is None and self.since in (None, BEGINNING.isoformat())

    @property
    def practice(self) -> Practice:
        """What was known about the practice's clocks when the extraction was planned."""
        read_at = self.timezones_read_at
        return Practice(self.timezones, datetime.fromisoformat(read_at) if read_at else None)


@dataclass(frozen=True, slots=True)
class Job:
    """A page of a bulk list that was started and not fetched.

    :param asked: server time at which it was asked for, ISO 8601 in UTC: what it holds is no older.
    :param at: the same by this machine's clock, in seconds since the epoch.
    """

    page: int
    uuid: str
    asked: str
    at: float


@dataclass(frozen=True, slots=True)
class BulkProgress:
    """How far the reading of a bulk list has come.

    :param jobs: pages that were started, in the order in which they were.
    :param next_page: the first page that was never started.
    :param again: pages that have to be started once more.
    :param pages: how many pages the list has; 0 before the first one is there.
    :param count: how many rows the list had when its last page was made, if the API said.
    :param seconds: how long pages take to be made, as far as that is known.
    :param failures: how many pages were lost since the last one that was not.
    """

    jobs: tuple[Job, ...] = ()
    next_page: int = 1
    again: tuple[int, ...] = ()
    pages: int = 0
    count: int | None = None
    seconds: float = 0.0
    failures: int = 0

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> BulkProgress:
        """Return what a checkpoint says."""
        jobs = tuple(Job(**each) for each in raw["jobs"])
        return replace(cls(**raw), jobs=jobs, again=tuple(raw["again"]))

    @property
    def page_to_start(self) -> int | None:
        """The page to start next, if there is one: the first one says how many there are."""
        if self.again:
            return self.again[0]
        return self.next_page if self.next_page <= max(self.pages, 1) else None

    @property
    def complete(self) -> bool:
        """Whether all pages are there."""
        return not self.jobs and self.page_to_start is None

    def started(self, job: Job) -> BulkProgress:
        """Note that the page to start was started."""
        jobs = (*self.jobs, job)
        if self.again:
            return replace(self, jobs=jobs, again=self.again[1:])
        return replace(self, jobs=jobs, next_page=self.next_page + 1)

    def lost(self, jobs: Collection[Job], *, failures: int = 0) -> BulkProgress:
        """Note that pages will not come.

        :param failures: how many of them it took a call to find that out of.
        """
        return replace(
            self,
            jobs=self._without(jobs),
            again=(*self.again, *(each.page for each in jobs)),
            failures=self.failures + failures,
        )

    def slower(self, seconds: float) -> BulkProgress:
        """Note that a page took so long."""
        return replace(self, seconds=max(self.seconds, seconds))

    def fetched(self, job: Job, *, pages: int, count: int | None) -> BulkProgress:
        """Note that a page came.

        Where the list has become shorter since the page before was made, a row of this page may have moved there, and
        that page is read again.
        """
        shrunk = count is not None and self.count is not None and count < self.count and job.page > 1
        again = (*self.again, job.page - 1) if shrunk else self.again
        return replace(self, jobs=self._without([job]), again=again, pages=pages, count=count, failures=0)

    def _without(self, jobs: Collection[Job]) -> tuple[Job, ...]:
        return tuple(each for each in self.jobs if each not in jobs)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The progress of an extraction.

    :param began: server time at which its first page was asked for, ISO 8601 in UTC; None before the first page.
    :param gaps: pages in the middle of the list that held no record.
    :param parts: how many parts each process that worked on it wrote, by the mark that is part of their names.
    :param next_url: the page to ask for next; None before the first page and after the last.
    :param bulk: how far a read in bulk has come; None for one page by page.
    :param bulk_unusable: whether the API was found not to make the bulk list.
    """

    plan: Plan
    began: str | None = None
    parts: Mapping[str, int] = field(default_factory=dict)
    rows: int = 0
    calls: int = 0
    next_url: str | None = None
    complete: bool = False
    gaps: int = 0
    reader: str | None = None
    touched: str = ""
    format: int = FORMAT
    bulk: BulkProgress | None = None
    bulk_unusable: bool = False

    @property
    def in_bulk(self) -> BulkProgress:
        """How far the read in bulk has come; at its beginning where it has not begun."""
        return self.bulk or BulkProgress()

    def names(self) -> Iterator[str]:
        """The file names of the parts, in the order in which they were read."""
        marks = chain.from_iterable(repeat(mark, count) for mark, count in self.parts.items())
        return (part_name(number, mark) for number, mark in enumerate(marks))


class Shield(Protocol):
    """Hides what may not be held from what is written."""

    def line(self, record: Mapping[str, Any] | bytes) -> bytes:
        """Return what may be held of a record, as JSON in one line."""

    def sealed(self, address: str) -> str:
        """Return the address of a page such that nobody can read it who has not the key."""

    def opened(self, text: str) -> str | None:
        """Return the address that was sealed; None where it was sealed with another key."""


def part_name(number: int, mark: str) -> str:
    """Return the file name of a part. The mark of its process keeps two processes from writing the same file."""
    return f"part-{number:06d}-{mark}.ndjson.gz"


class Staging:
    """The staged pages of one sync, in a folder that this process has taken.

    :param reader: who reads: the same for all attempts of one task in one run.
    :param shield: hides, before anything is written, what may not be held.
    """

    def __init__(self, folder: StagingFolder, reader: str, shield: Shield | None = None) -> None:
        self._folder = folder
        self._reader = reader
        self._shield = shield
        self._mark = uuid.uuid4().hex[:8]

    def acquire(self) -> bool:
        """Take the folder; false if another process is reading into it."""
        if not self._folder.acquire():
            return False
        checkpoint = self.checkpoint()
        return self._folder.locks or checkpoint is None or not self._is_busy(checkpoint)

    def release(self) -> None:
        """Leave the folder, with what is in it, to the next process that resumes the sync."""
        checkpoint = self.checkpoint()
        if not self._folder.locks and checkpoint is not None and checkpoint.reader == self._reader:
            self._write(checkpoint, reader=None)
        self._folder.release()

    def checkpoint(self) -> Checkpoint | None:
        """Return how far the extraction in the folder has come; None if there is none that can be resumed."""
        content = self._folder.read(_CHECKPOINT)
        checkpoint = None if content is None else _parsed(content)
        if checkpoint is None or self._shield is None or checkpoint.next_url is None:
            return checkpoint
        next_url = self._shield.opened(checkpoint.next_url)
        return None if next_url is None else replace(checkpoint, next_url=next_url)

    def begin(self, plan: Plan, retention: timedelta) -> Checkpoint:
        """Return the checkpoint to resume: the one that is there, if it is of this plan and not too old."""
        checkpoint = self.checkpoint()
        if checkpoint is None or checkpoint.plan != plan or _age(checkpoint) > retention:
            return self.restart(plan)
        self._write(checkpoint, self._reader)
        return checkpoint

    def restart(self, plan: Plan) -> Checkpoint:
        """Delete what was staged and return the checkpoint of an extraction that has read nothing."""
        self._folder.clear()
        checkpoint = Checkpoint(plan=plan)
        self._write(checkpoint, self._reader)
        return checkpoint

    def begin_anew(self, checkpoint: Checkpoint, *, in_bulk: bool) -> Checkpoint:
        """Go over to the other way of reading: what was read counts no more, except for its calls and its beginning."""
        following = replace(
            checkpoint,
            parts={},
            rows=0,
            next_url=None,
            bulk=BulkProgress() if in_bulk else None,
            bulk_unusable=not in_bulk,
        )
        self._write(following, self._reader)
        return following

    def note(
        self, checkpoint: Checkpoint, bulk: BulkProgress, *, calls: int, began: datetime | None = None
    ) -> Checkpoint:
        """Write what has become of the pages of a bulk list, and return the checkpoint.

        :param began: server time at which the extraction began, used with its first call.
        :param calls: requests that this took.
        """
        following = replace(
            checkpoint,
            began=checkpoint.began or (began.astimezone(UTC).isoformat() if began else None),
            bulk=bulk,
            calls=checkpoint.calls + calls,
        )
        self._write(following, self._reader)
        return following

    def add(
        self,
        checkpoint: Checkpoint,
        records: Iterable[Mapping[str, Any] | bytes],
        *,
        read_at: datetime,
        began: datetime,
        next_url: str | None,
        calls: int,
        bulk: BulkProgress | None = None,
        gaps: int = 0,
    ) -> Checkpoint:
        """Write a page and then the checkpoint after it, and return that.

        :param records: each one decoded, or as JSON in one line.
        :param read_at: server time of the answer.
        :param began: server time at which the extraction began, used with its first page.
        :param calls: requests that this page took.
        :param bulk: how far a read in bulk has come with this page.
        :param gaps: pages without a record that came right before it.
        """
        lines = list(map(self._shield.line, records)) if self._shield else list(map(_line, records))
        parts = dict(checkpoint.parts)
        if lines:
            content = igzip.compress(b"\n".join(lines), _COMPRESSION, mtime=int(read_at.timestamp()))
            name = part_name(sum(parts.values()), self._mark)
            self._folder.write(name, content, durable=True)
            parts[self._mark] = parts.get(self._mark, 0) + 1
        following = replace(
            checkpoint,
            began=checkpoint.began or began.astimezone(UTC).isoformat(),
            parts=parts,
            rows=checkpoint.rows + len(lines),
            calls=checkpoint.calls + calls,
            next_url=next_url,
            complete=next_url is None and (bulk is None or bulk.complete),
            bulk=bulk,
            gaps=checkpoint.gaps + gaps,
        )
        self._write(following, self._reader)
        return following

    def lines(self, checkpoint: Checkpoint) -> Iterator[tuple[bytes, str]]:
        """Go through the staged records: each one's line of JSON and when it was read, in ISO 8601.

        :raises StagingDamagedError: a part is missing or broken.
        """
        for name in checkpoint.names():
            content = self._folder.read(name)
            if content is None:
                raise StagingDamagedError(name)
            try:
                text: bytes = igzip.decompress(content)  # type: ignore[no-untyped-call]
                (seconds,) = struct.unpack("<I", content[4:8])
            except _DAMAGED:
                raise StagingDamagedError(name) from None
            read_at = datetime.fromtimestamp(seconds, UTC).isoformat(" ")
            for line in text.split(b"\n"):
                yield line, read_at

    def clear(self) -> None:
        """Remove everything that is staged."""
        self._folder.clear()

    def sweep(self, retention: timedelta) -> int:
        """Remove what other syncs left behind and no process has resumed for so long; return how many they were."""
        swept = 0
        for folder in self._folder.siblings():
            # Another user's folder is not ours to clear, and no reason to stop this sync.
            with suppress(StagingError):
                swept += _cleared_if_left_over(folder, retention)
        return swept

    def _write(self, checkpoint: Checkpoint, reader: str | None) -> None:
        stamped = replace(checkpoint, touched=datetime.now(UTC).isoformat(), reader=reader)
        if self._shield is not None and stamped.next_url is not None:
            stamped = replace(stamped, next_url=self._shield.sealed(stamped.next_url))
        content = json.dumps(asdict(stamped), separators=(",", ":")).encode()
        # Losing the latest checkpoint with the power costs calls and no rows; each wait for the disk costs time.
        self._folder.write(_CHECKPOINT, content, durable=False)

    def _is_busy(self, checkpoint: Checkpoint) -> bool:
        return checkpoint.reader not in (None, self._reader) and _age(checkpoint) < ABANDONED_AFTER


def _line(record: Mapping[str, Any] | bytes) -> bytes:
    return record if isinstance(record, bytes) else canonical(record)


def _parsed(content: bytes) -> Checkpoint | None:
    try:
        raw = json.loads(content)
        plan = Plan(**raw.pop("plan"))
        bulk = raw.pop("bulk", None)
        checkpoint = Checkpoint(
            plan=replace(plan, timezones=tuple(plan.timezones)), bulk=bulk and BulkProgress.of(bulk), **raw
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return checkpoint if checkpoint.format == FORMAT else None


def _cleared_if_left_over(folder: StagingFolder, retention: timedelta) -> bool:
    if not _is_left_over(folder, retention) or not folder.acquire():
        return False
    try:
        folder.clear()
    finally:
        folder.release()
    return True


def _is_left_over(folder: StagingFolder, retention: timedelta) -> bool:
    content = folder.read(_CHECKPOINT)
    if content is None:
        return False
    checkpoint = _parsed(content)
    return checkpoint is None or _age(checkpoint) > retention


def _age(checkpoint: Checkpoint) -> timedelta:
    # A host whose clock was wrong may have touched it in the future, where it would never be old enough.
    return abs(datetime.now(UTC) - datetime.fromisoformat(checkpoint.touched))
