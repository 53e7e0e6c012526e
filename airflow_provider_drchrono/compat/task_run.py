"""The task that runs: its place in a DAG run, its deferral, what Airflow stores of its templates, and what it masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, conf
from airflow.sdk.log import mask_secret as mask_in_task

from airflow_provider_drchrono.compat.private import check_method

if TYPE_CHECKING:
    from airflow.sdk import Context


BY_HAND = "by_hand"
"""The DAG run of a task whose ``execute`` somebody calls without one, as a unit test does."""


def instance_of(context: Context | Mapping[str, Any], task: BaseOperator) -> Any:
    """Return the task instance that runs, or a stand-in where ``execute`` is called without the context of a task.

    :param context: the context of the running task; an empty one will do.
    :param task: the operator.
    """
    found: Any = context.get("ti")
    if found is not None:
        return found
    return SimpleNamespace(dag_id=task.dag_id, task_id=task.task_id, run_id=BY_HAND, map_index=-1, try_number=1)


def run_of(context: Context | Mapping[str, Any]) -> str:
    """Return what all tries of a task have in common, and no other execution of it: the DAG run's id, as a rule.

    From Airflow 3.4 on, a loop runs a task many times in one DAG run. Each iteration counts as a run of its own, or
    the second one would be given what the first one was.

    :param context: the context of the running task.
    """
    ti: Any = context.get("ti")
    run_id = BY_HAND if ti is None else str(ti.run_id)
    loop: Any = context.get("loop")
    return run_id if loop is None else f"{run_id}#{loop.index}"


def shortest_deferral() -> float:
    """Return for how many seconds a task that defers has to stay away at least.

    A worker notices only now and then that the process of a task has ended. A task that is to run again by then is
    taken for one that has failed.
    """
    return 1.5 * float(conf.getfloat("workers", "min_heartbeat_interval", fallback=5.0))


def waits_in_triggerer(deferrable: bool | None) -> bool:
    """Return whether a task defers.

    :param deferrable: what its author says; None leaves it to ``[operators] default_deferrable``.
    """
    if deferrable is not None:
        return deferrable
    return bool(conf.getboolean("operators", "default_deferrable", fallback=False))


PARAMETERS = ("parent", "template_fields", "context", "jinja_env", "seen_oids")

# Airflow calls it for mapped and for plain tasks alike; no public method does both. If it had another name, ours would
# never be called and rendered values would be stored in clear.
check_method(BaseOperator, "_do_render_template_fields", PARAMETERS, __name__)


class NoticesRendering:
    """For operators and sensors: calls :meth:`after_rendering` once the templates are rendered."""

    def after_rendering(self, given: Mapping[str, Any]) -> None:
        """Do what has to be done before Airflow stores the rendered fields.

        :param given: the fields that were rendered, as they were before.
        """
        raise NotImplementedError

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Any, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        names = tuple(template_fields)
        given = {name: getattr(parent, name, None) for name in names}
        super()._do_render_template_fields(parent, names, context, jinja_env, seen_oids)  # type: ignore[misc]
        # Airflow also calls it for objects inside of fields that have templates of their own.
        if parent is self:
            self.after_rendering(given)


def mask_secret(secret: Any) -> None:
    """Have Airflow replace a secret by asterisks in all that this process and its supervisor write.

    :param secret: text; or a mapping, of which the values are masked whose names are those of secrets.
    """
    if not secret:
        return
    mask_in_task(secret)
    # The API server and the command line have a masker of their own. A worker may be without their package.
    with suppress(ImportError):
        from airflow._shared.secrets_masker import mask_secret as mask_in_server

        mask_in_server(secret)
