"""Questions about pages: their envelope, their size, where their links lead, and the order of the records."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from airflow_provider_drchrono.catalog import Resource
from airflow_provider_drchrono.client.paging import ENVELOPE_KEYS
from airflow_provider_drchrono.client.request import same_origin
from airflow_provider_drchrono.conformance.findings import Finding, Question, Result, counted, named
from airflow_provider_drchrono.conformance.session import Answer, Record, Session, list_of
from airflow_provider_drchrono.conformance.step import Step, no_answer

VENDOR_DOMAIN = "drchrono.com"
BEYOND = 1000
"""A page size that is larger than any that the contract allows."""

RANGE_DAYS = 180
LONG_RANGE_DAYS = 400
OCCURRENCE = re.compile(r"\d{4}-\d\d-\d\d_\d+")

ENVELOPE = Question("envelope", "Under which key do the records of a page stand?", "disputed")
LINK = Question("link", "Where does the link to the next page lead?", "observed")
PAGE_SIZE = Question("page-size", "How many records does a page hold when the most is asked for?", "disputed")
VERBOSE_SIZE = Question("verbose-page-size", "How many does it hold with verbose=true?", "disputed")
BEYOND_SIZE = Question("page-size-beyond", "What comes when more is asked for than the contract allows?", "inferred")
KEPT_SIZE = Question("page-size-kept", "Is the second page as large as the first?", "inferred")
REPEATED = Question("pages-overlap", "Does the second page repeat records of the first?", "inferred")
ORDER = Question("order", "In which order do the records come?", "inferred")
VERBOSE_FIELDS = Question("verbose-fields", "Which fields come only with verbose=true?", "inferred")
OCCURRENCES = Question("occurrence-ids", "Do visits have ids of single occurrences?", "documented")
ARCHIVED = Question("archived", "Are deleted visits listed only with show_archived=true?", "inferred")
LONG_RANGE = Question("long-range", "What comes for a range of dates that is longer than allowed?", "observed")


def steps() -> tuple[Step, ...]:
    """Return the steps of these questions."""
    of_patients = (ENVELOPE, LINK, PAGE_SIZE, KEPT_SIZE, REPEATED, ORDER, VERBOSE_SIZE, VERBOSE_FIELDS, BEYOND_SIZE)
    of_visits = (ENVELOPE, LINK, PAGE_SIZE, VERBOSE_SIZE, ORDER, OCCURRENCES, ARCHIVED, LONG_RANGE)
    return (
        Step("pages of patients", 4, of_patients, _patients),
        Step("pages of appointments", 4, of_visits, _appointments),
        Step("pages of patients_summary", 1, (ENVELOPE, PAGE_SIZE), _summaries),
    )


def _patients(session: Session) -> Iterator[Finding]:
    resource = session.catalog.resource("patients")
    size = _most(resource, verbose=False)
    first = session.ask_list(resource, {"page_size": size})
    yield from page_findings(session, resource, first, size)
    yield from _second_page(session, resource, first, size)
    verbose_size = _most(resource, verbose=True)
    verbose = session.ask_list(resource, {"page_size": verbose_size, "verbose": True})
    yield size_finding(VERBOSE_SIZE, resource, verbose, verbose_size, "verbose_page_size")
    yield _verbose_fields(session, resource, first, verbose)
    yield _beyond(resource, session.ask_list(resource, {"page_size": BEYOND}), size)


def _appointments(session: Session) -> Iterator[Finding]:
    resource = session.catalog.resource("appointments")
    size, verbose_size = _most(resource, verbose=False), _most(resource, verbose=True)
    selected = {"date_range": _days_back(session, RANGE_DAYS)}
    first = session.ask_list(resource, {**selected, "page_size": size})
    yield from page_findings(session, resource, first, size)
    verbose = session.ask_list(resource, {**selected, "page_size": verbose_size, "verbose": True})
    yield size_finding(VERBOSE_SIZE, resource, verbose, verbose_size, "verbose_page_size")
    yield _order(resource, first.records)
    yield _occurrences(first.records + verbose.records)
    yield _archived(first, session.ask_list(resource, {**selected, "page_size": size, "show_archived": True}))
    long = session.ask_list(resource, {"date_range": _days_back(session, LONG_RANGE_DAYS), "page_size": 1})
    yield _long_range(first, long)


def _summaries(session: Session) -> Iterator[Finding]:
    resource = session.catalog.resource("patients_summary")
    size = _most(resource, verbose=False)
    yield from page_findings(session, resource, session.ask_list(resource, {"page_size": size}), size, link=False)


def page_findings(
    session: Session, resource: Resource, answer: Answer, size: int, *, link: bool = True
) -> Iterator[Finding]:
    """Yield what a first page says of its envelope, its size and its link."""
    yield _envelope(resource, answer)
    if link:
        yield _link(session.base_url, resource, answer)
    yield size_finding(PAGE_SIZE, resource, answer, size, "page_size")


def size_finding(question: Question, resource: Resource, answer: Answer, asked: int, fact: str) -> Finding:
    """Return what a first page says of the size of pages.

    :param asked: the size that was asked for.
    :param fact: the fact that tells a connection of another size.
    """
    believed = f"up to {asked}"
    if fact == "page_size" and resource.paging and resource.paging.reported_size:
        believed += f"; others report {resource.paging.reported_size}"
    if not answer.works:
        return Finding(question.id, "unknown", believed, no_answer(answer), resource.name)
    rows = len(answer.records)
    came = f"{counted(rows, 'record')} came"
    if rows > asked:
        return Finding(question.id, "differs", believed, came, resource.name, {resource.name: {fact: rows}})
    if answer.next_link is None:
        return Finding(question.id, "unknown", believed, "all records fit on one page", resource.name)
    if rows == asked:
        return Finding(question.id, "as believed", believed, came, resource.name)
    facts = {resource.name: {fact: rows}} if rows else {}
    return Finding(question.id, "differs", believed, f"{came}, and there is a next page", resource.name, facts)


def link_relation(base_url: str, link: str) -> str:
    """Say where a link leads, without its path and query; hosts that are not the vendor's are not named."""
    if "://" not in link:
        return "a path without a host"
    own, other = urlsplit(base_url), urlsplit(link)
    parts = []
    if own.scheme != other.scheme:
        parts.append(f"{other.scheme if other.scheme in ('http', 'https') else 'another scheme'} for {own.scheme}")
    if own.hostname != other.hostname:
        host = other.hostname or ""
        vendors = host == VENDOR_DOMAIN or host.endswith(f".{VENDOR_DOMAIN}")
        parts.append(f"the host {host}" if vendors else "another host")
    elif own.scheme == other.scheme and not same_origin(base_url, link):
        parts.append("another port, or none")
    return ", ".join(parts) or "our own origin"


