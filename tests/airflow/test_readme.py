"""README's example of a sensor and an operator, run as its readers would run it, and again."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.sandbox import Sandbox
from tests.support.running import unlimited

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("quick_dags")]

README = (Path(__file__).resolve().parents[2] / "README.md").read_text().partition("## Any operation")[2]
EXAMPLE = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]


def test_each_new_lab_order_gets_one_task(
    run_dag: Callable[..., Any], airflow_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As printed it begins now, and would wait for somebody to order something.
    assert "deferrable=True" in EXAMPLE
    (tmp_path / "lab_orders.py").write_text(EXAMPLE.replace("deferrable=True", 'start="beginning"'))
    with Sandbox(patients=12, quota_per_hour=None, quota_per_second=None) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox))
        there = [order["id"] for order in sandbox.practice.records("lab_orders")]
        assert there
        assert run_dag(tmp_path / "lab_orders.py").state == "success"
        model = sandbox.practice.records("lab_orders")[0]
        ordered = {name: model[name] for name in ("doctor", "patient", "sublab")}
        new = sandbox.practice.create("lab_orders", ordered)["id"]
        assert run_dag(tmp_path / "lab_orders.py").state == "success"

        titles = [task["title"] for task in sandbox.practice.records("tasks")]
    assert [titles.count(f"Follow up on lab order {order}") for order in (*there, new)] == [1] * (len(there) + 1)
