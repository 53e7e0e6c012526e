"""Requests that the catalogue does not know: any method and path of the connection's own origin.

They go the way of all other calls, with the connection's token, its quota, its bounds and its errors. What nobody knows
of them is taken to be unsafe: only reading is repeated by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from airflow_provider_drchrono.catalog import Catalog, Operation, Response
from airflow_provider_drchrono.catalog.model import HttpMethod
from airflow_provider_drchrono.client.errors import InvalidArgumentError, UnexpectedAnswerError
from airflow_provider_drchrono.client.files import FileArgument, Multipart, open_upload
from airflow_provider_drchrono.client.paging import ENVELOPE_KEYS, Record, records_of
from airflow_provider_drchrono.client.request import Request, encode_json, form_value, same_origin, scalar

METHODS: tuple[HttpMethod, ...] = ("GET", "POST", "PUT", "PATCH", "DELETE")
SAFE = ("GET",)

OAUTH = "o"
"""First segment of the addresses that give, renew and revoke tokens."""

SEGMENT = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
"""A segment that may be named in messages: it is part of the address, not of somebody's data."""

SAFE_MARKS = ":@+,;=!$&'()*~"
"""Characters that stand in a segment as they are, beside letters, digits, and ``_.-~``."""

PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_.\[\]-]{0,99}")
MOST_LONG = 2048


@dataclass(frozen=True, slots=True)
class FreeRequest(Request):
    """A request that the catalogue does not know."""

    @property
    def repeatable(self) -> bool:
        """Whether a second arrival does no harm, which is known of reading alone."""
        return self.method in SAFE


def free_request(
    catalog: Catalog,
    base_url: str,
    method: str,
    path: str,
    *,
    params: Mapping[str, Any] | None = None,
    json: Any = None,
    data: Mapping[str, Any] | None = None,
    files: Mapping[str, FileArgument] | None = None,
    paged: bool = False,
) -> Request:
    """Return the request for a method and a path.

    :param base_url: scheme, host and port, without a slash at the end.
    :param params: query parameters; None as a value leaves one out, several values are joined by commas.
    :param json: the body, as JSON.
    :param data: the fields of a form, sent as ``multipart/form-data``, with ``files`` beside them.
    :param paged: the answer is a page of records.
    :raises InvalidArgumentError: an argument cannot be sent; nothing was.
    """
    verb = str(method).strip().upper()
    if verb not in METHODS:
        raise InvalidArgumentError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    segments = path_segments(base_url, path)
    operation = _operation(catalog, verb, segments, paged=paged)
    url = f"{base_url}/{'/'.join(quote(each, safe=SAFE_MARKS) for each in segments)}"
    query = urlencode(_pairs(operation.id, params or {}))
    body = _body(operation.id, verb, json, data, files)
    return FreeRequest(operation, f"{url}?{query}" if query else url, body)


def path_segments(base_url: str | None, path: object) -> list[str]:
    """Return the decoded segments of a path on the connection's own origin.

    :param base_url: the connection's origin; None while it is not known, as while a DAG is parsed.
    :raises InvalidArgumentError: it leads elsewhere, or is no path. It is not repeated, as it may name a patient.
    """
    text = path if isinstance(path, str) else ""
    if "://" in text.partition("?")[0]:
        # A whole address is taken for its path where it is one of ours.
        if base_url is None:
            return []
        if not same_origin(base_url, text):
            raise InvalidArgumentError(
                f"path leads to another host than {base_url}, to which the token must not go; give a path such as "
                "/api/patients"
            )
        parts = urlsplit(text)
        text = parts.path + (f"?{parts.query}" if parts.query else "")
    if not text.startswith("/") or text.startswith("//") or len(text) > MOST_LONG:
        raise InvalidArgumentError("path must begin with one slash, such as /api/patients")
    if "?" in text or "#" in text:
        raise InvalidArgumentError("path has a query or a fragment; give query parameters in params")
    segments = [unquote(each, errors="replace") for each in text[1:].split("/")]
    if segments[-1] == "":
        # A slash at the end, as older pages of the vendor write it, stays.
        inner, last = segments[:-1], [""]
    else:
        inner, last = segments, []
    for each in inner:
        if each.strip() in ("", ".", "..") or any(mark in each for mark in "/\\%?#") or not each.isprintable():
            raise InvalidArgumentError(
                "path has a segment that is empty, a dot segment, or one with a character that no address has; was an "
                "id looked up from a record that is not there?"
            )
    if inner and inner[0].lower() == OAUTH:
        raise InvalidArgumentError(
            "path leads to the OAuth endpoints, whose answers end the tokens that the connection keeps; use "
            "airflow drchrono authorize, or let the client renew its token by itself"
        )
    return inner + last


