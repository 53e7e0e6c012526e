"""Questions about changes: by which clock lists go, what ``since`` includes, and how late writes show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from airflow_provider_drchrono.catalog import Incremental, Resource
from airflow_provider_drchrono.conformance.findings import Finding, Question, counted
from airflow_provider_drchrono.conformance.session import Record, Session
from airflow_provider_drchrono.conformance.step import Step, no_answer

RESOURCES = ("patients", "appointments", "line_items", "lab_orders")
"""Lists that different parts of the vendor's system keep, and so may go by different clocks."""

SPANS = (timedelta(days=1), timedelta(days=14), timedelta(hours=1), timedelta(days=3))
"""How far back the newest change is looked for: first, after nothing came, after too much came, and after both."""

CLOCKS = (
    "UTC",
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
    "America/Anchorage",
    "Pacific/Honolulu",
)
"""The zones that a list's clock may be in, beside the practice's."""

IN_FUTURE = timedelta(minutes=2)
"""A change that is so much newer than the present by a clock was not made by that clock."""

FRESH = timedelta(minutes=15)
"""A change so shortly before the present tells a clock from those further west."""

LAG_WAIT = 20.0
"""Seconds between the two looks for late writes."""

LAG_SPAN = timedelta(minutes=15)
CERTAIN = timedelta(seconds=2)
"""What is later than this was written before the first look."""

CLOCK = Question("change-clock", "By which clock are the times of change?", "observed")
INCLUSIVE = Question("since-inclusive", "Does since include what changed at that very time?", "observed")
COMPARED = Question("since-compares", "Does since compare the field that it is said to compare?", "inferred")
MOVES = Question("change-time-moves", "Does that field move when a record is changed?", "inferred")
LAG = Question("lag", "How late does a list show a write?", "documented")


def steps() -> tuple[Step, ...]:
    """Return the steps of these questions."""
    of_lists = [
        Step(f"changes of {name}", 5, (CLOCK, INCLUSIVE, COMPARED, MOVES), partial(_changes, resource=name))
        for name in RESOURCES
    ]
    return (*of_lists, Step("lag", 2, (LAG,), _lag))


@dataclass(frozen=True, slots=True)
class _Newest:
    """The newest change of a list.

    :param text: its time as it came; ``moment`` is the same without a zone.
    :param record_id: of the record that changed.
    :param records: all that came with it.
    """

    text: str
    moment: datetime
    record_id: str
    zoned: bool
    records: Sequence[Record]


def _changes(session: Session, resource: str) -> Iterator[Finding]:
    found = session.catalog.resource(resource)
    incremental = found.incremental
    assert incremental is not None  # noqa: S101 - these lists can be asked for changes
    assert incremental.cursor_field is not None  # noqa: S101 - they say when a record changed
    newest, why = _find_newest(session, found, incremental)
    believed = _beliefs(session, incremental)
    if newest is None:
        for question, belief in believed.items():
            yield Finding(question.id, "unknown", belief, why, resource)
        return
    yield _clock(session, resource, newest, believed[CLOCK])
    yield from _compared(session, found, incremental, newest, believed)
    yield _moves(resource, incremental, newest.records, believed[MOVES])


def _beliefs(session: Session, incremental: Incremental) -> Mapping[Question, str]:
    moves = "yes" if incremental.tracks_updates else "not known; only the content counts"
    return {
        CLOCK: "the practice's",
        INCLUSIVE: "yes",
        COMPARED: f"yes, {incremental.cursor_field}",
        MOVES: moves,
    }


def _find_newest(session: Session, resource: Resource, incremental: Incremental) -> tuple[_Newest | None, str]:
    """Return the newest change that a page shows whole, or why there is none."""
    size = resource.paging.largest(verbose=False) if resource.paging else None
    order = [SPANS[0]]
    for _ in range(3):
        span = order[-1]
        since = session.wall_clock(before=span).isoformat()
        answer = session.ask_list(resource, {incremental.filter: since, "page_size": size})
        if not answer.works:
            return None, no_answer(answer)
        if answer.next_link is None and (newest := _newest(answer.records, str(incremental.cursor_field), resource)):
            return newest, ""
        following = {SPANS[0]: SPANS[2] if answer.records else SPANS[1], SPANS[1]: SPANS[3] if answer.records else None}
        if (next_span := following.get(span)) is None:
            break
        order.append(next_span)
    return None, "too much changes to tell the newest" if answer.records else "nothing changed within two weeks"


def _newest(records: Sequence[Record], name: str, resource: Resource) -> _Newest | None:
    best: _Newest | None = None
    for each in records:
        text, key = each.get(name), each.get(resource.key[0]) if resource.key else None
        moment = _moment(text)
        if moment is None or key is None:
            continue
        plain = moment.replace(tzinfo=None)
        if best is None or plain > best.moment:
            best = _Newest(str(text), plain, str(key), moment.tzinfo is not None, records)
    return best


