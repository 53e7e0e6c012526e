"""What is known of the DrChrono API, as data: operations, records, filters, page sizes and how changes are found.

The facts live in ``data/`` as JSON, one file a resource and one a record. This package only reads them; it
imports nothing outside the standard library, so that every other part of the provider may stand on it.
"""

from airflow_provider_drchrono.catalog.loader import load
from airflow_provider_drchrono.catalog.model import (
    Action,
    Bulk,
    Catalog,
    Conflict,
    Deletions,
    Field,
    Incremental,
    Operation,
    Paging,
    Parameter,
    Reason,
    RecordSchema,
    RequestBody,
    Resource,
    ResourceEntry,
    Response,
    Service,
    Trigger,
    UnknownNameError,
)

__all__ = [
    "Action",
    "Bulk",
    "Catalog",
    "Conflict",
    "Deletions",
    "Field",
    "Incremental",
    "Operation",
    "Paging",
    "Parameter",
    "Reason",
    "RecordSchema",
    "RequestBody",
    "Resource",
    "ResourceEntry",
    "Response",
    "Service",
    "Trigger",
    "UnknownNameError",
    "load",
]
