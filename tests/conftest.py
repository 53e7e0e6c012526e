"""Gives each pytest process an Airflow home, settings and database of its own, before Airflow is imported."""

import asyncio
import base64
import fcntl
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow.models import DagRun

AIRFLOW_HOME = Path(tempfile.mkdtemp(prefix="drchrono-airflow-"))


def isolate_airflow() -> None:
    """Drop every Airflow setting, connection and variable of the caller's shell, and set our own."""
    for name in [name for name in os.environ if name.startswith(("AIRFLOW_", "AIRFLOW__"))]:
        del os.environ[name]
    os.environ |= {
        "AIRFLOW_HOME": str(AIRFLOW_HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(AIRFLOW_HOME / "dags"),
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(b"tests-only-key".ljust(32)).decode(),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{AIRFLOW_HOME / 'airflow.db'}",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        # Deferred tasks wait by it for their worker, which is this process.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "0",
    }
    (AIRFLOW_HOME / "dags").mkdir()


isolate_airflow()


def pytest_unconfigure() -> None:
    shutil.rmtree(AIRFLOW_HOME, ignore_errors=True)


MASKERS = ("airflow._shared.secrets_masker.secrets_masker", "airflow.sdk._shared.secrets_masker.secrets_masker")


@pytest.fixture(scope="module", autouse=True)
def _masks_end_with_their_module() -> Iterator[None]:
    """Airflow compiles all secrets anew for each one that it is given, and each sandbox has its own.

    Without this the last tests of a process take five times as long as they do alone.
    """
    yield
    for name in MASKERS:
        if module := sys.modules.get(name):
            module.reset_secrets_masker()
    re.purge()


@pytest.fixture(scope="session")
def migrated_database(pytestconfig: pytest.Config) -> Path:
    """An empty migrated SQLite database of this Airflow version, made once and kept in pytest's cache."""
    folder = pytestconfig.cache.mkdir("airflow-database")
    database = folder / f"airflow-{version('apache-airflow-core')}-sqlalchemy-{version('sqlalchemy')}.db"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not database.exists():
            unfinished = database.with_suffix(".unfinished")
            unfinished.unlink(missing_ok=True)
            environment = os.environ | {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{unfinished}"}
            migration = subprocess.run(
                [sys.executable, "-m", "airflow", "db", "migrate"],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert migration.returncode == 0, migration.stderr
            unfinished.rename(database)
    return database


@pytest.fixture
def airflow_db(migrated_database: Path) -> Iterator[Path]:
    """The database file of this process's Airflow, fresh for each test; its folder is AIRFLOW_HOME."""
    from airflow import settings

    database = AIRFLOW_HOME / "airflow.db"

    def forget_connections() -> None:
        settings.Session.remove()
        settings.engine.dispose()
        # Whatever loop they were opened in, only a running one can close them.
        asyncio.run(settings.async_engine.dispose())

    forget_connections()
    # Through SQLite: Airflow's in-process API keeps connections open, and a replaced file breaks them.
    with closing(sqlite3.connect(migrated_database)) as empty, closing(sqlite3.connect(database)) as fresh:
        empty.backup(fresh)
    yield database
    forget_connections()


@pytest.fixture
def run_dag(airflow_db: Path) -> Iterator[Callable[..., "DagRun"]]:
    """Runs a DAG file in this process, as `airflow dags test` does: ``run_dag(source_or_path, run_conf={})``.

    Airflow runs only what it finds in its folder of DAGs, so the file is put there for the test.
    """
    from airflow.dag_processing.dagbag import BundleDagBag

    from airflow_provider_drchrono.compat.dag_runs import run as run_in_process

    dags_folder = AIRFLOW_HOME / "dags"

    def run(source: str | Path, **arguments: Any) -> "DagRun":
        text = source.read_text() if isinstance(source, Path) else textwrap.dedent(source)
        file = dags_folder / f"dag_{len(list(dags_folder.iterdir()))}.py"
        file.write_text(text)
        found = BundleDagBag(dag_folder=file, bundle_path=dags_folder, bundle_name="dags-folder")
        assert found.import_errors == {}
        (dag,) = found.dags.values()
        ended, _ = run_in_process(dag, **arguments)
        return ended

    yield run
    shutil.rmtree(dags_folder)
    dags_folder.mkdir()
