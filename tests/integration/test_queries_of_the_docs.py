"""The queries of the documentation, on each warehouse, beside answers that are worked out from the practice."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_drchrono.sandbox import Sandbox
from tests.airflow.warehouse_checks import listed

pytestmark = pytest.mark.integration

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "query-the-tables.md"
QUERIES = dict(re.findall(r"^## (.+?)$.*?^```sql\n(.+?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL))
RESOURCES = (
    "appointments", "doctors", "lab_orders", "lab_results", "line_items", "offices", "patient_payments", "patients",
    "problems", "task_statuses", "tasks",
)  # fmt: skip
NOT_SEEN = {"Cancelled", "No Show", "Rescheduled"}
Rows = list[tuple[Any, ...]]


@pytest.fixture
def practice() -> Any:
    with Sandbox(patients=60, appointments_per_patient=4, quota_per_hour=None, quota_per_second=None) as sandbox:
        chosen = list(listed(sandbox, "appointments").values())
        for number, each in enumerate(chosen):
            status = ("No Show", "Complete", "Cancelled", "Confirmed")[number % 4]
            sandbox.practice.change("appointments", each["id"], {"status": status})
        for each in list(listed(sandbox, "patients").values())[:5]:
            fields = {"patient": each["id"], "doctor": each["doctor"], "icd_code": "E11.9", "name": "Diabetes"}
            sandbox.practice.create("problems", fields)
            sandbox.practice.create("lab_orders", {"patient": each["id"], "doctor": each["doctor"]})
        yield sandbox


def visits(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [each for each in listed(sandbox, "appointments").values() if each["patient"]]


def no_shows(sandbox: Sandbox) -> Rows:
    names = {each["id"]: each["name"] for each in listed(sandbox, "offices").values()}
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for each in visits(sandbox):
        found = counts[names.get(each["office"], "(an office that is gone)"), each["scheduled_time"][:7]]
        found[0] += 1
        found[1] += each["status"] == "No Show"
    return [(*key, *found) for key, found in counts.items()]


def balances(sandbox: Sandbox) -> Rows:
    owed: dict[int, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for each in listed(sandbox, "line_items").values():
        amount = Decimal(str(each["balance_pt"] or 0))
        owed[each["patient"]][0] += amount
        owed[each["patient"]][1] += amount if each["service_date"] < "2026-01-01" else 0
    return [(patient, *amounts) for patient, amounts in owed.items() if amounts[0] > 0]


def money(sandbox: Sandbox) -> Rows:
    days: dict[Any, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for place, resource, name in ((0, "line_items", "billed"), (1, "patient_payments", "amount")):
        for each in listed(sandbox, resource).values():
            days[each["posted_date"]][place] += Decimal(str(each[name] or 0))
    return [(day, *amounts) for day, amounts in days.items()]


def diagnosed(sandbox: Sandbox) -> Rows:
    patients = listed(sandbox, "patients")
    codes = [each for each in listed(sandbox, "problems").values() if (each["icd_code"] or "").startswith("E11")]
    return list({(each["patient"], patients[str(each["patient"])]["doctor"]) for each in codes})


def without_result(sandbox: Sandbox) -> Rows:
    done = {each["lab_order"] for each in listed(sandbox, "lab_results").values()}
    orders = [each for each in listed(sandbox, "lab_orders").values() if each["id"] not in done]
    return [(each["id"], each["doctor"], each["patient"]) for each in orders]


def seen_by_doctor(sandbox: Sandbox) -> Rows:
    names = {each["id"]: each["last_name"] for each in listed(sandbox, "doctors").values()}
    counts: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for each in visits(sandbox):
        if each["status"] not in NOT_SEEN and each["doctor"] in names:
            counts[each["doctor"]][0] += 1
            counts[each["doctor"]][1] += each["duration"]
    return [(doctor, names[doctor], number, Decimal(minutes) / 60) for doctor, (number, minutes) in counts.items()]


def to_call(sandbox: Sandbox) -> Rows:
    seen = {
        each["patient"]
        for each in visits(sandbox)
        if each["scheduled_time"] >= "2026-01-01" and each["status"] not in {"Cancelled", "No Show"}
    }
    return [(each["id"],) for each in listed(sandbox, "patients").values() if each["id"] not in seen]


def waiting_tasks(sandbox: Sandbox) -> Rows:
    names = {each["id"]: each["name"] for each in listed(sandbox, "task_statuses").values()}
    counts: dict[tuple[Any, str], int] = defaultdict(int)
    for each in listed(sandbox, "tasks").values():
        if each["status"] in names and not each["archived"]:
            counts[each["assignee_user"], names[each["status"]]] += 1
    return [(*key, number) for key, number in counts.items()]


ANSWERS: dict[str, Callable[[Sandbox], Rows]] = {
    "Who did not come": no_shows,
    "Who owes how much, and for how long": balances,
    "What was charged and what patients paid, day by day": money,
    "Who has a diagnosis": diagnosed,
    "Which lab orders have no result": without_result,
    "How much each doctor sees": seen_by_doctor,
    "Whom to call again": to_call,
    "Which tasks wait, and for whom": waiting_tasks,
}


def plain(rows: Rows) -> list[tuple[str, ...]]:
    """Write values alike that drivers give in types of their own; in no order, as databases sort text differently."""

    def text(value: Any) -> str:
        if isinstance(value, (int, float, Decimal)):
            return f"{round(Decimal(str(value)), 2):.2f}"
        return str(value)

    return sorted(tuple(text(value) for value in row) for row in rows)


def test_each_query_has_an_answer() -> None:
    assert list(QUERIES) == list(ANSWERS)


@pytest.mark.parametrize("kind", ["sqlite", "duckdb", "postgres"])
def test_a_query_answers_what_the_practice_says(
    kind: str, practice: Sandbox, airflow_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any
) -> None:
    from contextlib import closing

    from airflow_provider_drchrono.transfers.drchrono_to_warehouse import DrChronoToWarehouseOperator
    from airflow_provider_drchrono.warehouses.registry import open_warehouse

    if kind == "postgres":
        connection = request.getfixturevalue("postgres_url")
    else:
        connection = json.dumps({"conn_type": kind, "host": str(tmp_path / f"practice.{kind}")})
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", connection)
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", practice.connection_json())
    monkeypatch.setenv("AIRFLOW__DRCHRONO__STAGING_PATH", str(tmp_path / "staging"))
    for resource in RESOURCES:
        operator = DrChronoToWarehouseOperator(task_id="sync", resource=resource, warehouse_conn_id="warehouse")
        ti = SimpleNamespace(dag_id="dag", task_id="sync", map_index=-1, run_id="run")
        operator.execute({"ti": ti})  # type: ignore[typeddict-item]  # it reads no more of the context

    found, expected = {}, {}
    with closing(open_warehouse("warehouse")) as warehouse, warehouse._transaction(writes=False) as session:  # type: ignore[attr-defined]  # all three have one
        for question, query in QUERIES.items():
            # The session's driver takes a percent sign for a parameter.
            written = query.replace("%", "%%") if kind == "postgres" else query
            found[question] = plain(session.rows(written))
            expected[question] = plain(ANSWERS[question](practice))

    assert {question: len(rows) for question, rows in expected.items() if not rows} == {}
    assert found == expected
