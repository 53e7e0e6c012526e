"""The link from a task in Airflow to the record in DrChrono's web application."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

# A patient's chart is the only page whose address follows from the id of a record.
PATIENT_OPERATIONS = frozenset(
    {
        "patients_ccda",
        "patients_ccda_async",
        "patients_create",
        "patients_onpatient_access_create",
        "patients_onpatient_access_delete",
        "patients_onpatient_access_read",
        "patients_partial_update",
        "patients_qrda1",
        "patients_read",
        "patients_summary_create",
        "patients_summary_partial_update",
        "patients_summary_read",
        "patients_summary_update",
        "patients_update",
    }
)


class DrChronoPatientLink(BaseOperatorLink):
    """Opens the chart of the patient that a task read or wrote."""

    name = "Chart in DrChrono"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address of the chart, or nothing where the task came to no patient, or to several.

        Airflow asks for it on the worker when the task has ended, and keeps the answer.
        """
        record_id = getattr(operator, "record_id", None)
        hook = getattr(operator, "hook", None)
        if record_id is None or hook is None:
            return ""
        return f"{hook.settings.base_url}/patients/{quote(str(record_id), safe='')}"
