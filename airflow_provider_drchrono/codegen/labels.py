"""Words that only the reference pages use: cells of tables, and which section shows something first."""

from __future__ import annotations

import re

from airflow_provider_drchrono.codegen.plan import DomainPlan, OperatorPlan

SPELLED = {"Flag": "bool | str | XComArg", "Text": "str | XComArg", "Whole": "int | str | XComArg"}


def annotation_label(annotation: str) -> str:
    """Return an annotation for a cell of a table, with our own names for types spelled out."""
    return about_label(re.sub(r"\w+", lambda found: SPELLED.get(found[0], found[0]), annotation))


def about_label(text: str) -> str:
    """Return a line of text for a cell of a table: Markdown instead of reStructuredText, with no bar in it."""
    return text.replace("``", "`").replace("|", "\\|").replace("\n", " ")


def fields_shown_at(operator: OperatorPlan, domain: DomainPlan) -> str:
    """Return the class whose section already lists the same fields of ``data``, or nothing where this is the first."""
    for each in domain.operators:
        if each is operator:
            return ""
        if each.data_fields == operator.data_fields:
            return each.class_name
    raise LookupError(f"{operator.class_name} is not in {domain.name}")


def record_shown_at(operator: OperatorPlan, domain: DomainPlan) -> str:
    """Return the class whose section already shows the same record, or nothing where this is the first."""
    for each in domain.operators:
        if each is operator:
            return ""
        if each.record is operator.record:
            return each.class_name
    raise LookupError(f"{operator.class_name} is not in {domain.name}")
