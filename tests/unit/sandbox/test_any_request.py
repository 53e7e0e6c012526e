"""Whatever is asked, the sandbox answers, and never that it failed itself: bounded fuzzing with a printed seed.

``DRCHRONO_FUZZ_SEED`` repeats a run, ``DRCHRONO_FUZZ_SECONDS`` makes it longer.
"""

import json
import os
import random
import time
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from airflow_provider_drchrono.catalog import Operation, load
from airflow_provider_drchrono.sandbox import Fault, Options
from airflow_provider_drchrono.sandbox.admin import ROUTES
from airflow_provider_drchrono.sandbox.app import App
from airflow_provider_drchrono.sandbox.wire import Request, Response, decode_query

SECONDS = float(os.environ.get("DRCHRONO_FUZZ_SECONDS", "8"))
OPERATIONS = tuple(load().operations.values())
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "", "Ω")
TEXTS = (
    "", " ", "0", "-1", "1", "true", "false", "null", "None", "NaN", "1e999", "9" * 40, "9" * 5000, "²", "٣", "1.5",
    "9999-12-31", "0001-01-01", "2026-02-30", "2026-01-01/2026-01-31", "9999-12-31/0001-01-01", "2026-01-01T00:00:00",
    "9999-12-31T23:59:59.999999", "2026-01-01T00:00:00Z", "1/1/2026", "12/31/9999", "24:00", "current", "..", "%",
    "\x00",
    "a,b,,c", "W10", "WzEsW1tdXV0", "WzEsIngiXQ", "é", "💥", "\ud800", "<a/>", "id", "-updated_at", "scheduled_time",
    "Bearer", "application/json", "2026-01-01_50000001",
)  # fmt: skip
KINDS = (
    "application/json", "application/json; charset=utf-16", "application/x-www-form-urlencoded", "multipart/form-data",
    "multipart/form-data; boundary=x", 'multipart/form-data; boundary="', "text/html", "", "/;=",
)  # fmt: skip


