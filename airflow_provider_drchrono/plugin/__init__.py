"""What the provider adds to Airflow's own UI: the page on which connections are authorized.

Airflow imports this module in each of its processes; the page itself, with its libraries, is loaded by the first
request for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

URL_PREFIX = "/drchrono"

Message = MutableMapping[str, Any]


class LazyApp:
    """An ASGI application that is imported when it is first asked."""

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Pass the request on to the application."""
        from airflow_provider_drchrono.plugin.app import app

        await app(scope, receive, send)


def _path_of_airflow() -> str:
    # Airflow may be served below a path, and a link of the menu begins at the root of the host.
    return urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")


class DrChronoPlugin(AirflowPlugin):
    """A page in the menu Admin, for those who may edit connections."""

    name = "drchrono"
    fastapi_apps = [{"app": LazyApp(), "url_prefix": URL_PREFIX, "name": "DrChrono"}]  # noqa: RUF012
    # Without a url_route it opens in a tab of its own: Airflow's frame for plugins lets nobody leave for DrChrono.
    external_views = [  # noqa: RUF012
        {
            "name": "DrChrono authorization",
            "href": f"{_path_of_airflow()}{URL_PREFIX}/authorize",
            "destination": "nav",
            "category": "admin",
        },
    ]
