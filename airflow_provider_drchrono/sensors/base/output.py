"""What becomes of the records that a sensor found: an XCom of bounded size, whole or in batches, or a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from airflow_provider_drchrono.changes.marks import Record
from airflow_provider_drchrono.hooks.result_files import write_records
from airflow_provider_drchrono.sensors.base.arguments import InvalidArgumentError


@dataclass(frozen=True, slots=True)
class Output:
    """How records are handed on.

    :param fields: names of the fields to keep; None keeps all.
    :param batch_size: records in a list of lists; None for one list.
    :param path: where to write them instead.
    """

    operation_id: str
    fields: tuple[str, ...] | None
    max_records: int
    batch_size: int | None
    path: str | None

    def deliver(self, records: Iterator[Record]) -> Any:
        """Return the records, or write them and return ``{"path": ..., "count": ...}``.

        :raises InvalidArgumentError: there are too many for an XCom. Nothing is cut off silently.
        """
        chosen = (self._only(record) for record in records)
        if self.path:
            return write_records(self.path, chosen)
        kept: list[Record] = []
        for record in chosen:
            if len(kept) == self.max_records:
                raise InvalidArgumentError(
                    f"{self.operation_id}: more than {self.max_records:,} records are new, the bound for an XCom: "
                    "write them to a file with output_path, or raise max_records. They are kept for the next try"
                )
            kept.append(record)
        if self.batch_size is None:
            return kept
        return [kept[place : place + self.batch_size] for place in range(0, len(kept), self.batch_size)]

    def _only(self, record: Record) -> Record:
        return record if self.fields is None else {name: record[name] for name in self.fields if name in record}
