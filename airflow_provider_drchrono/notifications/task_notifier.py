"""The notifier that gives the people of a practice a task in DrChrono, such as when a DAG fails."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.operators.base.body_names import body_names, check_data

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_drchrono.client import DrChronoClient
    from airflow_provider_drchrono.types.tasks_types import TaskFields

LOOKED_BACK = timedelta(days=2)
"""Tasks that changed since then are looked at, for one with the same title. It is longer than clocks differ."""


class DrChronoTaskNotifier(BaseNotifier):
    """Create a task in DrChrono, so that those who work there see what has happened in Airflow.

    ``POST /api/tasks``. Scopes: ``tasks:write``, and ``tasks:read`` to look for what is there. ::

        with DAG("nightly", default_args={"on_failure_callback": DrChronoTaskNotifier(data={"assignee_user": "12"})}):
            ...

    Without a title of its own, the task names the DAG, its task and the run, and nothing else: what a task of Airflow
    has raised may hold patient data. One task of Airflow in one run gets one task in DrChrono, however often it fails:
    nothing is created where a task with this title changed within the last two days. That takes a call or two, and a
    third where ``data`` names no status.

    A notifier cannot fail a task. What goes wrong in it is in the log of the task or of the DAG processor.

    :param data: fields of the task, such as ``assignee_user``, ``assignee_group``, ``category``, ``status``, ``title``
        or ``due_date``; values may be templates. Left out, ``status`` is the practice's first one.
    :param drchrono_conn_id: Airflow connection of DrChrono.
    :raises InvalidArgumentError: ``data`` has a field that tasks have not, or that DrChrono sets.
    """

    template_fields: Sequence[str] = ("data", "drchrono_conn_id")

    def __init__(
        self,
        *,
        data: TaskFields | Mapping[str, Any] | None = None,
        drchrono_conn_id: str = DrChronoHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if data is not None and not isinstance(data, Mapping):
            raise InvalidArgumentError(
                f"{type(self).__name__}: data must be a mapping of fields, not {type(data).__name__}"
            )
        # Both are found when the notifier runs, where they are not given.
        operations = load().resource("tasks").operations.values()
        create = next(each.id for each in operations if each.kind == "create")
        check_data(create, {"title": "", "status": 0, **(data or {})}, None, body_names(create), lists=False)
        self.data = dict(data or {})
        self.drchrono_conn_id = drchrono_conn_id

    def notify(self, context: Context) -> None:
        """Create the task, unless it is there.

        :raises DrChronoError: DrChrono has refused it, or cannot be reached.
        """
        title = str(self.data.get("title") or "").strip() or title_of(context)
        with DrChronoHook(self.drchrono_conn_id) as drchrono:
            if _is_there(drchrono, title):
                self.log.info("DrChrono has a task of this title already; none was created")
                return
            status = self.data.get("status") or _first_status(drchrono)
            created = drchrono.create("tasks", {**self.data, "title": title, "status": int(status)})
        self.log.info("Created the task %s in DrChrono", created.get("id"))

    async def async_notify(self, context: Context) -> None:
        """Do the same without blocking the triggerer."""
        await asyncio.to_thread(self.notify, context)


def title_of(context: Mapping[str, Any]) -> str:
    """Return a title that names what has run, and holds nothing that it has worked with.

    :param context: of a task, or of a DAG's callback, which has less.
    """
    instance = context.get("ti") or context.get("task_instance")
    dag, dag_run = context.get("dag"), context.get("dag_run")
    dag_id = getattr(instance, "dag_id", None) or getattr(dag, "dag_id", None) or getattr(dag_run, "dag_id", "")
    run_id = context.get("run_id") or getattr(dag_run, "run_id", None) or getattr(instance, "run_id", "")
    name = dag_id
    if instance is not None:
        index = getattr(instance, "map_index", -1)
        name = f"{dag_id}.{instance.task_id}" + (f"[{index}]" if index is not None and index >= 0 else "")
    return f"Airflow: {name} failed in the run {run_id}"


def _is_there(drchrono: DrChronoClient, title: str) -> bool:
    # By the practice's clock, whose zone does not matter so far back.
    since = (datetime.now(UTC) - LOOKED_BACK).replace(tzinfo=None, microsecond=0)
    return any(each.get("title") == title for each in drchrono.list("tasks", {"since": since}))


def _first_status(drchrono: DrChronoClient) -> Any:
    first = next(drchrono.list("task_statuses"), None)
    if first is None:
        raise InvalidArgumentError("DrChrono shows no task status; name one in data, as in {'status': 12}")
    return first["id"]
