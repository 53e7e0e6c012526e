"""Tells which of the API's reasons are rules, so that they can be shown: they name parameters and say what is needed.

A reason may repeat what was sent, or what a record holds, and both may be patient data. One that is made of nothing but
names of parameters and the words below cannot.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

DEMANDS = frozenset(
    {
        "mandatory", "missing", "must", "need", "needed", "needs", "provide", "provided", "required",
        "requires", "specified", "specify", "supplied", "supply",
    }
)  # fmt: skip
"""One of these makes a rule of a reason."""

WORDS = DEMANDS | frozenset(
    {
        "a", "all", "also", "and", "api", "are", "argument", "arguments", "as", "at", "be", "both", "but", "by",
        "call", "calls", "cannot", "dates", "each", "either", "endpoint", "exactly", "field", "fields",
        "filter", "filters", "following", "for", "from", "given", "has", "have", "if", "in", "is", "it",
        "least", "list", "more", "neither", "nor", "not", "of", "on", "one", "only", "or", "other", "param",
        "parameter", "parameters", "params", "please", "query", "querystring", "range", "request", "requests",
        "same", "should", "since", "than", "that", "the", "then", "these", "this", "those", "to", "together",
        "two", "used", "using", "value", "values", "when", "where", "with", "without", "you",
    }
)  # fmt: skip
"""Words that are nobody's name, as far as a rule needs them. Numbers are none of them."""

NAMES = frozenset(
    {
        "appointment", "archived", "created_at", "cursor", "date", "date_range", "doctor", "end_date",
        "occurred_since", "office", "order", "page", "page_size", "patient", "practice_group", "received_since",
        "since", "start_date", "status", "updated_since", "user", "verbose",
    }
)  # fmt: skip
"""Names of parameters that rules speak of, beside those of the operation."""

GIVE_FILTER = "give it in filters, or in extra_filters where the provider does not know it"
"""What to do about a rule of a list."""

OF_NO_FIELD = ("detail", "non_field_errors", "__all__", "error", "message")
"""What reasons stand under that are about the request as a whole."""

FIELD_NAME = re.compile(r"[A-Za-z0-9_.]{1,80}")
LONGEST = 300
_MARKS = ".,:;!?'\"`()[]*"


def shown_rule(text: str, names: Collection[str]) -> str | None:
    """Return a reason of the API in one line if it is a rule; None if it may hold data.

    :param names: names of parameters and fields that the operation has.
    """
    if len(text) > LONGEST:
        return None
    words = [each.strip(_MARKS) for each in re.split(r"[\s/]+", text.strip())]
    known = {*names, *NAMES}
    plain = [each for each in words if each]
    # A capital letter elsewhere than at the start would be that of a name.
    lowered = [each.lower() if index == 0 else each for index, each in enumerate(plain)]
    if not all(each in known or word in WORDS for each, word in zip(plain, lowered, strict=True)):
        return None
    if not any(each.lower() in DEMANDS for each in plain):
        return None
    return one_line(text)


def one_line(text: str) -> str:
    """Return a reason as it is shown, if it may be."""
    return " ".join(text.split()).rstrip(".")


def shown_rules(field_errors: Mapping[str, Sequence[str]], names: Collection[str]) -> list[str]:
    """Return the rules among the reasons of a 400, those of a field with its name before them.

    :param field_errors: the reasons by field, as :class:`~airflow_provider_drchrono.client.errors.BadRequestError` has
        them.
    :param names: as for :func:`shown_rule`.
    """
    rules: dict[str, None] = {}
    for field, texts in field_errors.items():
        for text in texts:
            rule = shown_rule(text, names)
            if rule is not None and field in OF_NO_FIELD:
                rules[rule] = None
            elif rule is not None and FIELD_NAME.fullmatch(field):
                rules[f"{field}: {rule}"] = None
    return list(rules)
