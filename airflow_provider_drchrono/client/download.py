"""Fetches the file that a record links to: whole, bounded, with its checksum, and with a new link where one expired.

::

    read the record ──> its link ──> fetch ──> a file, whole
          ^                            │
          └──── the link expired ──────┘

The vendor keeps files at another host, behind links that carry their own permission for a while. The token goes to the
connection's own origin only, so such a link is followed without it.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from email.message import Message
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import unquote, urljoin, urlsplit

from airflow_provider_drchrono.catalog import RecordSchema
from airflow_provider_drchrono.catalog.names import did_you_mean
from airflow_provider_drchrono.client.bounds import FILE_ANSWER, SizeLimit
from airflow_provider_drchrono.client.errors import (
    InvalidArgumentError,
    NotFoundError,
    ResponseError,
    ServerError,
    UnexpectedAnswerError,
)
from airflow_provider_drchrono.client.request import Request, is_plain, own_link, same_origin
from airflow_provider_drchrono.client.request_runner import (
    MOST_REDIRECTS,
    REDIRECTS,
    CallState,
    Failed,
    Fetch,
    Flow,
    RequestRunner,
    SendAgain,
    attempt_until_done,
)
from airflow_provider_drchrono.client.responses import retry_reason_of, transport_error
from airflow_provider_drchrono.client.retry import RetryReason
from airflow_provider_drchrono.client.settings import ClientSettings
from airflow_provider_drchrono.client.transport import Failure, Outcome, Reply

IN_MEMORY = 1024 * 1024
"""Bytes; a larger file is kept in a temporary one, which its owner alone can read and which nothing else sees."""

EXPIRED = (401, 403, 404, 410)
"""What hosts of files answer to a link that is no longer good."""

FILE_NAME = re.compile(r"[^\w.() -]+")


@dataclass(slots=True)
class Download:
    """A file that was fetched whole. Close it, or use it in a ``with`` block; its content is gone then.

    :param content: the file, open for reading in binary, at its beginning.
    :param size: bytes.
    :param sha256: of the content, in hexadecimal.
    :param content_type: as the host of the file says, such as ``application/pdf``; empty if it does not.
    :param file_name: as the host or the link says, without folders. It may name a person.
    """

    content: IO[bytes] = field(repr=False)
    size: int
    sha256: str
    content_type: str
    file_name: str = field(repr=False)

    def close(self) -> None:
        """Forget the content."""
        self.content.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Sink:
    """Takes the bytes of one attempt after the other, and keeps those of the last."""

    def __init__(self) -> None:
        self.file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - the caller closes it.
        self.start()

    def start(self) -> None:
        """Forget what an earlier attempt brought."""
        self.file.seek(0)
        self.file.truncate()
        self.digest, self.size = hashlib.sha256(), 0

    def write(self, piece: bytes) -> None:
        """Take the next bytes."""
        self.file.write(piece)
        self.digest.update(piece)
        self.size += len(piece)


@dataclass(slots=True)
class FileLink:
    """The link of a record, from which a file is fetched.

    :param request: reads the record.
    :param name: the record's field.
    """

    settings: ClientSettings
    runner: RequestRunner
    request: Request
    name: str
    limit: SizeLimit
    _sink: _Sink = field(default_factory=_Sink)
    _url: str | None = None
    _reads: int = 0
    _redirects: int = 0

    def fetch(self) -> Flow[Download]:
        """Fetch the file.

        :raises NotFoundError: the record has no file, or is not there.
        :raises DrChronoError: it cannot be fetched.
        """
        state = CallState(self.request.operation.id, repeatable=True, settings=self.settings)
        try:
            return (yield from attempt_until_done(state, self._send, self._judge))
        except BaseException:
            self._sink.file.close()
            raise

    def _send(self) -> Generator[Any, Any, Outcome]:
        if self._url is None:
            answer = yield from self.runner.run(self.request)
            self._reads += 1
            self._url = self._checked(answer.value.get(self.name), None)
        self._sink.start()
        with_token = same_origin(self.settings.base_url, self._url)
        outcome: Outcome = yield Fetch(self._url, self._sink.write, self.limit, with_token)
        return outcome

    def _checked(self, link: object, found_at: str | None) -> str:
        """Return the address that a link leads to.

        :raises DrChronoError: there is none, or it is not one to be followed.
        """
        start = f"{self.request.operation.id}: {self.name}"
        if not link:
            raise NotFoundError(
                f"{start} is empty, so there is no file (yet); read the record again later",
                operation_id=self.request.operation.id,
            )
        own = own_link(self.settings.base_url, str(link), found_at) if isinstance(link, str) else None
        url = own or (_foreign(link, found_at) if isinstance(link, str) else None)
        if url is None:
            raise UnexpectedAnswerError(
                f"{start} holds no link that can be followed; only https leads to other hosts",
                operation_id=self.request.operation.id,
            )
        return url

    def _judge(self, outcome: Outcome) -> Download | Failed | SendAgain:
        name, status = self.request.operation.id, outcome.status if isinstance(outcome, Reply) else None
        if isinstance(outcome, Failure):
            error = transport_error(outcome, f"{name}: the file of {self.name}", self.settings)
            return Failed(None if outcome.kind == "too_large" else retry_reason_of(outcome), error)
        if 200 <= outcome.status < 300:
            return self._download(outcome)
        if status in REDIRECTS and outcome.headers.get("location"):
            self._redirects += 1
            if self._redirects <= MOST_REDIRECTS:
                self._url = self._checked(outcome.headers["location"], self._url)
                return SendAgain()
        if status in EXPIRED and self._reads == 1:
            self._url = None
            return SendAgain()
        start = f"{name}: the host of the file of {self.name} answered {status}"
        if outcome.status >= 500 or status in (408, 429):
            # Its 429 says nothing about the API's quota.
            return Failed(RetryReason("failed"), ServerError(f"{start}; try later", status=status), status)
        remedy = "also to a new link; the grant may not see the file" if status in EXPIRED else "check the record"
        return Failed(None, ResponseError(f"{start}, {remedy}", operation_id=name, status=status), status)

    def _download(self, reply: Reply) -> Download:
        sink = self._sink
        sink.file.seek(0)
        content_type = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
        return Download(sink.file, sink.size, sink.digest.hexdigest(), content_type, _file_name(reply, self._url or ""))


def file_link(
    settings: ClientSettings,
    runner: RequestRunner,
    record: RecordSchema | None,
    request: Callable[[], Request],
    name: str | None,
    max_bytes: int | None,
) -> FileLink:
    """Return the link of a record's field.

    :param record: the record's schema.
    :param request: makes the request that reads the record.
    :param name: the field; None for the record's only file.
    :param max_bytes: how large the file may be; None for 512 MiB.
    :raises InvalidArgumentError: the record has no such field.
    """
    made = request()
    texts = [each for each in record.fields.values() if each.type == "string"] if record else []
    files = [each.name for each in texts if each.format == "file"]
    if name is None and len(files) != 1:
        raise InvalidArgumentError(
            f"{made.operation.id}: name the field that links to the file; "
            + (f"there are {', '.join(files)}" if files else "no field of the record is known to")
        )
    chosen = name or files[0]
    known = [each.name for each in texts]
    if chosen not in known:
        raise InvalidArgumentError(f"{made.operation.id} has no text field {chosen!r}{did_you_mean(chosen, known)}")
    if max_bytes is not None and max_bytes <= 0:
        raise InvalidArgumentError("max_bytes has to be above 0; leave it out for 512 MiB")
    limit = FILE_ANSWER if max_bytes is None else SizeLimit(max_bytes, max_bytes)
    return FileLink(settings, runner, made, chosen, limit)


def _foreign(link: str, found_at: str | None) -> str | None:
    try:
        url = urljoin(found_at or "", link)
        parts = urlsplit(url)
        is_followed = parts.scheme == "https" and parts.hostname and is_plain(url, parts) and parts.port != 0
        return url if is_followed else None
    except ValueError:
        return None


def _file_name(reply: Reply, url: str) -> str:
    header = Message()
    header["content-disposition"] = reply.headers.get("content-disposition", "")
    name = header.get_filename() or unquote(urlsplit(url).path)
    return FILE_NAME.sub("_", re.split(r"[/\\]", name)[-1]).strip(" .")[:200]
