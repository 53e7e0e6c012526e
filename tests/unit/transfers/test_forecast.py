"""Forecasts of calls and hours, and that a read of as many rows really makes these calls."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.client import DrChronoClient, MemoryTokenStore
from airflow_provider_drchrono.transfers import bulk_reading
from airflow_provider_drchrono.transfers.forecast import PRACTICES, Forecast, forecast
from airflow_provider_drchrono.transfers.staging import Plan, Staging
from airflow_provider_drchrono.transfers.staging_files import LocalFolder
from airflow_provider_drchrono.transfers.sync import Sync, SyncRequest
from airflow_provider_drchrono.warehouses.table import table_for
from tests.unit.client.support import settings_for

CATALOG = load()
MANY = {"patients": 800, "appointments": 30_000, "clinical_note_field_values": 400_000, "problems": 6_000}
SIZES = {"small": 1.2, "medium": 1.06, "large": 1.05}


def of(rows: dict[str, int], *names: str, calls_per_hour: int | None = 400) -> Forecast:
    return forecast(CATALOG, names or list(rows), rows, calls_per_hour=calls_per_hour)


@pytest.mark.parametrize("size", PRACTICES)
def test_a_first_load_takes_hardly_more_calls_than_any_reader_needs(size: str) -> None:
    found = of(dict(PRACTICES[size]))

    assert found.least <= found.first_load <= SIZES[size] * found.least
    assert found.run("changes") <= 60


def test_hours_add_up_in_the_order_of_loading() -> None:
    found = of({"problems": 100_000, "allergies": 25_000})

    assert [each.done_after for each in found.lists] == [1.0, 1.25]
    assert found.hours == 1.25
    assert of({"problems": 100_000}, calls_per_hour=None).hours is None


def test_lists_that_do_not_tell_what_has_changed_are_read_whole() -> None:
    found = of({"patients": 14_000, "problems": 42_000})

    assert [(each.reads, each.later.calls) for each in found.lists] == [("changes", 1), ("everything", 168)]
    assert (found.run("changes"), found.run("everything")) == (1, 168)


def test_a_list_of_unknown_size_is_reckoned_with_as_a_page() -> None:
    (found,) = of({}, "patients").lists

    assert (found.rows, found.first.calls, found.later.calls) == (None, 1, 1)


def test_a_filter_without_which_nothing_is_listed_is_named() -> None:
    assert of({}, "insurances").lists[0].needs == ("payer_type",)


class NumberedRows:
    """An API whose lists hold so many rows, each of which is only its number.

    :param seconds: how long it takes to make a page of a bulk list.
    """

    def __init__(self, rows: dict[str, int], seconds: float) -> None:
        self.rows = rows
        self.seconds = seconds
        self.calls: Counter[str] = Counter()
        self._jobs: dict[str, tuple[float, dict[str, str]]] = {}

    def answer(self, method: str, path: str, query: dict[str, str]) -> Any:
        if path == "/o/token/":
            return {"access_token": "a", "refresh_token": "r", "expires_in": 172_800, "token_type": "Bearer"}
        name = path.removeprefix("/api/")
        resource = name.removesuffix("_list")
        self.calls[resource] += 1
        if method == "POST":
            uuid = f"{resource}-{self.calls[resource]}"
            self._jobs[uuid] = (time.monotonic(), query)
            return {"status": "In progress", "uuid": uuid}
        if name == resource:
            return self._page(resource, int(query.get("cursor", 0)))
        started, query = self._jobs[query["uuid"]]
        if time.monotonic() - started < self.seconds:
            return {"status": "In progress"}
        return self._bulk_page(resource, int(query.get("page", 1)), int(query["page_size"]))

    def _page(self, resource: str, first: int) -> dict[str, Any]:
        paging = CATALOG.resource(resource).paging
        assert paging is not None
        last = min(first + paging.expected(verbose=False), self.rows[resource])
        following = f"/api/{resource}?cursor={last}" if last < self.rows[resource] else None
        return {"results": numbers(first, last), "next": following}

    def _bulk_page(self, resource: str, page: int, size: int) -> dict[str, Any]:
        count = self.rows[resource]
        pages = -(-count // size)
        return {
            "status": "Complete",
            "results": numbers((page - 1) * size, min(page * size, count)),
            "pagination": {"page": page, "pages": pages, "count": count},
        }


def numbers(first: int, last: int) -> list[dict[str, int]]:
    return [{"id": number} for number in range(first, last)]


@pytest.fixture
def api(request: pytest.FixtureRequest) -> Iterator[tuple[NumberedRows, str]]:
    """Long lists, with a bulk list of which two looks come too early."""
    rows = NumberedRows(MANY, seconds=0.06)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def handle_any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            address = urlsplit(self.path)
            content = json.dumps(rows.answer(self.command, address.path, dict(parse_qsl(address.query)))).encode()
            self.send_response_only(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = handle_any  # noqa: N815 - names of the library

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield rows, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class Hook:
    """A connection without Airflow."""

    quota = None
    catalog = CATALOG

    def __init__(self, client: DrChronoClient) -> None:
        self.settings = client.settings
        self._client = client

    def get_conn(self) -> DrChronoClient:
        return self._client


@pytest.mark.parametrize("resource", MANY)
def test_a_read_makes_the_calls_that_were_forecast(
    api: tuple[NumberedRows, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resource: str
) -> None:
    # A look at half of the time that a page takes, as the pauses of seconds are to pages of some more seconds.
    monkeypatch.setattr(bulk_reading, "LONGEST_LOOK", 0.04)
    rows, url = api
    table = table_for(CATALOG, CATALOG.resource(resource), name=resource, schema=None, verbose=False)
    request = SyncRequest(
        resource=CATALOG.resource(resource),
        table=table,
        filters={},
        verbose=False,
        since=None,
        lookback=timedelta(0),
        full_refresh=False,
        retention=timedelta(days=1),
    )
    staging = Staging(LocalFolder(tmp_path / "staging"), "test")
    assert staging.acquire()
    plan = Plan(None, "1970-01-01T00:00:00", None, ("America/New_York",), None)
    with closing(DrChronoClient(settings_for(url), token_store=MemoryTokenStore())) as client:
        hook: Any = Hook(client)
        open_nothing: Any = None
        key: Any = None
        sync = Sync(request, hook=hook, open_warehouse=open_nothing, key=key, staging=staging, run_id="test")
        checkpoint = sync._read(staging.restart(plan))
    staging.release()

    (expected,) = of(MANY, resource).lists
    assert checkpoint.rows == MANY[resource]
    assert checkpoint.calls == rows.calls[resource]
    assert abs(expected.first.calls - checkpoint.calls) <= max(2, 0.05 * checkpoint.calls)
