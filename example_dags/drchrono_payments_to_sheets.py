"""Keep a ledger of patient payments in Google Sheets: one row for each payment, found again by the payment's id.

It needs a triggerer and two Airflow connections: ``drchrono_default`` (type DrChrono), and ``google_cloud_default``
(type Google Cloud, scope ``https://www.googleapis.com/auth/spreadsheets``), whose account may edit the spreadsheet. The
Airflow variable ``drchrono_ledger`` is the id of that spreadsheet, which has a sheet named Payments. A second run adds
nothing: it writes over the rows that are there.
"""

from datetime import datetime, timedelta
from decimal import Decimal

from airflow.sdk import DAG, Variable, task
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_drchrono.assets import drchrono_asset
from airflow_provider_drchrono.client import DrChronoClient, NotFoundError
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.operators.assets import DrChronoChangedRecordsOperator

# The id comes first. There is no name among them; the amount is the last, in column F.
COLUMNS = ["id", "posted_date", "patient", "payment_method", "payment_transaction_type", "amount"]

payments = drchrono_asset("patient_payments", start="beginning")  # Those that are there already, too.


def row(drchrono: DrChronoClient, payment_id: int) -> list | None:
    """Return a payment as a row of the ledger; None of one that was deleted meanwhile."""
    try:
        payment = drchrono.read("patient_payments", payment_id)
    except NotFoundError:
        return None
    # As a number, so that Sheets can add it up.
    return ["" if payment[name] is None else payment[name] for name in COLUMNS[:-1]] + [float(payment["amount"])]


with DAG(
    dag_id="drchrono_payments_to_sheets",
    schedule=[payments],
    start_date=datetime(2026, 1, 1),
    max_active_runs=1,  # Two runs at once would both append.
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["drchrono", "events"],
    doc_md=__doc__,
):
    changed = DrChronoChangedRecordsOperator(task_id="changed", asset=payments, fields=["id"], max_records=100_000)

    @task
    def to_ledger(payments: list[dict]) -> dict:
        """Write the payments as they are now, and add up the whole ledger."""
        from airflow.providers.google.suite.hooks.sheets import GSheetsHook  # Takes seconds.

        class Sheets(GSheetsHook):
            """Repeats no request by itself: rows whose answer was lost are there, and a retry of the task sees them."""

            num_retries = 0

        with DrChronoHook("drchrono_default") as drchrono:
            rows = [found for each in payments if (found := row(drchrono, each["id"]))]
        if not rows:
            raise AirflowSkipException("there is no payment to write")
        sheets, ledger = Sheets(gcp_conn_id="google_cloud_default"), Variable.get("drchrono_ledger")
        ids = sheets.get_values(ledger, "Payments!A:A", value_render_option="UNFORMATTED_VALUE")
        places = {cells[0]: number for number, cells in enumerate(ids, start=1) if cells}
        there = [each for each in rows if each[0] in places]
        if there:
            numbers = [places[each[0]] for each in there]
            ranges = [f"Payments!A{number}:F{number}" for number in numbers]
            sheets.batch_update_values(ledger, ranges, [[each] for each in there])
        new = ([] if ids else [COLUMNS]) + [each for each in rows if each[0] not in places]
        if new:
            sheets.append_values(ledger, "Payments!A:F", new, insert_data_option="INSERT_ROWS")
        amounts = sheets.get_values(ledger, "Payments!F2:F", value_render_option="UNFORMATTED_VALUE")
        return {"rows": len(amounts), "total": str(sum(Decimal(str(amount)) for [amount] in amounts))}

    to_ledger(changed.output)
