"""Writes what a task returns to a file on any object storage, in place of an XCom."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from io import TextIOWrapper
from typing import IO, Any, cast

from airflow.sdk import ObjectStoragePath


def write_records(path: str | ObjectStoragePath, records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Write one JSON object a line, compressed where the name ends in ``.gz``, and never hold more than a page.

    :return: ``{"path": ..., "count": ...}``
    :raises Exception: what went wrong; an unfinished file is removed, so that nobody takes it for a whole one.
    """
    target, count = _prepared(path), 0
    try:
        with ExitStack() as stack:
            file = stack.enter_context(target.open("wb"))  # type: ignore[no-untyped-call]
            text = stack.enter_context(_text(file, target.name))
            for record in records:
                text.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
                count += 1
    except BaseException:
        with suppress(Exception):
            target.unlink()
        raise
    return {"path": str(target), "count": count}


def write_document(path: str | ObjectStoragePath, document: Any) -> dict[str, Any]:
    """Write a report: text and bytes as they are, anything else as JSON.

    :return: ``{"path": ..., "bytes": ...}``, the bytes before compression.
    """
    target = _prepared(path)
    text = document if isinstance(document, str | bytes) else json.dumps(document, ensure_ascii=False)
    content = text.encode() if isinstance(text, str) else text
    with target.open("wb") as file:  # type: ignore[no-untyped-call]
        file.write(gzip.compress(content, mtime=0) if target.name.endswith(".gz") else content)
    return {"path": str(target), "bytes": len(content)}


def _prepared(path: str | ObjectStoragePath) -> ObjectStoragePath:
    target = path if isinstance(path, ObjectStoragePath) else ObjectStoragePath(str(path))
    if target.protocol in ("", "file", "local"):
        target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _text(file: IO[bytes], name: str) -> TextIOWrapper:
    # Without a time stamp, so that equal records make an equal file.
    binary = gzip.GzipFile(fileobj=file, mode="wb", mtime=0) if name.endswith(".gz") else file
    return TextIOWrapper(cast("IO[bytes]", binary), encoding="utf-8", newline="\n")
