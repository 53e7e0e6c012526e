"""The page on assets: its examples are real, and its table is what the functions return."""

import re
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_drchrono import assets
from airflow_provider_drchrono.assets.facts import watched_resources

PAGE = (Path(__file__).resolve().parents[3] / "docs/how-to/assets.md").read_text()
ROWS = re.findall(r"^\| `(drchrono_\w+\(.*?\))` \| `(drchrono://\S+)` \|", PAGE, re.MULTILINE)


def test_the_examples_run(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    leave = DAG.__exit__
    monkeypatch.setattr(DAG, "__exit__", lambda self, *raised: (made.append(self.dag_id), leave(self, *raised))[1])
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, names)

    assert made == ["welcome", "look", "to_do", "after_sensors", "reports"]
    assert names["newcomers"].asset is names["new_patients"]


@pytest.mark.parametrize(("call", "uri"), ROWS, ids=[call for call, _ in ROWS])
def test_the_table_shows_the_uris(call: str, uri: str) -> None:
    assert eval(call, dict(vars(assets))).uri == uri


def test_the_page_names_what_is_there() -> None:
    assert len(ROWS) == 4
    assert f"[{len(watched_resources())} lists]" in PAGE
    (name,) = re.findall(r"--asset (\S+)", PAGE)
    assert assets.drchrono_asset("patients", change="created", filters={"doctor": 42}).name == name
