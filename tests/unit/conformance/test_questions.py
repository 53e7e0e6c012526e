"""Each question of a conformance run, with the service answering either way."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.catalog.overrides import checked_facts
from airflow_provider_drchrono.conformance.findings import Finding
from airflow_provider_drchrono.conformance.run import all_questions, all_steps
from airflow_provider_drchrono.conformance.session import Session
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.sandbox.wire import Request, Response, encode
from tests.support.answering import Answering, Handle, answering, asking, editing, refusing, rows_of

PATIENTS, APPOINTMENTS, USER = "/api/patients", "/api/appointments", "/api/users/current"
RULE = {"detail": "Either since or doctor parameter must be specified"}


@dataclass(frozen=True)
class Case:
    """A way of answering, and what is found then.

    :param observed: a part of the words.
    """

    step: str
    question: str
    result: str
    observed: str
    ways: tuple[Answering, ...] = ()
    subject: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    scopes: tuple[str, ...] = ()


def each_row(change: Callable[[dict[str, Any]], None]) -> Callable[[Any, Request], None]:
    def edit(value: Any, request: Request) -> None:
        for each in rows_of(value):
            change(each)

    return edit


def setting(name: str, value: Any) -> Callable[[Any, Request], None]:
    return each_row(lambda row: row.update({name: value}))


def capped(size: int) -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda query: query | {"page_size": str(min(size, int(query.get("page_size", size))))}


def without(name: str) -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda query: {key: value for key, value in query.items() if key != name}


def renamed(key: str) -> Callable[[Any, Request], Any]:
    return lambda value, request: {key if name in ("data", "results") else name: each for name, each in value.items()}


def linked(change: Callable[[str], str]) -> Callable[[Any, Request], None]:
    def edit(value: Any, request: Request) -> None:
        value["next"] = value["next"] and change(value["next"])

    return edit


def all_at_once(handle: Handle, request: Request) -> Response:
    """Serve as many records as are asked for, though it is more than the contract allows."""
    if request.path != PATIENTS or request.argument("page_size") != "1000":
        return handle(request)
    first = handle(request)
    import json

    value = json.loads(first.body)
    value["data"] = (value["data"] * 2)[:300]
    value["next"] = None
    first.body = encode(value)
    return first


def at_once(handle: Handle, request: Request) -> Response:
    """Answer the current user without a redirect."""
    response = handle(request)
    if request.path != USER:
        return response
    return handle(replace(request, path="/" + response.headers["location"].split("/", 3)[3]))


def clock_of(path: str, name: str, ahead: timedelta) -> tuple[Answering, ...]:
    """Let a list keep its change times by a clock that is ahead of the practice's."""

    def shown(row: dict[str, Any]) -> None:
        row[name] = (datetime.fromisoformat(row[name]) + ahead).isoformat()

    def asked(query: dict[str, str]) -> dict[str, str]:
        since = query.get("since")
        return query | ({"since": (datetime.fromisoformat(since) - ahead).isoformat()} if since else {})

    return (editing(path, each_row(shown)), asking(path, asked))


def exclusive(value: Any, request: Request) -> None:
    since = request.argument("since")
    rows_of(value)[:] = [each for each in rows_of(value) if each["updated_at"] != since]


def feature(name: str, value: str) -> Answering:
    def answer(handle: Handle, request: Request) -> Response:
        response = handle(request)
        response.headers[name] = value
        return response

    return answer


def status_called(word: str) -> Callable[[Any, Request], None]:
    def edit(value: Any, request: Request) -> None:
        if value.get("status") == "In progress":
            value["status"] = word

    return edit


def never_made(value: Any, request: Request) -> Any:
    return {"status": "In progress", "uuid": request.argument("uuid")}


def deleted_row(value: Any, request: Request) -> None:
    if request.argument("show_archived"):
        rows_of(value)[0]["deleted_flag"] = True


def first_rows(number: int) -> Callable[[Any, Request], None]:
    def edit(value: Any, request: Request) -> None:
        del rows_of(value)[number:]

    return edit


def second_page_of(number: int) -> Answering:
    def edit(value: Any, request: Request) -> None:
        if request.argument("cursor"):
            del rows_of(value)[number:]
            value["next"] = f"{request.origin}{request.path}?cursor=more"

    return editing(PATIENTS, edit)


