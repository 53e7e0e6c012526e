"""Decides which call may go and which has to wait. Nothing here reads a clock, waits, or stores.

The state of an application is shared by everybody who calls with its client id, and holds

======================  ==============================================================================================
the clock hour          counted on DrChrono's clock, which the ``Date`` headers of its answers give away
calls in the hour       by connection and host
calls in hand           a call takes one of the places of a second from its start until a second after its
                        answer, so however long answers take, DrChrono never sees more calls in one second than that
the queue               places are given out in the order in which they were asked for
who polls               until when they wait, and how often they want to
the end of a refusal    after a 429, nobody calls until then, whatever has been counted
======================  ==============================================================================================
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

HOUR = 3600.0
SECOND = 1.0

GRACE = 1.0
"""Seconds for which a place is kept free for one who does not come back for it."""

LATE = 30.0
"""Seconds after which one who does not come back has lost the turn, too."""

LONGEST_CALL = 15.0
"""Seconds after which a call has reached DrChrono for certain, or its process is dead."""

LOOK_AGAIN = 0.1
"""Seconds after which one whose turn depends on a call in hand asks again."""

SHORTEST_WAIT = 0.005
"""Seconds. A wait of 0 would mean that the call may go."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be spent.

    :param application: calls in a clock hour that the application may make in all; None means no limit.
    :param share: calls in a clock hour that the asking connection may make; None means no limit.
    :param per_second: calls in any second; None means no limit.
    :param reserve: calls of the hour to leave to others.
    """

    application: int | None
    share: int | None
    per_second: int | None
    reserve: int = 0


@dataclass(slots=True)
class Call:
    """A call that takes a place of its second. Times are epoch seconds on the quota store's clock."""

    started_at: float
    answered: float | None = None
    whose: tuple[str, str] = ("", "")


def _is_near(known: tuple[float, float], found: tuple[float, float]) -> bool:
    """Tell whether two bounds of the clock's offset agree to an hour."""
    return max(known[0], found[0]) <= min(known[1], found[1]) + HOUR


