"""PostgreSQL as a warehouse, through whichever driver Airflow's provider uses here."""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.catalog import load as load_catalog
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.sandbox.churn import churn
from airflow_provider_drchrono.transfers.drchrono_to_warehouse import DrChronoToWarehouseOperator
from airflow_provider_drchrono.warehouses.base import WarehouseError
from airflow_provider_drchrono.warehouses.registry import open_warehouse
from airflow_provider_drchrono.warehouses.table import Table, table_for
from tests.airflow.warehouse_checks import EXAMPLE_DAG, RESOURCES, differences
from tests.support.running import connected_sandbox
from tests.support.running import execute as execute_operator
from tests.unit.warehouses.conformance import LATER, SECRET, TABLE, Fetch, WarehouseConformance, load, visit
from tests.unit.warehouses.conformance_deletions import DeletionsConformance, HistoryConformance
from tests.unit.warehouses.conformance_privacy import MaskedTablesConformance

pytestmark = [pytest.mark.integration, pytest.mark.postgres]

EXAMPLES = Path(__file__).resolve().parents[2] / "example_dags"


def connected(url: str) -> Any:
    """Return a connection of the driver that is there."""
    try:
        from psycopg import connect
    except ImportError:
        from psycopg2 import connect
    return connect(url)


def run_sql(url: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Run a statement through the driver that is there, and return its rows."""
    with closing(connected(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []


@pytest.fixture
def conn_id(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", postgres_url)
    return "warehouse"


@pytest.fixture
def fetch(postgres_url: str) -> Fetch:
    return lambda query: run_sql(postgres_url, query)


@pytest.fixture
def execute(postgres_url: str) -> Callable[[str], None]:
    def run(statement: str) -> None:
        run_sql(postgres_url, statement)

    return run


class TestConformance(WarehouseConformance):
    pass


class TestDeletions(DeletionsConformance):
    pass


class TestHistory(HistoryConformance):
    pass


class TestMaskedTables(MaskedTablesConformance):
    pass


def test_columns_have_the_types_of_the_catalogue(conn_id: str, fetch: Fetch) -> None:
    with closing(open_warehouse(conn_id)) as warehouse:
        warehouse.prepare(TABLE)

    types = fetch("SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'visits'")
    assert dict(types) == {
        "id": "text",
        "note": "text",
        "patient": "bigint",
        "paid": "numeric",
        "done": "boolean",
        "day": "date",
        "hour": "time without time zone",
        "updated_at": "timestamp without time zone",
        "order": "jsonb",
        "_drchrono_digest": "text",
        "_drchrono_extra": "jsonb",
        "_drchrono_timezone": "text",
        "_drchrono_synced_at": "timestamp with time zone",
        "_drchrono_practice": "text",
        "_drchrono_selection": "text",
        "_drchrono_missing_since": "timestamp with time zone",
        "_drchrono_deleted_at": "timestamp with time zone",
    }


def test_a_table_in_a_schema_of_its_own(conn_id: str, fetch: Fetch, execute: Callable[[str], None]) -> None:
    table = Table("visits", "practice", TABLE.columns, TABLE.key, TABLE.changed)
    with closing(open_warehouse(conn_id)) as warehouse:
        with pytest.raises(WarehouseError) as found:
            warehouse.prepare(table)
        assert str(found.value) == (
            "Could not prepare table practice.visits in warehouse: there is no schema practice; create it, or name "
            "another one"
        )
        execute("CREATE SCHEMA practice")
        warehouse.prepare(table)
        load(warehouse, [visit("1")], table=table)

    assert fetch("SELECT count(*) FROM practice.visits, practice._drchrono_sync") == [(1,)]


@pytest.mark.parametrize("cursor", ["dictcursor", "namedtuplecursor"])
def test_a_connection_that_asks_for_other_rows(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, fetch: Fetch, cursor: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", f"{postgres_url}?cursor={cursor}")
    with closing(open_warehouse("warehouse")) as warehouse:
        for _ in range(2):
            warehouse.prepare(TABLE)
            assert load(warehouse, [visit("1")]).in_table == 1


def test_a_value_of_any_length(conn_id: str, fetch: Fetch) -> None:
    picture = "iVBORw0KGgo\\" * 200_000
    with closing(open_warehouse(conn_id)) as warehouse:
        warehouse.prepare(TABLE)
        load(warehouse, [visit("1", picture), visit("2", "after")])

    assert fetch("SELECT note FROM visits ORDER BY id") == [(picture,), ("after",)]


@pytest.mark.parametrize(
    ("granted", "message"),
    [
        pytest.param("", "Could not prepare table visits in reader (PostgreSQL): permission was denied", id="nothing"),
        pytest.param(
            "SELECT",
            "Could not write table visits in reader: permission was denied; grant the connection's user SELECT, INSERT "
            "and UPDATE on it",
            id="reading only",
        ),
    ],
)
def test_a_user_who_may_not_write(
    conn_id: str,
    postgres_url: str,
    execute: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    granted: str,
    message: str,
) -> None:
    execute("DROP ROLE IF EXISTS reader")
    execute("CREATE ROLE reader LOGIN")
    execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    if granted:
        with closing(open_warehouse(conn_id)) as warehouse:
            warehouse.prepare(TABLE)
        execute(f"GRANT {granted} ON ALL TABLES IN SCHEMA public TO reader")
    monkeypatch.setenv("AIRFLOW_CONN_READER", postgres_url.replace("postgres@", "reader@"))
    try:
        with closing(open_warehouse("reader")) as warehouse, pytest.raises(WarehouseError) as found:
            warehouse.prepare(TABLE)
    finally:
        execute("DROP OWNED BY reader")
        execute("DROP ROLE reader")

    assert str(found.value).startswith(message)
    assert not found.value.transient


def test_a_user_who_may_not_write_all_leaves_nothing_behind(
    conn_id: str, postgres_url: str, execute: Callable[[str], None], fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(open_warehouse(conn_id)) as warehouse:
        warehouse.prepare(TABLE)
    execute("DROP ROLE IF EXISTS creator")
    execute("CREATE ROLE creator LOGIN")
    execute("GRANT CREATE ON SCHEMA public TO creator")
    execute("GRANT SELECT ON _drchrono_sync TO creator")
    monkeypatch.setenv("AIRFLOW_CONN_CREATOR", postgres_url.replace("postgres@", "creator@"))
    try:
        refused = pytest.raises(WarehouseError, match="Could not write table _drchrono_sync in creator: permission")
        with closing(open_warehouse("creator")) as warehouse, refused:
            warehouse.prepare(Table("notes", None, TABLE.columns, TABLE.key, TABLE.changed))
        assert fetch("SELECT to_regclass('notes')") == [(None,)]
    finally:
        execute("DROP OWNED BY creator")
        execute("DROP ROLE creator")


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", "postgresql://someone:hunter2@127.0.0.1:1/warehouse")

    with pytest.raises(WarehouseError) as found:
        open_warehouse("warehouse")

    assert str(found.value) == (
        "Could not connect to warehouse (PostgreSQL): no connection could be made; check host, port, login and "
        "password of the connection and that the server runs"
    )
    assert found.value.transient


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (lambda url: url + "_missing", r"there is no such database; check the database in the connection's schema"),
        (lambda url: url.replace("postgres@", "nobody@"), r"the server refused the login; check that the role "),
    ],
    ids=["database", "role"],
)
def test_a_database_or_a_role_that_is_not_there_is_final(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, wrong: Callable[[str], str], problem: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", wrong(postgres_url))

    with pytest.raises(WarehouseError, match=rf"Could not connect to warehouse \(PostgreSQL\): {problem}") as found:
        open_warehouse("warehouse")

    assert not found.value.transient


def test_a_connection_that_is_cut_during_a_load_can_be_tried_again(
    conn_id: str, execute: Callable[[str], None], fetch: Fetch
) -> None:
    warehouse = open_warehouse(conn_id)
    warehouse.prepare(TABLE)
    execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )

    with pytest.raises(WarehouseError) as found:
        load(warehouse, [visit("1")])

    assert found.value.transient
    assert fetch("SELECT count(*) FROM visits") == [(0,)]


def test_a_deadlock_can_be_tried_again(conn_id: str, postgres_url: str, fetch: Fetch) -> None:
    changes = [visit("1", "new"), visit("2", "new")]
    failures: list[WarehouseError] = []

    def sync() -> None:
        with closing(open_warehouse(conn_id)) as warehouse:
            try:
                load(warehouse, changes, at=LATER)
            except WarehouseError as error:
                failures.append(error)

    with closing(open_warehouse(conn_id)) as warehouse:
        warehouse.prepare(TABLE)
        load(warehouse, [visit("1", "old"), visit("2", "old")])
        syncing = threading.Thread(target=sync)
        with closing(connected(postgres_url)) as other, other.cursor() as cursor:
            # So it is the sync that finds the deadlock, and is stopped.
            cursor.execute("SET deadlock_timeout = '1h'")
            cursor.execute("UPDATE visits SET note = 'theirs' WHERE id = '2'")
            syncing.start()
            wait_until_blocked(fetch)
            cursor.execute("UPDATE visits SET note = 'theirs' WHERE id = '1'")
            syncing.join()
            other.rollback()
        (failure,) = failures
        assert failure.transient
        assert str(failure).endswith("(PostgreSQL): another transaction was in the way; try again")
        assert fetch("SELECT note FROM visits ORDER BY id") == [("old",), ("old",)]

        assert load(warehouse, changes, at=LATER).changed == 2


def test_charges_join_their_visits_and_tasks_their_users(
    conn_id: str, fetch: Fetch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    joins = (("line_items", "appointment", "appointments"), ("tasks", "created_by", "users"))
    with connected_sandbox(monkeypatch, patients=5) as sandbox:
        visit_of = sandbox.practice.records("line_items")[0]
        sandbox.practice.change("line_items", visit_of["id"], {"appointment": "2026-01-31_7"})
        for resource in ("line_items", "appointments", "tasks", "users"):
            sync = DrChronoToWarehouseOperator(
                task_id=resource, resource=resource, warehouse_conn_id=conn_id, staging_path=str(tmp_path)
            )
            execute_operator(sync)

    for table, reference, other in joins:
        found = fetch(f"SELECT count(*), count(o.id) FROM {table} t LEFT JOIN {other} o ON t.{reference} = o.id")
        strangers = 1 if table == "line_items" else 0
        ((rows, joined),) = found
        assert rows > strangers
        assert joined == rows - strangers
    assert fetch("SELECT id FROM line_items WHERE appointment = '2026-01-31_7'") == [(visit_of["id"],)]


COMMENTS = """
    SELECT attname, col_description(attrelid, attnum) FROM pg_attribute
    WHERE attrelid = 'patients'::regclass AND attnum > 0
"""


def test_each_column_says_what_it_holds(conn_id: str, fetch: Fetch, execute: Callable[[str], None]) -> None:
    catalog = load_catalog()
    table = table_for(catalog, catalog.resource("patients"), name="patients", schema=None, verbose=True)
    with closing(open_warehouse(conn_id)) as warehouse:
        warehouse.prepare(table)
        execute("COMMENT ON COLUMN patients.gender IS 'ours'")
        execute("ALTER TABLE patients DROP COLUMN auto_accident_insurance")
        assert warehouse.prepare(table) == ["auto_accident_insurance"]
    abouts = dict(fetch(COMMENTS))
    about = {each.name: each.about for each in table.all_columns}
    assert abouts["gender"] == "ours"
    assert [name for name, text in about.items() if abouts[name] != text] == ["gender"]


def test_masked_tables_join_and_hold_no_name(
    conn_id: str, fetch: Fetch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PRIVACY_KEY", '{"conn_type": "generic", "password": "' + "0f" * 32 + '"}')
    with connected_sandbox(monkeypatch, patients=5) as sandbox:
        for resource in ("patients", "appointments", "audit_log"):
            sync = DrChronoToWarehouseOperator(
                task_id=resource, resource=resource, warehouse_conn_id=conn_id, staging_path=str(tmp_path),
                profile="safe_harbor", privacy_conn_id="privacy_key",
            )  # fmt: skip
            execute_operator(sync)
            assert execute_operator(sync)["rows_changed"] == 0
        visits = [each for each in sandbox.practice.records("appointments") if each["patient"]]
    found = fetch("SELECT count(*) FROM appointments a JOIN patients p ON p.id = a.patient")
    assert found == [(len(visits),)]
    types = dict(fetch("SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'patients'"))
    assert (types["id"], types["date_of_birth"], types["zip_code"]) == ("text", "bigint", "text")
    assert "last_name" not in types
    abouts = dict(fetch(COMMENTS))
    assert abouts["date_of_birth"] == "Birthday as YYYY-MM-DD; null if unknown. Privacy class: date. Masked: year"
    assert abouts["_drchrono_synced_at"] == "When this version of the record was read"
    assert abouts["id"].endswith("Privacy class: other_identifier. Masked: hash")


def wait_until_blocked(fetch: Fetch) -> None:
    """Wait until a session waits for another one's lock."""
    ends = time.monotonic() + 30
    blocked = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    while not fetch(blocked):
        assert time.monotonic() < ends, "nobody waits"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("state", "transient"),
    [
        pytest.param("08006", True, id="connection failure"),
        pytest.param("40001", True, id="serialization failure"),
        pytest.param("40P01", True, id="deadlock"),
        pytest.param("53100", True, id="disk full"),
        pytest.param("53300", True, id="too many connections"),
        pytest.param("55P03", True, id="lock not available"),
        pytest.param("57014", True, id="query canceled"),
        pytest.param("57P01", True, id="server shut down"),
        pytest.param("0A000", False, id="not supported"),
        pytest.param("22003", False, id="value out of range"),
        pytest.param("23505", False, id="unique violation"),
        pytest.param("25006", False, id="read only"),
        pytest.param("28000", False, id="login refused"),
        pytest.param("42501", False, id="permission denied"),
        pytest.param("55000", False, id="not in a state for it"),
        pytest.param("XX000", False, id="internal error"),
    ],
)
def test_whether_trying_again_may_help(
    conn_id: str, execute: Callable[[str], None], fetch: Fetch, state: str, transient: bool
) -> None:
    with closing(open_warehouse(conn_id)) as warehouse:
        warehouse.prepare(TABLE)
        execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{SECRET}' USING ERRCODE = '{state}'; END $$"
        )
        execute("CREATE TRIGGER refuse BEFORE INSERT ON _drchrono_sync FOR EACH ROW EXECUTE FUNCTION refuse()")

        with pytest.raises(WarehouseError) as found:
            load(warehouse, [visit("1")])

        assert found.value.transient is transient
        assert SECRET not in str(found.value)
        assert fetch("SELECT count(*) FROM visits") == [(0,)]
        execute("DROP TRIGGER refuse ON _drchrono_sync")
        assert load(warehouse, [visit("1")]).new == 1


