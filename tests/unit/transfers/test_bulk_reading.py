"""Reading in bulk: several pages at once, few looks, and nothing is paid for twice after a kill."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.client import DrChronoClient, MemoryTokenStore, RateLimitedError
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from airflow_provider_drchrono.transfers import bulk_reading
from airflow_provider_drchrono.transfers.bulk_reading import BulkPendingError, BulkReader, BulkUnusableError
from airflow_provider_drchrono.transfers.staging import Checkpoint, Plan, Staging
from airflow_provider_drchrono.transfers.staging_files import LocalFolder
from tests.unit.client.support import sandbox_settings

PLAN = Plan(watermark=None, since=None, start=None, timezones=("America/New_York",), timezones_read_at=None)
BULK = load().resource("patients").bulk
PATIENTS = 60
SIZE = 8
PAGES = 8


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between looks, which only cost time here."""
    monkeypatch.setattr(bulk_reading, "LONGEST_LOOK", 0.005)
    monkeypatch.setattr(bulk_reading, "WORKER_PATIENCE", 0.05)


class Reading:
    """A practice, and processes that read its patients into one folder, one after the other."""

    def __init__(self, folder: Path, **options: Any) -> None:
        unlimited = {"quota_per_hour": None, "quota_per_second": None, "bulk_polls": 0}
        self.sandbox = Sandbox(patients=PATIENTS, appointments_per_patient=0, **unlimited | options).start()
        self.left: int | None = None
        self._folders = (folder / str(number) for number in count())
        self._folder = next(self._folders)
        self._tokens = MemoryTokenStore()

    def anew(self) -> None:
        """Begin in an empty folder."""
        self._folder = next(self._folders)
        self.sandbox.journal.clear()

    def run(self, *, verbose: bool = False) -> tuple[Staging, Checkpoint]:
        """Read in what stands for a process of its own."""
        assert BULK is not None
        staging = Staging(LocalFolder(self._folder), "reader")
        assert staging.acquire()
        try:
            checkpoint = staging.begin(PLAN, timedelta(days=1))
            with DrChronoClient(sandbox_settings(self.sandbox), token_store=self._tokens) as client:
                reader = BulkReader(
                    client,
                    "patients",
                    replace(BULK, size=SIZE),
                    {},
                    verbose=verbose,
                    staging=staging,
                    calls_left=lambda: self.left,
                )
                return staging, reader.read(checkpoint)
        finally:
            staging.release()

    def asked(self) -> str:
        """The calls, in order: P for each page that was started, G for each look."""
        return "".join("P" if each.method == "POST" else "G" for each in self.sandbox.journal if self._is_bulk(each))

    @staticmethod
    def _is_bulk(entry: Any) -> bool:
        return entry.operation_id in ((BULK and (BULK.start, BULK.result)) or ())

    def ids(self) -> list[int]:
        return sorted(each["id"] for each in self.sandbox.practice.records("patients"))


@pytest.fixture
def reading(tmp_path: Path) -> Iterator[Callable[..., Reading]]:
    started = []

    def start(**options: Any) -> Reading:
        started.append(Reading(tmp_path / f"reading-{len(started)}", **options))
        return started[-1]

    yield start
    for each in started:
        each.sandbox.stop()


def staged(staging: Staging, checkpoint: Checkpoint) -> list[int]:
    return sorted(json.loads(line)["id"] for line, _ in staging.lines(checkpoint))


def test_a_list_costs_two_calls_a_page(reading: Callable[..., Reading]) -> None:
    practice = reading()

    staging, checkpoint = practice.run()

    assert practice.asked() == "PG" + "P" * (PAGES - 1) + "G" * (PAGES - 1)
    assert (checkpoint.calls, checkpoint.rows, checkpoint.complete) == (2 * PAGES, PATIENTS, True)
    assert staged(staging, checkpoint) == practice.ids()


def test_how_long_pages_take_is_learnt_from_the_first(reading: Callable[..., Reading]) -> None:
    practice = reading(bulk_polls=2)

    practice.run()

    first, _, rest = practice.asked().partition("G" * 3)
    assert first == "P"
    # Each page of this practice has to be looked at three times, however late.
    assert rest.count("G") == 3 * (PAGES - 1)


def test_no_more_pages_are_underway_than_calls_are_left_to_fetch(reading: Callable[..., Reading]) -> None:
    practice = reading()
    practice.left = 4

    practice.run()

    underway, most = 0, 0
    for each in practice.asked():
        underway += 1 if each == "P" else -1
        most = max(most, underway)
    assert most == 2


