"""The link from a task in Airflow to the record in DrChrono's web application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

from airflow_provider_drchrono.catalog import load

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey


class DrChronoPatientLink(BaseOperatorLink):
    """Opens the chart of the patient that a task read or wrote."""

    name = "Chart in DrChrono"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the address of the chart, or nothing where the task came to no patient, or to several.

        Airflow asks for it on the worker when the task has ended, and keeps the answer.
        """
        record_id = getattr(operator, "record_id", None)
        hook = getattr(operator, "hook", None)
        if record_id is None or hook is None:
            return ""
        page = load().entries[operator.operation_id].page
        return f"{hook.settings.base_url}{page.format(id=quote(str(record_id), safe=''))}" if page else ""
