"""What a step of a run is: some calls that answer some questions together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from airflow_provider_drchrono.conformance.findings import Finding, Question
from airflow_provider_drchrono.conformance.session import Answer, Session


@dataclass(frozen=True, slots=True)
class Step:
    """A step is asked as a whole: a run that is interrupted in it asks it again.

    :param most_calls: how many calls it takes at most.
    :param ask: makes the calls and yields a finding for each question, and each list that it asks about.
    """

    id: str
    most_calls: int
    questions: tuple[Question, ...]
    ask: Callable[[Session], Iterable[Finding]]


def no_answer(answer: Answer) -> str:
    """Say that a call was not answered as it should be, for the findings that depend on it."""
    return f"the API answered {answer.status}" if answer.status else "no answer that can be read"
