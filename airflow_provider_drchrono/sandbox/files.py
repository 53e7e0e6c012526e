"""Uploaded files: read out of multipart bodies, kept in memory, and served back from the link in the record."""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import Message
from email.parser import HeaderParser
from typing import Any
from urllib.parse import quote

from airflow_provider_drchrono.sandbox.clock import Clock
from airflow_provider_drchrono.sandbox.wire import Refusal, Request, Response, detail

PREFIX = "/files/"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as it came in."""

    name: str
    content_type: str
    content: bytes = field(repr=False)


class FileLinks:
    """Signs the links to files, as object storage does: a link is good for a while, and the next answer has another.

    :param lifetime: seconds; a link is good for at least so long and at most twice as long. None: for ever, unsigned.
    """

    def __init__(self, clock: Clock, seed: int, lifetime: int | None) -> None:
        self.clock = clock
        self.lifetime = lifetime
        self._began = clock.now()
        self._seed = seed

    def period(self) -> int:
        """Return a number that changes when links change."""
        if not self.lifetime:
            return 0
        return max(0, (self.clock.now() - self._began) // timedelta(seconds=self.lifetime))

    def signed(self, path: str) -> str:
        """Return a path with the signature that it has now."""
        if not self.lifetime:
            return path
        expires = (self.period() + 2) * self.lifetime
        return f"{path}?Expires={expires}&Signature={self._signature(path, expires)}"

    def check(self, request: Request) -> None:
        """Refuse a link that is unsigned or no longer good.

        :raises Refusal: 403, in XML.
        """
        if not self.lifetime:
            return
        expires = request.argument("Expires") or ""
        now = (self.clock.now() - self._began).total_seconds()
        good = expires.isascii() and expires.isdigit() and len(expires) < 20
        if not good or request.argument("Signature") != self._signature(request.path, int(expires)):
            raise _no_access("SignatureDoesNotMatch")
        if now >= int(expires):
            raise _no_access("AccessDenied")

    def _signature(self, path: str, expires: int) -> str:
        return hashlib.sha256(f"{self._seed}:{path}:{expires}".encode()).hexdigest()[:32]


def _no_access(code: str) -> Refusal:
    text = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code></Error>'
    return Refusal(Response(403, text.encode(), {"content-type": "application/xml"}))


class FileStore:
    """The files that records link to."""

    def __init__(self, links: FileLinks | None = None) -> None:
        self.links = links
        self._files: dict[str, Upload] = {}
        self._next = 1

    def keep(self, upload: Upload) -> str:
        """Keep a file and return the path at which it is served."""
        path = f"{PREFIX}{self._next}/{quote(upload.name, safe='')}"
        self._files[path] = upload
        self._next += 1
        return path

    def serve(self, request: Request) -> Response:
        """Return the file at a path; a seeded record's file is written out when it is asked for.

        :raises Refusal: 404 for a file that is not there, 403 for a link that is no longer good.
        """
        upload = self._files.get(request.path) or seeded(request.path)
        if upload is None:
            raise detail(404, "Not found.")
        if self.links is not None:
            self.links.check(request)
        return Response(200, upload.content, {"content-type": upload.content_type})


def seeded_path(resource: str, key: int, field_name: str) -> str:
    """Return the path of the file that a seeded record links to: every other document is a picture."""
    kind = "png" if resource == "documents" and key % 2 == 0 else "pdf"
    return f"{PREFIX}seeded/{resource}/{key}/{field_name}.{kind}"


def seeded(path: str) -> Upload | None:
    """Return the file of a seeded record: a small PDF that says that it is synthetic, or a grey picture."""
    found = re.fullmatch(rf"{PREFIX}seeded/(\w+)/(\w+)/(\w+)\.(pdf|png)", path)
    if not found:
        return None
    if found[4] == "png":
        return Upload(f"{found[3]}.png", "image/png", png(64, 64, 200))
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


def png(width: int, height: int, grey: int) -> bytes:
    """Return a picture of one shade of grey."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = (b"\0" + bytes([grey]) * width) * height
    parts = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


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
