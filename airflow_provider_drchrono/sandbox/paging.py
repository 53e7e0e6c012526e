"""Cuts lists into pages: opaque cursors that hold a place, links on the caller's own host, and either envelope."""

from __future__ import annotations

import base64
import binascii
import json
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from airflow_provider_drchrono.catalog import Operation, Paging
from airflow_provider_drchrono.sandbox.filters import Filters
from airflow_provider_drchrono.sandbox.practice import Key, Table
from airflow_provider_drchrono.sandbox.sandbox_options import Options
from airflow_provider_drchrono.sandbox.wire import Request, Response, detail, encode


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
        except (binascii.Error, ValueError, TypeError):
            raise detail(404, "Invalid cursor") from None
        return cls(bool(after), tuple(place) if isinstance(place, list) else place)


def page_size(paging: Paging | None, asked: str | None, *, verbose: bool) -> int:
    """Return how many records a page holds: what was asked for, up to the largest the list serves."""
    largest = (paging or Paging("cursor")).expected(verbose=verbose)
    if asked and asked.isdigit() and int(asked) > 0:
        return min(int(asked), largest)
    return largest


def envelope_key(options: Options, operation: Operation) -> str:
    """Return the key of the records of a page."""
    chosen = options.envelopes.get(operation.resource, options.envelope)
    return (operation.response.rows or "data") if chosen == "contract" else chosen


def serve_page(
    table: Table, filters: Filters, request: Request, *, order: str, size: int, key: str, verbose: bool
) -> Response:
    """Return one page of a list, with links to the pages around it.

    :param key: name of the records in the envelope.
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
            b'{"previous":', encode(_link(request, before)),
            b',"', key.encode(), b'":[', b",".join(render(table, keys, verbose=verbose)),
            b'],"next":', encode(_link(request, after)), b"}",
        )
    )  # fmt: skip
    return Response(200, body, {"content-type": "application/json"})


def render(table: Table, keys: Sequence[Key], *, verbose: bool) -> list[bytes]:
    """Return the records of these keys, each as JSON."""
    if not verbose or not table.verbose:
        return [table.encoded(key) for key in keys]
    return [encode(table.view(table.listed(key) or {}, verbose=True)) for key in keys]


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


def _link(request: Request, cursor: Cursor | None) -> str | None:
    if cursor is None:
        return None
    query = [(name, value) for name, value in request.query if name != "cursor"]
    return f"{request.origin}{request.path}?{urlencode([*query, ('cursor', cursor.text())])}"
