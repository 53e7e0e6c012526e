"""Writes what a task returns to a file on any object storage, in place of an XCom.

A file appears under its name only when it is whole. On this machine it is written under a temporary name beside it,
readable by its owner only, and renamed. An object store is asked to publish it at the end, by a transaction of fsspec;
one that knows no transactions shows the unfinished file while it is written, and it is removed after a failure.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, cast

from airflow.sdk import ObjectStoragePath

from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.common.file_fence import inside_fence, place_of

UNFINISHED = ".unfinished"
"""Ends the temporary name of a local file."""


def write_records(path: str | ObjectStoragePath, records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Write one JSON object a line, compressed where the name ends in ``.gz``, and never hold more than a page.

    :return: ``{"path": ..., "count": ...}``
    :raises InvalidArgumentError: the path names something that is no file, such as a device, or is one that tasks may
        not write.
    :raises Exception: what went wrong; an unfinished file is removed, and an earlier one of that name stays.
    """
    target, count = check_output_path(path), 0
    with written_whole(target) as file, _text(file, target.name) as text:
        for record in records:
            text.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
            count += 1
    return {"path": str(target), "count": count}


def write_document(path: str | ObjectStoragePath, document: Any) -> dict[str, Any]:
    """Write a report: text and bytes as they are, anything else as JSON.

    :return: ``{"path": ..., "bytes": ...}``, the bytes before compression.
    :raises InvalidArgumentError: the path names something that is no file, such as a device, or is one that tasks may
        not write.
    :raises Exception: what went wrong; an unfinished file is removed, and an earlier one of that name stays.
    """
    target = check_output_path(path)
    text = document if isinstance(document, str | bytes) else json.dumps(document, ensure_ascii=False)
    content = text.encode() if isinstance(text, str) else text
    with written_whole(target) as file:
        file.write(gzip.compress(content, mtime=0) if target.name.endswith(".gz") else content)
    return {"path": str(target), "bytes": len(content)}


def write_file(path: str | ObjectStoragePath, content: IO[bytes]) -> None:
    """Write a file as it is.

    :param content: read from where it stands to its end.
    :raises InvalidArgumentError: the path names something that is no file, or is one that tasks may not write.
    :raises Exception: what went wrong; an unfinished file is removed, and an earlier one of that name stays.
    """
    with written_whole(check_output_path(path)) as file:
        shutil.copyfileobj(content, file, length=1024 * 1024)


def check_output_path(path: str | ObjectStoragePath) -> ObjectStoragePath:
    """Return the file that a path names.

    :raises InvalidArgumentError: tasks may not write there, see ``allowed_file_roots``, or nothing that is installed
        can.
    """
    try:
        place = path if isinstance(path, ObjectStoragePath) else place_of(str(path))
        inside_fence(place)
        return place if isinstance(place, ObjectStoragePath) else ObjectStoragePath(str(place))
    except ValueError as error:
        problem = str(error)
    raise InvalidArgumentError(f"output_path {problem}")


@contextmanager
def written_whole(target: ObjectStoragePath) -> Iterator[IO[bytes]]:
    """Open a file that appears under its name when the block ends, and does not where it ends with an error.

    :param target: a file that tasks may write, see :func:`check_output_path`.
    """
    if target.protocol in ("", "file", "local"):
        # A link stays a link, and what it leads to is replaced.
        with _local_file(Path(target.path).resolve()) as file:
            yield file
        return
    before = _found(target)
    try:
        with target.fs.transaction, target.open("wb") as file:  # type: ignore[no-untyped-call]
            yield file
    except BaseException:
        # The file of an earlier run stays, if the store has kept it.
        if _found(target) != before:
            with suppress(Exception):
                target.fs.rm(target.path)
        raise


@contextmanager
def _local_file(path: Path) -> Iterator[IO[bytes]]:
    if path.exists() and not path.is_file():
        raise InvalidArgumentError(f"output_path names {path}, which is there and no file; name a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    # It makes the file for its owner only, and no setting of the process makes it wider.
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=UNFINISHED, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _found(target: ObjectStoragePath) -> Any:
    try:
        return target.fs.info(target.path)
    except Exception:
        return None


@contextmanager
def _text(file: IO[bytes], name: str) -> Iterator[TextIOWrapper]:
    # Without a time stamp, so that equal records make an equal file.
    binary = gzip.GzipFile(fileobj=file, mode="wb", mtime=0) if name.endswith(".gz") else file
    with TextIOWrapper(cast("IO[bytes]", binary), encoding="utf-8", newline="\n") as text:
        yield text
