"""The page on reacting to changes: its examples are real."""

import re
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_drchrono.sensors.base import IncrementalSensor

PAGE = Path(__file__).resolve().parents[3] / "docs/how-to/react-to-changes.md"


def test_the_examples_run(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    checked = IncrementalSensor._check_options
    monkeypatch.setattr(IncrementalSensor, "_check_options", lambda self: (made.append(self.task_id), checked(self)))
    names: dict[str, Any] = {}
    with DAG("around", schedule=None):
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
            exec(block, names)

    assert made == ["newcomers", "moved_or_arrived", "in_batches", "in_a_file", "visits"]