def test_a_server_that_only_reads_is_no_passing_failure(
    conn_id: str, execute: Callable[[str], None], fetch: Fetch
) -> None:
    with closing(open_warehouse(conn_id)) as warehouse:
        warehouse.prepare(TABLE)
    ((name,),) = fetch("SELECT current_database()")
    execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    with closing(open_warehouse(conn_id)) as warehouse, pytest.raises(WarehouseError) as found:
        load(warehouse, [visit("1")])

    assert "the server is read-only; name a server in the connection that accepts writes" in str(found.value)
    assert not found.value.transient


def test_the_example_dag_fills_postgres_by_a_change_of_connection(
    run_dag: Callable[..., Any], postgres_url: str, fetch: Fetch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW__DRCHRONO__STAGING_PATH", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_WAREHOUSE", postgres_url)
    options = {"quota_per_hour": None, "quota_per_second": None, "timestamps": "mixed"}
    with Sandbox(patients=200, appointments_per_patient=3, **options) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", sandbox.connection_json())
        assert run_dag(EXAMPLES / EXAMPLE_DAG).state == "success"
        for resource in RESOURCES:
            assert differences(sandbox, resource, fetch) == []
        churn(sandbox.practice, seed=1, changes=100)
        before = len(sandbox.journal.calls())

        assert run_dag(EXAMPLES / EXAMPLE_DAG).state == "success"

        # Changed appointments may take two pages, and the log of deleted line items takes a call.
        assert len(sandbox.journal.calls()) - before <= len(RESOURCES) + 2
        for resource in RESOURCES:
            assert differences(sandbox, resource, fetch) == []
