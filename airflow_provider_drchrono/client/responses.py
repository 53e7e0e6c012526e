"""Reads what came back: a value, a reason to try again, or the error that says what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from pydantic_core import from_json

from airflow_provider_drchrono.catalog import Operation
from airflow_provider_drchrono.client.bounds import MEBIBYTE
from airflow_provider_drchrono.client.errors import (
    AuthenticationError,
    BadRequestError,
    BulkExpiredError,
    ConflictError,
    ConnectionFailedError,
    DrChronoError,
    NotFoundError,
    PermissionDeniedError,
    RequestTimeoutError,
    ResponseError,
    ServerError,
    TlsError,
    TransportError,
    UnexpectedAnswerError,
)
from airflow_provider_drchrono.client.paging import ENVELOPE_KEYS, envelope_keys
from airflow_provider_drchrono.client.permissions import refused_access
from airflow_provider_drchrono.client.request import Request
from airflow_provider_drchrono.client.retry import RetryReason, available_in, hour_left, http_date
from airflow_provider_drchrono.client.rules import FIELD_NAME, GIVE_FILTER, OF_NO_FIELD, shown_rules
from airflow_provider_drchrono.client.settings import ClientSettings
from airflow_provider_drchrono.client.transport import Failure, Outcome, Reply

FINAL = ("tls", "deadline", "too_large")
"""What is not sent again at once: it would fail alike, or take as long again."""

CHARSET = re.compile(r"charset=\"?([A-Za-z0-9._-]+)")
DOUBT = "; it may have been carried out all the same, so look before you do it again"

_split_page = msgspec.json.Decoder(dict[str, msgspec.Raw] | list[msgspec.Raw]).decode
_split_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_LIST = ord("[")
_decode = msgspec.json.Decoder().decode

INVALID_UUID = b"Invalid uuid"
EXPIRED = "the API no longer knows this bulk list, whose result lives for an hour; start it again"


class UnreadableError(DrChronoError):
    """A success whose body is not what it says it is; the text says in what way."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A success, decoded. ``server_time`` is the API's clock, or ours where it did not say."""

    value: Any
    server_time: datetime


def server_time_of(reply: Reply) -> datetime | None:
    """Return the time in the ``Date`` header, aware, in UTC."""
    return http_date(reply.headers.get("date"))


def retry_reason_of(outcome: Outcome) -> RetryReason | None:
    """Return what may pass if the request is sent again, or None if this outcome is final."""
    if isinstance(outcome, Failure):
        if outcome.kind in FINAL:
            return None
        if outcome.kind == "malformed":
            return RetryReason("malformed")
        return RetryReason("lost" if outcome.sent else "unsent")
    if outcome.status == 429 or outcome.status == 408 or outcome.status >= 500:
        now = server_time_of(outcome) or datetime.now(UTC)
        hint = available_in(outcome.headers.get("retry-after"), outcome.content, now)
        return RetryReason("throttled" if outcome.status == 429 else "failed", hint, hour_left(now))
    return None


def decode(request: Request, reply: Reply) -> Any:
    """Return the body of a success: decoded JSON, the text or bytes of a document, or None if there is none.

    :raises UnreadableError: the body is not what the operation answers with.
    """
    shape = request.operation.response.shape
    if reply.status == 204 or (not reply.content and shape in ("empty", "any")):
        return None
    content_type = reply.headers.get("content-type", "").lower()
    if "html" in content_type:
        raise UnreadableError("an HTML page")
    if shape == "any" and content_type and "json" not in content_type:
        return _document(content_type, reply.content)
    try:
        if request.raw and shape != "record":
            return parse_page(reply.content, envelope_keys(request.operation))
        return parse_json(reply.content)
    except (ValueError, RecursionError):
        pass
    # Raised out here: the original error carries the whole body along.
    raise UnreadableError("broken JSON" if reply.content else "nothing")


def parse_json(content: bytes) -> Any:
    """Return decoded JSON, equal to what the standard library makes of it and about a fifth faster.

    :raises ValueError: it is not JSON.
    """
    try:
        # Only keys are kept for reuse: values are patient data.
        return from_json(content, cache_strings="keys")
    except ValueError:
        # It refuses some things that are valid, such as half a surrogate pair or another encoding.
        return json.loads(content)