def _envelope(resource: Resource, answer: Answer) -> Finding:
    believed = list_of(resource).response.rows or "data"
    if not answer.works:
        return Finding(ENVELOPE.id, "unknown", believed, no_answer(answer), resource.name)
    key = answer.envelope
    if key == believed:
        return Finding(ENVELOPE.id, "as believed", believed, key, resource.name)
    fact = named([key]) if key not in ("a bare list", "no list") else ""
    # The client takes either of the two keys that are in dispute.
    facts = {resource.name: {"records_key": fact}} if fact and fact not in ENVELOPE_KEYS else {}
    return Finding(ENVELOPE.id, "differs", believed, key if " " in key else fact or "another key", resource.name, facts)


def _link(base_url: str, resource: Resource, answer: Answer) -> Finding:
    believed = "it may name a sister host; path and query count"
    if answer.next_link is None:
        return Finding(LINK.id, "unknown", believed, "there is no next page", resource.name)
    relation = link_relation(base_url, answer.next_link)
    parts = urlsplit(answer.next_link)
    same_path = parts.path.rstrip("/") == list_of(resource).path.rstrip("/")
    kept = "page_size" in parse_qs(parts.query)
    observed = (
        f"{relation}; {'the same path' if same_path else 'another path'}; page_size is {'' if kept else 'not '}kept"
    )
    return Finding(LINK.id, "as believed" if same_path else "differs", believed, observed, resource.name)


def _second_page(session: Session, resource: Resource, first: Answer, size: int) -> Iterator[Finding]:
    believed = ("as large as the first", "no")
    if first.next_link is None:
        for question, belief in zip((KEPT_SIZE, REPEATED), believed, strict=True):
            yield Finding(question.id, "unknown", belief, "there is no second page", resource.name)
        yield _order(resource, first.records)
        return
    second = session.ask_link(first.next_link)
    rows, before = len(second.records), len(first.records)
    if not second.works:
        yield Finding(KEPT_SIZE.id, "differs", believed[0], no_answer(second), resource.name)
        yield Finding(REPEATED.id, "unknown", believed[1], no_answer(second), resource.name)
    else:
        result: Result = "as believed" if rows == before else "unknown" if second.next_link is None else "differs"
        observed = f"{rows} after {before}" + ("" if second.next_link else "; it is the last page")
        yield Finding(KEPT_SIZE.id, result, believed[0], observed, resource.name)
        again = _ids(first.records) & _ids(second.records)
        yield Finding(
            REPEATED.id,
            "differs" if again else "as believed",
            believed[1],
            f"{counted(len(again), 'record')} came twice",
            resource.name,
        )
    yield _order(resource, first.records + second.records)


def _order(resource: Resource, records: list[Record]) -> Finding:
    name = list_of(resource).order or "id"
    believed = f"by {name}" if list_of(resource).order else "not stated; usually by id"
    values = [each[name] for each in records if isinstance(each.get(name), int if name == "id" else str)]
    if len(set(values)) < 3:
        return Finding(ORDER.id, "unknown", believed, "too few records", resource.name)
    if values == sorted(values):
        observed = f"by {name}, smallest first"
    else:
        observed = f"by {name}, largest first" if values == sorted(values, reverse=True) else f"not by {name}"
    result: Result = "as believed" if observed.startswith("by") else "differs"
    return Finding(ORDER.id, result, believed, observed, resource.name)