def free_records(operation: Operation, answer: Any) -> list[Record]:
    """Return the records of a page of a list that the catalogue may not know.

    :raises UnexpectedAnswerError: there is no list of records in it.
    """
    if isinstance(answer, Mapping) and not any(isinstance(answer.get(key), list) for key in ENVELOPE_KEYS):
        raise UnexpectedAnswerError(
            f"{operation.id}: the answer is no page of records (it has none of {', '.join(ENVELOPE_KEYS)}); ask for it "
            "without following pages",
            operation_id=operation.id,
            status=200,
        )
    return records_of(operation, answer)


def _operation(catalog: Catalog, method: HttpMethod, segments: Sequence[str], *, paged: bool) -> Operation:
    """Return what is known of a request; rights and conflicts are those of the catalogue, where it knows the path."""
    shown = "/".join(each if SEGMENT.fullmatch(each) or each.isdigit() else "..." for each in segments)
    # What comes back may be any document, but where pages are followed it is JSON.
    response = Response(status=200, shape="page" if paged else "any")
    name = f"{method} /{shown}"
    known = _known(catalog, method, segments)
    if known is not None:
        return replace(known, id=name, kind="action", parameters=(), body=None, response=response)
    return Operation(
        id=name,
        resource=segments[1] if len(segments) > 1 else segments[0],
        method=method,
        path=f"/{shown}",
        kind="action",
        summary="",
        named_scopes=(),
        permissions=(),
        parameters=(),
        response=response,
    )


def _known(catalog: Catalog, method: HttpMethod, segments: Sequence[str]) -> Operation | None:
    resource = catalog.resources.get(segments[1]) if len(segments) > 1 and segments[0] == "api" else None
    wanted = [each for each in segments if each]
    for each in resource.operations.values() if resource else ():
        parts = each.path.strip("/").split("/")
        alike = len(parts) == len(wanted) and all(
            part.startswith("{") or part == segment for part, segment in zip(parts, wanted, strict=True)
        )
        if each.method == method and alike:
            return each
    return None


def _pairs(operation_id: str, params: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not isinstance(params, Mapping):
        raise InvalidArgumentError(f"{operation_id}: params must be a mapping of names to values")
    return [
        (checked_name(operation_id, "params", name), parameter_text(f"{operation_id}: params[{name!r}]", value))
        for name, value in params.items()
        if value is not None
    ]


def checked_name(operation_id: str, argument: str, name: object) -> str:
    """Return the name of a query parameter.

    :raises InvalidArgumentError: it is none.
    """
    if not isinstance(name, str) or not PARAMETER.fullmatch(name):
        raise InvalidArgumentError(f"{operation_id}: {argument} has a name that no query parameter has")
    return name


def parameter_text(where: str, value: object) -> str:
    """Return the value of a query parameter that the catalogue does not know.

    :param where: what the error names.
    :raises InvalidArgumentError: it is empty, has a zone, or is nothing that a query can hold. It is not repeated.
    """
    if isinstance(value, list | tuple | set | frozenset):
        if not value:
            raise InvalidArgumentError(f"{where} is an empty list, which would select everything: leave it out")
        return ",".join(parameter_text(where, each) for each in value)
    text = scalar(where, where.partition(": ")[0], value)
    if not text.strip():
        raise InvalidArgumentError(f"{where} is empty, which would select everything: leave it out or give a value")
    return text


def _body(
    operation_id: str,
    method: str,
    json: Any,
    data: Mapping[str, Any] | None,
    files: Mapping[str, FileArgument] | None,
) -> bytes | Multipart | None:
    if method in SAFE and (json is not None or data or files):
        raise InvalidArgumentError(f"{operation_id}: a GET takes no body; give query parameters in params")
    if json is not None and (data or files):
        raise InvalidArgumentError(f"{operation_id}: give json, or data and files, not both")
    if json is not None:
        return encode_json(operation_id, json)
    if not data and not files:
        return None
    if data is not None and not isinstance(data, Mapping):
        raise InvalidArgumentError(f"{operation_id}: data must be a mapping of form fields; give records in json")
    plain = {str(name): form_value(operation_id, str(name), value) for name, value in (data or {}).items()}
    return Multipart(plain, tuple(open_upload(name, each) for name, each in (files or {}).items()))
