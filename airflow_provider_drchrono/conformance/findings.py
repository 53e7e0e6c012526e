"""What was found, and the report of it: words of our own, counts, and names of fields; no value of any record."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Result = Literal["as believed", "differs", "unknown"]
RESULTS: tuple[Result, ...] = ("differs", "as believed", "unknown")

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
"""What a field, a filter or a header may be called, to be named in a report."""


@dataclass(frozen=True, slots=True)
class Question:
    """Something that the catalogue holds to be true, and nobody could ask about.

    :param id: how it is named in reports and on the page about them.
    :param text: the question.
    :param basis: why the answer is not certain.
    """

    id: str
    text: str
    basis: Literal["inferred", "disputed", "documented", "observed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to a question.

    :param question: its id.
    :param subject: the list that it is about; empty where it is about all.
    :param believed: what the catalogue says.
    :param observed: what came, in words of our own.
    :param facts: the facts to hand to a connection, by resource.
    """

    question: str
    result: Result
    believed: str
    observed: str
    subject: str = ""
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Finding:
        """Return a finding from JSON."""
        return cls(**{name: raw[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found.

    :param provider_version: of this provider.
    :param api_version: that was asked for.
    :param at_vendor: whether it was the vendor's own host that answered.
    :param calls: how many calls it took.
    :param complete: whether every question was asked.
    """

    provider_version: str
    api_version: str
    at_vendor: bool
    calls: int
    complete: bool
    findings: Sequence[Finding]

    @property
    def facts(self) -> dict[str, dict[str, Any]]:
        """The facts to hand to a connection, by resource."""
        merged: dict[str, dict[str, Any]] = {}
        for finding in self.findings:
            for resource, facts in finding.facts.items():
                merged.setdefault(resource, {}).update(facts)
        return dict(sorted(merged.items()))

    def in_json(self) -> dict[str, Any]:
        """Return the report for programs."""
        return {
            "provider_version": self.provider_version,
            "api_version": self.api_version,
            "at_vendor": self.at_vendor,
            "calls": self.calls,
            "complete": self.complete,
            "findings": [asdict(each) for each in self.findings],
            "facts": self.facts,
        }

    def in_markdown(self, questions: Mapping[str, Question]) -> str:
        """Return the report for people.

        :param questions: by id.
        """
        return "\n".join(self._lines(questions)) + "\n"

    def _lines(self, questions: Mapping[str, Question]) -> Iterable[str]:
        yield "# Conformance report"
        yield ""
        whom = "DrChrono's own host" if self.at_vendor else "a host that is not DrChrono's"
        rest = "" if self.complete else " It is not complete: run the command again to go on."
        yield (
            f"airflow-provider-drchrono {self.provider_version} asked {whom} (API {self.api_version}) with "
            f"{self.calls} calls that only read.{rest} No value of any record is in this report."
        )
        yield ""
        for result in RESULTS:
            found = [each for each in self.findings if each.result == result]
            yield f"## {result.capitalize()}: {len(found)}"
            yield ""
            if found:
                yield "| question | list | believed | basis | observed |"
                yield "| --- | --- | --- | --- | --- |"
            for each in found:
                question = questions[each.question]
                cells = (question.text, each.subject, each.believed, question.basis, each.observed)
                yield f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
            if found:
                yield ""
        yield "## Facts for the connection"
        yield ""
        if not self.facts:
            yield "Nothing has to be handed to the connection."
            return
        yield "Put this into the extra of the connection, and it counts in place of the catalogue:"
        yield ""
        yield "```json"
        yield from _json_lines({"facts": self.facts})
        yield "```"


def named(names: Iterable[object], most: int = 12) -> str:
    """Return names of fields for a report, and nothing that does not look like one."""
    plain = sorted({str(each) for each in names if NAME.fullmatch(str(each))})
    return ", ".join(plain[:most]) + (f" and {len(plain) - most} more" if len(plain) > most else "")


def counted(number: int, noun: str) -> str:
    """Return ``1 record`` or ``2 records``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _json_lines(value: Any) -> Iterable[str]:
    import json

    yield from json.dumps(value, indent=2).splitlines()