def _verbose_fields(session: Session, resource: Resource, plain: Answer, verbose: Answer) -> Finding:
    record = session.catalog.record_of(resource.name)
    expected = set(record.verbose_fields if record else ())
    believed = named(expected, most=40)
    if not plain.records or not verbose.records:
        return Finding(VERBOSE_FIELDS.id, "unknown", believed, "there are no records to compare", resource.name)
    came = _names(verbose.records) - _names(plain.records)
    if came == expected:
        return Finding(VERBOSE_FIELDS.id, "as believed", believed, "the same", resource.name)
    parts = [f"also {named(came - expected)}"] if came - expected else []
    parts += [f"not {named(expected - came)}"] if expected - came else []
    return Finding(VERBOSE_FIELDS.id, "differs", believed, "; ".join(parts), resource.name)


def _beyond(resource: Resource, answer: Answer, size: int) -> Finding:
    believed = f"no more than {size}"
    if answer.status == 400:
        return Finding(BEYOND_SIZE.id, "as believed", believed, "it is refused (400)", resource.name)
    if not answer.works:
        return Finding(BEYOND_SIZE.id, "unknown", believed, no_answer(answer), resource.name)
    rows = len(answer.records)
    if rows > size:
        observed = f"{counted(rows, 'record')} came" + (", and there is a next page" if answer.next_link else "")
        # Whether more than were there would have come is not known; that many do.
        return Finding(
            BEYOND_SIZE.id, "differs", believed, observed, resource.name, {resource.name: {"page_size": rows}}
        )
    if answer.next_link is None:
        return Finding(BEYOND_SIZE.id, "unknown", believed, "all records fit on one page", resource.name)
    return Finding(BEYOND_SIZE.id, "as believed", believed, f"{counted(rows, 'record')} came", resource.name)


def _occurrences(records: list[Record]) -> Finding:
    believed = "2026-01-31_123 for one day of a recurring visit"
    ids = [each.get("id") for each in records]
    found = sum(isinstance(each, str) and bool(OCCURRENCE.fullmatch(each)) for each in ids)
    odd = sum(isinstance(each, str) and not OCCURRENCE.fullmatch(each) and not each.isdigit() for each in ids)
    if odd:
        observed = f"{counted(odd, 'id')} of another form among {len(ids)}"
        return Finding(OCCURRENCES.id, "differs", believed, observed, "appointments")
    if not found:
        return Finding(OCCURRENCES.id, "unknown", believed, f"none among {counted(len(ids), 'id')}", "appointments")
    return Finding(OCCURRENCES.id, "as believed", believed, f"{found} among {counted(len(ids), 'id')}", "appointments")


def _archived(plain: Answer, shown: Answer) -> Finding:
    believed = "only with it"
    if not plain.works or not shown.works:
        bad = shown if plain.works else plain
        return Finding(ARCHIVED.id, "unknown", believed, no_answer(bad), "appointments")
    without, with_it = _flagged(plain.records), _flagged(shown.records)
    observed = f"{without} deleted without it, {with_it} with it, of {len(plain.records)} and {len(shown.records)}"
    if without:
        return Finding(ARCHIVED.id, "differs", believed, observed, "appointments")
    return Finding(ARCHIVED.id, "as believed" if with_it else "unknown", believed, observed, "appointments")


def _long_range(short: Answer, long: Answer) -> Finding:
    believed = "an empty list with 200, so that long ranges are asked for in parts"
    if long.status == 400:
        return Finding(LONG_RANGE.id, "differs", believed, "it is refused (400)", "appointments")
    if not short.works or not long.works or not short.records:
        bad = no_answer(long if short.works else short) if not (short.works and long.works) else "there are no visits"
        return Finding(LONG_RANGE.id, "unknown", believed, bad, "appointments")
    if long.records:
        return Finding(LONG_RANGE.id, "differs", believed, "records come", "appointments")
    return Finding(LONG_RANGE.id, "as believed", believed, "an empty list with 200", "appointments")


def _flagged(records: Iterable[Mapping[str, Any]]) -> int:
    return sum(bool(each.get("deleted_flag") or each.get("archived")) for each in records)


def _names(records: Iterable[Mapping[str, Any]]) -> set[str]:
    return {name for each in records for name in each}


def _ids(records: Iterable[Mapping[str, Any]]) -> set[str]:
    return {str(each["id"]) for each in records if each.get("id") is not None}


def _most(resource: Resource, *, verbose: bool) -> int:
    assert resource.paging is not None  # noqa: S101 - these lists have pages
    return resource.paging.largest(verbose=verbose)


def _days_back(session: Session, days: int) -> str:
    today = session.wall_clock().date()
    return f"{today - timedelta(days=days - 1)}/{today}"
