"""A cursor: how far the changes of a list were read, and what each DAG run was given, as JSON of hashes and times."""

from __future__ import annotations

import json
import secrets
import shlex
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Protocol

from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.incremental.detection import Position, Window
from airflow_provider_drchrono.incremental.events.event import ChangeEvent
from airflow_provider_drchrono.incremental.hashes import pack, unpack
from airflow_provider_drchrono.incremental.watched_fields import FieldMemory, WindowChanges
from airflow_provider_drchrono.incremental.window import Practice

VERSION = 1

MOST_RUNS = 100
"""How many DAG runs can be given again what they were given."""

MOST_FORGOTTEN = 1_000
"""For how many more it is remembered that they were given something."""

MOST_CHARACTERS = 200_000
"""Of the stored text. Older runs are forgotten for it; the present position alone may be longer."""


class CursorError(DrChronoError):
    """A stored cursor cannot be used. The message says what was found in its place."""


class ForgottenRunError(CursorError):
    """What a DAG run was given is not remembered any more. The message says what to do."""


@dataclass(frozen=True, slots=True)
class CursorName:
    """The owner of a cursor: a task, one instance of a mapped task, or the watcher of an asset.

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
        """Return the name of the cursor that the watcher of an asset keeps.

        :param name: the asset's.
        """
        return cls("", name)

    def __str__(self) -> str:
        if not self.dag_id:
            return f"asset {self.task_id}"
        instance = f"[{self.map_index}]" if self.map_index >= 0 else ""
        return f"{self.dag_id}.{self.task_id}{instance}"

    @property
    def arguments(self) -> str:
        """The arguments that name it on the command line."""
        if not self.dag_id:
            return f"--asset {shlex.quote(self.task_id)}"
        instance = f" --map-index {self.map_index}" if self.map_index >= 0 else ""
        return f"{self.dag_id} {self.task_id}{instance}"

    def explain(self, problem: object) -> str:
        """Return what to say of a stored cursor that cannot be used.

        :param problem: the :class:`CursorError`.
        """
        return (
            f"the stored cursor of {self} is {problem}. Nothing was read. See it with: airflow drchrono cursor show "
            f"{self.arguments}; begin anew with: airflow drchrono cursor reset {self.arguments}, or continue from a "
            f"time, after that, with: airflow drchrono cursor set {self.arguments} --to TIME"
        )


class OtherPracticeError(CursorError):
    """A stored cursor is of another practice than the one that is read. The message says what was found."""


@dataclass(frozen=True, slots=True)
class CursorSource:
    """Whose list a cursor has read: a cursor of one practice says nothing about another one.

    :param connection: id of the connection.
    :param grant: id of the connection's grant.
    :param practice: text that tells the practice from others; empty as long as nobody had to ask for it.
    """

    connection: str
    grant: str
    practice: str = ""


def continued_source(
    known: CursorSource | None, connection: str, grant: str, practice: Callable[[], str]
) -> CursorSource:
    """Return whose list is read now, after it is made sure that it is the one that was read before.

    As long as the grant is the same, so is the practice, and nothing is asked for.

    :param known: what the cursor remembers; None for a new one.
    :param connection: id of the connection.
    :param grant: id of its grant.
    :param practice: returns text that tells the practice from others; it calls the API.
    :raises OtherPracticeError: it is another practice, or may well be.
    """
    if known is None:
        return CursorSource(connection, grant)
    if known.grant == grant:
        return replace(known, connection=connection)
    found = practice()
    if known.practice != found and (connection != known.connection or known.practice):
        raise OtherPracticeError(
            f"that of another practice, which was read with the connection {known.connection}, and {connection} leads "
            f"to {found}: give each practice a task of its own, such as one instance of a mapped task"
        )
    return CursorSource(connection, grant, found)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The position up to which the changes of a list were read.

    :param resource: the list; empty before a sensor has named it.
    :param salt: makes the fingerprints useless to others.
    :param selection: a salted hash of the filters, to notice that others are asked for.
    :param position: None before the first poll.
    :param start: where the first poll is to begin, in place of what the sensor says.
    :param practice: the practice's clocks, as far as they are known.
    :param runs: what DAG runs were given, oldest first.
    :param forgotten: hashes of older DAG runs that were given something.
    :param source: whose list it is; None before a poll has told.
    :param pending_event: the last one of an asset's watcher, as long as it is not known to have reached Airflow. The
        windows of events are kept as those of DAG runs are, under the events' ``until``.
    :param memory: what is known of the watched fields of records.
    """

    resource: str
    salt: str = field(default_factory=lambda: secrets.token_hex(8), repr=False)
    selection: str = ""
    position: Position | None = None
    start: str | None = None
    practice: Practice | None = None
    runs: Mapping[str, Window] = field(default_factory=dict)
    forgotten: tuple[str, ...] = ()
    source: CursorSource | None = None
    pending_event: ChangeEvent | None = None
    memory: FieldMemory | None = None

    def delivered_to(self, run_id: str, cleared_from: datetime | None = None) -> Window | None:
        """Return what a DAG run was given, or None if that was nothing.

        :param cleared_from: see :func:`cleared_from`.
        :raises ForgottenRunError: it was given something so long ago that it is not known any more.
        """
        if run_id in self.runs:
            return self.runs[run_id]
        if hash_of_run(run_id) in self.forgotten or self._is_older_than_memory(cleared_from):
            raise ForgottenRunError(
                "what this DAG run was given is not remembered any more, as many runs came after it; to read a certain "
                "time again, give since and until"
            )
        return None

    def hash_of(self, text: str) -> str:
        """Return a hash that means nothing without the salt."""
        return blake2b(text.encode(), digest_size=8, key=self.salt.encode()).hexdigest()

    def moved_to(self, position: Position) -> Cursor:
        """Return the cursor at another position."""
        return replace(self, position=position, start=None)

    def before(self, now: datetime, since: Callable[[datetime], datetime]) -> Cursor:
        """Return the cursor at the last position that does not lie in the future.

        Of one that remembers none, it is a day ago: nobody knows when it was stored.

        :param now: the present.
        :param since: returns where a poll begins that is to miss nothing after an instant.
        """
        known = [position for window in self.runs.values() for position in (window.after, window.before)]
        if (last := max((each for each in known if each.until <= now), key=_until, default=None)) is not None:
            return self.moved_to(last)
        # The zones were asked for by this machine's clock, not long before the cursor was stored.
        read_at = self.practice.read_at if self.practice else None
        until = now - timedelta(days=1)
        if read_at is not None and read_at <= now:
            until = min(until, read_at)
        return self.moved_to(Position(until, since(until), since(until)))

    def restarted(self, start: str) -> Cursor:
        """Return the cursor as it is before its first poll; what runs were given stays known.

        :param start: where the first poll is to begin.
        """
        # What changed since then is to be given again, also if it is known by now.
        return replace(self, position=None, start=start, memory=None)

    def with_delivery(self, run_id: str, position: Position, changes: WindowChanges | None = None) -> Cursor:
        """Return the cursor after a DAG run was given all changes up to a position.

        :param changes: what had changed in each record, where fields are watched.
        """
        if self.position is None:
            raise ValueError("A cursor without a position cannot be moved")
        runs = {**self.runs, run_id: Window(self.position, position, changes)}
        return replace(self.moved_to(position), runs=runs)

    def with_event(self, event: ChangeEvent, after: Position, changes: WindowChanges | None = None) -> Cursor:
        """Return the cursor after an event was made of all changes up to a position, which Airflow may not have yet."""
        return replace(self.with_delivery(event.until, after, changes), pending_event=event)

    def acknowledged(self) -> Cursor:
        """Return the cursor after its last event has reached Airflow."""
        return replace(self, pending_event=None)

    def dump(self) -> str:
        """Return the text that is stored; of too many DAG runs the oldest are forgotten."""
        kept = self._without_oldest(max(0, len(self.runs) - MOST_RUNS))
        # Forgetting runs makes this part no shorter, and it is long.
        memory = self.memory.dump() if self.memory else None
        most = MOST_CHARACTERS + sum(map(len, memory or ()))
        text = kept._text(memory)
        while len(text) > most and len(kept.runs) > 1:
            kept = kept._without_oldest((len(kept.runs) + 1) // 2)
            text = kept._text(memory)
        return text

    def _without_oldest(self, count: int) -> Cursor:
        oldest = list(self.runs)[:count]
        forgotten = (*self.forgotten, *map(hash_of_run, oldest))[-MOST_FORGOTTEN:]
        runs = {run_id: window for run_id, window in self.runs.items() if run_id not in oldest}
        return replace(self, runs=runs, forgotten=forgotten)

    def _is_older_than_memory(self, cleared_from: datetime | None) -> bool:
        """Tell whether a run is older than all runs that are remembered, and so may have been given something."""
        if cleared_from is None or len(self.forgotten) < MOST_FORGOTTEN:
            return False
        oldest = next(iter(self.runs.values()), None)
        return oldest is None or cleared_from <= oldest.after.until

    def _text(self, memory: list[str] | None) -> str:
        positions: list[Position] = []

        def place(position: Position) -> int:
            # A run mostly begins where the one before it ended.
            if position not in positions:
                positions.append(position)
            return positions.index(position)

        runs = [
            [run_id, place(window.before), place(window.after), window.changes.dump() if window.changes else None]
            for run_id, window in self.runs.items()
        ]
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
                [_text_of(each.until), _text_of(each.since), _text_of(each.created_since), pack(each.fingerprints)]
                for each in positions
            ],
            "forgotten": " ".join(self.forgotten),
            "source": asdict(self.source) if self.source else None,
            "pending_event": self.pending_event.payload() if self.pending_event else None,
            "memory": memory,
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


