"""A connection means the same however it was written down: as a URI, as JSON, or in the form of Airflow's UI."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from airflow_provider_drchrono.client import ClientSettings
from airflow_provider_drchrono.hooks.connection import EXTRA_FIELDS
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook

pytestmark = pytest.mark.airflow

SECRET = "s/e c+r?e#t@100%:&="
REFRESH_TOKEN = "r/t+1==&x"
PLAIN = ClientSettings(client_id="abc", client_secret=SECRET, refresh_token=REFRESH_TOKEN)
FULL = ClientSettings(
    client_id="abc",
    client_secret=SECRET,
    refresh_token=REFRESH_TOKEN,
    scope=("patients:read", "clinical:read"),
    timezone="America/New_York",
    api_version="v4",
    quota_per_hour=250,
    quota_per_second=None,
    quota_storage="rediss://cache.example:6380/1",
    quota_storage_password=SECRET,
    connect_timeout=2.5,
    read_timeout=30.0,
    request_timeout=90.0,
    verify_tls=False,
    ca_bundle=__file__,
)
FULL_EXTRA = {
    "refresh_token": REFRESH_TOKEN,
    "scope": "patients:read clinical:read",
    "timezone": "America/New_York",
    "api_version": "v4",
    "quota_per_hour": 250,
    "quota_per_second": 0,
    "quota_storage": "rediss://cache.example:6380/1",
    "quota_storage_password": SECRET,
    "connect_timeout": 2.5,
    "read_timeout": 30,
    "request_timeout": 90,
    "verify_tls": False,
    "ca_bundle": __file__,
}
PLAIN_EXTRA = {"refresh_token": REFRESH_TOKEN}

Writer = Callable[[dict[str, Any]], None]


def as_uri(extra: dict[str, Any]) -> None:
    values = {key: value if isinstance(value, str) else json.dumps(value) for key, value in extra.items()}
    os.environ["AIRFLOW_CONN_PRACTICE"] = (
        f"drchrono://abc:{quote(SECRET, safe='')}@app.drchrono.com/?{urlencode(values)}"
    )


def as_uri_with_scheme(extra: dict[str, Any]) -> None:
    os.environ["AIRFLOW_CONN_PRACTICE"] = (
        f"drchrono://https://abc:{quote(SECRET, safe='')}@app.drchrono.com:443/"
        f"?{urlencode({'__extra__': json.dumps(extra)})}"
    )


def as_json(extra: dict[str, Any]) -> None:
    os.environ["AIRFLOW_CONN_PRACTICE"] = json.dumps(
        {"conn_type": "drchrono", "login": "abc", "password": SECRET, "extra": extra}
    )


def as_json_with_text_extra(extra: dict[str, Any]) -> None:
    as_json_fields = {"host": "https://app.drchrono.com/", "port": 443, "extra": json.dumps(extra)}
    os.environ["AIRFLOW_CONN_PRACTICE"] = json.dumps(
        {"conn_type": "drchrono", "login": "abc", "password": SECRET, **as_json_fields}
    )


def as_form(extra: dict[str, Any]) -> None:
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(
            Connection(
                conn_id="practice",
                conn_type="drchrono",
                description="",
                host="https://app.drchrono.com",
                login="abc",
                password=SECRET,
                schema="",
                port=443,
                # The form stores every field that the provider declares, the empty ones as null.
                extra=json.dumps(dict.fromkeys(EXTRA_FIELDS) | extra),
            )
        )


@pytest.fixture(autouse=True)
def api_server(airflow_db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look connections up as the API server does: in the environment and in the database."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    monkeypatch.setenv("AIRFLOW_CONN_PRACTICE", "")
    monkeypatch.delenv("AIRFLOW_CONN_PRACTICE")


@pytest.mark.parametrize(
    ("extra", "meaning"), [(PLAIN_EXTRA, PLAIN), (FULL_EXTRA, FULL)], ids=["only-needed", "everything"]
)
@pytest.mark.parametrize(
    "write",
    [as_uri, as_uri_with_scheme, as_json, as_json_with_text_extra, as_form],
    ids=lambda write: write.__name__.replace("_", "-"),
)
def test_all_spellings_give_the_same_settings(write: Writer, extra: dict[str, Any], meaning: ClientSettings) -> None:
    write(extra)

    assert DrChronoHook("practice").settings == meaning


def test_what_airflow_writes_as_uri_it_reads_as_the_same_settings() -> None:
    from airflow.models.connection import Connection

    as_form(FULL_EXTRA)
    uri = Connection.get_connection_from_secrets("practice").get_uri()

    os.environ["AIRFLOW_CONN_PRACTICE"] = uri

    assert DrChronoHook("practice").settings == FULL


@pytest.mark.parametrize(
    ("host", "port"),
    [("http://127.0.0.1:8765", None), ("http://127.0.0.1", 8765)],
    ids=["port-in-host", "port-by-itself"],
)
def test_the_sandbox_keeps_scheme_and_port_in_a_uri(host: str, port: int | None) -> None:
    from airflow.models.connection import Connection

    connection = Connection(
        conn_id="practice", conn_type="drchrono", host=host, port=port, login="abc", password="secret"
    )
    os.environ["AIRFLOW_CONN_PRACTICE"] = connection.get_uri()

    assert DrChronoHook("practice").settings.base_url == "http://127.0.0.1:8765"
