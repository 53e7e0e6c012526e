"""Decodes records that are as the catalogue says, with hardly a look at a value: nearly all of them are.

Any other record is not taken here, and each of its values is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from operator import itemgetter
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import astuple

if TYPE_CHECKING:
    from airflow_provider_drchrono.warehouses.table import Column, ColumnType

# Values of the kinds that are not here are converted afterwards, one by one.
_TYPES: dict[ColumnType, Any] = {
    "text": str | None | UnsetType,
    "boolean": bool | None | UnsetType,
    "integer": Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None | UnsetType,
    "date": date | None | UnsetType,
}

# Its own fields are in the order of their names already, so only what is nested has to be sorted.
_encode = msgspec.json.Encoder(order="deterministic").encode


class PlainRecords:
    """Decodes the plain records of a table.

    :ivar unconverted: indexes of the columns whose values are left as they came.
    """

    def __init__(self, columns: tuple[Column, ...]) -> None:
        # Numbered, as a field's name need not be one in Python; in the order that canonical JSON has.
        ordered = sorted(range(len(columns)), key=lambda index: columns[index].name)
        record_type = msgspec.defstruct(
            "PlainRecord",
            [(f"field_{index}", _TYPES.get(columns[index].kind, Any), UNSET) for index in ordered],
            rename={f"field_{index}": columns[index].name for index in ordered},
            forbid_unknown_fields=True,
            gc=False,
        )
        self.unconverted = [index for index, column in enumerate(columns) if column.kind not in _TYPES]
        self._dates = [index for index, column in enumerate(columns) if column.kind == "date"]
        self._decode = msgspec.json.Decoder(record_type).decode
        places = [ordered.index(index) for index in range(len(columns))]
        # An itemgetter of one place returns no tuple, and one value is in order already.
        self._in_order: Callable[[Any], Any] = itemgetter(*places) if len(places) > 1 else tuple

    def decode(self, line: bytes) -> tuple[list[Any], bytes] | None:
        """Return the values of the columns, and the record as canonical JSON; None if it is not a plain one."""
        try:
            record = self._decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        values = list(self._in_order(astuple(record)))
        if UNSET in values:
            values = [None if value is UNSET else value for value in values]
        for index in self._dates:
            if (day := values[index]) is not None:
                values[index] = day.isoformat()
        return values, _encode(record)
