"""The PostgreSQL that tests load into: reachable through Airflow's own hook, and empty for each test."""

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.postgres]


@pytest.mark.parametrize("turn", ["first", "second"])
def test_each_test_gets_an_empty_database(postgres_url: str, monkeypatch: pytest.MonkeyPatch, turn: str) -> None:
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", postgres_url)
    hook = PostgresHook("warehouse")

    assert hook.get_first("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == (0,)
    hook.run("CREATE TABLE appointments (id bigint PRIMARY KEY)")
    assert hook.get_first("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == (1,)