def reversed_rows(value: Any, request: Request) -> None:
    rows_of(value).reverse()


def shuffled(value: Any, request: Request) -> None:
    rows = rows_of(value)
    rows[:] = rows[1::2] + rows[::2]


def only_deletions(value: Any, request: Request) -> None:
    row = {"action": "Delete", "type": "Appointment", "appointment": "1", "patient": 1}
    rows_of(value)[:] = [row] if request.argument("action") else [row, {"action": "Create"}]


def passed_over(value: Any, request: Request) -> None:
    rows_of(value)[:] = [{"action": "Create"}, {"action": "Delete"}]


def no_rows(value: Any, request: Request) -> None:
    rows_of(value).clear()


def answered(status: int, body: Any) -> Callable[[str], Answering]:
    return lambda path: refusing(path, status, body)


USERS, PAGES, VISITS, SINGLE = "current user", "pages of patients", "pages of appointments", "single answers"
UNFILTERED, BULK, OF_PATIENTS = "lists without a filter", "bulk list of patients", "changes of patients"
SHORT_RANGE = asking(
    APPOINTMENTS, lambda query: query | ({"date_range": "2025-10-01/2026-03-03"} if "date_range" in query else {})
)

CASES = (
    Case(USERS, "redirect-of-current-user", "as believed", "302, to our own origin"),
    Case(USERS, "redirect-of-current-user", "differs", "200 at once", (at_once,)),
    Case(USERS, "practice-group", "as believed", "yes"),
    Case(
        USERS,
        "practice-group",
        "differs",
        "no",
        (editing("/api/users/*", lambda value, _: value | {"practice_group": None}),),
    ),
    Case(USERS, "scopes-named", "as believed", "2 scopes", scopes=("user:read", "patients:read")),
    Case(
        USERS,
        "scopes-named",
        "differs",
        "no",
        (editing("/o/token/", lambda value, _: value | {"scope": ""}, method="POST"),),
    ),
    Case("doctors", "doctor-zones", "as believed", "in 1 zone"),
    Case(
        "doctors", "doctor-zones", "differs", "3 name none", (editing("/api/doctors", setting("timezone", "nowhere")),)
    ),
    Case(SINGLE, "empty-list", "as believed", "200 with an empty page"),
    Case(SINGLE, "empty-list", "differs", "answered 404", (refusing(PATIENTS, 404),)),
    Case(
        SINGLE, "empty-list", "differs", "without a list", (editing(PATIENTS, lambda value, _: {"detail": "nothing"}),)
    ),
    Case(SINGLE, "empty-list", "differs", "changed in the future", (asking(PATIENTS, without("since")),)),
    Case(SINGLE, "unknown-filter", "as believed", "records come"),
    Case(
        SINGLE,
        "unknown-filter",
        "differs",
        "refused (400)",
        (refusing(PATIENTS, 400, {"no_such_filter": ["Unknown."]}, without="since"),),
    ),
    Case(SINGLE, "unknown-filter", "unknown", "no records came", (editing(PATIENTS, no_rows),)),
    Case(SINGLE, "since-with-zone", "as believed", "refused (400)"),
    Case(SINGLE, "since-with-zone", "as believed", "passed over", (asking(PATIENTS, without("since")),)),
    Case(
        SINGLE,
        "since-with-zone",
        "differs",
        "it is taken",
        (asking(PATIENTS, lambda query: {key: value.removesuffix("Z") for key, value in query.items()}),),
    ),
    Case(SINGLE, "missing-record", "as believed", "404"),
    Case(SINGLE, "missing-record", "differs", "403", (refusing("/api/patients/0", 403),)),
    Case(UNFILTERED, "unfiltered", "as believed", "it answers", subject="lab_orders"),
    Case(
        UNFILTERED,
        "unfiltered",
        "differs",
        "doctor, since named",
        (refusing("/api/lab_orders", 400, RULE),),
        "lab_orders",
        {"lab_orders": {"requires_one_of": ["since", "doctor"]}},
    ),
    Case(
        UNFILTERED,
        "unfiltered",
        "differs",
        "refused (400)",
        (refusing("/api/lab_results", 400, {"detail": "No."}),),
        "lab_results",
        {"lab_results": {"requires_one_of": ["order", "doctor"]}},
    ),
    Case(UNFILTERED, "unfiltered", "as believed", "since named", subject="appointments"),
    Case(
        UNFILTERED,
        "unfiltered",
        "differs",
        "records come",
        (asking(APPOINTMENTS, lambda query: query | {"since": "2020-01-01"}),),
        "appointments",
        {"appointments": {"requires_one_of": []}},
    ),
    Case(
        UNFILTERED,
        "unfiltered",
        "unknown",
        "an empty list",
        (refusing(APPOINTMENTS, 200, {"data": [], "next": None}),),
        "appointments",
    ),
    Case(
        "audit log",
        "audit-log",
        "as believed",
        "name appointment, patient",
        (editing("/api/audit_log", only_deletions),),
    ),
    Case(
        "audit log", "audit-log", "differs", "1 of 2 rows are no deletions", (editing("/api/audit_log", passed_over),)
    ),
    Case("audit log", "audit-log", "differs", "answered 400", (refusing("/api/audit_log", 400),)),
    Case("audit log", "audit-log", "unknown", "no rows", (editing("/api/audit_log", no_rows),)),
    Case("missing scope", "missing-scope", "unknown", "every scope is granted"),
    Case("missing scope", "missing-scope", "as believed", "403", scopes=("user:read",)),
    Case(
        "missing scope",
        "missing-scope",
        "as believed",
        "empty list with 200",
        (refusing("/api/allergies", 200, {"data": [], "next": None}),),
        scopes=("user:read",),
    ),
    Case(
        "missing scope",
        "missing-scope",
        "differs",
        "records come",
        (refusing("/api/allergies", 200, {"data": [{"id": 1}], "next": None}),),
        scopes=("user:read",),
    ),
    Case(PAGES, "envelope", "as believed", "data"),
    Case(PAGES, "envelope", "differs", "results", (editing(PATIENTS, renamed("results")),)),
    Case(
        PAGES,
        "envelope",
        "differs",
        "items",
        (editing(PATIENTS, renamed("items")),),
        facts={"patients": {"records_key": "items"}},
    ),
    Case(PAGES, "envelope", "differs", "a bare list", (editing(PATIENTS, lambda value, _: rows_of(value)),)),
    Case(
        PAGES,
        "link",
        "as believed",
        "our own origin; the same path; page_size is kept",
        (editing(PATIENTS, linked(str)),),
    ),
    Case(
        PAGES,
        "link",
        "as believed",
        "the host drchrono.com",
        (editing(PATIENTS, linked(lambda link: "https://drchrono.com/" + link.split("/", 3)[3])),),
    ),
    Case(
        PAGES,
        "link",
        "as believed",
        "another host;",
        (editing(PATIENTS, linked(lambda link: "http://practice.example/" + link.split("/", 3)[3])),),
    ),
    Case(
        PAGES,
        "link",
        "as believed",
        "https for http",
        (editing(PATIENTS, linked(lambda link: link.replace("http://", "https://"))),),
    ),
    Case(
        PAGES,
        "link",
        "as believed",
        "another port, or none",
        (editing(PATIENTS, linked(lambda link: "http://127.0.0.1/" + link.split("/", 3)[3])),),
    ),
    Case(
        PAGES,
        "link",
        "differs",
        "another path; page_size is not kept",
        (editing(PATIENTS, linked(lambda link: "/api/people?cursor=1")),),
    ),
    Case(PAGES, "link", "unknown", "no next page", (editing(PATIENTS, linked(lambda link: "")),)),
    Case(PAGES, "page-size", "as believed", "250 records came"),
    Case(
        PAGES,
        "page-size",
        "differs",
        "100 records came",
        (asking(PATIENTS, capped(100)),),
        facts={"patients": {"page_size": 100}},
    ),
    Case(PAGES, "page-size", "unknown", "fit on one page", (editing(PATIENTS, linked(lambda link: "")),)),
    Case(PAGES, "verbose-page-size", "as believed", "50 records came"),
    Case(
        PAGES,
        "verbose-page-size",
        "differs",
        "10 records came",
        (asking(PATIENTS, capped(10)),),
        facts={"patients": {"verbose_page_size": 10}},
    ),
    Case(PAGES, "page-size-beyond", "as believed", "250 records came"),
    Case(
        PAGES, "page-size-beyond", "differs", "300 records came", (all_at_once,), facts={"patients": {"page_size": 300}}
    ),
    Case(PAGES, "page-size-kept", "unknown", "it is the last page"),
    Case(PAGES, "page-size-kept", "differs", "20 after 250", (second_page_of(20),)),
    Case(PAGES, "page-size-kept", "as believed", "100 after 100", (asking(PATIENTS, capped(100)),)),
    Case(PAGES, "pages-overlap", "as believed", "0 records came twice"),
    Case(PAGES, "pages-overlap", "differs", "250 records came twice", (asking(PATIENTS, without("cursor")),)),
    Case(PAGES, "order", "as believed", "smallest first"),
    Case(
        PAGES,
        "order",
        "as believed",
        "largest first",
        (
            asking(PATIENTS, without("cursor")),
            editing(PATIENTS, linked(lambda link: "")),
            editing(PATIENTS, reversed_rows),
        ),
    ),
    Case(PAGES, "order", "differs", "not by id", (editing(PATIENTS, shuffled),)),
    Case(
        PAGES,
        "order",
        "unknown",
        "too few",
        (editing(PATIENTS, first_rows(2)), editing(PATIENTS, linked(lambda link: ""))),
    ),
    Case(PAGES, "verbose-fields", "as believed", "the same"),
    Case(
        PAGES,
        "verbose-fields",
        "differs",
        "not custom_demographics",
        (editing(PATIENTS, each_row(lambda row: row.pop("custom_demographics", None))),),
    ),
    Case(
        VISITS,
        "page-size",
        "differs",
        "15 records came",
        (asking(APPOINTMENTS, capped(15)),),
        facts={"appointments": {"page_size": 15}},
    ),
    Case(
        VISITS,
        "verbose-page-size",
        "differs",
        "15 records came",
        (asking(APPOINTMENTS, capped(15)),),
        facts={"appointments": {"verbose_page_size": 15}},
    ),
    Case(VISITS, "order", "differs", "not by scheduled_time", (editing(APPOINTMENTS, shuffled),)),
    Case(
        VISITS,
        "order",
        "as believed",
        "by scheduled_time",
        (editing(APPOINTMENTS, lambda value, _: rows_of(value).sort(key=lambda row: row["scheduled_time"])),),
    ),
    Case(VISITS, "occurrence-ids", "as believed", "among", (editing(APPOINTMENTS, setting("id", "2026-01-31_7")),)),
    Case(VISITS, "occurrence-ids", "differs", "of another form", (editing(APPOINTMENTS, setting("id", "seven")),)),
    Case(VISITS, "occurrence-ids", "unknown", "none among", (editing(APPOINTMENTS, setting("id", 7)),)),
    Case(
        VISITS,
        "archived",
        "as believed",
        "0 deleted without it, 1 with it",
        (editing(APPOINTMENTS, setting("deleted_flag", False)), editing(APPOINTMENTS, deleted_row))[::-1],
    ),
    Case(VISITS, "archived", "differs", "deleted without it", (editing(APPOINTMENTS, setting("deleted_flag", True)),)),
    Case(VISITS, "archived", "unknown", "0 with it", (editing(APPOINTMENTS, setting("deleted_flag", False)),)),
    Case(VISITS, "long-range", "as believed", "an empty list with 200"),
    Case(VISITS, "long-range", "differs", "records come", (SHORT_RANGE,)),
    Case(VISITS, "long-range", "unknown", "no visits", (editing(APPOINTMENTS, no_rows),)),
    Case(
        "pages of patients_summary",
        "page-size",
        "differs",
        "50 records came",
        (asking("/api/patients_summary", capped(50)),),
        facts={"patients_summary": {"page_size": 50}},
    ),
    Case(OF_PATIENTS, "change-clock", "as believed", "2 minutes old"),
    Case(
        OF_PATIENTS,
        "change-clock",
        "differs",
        "it fits UTC",
        clock_of(PATIENTS, "updated_at", timedelta(hours=5)),
        facts={"patients": {"timezone": "UTC"}},
    ),
    Case(
        OF_PATIENTS,
        "change-clock",
        "unknown",
        "new by America/Los_Angeles",
        clock_of(PATIENTS, "updated_at", timedelta(hours=-3)),
    ),
    Case(
        OF_PATIENTS,
        "change-clock",
        "differs",
        "name their zone",
        (editing(PATIENTS, each_row(lambda row: row.update(updated_at=row["updated_at"] + "Z"))),),
    ),
    Case(OF_PATIENTS, "change-clock", "unknown", "nothing changed", (editing(PATIENTS, no_rows),)),
    Case(
        "changes of appointments",
        "change-clock",
        "differs",
        "it fits UTC",
        clock_of(APPOINTMENTS, "updated_at", timedelta(hours=5)),
        facts={"appointments": {"timezone": "UTC"}},
    ),
    Case("changes of line_items", "change-clock", "as believed", "2 minutes old"),
    Case("changes of lab_orders", "since-compares", "as believed", "nothing older"),
    Case(OF_PATIENTS, "since-inclusive", "as believed", "it comes"),
    Case(OF_PATIENTS, "since-inclusive", "differs", "it does not come", (editing(PATIENTS, exclusive),)),
    Case(OF_PATIENTS, "since-compares", "as believed", "nothing older"),
    Case(
        OF_PATIENTS,
        "since-compares",
        "differs",
        "changed before since",
        (asking(PATIENTS, lambda query: query | {"since": "2026-03-03T13:28:30"}),),
        facts={"patients": {"tracks_updates": False}},
    ),
    Case(OF_PATIENTS, "change-time-moves", "as believed", "have a later time"),
    Case(
        OF_PATIENTS,
        "change-time-moves",
        "unknown",
        "none of",
        (editing(PATIENTS, each_row(lambda row: row.update(created_at=row["updated_at"]))),),
    ),
    Case("lag", "lag", "unknown", "nothing changed meanwhile"),
    Case(BULK, "bulk-page-size", "as believed", "1000 rows"),
    Case(
        BULK,
        "bulk-page-size",
        "differs",
        "50 rows, on 6 pages",
        (asking("/api/patients_list", capped(50)),),
        facts={"patients": {"bulk_page_size": 50}},
    ),
    Case(
        BULK,
        "bulk-page-size",
        "unknown",
        "does not name",
        (editing("/api/patients_list", lambda value, _: value | {"pagination": None}),),
    ),
    Case(BULK, "bulk-page-size", "unknown", "not made within 21 seconds", (editing("/api/patients_list", never_made),)),
    Case(BULK, "bulk-page-size", "unknown", "answered 403", (refusing("/api/patients_list", 403),)),
    Case(BULK, "bulk-states", "as believed", "in progress, complete"),
    Case(
        BULK,
        "bulk-states",
        "differs",
        "another word",
        (editing("/api/patients_list", status_called("Brewing"), method="POST"),),
    ),
    Case(BULK, "bulk-rows", "as believed", "results"),
    Case(
        BULK,
        "bulk-rows",
        "differs",
        "data",
        (
            editing(
                "/api/patients_list",
                lambda value, _: {"data" if key == "results" else key: each for key, each in value.items()},
            ),
        ),
    ),
    Case("bulk list of clinical_note_field_values", "bulk-page-size", "as believed", "20000 rows"),
    Case("bulk list of appointments", "bulk-page-size", "as believed", "1000 rows"),
    Case("bulk ticket", "bulk-expired", "as believed", "400, which says"),
    Case(
        "bulk ticket",
        "bulk-expired",
        "as believed",
        "200, which says",
        (refusing("/api/patients_list", 200, {"detail": "Invalid uuid specified"}),),
    ),
    Case("bulk ticket", "bulk-expired", "differs", "404, which does not say", (refusing("/api/patients_list", 404),)),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.question}: {case.observed}")
