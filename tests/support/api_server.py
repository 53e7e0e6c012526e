"""Airflow's own API server application, for tests of the authorization page: sign in, begin, and count what is pending.

What is imported inside the functions takes seconds, and nobody else who collects tests should pay for it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

SITE = "http://localhost:8080"
PAGE = "/drchrono/authorize"
CALLBACK = "/drchrono/callback"


@contextmanager
def api_server_app() -> "Iterator[FastAPI]":
    """Make the application, with an auth manager that can tell one connection from another."""
    from airflow.api_fastapi.app import create_app, purge_cached_app

    from tests.support.rights import RightsOneByOne

    with pytest.MonkeyPatch.context() as environment:
        # The default is shorter than what signs a session should be.
        environment.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "tests-only-" * 8)
        environment.setenv("AIRFLOW__CORE__AUTH_MANAGER", f"{RightsOneByOne.__module__}.{RightsOneByOne.__name__}")
        yield create_app(apps="core")
        purge_cached_app()


def browser_of(app: "FastAPI", role: str | None, name: str = "someone", teams: Sequence[str] = ()) -> "TestClient":
    """Make a browser, as far as requests go, in which a user of a role is signed in; with no role, nobody is."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from fastapi.testclient import TestClient

    client = TestClient(app, base_url=SITE, follow_redirects=False)
    if role:
        user = SimpleAuthManagerUser(username=name, role=role, teams=list(teams))
        client.cookies.set("_token", get_auth_manager().generate_jwt(user))
    return client


def begin(client: Any, conn_id: str = "practice") -> str:
    """Begin an authorization, and return where the browser is sent."""
    answer = client.post(f"{PAGE}/{conn_id}", headers={"Origin": SITE})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def state_in(address: str) -> str:
    """Return the state that an address carries."""
    return parse_qs(urlsplit(address).query)["state"][0]


def pending_authorizations() -> int:
    """Count what was begun and has not been finished."""
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    from airflow_provider_drchrono.state.names import AUTHORIZATION, prefix_of

    with create_session() as session:
        query = select(func.count()).select_from(Variable).where(Variable.key.startswith(prefix_of(AUTHORIZATION)))
        return int(session.scalar(query) or 0)
