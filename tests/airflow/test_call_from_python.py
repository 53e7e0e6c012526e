"""The page on calling from Python, and README's notebook example: each example runs, and runs again."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.sandbox import Sandbox
from tests.support.running import unlimited

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("quick_dags")]

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/how-to/call-from-python.md").read_text()
README = (ROOT / "README.md").read_text().partition("## From a notebook")[2].partition("\n## ")[0]

BLOCKS = re.findall(r"```python\n(.*?)```", PAGE + README, re.DOTALL)
DAGS = [block for block in BLOCKS if "with DAG(" in block]
LINES = [block for block in BLOCKS if "DrChronoClient(" in block]
CALLS = [block for block in BLOCKS if block not in DAGS + LINES]


@pytest.fixture(autouse=True)
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox(patients=5, quota_per_hour=None, quota_per_second=None) as running:
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(running))
        yield running


def test_there_are_examples_of_each_kind() -> None:
    assert (len(DAGS), len(CALLS), len(LINES)) == (2, 1, 2)


@pytest.mark.parametrize("block", DAGS, ids=["block", "outcomes"])
def test_tasks_run_twice(run_dag: Callable[..., Any], sandbox: Sandbox, block: str) -> None:
    for _ in range(2):
        assert run_dag(block).state == "success"

    assert len(sandbox.journal.calls()) >= 2


@pytest.mark.parametrize("block", CALLS, ids=["calls"])
def test_calls_run_twice(airflow_db: Path, sandbox: Sandbox, block: str, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        exec(block, {})

    assert capsys.readouterr().out.count("signed in as user") == 2
    assert len(sandbox.practice.records("tasks")) >= 2


@pytest.mark.parametrize("block", LINES, ids=["page", "readme"])
def test_what_needs_no_airflow_runs_twice_with_one_refresh_token(
    sandbox: Sandbox, block: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    given = {
        "client_id": sandbox.client_id,
        "client_secret": sandbox.client_secret,
        "refresh_token": sandbox.refresh_token,
    }
    for name, value in given.items():
        block, count = re.subn(rf'{name}="[^"]*"', f"{name}={value!r}", block)
        assert count == 1
    block = block.replace("DrChronoClient(client_id", "DrChronoClient(\nclient_id")
    block = block.replace("DrChronoClient(\n", f"DrChronoClient(\nbase_url={sandbox.url!r},\n")

    for _ in range(2):
        exec(block, {})

    printed = capsys.readouterr().out.split()
    assert printed
    assert printed[: len(printed) // 2] * 2 == printed
    assert [entry.status for entry in sandbox.journal if entry.path == "/o/token/"] == [200]
    (file,) = tmp_path.glob(".drchrono-token.json")
    assert file.stat().st_mode & 0o777 == 0o600
