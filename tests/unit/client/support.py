"""Settings for clients under test."""

from typing import TYPE_CHECKING, Any

from airflow_provider_drchrono.client import ClientSettings

if TYPE_CHECKING:
    from airflow_provider_drchrono.sandbox import Sandbox


def settings_for(url: str, **changes: Any) -> ClientSettings:
    """Settings without limits and with waits too short to notice."""
    values: dict[str, Any] = {
        "client_id": "the-client",
        "client_secret": "the-secret",
        "refresh_token": "refresh-0",
        "base_url": url,
        "quota_per_hour": None,
        "quota_per_second": None,
        "max_wait": 0.05,
        "read_timeout": 5.0,
    }
    return ClientSettings(**values | changes)


def sandbox_settings(sandbox: "Sandbox", **changes: Any) -> ClientSettings:
    """The same for a sandbox's application."""
    own = {
        "client_id": sandbox.client_id,
        "client_secret": sandbox.client_secret,
        "refresh_token": sandbox.refresh_token,
    }
    return settings_for(sandbox.url, **own | changes)
