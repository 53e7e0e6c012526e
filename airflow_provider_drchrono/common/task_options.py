"""What every task of Airflow takes, as a type that editors and type checkers see behind ``**kwargs``."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from typing import Any, Required, TypeAlias, TypedDict

from airflow.sdk import DAG, TaskGroup

Duration: TypeAlias = datetime.timedelta | float
"""A timedelta, or seconds."""

Callbacks: TypeAlias = Callable[..., Any] | Collection[Callable[..., Any]] | None


class TaskOptions(TypedDict, total=False):
    """The arguments that all operators and sensors of Airflow 3.2 to 3.4 take, and the connection to DrChrono.

    ``retry_policy`` came with Airflow 3.3; Airflow 3.2 refuses it.
    """

    task_id: Required[str]
    drchrono_conn_id: str
    owner: str
    email: str | Sequence[str] | None
    email_on_retry: bool
    email_on_failure: bool
    retries: int | None
    retry_delay: Duration
    retry_exponential_backoff: float
    max_retry_delay: Duration | None
    retry_policy: Any
    start_date: datetime.datetime | None
    end_date: datetime.datetime | None
    depends_on_past: bool
    ignore_first_depends_on_past: bool
    wait_for_past_depends_before_skipping: bool
    wait_for_downstream: bool
    dag: DAG | None
    params: MutableMapping[str, Any] | None
    default_args: dict[str, Any] | None
    priority_weight: int
    weight_rule: Any
    queue: str
    pool: str | None
    pool_slots: int
    sla: datetime.timedelta | None
    execution_timeout: datetime.timedelta | None
    on_execute_callback: Callbacks
    on_failure_callback: Callbacks
    on_success_callback: Callbacks
    on_retry_callback: Callbacks
    on_skipped_callback: Callbacks
    pre_execute: Callable[[Any], None] | None
    post_execute: Callable[[Any, Any], None] | None
    trigger_rule: str
    resources: Mapping[str, Any] | None
    run_as_user: str | None
    map_index_template: str | None
    max_active_tis_per_dag: int | None
    max_active_tis_per_dagrun: int | None
    executor: str | None
    executor_config: dict[str, Any] | None
    do_xcom_push: bool
    multiple_outputs: bool
    inlets: Any
    outlets: Any
    task_group: TaskGroup | None
    doc: str | None
    doc_md: str | None
    doc_json: str | None
    doc_yaml: str | None
    doc_rst: str | None
    task_display_name: str | None
    logger_name: str | None
    allow_nested_operators: bool
    render_template_as_native_obj: bool | None
