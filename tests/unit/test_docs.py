"""The pages name files that exist, and ``docs/contributing.md`` tells its routes from the first file to the last."""

from pathlib import Path

import pytest

from tests.support.pages import CONTRIBUTING, ROOT, named_paths, route_files

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
    assert [path for path in named_paths(page) if not (ROOT / path).exists()] == []


def test_the_page_for_contributors_names_every_package() -> None:
    package = ROOT / "airflow_provider_drchrono"
    page = CONTRIBUTING.read_text()
    packages = sorted(each.parent.name for each in package.glob("*/__init__.py"))

    assert packages
    assert [name for name in packages if f"`{name}/`" not in page and f"{package.name}/{name}/`" not in page] == []


@pytest.mark.parametrize("route", ENDS)
def test_a_route_is_told_from_its_first_file_to_its_last(route: str) -> None:
    files = [path.removeprefix("airflow_provider_drchrono/") for path in route_files()[route]]

    assert (files[0], files[-1]) == ENDS[route]
    assert len(set(files)) == len(files) > 2, "each file is one step"
