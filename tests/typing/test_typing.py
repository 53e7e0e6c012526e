"""Runs mypy over the examples and compares what it says with what each expects."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(Path(__file__).parent.glob("*_dag.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_a_type_checker_finds_the_mistakes_and_nothing_else(example: Path) -> None:
    pytest.importorskip("mypy", reason="this environment does not have mypy")
    expected = {
        number: said.group(1)
        for number, line in enumerate(example.read_text().splitlines(), 1)
        if (said := re.search(r"# says: (.+)$", line))
    }

    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", "--no-pretty", str(example)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    errors = re.findall(r"^[^:\n]+:(\d+): error: (.+)$", checked.stdout, re.MULTILINE)
    assert {int(number) for number, _ in errors} == set(expected), checked.stdout + checked.stderr
    for number, text in errors:
        assert expected[int(number)] in text
