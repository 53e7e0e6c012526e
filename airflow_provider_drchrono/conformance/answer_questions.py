"""Questions about single answers: redirects, refusals, empty lists, filters, rights, and how values are spelt."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from airflow_provider_drchrono.catalog import Catalog, Operation, Resource
from airflow_provider_drchrono.conformance.findings import Finding, Question, Result, counted, named
from airflow_provider_drchrono.conformance.page_questions import link_relation
from airflow_provider_drchrono.conformance.session import Answer, Session, list_of
from airflow_provider_drchrono.conformance.step import Step, no_answer
from airflow_provider_drchrono.conformance.tally import WITHOUT_ZONE

UNFILTERED = ("appointments", "audit_log", "clinical_notes", "lab_orders", "lab_results")
"""Lists that are said to be refused without a filter, always or at times."""

SMALL_SKEW = timedelta(minutes=1)

REDIRECT = Question(
    "redirect-of-current-user", "Does the address of the current user redirect, and where?", "documented"
)
GROUP = Question("practice-group", "Does a user name the practice that it belongs to?", "inferred")
SCOPES = Question("scopes-named", "Does the token endpoint name the scopes that it grants?", "inferred")
ZONES = Question("doctor-zones", "Do the doctors name their time zones?", "documented")
EMPTY = Question("empty-list", "What comes where nothing matches?", "inferred")
UNKNOWN_FILTER = Question("unknown-filter", "What becomes of a filter that there is not?", "inferred")
ZONED_SINCE = Question("since-with-zone", "What becomes of since with a zone?", "observed")
MISSING = Question("missing-record", "What comes for a record that is not there?", "documented")
WITHOUT_FILTER = Question("unfiltered", "Does the list answer without a filter?", "disputed")
FEED = Question("audit-log", "Can the audit log serve as a feed of deletions?", "observed")
LACKING = Question("missing-scope", "What comes where the scope is missing?", "observed")
HEADERS = Question("rate-headers", "Do answers say how many calls are left?", "inferred")
SERVER_CLOCK = Question("server-clock", "Does the server's Date agree with this machine's clock?", "observed")
TIMES = Question("time-spelling", "How are times spelt?", "observed")
AMOUNTS = Question("decimals", "Are decimal numbers text with two places?", "documented")
MISFITS = Question("types", "Do values have the types of the catalogue?", "inferred")
NEW_FIELDS = Question("unknown-fields", "Are there fields that the catalogue does not know?", "inferred")


def first_steps() -> tuple[Step, ...]:
    """Return the steps that come before those about lists."""
    return (
        Step("current user", 2, (REDIRECT, GROUP, SCOPES), _current_user),
        Step("doctors", 1, (ZONES,), _doctors),
        Step("single answers", 4, (EMPTY, UNKNOWN_FILTER, ZONED_SINCE, MISSING), _single_answers),
        Step("lists without a filter", len(UNFILTERED), (WITHOUT_FILTER,), _unfiltered),
        Step("audit log", 2, (FEED,), _audit_log),
        Step("missing scope", 1, (LACKING,), _missing_scope),
    )


def last_steps() -> tuple[Step, ...]:
    """Return the steps that make no call of their own: they look at what came of the others."""
    return (Step("spellings", 0, (HEADERS, SERVER_CLOCK, TIMES, AMOUNTS, MISFITS, NEW_FIELDS), _spellings),)


def _current_user(session: Session) -> Iterator[Finding]:
    answer = session.ask("/api/users/current")
    believed = "302 to the user's own address"
    if answer.statuses[:1] == (302,):
        where = link_relation(session.base_url, answer.locations[0]) if answer.locations else "nowhere"
        yield Finding(REDIRECT.id, "as believed", believed, f"302, to {where}")
    elif answer.works:
        yield Finding(REDIRECT.id, "differs", believed, f"{answer.statuses[0]} at once")
    else:
        yield Finding(REDIRECT.id, "unknown", believed, no_answer(answer))
    user = answer.value if isinstance(answer.value, dict) else {}
    if not answer.works:
        yield Finding(GROUP.id, "unknown", "yes", no_answer(answer))
    else:
        yield Finding(
            GROUP.id, *(("as believed", "yes", "yes") if user.get("practice_group") else ("differs", "yes", "no"))
        )
    granted = len(session.granted)
    observed = counted(granted, "scope") if granted else "no"
    yield Finding(SCOPES.id, "as believed" if granted else "differs", "yes", observed)


def _doctors(session: Session) -> Iterator[Finding]:
    resource = session.catalog.resource("doctors")
    answer = session.ask_list(resource, {"page_size": 250})
    believed = "each names one, as an IANA name"
    if not answer.works or not answer.records:
        yield Finding(ZONES.id, "unknown", believed, no_answer(answer) if not answer.works else "none came", "doctors")
        return
    texts = [each.get("timezone") for each in answer.records]
    valid = {each for each in texts if session.is_zone(each)}
    session.keep_zones(sorted(str(each) for each in valid))
    without = sum(not session.is_zone(each) for each in texts)
    observed = f"{counted(len(texts), 'doctor')} in {counted(len(valid), 'zone')}" + (
        f"; {without} name none" if without else ""
    )
    yield Finding(ZONES.id, "differs" if without else "as believed", believed, observed, "doctors")


def _single_answers(session: Session) -> Iterator[Finding]:
    resource = session.catalog.resource("patients")
    future = (session.wall_clock() + timedelta(days=30)).isoformat()
    yield _empty(resource, session.ask_list(resource, {"since": future, "page_size": 1}))
    yield _unknown_filter(resource, session.ask_list(resource, {"no_such_filter": "1", "page_size": 1}))
    yield _zoned(resource, session.ask_list(resource, {"since": f"{future}Z", "page_size": 1}))
    missing = session.ask("/api/patients/0")
    result: Result = "as believed" if missing.status == 404 else "differs" if missing.status else "unknown"
    yield Finding(MISSING.id, result, "404", str(missing.status or no_answer(missing)), resource.name)


def _empty(resource: Resource, answer: Answer) -> Finding:
    believed = "200 with an empty page"
    if not answer.works:
        result: Result = "differs" if answer.status in (204, 400, 404) else "unknown"
        return Finding(EMPTY.id, result, believed, no_answer(answer), resource.name)
    if answer.records:
        return Finding(EMPTY.id, "differs", believed, "records that changed in the future", resource.name)
    if answer.envelope == "no list":
        return Finding(EMPTY.id, "differs", believed, f"{answer.status} without a list", resource.name)
    return Finding(EMPTY.id, "as believed", believed, f"{answer.status} with an empty page", resource.name)


def _unknown_filter(resource: Resource, answer: Answer) -> Finding:
    believed = "it is passed over in silence"
    if answer.status == 400:
        return Finding(UNKNOWN_FILTER.id, "differs", believed, "it is refused (400)", resource.name)
    if not answer.works or not answer.records:
        why = no_answer(answer) if not answer.works else "no records came, with or without it"
        return Finding(UNKNOWN_FILTER.id, "unknown", believed, why, resource.name)
    return Finding(UNKNOWN_FILTER.id, "as believed", believed, "records come", resource.name)


def _zoned(resource: Resource, answer: Answer) -> Finding:
    believed = "it is refused or misread, so that none is sent"
    if answer.status == 400:
        return Finding(ZONED_SINCE.id, "as believed", believed, "it is refused (400)", resource.name)
    if not answer.works:
        return Finding(ZONED_SINCE.id, "unknown", believed, no_answer(answer), resource.name)
    if answer.records:
        return Finding(ZONED_SINCE.id, "as believed", believed, "it is passed over", resource.name)
    return Finding(ZONED_SINCE.id, "differs", believed, "it is taken", resource.name)


def _unfiltered(session: Session) -> Iterator[Finding]:
    for name in UNFILTERED:
        resource = session.catalog.resource(name)
        yield _without_filter(resource, session.ask_list(resource, {"page_size": 1}))


def _without_filter(resource: Resource, answer: Answer) -> Finding:
    demanded = resource.requires_one_of
    believed = f"it needs one of {', '.join(demanded)}" if demanded else "it does, though it is said to refuse at times"
    if answer.status == 400:
        filters = [each.name for each in list_of(resource).filters]
        said = [name for name in filters if any(name in _words(each) for each in answer.reasons)]
        observed = f"it is refused (400), and {named(said)} named" if said else "it is refused (400)"
        if demanded:
            return Finding(WITHOUT_FILTER.id, "as believed", believed, observed, resource.name)
        needed = said or [name for name in resource.may_require_one_of if name in filters]
        facts = {resource.name: {"requires_one_of": needed}}
        return Finding(WITHOUT_FILTER.id, "differs", believed, observed, resource.name, facts)
    if not answer.works:
        return Finding(WITHOUT_FILTER.id, "unknown", believed, no_answer(answer), resource.name)
    if demanded:
        facts = {resource.name: {"requires_one_of": []}} if answer.records else {}
        result: Result = "differs" if answer.records else "unknown"
        observed = "records come" if answer.records else "an empty list, which may mean that it is refused"
        return Finding(WITHOUT_FILTER.id, result, believed, observed, resource.name, facts)
    return Finding(WITHOUT_FILTER.id, "as believed", believed, "it answers", resource.name)


def _audit_log(session: Session) -> Iterator[Finding]:
    resource = session.catalog.resource("audit_log")
    since = session.wall_clock(before=timedelta(days=14)).isoformat()
    believed = "yes, by type and action"
    plain = session.ask_list(resource, {"since": since, "page_size": 50})
    chosen = session.ask_list(resource, {"since": since, "page_size": 50, "type": "Appointment", "action": "Delete"})
    if not plain.works or not chosen.works:
        bad = plain if not plain.works else chosen
        result: Result = "differs" if bad.status == 400 else "unknown"
        yield Finding(FEED.id, result, believed, no_answer(bad), resource.name)
        return
    if not plain.records:
        yield Finding(FEED.id, "unknown", believed, "it has no rows, or this user may not see them", resource.name)
        return
    others = sum(str(each.get("action")).lower() != "delete" for each in chosen.records)
    if others:
        observed = f"{others} of {counted(len(chosen.records), 'row')} are no deletions: the filter is passed over"
        yield Finding(FEED.id, "differs", believed, observed, resource.name)
        return
    told = [name for name in ("patient", "appointment", "object_id") if any(each.get(name) for each in chosen.records)]
    observed = f"{counted(len(chosen.records), 'deletion')} of visits among the newest rows"
    observed += f", which name {named(told)}" if told else ""
    yield Finding(FEED.id, "as believed" if chosen.records else "unknown", believed, observed, resource.name)


def _missing_scope(session: Session) -> Iterator[Finding]:
    believed = "403, or an empty list with 200"
    operation = _not_granted(session.catalog, session.granted)
    if operation is None:
        yield Finding(LACKING.id, "unknown", believed, "every scope is granted, or DrChrono does not say which are")
        return
    answer = session.ask(operation.path, {"page_size": 1})
    if answer.status == 403:
        yield Finding(LACKING.id, "as believed", believed, "403", operation.resource)
    elif answer.works and not answer.records:
        yield Finding(LACKING.id, "as believed", believed, "an empty list with 200", operation.resource)
    elif answer.works:
        yield Finding(LACKING.id, "differs", believed, "records come", operation.resource)
    else:
        yield Finding(LACKING.id, "unknown", believed, no_answer(answer), operation.resource)


def _not_granted(catalog: Catalog, granted: tuple[str, ...]) -> Operation | None:
    """Return a list that needs a scope which the token lacks, and no filter."""
    for resource in catalog.resources.values() if granted else ():
        operation = resource.list_operation
        if operation is None or resource.requires_one_of or any(each.required for each in operation.parameters):
            continue
        if operation.takes("page_size") and not operation.permitted_by(granted):
            return operation
    return None


def _spellings(session: Session) -> Iterator[Finding]:
    names = named(session.rate_headers)
    yield Finding(HEADERS.id, "differs" if names else "as believed", "no", names or "no such header came")
    yield _server_clock(session)
    times = session.tally.kinds("time")
    odd = {kind: count for kind, count in times.items() if kind not in WITHOUT_ZONE}
    where = named_fields(session.tally.fields("time", next(iter(odd)))) if odd else ""
    observed = _counts(times) + (f" ({where})" if where else "")
    yield Finding(TIMES.id, _judged(times, odd), "ISO 8601 without a zone, in several spellings", observed)
    amounts = session.tally.kinds("amount")
    odd = {kind: count for kind, count in amounts.items() if kind != "text with two places"}
    yield Finding(AMOUNTS.id, _judged(amounts, odd), "text with two places", _counts(amounts))
    misfits = session.tally.fields("misfit")
    yield Finding(MISFITS.id, "differs" if misfits else "as believed", "yes", named_fields(misfits) or "all that came")
    unknown = session.tally.fields("unknown")
    yield Finding(NEW_FIELDS.id, "differs" if unknown else "as believed", "no", named_fields(unknown) or "none came")


def _server_clock(session: Session) -> Finding:
    believed = "yes, within a minute"
    if session.client.server_time is None:
        return Finding(SERVER_CLOCK.id, "unknown", believed, "no answer came in this run")
    skew = abs(datetime.now(UTC) - session.client.server_time)
    observed = f"{counted(round(skew.total_seconds()), 'second')} apart"
    return Finding(SERVER_CLOCK.id, "as believed" if skew <= SMALL_SKEW else "differs", believed, observed)


def named_fields(fields: list[str], most: int = 12) -> str:
    """Return ``Record.field`` for a report."""
    return ", ".join(fields[:most]) + (f" and {len(fields) - most} more" if len(fields) > most else "")


def _judged(all_kinds: object, odd: object) -> Result:
    return "differs" if odd else "as believed" if all_kinds else "unknown"


def _counts(kinds: dict[str, int]) -> str:
    return ", ".join(f"{kind}: {count}" for kind, count in sorted(kinds.items())) or "none came"


def _words(text: str) -> set[str]:
    return {each.strip(".,:;!?'\"()`") for each in text.split()}
