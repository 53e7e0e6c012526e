"""What becomes of a list of records that goes to an XCom: no more records than its bound."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.common.results import bounded
from airflow_provider_drchrono.incremental.fingerprints import Record


def collect(operation_id: str, records: Iterable[Record], max_records: int) -> list[Record]:
    """Return the records as a list, stopping as soon as there are more than the bound.

    :raises InvalidArgumentError: there are more. Nothing is cut off silently.
    """
    return bounded(records, max_records, too_many(operation_id, max_records))


def too_many(operation_id: str, max_records: int) -> str:
    """Say that a list is longer than its bound, and what to do."""
    return (
        f"{operation_id}: there are more than {max_records:,} records, the bound for an XCom: write them to a "
        "file with output_path, narrow the filters, or raise max_records"
    )


def checked_bound(operation_id: str, max_records: object) -> int:
    """Return the bound, which has to be a number of records from 1 up."""
    if isinstance(max_records, bool) or not isinstance(max_records, int) or max_records < 1:
        raise InvalidArgumentError(
            f"{operation_id}: max_records must be a number from 1 up; a list without bound goes to output_path"
        )
    return max_records