def cleared_from(dag_run: Any) -> datetime | None:
    """Return when a DAG run was due that has been cleared since, and so may be older than anything remembered.

    :param dag_run: the run as it is in the context of a task.
    :return: None for a run that goes through its tasks for the first time.
    """
    return dag_run.run_after if getattr(dag_run, "clear_number", None) else None


def hash_of_run(run_id: str) -> str:
    """Return what is remembered of a DAG run that was given something long ago."""
    return blake2b(run_id.encode(), digest_size=6).hexdigest()


def _cursor(state: Mapping[str, Any]) -> Cursor:
    positions = [
        Position(_aware(until), _moment(since), _moment(created_since), unpack(fingerprints))
        for until, since, created_since, fingerprints in state["positions"]
    ]
    runs = {
        str(run_id): Window(
            positions[_index(a)], positions[_index(b)], WindowChanges.read(changes) if changes else None
        )
        for run_id, a, b, changes in state["runs"]
    }
    zones = tuple(map(str, state["timezones"]))
    read_at = state["timezones_read_at"]
    event = state["pending_event"]
    source = state["source"]
    memory = state["memory"]
    return Cursor(
        resource=str(state["resource"]),
        salt=str(state["salt"]),
        selection=str(state["selection"]),
        position=None if state["at"] is None else positions[_index(state["at"])],
        start=None if state["start"] is None else str(state["start"]),
        practice=Practice(zones, _aware(read_at) if read_at else None) if zones else None,
        runs=runs,
        forgotten=tuple(str(state["forgotten"]).split()),
        source=None if source is None else CursorSource(**{name: str(value) for name, value in source.items()}),
        pending_event=None if event is None else ChangeEvent.read(event),
        memory=None if memory is None else FieldMemory.read(memory),
    )


def _until(position: Position) -> datetime:
    return position.until


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


class CursorStore(Protocol):
    """Where cursors, or what DAG runs were given of an asset's events, are kept: one text for each."""

    def load(self, name: CursorName) -> str | None:
        """Return what is stored, or None where there is nothing; an exception means that it is not known."""

    def save(self, name: CursorName, text: str) -> None:
        """Store a text; an exception means that it may or may not have been stored."""

    def lease(self, name: CursorName) -> AbstractContextManager[None]:
        """Hold, in the block, the exclusive right to save."""


class MemoryCursorStore:
    """Keeps cursors for the life of the process, for tests and notebooks."""

    def __init__(self) -> None:
        self.texts: dict[CursorName, str] = {}
        self._lock = threading.RLock()

    def load(self, name: CursorName) -> str | None:
        """Return what is stored."""
        return self.texts.get(name)

    def save(self, name: CursorName, text: str) -> None:
        """Store a text."""
        self.texts[name] = text

    @contextmanager
    def lease(self, name: CursorName) -> Iterator[None]:
        """Hold the right to save."""
        with self._lock:
            yield
