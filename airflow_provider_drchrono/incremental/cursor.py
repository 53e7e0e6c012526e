"""The memory of a trigger: how far it has come and what each DAG run was given, as small JSON of hashes and times."""

from __future__ import annotations

import json
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import blake2b
from typing import Any

from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.incremental.detection import Position, Window
from airflow_provider_drchrono.incremental.events.event import ChangeEvent
from airflow_provider_drchrono.incremental.fingerprints import pack, unpack
from airflow_provider_drchrono.incremental.wall_clock import Practice

VERSION = 1

MOST_RUNS = 100
"""So many DAG runs can be given again what they were given."""

MOST_FORGOTTEN = 1_000
"""So many more are known to have been given something."""

MOST_CHARACTERS = 200_000
"""Of the stored text. Older runs are forgotten for it; the present position alone may be longer."""


class CursorError(DrChronoError):
    """A stored cursor cannot be gone on with. The message says what was found in its place."""


class ForgottenRunError(CursorError):
    """What a DAG run was given is not remembered any more. The message says what to do."""


@dataclass(frozen=True, slots=True)
class CursorName:
    """Whose cursor it is: a task's, or one instance's of a mapped task, or that of an asset's watcher.

    :param dag_id: empty where it is an asset's.
    :param task_id: the name of the asset where it is an asset's.
    """

    dag_id: str
    task_id: str
    map_index: int = -1

    @classmethod
    def of_instance(cls, ti: Any) -> CursorName:
        """Return the name of a task instance's cursor.

        :param ti: the task instance as it is in the context of a task.
        """
        return cls(ti.dag_id, ti.task_id, -1 if ti.map_index is None else ti.map_index)

    @classmethod
    def of_asset(cls, name: str) -> CursorName:
        """Return the name of the cursor that an asset's watcher goes by.

        :param name: the asset's.
        """
        return cls("", name)

    def __str__(self) -> str:
        if not self.dag_id:
            return f"asset {self.task_id}"
        instance = f"[{self.map_index}]" if self.map_index >= 0 else ""
        return f"{self.dag_id}.{self.task_id}{instance}"

    @property
    def words(self) -> str:
        """The arguments that name it on the command line."""
        if not self.dag_id:
            return f"--asset {shlex.quote(self.task_id)}"
        instance = f" --map-index {self.map_index}" if self.map_index >= 0 else ""
        return f"{self.dag_id} {self.task_id}{instance}"

    def refused(self, problem: object) -> str:
        """Return what to say of a stored cursor that cannot be gone on with.

        :param problem: the :class:`CursorError`.
        """
        return (
            f"the stored cursor of {self} is {problem}. Nothing was read. See it with: airflow drchrono cursor show "
            f"{self.words}; begin anew with: airflow drchrono cursor reset {self.words}, or go on from a time, after "
            f"that, with: airflow drchrono cursor set {self.words} --to TIME"
        )


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a trigger has come.

    :param resource: the list that it follows; empty before a sensor has said so.
    :param salt: makes its marks useless to others.
    :param selection: a salted hash of the filters, to notice that others are asked for.
    :param position: None before the first poll.
    :param start: where the first poll is to begin, in place of what the sensor says.
    :param practice: the practice's clocks, as far as they are known.
    :param runs: what DAG runs were given, oldest first.
    :param forgotten: hashes of older DAG runs that were given something.
    :param announcement: the last one of an asset's watcher, as long as it is not known to have reached Airflow. The
        windows of announcements are kept as those of DAG runs are, under the announcements' ``until``.
    """

    resource: str
    salt: str = field(default_factory=lambda: secrets.token_hex(8), repr=False)
    selection: str = ""
    position: Position | None = None
    start: str | None = None
    practice: Practice | None = None
    runs: Mapping[str, Window] = field(default_factory=dict)
    forgotten: tuple[str, ...] = ()
    announcement: ChangeEvent | None = None

    def given_to(self, run_id: str) -> Window | None:
        """Return what a DAG run was given, or None if that was nothing.

        :raises ForgottenRunError: it was given something so long ago that it is not known any more.
        """
        if run_id not in self.runs and hash_of_run(run_id) in self.forgotten:
            raise ForgottenRunError(
                "what this DAG run was given is not remembered any more, as many runs came after it; to read a certain "
                "time again, give since and until"
            )
        return self.runs.get(run_id)

    def hash_of(self, text: str) -> str:
        """Return a hash that means nothing to who does not know the salt."""
        return blake2b(text.encode(), digest_size=8, key=self.salt.encode()).hexdigest()

    def moved(self, position: Position) -> Cursor:
        """Return the cursor at another position."""
        return replace(self, position=position, start=None)

    def restarted(self, start: str) -> Cursor:
        """Return the cursor as it is before its first poll; what runs were given stays known.

        :param start: where the first poll is to begin.
        """
        return replace(self, position=None, start=start)

    def gave(self, run_id: str, position: Position) -> Cursor:
        """Return the cursor after a DAG run was given all changes up to a position."""
        if self.position is None:
            raise ValueError("A cursor without a position cannot be moved on")
        runs = {**self.runs, run_id: Window(self.position, position)}
        return replace(self.moved(position), runs=runs)

    def announced(self, announcement: ChangeEvent, after: Position) -> Cursor:
        """Return the cursor after all changes up to a position were announced, which Airflow may not know yet."""
        return replace(self.gave(announcement.until, after), announcement=announcement)

    def settled(self) -> Cursor:
        """Return the cursor after its last announcement has reached Airflow."""
        return replace(self, announcement=None)

    def dump(self) -> str:
        """Return the text that is stored; of too many DAG runs the oldest are forgotten."""
        kept = self._without_oldest(max(0, len(self.runs) - MOST_RUNS))
        text = kept._text()
        while len(text) > MOST_CHARACTERS and len(kept.runs) > 1:
            kept = kept._without_oldest((len(kept.runs) + 1) // 2)
            text = kept._text()
        return text

    def _without_oldest(self, count: int) -> Cursor:
        oldest = list(self.runs)[:count]
        forgotten = (*self.forgotten, *map(hash_of_run, oldest))[-MOST_FORGOTTEN:]
        runs = {run_id: window for run_id, window in self.runs.items() if run_id not in oldest}
        return replace(self, runs=runs, forgotten=forgotten)

    def _text(self) -> str:
        positions: list[Position] = []

        def place(position: Position) -> int:
            # A run mostly begins where the one before it ended.
            if position not in positions:
                positions.append(position)
            return positions.index(position)

        runs = [[run_id, place(window.before), place(window.after)] for run_id, window in self.runs.items()]
        at = None if self.position is None else place(self.position)
        state = {
            "version": VERSION,
            "resource": self.resource,
            "salt": self.salt,
            "selection": self.selection,
            "start": self.start,
            "timezones": list(self.practice.timezones) if self.practice else [],
            "timezones_read_at": _text_of(self.practice.read_at) if self.practice else None,
            "at": at,
            "runs": runs,
            "positions": [
                [_text_of(each.until), _text_of(each.since), _text_of(each.born), pack(each.seen)] for each in positions
            ],
            "forgotten": " ".join(self.forgotten),
            "announcement": self.announcement.payload() if self.announcement else None,
        }
        return json.dumps(state)


def read_cursor(text: str, resource: str | None = None) -> Cursor:
    """Return a stored cursor.

    :param resource: the list that it has to be of; None for any.
    :raises CursorError: it is not one, or one of another list, or of a later release.
    """
    state = read_state(text, VERSION)
    try:
        cursor = _cursor(state)
    except KeyError as error:
        problem = f"nothing under {error.args[0]!r}"
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        problem = f"values that cannot be read ({type(error).__name__})"
    else:
        if resource is not None and cursor.resource not in (resource, ""):
            raise CursorError(f"the cursor of {cursor.resource[:40]}, not of {resource}")
        return cursor
    raise CursorError(problem)


def read_state(text: str, version: int) -> dict[str, Any]:
    """Return what was stored as JSON with a version.

    :raises CursorError: it is something else, or of a later release.
    """
    try:
        state = json.loads(text)
    except ValueError:
        raise CursorError(f"{len(text)} characters of text that is not JSON") from None
    if not isinstance(state, dict) or "version" not in state:
        raise CursorError(f"JSON of type {type(state).__name__} without a version")
    if state["version"] != version:
        raise CursorError(f"version {str(state['version'])[:20]!r}, and this release reads version {version}")
    return state


def hash_of_run(run_id: str) -> str:
    """Return what is remembered of a DAG run that was given something long ago."""
    return blake2b(run_id.encode(), digest_size=6).hexdigest()


def _cursor(state: Mapping[str, Any]) -> Cursor:
    positions = [
        Position(_aware(until), _moment(since), _moment(born), unpack(seen))
        for until, since, born, seen in state["positions"]
    ]
    runs = {str(run_id): Window(positions[_index(a)], positions[_index(b)]) for run_id, a, b in state["runs"]}
    zones = tuple(map(str, state["timezones"]))
    read_at = state["timezones_read_at"]
    announcement = state.get("announcement")
    return Cursor(
        resource=str(state["resource"]),
        salt=str(state["salt"]),
        selection=str(state["selection"]),
        position=None if state["at"] is None else positions[_index(state["at"])],
        start=None if state["start"] is None else str(state["start"]),
        practice=Practice(zones, _aware(read_at) if read_at else None) if zones else None,
        runs=runs,
        forgotten=tuple(str(state["forgotten"]).split()),
        announcement=None if announcement is None else ChangeEvent.read(announcement),
    )


def _index(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError("no index")
    return value


def _text_of(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _aware(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("an instant without a zone")
    return moment