@dataclass(slots=True)
class QuotaState:
    """What all callers of one application know together.

    :param hour: number of the clock hour since 1970 that ``used`` is about.
    :param used: calls in that hour by connection and, within it, by host.
    :param calls: the calls that still count for the second, by their ids.
    :param queue: who waits, by the ids of their calls: since when, and until when.
    :param refused_until: nobody calls before this time.
    :param clock_offset: seconds by which DrChrono's clock is ahead, at least and at most; None before its first answer.
    :param clock_doubt: the same, by one answer that contradicts what is known; a second one that agrees is believed.
    :param polls: who waits for the next poll: connection, until when, and the interval in seconds that it wants.
    """

    hour: int = 0
    used: dict[str, dict[str, int]] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)
    queue: dict[str, tuple[float, float]] = field(default_factory=dict)
    refused_until: float = 0.0
    clock_offset: tuple[float, float] | None = None
    polls: list[tuple[str, float, float]] = field(default_factory=list)
    clock_doubt: tuple[float, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the state as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> QuotaState:
        """Return the state that :meth:`to_dict` gave.

        :raises ValueError: it is something else.
        """
        try:
            calls = {
                key: Call(float(each["started_at"]), each["answered"], tuple(each["whose"]))
                for key, each in values["calls"].items()
            }
            queue = {key: (float(since), float(until)) for key, (since, until) in values["queue"].items()}
            clock_offset, clock_doubt = values["clock_offset"], values.get("clock_doubt")
            return cls(
                int(values["hour"]),
                {name: {host: int(count) for host, count in hosts.items()} for name, hosts in values["used"].items()},
                calls,
                queue,
                float(values["refused_until"]),
                (float(clock_offset[0]), float(clock_offset[1])) if clock_offset else None,
                # A process of an earlier release leaves them out.
                [(str(name), float(until), float(interval)) for name, until, interval in values.get("polls", ())],
                (float(clock_doubt[0]), float(clock_doubt[1])) if clock_doubt else None,
            )
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            raise ValueError("This is not the state of a quota") from None

    @property
    def total(self) -> int:
        """Calls of the hour, of everybody."""
        return sum(sum(hosts.values()) for hosts in self.used.values())

    def of(self, connection: str) -> int:
        """Calls of the hour, of one connection."""
        return sum(self.used.get(connection, {}).values())

    def hour_left(self, now: float) -> float:
        """Seconds until the next clock hour has begun at DrChrono, beyond doubt."""
        return (self.hour + 1) * HOUR - self._surely(now)

    def admit(self, call: str, whose: tuple[str, str], limits: Limits, now: float) -> float:
        """Let a call go, or say when to ask again.

        :param call: id of the call, the same one until it is settled.
        :param whose: connection and host.
        :return: 0 if it may go, and is counted; otherwise seconds to wait.
        """
        self.turn_to(now)
        if now < self.refused_until:
            return self.refused_until - now
        if self._is_spent(whose[0], limits):
            self.queue.pop(call, None)
            return max(self.hour_left(now), SHORTEST_WAIT)
        wait = self._wait_in_queue(call, limits.per_second, now) if limits.per_second else 0.0
        if not wait:
            self.calls[call] = Call(now, whose=whose)
            self._count(whose, 1)
        return wait

    def settle(
        self,
        call: str,
        now: float,
        *,
        sent: bool = True,
        server_time: datetime | None = None,
        refused_for: float | None = None,
    ) -> None:
        """Note how a call ended, or that its caller no longer waits for it.

        :param sent: False if it cannot have reached DrChrono; then it does not count.
        :param server_time: the ``Date`` of the answer.
        :param refused_for: seconds for which a 429 shuts everybody out.
        """
        self.queue.pop(call, None)
        known = self.calls.get(call)
        if known is not None and not sent:
            del self.calls[call]
            self._count(known.whose, -1)
        elif known is not None:
            known.answered = now
            if server_time is not None:
                self._set_clock(known.started_at, now, server_time.timestamp())
        if refused_for:
            # The quota begins anew with each hour, so nothing said about later can be true.
            self.refused_until = max(self.refused_until, now + min(refused_for, HOUR))
        self.turn_to(now)

    def turn_to(self, now: float) -> None:
        """Begin the new hour if there is one, and forget what no longer counts."""
        hour = int(self._surely(now) // HOUR)
        if hour > self.hour:
            self._begin(hour)
        self.hour = hour
        low, high = self.clock_offset or (0.0, 0.0)
        keep = SECOND + high - low
        for key, each in list(self.calls.items()):
            if each.answered is None and not -GRACE < now - each.started_at < LONGEST_CALL:
                each.answered = now
            if each.answered is not None and not -GRACE < now - each.answered < keep:
                del self.calls[key]
        for key, (_, until) in list(self.queue.items()):
            if not -HOUR < now - until < LATE:
                del self.queue[key]
        self.polls = [each for each in self.polls if now < each[1]]
        if self.refused_until > now + HOUR + SECOND:
            # The clock was set back since: no refusal lasts longer than an hour.
            self.refused_until = 0.0

    def forget(self, now: float) -> None:
        """Forget what is believed of the hour: what was spent, until when calls are refused, and DrChrono's clock.

        Calls in hand and the queue stay, since the limit of a second goes on.
        """
        self.hour, self.used, self.refused_until, self.clock_offset = int(now // HOUR), {}, 0.0, None

    def _begin(self, hour: int) -> None:
        self.used = {}
        start = hour * HOUR
        at_most = self.clock_offset[1] if self.clock_offset else 0.0
        for each in self.calls.values():
            # They may have arrived after DrChrono's clock had struck.
            if each.answered is None or each.answered + at_most >= start:
                self._count(each.whose, 1)

    def _surely(self, now: float) -> float:
        return now + (self.clock_offset[0] if self.clock_offset else 0.0)

    def _set_clock(self, started_at: float, answered: float, date: float) -> None:
        # The header has whole seconds and was written somewhere between the two; answers together narrow it down.
        low, high = date - answered, date + SECOND - started_at
        if not _is_near(self.clock_offset or (0.0, 0.0), (low, high)):
            # A wrong clock would begin another hour, and the calls of this one would be forgotten.
            if self.clock_doubt is None or not _is_near(self.clock_doubt, (low, high)):
                self.clock_doubt = (low, high)
                return
            self.clock_offset = None
        self.clock_doubt = None
        if self.clock_offset and max(low, self.clock_offset[0]) <= min(high, self.clock_offset[1]):
            low, high = max(low, self.clock_offset[0]), min(high, self.clock_offset[1])
        self.clock_offset = (low, high)

    def _is_spent(self, connection: str, limits: Limits) -> bool:
        one_more = 1 + limits.reserve
        if limits.application is not None and self.total + one_more > limits.application:
            return True
        return limits.share is not None and self.of(connection) + one_more > limits.share

    def _wait_in_queue(self, call: str, places: int, now: float) -> float:
        taken = [each for each in self.calls.values() if each.answered is None or now - each.answered < SECOND]
        since = self.queue.get(call, (now, now))[0]
        before = sum(
            (other, key) < (since, call) and now - until < GRACE
            for key, (other, until) in self.queue.items()
            if key != call
        )
        beyond = before - (places - len(taken))
        if beyond < 0:
            self.queue.pop(call, None)
            return 0.0
        opening = sorted(each.answered + SECOND - now for each in taken if each.answered is not None)
        rounds, place = divmod(beyond, places)
        wait = (opening[place] if place < len(opening) else LOOK_AGAIN) + rounds * SECOND
        wait = max(wait, SHORTEST_WAIT)
        self.queue[call] = (since, now + wait)
        return wait

    def _count(self, whose: tuple[str, str], calls: int) -> None:
        connection, host = whose
        hosts = self.used.setdefault(connection, {})
        hosts[host] = max(0, hosts.get(host, 0) + calls)


@dataclass(frozen=True, slots=True)
class QuotaStatus:
    """How much of an hour's quota is left.

    :param used: calls in this clock hour.
    :param limit: calls that the asker may make in it; None means no limit.
    :param left: calls that the asker may still make; None means no limit.
    :param resets_at: when the next hour begins at DrChrono, on this machine's clock, aware, in UTC.
    :param refused_until: until when DrChrono takes no calls; None if it does.
    :param by: connection, host and number of calls, most first.
    """

    used: int
    limit: int | None
    left: int | None
    resets_at: datetime
    refused_until: datetime | None
    by: tuple[tuple[str, str, int], ...]


def quota_status(state: QuotaState, connection: str, limits: Limits, now: float) -> QuotaStatus:
    """Return what a connection would want to know of a state."""
    state.turn_to(now)
    rests = []
    if limits.application is not None:
        rests.append(limits.application - state.total)
    if limits.share is not None:
        rests.append(limits.share - state.of(connection))
    refused = now < state.refused_until
    by = [(name, host, count) for name, hosts in state.used.items() for host, count in hosts.items() if count]
    return QuotaStatus(
        used=state.total,
        limit=min((each for each in (limits.application, limits.share) if each is not None), default=None),
        left=0 if refused else (max(0, min(rests) - limits.reserve) if rests else None),
        resets_at=datetime.fromtimestamp(math.ceil(now + state.hour_left(now)), UTC),
        refused_until=datetime.fromtimestamp(math.ceil(state.refused_until), UTC) if refused else None,
        by=tuple(sorted(by, key=lambda each: (-each[2], each[0], each[1]))),
    )
