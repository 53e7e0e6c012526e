"""Syncs that hold only what may be held, in real Airflow code over a real socket."""

from __future__ import annotations

import gzip
import json
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.catalog.privacy import IDENTIFIERS, privacy_leaves
from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from airflow_provider_drchrono.state import lease as variable_lease
from airflow_provider_drchrono.transfers import bulk_reading
from tests.support.answering import answering, editing

pytestmark = pytest.mark.airflow

KEY = "5f0e" * 16
SAFE = {"profile": "safe_harbor", "privacy_conn_id": "privacy_key"}

Fetch = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture
def home(airflow_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(variable_lease, "Timing", partial(variable_lease.Timing, write_limit=30.0, settle=0.0))
    monkeypatch.setenv("AIRFLOW__DRCHRONO__STAGING_PATH", str(tmp_path / "staging"))
    connection = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_WAREHOUSE", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW_CONN_PRIVACY_KEY", json.dumps({"conn_type": "generic", "password": KEY}))
    return tmp_path


@pytest.fixture
def sandbox(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    # This practice makes its bulk lists at once.
    monkeypatch.setattr(bulk_reading, "LONGEST_LOOK", 0.01)
    unlimited = {"quota_per_hour": None, "quota_per_second": None}
    with Sandbox(patients=60, appointments_per_patient=4, bulk_polls=0, **unlimited) as running:
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", running.connection_json())
        yield running


@pytest.fixture
def fetch(home: Path) -> Fetch:
    def run(query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(home / "warehouse.db")) as connection:
            return connection.execute(query).fetchall()

    return run


def operator(resource: str, **arguments: Any) -> Any:
    from airflow_provider_drchrono.transfers.drchrono_to_warehouse import DrChronoToWarehouseOperator

    return DrChronoToWarehouseOperator(
        task_id="sync", resource=resource, warehouse_conn_id="drchrono_warehouse", **{"read_by": "pages"} | arguments
    )


def sync(resource: str, **arguments: Any) -> dict[str, Any]:
    ti = SimpleNamespace(dag_id="dag", task_id="sync", map_index=-1, run_id="run")
    return operator(resource, **arguments).execute({"ti": ti})  # type: ignore[no-any-return]


def staged(home: Path) -> str:
    """Return all that is staged at this moment, unpacked."""
    files = [each for each in (home / "staging").rglob("*") if each.is_file()]
    contents = [gzip.decompress(each.read_bytes()) if each.suffix == ".gz" else each.read_bytes() for each in files]
    return b"\n".join(contents).decode()


def in_files(home: Path) -> str:
    """Return what the files of the warehouse hold, what was deleted from them, too."""
    return "\n".join(each.read_bytes().decode("latin-1") for each in home.glob("warehouse.db*"))


def plant(sandbox: Sandbox, resource: str) -> dict[str, str]:
    """Put a canary into every text of a record that safe harbor hides, and return their classes."""
    record = load().record(load().resource(resource).record or "")
    planted: dict[str, str] = {}
    fields: dict[str, Any] = {}
    for number, leaf in enumerate(privacy_leaves(load(), record)):
        is_text = leaf.field.type == "string" and leaf.field.format != "date-time" and not leaf.field.refers_to
        is_hidden = leaf.reason.safe_harbor != "keep" and leaf.path not in load().resource(resource).key
        if leaf.field.returned_if or not is_text or not is_hidden:
            continue
        mark = f"canary{number:04}{resource}"
        if leaf.field.format == "date":
            mark = f"19{50 + number % 40}-0{1 + number % 9}-{10 + number % 18}"
        elif leaf.reason.key == "zip-code":
            mark = f"902{10 + number % 80}-7{number:03}"
        *way, name = leaf.path.split(".")
        place = fields
        for each in way:
            place = place.setdefault(each, {})
        place[name] = mark
        planted[mark] = leaf.reason.name
    lists = {name: [value] for name, value in fields.items() if record.fields[name].type == "array"}
    key = load().resource(resource).key
    if key:
        sandbox.practice.change(resource, sandbox.practice.records(resource)[0][key[0]], fields | lists)
    else:
        sandbox.practice.create(resource, fields | lists)
    return planted


def with_unknown_fields(answer: Any, _request: Any) -> None:
    """Add what no field of the catalogue is for."""
    for record in answer.get("results", ()) if isinstance(answer, dict) else ():
        record |= {"licence_plate": "canary-vehicle", "scan": {"template": ["canary-biometric"]}}


PLANTED_IN = ("patients", "appointments", "offices", "audit_log", "implantable_devices", "doctors", "messages")
VERBOSE = ("patients", "appointments")


def test_canaries_of_all_classes_are_nowhere_after_syncs_that_were_cut_off(
    sandbox: Sandbox, home: Path, fetch: Fetch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    planted: dict[str, str] = {}
    for resource in PLANTED_IN:
        planted |= plant(sandbox, resource)
    planted |= {"canary-vehicle": "vehicle", "canary-biometric": "biometric"}
    assert {*planted.values()} >= {*IDENTIFIERS, "free_text"} - {"other_identifier"}
    visits = {str(each["id"]) for each in sandbox.practice.records("appointments")}
    sandbox.faults.add(Fault(kind="status", status=403, resource="appointments", skip=2, times=None))
    with answering(sandbox, editing("/api/*", with_unknown_fields)):
        with pytest.raises(Exception, match="appointments") as cut_off:
            sync("appointments", verbose=True, **SAFE)
        halfway = staged(home)
        sandbox.faults.clear()
        results = [json.dumps(sync(each, verbose=each in VERBOSE, **SAFE)) for each in PLANTED_IN]
    assert halfway.count("Complete") > 20
    assert "next_url" in halfway
    assert "/api/" not in halfway
    assert not any(f'"{each}"' in halfway for each in visits)
    logged = "\n".join(caplog.handler.format(each) for each in caplog.records)
    printed = "".join(capfd.readouterr())
    everything = "\n".join([repr(cut_off.value), halfway, *results, in_files(home), staged(home), logged, printed])
    assert [mark for mark in planted if mark in everything] == []
    assert KEY not in everything
    assert fetch("SELECT count(*) FROM patients") == [(60,)]
    assert fetch("SELECT count(*) FROM appointments") == [(len(visits),)]


def test_the_canaries_would_be_found(sandbox: Sandbox, home: Path) -> None:
    planted = plant(sandbox, "patients")
    sync("patients", verbose=True)
    assert [mark for mark in planted if mark not in in_files(home)] == []


def test_birth_date_zip_code_and_sex_find_nobody_and_tables_still_join(sandbox: Sandbox, fetch: Fetch) -> None:
    patients = sandbox.practice.records("patients")
    known = {(each["date_of_birth"], each["zip_code"], each["gender"]) for each in patients}

    def found(table: str) -> int:
        rows = fetch(f"SELECT date_of_birth, zip_code, gender FROM {table}")
        return sum(row in known for row in rows)

    sync("patients", table="open_patients")
    assert found("open_patients") == 60
    sync("patients", **SAFE)
    assert found("patients") == 0
    years = {row[0] for row in fetch("SELECT date_of_birth FROM patients")}
    assert years == {int(each["date_of_birth"][:4]) if each["date_of_birth"] else None for each in patients}
    prefixes = {row[0] for row in fetch("SELECT zip_code FROM patients")}
    assert prefixes <= {each["zip_code"][:3] for each in patients} | {"000"}
    sync("appointments", **SAFE)
    visits = [each for each in sandbox.practice.records("appointments") if each.get("patient")]
    assert fetch("SELECT count(*) FROM appointments a JOIN patients p ON p.id = a.patient") == [(len(visits),)]
    by_patient = Counter(each["patient"] for each in visits)
    joined = fetch("SELECT count(*) FROM appointments a JOIN patients p ON p.id = a.patient GROUP BY p.id")
    assert sorted(by_patient.values()) == sorted(count for (count,) in joined)
    ((read_at, zone),) = fetch("SELECT DISTINCT _drchrono_synced_at, _drchrono_timezone FROM patients")
    assert (read_at[4:], zone) == ("-01-01 00:00:00+00:00", None)


def test_changes_and_deletions_come_through_masked(sandbox: Sandbox, fetch: Fetch) -> None:
    for name in ("patients", "line_items"):
        sync(name, **SAFE)
    patient, other = sandbox.practice.records("patients")[:2]
    sandbox.practice.change("patients", patient["id"], {"gender": "Other", "last_name": "Canary"})
    changed = sync("patients", **SAFE)
    assert (changed["rows_new"], changed["rows_changed"]) == (0, 1)
    # A change of what is left out changes no row.
    sandbox.practice.change("patients", patient["id"], {"last_name": "Again"})
    assert sync("patients", **SAFE)["rows_changed"] == 0
    with DrChronoHook("drchrono_default") as client:
        client.delete("line_items", sandbox.practice.records("line_items")[0]["id"])
    assert sync("line_items", **SAFE)["rows_deleted"] == 1
    sandbox.practice.remove("patients", other["id"])
    sync("patients", full_refresh=True, **SAFE)
    time.sleep(1.1)  # Times of reads are in whole seconds.
    assert sync("patients", full_refresh=True, **SAFE)["rows_deleted"] == 1
    assert fetch("SELECT count(*) FROM patients WHERE _drchrono_deleted_at IS NOT NULL") == [(1,)]


def test_a_missing_record_is_looked_up_by_an_id_that_is_not_masked(sandbox: Sandbox, fetch: Fetch) -> None:
    masked = {"exclude": ["last_name"], "mask": {"date_of_birth": "year"}}
    sync("patients", **masked)
    time.sleep(1.1)  # Times of reads are in whole seconds.
    sandbox.practice.remove("patients", sandbox.practice.records("patients")[0]["id"])
    assert sync("patients", full_refresh=True, **masked)["rows_deleted"] == 1
    years = {row[0] for row in fetch("SELECT date_of_birth FROM patients WHERE date_of_birth IS NOT NULL")}
    assert {type(year) for year in years} == {int}


def test_records_without_an_id_are_all_there_once(sandbox: Sandbox, fetch: Fetch) -> None:
    entries = len(sandbox.practice.records("audit_log"))
    assert sync("audit_log", **SAFE)["rows_new"] == entries
    assert sync("audit_log", full_refresh=True, **SAFE)["rows_new"] == 0
    alike = {"columns": ["action"], "privacy_conn_id": "privacy_key", "table": "short_log"}
    assert sync("audit_log", **alike)["rows_new"] == entries
    assert sync("audit_log", full_refresh=True, **alike)["rows_in_table"] == entries
    # What is held of it is what is held of another one, and it is another one.
    action = sandbox.practice.records("audit_log")[0]["action"]
    sandbox.practice.create("audit_log", {"action": action, "description": "later"})
    assert sync("audit_log", **alike)["rows_new"] == 1
    assert fetch("SELECT count(*) FROM short_log WHERE _drchrono_extra IS NOT NULL") == [(0,)]


def test_a_table_holds_what_one_choice_lets_it_hold(
    sandbox: Sandbox, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    sync("patients")
    sandbox.journal.clear()
    for arguments in ({"exclude": ["last_name"]}, {"mask": {"zip_code": "zip3"}}, SAFE):
        for refresh in (False, True):
            with pytest.raises(AirflowFailException, match="another table name"):
                sync("patients", full_refresh=refresh, **arguments)
    assert sandbox.journal.calls(resource="patients") == []
    sync("tasks", exclude=["title"])
    with pytest.raises(AirflowFailException, match="Drop tasks and run once with full_refresh=True"):
        sync("tasks")
    keyed = {"table": "keyed", "mask": {"last_name": "hash"}, "privacy_conn_id": "privacy_key"}
    sync("doctors", **keyed)
    monkeypatch.setenv("AIRFLOW_CONN_PRIVACY_KEY", json.dumps({"conn_type": "generic", "password": "other" * 10}))
    with pytest.raises(AirflowFailException, match="Drop keyed"):
        sync("doctors", **keyed)
    with closing(sqlite3.connect(home / "warehouse.db")) as database:
        database.execute("DROP TABLE keyed")
    assert sync("doctors", full_refresh=True, **keyed)["rows_new"] > 0
    assert sync("doctors", **keyed)["rows_new"] == 0


def test_what_a_history_shows_counts_too(sandbox: Sandbox, home: Path) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    sync("offices", history=True)
    with closing(sqlite3.connect(home / "warehouse.db")) as database:
        database.execute("DROP TABLE offices")
    with pytest.raises(AirflowFailException, match="Drop offices and offices_history"):
        sync("offices", exclude=["address"])
    with closing(sqlite3.connect(home / "warehouse.db")) as database:
        database.execute("DROP TABLE offices_history")
    assert sync("offices", exclude=["address"], full_refresh=True)["rows_new"] > 0


def test_a_bulk_list_is_masked_like_pages(sandbox: Sandbox, home: Path, fetch: Fetch) -> None:
    sync("patients", table="by_pages", **SAFE)
    sync("patients", table="in_bulk", read_by="bulk", **SAFE)
    digests = "SELECT id, _drchrono_digest FROM {} ORDER BY id"
    assert fetch(digests.format("in_bulk")) == fetch(digests.format("by_pages")) != []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"profile": "safe_harbor"}, "privacy_conn_id"),
        ({"exclude": ["frist_name"]}, "did you mean 'first_name'"),
        ({"profile": "safe_harbour", "resource": "{{ params.resource }}"}, "did you mean 'safe_harbor'"),
        ({"mask": {"date_of_birth": "yaer"}}, "did you mean 'year'"),
        ({**SAFE, "history": True}, "leave history out"),
    ],
)
def test_what_cannot_be_right_fails_when_the_dag_is_parsed(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        operator(**{"resource": "patients"} | arguments)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"profile": "safe_harbor"}, "privacy_conn_id"),
        ({"overrides": {"patients": {"exclude": ["frist_name"]}}}, "did you mean 'first_name'"),
    ],
)
def test_whole_practices_are_judged_when_their_dags_are_parsed(arguments: dict[str, Any], message: str) -> None:
    from airflow_provider_drchrono.transfers.sync_dags import drchrono_sync

    with pytest.raises(InvalidArgumentError) as refused:
        drchrono_sync(warehouse_conn_id="drchrono_warehouse", **arguments)
    assert message in str(refused.value)


def test_a_short_key_is_refused(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PRIVACY_KEY", json.dumps({"conn_type": "generic", "password": "short"}))
    with pytest.raises(InvalidArgumentError, match="at least 32 characters") as refused:
        sync("patients", **SAFE)
    assert "short" not in str(refused.value).replace("shorter", "")


def test_moved_dates_and_the_times_of_reading_do_not_tell_the_days(sandbox: Sandbox, fetch: Fetch) -> None:
    shift = {"profile": "limited_data_set", "mask": {"class:date": "shift"}, "privacy_conn_id": "privacy_key"}
    sync("appointments", **shift)
    real = {each["scheduled_time"].replace("T", " ") for each in sandbox.practice.records("appointments")}
    rows = fetch("SELECT scheduled_time, _drchrono_synced_at FROM appointments WHERE patient IS NOT NULL")
    assert len(rows) > 200
    assert sum(row[0] in real for row in rows) < 20
    assert {row[1][5:] for row in rows} == {"01-01 00:00:00+00:00"}
