"""The only package that touches Airflow's private parts, and that knows how Airflow's versions and processes differ.

One module for each concern. Each checks, when it is imported, that the parts it needs are there; a part that is not
stops the import with an error that names the module to mend. ``database`` and ``command_line`` are for the API server
and the command line, and are imported by name there.
"""

from __future__ import annotations

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowRescheduleException,
)

from airflow_provider_drchrono.compat.folders import configured_staging, quota_folder
from airflow_provider_drchrono.compat.hosts import celery_redis, executor_of_many_hosts
from airflow_provider_drchrono.compat.task_run import (
    instance_of,
    mask_secret,
    run_of,
    shortest_deferral,
    waits_in_triggerer,
)
from airflow_provider_drchrono.compat.teams import team_of_connection
from airflow_provider_drchrono.compat.variables import (
    are_variables_in_memory,
    delete_variable,
    read_variable,
    write_variable,
)

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowRescheduleException",
    "BaseHook",
    "are_variables_in_memory",
    "celery_redis",
    "configured_staging",
    "delete_variable",
    "executor_of_many_hosts",
    "instance_of",
    "mask_secret",
    "quota_folder",
    "read_variable",
    "run_of",
    "shortest_deferral",
    "team_of_connection",
    "waits_in_triggerer",
    "write_variable",
]
