"""Writing and comparing: each way in which a file can be out of date is named, with the command that helps."""

import dataclasses
import json
from pathlib import Path

import pytest

from airflow_provider_drchrono.codegen.output import LOCK, Output, problems, write

FILES = {
    "airflow_provider_drchrono/operators/patients.py": "# patients\n",
    "airflow_provider_drchrono/operators/index.json": "[]\n",
    "docs/reference/operators/patients.md": "# Patients\n",
}


def output(files: dict[str, str] = FILES, **lock: str) -> Output:
    from airflow_provider_drchrono.codegen.output import _hash

    described = {"facts": "f1", "generator": "g1", "ruff": "1.0", **lock}
    return Output(files, {**described, "files": {path: _hash(text) for path, text in files.items()}})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository in which everything is current."""
    write(output(), tmp_path)
    return tmp_path


def test_what_was_written_is_current(root: Path) -> None:
    assert problems(output(), root) == []


def test_writing_again_touches_nothing(root: Path) -> None:
    assert write(output(), root) == []


def test_a_missing_file(root: Path) -> None:
    (root / "docs/reference/operators/patients.md").unlink()

    assert problems(output(), root) == ["docs/reference/operators/patients.md is missing: run `make generate`"]


def test_an_edit_by_hand(root: Path) -> None:
    (root / "airflow_provider_drchrono/operators/patients.py").write_text("# better patients\n")

    assert problems(output(), root) == [
        "airflow_provider_drchrono/operators/patients.py was edited by hand; change the catalogue or the "
        "generator, then run `make generate`"
    ]


def test_facts_that_changed(root: Path) -> None:
    found = problems(output({**FILES, "docs/reference/operators/patients.md": "# All\n"}, facts="f2"), root)

    assert found == [
        "The facts in airflow_provider_drchrono/catalog changed since the last run: run `make generate`",
        "docs/reference/operators/patients.md is out of date: run `make generate`",
    ]


def test_a_generator_that_changed(root: Path) -> None:
    assert problems(output(generator="g2"), root) == [
        "The generator in airflow_provider_drchrono/codegen changed since the last run: run `make generate`"
    ]


def test_another_formatter(root: Path) -> None:
    assert problems(output(ruff="2.0"), root) == [
        "The last run formatted with ruff 1.0, this is 2.0: run `make generate`"
    ]


def test_a_missing_lock(root: Path) -> None:
    (root / LOCK).unlink()

    assert problems(output(), root) == [f"{LOCK} is missing: run `make generate`"]


def test_a_lock_edited_by_hand(root: Path) -> None:
    lock = json.loads((root / LOCK).read_text())
    (root / LOCK).write_text(json.dumps({**lock, "operations": 1}))

    assert problems(output(), root) == [f"{LOCK} does not describe the files: run `make generate`"]


def test_a_module_of_a_domain_that_is_gone_is_said_and_deleted(root: Path) -> None:
    leftover = root / "airflow_provider_drchrono/operators/dentists.py"
    leftover.write_text("# generated once\n")

    assert problems(output(), root) == [
        "airflow_provider_drchrono/operators/dentists.py is generated from nothing any more: run `make generate`"
    ]
    assert write(output(), root) == ["airflow_provider_drchrono/operators/dentists.py"]
    assert not leftover.exists()


def test_hand_written_folders_beside_the_generated_files_are_left_alone(root: Path) -> None:
    base = root / "airflow_provider_drchrono/operators/base/reads.py"
    base.parent.mkdir()
    base.write_text("# by hand\n")

    assert write(output(), root) == []
    assert base.exists()


def test_only_what_differs_is_written(root: Path) -> None:
    changed = dataclasses.replace(output({**FILES, "docs/reference/operators/patients.md": "# All\n"}))

    assert write(changed, root) == ["docs/reference/operators/patients.md", LOCK]
