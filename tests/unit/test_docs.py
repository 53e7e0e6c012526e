"""The pages name files that exist, and ``docs/contributing.md`` tells its routes from the first file to the last."""

import re
from pathlib import Path

import pytest

from airflow_provider_drchrono.catalog import load
from tests.support.pages import CONTRIBUTING, PACKAGE, ROOT, missing_paths, route_files

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ENDS = {
    "create": ("operators/patients.py", "common/outcomes.py"),
    "poke": ("sensors/patients.py", "assets/outlets.py"),
    "sync": ("transfers/drchrono_to_warehouse.py", "assets/outlets.py"),
    "refresh": ("hooks/drchrono.py", "client/transport.py"),
}
"""Where each route begins, and where its call ends."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_files_that_a_page_names_exist(page: Path) -> None:
    assert missing_paths(page) == []


def test_each_picture_is_shown_and_each_that_is_shown_is_there() -> None:
    folder = ROOT / "docs" / "images"
    shown = {
        (page.parent / name).resolve()
        for page in PAGES
        for name in re.findall(r"!\[[^\]]+\]\(([^)#]+)", page.read_text())
    }
    # The logo is named by the site's configuration.
    there = set(folder.iterdir()) | set((ROOT / "docs" / "reference" / "tables").iterdir())
    assert shown | {folder / "logo.svg"} == there
    assert max(each.stat().st_size for each in folder.iterdir()) < 150_000


def test_the_index_of_decisions_names_each_by_its_title() -> None:
    folder = ROOT / "docs/decisions"
    records = sorted(folder.glob("[0-9]*.md"))
    index = (folder / "README.md").read_text()
    lines = [f"- [{each.read_text().splitlines()[0].removeprefix('# ')}]({each.name})" for each in records]

    assert records
    assert [line for line in lines if line not in index.splitlines()] == []


def test_the_page_for_contributors_names_every_package() -> None:
    page = CONTRIBUTING.read_text()
    packages = sorted(each.parent.name for each in PACKAGE.glob("*/__init__.py"))

    assert packages
    assert [name for name in packages if f"`{name}/`" not in page and f"{PACKAGE.name}/{name}/`" not in page] == []


@pytest.mark.parametrize("route", ENDS)
def test_a_route_is_told_from_its_first_file_to_its_last(route: str) -> None:
    files = [path.removeprefix("airflow_provider_drchrono/") for path in route_files()[route]]

    assert (files[0], files[-1]) == ENDS[route]
    assert len(set(files)) == len(files) > 2, "each file is one step"


def numbers_of_things() -> dict[str, set[int]]:
    """Return how many there are of what pages count, by the word that they count by."""
    catalog = load()
    watched = [each for each in catalog.resources.values() if each.changes]
    return {
        "operations": {len(catalog.operations)},
        "records": {len(catalog.records)},
        "lists": {len(watched)},
        "sensors": {len(catalog.triggers)},
    }


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "docs/how-to/assets.md"], ids=str)
def test_a_page_counts_what_is_there(page: Path) -> None:
    right = numbers_of_things()
    counted = re.findall(r"(?<![\d,])(\d{2,3}) (operations|records|lists|sensors)\b", page.read_text())

    assert counted
    assert [(number, word) for number, word in counted if int(number) not in right[word]] == []


def test_a_page_includes_a_file_in_a_way_that_is_carried_out() -> None:
    """The formatter takes an include in a block of Python for an expression, and writes it another way."""
    includes = [line for page in PAGES for line in page.read_text().splitlines() if line.startswith("--8")]

    assert includes
    assert [line for line in includes if not line.startswith('--8<-- "')] == []


def test_each_message_of_the_troubleshooting_page_is_one_of_the_code() -> None:
    page = (ROOT / "docs/troubleshooting.md").read_text()
    messages = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    # Literals that stand one after the other, on several lines, are one text.
    source = "".join(
        re.sub(r'"\s*\n\s*f?r?"', "", path.read_text()) for path in PACKAGE.rglob("*.py") if "codegen" not in path.parts
    )

    assert len(messages) > 15
    assert [message for message in messages if message not in source] == []
