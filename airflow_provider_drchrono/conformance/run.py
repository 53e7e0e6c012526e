"""Runs all steps in their order, and makes the report of what they found."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_drchrono import __version__
from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.client.settings import ClientSettings
from airflow_provider_drchrono.client.tokens import TokenStore
from airflow_provider_drchrono.conformance import answer_questions, bulk_questions, change_questions, page_questions
from airflow_provider_drchrono.conformance.findings import Finding, Question, Report
from airflow_provider_drchrono.conformance.session import BudgetSpentError, Session
from airflow_provider_drchrono.conformance.state_file import RunState, identity_of, load_state, save_state
from airflow_provider_drchrono.conformance.step import Step
from airflow_provider_drchrono.conformance.tally import Tally

Progress = Callable[[Step, int], None]


def all_steps() -> tuple[Step, ...]:
    """Return the steps in the order in which they are asked."""
    return (
        *answer_questions.first_steps(),
        *page_questions.steps(),
        *change_questions.steps(),
        *bulk_questions.steps(),
        *answer_questions.last_steps(),
    )


def all_questions() -> dict[str, Question]:
    """Return the questions by id, each once."""
    return {question.id: question for step in all_steps() for question in step.questions}


def run(
    settings: ClientSettings,
    *,
    token_store: TokenStore,
    quota: Any,
    state_path: Path,
    progress: Progress = lambda step, calls: None,
    sleep: Callable[[float], None] | None = None,
) -> Report:
    """Ask everything that has not been asked yet, and return the report.

    What was found is stored after each step, so that a run which is interrupted goes on there.

    :param state_path: the file with the state of the run.
    :param progress: called before each step, with the calls made so far.
    :param sleep: lets seconds pass; ``time.sleep`` if left out.
    :raises DrChronoError: the service cannot be asked now; what was found is kept.
    """
    state = load_state(state_path, identity_of(settings))
    session = Session(
        settings,
        load(),
        token_store=token_store,
        quota=quota,
        tally=Tally(state.tally),
        headers=state.headers,
        sleep=sleep or time.sleep,
        spent=state.calls,
    )
    try:
        for step in all_steps():
            if step.id not in state.findings:
                progress(step, session.calls)
                found = _asked(session, step)
                if step.most_calls:
                    state.findings[step.id] = found
                else:
                    # What is only looked at is looked at again, when more has come.
                    return _report(settings, state, session.calls, last=found)
            _keep(state_path, state, session)
    except BaseException:
        _keep(state_path, state, session)
        raise
    finally:
        session.close()
    return _report(settings, state, session.calls)


def _asked(session: Session, step: Step) -> list[Finding]:
    try:
        return list(step.ask(session))
    except BudgetSpentError:
        return [
            Finding(question.id, "unknown", "", "not asked: the calls of this run were used up")
            for question in step.questions
        ]


def _keep(path: Path, state: RunState, session: Session) -> None:
    state.tally, state.headers, state.calls = session.tally.stored(), sorted(session.rate_headers), session.calls
    save_state(path, state)


def _report(settings: ClientSettings, state: RunState, calls: int, last: list[Finding] | None = None) -> Report:
    host = urlsplit(settings.base_url).hostname or ""
    findings = [finding for step in all_steps() for finding in state.findings.get(step.id, ())]
    return Report(
        provider_version=__version__,
        api_version=settings.api_version,
        at_vendor=host == page_questions.VENDOR_DOMAIN or host.endswith(f".{page_questions.VENDOR_DOMAIN}"),
        calls=calls,
        complete=last is not None,
        findings=findings + (last or []),
    )
