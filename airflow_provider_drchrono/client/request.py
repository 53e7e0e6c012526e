"""From an operation and arguments to the request that is sent, or to a refusal before anything is.

Everything here is decided by the catalogue; nothing is read from or written to the network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urljoin, urlsplit
from uuid import UUID

from airflow_provider_drchrono.catalog import Catalog, Operation, Parameter, Resource
from airflow_provider_drchrono.catalog.names import did_you_mean
from airflow_provider_drchrono.client.errors import InvalidArgumentError
from airflow_provider_drchrono.client.files import FileArgument, Multipart, open_upload
from airflow_provider_drchrono.client.filters import convert, encode, split_range
from airflow_provider_drchrono.client.settings import DEFAULT_PORTS, is_host

Id = int | str
Body = Mapping[str, Any] | Sequence[Mapping[str, Any]]

INTEGER = re.compile(r"[+-]?\d+")


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, apart from what is the same for all requests.

    :param url: absolute. It may hold filters and therefore patient data, so it is not shown.
    :param raw: leave the records of the answer as they came, each one as a line of JSON.
    """

    operation: Operation
    url: str = field(repr=False)
    body: bytes | Multipart | None = field(default=None, repr=False)
    raw: bool = False

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.operation.method

    @property
    def repeatable(self) -> bool:
        """Whether a second arrival does no harm.

        A bulk list that is started twice is made twice, and only one of them is asked for.
        """
        if self.method == "POST":
            return self.operation.kind == "bulk_start"
        return not (self.method == "PATCH" and self.operation.kind == "action")

    @property
    def parameter_names(self) -> set[str]:
        """The names of the parameters that the operation has, or that the request holds beside them."""
        sent = {name for name, _ in parse_qsl(urlsplit(self.url).query, keep_blank_values=True)}
        return sent | {each.name for each in self.operation.parameters}

    def at(self, url: str) -> Request:
        """The same request at another address."""
        return replace(self, url=url)


def build_request(
    catalog: Catalog,
    base_url: str,
    operation: Operation,
    *,
    path: Mapping[str, Id] | None = None,
    query: Mapping[str, Any] | None = None,
    extra_query: Mapping[str, str] | None = None,
    body: Body | None = None,
    files: Mapping[str, FileArgument] | None = None,
) -> Request:
    """Check the arguments of an operation and put the request together.

    :param base_url: scheme, host and port, without a slash at the end.
    :param path: values of the path's parameters.
    :param query: query parameters; None as a value means: leave it out.
    :param extra_query: query parameters that the catalogue does not know, as they are sent.
    :param body: one record, or for operations that create, a list of them.
    :param files: file arguments by field; they make the body multipart.
    :raises InvalidArgumentError: an argument is unknown, missing or malformed.
    """
    resource = catalog.resource(operation.resource)
    url = base_url + _path(operation, path or {})
    extra = dict(extra_query or {})
    pairs = [*_query(operation, resource, query or {}, insists=not extra), *extra.items()]
    return Request(
        operation,
        f"{url}?{urlencode(pairs)}" if pairs else url,
        _body(catalog, operation, body, files or {}),
    )


def _path(operation: Operation, values: Mapping[str, Id]) -> str:
    known = {each.name: each for each in operation.parameters if each.place == "path"}
    _refuse_unknown(operation, values, known, "path parameter")
    _refuse_missing(operation, values, known)
    return operation.path.format_map(
        {name: _segment(operation, parameter, values[name]) for name, parameter in known.items()}
    )


