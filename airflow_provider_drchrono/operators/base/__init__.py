"""What all operators share: a class for each kind of operation, which the generated operators only fill with names."""

from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.operators.base.bulk_lists import BulkListOperator, BulkResultOperator
from airflow_provider_drchrono.operators.base.creates import CreateOperator, IfExists
from airflow_provider_drchrono.operators.base.operation import DrChronoOperationOperator, OnMissing
from airflow_provider_drchrono.operators.base.reads import (
    GetOperator,
    ListOperator,
    ReportOperator,
)
from airflow_provider_drchrono.operators.base.writes import (
    ActionOperator,
    DeleteOperator,
    ReplaceOperator,
    UpdateOperator,
)

__all__ = [
    "ActionOperator",
    "BulkListOperator",
    "BulkResultOperator",
    "CreateOperator",
    "DeleteOperator",
    "DrChronoOperationOperator",
    "GetOperator",
    "IfExists",
    "InvalidArgumentError",
    "ListOperator",
    "OnMissing",
    "ReplaceOperator",
    "ReportOperator",
    "UpdateOperator",
]
