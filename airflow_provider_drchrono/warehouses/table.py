"""The shape of a warehouse table, taken from the catalogue so that it can be told before any record was read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from airflow_provider_drchrono.catalog import Catalog, Field, Resource

ColumnType = Literal["text", "integer", "decimal", "boolean", "date", "time", "timestamp", "json", "instant"]

Row = list[Any]
"""The values of a table's columns, in their order."""

DIGEST = "_drchrono_digest"
EXTRA = "_drchrono_extra"
TIMEZONE = "_drchrono_timezone"
SYNCED_AT = "_drchrono_synced_at"

_KINDS_OF_TEXT: dict[str | None, ColumnType] = {
    "date": "date",
    "date-time": "timestamp",
    "time": "time",
    "decimal": "decimal",
}
_KINDS: dict[str, ColumnType] = {
    "integer": "integer",
    "number": "decimal",
    "boolean": "boolean",
    "object": "json",
    "array": "json",
    "any": "json",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column and what it holds; each database has its own name for the kind."""

    name: str
    kind: ColumnType
    required: bool = False


METADATA = (
    Column(DIGEST, "text", required=True),
    Column(EXTRA, "json"),
    Column(TIMEZONE, "text"),
    Column(SYNCED_AT, "instant", required=True),
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table for the records of one list.

    :param columns: the record's fields in the catalogue's order.
    :param key: columns that tell two records apart.
    :param changed: the column with the time of a record's last change, if it has one.
    """

    name: str
    schema: str | None
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    changed: str | None

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """The record's columns, then those that the sync keeps about each row."""
        return self.columns + METADATA

    @property
    def label(self) -> str:
        """The table's name as people write it."""
        return f"{self.schema}.{self.name}" if self.schema else self.name


def kind_of(field: Field) -> ColumnType:
    """Return what a column for this field of a record holds."""
    if field.type == "string":
        return _KINDS_OF_TEXT.get(field.format, "text")
    return _KINDS[field.type]


def table_for(catalog: Catalog, resource: Resource, *, name: str, schema: str | None, verbose: bool) -> Table:
    """Return the table for the records of a resource's list.

    :param verbose: whether the records are read with ``verbose=true`` and so have the verbose fields.
    """
    fields = catalog.record(resource.record or "").fields
    columns = tuple(
        Column(field.name, kind_of(field), required=field.name in resource.key)
        for field in fields.values()
        if verbose or not field.verbose
    )
    changed = resource.incremental.cursor_field if resource.incremental else None
    return Table(
        name=name,
        schema=schema,
        columns=columns,
        key=resource.key,
        changed=changed if any(column.name == changed for column in columns) else None,
    )
