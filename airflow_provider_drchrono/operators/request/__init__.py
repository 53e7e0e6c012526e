"""The operator for requests that the catalogue does not know; written by hand: no single operation is behind it."""

from airflow_provider_drchrono.operators.request.any_request import DrChronoRequestOperator

__all__ = ["DrChronoRequestOperator"]
