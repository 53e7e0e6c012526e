"""What becomes of the records that a task found: an XCom of bounded size, whole or in batches, or a file."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.common.result_files import check_output_path, write_records

if TYPE_CHECKING:
    from airflow_provider_drchrono.client.paging import Record


@dataclass(frozen=True, slots=True)
class Output:
    """How records are handed on.

    :param fields: names of the fields to keep; None keeps all.
    :param max_records: most records that go to an XCom.
    :param batch_size: records in a list of lists; None for one list.
    :param path: where to write them instead.
    :param are_new: whether they are changes, which the next try is given again if this one refuses them.
    :raises InvalidArgumentError: tasks may not write there, which is known before any call.
    """

    operation_id: str
    fields: tuple[str, ...] | None
    max_records: int
    batch_size: int | None
    path: str | None
    are_new: bool = True

    def __post_init__(self) -> None:
        if self.path:
            check_output_path(self.path)

    def deliver(self, records: Iterable[Record]) -> Any:
        """Return the records, or write them and return ``{"path": ..., "count": ...}``.

        :raises InvalidArgumentError: there are too many for an XCom. Nothing is cut off silently.
        """
        chosen = (only(record, self.fields) for record in records)
        if self.path:
            return write_records(self.path, chosen)
        kept: list[Record] = []
        for record in chosen:
            self.check_bound(len(kept) + 1)
            kept.append(record)
        if self.batch_size is None:
            return kept
        return [kept[place : place + self.batch_size] for place in range(0, len(kept), self.batch_size)]

    def check_bound(self, count: int) -> None:
        """Refuse so many records where they would go to an XCom.

        :raises InvalidArgumentError: there are more than its bound.
        """
        if self.path or count <= self.max_records:
            return
        found, remedy = (
            ("are new", "or raise max_records. They are kept for the next try")
            if self.are_new
            else ("were found", "narrow the filters, or raise max_records")
        )
        raise InvalidArgumentError(
            f"{self.operation_id}: more than {self.max_records:,} records {found}, the bound for an XCom: write them "
            f"to a file with output_path, {remedy}"
        )

    def count(self, result: Any) -> int:
        """Return how many records were handed on."""
        if isinstance(result, dict):
            return int(result["count"])
        return len(result) if self.batch_size is None else sum(map(len, result))

    def summary(self, result: Any) -> str:
        """Say for the log what was handed on, without any of it."""
        return f"{'wrote ' if isinstance(result, dict) else ''}{self.count(result)} records"


def only(record: Record, fields: Collection[str] | None) -> Record:
    """Return a record with the chosen fields; one that the API did not send is left out."""
    return record if fields is None else {name: record[name] for name in fields if name in record}
