"""Helps people to test their own DAGs against the sandbox: fixtures for pytest, and contexts for single tasks.

The fixtures are in :mod:`airflow_provider_drchrono.testing.plugin`, which pytest finds by itself. It also imports this
module at each of its starts, so nothing here imports Airflow before it is called.
"""

from airflow_provider_drchrono.testing.contexts import MemoryTaskInstance, MemoryTaskStateStore, task_context
from airflow_provider_drchrono.testing.samples import sample_records

__all__ = ["MemoryTaskInstance", "MemoryTaskStateStore", "sample_records", "task_context"]
