"""Quick DAGs in the test's own process, and Airflow's own interfaces to look at what has become of them."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.state import lease as variable_lease


@pytest.fixture
def quick_dags(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave out what takes longest in ``dag.test``, and proves nothing there."""
    from airflow_provider_drchrono.compat.dag_runs import one_api_server

    # Tasks run one after another, so a claim need not settle.
    monkeypatch.setattr(variable_lease, "Timing", partial(variable_lease.Timing, write_limit=30.0, settle=0.0))
    with one_api_server():
        yield


@pytest.fixture(scope="module")
def api_application() -> Iterator[Any]:
    """The application of Airflow's API server; making it takes seconds, and a process has one at a time."""
    from airflow.api_fastapi.app import create_app, purge_cached_app

    with pytest.MonkeyPatch.context() as environment:
        # The default is shorter than what signs a session should be.
        environment.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "tests-only-" * 8)
        yield create_app(apps="core")
        purge_cached_app()


@pytest.fixture
def sign_in(api_application: Any, airflow_db: Path) -> Callable[..., Any]:
    """Makes a browser, as far as requests go, in which a user of a role is signed in; with no role, nobody is."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from fastapi.testclient import TestClient

    def client(role: str | None, name: str = "someone", site: str = "http://localhost:8080") -> TestClient:
        browser = TestClient(api_application, base_url=site, follow_redirects=False)
        if role:
            user = SimpleAuthManagerUser(username=name, role=role)
            browser.cookies.set("_token", get_auth_manager().generate_jwt(user))
        return browser

    return client


@pytest.fixture
def ask(sign_in: Callable[..., Any]) -> Callable[..., Any]:
    """Asks Airflow's public API: ``ask("assets", uri_pattern="drchrono")`` returns the answer."""

    client = sign_in("admin")

    def get(path: str, **parameters: Any) -> Any:
        answer = client.get(f"/api/v2/{path}", params={"limit": 100, **parameters})
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert found.get("total_entries", 0) <= 100, "there are more pages"
        return found

    return get


@pytest.fixture
def variables(ask: Callable[..., Any]) -> Callable[[], dict[str, str]]:
    """Returns all variables that Airflow has stored, in clear."""
    from airflow.models.variable import Variable

    return lambda: {each["key"]: Variable.get(each["key"]) for each in ask("variables")["variables"]}
