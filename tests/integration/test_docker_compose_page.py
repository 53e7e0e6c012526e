"""What the page on Docker Compose sets up, run here without containers: its sandbox, its connections and its DAG."""

from __future__ import annotations

import json
import re
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
import yaml

from airflow_provider_drchrono.sandbox.__main__ import DEFAULT_PORT
from tests.integration.conftest import free_port

pytestmark = pytest.mark.integration

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "how-to" / "docker-compose.md").read_text()
SERVICES = yaml.safe_load(re.findall(r"^```yaml\n(.+?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0])["services"]
FIRST_SYNC = re.findall(r"^```python\n(.+?)^```$", (DOCS / "quickstart.md").read_text(), re.MULTILINE | re.DOTALL)[0]
START_TIMEOUT_S = 30


def connection(name: str) -> dict[str, Any]:
    """Return a connection of the worker, which the page writes as JSON."""
    found: dict[str, Any] = json.loads(SERVICES["airflow-worker"]["environment"][f"AIRFLOW_CONN_{name}"])
    return found


@contextmanager
def sandbox_service(port: int) -> Iterator[None]:
    """Run what the service runs, at a port that is free here."""
    service = SERVICES["sandbox"]
    python, *arguments = [*service["entrypoint"], *service["command"], f"--port={port}"]
    assert python == "python"
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert select.select([process.stdout], [], [], START_TIMEOUT_S)[0], "the sandbox says nothing"
        assert process.stdout.readline().startswith("DrChrono sandbox at ")
        yield
    finally:
        process.terminate()
        process.wait(timeout=10)
        process.stdout.close()


@pytest.fixture
def port(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Give tasks the page's connections, and return where its sandbox has to listen."""
    port, database = free_port(), urlsplit(postgres_url)
    here = {"host": database.hostname, "port": database.port, "schema": database.path[1:], "login": database.username}
    moved = {
        "DRCHRONO_DEFAULT": connection("DRCHRONO_DEFAULT") | {"host": f"http://127.0.0.1:{port}"},
        "DRCHRONO_WAREHOUSE": connection("DRCHRONO_WAREHOUSE") | here,
    }
    for name, value in moved.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(value))
    return port


def test_the_first_sync_fills_the_warehouse_and_a_new_sandbox_is_taken_once_the_variable_is_gone(
    port: int, postgres_url: str, run_dag: Callable[..., Any]
) -> None:
    from airflow.models import Variable

    with sandbox_service(port):
        assert run_dag(FIRST_SYNC).state == "success"
    with psycopg2.connect(postgres_url) as database, database.cursor() as cursor:
        cursor.execute(re.findall(r'psql .*"(SELECT .+)"', PAGE)[0])
        assert cursor.fetchone() == (50,)
    database.close()

    with sandbox_service(port):
        assert run_dag(FIRST_SYNC).state == "failed"
        (tokens,) = [name for name in variables() if name.startswith(re.findall(r"begins with `(.+?)`", PAGE)[0])]
        Variable.delete(tokens)
        assert run_dag(FIRST_SYNC).state == "success"


def variables() -> list[str]:
    from airflow.models import Variable
    from airflow.utils.session import create_session

    with create_session() as session:
        return [each.key for each in session.query(Variable).all()]


def test_services_find_each_other_by_the_names_that_the_page_gives_them() -> None:
    drchrono, warehouse = connection("DRCHRONO_DEFAULT"), connection("DRCHRONO_WAREHOUSE")
    image = re.findall(r"^AIRFLOW_IMAGE_NAME=(.+)$", PAGE, re.MULTILINE)
    account = SERVICES["warehouse"]["environment"]

    assert drchrono["host"] == f"http://127.0.0.1:{DEFAULT_PORT}"
    assert SERVICES["sandbox"]["network_mode"] == "service:airflow-worker"
    assert image == [SERVICES["sandbox"]["image"]]
    assert f"--tag {image[0]} ." in PAGE
    assert warehouse["host"] in SERVICES
    assert account == {
        "POSTGRES_USER": warehouse["login"],
        "POSTGRES_PASSWORD": warehouse["password"],
        "POSTGRES_DB": warehouse["schema"],
    }
    assert f"psql --username {account['POSTGRES_USER']} " in PAGE
