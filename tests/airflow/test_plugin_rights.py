"""Rights that differ from one connection to the next, on each of the page's three addresses."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from airflow.models.connection import Connection
from airflow.models.team import Team
from airflow.models.variable import Variable
from airflow.utils.session import create_session
from sqlalchemy import select

from airflow_provider_drchrono.hooks.authorization import find_authorization
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.state import lease as variable_lease
from tests.support.api_server import CALLBACK, PAGE, SITE, api_server_app, begin, browser_of, pending_authorizations

pytestmark = pytest.mark.airflow

REFUSAL = "Only users who may edit connections may authorize them"


@pytest.fixture(autouse=True)
def alone_on_the_machine(airflow_db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else wants the lease here, so a claim need not settle."""
    monkeypatch.setattr(variable_lease, "Timing", partial(variable_lease.Timing, write_limit=30.0, settle=0.0))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(patients=1, quota_per_second=None) as running:
        yield running


@pytest.fixture(scope="module")
def api_server() -> Iterator[Any]:
    with api_server_app() as app:
        yield app


@pytest.fixture
def visit(api_server: Any, airflow_db: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Sign a user in: ``visit("op", "ann", teams=["north"])``. Two teams have a connection each, and so has nobody."""
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", SITE)
    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
    with create_session() as session:
        session.add_all(Team(name=team) for team in ("north", "south"))
        session.flush()
        for conn_id, team in (("north_office", "north"), ("south_office", "south"), ("head_office", None)):
            session.add(
                Connection(
                    conn_id=conn_id,
                    conn_type="drchrono",
                    host=sandbox.url,
                    login=sandbox.client_id,
                    password=sandbox.client_secret,
                    team_name=team,
                )
            )
    return partial(browser_of, api_server)


@pytest.fixture
def grant(api_server: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give a user these rights and no others: ``grant("ann", ("PUT", "north_office"))``; None means any connection."""
    from tests.support.rights import RightsOneByOne

    def grant(user: str, *rights: tuple[Any, str | None]) -> None:
        monkeypatch.setattr(RightsOneByOne, "rights", RightsOneByOne.rights | {user: set(rights)})

    return grant


def consent(address: str) -> str:
    """Allow at DrChrono what the address asks for, and return where the browser is sent back to."""
    location = httpx.get(f"{address}&approve=yes", trust_env=False).headers["location"]
    assert location.startswith(f"{SITE}{CALLBACK}?")
    return str(location)


def listed(client: Any) -> set[str]:
    page = client.get(PAGE)
    assert page.status_code == 200, page.text
    return {name for name in ("north_office", "south_office", "head_office") if name in page.text}


def has_refresh_token(conn_id: str) -> bool:
    with create_session() as session:
        row = session.scalar(select(Connection).where(Connection.conn_id == conn_id))
        assert row is not None
        return "refresh_token" in json.loads(row.extra or "{}")


def token_requests(sandbox: Sandbox) -> int:
    return sum(entry.path == "/o/token/" for entry in sandbox.journal)


def assert_refused(answer: Any) -> None:
    assert (answer.status_code, REFUSAL in answer.text) == (403, True)


class TestOneConnection:
    def test_alone_is_listed_for_who_may_edit_no_other(
        self, visit: Callable[..., Any], grant: Callable[..., None]
    ) -> None:
        grant("ann", ("PUT", None), ("PUT", "north_office"))

        assert listed(visit("admin", "ann")) == {"north_office"}

    def test_is_listed_for_who_may_not_edit_connections_in_general(
        self, visit: Callable[..., Any], grant: Callable[..., None]
    ) -> None:
        grant("ann", ("PUT", "south_office"))

        assert listed(visit("admin", "ann")) == {"south_office"}

    def test_is_not_begun_by_who_may_edit_another(
        self, visit: Callable[..., Any], grant: Callable[..., None], sandbox: Sandbox
    ) -> None:
        grant("ann", ("PUT", None), ("PUT", "north_office"))
        client = visit("admin", "ann")

        assert begin(client, "north_office").startswith(sandbox.url)
        assert_refused(client.post(f"{PAGE}/south_office", headers={"Origin": SITE}))
        assert pending_authorizations() == 1

    def test_is_not_told_from_one_that_is_not_there(
        self, visit: Callable[..., Any], grant: Callable[..., None]
    ) -> None:
        grant("ann", ("PUT", None), ("PUT", "north_office"))

        assert_refused(visit("admin", "ann").post(f"{PAGE}/nowhere", headers={"Origin": SITE}))

    @pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "MENU"])
    def test_that_may_be_seen_added_or_deleted_may_not_be_authorized(
        self, visit: Callable[..., Any], grant: Callable[..., None], method: str
    ) -> None:
        grant("ann", (method, None), (method, "north_office"))
        client = visit("admin", "ann")

        assert_refused(client.get(PAGE))
        assert_refused(client.post(f"{PAGE}/north_office", headers={"Origin": SITE}))

    def test_is_authorized_by_who_may_edit_it(
        self, visit: Callable[..., Any], grant: Callable[..., None], sandbox: Sandbox
    ) -> None:
        grant("ann", ("PUT", "north_office"))
        client = visit("admin", "ann")
        answer = client.get(consent(begin(client, "north_office")))

        assert (answer.status_code, "north_office is authorized" in answer.text) == (200, True)
        assert has_refresh_token("north_office")
        assert not has_refresh_token("south_office")

    def test_keeps_what_it_has_if_the_right_was_taken_away_meanwhile(
        self, visit: Callable[..., Any], grant: Callable[..., None], sandbox: Sandbox
    ) -> None:
        grant("ann", ("PUT", None), ("PUT", "north_office"), ("PUT", "south_office"))
        client = visit("admin", "ann")
        back = consent(begin(client, "north_office"))
        grant("ann", ("PUT", None), ("PUT", "south_office"))
        issued = token_requests(sandbox)

        assert_refused(client.get(back))
        assert not has_refresh_token("north_office")
        assert token_requests(sandbox) == issued, "the code was exchanged"


