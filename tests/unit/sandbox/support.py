"""Tokens and clients of a sandbox, without the client under test elsewhere."""

from collections.abc import Callable
from typing import Any

import httpx

from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.sandbox.paging import SISTER

Serve = Callable[..., tuple[Sandbox, httpx.Client]]


def refresh(sandbox: Sandbox, token: str | None = None, **changes: Any) -> httpx.Response:
    """Ask for new tokens, with the sandbox's own client unless told otherwise."""
    form = {
        "grant_type": "refresh_token",
        "refresh_token": token or sandbox.new_refresh_token(),
        "client_id": sandbox.client_id,
        "client_secret": sandbox.client_secret,
    }
    return httpx.post(f"{sandbox.url}/o/token/", data=form | changes)


def client_of(sandbox: Sandbox, *scopes: str) -> httpx.Client:
    """A client with an access token of a grant of its own."""
    token = refresh(sandbox, sandbox.new_refresh_token(*scopes)).json()["access_token"]

    def believe_path_and_query_only(request: httpx.Request) -> None:
        if str(request.url).startswith(SISTER):
            home = httpx.URL(sandbox.url)
            request.url = request.url.copy_with(scheme=home.scheme, host=home.host, port=home.port)
            request.headers["host"] = request.url.netloc.decode()

    return httpx.Client(
        base_url=sandbox.url,
        headers={"authorization": f"Bearer {token}"},
        event_hooks={"request": [believe_path_and_query_only]},
    )
