"""Turns what is known of connections into HTML, which loads nothing from anywhere and can be framed by nobody."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from airflow_provider_drchrono.client.settings import DEFAULT_PORTS, is_host
from airflow_provider_drchrono.hooks.authorization import ConnectionStatus

LABELS = {
    "never": ("Never authorized", "plain"),
    "unused": ("Refresh token entered, not used yet", "plain"),
    "authorized": ("Authorized", "good"),
    "expired": ("Authorized, renewed at the next use", "good"),
    "refused": ("Renewal refused", "bad"),
    "unusable": ("Cannot be used", "bad"),
}

_templates = Environment(
    loader=PackageLoader("airflow_provider_drchrono.plugin"), autoescape=True, undefined=StrictUndefined
)


def _moment(seconds: float | None) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC" if seconds else ""


_templates.filters["moment"] = _moment


def connections_page(connections: Sequence[ConnectionStatus], redirect_uri: str, home: str) -> HTMLResponse:
    """Return the list of connections, each with its state and a button.

    :param redirect_uri: what has to be registered in DrChrono.
    :param home: the address of Airflow's own UI.
    """
    rows = [(each, *LABELS[each.state]) for each in connections]
    # Browsers hold redirects that follow a form against its policy, too.
    targets = sorted({each.base_url for each in connections if each.base_url})
    return _page("connections.html", 200, targets, rows=rows, redirect_uri=redirect_uri, home=home)


def result_page(
    title: str, message: str, back: str, *, status: int = 200, good: bool = False, details: Sequence[str] = ()
) -> HTMLResponse:
    """Return a page that says how something ended.

    :param back: the address of the list of connections.
    :param details: further lines.
    """
    return _page("result.html", status, (), title=title, message=message, back=back, good=good, details=details)


def _page(template: str, status: int, form_targets: Sequence[str], **values: Any) -> HTMLResponse:
    nonce = secrets.token_urlsafe(16)
    policy = (
        "default-src 'none'",
        f"style-src 'nonce-{nonce}'",
        f"script-src 'nonce-{nonce}'",
        " ".join(["form-action 'self'", *filter(None, map(_origin, form_targets))]),
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": "; ".join(policy),
        # With no referrer at all, browsers would also hide the origin of the form that begins an authorization.
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }
    html = _templates.get_template(template).render(nonce=nonce, **values)
    return HTMLResponse(html, status_code=status, headers=headers)


def _origin(url: str) -> str | None:
    """Return what a policy may name, or None for an address that could end it and begin another."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return None
    host = parts.hostname or ""
    if parts.scheme not in DEFAULT_PORTS or not is_host(host):
        return None
    return f"{parts.scheme}://[{host}]{port}" if ":" in host else f"{parts.scheme}://{host}{port}"
