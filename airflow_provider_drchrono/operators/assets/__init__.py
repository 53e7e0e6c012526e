"""Operators for DAGs that are scheduled by assets; written by hand: no single operation is behind them."""

from airflow_provider_drchrono.operators.assets.changed_records import DrChronoChangedRecordsOperator

__all__ = ["DrChronoChangedRecordsOperator"]
