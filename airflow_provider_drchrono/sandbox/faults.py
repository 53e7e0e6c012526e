"""Scripted faults: what goes wrong, on which call, and how often."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from airflow_provider_drchrono.sandbox.quota import throttled
from airflow_provider_drchrono.sandbox.wire import Json, Response, encode

Kind = Literal[
    "status", "slow", "truncated", "html", "drop", "foreign_next", "repeat_cursor", "expire_token", "throttle",
    "firewall", "maintenance", "wrong_date",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that goes wrong.

    Kinds: ``status`` answers with ``status`` and ``body``; ``slow`` waits ``seconds`` first; ``truncated`` breaks off
    the JSON; ``html`` answers an HTML page with 200; ``drop`` closes the connection, before the answer or, with
    ``half``, in the middle of it; ``foreign_next`` makes the next link point at ``host``; ``repeat_cursor`` makes it
    point at the page itself; ``expire_token`` voids the access token before the call; ``throttle`` answers 429 with
    the wait of ``seconds``, and a Retry-After header with ``retry_after``; ``firewall`` answers 403 with an HTML page,
    as in front of a throttled client; ``maintenance`` answers an HTML page with 200 and carries nothing out, so that
    no token is spent; ``wrong_date`` moves the Date header of the answer by ``seconds``.

    :param operation: operation id it applies to, or ``oauth_token``; any when both this and ``resource`` are empty.
    :param resource: resource it applies to.
    :param method: HTTP method it applies to; any when empty.
    :param skip: matching calls that go well first.
    :param times: matching calls it hits; None for all that follow.
    :param after: the request is carried out and only its answer is lost (``status`` and ``drop``).
    """

    kind: Kind
    operation: str = ""
    resource: str = ""
    method: str = ""
    skip: int = 0
    times: int | None = 1
    status: int = 500
    body: Json = None
    seconds: float = 1.0
    half: bool = False
    host: str = "http://elsewhere.example.com"
    retry_after: bool = False
    after: bool = False

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Fault:
        """Return a fault from JSON.

        :raises ValueError: for a name that no fault has, or without a kind that there is.
        """
        known = {each.name for each in fields(cls)}
        unknown = sorted(set(raw) - known)
        if unknown:
            raise ValueError(f"A fault has no {', '.join(unknown)}; it has {', '.join(sorted(known))}")
        if raw.get("kind") not in get_args(Kind):
            raise ValueError(f"kind is one of {', '.join(get_args(Kind))}")
        return cls(**raw)

    def applies(self, operation_id: str, resource: str, method: str) -> bool:
        """Tell whether a call is one that this fault counts."""
        return (
            (not self.operation or self.operation == operation_id)
            and (not self.resource or self.resource == resource)
            and (not self.method or self.method == method)
            and (bool(self.operation or self.resource) or operation_id != "oauth_token")
        )

    @property
    def replaces(self) -> bool:
        """Tell whether the request is not carried out at all."""
        return self.kind in {"firewall", "maintenance"} or (self.kind in {"status", "throttle"} and not self.after)

    def answer(self) -> Response:
        """Return what is answered in place of carrying the request out."""
        if self.kind == "throttle":
            return throttled(self.seconds, retry_after=self.retry_after)
        if self.kind == "firewall":
            return _page(403, "Request blocked")
        if self.kind == "maintenance":
            return _page(200, "Down for scheduled maintenance")
        body = {"detail": "A scripted fault of the sandbox."} if self.body is None else self.body
        if isinstance(body, str):
            return Response(self.status, body.encode(), {"content-type": "text/plain"})
        return Response(self.status, encode(body), {"content-type": "application/json"})

    def spoil(self, response: Response, self_url: str) -> Response:
        """Return an answer with this fault in it.

        :param self_url: address of the request, for the page that links to itself.
        """
        if self.kind == "slow":
            response.delay += self.seconds
        elif self.kind == "status":
            return self.answer()
        elif self.kind == "truncated":
            response.body = response.body[: max(1, len(response.body) // 2)]
        elif self.kind == "html":
            return _page(200, "Please stand by")
        elif self.kind == "wrong_date":
            response.date_offset = self.seconds
        elif self.kind == "drop":
            response.cut = len(response.body) // 2 if self.half else -1
        elif self.kind in {"foreign_next", "repeat_cursor"}:
            response.body = self._relink(response.body, self_url)
        return response

    def _relink(self, body: bytes, self_url: str) -> bytes:
        def replaced(found: re.Match[bytes]) -> bytes:
            repeated = self_url if self.kind == "repeat_cursor" else self.host + found[1].decode()
            return b'"next":' + encode(repeated)

        return re.sub(rb'"next":"https?://[^/"]+([^"]*)"', replaced, body)


def _page(status: int, text: str) -> Response:
    return Response(status, f"<html><body>{text}</body></html>".encode(), {"content-type": "text/html"})


class Faults:
    """The faults still to come, in the order in which they were added; each call meets the first that is due."""

    def __init__(self) -> None:
        self._pending: list[tuple[Fault, list[int]]] = []

    def add(self, fault: Fault) -> None:
        """Plan a fault."""
        self._pending.append((fault, [fault.skip, -1 if fault.times is None else fault.times]))

    def clear(self) -> None:
        """Forget all faults."""
        self._pending.clear()

    def planned(self) -> list[dict[str, Any]]:
        """Return the faults that may still strike."""
        return [asdict(fault) for fault, (_, left) in self._pending if left != 0]

    def strike(self, operation_id: str, resource: str, method: str) -> Fault | None:
        """Count a call and return the fault that it meets."""
        hit: Fault | None = None
        for fault, count in self._pending:
            if count[1] == 0 or not fault.applies(operation_id, resource, method):
                continue
            if count[0] > 0:
                count[0] -= 1
            elif hit is None:
                count[1] -= 1 if count[1] > 0 else 0
                hit = fault
        return hit
