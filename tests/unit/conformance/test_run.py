"""A whole run: what it costs, what it sends, what it says of the practice, and how it goes on after an interruption."""

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.client import (
    ClientSettings,
    DrChronoClient,
    MemoryTokenStore,
    RateLimitedError,
    TokenStore,
)
from airflow_provider_drchrono.conformance import session as session_module
from airflow_provider_drchrono.conformance.findings import Report
from airflow_provider_drchrono.conformance.run import all_questions, all_steps, run
from airflow_provider_drchrono.conformance.session import MOST_CALLS
from airflow_provider_drchrono.conformance.state_file import StateFileError, identity_of, load_state
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from airflow_provider_drchrono.sandbox.wire import Request, Response
from tests.support.answering import Handle, answering
from tests.unit.conformance.conftest import settings_of


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "state.json"


@pytest.fixture(autouse=True)
def forgotten(sandbox: Sandbox) -> Iterator[None]:
    sandbox.journal.clear()
    yield
    sandbox.faults.clear()


def ran(
    sandbox: Sandbox, state: Path, settings: ClientSettings | None = None, store: TokenStore | None = None
) -> Report:
    return run(
        settings or settings_of(sandbox),
        token_store=store or MemoryTokenStore(),
        quota=None,
        state_path=state,
        sleep=lambda seconds: None,
    )


@pytest.mark.parametrize("kind", ["sandbox", "untidy"])
def test_a_run_takes_fewer_than_sixty_calls_and_asks_everything(
    kind: str, state: Path, request: pytest.FixtureRequest
) -> None:
    sandbox: Sandbox = request.getfixturevalue(kind)
    report = ran(sandbox, state)

    calls = [each for each in sandbox.journal.calls() if each.operation_id != "oauth_token"]
    assert len(calls) == report.calls < 60
    assert sum(each.most_calls for each in all_steps()) <= MOST_CALLS < 60
    assert report.complete
    assert {each.question for each in report.findings} == set(all_questions())


def test_a_run_only_reads(sandbox: Sandbox, state: Path) -> None:
    resources = ("patients", "appointments", "line_items", "audit_log")
    before = {each: sandbox.practice.records(each) for each in resources}

    ran(sandbox, state)

    sent = [each for each in sandbox.journal.calls() if each.operation_id != "oauth_token"]
    starts = {each.bulk.start for each in load().resources.values() if each.bulk}
    assert {each.method for each in sent if each.operation_id not in starts} == {"GET"}
    assert {each: sandbox.practice.records(each) for each in resources} == before