class TestTeams:
    def test_see_their_own_connections_and_those_of_no_team(self, visit: Callable[..., Any]) -> None:
        assert listed(visit("op", "olga", teams=["north"])) == {"north_office", "head_office"}
        assert listed(visit("op", "otto", teams=["north", "south"])) == {"north_office", "south_office", "head_office"}
        assert listed(visit("admin")) == {"north_office", "south_office", "head_office"}

    def test_keep_their_tokens_to_themselves(self, visit: Callable[..., Any], sandbox: Sandbox) -> None:
        client = visit("op", "olga", teams=["north"])
        answer = client.get(consent(begin(client, "north_office")))

        assert "north_office is authorized" in answer.text
        with create_session() as session:
            (key,) = session.scalars(select(Variable.key).where(Variable.key.startswith("drchrono:token:")))
        assert Variable.get(key, team_name="north")
        for stranger in ("south", None):
            assert Variable.get(key, None, team_name=stranger) is None
        issued = token_requests(sandbox)
        with find_authorization("north_office").client() as drchrono:
            assert drchrono.current_user()
        assert token_requests(sandbox) == issued, "the stored token was not found"

    def test_do_not_begin_anothers(self, visit: Callable[..., Any], sandbox: Sandbox) -> None:
        client = visit("op", "olga", teams=["north"])

        assert begin(client, "north_office").startswith(sandbox.url)
        assert_refused(client.post(f"{PAGE}/south_office", headers={"Origin": SITE}))
        assert pending_authorizations() == 1

    def test_do_not_finish_what_has_become_anothers(self, visit: Callable[..., Any], sandbox: Sandbox) -> None:
        client = visit("op", "olga", teams=["north"])
        back = consent(begin(client, "north_office"))
        with create_session() as session:
            row = session.scalar(select(Connection).where(Connection.conn_id == "north_office"))
            assert row is not None
            row.team_name = "south"

        assert_refused(client.get(back))
        assert not has_refresh_token("north_office")
