"""The operator that gathers what the syncs of a DAG run came to."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.common.arguments import InvalidArgumentError, is_template
from airflow_provider_drchrono.common.result_files import check_output_path, write_document
from airflow_provider_drchrono.compat import instance_of
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.transfers.run_report import (
    LeftOut,
    TableRun,
    as_html,
    as_markdown,
    report_of,
    sentence,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

ENDINGS = (".md", ".html")


class DrChronoSyncReportOperator(BaseOperator):
    """Report what the syncs of this DAG run came to: rows, calls, seconds, the quota that is left, and what failed.

    It makes no call. It returns, and pushes to XCom, the totals and a line for each table; the log has them as a table,
    and ``report_path`` as a page. There are names, counts and times in it, and no record.

    :param sync_task_id: the mapped task of :class:`DrChronoToWarehouseOperator`.
    :param tables: the names of the tables that its instances fill, by resource, in the order of their map indexes.
    :param left_out: names of lists that are not synced, with the reason.
    :param report_path: file to write the page to, ``.md`` or ``.html``: a path of the worker, or a URL that
        ``ObjectStoragePath`` takes. A template, as a rule with ``{{ run_id }}`` or ``{{ ds }}`` in it.
    :param drchrono_conn_id: Airflow connection of DrChrono, for the quota that is left.
    """

    template_fields: Sequence[str] = ("report_path", "drchrono_conn_id")
    ui_color = "#e3f0ea"

    def __init__(
        self,
        *,
        sync_task_id: str,
        tables: Mapping[str, str],
        left_out: Mapping[str, str] | None = None,
        report_path: str | None = None,
        drchrono_conn_id: str = DrChronoHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if report_path is not None and not is_template(report_path):
            _check_ending(report_path)
        self.sync_task_id = sync_task_id
        self.tables = dict(tables)
        self.left_out = dict(left_out or {})
        self.report_path = report_path
        self.drchrono_conn_id = drchrono_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Write the report, and return it.

        :raises AirflowFailException: ``report_path`` cannot be written.
        """
        if self.report_path:
            _check_ending(self.report_path)
            check_output_path(self.report_path)
        task = instance_of(context, self)
        report = report_of(
            task.dag_id,
            task.run_id,
            self._runs(task),
            [LeftOut(name, why) for name, why in self.left_out.items()],
            self._quota_left(),
        )
        log.info("%s\n%s", sentence(report), as_markdown(report))
        if self.report_path:
            page = as_html(report) if self.report_path.endswith(".html") else as_markdown(report)
            report["path"] = write_document(self.report_path, page)["path"]
        return report

    def _runs(self, task: Any) -> list[TableRun]:
        states = task.get_task_states(dag_id=task.dag_id, task_ids=[self.sync_task_id], run_ids=[task.run_id])
        by_name = states.get(task.run_id, {})
        runs = []
        for index, (resource, table) in enumerate(self.tables.items()):
            # Before its instances are made, and where there never are any, a mapped task has one state.
            found = by_name.get(f"{self.sync_task_id}_{index}", by_name.get(self.sync_task_id))
            state = None if found is None else str(found)
            summary = task.xcom_pull(task_ids=self.sync_task_id, map_indexes=index) if state == "success" else None
            runs.append(TableRun(resource, table, f"{self.sync_task_id}[{index}]", state, summary))
        return runs

    def _quota_left(self) -> int | None:
        try:
            with closing(DrChronoHook(self.drchrono_conn_id)) as hook:
                return hook.quota.status().left if hook.quota else None
        except DrChronoError as error:
            # What the syncs did is worth a report also where the connection has been broken meanwhile.
            log.warning("The quota that is left is not known: %s", error)
            return None


def _check_ending(path: str) -> None:
    if not path.endswith(ENDINGS):
        raise InvalidArgumentError(f"report_path has to end in {' or '.join(ENDINGS)}: it says what is written")
