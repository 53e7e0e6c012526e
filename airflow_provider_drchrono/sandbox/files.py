"""Uploaded files: read out of multipart bodies, kept in memory, and served back from the link in the record."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email.message import Message
from email.parser import HeaderParser
from typing import Any
from urllib.parse import quote

from airflow_provider_drchrono.sandbox.wire import Request, Response, detail

PREFIX = "/files/"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as it came in."""

    name: str
    content_type: str
    content: bytes = field(repr=False)


class FileStore:
    """The files that records link to."""

    def __init__(self) -> None:
        self._files: dict[str, Upload] = {}
        self._next = 1

    def keep(self, upload: Upload) -> str:
        """Keep a file and return the path at which it is served."""
        path = f"{PREFIX}{self._next}/{quote(upload.name, safe='')}"
        self._files[path] = upload
        self._next += 1
        return path

    def serve(self, path: str) -> Response:
        """Return the file at a path; a seeded record's file is written out when it is asked for."""
        upload = self._files.get(path) or seeded(path)
        if upload is None:
            raise detail(404, "Not found.")
        return Response(200, upload.content, {"content-type": upload.content_type})


def seeded_path(resource: str, key: Any, field_name: str) -> str:
    """Return the path of the file that a seeded record links to."""
    return f"{PREFIX}seeded/{resource}/{key}/{field_name}.pdf"


def seeded(path: str) -> Upload | None:
    """Return the file of a seeded record: a small PDF that names the record and says that it is synthetic."""
    found = re.fullmatch(rf"{PREFIX}seeded/(\w+)/(\w+)/(\w+)\.pdf", path)
    if not found:
        return None
    return Upload(
        f"{found[3]}.pdf", "application/pdf", pdf(f"Synthetic {found[3]} of {found[1]} {found[2]}: not a real person")
    )


def pdf(line: str) -> bytes:
    """Return a PDF of one page with one line on it."""
    text = line.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode("latin-1", "replace")
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj%s endobj\n" % (number, content)
    table_at = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table_at)
    return bytes(out)


def read_multipart(request: Request) -> dict[str, Any]:
    """Return the parts of a multipart body by name: text as it is, files as :class:`Upload`.

    :raises Refusal: 400 when the body is not what its header says.
    """
    header = Message()
    header["content-type"] = request.headers.get("content-type", "")
    boundary = header.get_boundary()
    if not boundary:
        raise detail(400, "Multipart form parse error - Invalid boundary in multipart: None")
    _, *parts = (b"\r\n" + request.body).split(b"\r\n--" + boundary.encode())
    if not parts or not parts[-1].startswith(b"--"):
        raise detail(400, "Multipart form parse error - the body does not end with its boundary")
    fields: dict[str, Any] = {}
    for part in parts[:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        _read_part(fields, head, content)
    return fields


def _read_part(fields: dict[str, Any], head: bytes, content: bytes) -> None:
    message = HeaderParser().parsestr(head.decode("utf-8", "replace").strip())
    name = message.get_param("name", header="content-disposition")
    if not isinstance(name, str):
        return
    filename = message.get_filename()
    if filename is None:
        fields[name] = content.decode("utf-8", "replace")
    else:
        fields[name] = Upload(filename, message.get_content_type(), content)