def _clock(session: Session, resource: str, newest: _Newest, believed: str) -> Finding:
    if newest.zoned:
        return Finding(CLOCK.id, "differs", believed, "the times name their zone themselves", resource)
    ages = {name: _age(session, newest, name) for name in dict.fromkeys((*session.zones, *CLOCKS))}
    by_practice = [ages[name] for name in session.zones]
    if not by_practice:
        return Finding(CLOCK.id, "unknown", believed, "the practice's zone is not known", resource)
    possible = sorted((age, name) for name, age in ages.items() if age >= -IN_FUTURE)
    if max(by_practice) < -IN_FUTURE:
        best = possible[0][1] if possible and possible[0][0] <= FRESH else None
        observed = "the newest change is in the future by it" + (f"; it fits {best}" if best in CLOCKS else "")
        facts = {resource: {"timezone": best}} if best in CLOCKS else {}
        return Finding(CLOCK.id, "differs", believed, observed, resource, facts)
    age = min(each for each in by_practice if each >= -IN_FUTURE)
    if age <= FRESH:
        observed = f"the newest change is {_minutes(age)} old by it"
        return Finding(CLOCK.id, "as believed", believed, observed, resource)
    also = [name for seconds, name in possible if seconds <= FRESH and name in CLOCKS and name not in session.zones]
    observed = f"the newest change is {_minutes(age)} old by it" + (f", and new by {', '.join(also)}" if also else "")
    return Finding(CLOCK.id, "unknown", believed, f"{observed}; ask again while the practice works", resource)


def _age(session: Session, newest: _Newest, zone: str) -> timedelta:
    return session.now.astimezone(ZoneInfo(zone)).replace(tzinfo=None) - newest.moment


def _minutes(age: timedelta) -> str:
    minutes = max(0, round(age.total_seconds() / 60))
    return counted(minutes, "minute") if minutes < 120 else counted(round(minutes / 60), "hour")


def _compared(
    session: Session, resource: Resource, incremental: Incremental, newest: _Newest, believed: Mapping[Question, str]
) -> Iterator[Finding]:
    name = str(incremental.cursor_field)
    at = session.ask_list(resource, {incremental.filter: newest.moment.isoformat()})
    after = session.ask_list(
        resource, {incremental.filter: (newest.moment + timedelta(seconds=1)).replace(microsecond=0).isoformat()}
    )
    if not at.works or not after.works:
        bad = no_answer(after if at.works else at)
        yield Finding(INCLUSIVE.id, "unknown", believed[INCLUSIVE], bad, resource.name)
        yield Finding(COMPARED.id, "unknown", believed[COMPARED], bad, resource.name)
        return
    key = resource.key[0]
    at_that_time = _holds(at.records, key, name, newest)
    if at_that_time:
        yield Finding(INCLUSIVE.id, "as believed", believed[INCLUSIVE], "it comes", resource.name)
    else:
        yield Finding(INCLUSIVE.id, "differs", believed[INCLUSIVE], "it does not come", resource.name)
    early = [each for each in after.records if (found := _moment(each.get(name))) and _plain(found) <= newest.moment]
    if early:
        observed = f"{counted(len(early), 'record')} came that changed before since"
        facts = {resource.name: {"tracks_updates": False}} if incremental.tracks_updates else {}
        yield Finding(COMPARED.id, "differs", believed[COMPARED], observed, resource.name, facts)
    else:
        observed = "nothing older than since came"
        yield Finding(COMPARED.id, "as believed", believed[COMPARED], observed, resource.name)


def _holds(records: Sequence[Record], key: str, name: str, newest: _Newest) -> bool:
    return any(str(each.get(key)) == newest.record_id and each.get(name) == newest.text for each in records)


def _moves(resource: str, incremental: Incremental, records: Sequence[Record], believed: str) -> Finding:
    if incremental.created_field is None:
        return Finding(MOVES.id, "unknown", believed, "the records do not say when they were created", resource)
    created, changed = incremental.created_field, str(incremental.cursor_field)
    pairs = [(_moment(each.get(created)), _moment(each.get(changed))) for each in records]
    both = [(_plain(first), _plain(last)) for first, last in pairs if first and last]
    later = sum(last > first for first, last in both)
    if later:
        observed = f"{later} of {len(both)} have a later time of change than of creation"
        return Finding(MOVES.id, "as believed", believed, observed, resource)
    return Finding(MOVES.id, "unknown", believed, f"none of {len(both)} was changed after its creation", resource)


def _lag(session: Session) -> Iterator[Finding]:
    resource = session.catalog.resource("appointments")
    incremental = resource.incremental
    assert incremental is not None  # noqa: S101 - the list can be asked for changes
    believed = f"seconds; {incremental.lookback:g} s are read again"
    params = {incremental.filter: session.wall_clock(before=LAG_SPAN).isoformat(), "page_size": 250}
    first = session.ask_list(resource, params)
    asked_at = session.wall_clock()
    session.sleep(LAG_WAIT)
    second = session.ask_list(resource, params)
    if not first.works or not second.works:
        yield Finding(LAG.id, "unknown", believed, no_answer(second if first.works else first), resource.name)
        return
    name = str(incremental.cursor_field)
    known = {(str(each.get("id")), each.get(name)) for each in first.records}
    new = [each for each in second.records if (str(each.get("id")), each.get(name)) not in known]
    moments = [_plain(found) for each in new if (found := _moment(each.get(name)))]
    late = [asked_at - each for each in moments if each < asked_at - CERTAIN]
    if late:
        seconds = round(max(late).total_seconds())
        observed = f"{counted(len(late), 'change')} came late, by at least {counted(seconds, 'second')}"
        if seconds < incremental.lookback:
            yield Finding(LAG.id, "as believed", believed, observed, resource.name)
        else:
            yield Finding(
                LAG.id, "differs", believed, observed, resource.name, {resource.name: {"lookback": 2 * seconds}}
            )
    elif moments:
        yield Finding(
            LAG.id, "as believed", believed, f"none of {counted(len(moments), 'change')} was late", resource.name
        )
    else:
        yield Finding(LAG.id, "unknown", believed, "nothing changed meanwhile", resource.name)


def _plain(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None)


def _moment(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
