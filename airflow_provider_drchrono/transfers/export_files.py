"""The files of an export: gzipped NDJSON, or Parquet with the types of the warehouse table."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from itertools import chain, islice
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias, cast

import msgspec
from isal import igzip

from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.common.result_files import written_whole
from airflow_provider_drchrono.warehouses.table import Column, Row

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

FileFormat: TypeAlias = Literal["ndjson", "parquet"]

SUFFIXES: Mapping[str, str] = {"ndjson": ".ndjson.gz", "parquet": ".parquet"}

# As for staged pages.
_COMPRESSION = 2

# Rows that are turned into columns of Parquet together.
_ROW_GROUP = 20_000

# A decimal of a row has at most 15 digits on either side of its point.
_DIGITS, _FRACTION = 38, 15


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file of an export, as its manifest names it.

    :param path: below the folder of the resource.
    :param bytes: its size as it is stored.
    :param sha256: of its bytes as they are stored, in hexadecimal.
    """

    path: str
    rows: int
    bytes: int
    sha256: str


def check_format(file_format: str) -> None:
    """Refuse a format that nothing that is installed can write.

    :raises InvalidArgumentError: it is ``parquet``, and pyarrow is missing.
    """
    if file_format == "parquet" and find_spec("pyarrow") is None:
        raise InvalidArgumentError(
            "file_format='parquet' needs pyarrow, which is not installed; install airflow-provider-drchrono[parquet]"
        )


def write_files(
    folder: ObjectStoragePath,
    place: str,
    stem: str,
    columns: tuple[Column, ...],
    rows: Iterable[Row],
    *,
    file_format: str,
    rows_per_file: int,
) -> list[ExportedFile]:
    """Write rows to as many files as they take, each of them whole or not at all, and say what is in them.

    :param folder: the folder of the resource.
    :param place: the folder of the files below it.
    :param stem: begins their names; ``-00000`` and the format's suffix follow.
    :param columns: of each row.
    """
    write = {"ndjson": _write_ndjson, "parquet": _write_parquet}[file_format]
    rows = iter(rows)
    files: list[ExportedFile] = []
    for first in rows:
        path = f"{place}/{stem}-{len(files):05}{SUFFIXES[file_format]}"
        with written_whole(folder / path) as file:
            counted = _Counted(file)
            count = write(cast("IO[bytes]", counted), columns, chain((first,), islice(rows, rows_per_file - 1)))
        files.append(ExportedFile(path, count, counted.size, counted.sha256.hexdigest()))
    return files


class _Counted:
    """A file that is written, with its size and its checksum so far."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.size = 0
        self.sha256 = hashlib.sha256()

    def write(self, content: Any) -> int:
        data = bytes(content)
        self._file.write(data)
        self.sha256.update(data)
        self.size += len(data)
        return len(data)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """Leave the file open: whoever opened it decides whether it is whole."""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


def _write_ndjson(file: IO[bytes], columns: tuple[Column, ...], rows: Iterable[Row]) -> int:
    names = [column.name for column in columns]
    nested = [index for index, column in enumerate(columns) if column.kind == "json"]
    encode = msgspec.json.Encoder().encode
    count = 0
    # Without a time stamp, so that equal rows make an equal file.
    # The stubs have no types for it.
    gzip: Any = igzip.IGzipFile
    with gzip(fileobj=file, mode="wb", compresslevel=_COMPRESSION, mtime=0) as packed:
        for row in rows:
            for index in nested:
                if row[index] is not None:
                    row[index] = msgspec.Raw(row[index].encode())
            packed.write(encode(dict(zip(names, row, strict=True))) + b"\n")
            count += 1
    return count


def _write_parquet(file: IO[bytes], columns: tuple[Column, ...], rows: Iterable[Row]) -> int:
    pyarrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    types = {
        "text": pyarrow.string(),
        "json": pyarrow.string(),
        "integer": pyarrow.int64(),
        "decimal": pyarrow.decimal128(_DIGITS, _FRACTION),
        "boolean": pyarrow.bool_(),
        "date": pyarrow.date32(),
        "time": pyarrow.time64("us"),
        "timestamp": pyarrow.timestamp("us"),
        "instant": pyarrow.timestamp("us", tz="UTC"),
    }
    schema = pyarrow.schema(
        [
            pyarrow.field(
                column.name,
                types[column.kind],
                nullable=not column.required,
                metadata={"description": column.about} if column.about else None,
            )
            for column in columns
        ]
    )
    count = 0
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _groups(rows):
            values = [
                pyarrow.array(_converted(column, each), type=types[column.kind])
                for column, each in zip(columns, zip(*group, strict=True), strict=True)
            ]
            writer.write_table(pyarrow.Table.from_arrays(values, schema=schema))
            count += len(group)
    return count


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    rows = iter(rows)
    while group := list(islice(rows, _ROW_GROUP)):
        yield group


_CONVERTERS: Mapping[str, Callable[[str], Any]] = {
    "decimal": Decimal,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timestamp": datetime.fromisoformat,
    "instant": datetime.fromisoformat,
}


def _converted(column: Column, values: Iterable[Any]) -> list[Any]:
    convert = _CONVERTERS.get(column.kind)
    return list(values) if convert is None else [None if each is None else convert(each) for each in values]