class Fuzzer:
    """Makes requests that are wrong in any way, or in none."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.app = self.fresh()

    def fresh(self) -> App:
        """Return a small practice; what others wrote is not to pile up."""
        names = {"client_id": "fuzz", "client_secret": "fuzz", "refresh_token": "fuzz"}
        options = Options(**names, patients=3, quota_per_hour=None, quota_per_second=None, bulk_polls=0, reuse="allow")
        self.app = App(options)
        form = {"grant_type": "refresh_token", "refresh_token": options.refresh_token}
        form |= {"client_id": options.client_id, "client_secret": options.client_secret}
        headers = {"content-type": "application/x-www-form-urlencoded"}
        answer = self.app.handle(Request("POST", "/o/token/", (), headers, urlencode(form).encode()))
        self.token = answer.json()["access_token"]
        self.form = form
        return self.app

    def request(self) -> Request:
        """Return the next request: an operation's more often than not, with a good token."""
        one = self.random
        place = one.random()
        if place < 0.8:
            operation = one.choice(OPERATIONS)
            path, query, body = self.path(operation), self.query(operation), self.fields(operation)
            method = operation.method if one.random() < 0.95 else one.choice(METHODS)
        elif place < 0.9:
            method, path = one.choice(("GET", "POST")), f"/o/{one.choice(('token', 'authorize', 'revoke_token'))}/"
            body = query = {name: self.value() for name in (*self.form, "redirect_uri", "code", "scope", "approve")}
            query |= {name: value for name, value in self.form.items() if one.random() < 0.7}
            query |= {"redirect_uri": one.choice(("http://[", "http://localhost/x", "", "//"))}
        elif place < 0.97:
            method, name = one.choice(tuple(ROUTES))
            path, query = f"/_sandbox/{name}", {"resource": self.any_name(), "since_index": self.value()}
            body = {each: self.value() for each in ("seed", "advance", "kind", "scope", "times", "set")}
            body["changes"] = one.choice((0, 3, -1, "x", None))
        else:
            method, path = (
                one.choice(METHODS),
                one.choice(("/", "//", "", "/api", "/files/1/x", "/files/seeded/a/b/c.pdf")),
            )
            query, body = {"Expires": self.value()}, self.value()
        headers, content = self.content(body)
        if one.random() < 0.97:
            headers["authorization"] = f"Bearer {self.token}"
        # A query arrives as bytes, so it comes apart as it does behind the socket.
        pairs = decode_query(urlencode({name: self.text(value) for name, value in query.items()}, errors="replace"))
        return Request(method, quote(path, safe="/%", errors="replace"), pairs, headers, content)

    def path(self, operation: Operation) -> str:
        keys = self.app.practice.tables.get(operation.resource)
        known = [str(each) for each in keys.keys[:3]] if keys is not None else []
        parts = [
            self.random.choice([*known, *known, self.text(self.value())]) if each.startswith("{") else each
            for each in operation.path.split("/")
        ]
        return "/".join(parts)

    def query(self, operation: Operation) -> dict[str, Any]:
        names = [each.name for each in operation.parameters if each.place == "query"]
        chosen = self.random.sample(names, self.random.randint(0, len(names)))
        extra = {"since": "2020-01-01"} if self.random.random() < 0.5 else {self.any_name(): self.value()}
        return extra | {name: self.good(name) if self.random.random() < 0.5 else self.value() for name in chosen}

    def fields(self, operation: Operation) -> Any:
        if operation.body is None or self.random.random() < 0.1:
            return self.value()
        fields = load().body_fields(operation) if operation.body.encoding != "none" else ()
        names = [each.name for each in fields]
        table = self.app.practice.tables.get(operation.resource)
        if table is not None and len(table) and self.random.random() < 0.5:
            # A record as it is, but for a field or two, gets past the first checks.
            row = self.random.choice(list(table))
            changed = self.random.sample(names, min(len(names), self.random.randrange(3)))
            body = {name: row[name] for name in names if name in row} | {name: self.value() for name in changed}
            return body | ({"allow_overlapping": True} if self.random.random() < 0.5 else {})
        chosen = self.random.sample(names, self.random.randint(0, len(names)))
        body = {name: self.good(name) if self.random.random() < 0.6 else self.value() for name in chosen}
        return [body, self.value()] if self.random.random() < 0.1 else body

    def good(self, name: str) -> Any:
        """Return what a field of the name holds somewhere in the practice, so that a request gets far."""
        holders = [each for each in self.app.practice.tables.values() if name in each.plain and len(each)]
        return self.random.choice(list(self.random.choice(holders)))[name] if holders else self.value()

    def any_name(self) -> str:
        return self.random.choice(
            (*self.app.practice.tables, "verbose", "uuid", "cursor", "page_size", "order_by", "page")
        )

    def value(self, depth: int = 0) -> Any:
        """Return anything that JSON can hold."""
        one = self.random
        kind = one.randrange(10)
        if kind < 6 or depth > 3:
            return one.choice(TEXTS)
        if kind == 6:
            return one.choice((None, True, False, 0, -1, 10**30, 1e308, float("inf"), float("nan"), 1.5))
        if kind == 7:
            return [self.value(depth + 1) for _ in range(one.randrange(3))]
        return {one.choice((*TEXTS, "id", "name", "time")): self.value(depth + 1) for _ in range(one.randrange(3))}

    def text(self, value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value)

    def content(self, body: Any) -> tuple[dict[str, str], bytes]:
        """Return headers and body, which agree more often than not."""
        one = self.random
        kind = one.choice(KINDS)
        if one.random() < 0.7:
            kind = one.choice(KINDS[:4])
        named = body if isinstance(body, dict) else {"x": body}
        if one.random() < 0.05:
            content = one.choice((b"", b"[" * 5000, b"\xff\xfe", b"{", b"--x\r\n\r\n\r\n--x--", b"0" * 5000))
        elif kind.startswith("multipart"):
            kind = "multipart/form-data; boundary=x" if one.random() < 0.9 else kind
            content = b"".join(self.part(self.text(name), value) for name, value in named.items()) + b"--x--\r\n"
        elif kind.startswith("application/x-www"):
            content = urlencode(
                {self.text(name): self.text(value) for name, value in named.items()}, errors="replace"
            ).encode()
        else:
            content = json.dumps(body).encode()
        return {"content-type": kind}, content

    def part(self, name: str, value: Any) -> bytes:
        file = f'; filename="{self.random.choice(TEXTS)}"' if self.random.random() < 0.3 else ""
        head = f'--x\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n{self.text(value)}\r\n'
        return head.encode("utf-8", "replace")


def test_no_request_makes_it_fail() -> None:
    seed = int(os.environ.get("DRCHRONO_FUZZ_SEED", random.SystemRandom().randrange(10**9)))
    print(f"DRCHRONO_FUZZ_SEED={seed}")
    fuzzer = Fuzzer(seed)
    ends, seen, number = time.monotonic() + SECONDS, set[int](), 0
    while time.monotonic() < ends:
        number += 1
        if number % 400 == 0:
            fuzzer.fresh()
        fuzzer.app.faults.clear()
        request = fuzzer.request()
        answer = outcome(fuzzer.app, request, seed, number)
        seen.add(answer.status)
    assert {200, 201, 204, 302, 400, 401, 404, 405, 415} <= seen, "the requests have become too dull"


def outcome(app: App, request: Request, seed: int, number: int) -> Response:
    """Return the answer to a request, which has to be one that can be sent."""
    about = (
        f"DRCHRONO_FUZZ_SEED={seed}, request {number}: {request.method} {request.path} {request.query} {request.body!r}"
    )
    try:
        answer = app.handle(request)
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
    except Exception as problem:
        raise AssertionError(f"{type(problem).__name__} at {about}") from problem
    assert answer.status < 500, about
    assert all(b"\n" not in value for _, value in encoded), about
    if answer.headers.get("content-type") == "application/json":
        json.loads(answer.body, parse_constant=lambda name: pytest.fail(f"{name} is no JSON; {about}"))
    return answer


def test_a_failure_of_its_own_would_be_noticed() -> None:
    fuzzer = Fuzzer(1)
    fuzzer.app.faults.add(Fault(kind="status", operation="patients_list", status=500))
    request = Request("GET", "/api/patients", (), {"authorization": f"Bearer {fuzzer.token}"})

    with pytest.raises(AssertionError, match="request 7: GET /api/patients"):
        outcome(fuzzer.app, request, 1, 7)
