"""Reads what the pages of the documentation name, for tests and tools that compare it with the code."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONTRIBUTING = ROOT / "docs/contributing.md"
ROUTES = {
    "create": "A create",
    "poke": "A poke of a sensor",
    "sync": "A sync of a list into a warehouse",
    "refresh": "A refresh of a token",
}
"""The routes of ``docs/contributing.md`` and their headings."""

PACKAGE = ROOT / "airflow_provider_drchrono"

_PATH = re.compile(r"`((?:airflow_provider_drchrono|docs|example_dags|requirements|scripts|tests)/[\w./-]+)`")


def missing_paths(page: Path) -> list[str]:
    """Return the files and folders that a page names in code and the repository does not have.

    Modules may be named from the package on, such as ``client/errors.py``.
    """
    text = page.read_text()
    modules = re.findall(r"`(\w+/[\w/]+\.py)`", text)
    return [
        path
        for path in (*_PATH.findall(text), *modules)
        if not (ROOT / path).exists() and not (PACKAGE / path).exists()
    ]


def route_files() -> dict[str, list[str]]:
    """Return the files that the steps of each route name, in the order of the steps."""
    sections = dict(re.findall(r"^### ([^\n]+)\n(.*?)(?=^#|\Z)", CONTRIBUTING.read_text(), re.MULTILINE | re.DOTALL))
    return {
        route: [
            path for step in re.split(r"^\d+\. ", sections[heading], flags=re.MULTILINE)[1:] for path in _steps(step)
        ]
        for route, heading in ROUTES.items()
    }


def _steps(step: str) -> list[str]:
    # A step ends at the first empty line; the words after a list belong to no step.
    return _PATH.findall(step.partition("\n\n")[0])
