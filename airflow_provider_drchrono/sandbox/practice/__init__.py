"""The practice behind the API: its records, the rules that keep them consistent, and the synthetic seed."""

from airflow_provider_drchrono.sandbox.practice.practice import Practice
from airflow_provider_drchrono.sandbox.practice.table import Key, Row, Table

__all__ = ["Key", "Practice", "Row", "Table"]
