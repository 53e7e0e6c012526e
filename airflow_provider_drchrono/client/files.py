"""Uploads: a multipart body that is read from its sources as it is sent, and can be sent again."""

from __future__ import annotations

import mimetypes
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, cast

from airflow_provider_drchrono.client.errors import InvalidArgumentError

FileContent = str | os.PathLike[str] | bytes | IO[bytes]
FileArgument = FileContent | tuple[str, FileContent] | tuple[str, FileContent, str]
"""A path, bytes, or an open binary file; or a tuple that puts a file name, and a content type, beside it."""

CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """One file of a multipart body. ``source`` is a path, or an open file that is read from ``start``."""

    field: str
    filename: str
    content_type: str
    source: Path | IO[bytes]
    start: int
    size: int

    def chunks(self) -> Iterator[bytes]:
        """Yield exactly ``size`` bytes, from the beginning each time."""
        if isinstance(self.source, Path):
            with self.source.open("rb") as file:
                yield from self._read(file)
        else:
            self.source.seek(self.start)
            yield from self._read(self.source)

    def _read(self, file: IO[bytes]) -> Iterator[bytes]:
        left = self.size
        while left:
            chunk = file.read(min(CHUNK, left))
            if not chunk:
                raise InvalidArgumentError(f"The file for {self.field!r} became shorter while it was being sent")
            left -= len(chunk)
            yield chunk


class Multipart:
    """A ``multipart/form-data`` body of plain fields and files, with a length known before it is sent."""

    def __init__(self, fields: Mapping[str, str], uploads: tuple[Upload, ...]) -> None:
        self.boundary = secrets.token_hex(16)
        self._fields = b"".join(
            self._head(f'name="{quoted(name)}"') + value.encode() + b"\r\n" for name, value in fields.items()
        )
        self._uploads = tuple((self._file_head(each), each) for each in uploads)
        self._end = f"--{self.boundary}--\r\n".encode()
        self.length = (
            len(self._fields) + sum(len(head) + each.size + 2 for head, each in self._uploads) + len(self._end)
        )

    @property
    def content_type(self) -> str:
        """The value of the ``Content-Type`` header."""
        return f"multipart/form-data; boundary={self.boundary}"

    def chunks(self) -> Iterator[bytes]:
        """Yield the body, from the beginning each time."""
        if self._fields:
            yield self._fields
        for head, upload in self._uploads:
            yield head
            yield from upload.chunks()
            yield b"\r\n"
        yield self._end

    def _head(self, disposition: str, *more: str) -> bytes:
        lines = [f"--{self.boundary}", f"Content-Disposition: form-data; {disposition}", *more, "", ""]
        return "\r\n".join(lines).encode()

    def _file_head(self, upload: Upload) -> bytes:
        disposition = f'name="{quoted(upload.field)}"; filename="{quoted(upload.filename)}"'
        return self._head(disposition, f"Content-Type: {upload.content_type}")


def quoted(text: str) -> str:
    """Escape a name for a ``Content-Disposition`` header as browsers do."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def open_upload(field: str, argument: FileArgument) -> Upload:
    """Look at a file argument without reading its content.

    :param field: the name of the form field.
    :raises InvalidArgumentError: the file is not there, or cannot be read twice. The path is not repeated in the
        message, as names of files may hold names of patients.
    """
    content, name, content_type = _parts_of(field, argument)
    source, start, size = _measure(field, content)
    filename = name or _name_of(content) or field
    guessed = content_type or mimetypes.guess_type(filename)[0] or "application/octet-stream"
    if any(each in guessed for each in "\r\n"):
        raise InvalidArgumentError(f"The content type of the file for {field!r} has a line break")
    return Upload(field, filename, guessed, source, start, size)


def _parts_of(field: str, argument: FileArgument) -> tuple[FileContent, str | None, str | None]:
    if not isinstance(argument, tuple):
        return argument, None, None
    if len(argument) not in (2, 3) or not isinstance(argument[0], str):
        raise InvalidArgumentError(
            f"The file for {field!r} is not understood; give (file name, content) or (file name, content, content type)"
        )
    return argument[1], argument[0], argument[2] if len(argument) == 3 else None


def _measure(field: str, content: Any) -> tuple[Path | IO[bytes], int, int]:
    if isinstance(content, bytes):
        return BytesIO(content), 0, len(content)
    if isinstance(content, str | os.PathLike):
        return _measure_path(field, Path(content))
    if not callable(getattr(content, "read", None)):
        raise InvalidArgumentError(
            f"The file for {field!r} is a {type(content).__name__}; give a path, bytes or an open binary file"
        )
    try:
        start = content.tell()
        size = content.seek(0, os.SEEK_END) - start
        content.seek(start)
        binary = isinstance(content.read(0), bytes)
    except (OSError, AttributeError, ValueError):
        raise InvalidArgumentError(
            f"The file for {field!r} cannot be read twice, as a repeated request needs; give its bytes or a path"
        ) from None
    if not binary:
        raise InvalidArgumentError(f"The file for {field!r} is open as text; open it with mode 'rb'")
    return cast(IO[bytes], content), start, size


def _measure_path(field: str, path: Path) -> tuple[Path, int, int]:
    try:
        with path.open("rb") as file:
            return path, 0, os.fstat(file.fileno()).st_size
    except OSError as error:
        reason = error.strerror
    raise InvalidArgumentError(f"The file for {field!r} cannot be read: {reason}")


def _name_of(content: FileContent) -> str | None:
    if isinstance(content, bytes):
        return None
    name = content if isinstance(content, str | os.PathLike) else getattr(content, "name", None)
    return Path(name).name if isinstance(name, str | os.PathLike) else None
