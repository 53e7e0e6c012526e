"""A folder as the target of a sync: files in a partition of their own, and last the manifest that makes them count.

The seventh run has its manifest in ``<folder>/_manifests/000007.json`` and its files in
``<folder>/date=2026-01-31/run=000007-<hash>``. The latest manifest is the state: a run that wrote none is made again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.common.result_files import UNFINISHED, written_whole
from airflow_provider_drchrono.incremental.clocks import own_clock
from airflow_provider_drchrono.incremental.detection import Fingerprinter
from airflow_provider_drchrono.incremental.hashes import pack, unpack
from airflow_provider_drchrono.incremental.lists import moment_of
from airflow_provider_drchrono.incremental.window import Practice, SyncState, read_from
from airflow_provider_drchrono.transfers.export_files import SUFFIXES, write_files
from airflow_provider_drchrono.transfers.export_manifest import Manifest, ManifestError, schema_version
from airflow_provider_drchrono.warehouses.base import (
    CompleteRead,
    KnownPractice,
    LoadCounts,
    LoggedDeletion,
    Run,
    SyncKey,
    SyncTarget,
    WarehouseError,
    instant_text,
)
from airflow_provider_drchrono.warehouses.table import DELETED_AT, DIGEST, Column, Row, Table

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

MANIFESTS = "_manifests"

_MANIFEST = re.compile(r"([0-9]{6,})\.json")
_SUFFIX = "|".join(map(re.escape, SUFFIXES.values()))
_OURS = re.compile(rf"(part|deleted)-[0-9]{{5,}}({_SUFFIX})|\..*{re.escape(UNFINISHED)}")

_SELECTION = "selection (filters, verbose, columns, exclude, mask, profile or key)"

# Errors of libraries that reach a store or write a file; all others are faults of ours, and stay what they are.
_OWN = ("builtins", "airflow_provider_drchrono")


@dataclass(frozen=True, slots=True)
class ExportRun:
    """Which run writes, and how.

    :param token: a hash that tells the task and its DAG run from others.
    :param day: of the DAG run, in UTC; names the partition.
    :param lookback: how much earlier than this read the next one begins.
    """

    token: str
    day: date
    file_format: str
    rows_per_file: int
    lookback: timedelta


class ExportFolder(SyncTarget):
    """The files of one resource.

    :param folder: the folder of the resource.
    :ivar committed: the manifest that was written.
    :ivar unchanged: rows that were read again and are in an earlier file as they are.
    """

    compares = False

    def __init__(self, folder: ObjectStoragePath, run: ExportRun) -> None:
        self._folder = folder
        self._run = run
        self.committed: Manifest | None = None
        self.unchanged = 0

    def prepare(self) -> None:
        """See that the folder can be written, before anything is read.

        :raises WarehouseError: it cannot.
        """
        probe = self._folder / MANIFESTS / f".writable-{self._run.token}"
        with self._explained():
            with written_whole(probe) as file:
                file.write(b"\n")
            probe.fs.rm(probe.path)

    def path_of(self, manifest: Manifest) -> str:
        """Return where a manifest is."""
        return str(self._manifest(manifest.number))

    def latest(self) -> Manifest | None:
        """Return the manifest of the last run that is complete; None where there is none.

        :raises WarehouseError: it cannot be read, or is one of a later release.
        """
        with self._explained():
            numbers = [int(found[1]) for each in self._names(MANIFESTS) if (found := _MANIFEST.fullmatch(each))]
            if not numbers:
                return None
            path = self._manifest(max(numbers))
            content: bytes = path.fs.cat_file(path.path)
        try:
            return Manifest.of(content)
        except ManifestError as error:
            problem = str(error)
        raise WarehouseError(f"{path} {problem}", transient=False)

    def state(self, table: Table, key: SyncKey) -> SyncState | None:
        """Return where the next run begins.

        :raises WarehouseError: the folder holds the export of something else.
        """
        latest = self.latest()
        if latest is None:
            return None
        self._check_same(latest, key)
        kept = latest.state
        return SyncState(
            watermark=datetime.fromisoformat(kept["watermark"]),
            start=_moment(kept["start"]),
            practice=Practice(tuple(kept["timezones"]), _moment(kept["timezones_read_at"])),
            completed_at=_moment(kept["completed_at"]),
        )

    def _check_same(self, latest: Manifest, key: SyncKey) -> None:
        differs = [
            name
            for name, mine, theirs in (
                ("resource", key.resource, latest.resource),
                ("address of the API", key.source, latest.source),
                ("practice", key.practice, latest.practice),
                (_SELECTION, key.selection, latest.selection),
                ("file_format", self._run.file_format, latest.file_format),
            )
            if mine != theirs
        ]
        if differs:
            raise WarehouseError(
                f"{self._folder} holds an export with another {' and another '.join(differs)}; give this one another "
                f"path",
                transient=False,
            )

    def practice_of(self, table: Table, source: str, grant_id: str) -> KnownPractice | None:
        latest = self.latest()
        if latest is None or latest.source != source or latest.state["grant_id"] != grant_id:
            return None
        return KnownPractice(grant_id, latest.practice, datetime.fromisoformat(latest.state["practice_read_at"]))

    def expected_rows(self, table: Table, key: SyncKey) -> int | None:
        return self.row_count(table) or None

    def row_count(self, table: Table) -> int:
        """Return how many rows the last complete read had."""
        latest = self.latest()
        return int(latest.state["rows_in_list"]) if latest else 0

    def load(
        self,
        table: Table,
        rows: Iterable[Row],
        key: SyncKey,
        state: SyncState,
        run: Run,
        *,
        complete: CompleteRead | None = None,
        deletions: Sequence[LoggedDeletion] = (),
    ) -> LoadCounts:
        """Write the files, and then the manifest."""
        before = self.latest()
        rows_before = int(before.state["rows_in_list"]) if before else 0
        number = before.number + 1 if before else 1
        place = f"date={self._run.day.isoformat()}/run={number:06}-{self._run.token}"
        version = schema_version(table.all_columns)
        known = {}
        # Of a whole list every row is written, so that its files stand for themselves.
        if before is not None and complete is None and before.schema_version == version:
            known = unpack(before.state["fingerprints"])
        chosen = _Chosen(table, key, known, bound=self._bound(state), keeps_undated=complete is None)
        with self._explained():
            self._clear(place)
            how: dict[str, Any] = {"file_format": self._run.file_format, "rows_per_file": self._run.rows_per_file}
            files = write_files(self._folder, place, "part", table.all_columns, chosen.rows(rows), **how)
            columns, gone = _deletion_columns(table), chosen.deletions(deletions)
            deleted = write_files(self._folder, place, "deleted", columns, gone, **how)
        count = sum(each.rows for each in files)
        manifest = Manifest(
            number=number,
            resource=key.resource,
            source=key.source,
            practice=key.practice,
            selection=key.selection,
            file_format=self._run.file_format,
            schema_version=version,
            columns=tuple({"name": column.name, "kind": column.kind} for column in table.all_columns),
            key=table.key,
            complete=complete is not None,
            window={"since": run.since, "until": state.watermark.isoformat()},
            rows=count,
            files=tuple(files),
            deletions=tuple(deleted),
            written_at=own_clock().isoformat(timespec="seconds"),
            run={
                "day": self._run.day.isoformat(),
                "run_id": run.run_id,
                "token": self._run.token,
                "calls": run.calls,
                "rows_read": chosen.read,
                "rows_unchanged": chosen.unchanged,
            },
            state=_state_of(state, run, chosen, count if complete else rows_before),
        )
        self._commit(manifest, before, place)
        self.committed = manifest
        self._sweep(number, before)
        return LoadCounts(read=chosen.read, new=count, changed=0, in_table=manifest.state["rows_in_list"])

    def close(self) -> None:
        """Do nothing: nothing is kept open."""

    def _bound(self, state: SyncState) -> datetime:
        """Return where the next read will begin: only what it shows again has to be known again."""
        return read_from(state.watermark, self._run.lookback, state.practice.timezones)

    def _commit(self, manifest: Manifest, before: Manifest | None, place: str) -> None:
        latest = self.latest()
        if (latest.number if latest else 0) != (before.number if before else 0):
            with suppress(WarehouseError):
                self._clear(place)
            raise WarehouseError(
                f"Another task has exported to {self._folder} at the same time; give the DAG max_active_runs=1, and "
                f"let the task be retried",
                transient=True,
            )
        with self._explained(), written_whole(self._manifest(manifest.number)) as file:
            file.write(manifest.content())

    def _manifest(self, number: int) -> ObjectStoragePath:
        return self._folder / MANIFESTS / f"{number:06}.json"

    def _clear(self, place: str) -> None:
        """Remove what a try before this one has left in the partition.

        :raises WarehouseError: something else is in it.
        """
        names = self._names(place)
        if foreign := sorted(each for each in names if not _OURS.fullmatch(each)):
            raise WarehouseError(
                f"{self._folder / place} has files that are not of this export, such as {foreign[0]}; move them away",
                transient=False,
            )
        for each in names:
            path = self._folder / place / each
            path.fs.rm(path.path)

    def _sweep(self, number: int, before: Manifest | None) -> None:
        """Remove files of other runs that were to get this number and never got a manifest."""
        since = before.run.get("day", "") if before else ""
        with suppress(Exception):
            for day in self._names("."):
                if not day.startswith("date=") or day < f"date={since}":
                    continue
                for each in self._names(day):
                    if each.startswith(f"run={number:06}-") and not each.endswith(f"-{self._run.token}"):
                        self._clear(f"{day}/{each}")

    def _names(self, place: str) -> list[str]:
        """Return the names of what is in a folder; none where there is no such folder."""
        folder = self._folder if place == "." else self._folder / place
        # Stores remember what they have listed, and others write here, too.
        folder.fs.invalidate_cache()
        try:
            entries = folder.fs.ls(folder.path, detail=False)
        except FileNotFoundError:
            return []
        return [name for each in entries if (name := str(each).rstrip("/").rpartition("/")[2]) and each != folder.path]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
            return
        except DrChronoError:
            raise
        except OSError as error:
            settled = isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError | FileExistsError)
            problem, transient = error.strerror or type(error).__name__, not settled
        except Exception as error:
            if type(error).__module__.partition(".")[0] in _OWN:
                raise
            # The text of such an error may repeat a value.
            problem, transient = type(error).__name__, True
        raise WarehouseError(
            f"{self._folder} cannot be read and written: {problem}; see that the folder or bucket is there, that the "
            f"worker or the connection in path has the rights, and that there is room",
            transient=transient,
        )


class _Chosen:
    """Chooses the rows that no earlier run has written, and remembers those that the next one will read again.

    The first version of a record that a read meets counts: the next one shows what changed meanwhile.

    :param known: fingerprints of what was written.
    :param bound: where the next read begins, by the practice's clock.
    :param keeps_undated: whether rows that do not say when they changed are remembered.
    """

    def __init__(
        self, table: Table, key: SyncKey, known: dict[str, str], *, bound: datetime, keeps_undated: bool
    ) -> None:
        self.read = 0
        self.unchanged = 0
        self.fingerprints: dict[str, str] = {}
        names = [column.name for column in table.all_columns]
        self._table = table
        self._key = [names.index(name) for name in table.key]
        self._digest = names.index(DIGEST)
        self._changed = names.index(table.changed) if table.changed else None
        self._known = known
        self._bound = bound
        self._keeps_undated = keeps_undated
        salt = hashlib.sha256(json.dumps(key.values).encode()).hexdigest()
        self._of_rows, self._of_deletions = (
            Fingerprinter(each, table.key, lambda row: str(row[DIGEST]).encode()) for each in (salt, salt[::-1])
        )

    def rows(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows to write."""
        met: set[Any] = set()
        for row in rows:
            self.read += 1
            key = tuple(row[index] for index in self._key)
            # A list may have millions of rows, and nearly all keys are one number.
            short = key[0] if len(key) == 1 else key
            if key and short in met:
                continue
            met.add(short)
            if self._is_new(self._of_rows, key, row[self._digest], self._is_read_again(row)):
                yield row
            else:
                self.unchanged += 1

    def deletions(self, deletions: Iterable[LoggedDeletion]) -> Iterator[Row]:
        """Yield the keys of what was deleted, with the time."""
        for each in deletions:
            at = instant_text(each.at)
            # The log is read a while back, too, and a record may be restored and deleted again.
            if self._is_new(self._of_deletions, each.key, at, True):
                yield [*each.key, at]

    def _is_new(self, fingerprinter: Fingerprinter, key: tuple[Any, ...], content: str, is_read_again: bool) -> bool:
        """Tell whether no earlier run has written something, and remember it if the next one will read it again."""
        named = dict(zip(self._table.key, key, strict=True)) | {DIGEST: content}
        identity, content = fingerprinter.fingerprint(named)
        if is_read_again:
            self.fingerprints[identity] = content
        return self._known.get(identity) != content

    def _is_read_again(self, row: Row) -> bool:
        changed = moment_of(row[self._changed]) if self._changed is not None else None
        return self._keeps_undated if changed is None else changed >= self._bound


def _deletion_columns(table: Table) -> tuple[Column, ...]:
    kinds = {column.name: column for column in table.columns}
    return (*(kinds[name] for name in table.key), Column(DELETED_AT, "instant", required=True))


def _state_of(state: SyncState, run: Run, chosen: _Chosen, rows_in_list: int) -> dict[str, Any]:
    read_at = state.practice.read_at
    return {
        "watermark": state.watermark.isoformat(),
        "start": state.start.isoformat() if state.start else None,
        "completed_at": state.completed_at.isoformat() if state.completed_at else None,
        "timezones": list(state.practice.timezones),
        "timezones_read_at": read_at.isoformat() if read_at else None,
        "grant_id": run.practice.grant_id if run.practice else None,
        "practice_read_at": run.practice.read_at.isoformat() if run.practice else None,
        "rows_in_list": rows_in_list,
        "fingerprints": pack(chosen.fingerprints),
    }


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
