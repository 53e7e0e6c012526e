"""The example that keeps a ledger in Google Sheets, against one whose answer to an append is lost, and again."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from airflow_provider_drchrono.assets import drchrono_asset
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.state.cursor_store import VariableCursorStore
from tests.support.events import make_event
from tests.support.example_dags import example_dag
from tests.support.far_server import GoogleSheets
from tests.support.running import unlimited

sheets_hook = pytest.importorskip("airflow.providers.google.suite.hooks.sheets")

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("quick_dags")]

EXAMPLE = example_dag("drchrono_payments_to_sheets")
PAYMENTS = drchrono_asset("patient_payments", start="beginning")
COLUMNS = ["id", "posted_date", "patient", "payment_method", "payment_transaction_type", "amount"]


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, private_key: str) -> Callable[[Sandbox, GoogleSheets], None]:
    def run(sandbox: Sandbox, google: GoogleSheets) -> None:
        account = {
            "type": "service_account",
            "project_id": "synthetic",
            "client_email": "ledger@synthetic.iam.gserviceaccount.com",
            "private_key": private_key,
            "token_uri": f"{google.url}/token",
        }
        extra = {"keyfile_dict": account, "scope": "https://www.googleapis.com/auth/spreadsheets"}
        connection = {"conn_type": "google_cloud_platform", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox))
        monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(connection))
        monkeypatch.setenv("AIRFLOW_VAR_DRCHRONO_LEDGER", google.spreadsheet)
        # No connection names another host for Google's API; the hook does, in an argument.
        defaults = sheets_hook.GSheetsHook.__init__.__defaults__
        assert defaults[-1] is None
        monkeypatch.setattr(sheets_hook.GSheetsHook.__init__, "__defaults__", (*defaults[:-1], google.url))

    return run


def ledger_of(sandbox: Sandbox) -> dict[int, Decimal]:
    return {each["id"]: Decimal(each["amount"]) for each in sandbox.practice.records("patient_payments")}


def rows_of(google: GoogleSheets) -> dict[int, Decimal]:
    header, *rows = google.cells
    assert header == COLUMNS
    found = {row[0]: Decimal(str(row[-1])) for row in rows}
    assert len(found) == len(rows), "a payment has two rows"
    return found


def test_each_payment_is_one_row_and_the_total_adds_up(
    run_dag: Callable[..., Any], airflow_db: Path, connect: Callable[[Sandbox, GoogleSheets], None]
) -> None:
    with Sandbox(patients=30, quota_per_hour=None, quota_per_second=None) as sandbox, GoogleSheets() as google:
        connect(sandbox, google)
        before = ledger_of(sandbox)
        assert len(before) > 10
        # Runs are given what is found after the first one.
        assert run_dag(EXAMPLE).state == "success"
        assert google.requests == []
        assert make_event(VariableCursorStore(), PAYMENTS) is not None
        first = run_dag(EXAMPLE)
        assert first.state == "success"
        assert rows_of(google) == before
        result = first.get_task_instance("to_ledger").xcom_pull(task_ids="to_ledger")
        assert result == {"rows": len(before), "total": str(sum(before.values()))}

        cells = [list(row) for row in google.cells]
        requests = len(google.requests)
        assert run_dag(EXAMPLE).state == "success"
        assert google.cells == cells
        assert len(google.requests) == requests, "without a change there is nothing to send"

        chosen = next(iter(before))
        sandbox.practice.change("patient_payments", chosen, {"amount": "0.10"})
        patient = sandbox.practice.records("patients")[0]["id"]
        new = sandbox.practice.create("patient_payments", {"patient": patient, "amount": "-0.20"})["id"]
        gone = sandbox.practice.create("patient_payments", {"patient": patient, "amount": "7.00"})["id"]
        assert make_event(VariableCursorStore(), PAYMENTS) is not None
        sandbox.practice.table("patient_payments").remove(gone)
        second = run_dag(EXAMPLE)
        assert second.state == "success"
        assert rows_of(google) == before | {chosen: Decimal("0.10"), new: Decimal("-0.20")}
        assert [row[0] for row in google.cells[: len(cells)]] == [row[0] for row in cells], "rows keep their places"
        total = sum(rows_of(google).values())
        assert second.get_task_instance("to_ledger").xcom_pull(task_ids="to_ledger")["total"] == str(total)


def test_rows_whose_answer_is_lost_are_not_added_twice(
    run_dag: Callable[..., Any], airflow_db: Path, connect: Callable[[Sandbox, GoogleSheets], None]
) -> None:
    options = {"patients": 10, "quota_per_hour": None, "quota_per_second": None}
    with Sandbox(**options) as sandbox, GoogleSheets(lost_appends=1) as google:  # type: ignore[arg-type]  # of mixed types
        connect(sandbox, google)
        assert run_dag(EXAMPLE).state == "success"
        assert make_event(VariableCursorStore(), PAYMENTS) is not None
        run = run_dag(EXAMPLE)
        assert run.state == "success"
        assert run.get_task_instance("to_ledger").try_number == 2
        assert rows_of(google) == ledger_of(sandbox)
        appends = [each for each in google.requests if ":append" in each.path]
        assert len(appends) == 1
