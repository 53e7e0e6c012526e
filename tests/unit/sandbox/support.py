"""Tokens and clients of a sandbox, without the client under test elsewhere."""

from collections.abc import Callable
from typing import Any

import httpx

from airflow_provider_drchrono.sandbox import Sandbox

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
    return httpx.Client(base_url=sandbox.url, headers={"authorization": f"Bearer {token}"})
