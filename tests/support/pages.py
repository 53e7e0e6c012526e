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

_PATH = re.compile(r"`((?:airflow_provider_drchrono|docs|example_dags|requirements|scripts|tests)/[\w./-]+)`")


def named_paths(page: Path) -> list[str]:
    """Return the files and folders of the repository that a page names in code, in the order in which it does."""
    return _PATH.findall(page.read_text())


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