def parse_page(content: bytes, keys: Collection[str] = ENVELOPE_KEYS) -> Any:
    """Return the decoded JSON of a page, with the records of its list as lines of JSON, in an eighth of the time.

    Where the records cannot be told apart as lines, they are decoded like everything else.

    :param keys: those under which the records may stand.
    :raises ValueError: it is not JSON.
    """
    content = content.strip()
    try:
        # Text that is not decoded is not looked at either.
        content.decode()
        page = None if b"\n" in content or b"\r" in content else _split_page(content)
        return parse_json(content) if page is None else _with_lines(page, keys)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, _NoLinesError):
        return parse_json(content)


class _NoLinesError(DrChronoError):
    """There is something else than records in a list."""


def _with_lines(page: dict[str, msgspec.Raw] | list[msgspec.Raw], keys: Collection[str]) -> Any:
    if isinstance(page, list):
        return _lines(page)
    return {
        name: _lines(_split_list(raw)) if name in keys and memoryview(raw)[0] == _LIST else _decode(raw)
        for name, raw in page.items()
    }


def _lines(records: list[msgspec.Raw]) -> list[bytes]:
    lines = [bytes(each) for each in records]
    if not all(each.startswith(b"{") for each in lines):
        raise _NoLinesError("a list holds something else than records")
    return lines


def _document(content_type: str, content: bytes) -> str | bytes:
    if not content_type.startswith("text/") and "xml" not in content_type:
        return content
    charset = CHARSET.search(content_type)
    try:
        return content.decode(charset[1] if charset else "utf-8")
    except (LookupError, UnicodeDecodeError):
        return content


def transport_error(failure: Failure, what: str, settings: ClientSettings) -> TransportError | UnexpectedAnswerError:
    """Return the error for a request that no whole answer came to.

    :param what: what was asked for, as the subject of a sentence.
    """
    at = settings.base_url
    match failure.kind:
        case "tls":
            return TlsError(
                f"{what}: {at} did not prove who it is (TLS); check the base URL, or name the certificate authority "
                "of your network in ca_bundle"
            )
        case "unknown_host":
            return ConnectionFailedError(
                f"{what}: the host of {at} is not known; check the base URL and this machine's DNS"
            )
        case "connect":
            return ConnectionFailedError(
                f"{what}: no connection to {at}; check the base URL and this machine's way to it (firewall, proxy)"
            )
        case "connect_timeout":
            return RequestTimeoutError(
                f"{what}: no connection to {at} within {settings.connect_timeout:g} s (connect_timeout); check this "
                "machine's way to it"
            )
        case "timeout":
            return RequestTimeoutError(
                f"{what}: no answer within {settings.read_timeout:g} s; try later, or raise read_timeout"
            )
        case "deadline":
            name = "request_timeout" if failure.limit == settings.request_timeout else "read_timeout"
            return RequestTimeoutError(
                f"{what}: the answer was not complete within {failure.limit:g} s; try later, or raise {name}"
            )
        case "too_large":
            return UnexpectedAnswerError(
                f"{what}: the answer is larger than {failure.limit / MEBIBYTE:g} MiB and was not read to its end; ask "
                "for fewer records a page, or narrow the filters"
            )
        case "malformed":
            return UnexpectedAnswerError(f"{what}: the answer's compression is broken; try later", transient=True)
        case _:
            return ConnectionFailedError(f"{what}: {at} broke the connection off; try later")


def failure_error(
    request: Request, outcome: Outcome, settings: ClientSettings, granted: Sequence[str] = ()
) -> DrChronoError:
    """Return the error for an outcome that is not a success, marked by whether the call may be made again.

    :param granted: the scopes of the token; empty if they are not known.
    """
    operation_id = request.operation.id
    error: DrChronoError
    if isinstance(outcome, Failure):
        error = transport_error(outcome, operation_id, settings)
        in_doubt = outcome.sent and not request.repeatable
    elif outcome.status >= 500 or outcome.status == 408:
        error = ServerError(f"{operation_id}: the API answered {outcome.status}", status=outcome.status)
        in_doubt = not request.repeatable
    else:
        return _refusal(request, outcome, granted)
    error.operation_id = operation_id
    if in_doubt:
        error.args = (str(error) + DOUBT,)
        error.transient = False
    elif isinstance(error, ServerError):
        error.args = (f"{error}; try later",)
    return error


def unreadable_error(request: Request, reply: Reply, reason: str) -> UnexpectedAnswerError:
    """Return the error for a success that cannot be read."""
    return UnexpectedAnswerError(
        f"{request.operation.id}: the API answered {reply.status} with {reason}"
        + ("; try later" if request.repeatable else DOUBT),
        operation_id=request.operation.id,
        status=reply.status,
        transient=request.repeatable,
    )


