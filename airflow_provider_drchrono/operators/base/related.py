"""Finds the other operations on the same kind of record, such as the one that reads what another wrote."""

from __future__ import annotations

from airflow_provider_drchrono.catalog import Operation, load
from airflow_provider_drchrono.catalog.model import OperationKind
from airflow_provider_drchrono.common.arguments import InvalidArgumentError


def find_related(operation_id: str, kind: OperationKind) -> Operation | None:
    """Return the operation of this kind on one record of the same resource, if there is one."""
    resource = load().resource(load().operation(operation_id).resource)
    return next(
        (
            each
            for each in resource.operations.values()
            if each.kind == kind and [one.name for one in each.parameters if one.place == "path"] == ["id"]
        ),
        None,
    )


def related_operation(operation_id: str, kind: OperationKind) -> Operation:
    """Return the operation of this kind on one record of the same resource.

    :raises InvalidArgumentError: the API has none.
    """
    found = find_related(operation_id, kind)
    if found is None:
        raise InvalidArgumentError(f"{operation_id}: the API has no operation that could {kind} this kind of record")
    return found


def bulk_resource(operation_id: str) -> str:
    """Return the resource that one of a pair of bulk operations lists.

    :raises LookupError: the operation is not one of a pair.
    """
    for resource in load().resources.values():
        if resource.bulk is not None and operation_id in (resource.bulk.start, resource.bulk.result):
            return resource.name
    raise LookupError(f"{operation_id} is not one of a pair of operations that make and fetch a bulk list")