def _segment(operation: Operation, parameter: Parameter, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        kind = type(value).__name__
        raise InvalidArgumentError(
            f"{operation.id}: {parameter.name} must be a number or text, not {kind}", operation_id=operation.id
        )
    text = str(value).strip()
    if parameter.type == "integer" and not INTEGER.fullmatch(text):
        raise InvalidArgumentError(
            f"{operation.id}: {parameter.name} must be a whole number", operation_id=operation.id
        )
    if not text or text in (".", "..") or any(each in "/\\?#" or not each.isprintable() for each in text):
        raise InvalidArgumentError(
            f"{operation.id}: {parameter.name} is empty or holds a character that no id has; "
            "was it looked up from a record that is not there?",
            operation_id=operation.id,
        )
    return quote(text, safe="")


def _query(
    operation: Operation, resource: Resource, values: Mapping[str, Any], *, insists: bool
) -> list[tuple[str, str]]:
    known = {each.name: each for each in operation.parameters if each.place == "query"}
    given = {name: value for name, value in values.items() if value is not None}
    _refuse_unknown(operation, given, known, "query parameter")
    _refuse_missing(operation, given, known)
    alternatives = resource.requires_one_of if insists and operation.kind in ("list", "bulk_start") else ()
    if alternatives and not any(name in given for name in alternatives):
        raise InvalidArgumentError(
            f"{operation.id}: the API lists {resource.plural} only with at least one of the filters "
            f"{', '.join(alternatives)}; add one",
            operation_id=operation.id,
        )
    return [(name, _encoded(operation, known[name], value)) for name, value in given.items()]


def _encoded(operation: Operation, parameter: Parameter, value: object) -> str:
    where = f"filters[{parameter.name!r}]" if parameter.role == "filter" else parameter.name
    if parameter.type == "file":
        problem = "is a file; give it in files"
    else:
        try:
            converted = convert(parameter, value)
            if not parameter.longest_days or len(split_range(str(converted), parameter.longest_days)) == 1:
                return encode(converted)
            problem = (
                f"spans more than {parameter.longest_days} days, which the API answers with an empty list; ask for "
                "shorter ranges one after the other"
            )
        except ValueError as error:
            problem = str(error)
    raise InvalidArgumentError(f"{operation.id}: {where} {problem}", operation_id=operation.id)


def _body(
    catalog: Catalog, operation: Operation, body: Body | None, files: Mapping[str, FileArgument]
) -> bytes | Multipart | None:
    encoding = operation.body.encoding if operation.body else "none"
    if encoding == "none" or operation.body is None:
        if body is not None or files:
            raise InvalidArgumentError(f"{operation.id} takes no body and no files", operation_id=operation.id)
        return None
    if files:
        return _multipart(catalog, operation, body, files)
    if operation.body.multipart_only and isinstance(body, Sequence):
        raise InvalidArgumentError(
            f"{operation.id} takes one record at a time, since the API reads it from a form; make a call for each",
            operation_id=operation.id,
        )
    if operation.body.multipart_only and (body is not None or catalog.can_do_without_body(operation)):
        return _multipart(catalog, operation, body, files)
    if body is None:
        needs = "a body or files" if encoding == "multipart" else "a body"
        raise InvalidArgumentError(f"{operation.id} needs {needs}", operation_id=operation.id)
    if not isinstance(body, Mapping):
        _check_list(operation, body)
    return encode_json(operation.id, body)


def _check_list(operation: Operation, body: Sequence[Any]) -> None:
    if operation.kind != "create":
        raise InvalidArgumentError(
            f"{operation.id} takes one record, not a list; only creating takes lists", operation_id=operation.id
        )
    if isinstance(body, str | bytes) or not body or not all(isinstance(each, Mapping) for each in body):
        raise InvalidArgumentError(
            f"{operation.id} needs a record or a list of at least one record", operation_id=operation.id
        )


def _multipart(
    catalog: Catalog, operation: Operation, body: Body | None, files: Mapping[str, FileArgument]
) -> Multipart:
    fields = {each.name: each for each in catalog.body_fields(operation) if each.format == "file"}
    if files and not fields:
        raise InvalidArgumentError(f"{operation.id} takes no files", operation_id=operation.id)
    _refuse_unknown(operation, files, fields, "file field")
    if body is not None and not isinstance(body, Mapping):
        raise InvalidArgumentError(
            f"{operation.id}: a list of records cannot be sent together with files", operation_id=operation.id
        )
    plain = {name: form_value(operation.id, name, value) for name, value in (body or {}).items()}
    return Multipart(plain, tuple(open_upload(name, each) for name, each in files.items()))


def form_value(operation_id: str, name: str, value: object) -> str:
    """Return the value of a form field as text.

    :raises InvalidArgumentError: it is a nested value, or nothing that a form can hold.
    """
    if value is None:
        # A form has no null; the API takes an empty value for it.
        return ""
    if isinstance(value, Mapping | list | tuple):
        raise InvalidArgumentError(
            f"{operation_id}: {name} is a nested value, which the API takes only in requests without files; "
            "send it in a second call",
            operation_id=operation_id,
        )
    return scalar(f"{operation_id}: {name}", operation_id, value)


def encode_json(operation_id: str, body: object) -> bytes:
    """Return the body as JSON; dates, decimals and UUIDs become text.

    :raises InvalidArgumentError: it holds something that JSON has no word for, or a time with a zone.
    """

    def encode(value: object) -> str:
        if isinstance(value, datetime | date | time | Decimal | UUID):
            return scalar(f"{operation_id}: a time in the body", operation_id, value)
        raise InvalidArgumentError(
            f"{operation_id}: the body holds a {type(value).__name__}, which cannot be sent as JSON",
            operation_id=operation_id,
        )

    try:
        return json.dumps(body, default=encode, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, TypeError, RecursionError):
        pass
    # Raised out here: the original error repeats values of the body.
    raise InvalidArgumentError(
        f"{operation_id}: the body holds a number that is not finite, a key that is not text, or text that is "
        "not valid Unicode",
        operation_id=operation_id,
    )


def scalar(where: str, operation_id: str, value: object) -> str:
    """Return a single value as the text that the API reads.

    :param where: what the error names.
    :raises InvalidArgumentError: it has a time zone, or is nothing that text stands for.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime | time) and value.tzinfo is not None:
        raise _zone_refused(where, operation_id)
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds" if not value.microsecond else "microseconds")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, str | int | Decimal | UUID):
        return str(value)
    if isinstance(value, float) and value - value == 0:
        return repr(value)
    raise InvalidArgumentError(
        f"{where} cannot be sent as {type(value).__name__}; give text, a number, a date or true/false",
        operation_id=operation_id,
    )


def _zone_refused(where: str, operation_id: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{where} has a time zone, but the API reads times as the practice's wall clock and misreads zones; "
        "convert it to the practice's time zone and give it without one, as in 2026-01-31T08:00:00",
        operation_id=operation_id,
    )


def _refuse_unknown(operation: Operation, given: Mapping[str, object], known: Mapping[str, object], kind: str) -> None:
    for name in given:
        if name not in known:
            raise InvalidArgumentError(
                f"{operation.id} has no {kind} {name!r}{did_you_mean(name, known, most=3)}", operation_id=operation.id
            )


def _refuse_missing(operation: Operation, given: Mapping[str, object], known: Mapping[str, Parameter]) -> None:
    missing = [each.name for each in known.values() if each.required and given.get(each.name) is None]
    if missing:
        raise InvalidArgumentError(f"{operation.id} needs {', '.join(missing)}", operation_id=operation.id)


API_PATH = "/api/"


def same_origin(base_url: str, url: str) -> bool:
    """Tell whether an address has the scheme, host and port of the base URL, and nothing to hide its host behind."""
    try:
        own, other = urlsplit(base_url), urlsplit(url)
        return _origin(own) == _origin(other) and is_plain(url, other)
    except ValueError:
        return False


def own_link(base_url: str, link: str, found_at: str | None = None) -> str | None:
    """Return the address, at the own origin, that a link stands for; None if the link must not be followed.

    :param base_url: scheme, host and, if it is unusual, port of the connection.
    :param link: absolute or relative, as the API sent it.
    :param found_at: the address that a relative link starts from; the base URL if left out.
    """
    try:
        url = urljoin(found_at or f"{base_url}/", link)
        parts = urlsplit(url)
        if not same_origin(base_url, url) and not _is_of_api(link, parts):
            return None
    except ValueError:
        return None
    path = parts.path or "/"
    return f"{base_url}{path}?{parts.query}" if parts.query else f"{base_url}{path}"


def _is_of_api(link: str, parts: SplitResult) -> bool:
    """Tell whether a link with another origin is one of the API's own, as far as its form goes."""
    segments = unquote(parts.path).split("/")
    return (
        parts.scheme in DEFAULT_PORTS
        and not link.lstrip().startswith("/")
        and is_host(parts.hostname or "")
        and is_plain(link, parts)
        and parts.path.startswith(API_PATH)
        and not {".", ".."} & set(segments)
        # Reading the port raises for one that is none.
        and parts.port != 0
    )


def is_plain(url: str, parts: SplitResult) -> bool:
    """Tell whether an address has nothing to hide its host behind."""
    return "@" not in parts.netloc and "\\" not in url and url.isprintable() and " " not in url


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)