def _refusal(request: Request, reply: Reply, granted: Sequence[str]) -> DrChronoError:
    operation = request.operation
    start = f"{operation.id}: the API answered {reply.status}"
    if INVALID_UUID in reply.content and any(each.name == "uuid" for each in operation.parameters):
        return BulkExpiredError(f"{operation.id}: {EXPIRED}", operation_id=operation.id, status=reply.status)
    match reply.status:
        case 400:
            return _bad_request(request, reply)
        case 401:
            return AuthenticationError(
                f"{start} to a token that it has just given out; check that the application is active and authorize "
                "it again",
                operation_id=operation.id,
                status=401,
            )
        case 403:
            return _permission_denied(operation, granted)
        case 404:
            return NotFoundError(
                f"{start}: there is no such record, or not for this user; check the id",
                operation_id=operation.id,
                status=404,
            )
        case 409:
            return _conflict(request, start)
        case status if 300 <= status < 400:
            return UnexpectedAnswerError(
                f"{start}, a redirect that cannot be followed; check the base URL",
                operation_id=operation.id,
                status=status,
            )
        case _:
            return ResponseError(
                f"{start}; check the arguments of the call", operation_id=operation.id, status=reply.status
            )


def _bad_request(request: Request, reply: Reply) -> BadRequestError:
    try:
        errors = dict(_field_errors(parse_json(reply.content)))
    except (ValueError, RecursionError):
        errors = {}
    operation = request.operation
    names = [name for name in errors if FIELD_NAME.fullmatch(name) and name not in OF_NO_FIELD]
    subject = f"the values of {', '.join(names)}" if names else "the request"
    rules = shown_rules(errors, request.parameter_names)
    if rules:
        told = f": {'; '.join(rules)}"
        if operation.kind in ("list", "report"):
            told += f"; {GIVE_FILTER}"
        elif len(rules) < sum(map(len, errors.values())):
            told += ". Its other reasons are in the error's field_errors, which may hold patient data"
    else:
        told = "; its reasons are in the error's field_errors, which may hold patient data"
    return BadRequestError(
        f"{operation.id}: the API refused {subject} (400){told}",
        operation_id=operation.id,
        status=400,
        field_errors=errors,
        rules=rules,
    )


def _field_errors(value: object, path: str = "") -> Iterator[tuple[str, list[str]]]:
    """Flatten the vendor's error body: nested names are joined by dots, list positions count from 0."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _field_errors(each, f"{path}.{name}" if path else str(name))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        messages = [each for each in value if isinstance(each, str)]
        if messages:
            yield path or "detail", messages
        for position, each in enumerate(value):
            if isinstance(each, Mapping | list):
                yield from _field_errors(each, f"{path}.{position}" if path else str(position))
    elif value is not None:
        yield path or "detail", [str(value)]


def _permission_denied(operation: Operation, granted: Sequence[str]) -> PermissionDeniedError:
    return PermissionDeniedError(
        refused_access(operation.id, scopes=operation.scopes, permissions=operation.permissions, granted=granted),
        operation_id=operation.id,
        status=403,
        scopes=operation.scopes,
        permissions=operation.permissions,
        granted=granted,
    )


def conflict_remedy(operation: Operation, details: str = "", *, matching: bool = False) -> str:
    """Return what a 409 to this operation means and what lets the write through.

    :param details: goes behind what is said of the record that is there, such as `` (id 5)``.
    :param matching: whether the caller has ``if_exists``, which the error then recommends.
    """
    conflict = operation.conflict
    match conflict.meaning if conflict else None:
        case "overlap" if conflict is not None and conflict.remedy is not None:
            meaning = (
                f"the appointment overlaps another one{details}; choose another time (data['scheduled_time'], "
                "data['duration']) or another data['doctor']"
            )
        case "locked":
            meaning = f"the record is locked{details}, and cannot be written until it is unlocked in DrChrono"
        case "duplicate":
            meaning = f"DrChrono takes this for a duplicate of a record that is there{details}; " + (
                "use it with if_exists='skip' or 'update'" if matching else "look for it"
            )
        case _:
            return f"the record contradicts one that is there{details}"
    if conflict is None or conflict.remedy is None:
        return meaning
    if conflict.place == "query":
        # An operator has an argument of this name; for a call of the client it is a query parameter.
        return f"{meaning}, or create another with {conflict.remedy}={'True' if matching else 'true'}"
    return f"{meaning}, or allow it with data[{conflict.remedy!r}]=True"


def _conflict(request: Request, start: str) -> ConflictError:
    return ConflictError(
        f"{start}: {conflict_remedy(request.operation)}", operation_id=request.operation.id, status=409
    )
