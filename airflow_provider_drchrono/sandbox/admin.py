"""The admin interface under ``/_sandbox/``: lets a test in another process look at the practice and change it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_drchrono.sandbox.churn import churn
from airflow_provider_drchrono.sandbox.faults import Fault
from airflow_provider_drchrono.sandbox.practice import Practice
from airflow_provider_drchrono.sandbox.wire import Request, Response, answer, decode, detail

if TYPE_CHECKING:
    from airflow_provider_drchrono.sandbox.app import App

PREFIX = "/_sandbox/"


def handle(app: App, request: Request) -> Response:
    """Answer a request to the admin interface; it needs no token and counts as no call."""
    name = request.path.removeprefix(PREFIX).strip("/")
    work = ROUTES.get((request.method, name))
    if work is None:
        known = ", ".join(f"{method} {PREFIX}{each}" for method, each in ROUTES)
        raise detail(404, f"There is no {request.method} {request.path}; there is {known}")
    try:
        return answer(200, work(app, request))
    except (KeyError, OverflowError, TypeError, ValueError) as problem:
        raise detail(400, str(problem)) from None


def checksum(practice: Practice, resource: str) -> dict[str, Any]:
    """Return the number of listed records and a digest of all of them.

    Each plain record is written as canonical JSON (sorted keys, no spaces, UTF-8) and hashed with SHA-256; the digest
    is the SHA-256 of these hashes in hexadecimal, one a line, in the order of ``str(id)``.
    """
    table = practice.table(resource)
    rows = [row for row in table if not row.get("deleted_flag")]
    records = sorted((table.view(row) for row in rows), key=lambda each: str(each.get(table.key or "id")))
    lines = (json.dumps(each, sort_keys=True, separators=(",", ":"), ensure_ascii=False) for each in records)
    digests = (hashlib.sha256(line.encode()).hexdigest() for line in lines)
    return {"count": len(records), "sha256": hashlib.sha256("\n".join(digests).encode()).hexdigest()}


def _state(app: App, request: Request) -> dict[str, Any]:
    return {
        "clock": app.clock.now().isoformat(),
        "practice_time": app.clock.stamp(),
        "records": {name: app.practice.count(name) for name in app.practice.tables},
        "quota": {
            "per_hour": app.quota.per_hour,
            "per_second": app.quota.per_second,
            "used": {client: app.quota.used(client, app.clock.now()) for client in app.oauth.clients},
        },
        "requests": len(app.journal),
        "faults": app.faults.planned(),
    }


def _journal(app: App, request: Request) -> dict[str, Any]:
    since = int(request.argument("since_index") or 0)
    return {"entries": [entry.as_json() for entry in app.journal if entry.index >= since]}


def _clear_journal(app: App, request: Request) -> dict[str, Any]:
    app.journal.clear()
    return {"requests": 0}


def _churn(app: App, request: Request) -> dict[str, Any]:
    given = _given(request)
    return churn(app.practice, seed=int(given.get("seed", 0)), changes=int(given.get("changes", 100)))


def _clock(app: App, request: Request) -> dict[str, Any]:
    app.clock.advance(float(_given(request)["advance"]))
    return {"clock": app.clock.now().isoformat(), "practice_time": app.clock.stamp()}


def _add_faults(app: App, request: Request) -> dict[str, Any]:
    given = decode(request.body)
    for each in given if isinstance(given, list) else [given]:
        app.faults.add(Fault.read(each))
    return {"faults": app.faults.planned()}


def _clear_faults(app: App, request: Request) -> dict[str, Any]:
    app.faults.clear()
    return {"faults": []}


def _checksum(app: App, request: Request) -> dict[str, Any]:
    resource = request.argument("resource")
    if not resource:
        raise ValueError("Name a resource: /_sandbox/checksum?resource=patients")
    return checksum(app.practice, resource)


def _grant(app: App, request: Request) -> dict[str, Any]:
    scopes = str(_given(request).get("scope", "")).split()
    return {"refresh_token": app.oauth.grant(app.options.client_id, scopes).refresh_token}


def _given(request: Request) -> dict[str, Any]:
    given = decode(request.body or b"{}")
    if not isinstance(given, dict):
        raise ValueError("Send a JSON object")
    return given


ROUTES: Mapping[tuple[str, str], Callable[[App, Request], dict[str, Any]]] = {
    ("GET", "state"): _state,
    ("GET", "journal"): _journal,
    ("POST", "journal/clear"): _clear_journal,
    ("POST", "churn"): _churn,
    ("POST", "clock"): _clock,
    ("POST", "faults"): _add_faults,
    ("DELETE", "faults"): _clear_faults,
    ("GET", "checksum"): _checksum,
    ("POST", "grant"): _grant,
}
