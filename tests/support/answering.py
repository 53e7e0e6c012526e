"""Lets a sandbox answer another way than it does: a function stands between the socket and the sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.sandbox.wire import Request, Response, encode

Handle = Callable[[Request], Response]
Answering = Callable[[Handle, Request], Response]


@contextmanager
def answering(sandbox: Sandbox, *ways: Answering) -> Iterator[None]:
    """Answer in these ways, the first outermost, until the block ends."""
    plain = sandbox.app.handle
    handle: Handle = plain
    for way in reversed(ways):
        handle = _around(way, handle)
    sandbox.app.handle = handle  # type: ignore[method-assign]
    try:
        yield
    finally:
        sandbox.app.handle = plain  # type: ignore[method-assign]


def _around(way: Answering, handle: Handle) -> Handle:
    return lambda request: way(handle, request)


def refusing(path: str, status: int, body: Any = None, *, without: str = "") -> Answering:
    """Answer a status to requests for a path, or only to those that lack a query parameter."""

    def answer(handle: Handle, request: Request) -> Response:
        if request.path != path or (without and request.argument(without) is not None):
            return handle(request)
        return Response(status, encode(body), {"content-type": "application/json"})

    return answer


def editing(path: str, edit: Callable[[Any, Request], Any], *, method: str = "GET") -> Answering:
    """Change the JSON of a success at a path, or at all paths that begin with it where it ends in ``*``.

    :param edit: is given the decoded value, which it may change in place; what it returns is sent, unless it is None.
    """

    def answer(handle: Handle, request: Request) -> Response:
        response = handle(request)
        here = request.path.startswith(path[:-1]) if path.endswith("*") else request.path == path
        if not here or request.method != method or response.status not in (200, 201) or not response.body:
            return response
        value = json.loads(response.body)
        changed = edit(value, request)
        response.body = encode(value if changed is None else changed)
        return response

    return answer


def asking(path: str, ask: Callable[[dict[str, str]], dict[str, str]]) -> Answering:
    """Change the query of requests for a path before the sandbox sees them."""

    def answer(handle: Handle, request: Request) -> Response:
        if request.path != path:
            return handle(request)
        return handle(replace(request, query=tuple(ask(dict(request.query)).items())))

    return answer


def rows_of(value: Any) -> list[dict[str, Any]]:
    """Return the records of a page, to be changed in place."""
    rows: list[dict[str, Any]] = value["data"] if "data" in value else value["results"]
    return rows
