"""What Airflow puts into the context of a task for its templates. For tests only, where no task runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context

from airflow_provider_drchrono.compat.private import mended_in

with mended_in(__name__):
    from airflow.sdk.definitions.param import process_params
    from airflow.sdk.execution_time.context import (
        ConnectionAccessor,
        InletEventsAccessors,
        MacrosAccessor,
        OutletEventAccessors,
        VariableAccessor,
    )

if TYPE_CHECKING:
    from airflow.sdk import DAG

HAS_TASK_STATE_STORE = "task_state_store" in Context.__annotations__
"""Whether this Airflow keeps state for a task between its tries."""


def accessors(task: BaseOperator, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a context that are objects of Airflow itself.

    :param params: values for the DAG's and the task's params, as a trigger of the DAG gives them.
    :raises airflow.exceptions.ParamValidationError: one of them has a value that its schema refuses.
    """
    return {
        "dag": dag_of(task),
        "params": process_params(dag_of(task), task, dict(params), suppress_exception=False),  # type: ignore[arg-type]
        "inlet_events": InletEventsAccessors(task.inlets),
        "outlet_events": OutletEventAccessors(),
        "macros": MacrosAccessor(),
        "var": {"json": VariableAccessor(deserialize_json=True), "value": VariableAccessor(deserialize_json=False)},
        "conn": ConnectionAccessor(),
    }


def dag_of(task: BaseOperator) -> DAG | None:
    """Return the DAG of a task; None where it has none."""
    return task.dag if task.has_dag() else None  # type: ignore[no-untyped-call]