def test_each_question_is_answered_by_what_comes(case: Case, sandbox: Sandbox, connect: Callable[..., Session]) -> None:
    with answering(sandbox, *case.ways):
        findings = found(connect(case.scopes), case.step)

    step = next(each for each in all_steps() if each.id == case.step)
    assert {each.question for each in findings} == {each.id for each in step.questions}, "a question has no answer"
    finding = next(each for each in findings if each.question == case.question and case.subject in (None, each.subject))
    assert (finding.result, dict(finding.facts)) == (case.result, case.facts), finding
    assert case.observed in finding.observed
    checked_facts(load(), finding.facts)


def test_every_question_has_cases_with_different_answers() -> None:
    seen: dict[str, set[str]] = {}
    for case in CASES:
        seen.setdefault(case.question, set()).add(f"{case.result}: {case.observed}")
    apart = {"lag", "rate-headers", "server-clock", "time-spelling", "decimals", "types", "unknown-fields"}
    assert {name for name, answers in seen.items() if len(answers) > 1} | apart == set(all_questions())


@pytest.mark.parametrize(
    ("late", "result", "observed", "facts"),
    [
        pytest.param(0, "as believed", "none of 1 change was late", {}, id="at once"),
        pytest.param(60, "as believed", "late, by at least 60 seconds", {}, id="within the lookback"),
        pytest.param(300, "differs", "by at least 300 seconds", {"appointments": {"lookback": 600}}, id="later"),
    ],
)
def test_a_write_that_shows_late_is_noticed(
    late: int, result: str, observed: str, facts: Any, sandbox: Sandbox, connect: Callable[..., Session]
) -> None:
    visit = next(each for each in sandbox.practice.records("appointments") if not each["deleted_flag"])
    before = {"notes": visit["notes"], "updated_at": visit["updated_at"]}

    def change(seconds: float) -> None:
        written = (sandbox.clock.local() - timedelta(seconds=late)).isoformat()
        sandbox.practice.change("appointments", visit["id"], {"notes": "x", "updated_at": written})

    try:
        finding, *_ = found(connect(sleep=change), "lag")
    finally:
        sandbox.practice.change("appointments", visit["id"], before)

    assert (finding.result, dict(finding.facts)) == (result, facts)
    assert observed in finding.observed


