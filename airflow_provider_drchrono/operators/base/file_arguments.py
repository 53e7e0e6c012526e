"""Files as arguments: a path, an object-storage URL, bytes, or what an XCom can carry.

Content is never read here as a whole, except for fields that hold a file as base64 inside JSON.
"""

from __future__ import annotations

import base64
import binascii
import mimetypes
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import ObjectStoragePath

from airflow_provider_drchrono.common.file_fence import inside_fence, place_of

if TYPE_CHECKING:
    from airflow_provider_drchrono.client.files import FileArgument

WANTED = "give a path, an object-storage URL, bytes, or {'name': ..., 'content': <bytes or base64 text>}"


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file that is there and can be read.

    :param source: neither it nor ``name`` is shown, as names of files may hold names of patients.
    :param size: bytes.
    """

    name: str | None = field(repr=False)
    source: Path | ObjectStoragePath | bytes = field(repr=False)
    size: int

    @property
    def content_type(self) -> str:
        """The type that the name suggests."""
        return mimetypes.guess_type(self.name or "")[0] or "application/octet-stream"

    def read_base64(self) -> str:
        """Return the whole content as base64 text."""
        content = self.source if isinstance(self.source, bytes) else self.source.read_bytes()
        return base64.b64encode(content).decode("ascii")


def file_source(value: object) -> FileSource:
    """Look at a file argument without reading its content.

    :raises ValueError: it is not there, cannot be read, is outside of ``allowed_file_roots``, or is nothing that could
        be a file. The path is not repeated.
    """
    if isinstance(value, FileSource):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return _from_bytes(None, bytes(value))
    if isinstance(value, Mapping):
        return _from_mapping(value)
    if isinstance(value, ObjectStoragePath):
        return _from_path(value)
    if isinstance(value, str | os.PathLike):
        return _from_text(os.fspath(value))
    raise ValueError(f"is a {type(value).__name__}, not a file: {WANTED}")


def _from_text(text: object) -> FileSource:
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"names no file: {WANTED}")
    return _from_path(place_of(text))


def _from_path(path: Path | ObjectStoragePath) -> FileSource:
    name, path = path.name, inside_fence(path)
    reason = None
    try:
        with path.open("rb") as file:
            file.read(0)
        size = path.stat().st_size
    except FileNotFoundError:
        reason = "there is no such file; the worker that runs the task must be able to see it"
    except IsADirectoryError:
        reason = "it is a folder"
    except (OSError, ValueError, ImportError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
    # Raised out here: the original error repeats the path.
    if reason:
        raise ValueError(f"cannot be read: {reason}")
    return _not_empty(FileSource(name, path, size))


def _from_mapping(value: Mapping[Any, Any]) -> FileSource:
    content, name = value.get("content"), value.get("name")
    if set(value) - {"name", "content"} or "content" not in value or not isinstance(name, str | None):
        raise ValueError(f"is a mapping, but not one with a name and a content: {WANTED}")
    if isinstance(content, str):
        return _from_bytes(name, _decoded(content))
    if isinstance(content, bytes | bytearray | memoryview):
        return _from_bytes(name, bytes(content))
    raise ValueError(f"has a content of type {type(content).__name__}: {WANTED}")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise ValueError("has a content that is text but not base64; encode it with base64.b64encode(...).decode()")


def _from_bytes(name: str | None, content: bytes) -> FileSource:
    return _not_empty(FileSource(Path(name).name if name else None, content, len(content)))


def _not_empty(source: FileSource) -> FileSource:
    if source.size == 0:
        raise ValueError("is an empty file")
    return source


@contextmanager
def opened(files: Mapping[str, FileSource]) -> Iterator[dict[str, FileArgument]]:
    """Give the files in the form that the client sends, and close what had to be opened for it."""
    with ExitStack() as stack:
        yield {field_name: _argument(field_name, each, stack) for field_name, each in files.items()}


def _argument(field_name: str, file: FileSource, stack: ExitStack) -> FileArgument:
    name = file.name or field_name
    if isinstance(file.source, ObjectStoragePath):
        return (
            name,
            stack.enter_context(file.source.open("rb")),  # type: ignore[no-untyped-call]
            file.content_type,
        )
    return (name, file.source, file.content_type)
