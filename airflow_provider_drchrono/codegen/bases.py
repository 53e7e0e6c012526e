"""Reads the hand-written base classes as text: which arguments their constructors take, and what each is about.

That is the one place where such an argument is written down. The classes are not imported, so that the generator needs
no Airflow.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
FOLDERS = ("operators/base", "sensors/base")
FUNCTIONS = ("assets/watched.py",)

BASES = {
    "list": "ListOperator",
    "read": "GetOperator",
    "create": "CreateOperator",
    "update": "UpdateOperator",
    "replace": "ReplaceOperator",
    "delete": "DeleteOperator",
    "bulk_start": "BulkListOperator",
    "bulk_result": "BulkResultOperator",
    "report": "ReportOperator",
    "action": "ActionOperator",
}
"""The base class of the operators of each kind of operation."""

CONNECTION = "drchrono_conn_id"


@dataclass(frozen=True, slots=True)
class Option:
    """An argument that a base class takes.

    :param annotation: its type as source text.
    :param default: its default as source text; None where there is none.
    :param about: what its docstring says, in reStructuredText.
    """

    name: str
    annotation: str
    default: str | None
    about: str


@cache
def options_of(name: str) -> tuple[Option, ...]:
    """Return the arguments of a base class: its own first, then those of the classes that it inherits from.

    :raises LookupError: there is no such class, or an argument is about nothing.
    """
    classes = _classes()
    found: dict[str, Option] = {}
    for each in _ancestors(name, classes):
        for option in _of_class(classes[each]):
            if option.name not in found or not found[option.name].about:
                found[option.name] = option
    if silent := [each.name for each in found.values() if not each.about]:
        raise LookupError(f"The docstring of {name} does not say what these are about: {', '.join(silent)}")
    # The connection is an argument of everything, and comes last.
    return tuple(sorted(found.values(), key=lambda each: each.name == CONNECTION))


@cache
def function_options(name: str) -> tuple[Option, ...]:
    """Return the keyword arguments of a function.

    :raises LookupError: there is no such function.
    """
    for path in FUNCTIONS:
        for node in ast.parse((PACKAGE / path).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                return tuple(_arguments(node, ast.get_docstring(node) or ""))
    raise LookupError(f"There is no function {name} in {', '.join(FUNCTIONS)}")


def params_of(docstring: str) -> Mapping[str, str]:
    """Return what a docstring says of each parameter, in one line each."""
    parts = re.split(r"^:(?:param (\w+)|\w+(?: [^:]*)?):", docstring, flags=re.MULTILINE)
    return {
        name: " ".join(text.split("\n\n")[0].split())
        for name, text in zip(parts[1::2], parts[2::2], strict=True)
        if name
    }


@cache
def _classes() -> Mapping[str, ast.ClassDef]:
    return {
        node.name: node
        for folder in FOLDERS
        for path in sorted((PACKAGE / folder).glob("*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    }


def _ancestors(name: str, classes: Mapping[str, ast.ClassDef]) -> Iterator[str]:
    if name not in classes:
        raise LookupError(f"There is no class {name} in {' or '.join(FOLDERS)}")
    yield name
    for base in classes[name].bases:
        if isinstance(base, ast.Name) and base.id in classes:
            yield from _ancestors(base.id, classes)


def _of_class(node: ast.ClassDef) -> Iterator[Option]:
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            yield from _arguments(each, ast.get_docstring(node) or "")


def _literal(default: ast.expr) -> ast.expr:
    """Return the value of a constant instead of its name."""
    return _constants().get(default.id, default) if isinstance(default, ast.Name) else default


@cache
def _constants() -> Mapping[str, ast.expr]:
    return {
        target.id: node.value
        for folder in (*FOLDERS, "assets")
        for path in sorted((PACKAGE / folder).glob("*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _arguments(node: ast.FunctionDef, docstring: str) -> Iterator[Option]:
    abouts = params_of(docstring)
    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        if argument.arg.startswith("_"):
            # What one base class hands to another is no option of users.
            continue
        yield Option(
            argument.arg,
            ast.unparse(argument.annotation) if argument.annotation else "Any",
            ast.unparse(_literal(default)) if default else None,
            abouts.get(argument.arg, ""),
        )
