"""What sensors take beside their filters, as types that editors and type checkers see.

The constructor of the base class takes these arguments, and its docstring says what each does. A test holds the two
together. Nothing imports this module when a DAG is parsed.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from airflow.sdk import XComArg

from airflow_provider_drchrono.common.task_options import Duration, TaskOptions
from airflow_provider_drchrono.incremental.lists import Change
from airflow_provider_drchrono.incremental.suspicion import OnSuspicious

Time: TypeAlias = datetime.date | XComArg | str | None


class SensorOptions(TaskOptions, total=False):
    """What :class:`IncrementalSensor` takes where all changes of the list look the same and it has no verbose form."""

    extra_filters: Mapping[str, Any] | XComArg | str | None
    watch_fields: Sequence[str] | None
    fields: Sequence[str] | XComArg | str | None
    since: Time
    until: Time
    start: Time
    lookback: Duration | None
    max_records: int
    batch_size: int | None
    output_path: str | None
    on_suspicious: OnSuspicious
    deferrable: bool | None
    poke_interval: Duration
    mode: str
    timeout: Duration | None
    soft_fail: bool
    exponential_backoff: bool
    max_wait: Duration | None
    silent_fail: bool
    never_fail: bool


class VerboseSensorOptions(SensorOptions, total=False):
    """The same, for a list with a verbose form."""

    verbose: bool


class ChangeSensorOptions(SensorOptions, total=False):
    """What :class:`IncrementalSensor` takes where created and updated records can be told apart."""

    change: Change


class VerboseChangeSensorOptions(ChangeSensorOptions, total=False):
    """The same, for a list with a verbose form."""

    verbose: bool
