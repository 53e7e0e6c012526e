"""Finds templates that found nothing: Jinja writes None as a word, which the API would store as text.

Only what was a template is looked at. The word in another task's output, or typed by the author of the DAG, is meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from airflow_provider_drchrono.client.values import rendered

EXPRESSION = re.compile(r"\s*\{\{(?:(?!\}\}).)*\}\}\s*", re.DOTALL)
"""One expression and nothing beside it."""


def rendered_none(given: object, value: object, place: str) -> Iterator[str]:
    """Yield the places at which a template became the word None.

    :param given: an argument before its templates were rendered.
    :param value: the argument after that.
    :param place: what the argument is called, as in ``data``.
    """
    if isinstance(given, str):
        yield from _of_template(given, value, place)
    elif isinstance(given, Mapping) and isinstance(value, Mapping):
        for name, each in given.items():
            if name in value:
                yield from rendered_none(each, value[name], f"{place}[{name!r}]")
    elif _is_list(given) and _is_list(value) and len(given) == len(value):
        for index, (each, result) in enumerate(zip(given, value, strict=True)):
            yield from rendered_none(each, result, f"{place}[{index}]")


def _of_template(template: str, value: object, place: str) -> Iterator[str]:
    if "{{" not in template and "{%" not in template:
        return
    if isinstance(value, str) and value.strip() == "None":
        yield place
    elif isinstance(value, str) and not EXPRESSION.fullmatch(template):
        # A text of a mapping or list, with templates for its values. A whole one is the output of another task.
        yield from _words(rendered(value), place)


def _words(value: object, place: str) -> Iterator[str]:
    if isinstance(value, str) and value.strip() == "None":
        yield place
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _words(each, f"{place}[{name!r}]")
    elif _is_list(value):
        for index, each in enumerate(value):
            yield from _words(each, f"{place}[{index}]")


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