class EndOfProcessError(BaseException):
    """What a killed process would have looked like from inside, had it looked."""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_anywhere_pays_for_no_page_twice(
    reading: Callable[..., Reading], mocker: MockerFixture, moment: str
) -> None:
    write = Staging._write
    practice = reading()
    kills = 0
    for number in range(1, 2 * PAGES + 2):
        practice.anew()
        written = 0

        def dying(*arguments: Any, number: int = number, **options: Any) -> None:
            nonlocal written
            written += 1
            if written == number and moment == "before":
                raise EndOfProcessError
            write(*arguments, **options)
            if written == number:
                raise EndOfProcessError

        mocker.patch.object(Staging, "_write", autospec=True, side_effect=dying)
        with pytest.raises(EndOfProcessError):
            practice.run()
        mocker.stopall()
        kills += 1

        staging, checkpoint = practice.run()

        # The one that was in flight: it may have been started, or fetched, once more.
        assert len(practice.asked()) <= 2 * PAGES + 1
        assert staged(staging, checkpoint) == practice.ids()
    assert kills == 2 * PAGES + 1


def test_pages_that_have_expired_are_started_again(reading: Callable[..., Reading]) -> None:
    practice = reading()
    practice.sandbox.faults.add(Fault(kind="status", status=429, operation="patients_list_list", skip=3, times=None))
    with pytest.raises(RateLimitedError):
        practice.run()
    practice.sandbox.faults.clear()
    practice.sandbox.clock.advance(3 * 3600)
    before = practice.asked()

    staging, checkpoint = practice.run()

    assert staged(staging, checkpoint) == practice.ids()
    after = practice.asked()[len(before) :]
    # One look finds out that they have expired, and which pages had been fetched is remembered.
    assert (after.count("P"), after.count("G")) == (PAGES - 3, PAGES - 3 + 1)


def test_pages_that_must_have_expired_are_not_looked_at(reading: Callable[..., Reading], mocker: MockerFixture) -> None:
    practice = reading()
    practice.sandbox.faults.add(Fault(kind="status", status=429, operation="patients_list_list", skip=3, times=None))
    with pytest.raises(RateLimitedError):
        practice.run()
    practice.sandbox.faults.clear()
    before = practice.asked()
    mocker.patch.object(bulk_reading.time, "time", side_effect=lambda now=time.time: now() + 4000)
    practice.sandbox.clock.advance(4000)

    staging, checkpoint = practice.run()

    assert staged(staging, checkpoint) == practice.ids()
    after = practice.asked()[len(before) :]
    assert (after.count("P"), after.count("G")) == (PAGES - 3, PAGES - 3)


def test_a_worker_is_not_held_while_pages_take_long(reading: Callable[..., Reading]) -> None:
    practice = reading(bulk_seconds=600.0)
    with pytest.raises(BulkPendingError, match=r"^DrChrono is still making the bulk list of patients$") as caught:
        practice.run()
    asked = practice.asked()
    assert asked.count("P") == 1
    practice.sandbox.clock.advance(700)

    # Every later page takes as long as that one, so the next process is put off, too, but asks for none of them twice.
    with pytest.raises(BulkPendingError) as again:
        practice.run()
    assert again.value.uuid != caught.value.uuid
    practice.sandbox.clock.advance(700)
    staging, checkpoint = practice.run()

    assert practice.asked().count("P") == PAGES
    assert staged(staging, checkpoint) == practice.ids()


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_refused_bulk_list_is_told(reading: Callable[..., Reading], status: int) -> None:
    practice = reading()
    practice.sandbox.faults.add(Fault(kind="status", status=status, operation="patients_list_create"))

    with pytest.raises(BulkUnusableError, match=rf"patients_list_create.*{status}"):
        practice.run()


def test_a_page_before_the_end_of_a_list_that_became_shorter_is_read_again(
    reading: Callable[..., Reading], mocker: MockerFixture
) -> None:
    practice = reading()
    practice.left = 2
    ids = practice.ids()
    start = DrChronoClient.bulk_start
    pages: list[int] = []

    def deleting(*arguments: Any, **options: Any) -> str:
        pages.append(options["page"])
        if len(pages) == 3:
            # A row of the first page: those of the following pages move up by one.
            practice.sandbox.practice.remove("patients", ids[0])
        return start(*arguments, **options)

    mocker.patch.object(DrChronoClient, "bulk_start", autospec=True, side_effect=deleting)

    staging, checkpoint = practice.run()

    assert 2 in pages[2:]
    assert set(practice.ids()) <= set(staged(staging, checkpoint))