def values_of(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for each in value.values():
            yield from values_of(each)
    elif isinstance(value, list):
        for each in value:
            yield from values_of(each)
    elif value is not None and not isinstance(value, bool):
        yield value


@pytest.mark.parametrize("kind", ["sandbox", "untidy"])
def test_no_report_and_no_state_holds_a_value_of_a_record(
    kind: str, state: Path, request: pytest.FixtureRequest
) -> None:
    sandbox: Sandbox = request.getfixturevalue(kind)
    seen: list[bytes] = []

    def remember(handle: Handle, request: Request) -> Response:
        response = handle(request)
        if request.path.startswith("/api/"):
            seen.append(response.body)
        return response

    with answering(sandbox, remember):
        report = ran(sandbox, state)
    texts = {
        "markdown": report.in_markdown(all_questions()),
        "json": json.dumps(report.in_json()),
        "state": state.read_text(),
    }

    values = {each for body in seen if body for each in values_of(json.loads(body))}
    assert len(values) > 1000
    # Words of the API's own, such as the state of a bulk list, and of JSON are no data.
    known = {"In progress", "Complete", "true", "false", *load().resources, *load().records}
    known |= {name for each in load().records.values() for name in each.fields}
    spoken = {each for each in values if isinstance(each, str) and len(each) > 3 and each not in known}
    ids = {str(each) for each in values if isinstance(each, int) and each > 100_000}
    assert len(spoken) > 500
    assert ids
    for name, text in texts.items():
        words = {each for each in spoken if re.search(rf"(?<![\w]){re.escape(each)}(?![\w])", text)}
        assert not words, name
        assert not {each for each in ids if each in re.findall(r"\d+", text)}, name
        assert not re.search(r"\d{4}-\d\d-\d\d(?!_123)", text), f"{name} holds a date"


def test_the_state_is_for_its_owner_only(sandbox: Sandbox, state: Path) -> None:
    ran(sandbox, state)

    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert [each.name for each in state.parent.iterdir()] == [state.name]


def test_an_interrupted_run_goes_on_where_it_was(sandbox: Sandbox, state: Path) -> None:
    settings, store = settings_of(sandbox), MemoryTokenStore()
    sandbox.faults.add(Fault(kind="throttle", operation="patients_list", skip=4, seconds=1800))

    with pytest.raises(RateLimitedError):
        ran(sandbox, state, settings, store)
    done = set(load_state(state, identity_of(settings)).findings)
    first = len([each for each in sandbox.journal.calls() if each.operation_id != "oauth_token"])
    sandbox.journal.clear()
    report = ran(sandbox, state, settings, store)

    assert done == {"current user", "doctors", "single answers", "lists without a filter", "audit log", "missing scope"}
    assert report.complete
    assert report.calls < 60
    again = [each for each in sandbox.journal.calls() if each.operation_id != "oauth_token"]
    assert report.calls == first + len(again)
    assert not [each for each in again if each.operation_id in ("audit_log_list", "users_read")]
    whole = ran(sandbox, state.with_name("other.json"))
    assert [each.question for each in report.findings] == [each.question for each in whole.findings]


def test_a_finished_run_is_only_printed_again(sandbox: Sandbox, state: Path) -> None:
    settings, store = settings_of(sandbox), MemoryTokenStore()
    first = ran(sandbox, state, settings, store)
    sandbox.journal.clear()

    again = ran(sandbox, state, settings, store)

    assert sandbox.journal.calls() == []
    assert again.calls == first.calls
    assert [each for each in again.findings if each.question != "server-clock"] == [
        each for each in first.findings if each.question != "server-clock"
    ]


def test_another_application_begins_anew(sandbox: Sandbox, state: Path) -> None:
    settings = settings_of(sandbox)
    ran(sandbox, state, settings)

    assert load_state(state, identity_of(settings)).findings
    assert not load_state(state, identity_of(settings.model_copy(update={"client_id": "another"}))).findings


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": 1, "identity": "x", "findings": 3}'])
def test_a_state_that_cannot_be_read_says_what_to_do(text: str, state: Path) -> None:
    state.parent.mkdir()
    state.write_text(text)

    with pytest.raises(StateFileError, match="--fresh"):
        load_state(state, "x")


def test_no_more_calls_are_made_than_a_run_may(sandbox: Sandbox, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "MOST_CALLS", 10)

    report = ran(sandbox, state)

    assert report.calls == 10 == len([each for each in sandbox.journal.calls() if each.operation_id != "oauth_token"])
    assert {each.question for each in report.findings} == set(all_questions())
    assert any(each.observed.startswith("not asked") for each in report.findings)


def test_a_failing_answer_is_a_finding_and_no_end(sandbox: Sandbox, state: Path) -> None:
    for kind in ("status", "html", "truncated"):
        sandbox.faults.add(Fault(kind=kind, operation="appointments_list", skip=1))  # type: ignore[arg-type]

    report = ran(sandbox, state)

    assert report.complete
    assert "the API answered 500" in {each.observed for each in report.findings}
    assert "no answer that can be read" in {each.observed for each in report.findings}


def test_the_facts_of_a_report_change_what_the_client_asks(sandbox: Sandbox, state: Path) -> None:
    store = MemoryTokenStore()
    settings = settings_of(sandbox)
    with answering(sandbox, _capped):
        report = ran(sandbox, state, settings, store)
    assert report.facts["patients"]["page_size"] == 100
    sandbox.journal.clear()

    told = settings.model_copy(update={"facts": ClientSettings(**told_by(settings, report)).facts})
    with DrChronoClient(told, token_store=store) as drchrono:
        next(drchrono.pages("patients"))

    assert sandbox.journal.calls(resource="patients")[0].query["page_size"] == "100"


def told_by(settings: ClientSettings, report: Report) -> dict[str, Any]:
    return {
        "client_id": settings.client_id,
        "client_secret": settings.client_secret.get_secret_value(),
        "base_url": settings.base_url,
        "facts": report.facts,
    }


def _capped(handle: Handle, request: Request) -> Response:
    from dataclasses import replace

    size = request.argument("page_size")
    if request.path != "/api/patients" or size is None or int(size) <= 100:
        return handle(request)
    query = tuple((name, "100" if name == "page_size" else value) for name, value in request.query)
    return handle(replace(request, query=query))
