"""What operators of a kind take beside what is their own, as types that editors and type checkers see.

The constructors of the base classes take these arguments, and their docstrings say what each does. A test holds the
two together. Nothing imports this module when a DAG is parsed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import XComArg

from airflow_provider_drchrono.common.task_options import TaskOptions
from airflow_provider_drchrono.incremental.suspicion import OnSuspicious
from airflow_provider_drchrono.operators.base.creates import IfExists
from airflow_provider_drchrono.operators.base.operation import OnMissing


class GetOptions(TaskOptions, total=False):
    """What :class:`GetOperator` takes where the record has no verbose form."""

    fields: Sequence[str] | None
    on_missing: OnMissing


class VerboseGetOptions(GetOptions, total=False):
    """What :class:`GetOperator` takes."""

    verbose: bool


class RecordsOptions(TaskOptions, total=False):
    """What operators take that return many records."""

    fields: Sequence[str] | None
    max_records: int
    batch_size: int | None
    output_path: str | None
    on_suspicious: OnSuspicious


class ListOptions(RecordsOptions, total=False):
    """What :class:`ListOperator` takes where the list has no verbose form."""

    extra_filters: Mapping[str, Any] | XComArg | str | None


class VerboseListOptions(ListOptions, total=False):
    """What :class:`ListOperator` takes."""

    verbose: bool


class BulkResultOptions(RecordsOptions, total=False):
    """What :class:`BulkResultOperator` takes."""

    wait_for_completion: bool
    deferrable: bool | None
    poll_interval: float
    timeout: float


class BulkListOptions(BulkResultOptions, total=False):
    """What :class:`BulkListOperator` takes where the list has no verbose form."""

    order_by: str | None


class VerboseBulkListOptions(BulkListOptions, total=False):
    """What :class:`BulkListOperator` takes."""

    verbose: bool


class ReportOptions(TaskOptions, total=False):
    """What :class:`ReportOperator` takes."""

    output_path: str | None


class WriteOptions(TaskOptions, total=False):
    """What operators take that send a body."""

    extra_fields: Mapping[str, Any] | XComArg | str | None


class CreateOptions(WriteOptions, total=False):
    """What :class:`CreateOperator` takes."""

    if_exists: IfExists
    match_on: Sequence[str]


class UpdateOptions(WriteOptions, total=False):
    """What :class:`UpdateOperator` and :class:`ReplaceOperator` take."""

    read_back: bool


class DeleteOptions(TaskOptions, total=False):
    """What :class:`DeleteOperator` takes."""

    on_missing: OnMissing
