"""Shows which operator does what: the generated index of operations, and the triggers of the catalogue."""

from __future__ import annotations

import json
import pkgutil
import re
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module, resources
from importlib.util import find_spec
from typing import Any

from airflow_provider_drchrono import catalog

PACKAGE = "airflow_provider_drchrono"

Row = dict[str, Any]


def show_operations(args: Namespace) -> None:
    """Print the operations; ``-o json`` prints them with every parameter, and ``-o plain`` with names to be copied.

    :param args: ``output``, ``category`` and ``search`` as parsed by Airflow.
    """
    in_a_table = _operation_in_a_table if args.output == "table" else _without_parameters
    if _show(args, operations(), in_a_table):
        if args.output == "table":
            print(f"Import them from {PACKAGE}.operators; -o plain prints names that can be copied.")
    else:
        print("No operation is called so. DrChronoRequestOperator calls what is not in the list.")


def show_triggers(args: Namespace) -> None:
    """Print the triggers.

    :param args: ``output``, ``category`` and ``search`` as parsed by Airflow.
    """
    _show(args, triggers(), dict)


def operations() -> list[Row]:
    """Return the index of operations as it was generated."""
    text = (resources.files(PACKAGE) / "operators" / "index.json").read_text(encoding="utf-8")
    rows: list[Row] = json.loads(text)
    return rows


def triggers() -> list[Row]:
    """Return the triggers with the import paths of sensor and trigger, which are None where there is no such class."""
    trigger = class_path(f"{PACKAGE}.triggers", "DrChronoIncrementalTrigger")
    return [
        {
            "title": each.title,
            "category": each.category,
            "sensor": class_path(f"{PACKAGE}.sensors", f"DrChrono{_camel(each.title)}Sensor"),
            "trigger": trigger,
            "resource": each.resource,
        }
        for each in catalog.load().triggers
    ]


def class_path(package: str, name: str) -> str | None:
    """Return the dotted path of a class defined in a module of a package, or None if no module defines it."""
    if find_spec(package) is None:
        return None
    for module in pkgutil.iter_modules(import_module(package).__path__):
        path = f"{package}.{module.name}"
        if not module.ispkg and getattr(getattr(import_module(path), name, None), "__module__", None) == path:
            return f"{path}.{name}"
    return None


def selected(rows: Sequence[Row], category: str | None, search: str | None) -> list[Row]:
    """Return the rows of a category in which all words of a search occur.

    :param category: a category's name or a part of it, in any case; None for all.
    :param search: words, between spaces or underscores, to look for in all text of a row but its parameters; None for
        no search.
    :raises SystemExit: there is no such category; the message lists those there are.
    """
    if category is not None:
        names = sorted({row["category"] for row in rows})
        exact = [name for name in names if name.lower() == category.lower()]
        wanted = exact or [name for name in names if category.lower() in name.lower()]
        if not wanted:
            raise SystemExit(f"There is no category {category!r}. Categories: {'; '.join(names)}")
        rows = [row for row in rows if row["category"] in wanted]
    # Somebody may type a name of the API, such as create_patient, or one of Python.
    words = re.split(r"[\s_]+", (search or "").strip(" _").lower())
    return [row for row in rows if all(word in _text(row) for word in words)]


def _show(args: Namespace, rows: Sequence[Row], in_a_table: Callable[[Row], Row]) -> bool:
    """Print the rows that were asked for; return whether there are any, which a program sees by itself."""
    found = selected(rows, args.category, args.search)
    if args.output == "json":
        # Airflow's own JSON output turns every value into text.
        print(json.dumps(found, indent=2))
        return True
    from airflow.cli.simple_table import AirflowConsole

    shown = [{key: value or "" for key, value in in_a_table(row).items()} for row in found]
    AirflowConsole().print_as(data=shown, output=args.output)
    return bool(found)


def _without_parameters(row: Row) -> Row:
    return {key: value for key, value in row.items() if key != "parameters"}


def _operation_in_a_table(row: Row) -> Row:
    """Return a row as it fits into a terminal, where longer names would be broken."""
    return _without_parameters(row) | {"operator": row["operator"].removeprefix(f"{PACKAGE}.operators.")}


def _text(row: Row) -> str:
    return " ".join(_words(row)).lower()


def _words(row: Row) -> Iterable[str]:
    return (value for key, value in row.items() if isinstance(value, str) and key != "parameters")


def _camel(title: str) -> str:
    return "".join(word[0].upper() + word[1:] for word in re.findall(r"\w+", title))
