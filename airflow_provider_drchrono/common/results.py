"""What becomes of the records that a task found: an XCom of bounded size, whole or in batches, or a file."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.common.result_files import write_records
from airflow_provider_drchrono.incremental.fingerprints import Record


@dataclass(frozen=True, slots=True)
class Output:
    """How new records are handed on.

    :param fields: names of the fields to keep; None keeps all.
    :param batch_size: records in a list of lists; None for one list.
    :param path: where to write them instead.
    """

    operation_id: str
    fields: tuple[str, ...] | None
    max_records: int
    batch_size: int | None
    path: str | None

    def deliver(self, records: Iterable[Record]) -> Any:
        """Return the records, or write them and return ``{"path": ..., "count": ...}``.

        :raises InvalidArgumentError: there are too many for an XCom. Nothing is cut off silently.
        """
        chosen = (only(record, self.fields) for record in records)
        if self.path:
            return write_records(self.path, chosen)
        kept = bounded(
            chosen,
            self.max_records,
            f"{self.operation_id}: more than {self.max_records:,} records are new, the bound for an XCom: write them "
            "to a file with output_path, or raise max_records. They are kept for the next try",
        )
        if self.batch_size is None:
            return kept
        return [kept[place : place + self.batch_size] for place in range(0, len(kept), self.batch_size)]

    def count(self, result: Any) -> int:
        """Return how many records were handed on."""
        if isinstance(result, dict):
            return int(result["count"])
        return len(result) if self.batch_size is None else sum(map(len, result))

    def told(self, result: Any) -> str:
        """Say for the log what was handed on, without any of it."""
        return f"{'wrote ' if isinstance(result, dict) else ''}{self.count(result)} records"


def only(record: Record, fields: Collection[str] | None) -> Record:
    """Return a record with the chosen fields; one that the API did not send is left out."""
    return record if fields is None else {name: record[name] for name in fields if name in record}


def bounded(records: Iterable[Record], most: int, problem: str) -> list[Record]:
    """Return records as a list, stopping as soon as there are more than the bound.

    :param problem: what to say then.
    :raises InvalidArgumentError: there are more.
    """
    kept: list[Record] = []
    for record in records:
        if len(kept) == most:
            raise InvalidArgumentError(problem)
        kept.append(record)
    return kept