SPELLINGS = (
    ("rate-headers", "as believed", "no such header", ()),
    ("rate-headers", "differs", "x-ratelimit-remaining", (feature("x-ratelimit-remaining", "17"),)),
    ("server-clock", "differs", "apart", ()),
    ("time-spelling", "as believed", "T, no zone", ()),
    (
        "time-spelling",
        "differs",
        "Z at the end",
        (editing(PATIENTS, each_row(lambda row: row.update(updated_at="2026-01-01T00:00:00Z"))),),
    ),
    ("decimals", "as believed", "text with two places", ()),
    ("decimals", "differs", "number: ", (editing("/api/line_items", setting("price", 12.5)),)),
    ("types", "as believed", "all that came", ()),
    ("types", "differs", "Patient.doctor (text for integer)", (editing(PATIENTS, setting("doctor", "1")),)),
    ("unknown-fields", "as believed", "none came", ()),
    ("unknown-fields", "differs", "Patient.shoe_size", (editing(PATIENTS, setting("shoe_size", 43)),)),
)


@pytest.mark.parametrize(
    ("question", "result", "observed", "ways"), SPELLINGS, ids=[f"{each[0]}: {each[2]}" for each in SPELLINGS]
)
def test_spellings_are_counted_over_all_answers(
    question: str,
    result: str,
    observed: str,
    ways: tuple[Answering, ...],
    sandbox: Sandbox,
    connect: Callable[..., Session],
) -> None:
    session = connect()
    with answering(sandbox, *ways):
        found(session, PAGES)
        found(session, "changes of line_items")
    findings = found(session, "spellings")

    finding = next(each for each in findings if each.question == question)
    assert finding.result == result
    assert observed in finding.observed


def found(session: Session, step_id: str) -> list[Finding]:
    step = next(each for each in all_steps() if each.id == step_id)
    # The scopes are known from the answer that brought the token.
    session.ask(USER)
    before = session.calls
    findings = list(step.ask(session))
    # The practice's zone is asked for where no step before has done so.
    assert session.calls - before <= step.most_calls + 1
    return findings
