"""Cuts lists into pages: opaque cursors that hold a place, links that lead on, and either envelope."""

from __future__ import annotations

import base64
import binascii
import json
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from airflow_provider_drchrono.catalog import Operation, Paging
from airflow_provider_drchrono.sandbox.filters import Filters
from airflow_provider_drchrono.sandbox.practice import Key, Table
from airflow_provider_drchrono.sandbox.sandbox_options import Options
from airflow_provider_drchrono.sandbox.wire import Request, Response, detail, encode, whole

SISTER = "https://drchrono-sister.invalid"
"""Where links point by default: the vendor's samples name another of its hosts than the one that was asked. Nobody
serves this one, so that whoever follows a link to its host notices."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a list: right after a row, or right before it."""

    after: bool
    place: Any

    def text(self) -> str:
        """Return the cursor as it stands in a link."""
        raw = json.dumps([int(self.after), self.place], separators=(",", ":"))
        return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> Cursor:
        """Return the cursor of a link.

        :raises Refusal: 404 when it is not one of ours, as the API answers.
        """
        try:
            after, place = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        except (binascii.Error, ValueError, TypeError, RecursionError):
            raise detail(404, "Invalid cursor") from None
        return cls(bool(after), tuple(place) if isinstance(place, list) else place)


def page_size(paging: Paging | None, asked: str | None, *, verbose: bool) -> int:
    """Return how many records a page holds: what was asked for, up to the largest the list serves."""
    largest = (paging or Paging("cursor")).expected(verbose=verbose)
    wanted = whole(asked) if asked else None
    return min(wanted, largest) if wanted and wanted > 0 else largest


def link_origin(options: Options, request: Request) -> str:
    """Return where links point: the sister host, or the address that was asked."""
    return SISTER if options.sister_links else request.origin


def envelope_key(options: Options, operation: Operation) -> str:
    """Return the key of the records of a page."""
    chosen = options.envelopes.get(operation.resource, options.envelope)
    return (operation.response.rows or "data") if chosen == "contract" else chosen


def serve_page(
    table: Table,
    filters: Filters,
    request: Request,
    *,
    order: str,
    size: int,
    key: str,
    verbose: bool,
    met: Collection[str],
    origin: str,
) -> Response:
    """Return one page of a list, with links to the pages around it.

    :param key: name of the records in the envelope.
    :param met: conditions that the request meets for fields which come on condition only.
    :param origin: scheme, host and port of the links.
    """
    matches = table.matching(filters.token, filters.keep, order)
    text = request.argument("cursor")
    start, end = _span(matches, Cursor.read(text) if text else None, size)
    chosen = matches[start:end]
    keys = list(chosen) if order == "id" else [key for _, key in chosen]
    after = Cursor(True, chosen[-1]) if end < len(matches) and chosen else None
    before = Cursor(False, chosen[0]) if start > 0 and chosen else None
    body = b"".join(
        (
            b'{"previous":', encode(_link(request, origin, before)),
            b',"', key.encode(), b'":[', b",".join(render(table, keys, verbose=verbose, met=met)),
            b'],"next":', encode(_link(request, origin, after)), b"}",
        )
    )  # fmt: skip
    return Response(200, body, {"content-type": "application/json"})


def render(table: Table, keys: Sequence[Key], *, verbose: bool, met: Collection[str] = ()) -> list[bytes]:
    """Return the records of these keys, each as JSON."""
    verbose = verbose and bool(table.verbose or table.conditions)
    if not verbose and set(table.conditions.values()).isdisjoint(met):
        return [table.encoded(key) for key in keys]
    return [encode(table.view(table.listed(key) or {}, verbose=verbose, met=met)) for key in keys]


def _span(matches: Sequence[Any], cursor: Cursor | None, size: int) -> tuple[int, int]:
    if cursor is None:
        return 0, size
    try:
        if cursor.after:
            start = bisect_right(matches, cursor.place)
            return start, start + size
        end = bisect_left(matches, cursor.place)
    except TypeError:
        raise detail(404, "Invalid cursor") from None
    return max(0, end - size), end


def _link(request: Request, origin: str, cursor: Cursor | None) -> str | None:
    if cursor is None:
        return None
    query = [(name, value) for name, value in request.query if name != "cursor"]
    return f"{origin}{request.path}?{urlencode([*query, ('cursor', cursor.text())])}"
