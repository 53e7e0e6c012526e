"""Contexts for tasks that a test executes by itself: as much of Airflow's own as needs neither database nor worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID, uuid4

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

RETURN_VALUE = "return_value"

XComs = dict[tuple[str, str, str, int], Any]
"""Values by DAG, task, key and map index."""


class MemoryTaskStateStore:
    """What Airflow gives a task as ``task_state_store`` from 3.3 on, for the life of a test."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        """Return what is kept under a key."""
        return self.values.get(key, default)

    def set(self, key: str, value: Any, **options: Any) -> None:
        """Keep a value.

        :param options: what Airflow takes besides, such as how long to keep it; the life of a test is short.
        """
        self.values[key] = value

    def delete(self, key: str) -> None:
        """Forget a key, if there is one."""
        self.values.pop(key, None)

    def clear(self) -> None:
        """Forget all keys."""
        self.values.clear()


@dataclass
class MemoryTaskInstance:
    """The task instance of a context that a test has made; its XComs are kept in memory.

    :param xcoms: shared by all tasks of a DAG run.
    """

    dag_id: str
    task_id: str
    run_id: str
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    task: BaseOperator | None = None
    start_date: datetime = field(default_factory=lambda: datetime.now(UTC))
    xcoms: XComs = field(default_factory=dict, repr=False)
    id: UUID = field(default_factory=uuid4, repr=False)

    def xcom_push(self, key: str, value: Any) -> None:
        """Make a value available to the tasks of the same DAG run."""
        self.xcoms[self.dag_id, self.task_id, key, self.map_index] = value

    def xcom_pull(
        self,
        task_ids: str | Iterable[str] | None = None,
        dag_id: str | None = None,
        key: str = RETURN_VALUE,
        *,
        map_indexes: Any = None,
        default: Any = None,
        **options: Any,
    ) -> Any:
        """Return a value of this DAG run, or a list of them where ``task_ids`` is one.

        :param map_indexes: the index of one instance of a mapped task.
        :param default: what is returned where there is no value.
        :param options: what Airflow takes besides, to look into other DAG runs: there are none.
        """
        index = map_indexes if isinstance(map_indexes, int) else -1
        where = dag_id or self.dag_id
        if task_ids is None or isinstance(task_ids, str):
            return self.xcoms.get((where, task_ids or self.task_id, key, index), default)
        return [self.xcoms.get((where, each, key, index), default) for each in task_ids]

    def get_first_reschedule_date(self, context: Mapping[str, Any]) -> None:
        """Return None: in a test, each ``execute`` of a sensor is the first."""


def task_context(task: BaseOperator, run: Context | Mapping[str, Any] | None = None, /, **params: Any) -> Context:
    """Return a context with which ``task.execute(context)`` works in a unit test.

    Each context is a DAG run of its own, and the one that is made next is the run after it: a sensor then returns what
    has changed in between. A second ``execute`` with the same context is a retry: a sensor returns the same again, and
    a create whose answer was lost looks for its record first.

    It can be changed like any mapping: ``context["logical_date"] = ...``. Templates are not rendered by ``execute``;
    ``task.render_template_fields(context)`` does it.

    :param task: an operator or a sensor, in a DAG or without one.
    :param run: the context of another task, to be in the same DAG run as that one, with the same XComs and params.
        ``context["ti"].xcom_push(key, value)`` stores one; what ``execute`` returns is stored by nobody else, under
        the key ``return_value``.
    :param params: values for the params of the DAG and the task.
    :raises TypeError: ``task`` is no operator.
    """
    from airflow.sdk import BaseOperator

    given: object = task
    if not isinstance(given, BaseOperator):
        raise TypeError(
            f"task must be an operator or a sensor, not {type(given).__name__}; of a mapped one, give an instance; of "
            "what a decorated function returns, its .operator"
        )
    from airflow_provider_drchrono.compat.task_contexts import HAS_TASK_STATE_STORE, accessors

    earlier: Mapping[str, Any] = run or {}
    dag_run = earlier["dag_run"] if run else _dag_run(task.dag_id, params)
    instance = MemoryTaskInstance(
        dag_id=task.dag_id,
        task_id=task.task_id,
        run_id=dag_run.run_id,
        max_tries=task.retries or 0,
        task=task,
        xcoms=earlier["ti"].xcoms if run else {},
    )
    context: dict[str, Any] = {
        **_times(dag_run.logical_date),
        **accessors(task, dag_run.conf | params),
        "dag_run": dag_run,
        "inlets": task.inlets,
        "outlets": task.outlets,
        "run_id": dag_run.run_id,
        "task": task,
        "task_instance": instance,
        "task_instance_key_str": f"{task.dag_id}__{task.task_id}__{dag_run.run_id}",
        "task_reschedule_count": 0,
        "ti": instance,
        "triggering_asset_events": {},
    }
    if HAS_TASK_STATE_STORE:
        context["task_state_store"] = MemoryTaskStateStore()
    return cast("Context", context)


def _dag_run(dag_id: str, params: Mapping[str, Any]) -> SimpleNamespace:
    now = datetime.now(UTC)
    return SimpleNamespace(
        dag_id=dag_id,
        run_id=f"test__{uuid4()}",
        run_type="manual",
        logical_date=now,
        data_interval_start=now,
        data_interval_end=now,
        run_after=now,
        start_date=now,
        conf=dict(params),
        clear_number=0,
    )


def _times(moment: datetime) -> dict[str, Any]:
    """Return what templates know of the time of a run, named as Airflow names it."""
    return {
        "logical_date": moment,
        "data_interval_start": moment,
        "data_interval_end": moment,
        "ds": moment.strftime("%Y-%m-%d"),
        "ds_nodash": moment.strftime("%Y%m%d"),
        "ts": moment.isoformat(),
        "ts_nodash": moment.strftime("%Y%m%dT%H%M%S"),
        "ts_nodash_with_tz": moment.isoformat().replace("-", "").replace(":", ""),
    }
