"""A sync whose list may hide records: it warns or fails, and remembers nothing that it was not shown."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_drchrono.client.paging import Listing
from airflow_provider_drchrono.incremental.suspicion import SuspiciousReadError
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from tests.airflow.test_warehouse_sync import fetch, home, outcome, practice, staged, sync

pytestmark = pytest.mark.airflow
__all__ = ["fetch", "home", "practice"]

Fetch = Callable[[str], list[tuple[Any, ...]]]
RIGHTS = "the scope patients:read or patients:write, and the token has only calendar:read"


def authorize(sandbox: Sandbox, patch: pytest.MonkeyPatch, *scopes: str) -> None:
    connection = json.loads(sandbox.connection_json())
    connection["extra"]["refresh_token"] = sandbox.new_refresh_token(*scopes)
    patch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", json.dumps(connection))


def watermark(fetch: Fetch) -> list[Any]:
    return fetch("SELECT watermark FROM _drchrono_sync")


@pytest.mark.parametrize("full_refresh", [False, True])
def test_a_scope_that_was_lost_is_told_in_each_run_and_hides_nothing_for_good(
    practice: Callable[..., Sandbox],
    fetch: Fetch,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    full_refresh: bool,
) -> None:
    sandbox = practice(missing_scope="empty")
    sync()
    before = watermark(fetch)
    authorize(sandbox, monkeypatch, "calendar:read")
    late = sandbox.practice.create("patients", {"last_name": "Late"})

    for number in range(2):
        caplog.clear()
        result = sync(run_id=f"blind {number}", full_refresh=full_refresh, lookback=0)
        assert (result["rows_read"], result["rows_in_table"]) == (0, 60)
        assert (result["rows_new"], result["rows_changed"], result["rows_deleted"]) == (0, 0, 0)
        assert RIGHTS in caplog.text
    assert watermark(fetch) == before

    authorize(sandbox, monkeypatch)
    sync(run_id="seeing", lookback=0)
    assert fetch(f"SELECT count(*) FROM patients WHERE id = {late['id']}") == [(1,)]


def test_a_scope_that_was_lost_fails_where_that_is_chosen(
    practice: Callable[..., Sandbox], fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = practice(missing_scope="empty")
    authorize(sandbox, monkeypatch, "calendar:read")

    with pytest.raises(outcome("AirflowFailException"), match="the token has only calendar:read"):
        sync(on_suspicious="fail")
    assert watermark(fetch) == []


def test_a_read_of_everything_that_returns_far_fewer_rows_fails_or_warns(
    practice: Callable[..., Sandbox], fetch: Fetch, home: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox = practice()
    sync()
    before = watermark(fetch)
    for patient in sandbox.practice.records("patients")[5:]:
        sandbox.practice.table("patients").remove(patient["id"])

    with pytest.raises(outcome("AirflowFailException"), match="returned 5 records, where there were 60"):
        sync(run_id="strict", full_refresh=True, on_suspicious="fail")
    assert watermark(fetch) == before
    assert staged(home) == []

    assert sync(run_id="lenient", full_refresh=True)["rows_read"] == 5
    assert "returned 5 records, where there were 60" in caplog.text


def test_what_another_sync_put_into_the_table_is_not_missed(
    practice: Callable[..., Sandbox], caplog: pytest.LogCaptureFixture
) -> None:
    practice()
    sync(table="all_patients")
    caplog.clear()

    sync("patients", table="all_patients", filters={"last_name": "nobody"}, run_id="filtered")
    sync("patients", table="all_patients", full_refresh=True, run_id="whole")

    assert "where there were" not in caplog.text


def test_an_empty_page_in_the_middle_of_a_list_is_told_or_fails(
    practice: Callable[..., Sandbox], fetch: Fetch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    practice()
    taken = Listing._taken

    def one_empty(listing: Listing, answer: Any, server_time: datetime) -> Any:
        if listing._index == 1:
            answer = {**answer, "results": [], "data": []}
        return taken(listing, answer, server_time)

    monkeypatch.setattr(Listing, "_taken", one_empty)
    with pytest.raises(SuspiciousReadError, match="in the middle of the list: 1"):
        sync("appointments", on_suspicious="fail")
    assert watermark(fetch) == []

    assert sync("appointments", run_id="lenient")["rows_read"] < 180
    assert "in the middle of the list: 1" in caplog.text


def test_once_a_day_a_quiet_list_is_asked_whether_it_shows_anything(
    practice: Callable[..., Sandbox], fetch: Fetch, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox = practice(start=datetime(2026, 1, 15, 12, tzinfo=UTC), frozen=True)
    sync()
    sandbox.journal.clear()
    assert sync(run_id="same day", lookback=0)["calls"] == 1

    sandbox.clock.set(datetime(2026, 1, 16, 0, 10, tzinfo=UTC))
    assert sync(run_id="next day", lookback=0)["calls"] == 2
    assert "where there were" not in caplog.text

    before = watermark(fetch)
    empty = {"next": None, "previous": None, "results": [], "data": []}
    sandbox.faults.add(Fault(kind="status", resource="patients", status=200, body=empty, times=None))
    sandbox.clock.set(datetime(2026, 1, 17, 0, 10, tzinfo=UTC))
    for number in range(2):
        caplog.clear()
        sandbox.clock.advance(timedelta(hours=1).total_seconds())
        assert sync(run_id=f"hidden {number}", lookback=0)["rows_read"] == 0
        assert "returned 0 records, where there were 60" in caplog.text
    assert watermark(fetch) == before
    with pytest.raises(outcome("AirflowFailException"), match="where there were 60"):
        sync(run_id="strict", lookback=0, on_suspicious="fail")
