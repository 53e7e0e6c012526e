"""Mutual exclusion between processes that share nothing but Airflow variables.

Variables know no compare-and-set, so this is Fischer's algorithm: whoever finds the variable free writes a claim,
waits until every claim begun before its own must have been written, and holds the lease if its own is still there.

::

    free ──write claim──> claimed ──settle──> still mine: held ──write free──> free
      ^                      │                another's: wait
      └──────────────────────┴── the claimant is dead, or the claim stood unchanged for its whole ``hold``

The one assumption is that no claim is written later than ``write_limit`` seconds after its writer saw the variable
free. A writer that notices it was slower does not enter: it waits as if the claim were another's, since it may have
covered up the holder's. Time is only ever measured on one machine, so the machines' clocks need not agree.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.compat import are_variables_in_memory
from airflow_provider_drchrono.state.variables import Variables

_ONE_THREAD = threading.Lock()

FREE = "{}"

VERSION = 1
"""Of what a claim says. A claim of another version is respected, and outlived like that of a dead process."""


class LeaseUnavailableError(DrChronoError):
    """Another process kept the lease for longer than we were ready to wait."""

    transient = True

    def __init__(self, holder: Claim) -> None:
        super().__init__(str(holder))
        self.holder = holder


@dataclass(frozen=True, slots=True)
class Claim:
    """Who asked for the lease.

    :param hold: seconds after which others may take it that the holder is dead.
    :param id: tells this attempt from all others.
    :param place: where ``process`` is a process id, see :func:`process_space`.
    """

    hold: float
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    host: str = field(default_factory=socket.gethostname)
    place: str = field(default_factory=lambda: process_space())
    process: int = field(default_factory=os.getpid)
    since: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def __str__(self) -> str:
        if not self.process:
            return "a process with another release of this provider"
        return f"process {self.process} on {self.host}, since {self.since}"

    def dump(self) -> str:
        """Return the text that is stored."""
        return json.dumps({"version": VERSION, **asdict(self)})

    @property
    def is_dead(self) -> bool:
        """Whether the claimant is known to have ended; from another machine or container that cannot be known."""
        if not self.place or self.place != process_space():
            return False
        try:
            os.kill(self.process, 0)
            state = Path(f"/proc/{self.process}/stat").read_text(encoding="utf-8", errors="replace")
        except ProcessLookupError:
            return True
        except OSError:
            # Somebody else's process, of which we may not see more than that it is there.
            return False
        # A zombie only waits for its parent to notice. The field before is the name, which may hold anything.
        return state.rpartition(")")[2].split()[0] in ("Z", "X")


def process_space() -> str:
    """Return a name for the set of processes that this one's ids are unique in; empty where there is none.

    Host names will not do: two containers may share one, and then a process id says nothing.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        space = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return ""
    return hashlib.sha256(f"{boot}{space}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Timing:
    """How long each step may take, in seconds.

    :param write_limit: the longest time between seeing the variable free and having written a claim.
    :param settle: the wait before a claim is believed; it must be longer than ``write_limit`` by more than clocks
        can drift apart meanwhile.
    :param hold: the longest time that the holder may need.
    :param poll: the mean time between two looks at another's claim.
    :param patience: how long to wait for others in all; longer than ``hold``, to outlive a dead holder.
    """

    write_limit: float = 2.5
    settle: float = 3.0
    hold: float = 120.0
    poll: float = 1.0
    patience: float = 300.0


class VariableLease:
    """The right to do something that only one process at a time may do.

    :param variables: the shared values.
    :param key: the variable of this lease.
    :param description: what Airflow's list of variables says of it.
    """

    def __init__(
        self,
        variables: Variables,
        key: str,
        description: str,
        *,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.key = key
        self.timing = timing or Timing()
        self._variables = variables
        self._description = description
        self._clock = clock
        self._sleep = sleep

    def acquire(self, served: Callable[[], bool]) -> Holding | None:
        """Wait for the lease.

        :param served: asked while another holds it; true means that it is no longer needed.
        :return: the lease, or None if it was no longer needed.
        :raises LeaseUnavailableError: another held it for the whole of our patience.
        """
        deadline = self._clock() + self.timing.patience
        watched: Claim | None = None
        watched_since = 0.0
        while True:
            asked = self._clock()
            found = self._read()
            if found is not None and (watched is None or found.id != watched.id):
                watched, watched_since = found, asked
            if found is None or asked - watched_since >= found.hold or found.is_dead:
                mine = Claim(self.timing.hold)
                if self._claim_in_memory(mine, found) if are_variables_in_memory() else self._claim(mine, asked):
                    return Holding(self, mine, self._clock(), abandoned=found)
                watched = None
            elif served():
                return None
            elif asked >= deadline:
                raise LeaseUnavailableError(found)
            else:
                self._sleep(self.timing.poll * random.uniform(0.5, 1.5))  # noqa: S311

    def _claim(self, mine: Claim, asked: float) -> bool:
        self._variables.write(self.key, mine.dump(), self._description)
        if self._clock() - asked > self.timing.write_limit:
            return False
        try:
            self._sleep(self.timing.settle)
            return self._read() == mine
        except BaseException:
            # Somebody ends this process, or the variables cannot be read: spare the others the wait for our death.
            with suppress(Exception):
                if self._read() == mine:
                    self._variables.write(self.key, FREE, self._description)
            raise

    def _claim_in_memory(self, mine: Claim, found: Claim | None) -> bool:
        """Claim without a wait, where no other process can: threads of this one take turns."""
        with _ONE_THREAD:
            if self._read() != found:
                return False
            self._variables.write(self.key, mine.dump(), self._description)
            return True

    def _read(self) -> Claim | None:
        text = self._variables.read(self.key)
        if not text or text == FREE:
            return None
        try:
            stored: dict[str, Any] = json.loads(text)
            version = stored.pop("version")
            return Claim(**stored) if version == VERSION else self._of_another_release(text)
        except (AttributeError, KeyError, TypeError, ValueError):
            # Nobody holds a lease by something that is not a claim.
            return None

    def _of_another_release(self, text: str) -> Claim:
        """Return a claim that this release cannot read as one that lasts as long as a claim of its own may."""
        return Claim(
            self.timing.hold,
            id=hashlib.sha256(text.encode()).hexdigest()[:16],
            host="",
            place="",
            process=0,
            since="",
        )

    def give_back(self, holding: Holding) -> None:
        """Set the lease free, unless it has lasted so long that it may be another's by now."""
        if self._clock() - holding.since < self.timing.hold / 2 or self._read() == holding.claim:
            self._variables.write(self.key, FREE, self._description)


@dataclass(frozen=True, slots=True)
class Holding:
    """A lease that is held.

    :param abandoned: the claim of a holder that never gave the lease back, if it was taken over from one.
    """

    lease: VariableLease
    claim: Claim
    since: float
    abandoned: Claim | None

    def give_back(self) -> None:
        """Set the lease free. If that fails, it becomes free by itself when its time is over."""
        with suppress(Exception):
            self.lease.give_back(self)
