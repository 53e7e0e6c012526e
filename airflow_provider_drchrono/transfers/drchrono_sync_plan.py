"""The operator that says what the syncs of a DAG run will cost, before the first of their calls."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from airflow.sdk import BaseOperator

from airflow_provider_drchrono.common.arguments import InvalidArgumentError, check_choice
from airflow_provider_drchrono.common.outcomes import airflow_outcome
from airflow_provider_drchrono.compat import AirflowFailException
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.transfers.counts import rows_in_warehouse
from airflow_provider_drchrono.transfers.forecast import forecast

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

OnOverrun: TypeAlias = Literal["warn", "fail"]
"""What follows where the syncs of a run take more calls than DrChrono allows until the next one."""


class DrChronoSyncPlanOperator(BaseOperator):
    """Say what the syncs of this DAG run will cost, and whether that fits between two runs.

    It makes no call: how many rows the lists have is counted in the tables that are there, and the calls follow from
    that as for ``airflow drchrono plan``. First loads are not judged, as they may take as many hours as they need.

    It returns, and pushes to XCom, ``calls`` (those of this run, about), ``calls_per_hour``, ``rows`` by resource, and
    ``overrun`` (why it does not fit, or None).

    :param tables: the names of the tables by resource, as in ``{"patients": "patients"}``.
    :param warehouse_conn_id: Airflow connection of the database.
    :param drchrono_conn_id: Airflow connection of DrChrono.
    :param schema: schema of the tables of which ``schemas`` says nothing.
    :param schemas: schemas of single tables, by resource.
    :param interval: time between the beginnings of two runs; None if there is none, and nothing is judged.
    :param on_overrun: ``warn`` or ``fail`` where a run does not fit.
    """

    template_fields: Sequence[str] = ("warehouse_conn_id", "drchrono_conn_id", "schema", "schemas")
    ui_color = "#e3f0ea"

    def __init__(
        self,
        *,
        tables: Mapping[str, str],
        warehouse_conn_id: str,
        drchrono_conn_id: str = DrChronoHook.default_conn_name,
        schema: str | None = None,
        schemas: Mapping[str, str | None] | None = None,
        interval: timedelta | None = None,
        on_overrun: OnOverrun = "warn",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choice(type(self).__name__, "on_overrun", on_overrun, get_args(OnOverrun))
        if interval is not None and interval <= timedelta(0):
            raise InvalidArgumentError(f"{type(self).__name__}: interval has to be a timedelta above 0")
        self.tables = dict(tables)
        self.warehouse_conn_id = warehouse_conn_id
        self.drchrono_conn_id = drchrono_conn_id
        self.schema = schema
        self.schemas = dict(schemas or {})
        self.interval = interval
        self.on_overrun = on_overrun

    def execute(self, context: Context) -> dict[str, Any]:
        """Count, reckon and judge.

        :raises AirflowFailException: a run does not fit, and ``on_overrun`` is ``fail``; or a connection has to be
            changed first.
        """
        with airflow_outcome(), closing(DrChronoHook(self.drchrono_conn_id)) as hook:
            catalog, per_hour = hook.catalog, hook.settings.quota_per_hour
            rows = rows_in_warehouse(
                self.warehouse_conn_id, catalog, self.tables, schema=self.schema, schemas=self.schemas
            )
        planned = forecast(catalog, list(self.tables), rows, calls_per_hour=per_hour)
        known = [each for each in planned.lists if each.rows is not None]
        log.info(
            "A run of these %s lists takes about %s calls; for %s of them there is no table yet, and their first load "
            "comes on top: airflow drchrono plan %s",
            len(planned.lists),
            f"{planned.later_run:,}",
            len(planned.lists) - len(known),
            self.drchrono_conn_id,
        )
        overrun = planned.overrun(self.interval) if self.interval else None
        if overrun and self.on_overrun == "fail":
            raise AirflowFailException(overrun)
        if overrun:
            log.warning("%s", overrun)
        return {
            "calls": planned.later_run,
            "calls_per_hour": per_hour,
            "rows": {each.resource: each.rows for each in known},
            "overrun": overrun,
        }
