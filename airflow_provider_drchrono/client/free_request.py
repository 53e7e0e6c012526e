"""Requests that the catalogue does not know: any method and path of the connection's own origin.

They go the way of all other calls, with the connection's token, its quota, its bounds and its errors. What nobody knows
of them is taken to be unsafe: only reading is repeated by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from airflow_provider_drchrono.catalog import Catalog, Operation, Response
from airflow_provider_drchrono.catalog.model import HttpMethod
from airflow_provider_drchrono.client.errors import InvalidArgumentError, UnexpectedAnswerError
from airflow_provider_drchrono.client.files import FileArgument, Multipart, open_upload
from airflow_provider_drchrono.client.free_path import METHODS, NAMED_SEGMENT, SAFE, is_whole_address, path_segments
from airflow_provider_drchrono.client.paging import Page, PageChain, envelope_keys
from airflow_provider_drchrono.client.request import Request, encode_json, form_value, same_origin
from airflow_provider_drchrono.client.unknown_parameters import checked_name, parameter_text

SAFE_MARKS = ":@+,;=!$&'()*~"
"""Characters that stand in a segment as they are, beside letters, digits, and ``_.-~``."""


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
    query: Mapping[str, Any] | None = None,
    json: Any = None,
    data: Mapping[str, Any] | None = None,
    files: Mapping[str, FileArgument] | None = None,
    paged: bool = False,
) -> Request:
    """Return the request for a method and a path.

    :param base_url: scheme, host and port, without a slash at the end.
    :param query: query parameters; None as a value leaves one out, several values are joined by commas.
    :param json: the body, as JSON.
    :param data: the fields of a form, sent as ``multipart/form-data``, with ``files`` beside them.
    :param paged: the answer is a page of records.
    :raises InvalidArgumentError: an argument cannot be sent; nothing was.
    """
    verb = str(method).strip().upper()
    if verb not in METHODS:
        raise InvalidArgumentError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    segments = path_segments(_own_path(base_url, path))
    operation = _operation(catalog, verb, segments, paged=paged)
    url = f"{base_url}/{'/'.join(quote(each, safe=SAFE_MARKS) for each in segments)}"
    pairs = urlencode(_pairs(operation.id, query or {}))
    body = _body(operation.id, verb, json, data, files)
    return FreeRequest(operation, f"{url}?{pairs}" if pairs else url, body)


class FreeListing(PageChain):
    """The state of one iteration over a list that the catalogue may not know.

    :param first: what :func:`free_request` returned for its first page.
    """

    def __init__(self, base_url: str, first: Request) -> None:
        super().__init__(first.operation, base_url, first)

    def take(self, answer: Any, server_time: datetime) -> Page:
        """Turn the answer into a page; see :meth:`PageChain.take`.

        :raises UnexpectedAnswerError: it is no page of records, or the list does not end.
        """
        keys = envelope_keys(self.operation)
        if isinstance(answer, Mapping) and not any(isinstance(answer.get(key), list) for key in keys):
            raise UnexpectedAnswerError(
                f"{self.operation.id}: the answer is no page of records; ask for it without following pages",
                operation_id=self.operation.id,
                status=200,
            )
        return super().take(answer, server_time)

    def _request_at(self, url: str) -> Request:
        return FreeRequest(self.operation, url)


def _own_path(base_url: str, path: object) -> object:
    """Return the path of a whole address where that is one of ours.

    :raises InvalidArgumentError: it leads to another host.
    """
    if not isinstance(path, str) or not is_whole_address(path):
        return path
    if not same_origin(base_url, path):
        raise InvalidArgumentError(
            f"path leads to another host than {base_url}, to which the token must not go; give a path such as "
            "/api/patients"
        )
    parts = urlsplit(path)
    return parts.path + (f"?{parts.query}" if parts.query else "")


def _operation(catalog: Catalog, method: HttpMethod, segments: Sequence[str], *, paged: bool) -> Operation:
    """Return what is known of a request; rights and conflicts are those of the catalogue, where it knows the path."""
    shown = "/".join(each if NAMED_SEGMENT.fullmatch(each) or each.isdigit() else "..." for each in segments)
    # What comes back may be any document, but where pages are followed it is JSON.
    name = f"{method} /{shown}"
    known = _known(catalog, method, segments)
    rows = known.response.rows if known else None
    response = Response(status=200, shape="page" if paged else "any", rows=rows)
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


def _pairs(operation_id: str, query: object) -> list[tuple[str, str]]:
    if not isinstance(query, Mapping):
        raise InvalidArgumentError(f"{operation_id}: query must be a mapping of names to values")
    return [
        (checked_name(operation_id, "query", name), parameter_text(f"{operation_id}: query[{name!r}]", value))
        for name, value in query.items()
        if value is not None
    ]


def _body(
    operation_id: str,
    method: str,
    json: Any,
    data: Mapping[str, Any] | None,
    files: Mapping[str, FileArgument] | None,
) -> bytes | Multipart | None:
    if method in SAFE and (json is not None or data or files):
        raise InvalidArgumentError(f"{operation_id}: a GET takes no body; give query parameters in query")
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
