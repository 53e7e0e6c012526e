"""The page of the plugin: who may edit a connection sends a browser to DrChrono, and takes the answer back.

::

    GET  /drchrono/authorize             the connections, with their states
    POST /drchrono/authorize/{conn_id}   remembers who wants it, and leads to DrChrono
    GET  /drchrono/callback              checks that, exchanges the code and keeps the tokens

Airflow's session cookie comes along when DrChrono leads back, since that is a plain navigation, and not when another
site posts a form. A GET changes nothing without a state that was made by a POST of the same user, but that it deletes
pending authorizations that ended hours ago.
"""

import logging
import time
from typing import Annotated
from urllib.parse import urlencode, urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import ConnectionDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.configuration import conf
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import RedirectResponse, Response

from airflow_provider_drchrono.client.authorization import authorization_url, check_redirect_uri, code_in
from airflow_provider_drchrono.client.errors import ConfigurationError, DrChronoError
from airflow_provider_drchrono.compat.database import Connection
from airflow_provider_drchrono.hooks.authorization import (
    ConnectionStatus,
    connections_in_database,
    find_authorization,
    status_of,
)
from airflow_provider_drchrono.plugin import URL_PREFIX, pending
from airflow_provider_drchrono.plugin.pages import connections_page, result_page

log = logging.getLogger(__name__)

LIST_PATH = f"{URL_PREFIX}/authorize"
CALLBACK_PATH = f"{URL_PREFIX}/callback"

REFUSALS = {
    "unknown": "This answer belongs to no authorization that was begun here, or was used before. Begin again.",
    "expired": "The answer came more than ten minutes after the authorization was begun. Begin again.",
    "other_user": "Somebody else began this authorization. Whoever begins it has to finish it, in the same browser.",
}

# Airflow would answer its documentation pages to anybody.
app = FastAPI(title="DrChrono", docs_url=None, redoc_url=None, openapi_url=None)


class NotAllowedError(DrChronoError):
    """What the user who is signed in may not do; the text says why."""


@app.exception_handler(NotAllowedError)
async def refuse(request: Request, error: NotAllowedError) -> Response:
    """Show a person why they may not."""
    return result_page("Not allowed", str(error), f"{base_url(request)}{LIST_PATH}", status=403)


@app.exception_handler(HTTPException)
async def sign_in(request: Request, error: HTTPException) -> Response:
    """Lead who is not signed in, or no longer, to the login, from where they come back here."""
    base = base_url(request)
    return RedirectResponse(f"{base}/api/v2/auth/login?{urlencode({'next': f'{base}{LIST_PATH}'})}", 303)


@app.get("/authorize")
def list_connections(request: Request, user: GetUserDep) -> Response:
    """Show the DrChrono connections that the user may edit."""
    names = [name for name in connections_in_database() if may_edit(user, name)]
    if not names:
        require_edit(user)
    base = base_url(request)
    pending.delete_expired()
    statuses = [_status(name) for name in names]
    return connections_page(statuses, f"{base}{CALLBACK_PATH}", f"{base}/")


@app.post("/authorize/{connection_id}")
def begin(connection_id: str, request: Request, user: GetUserDep) -> Response:
    """Send the browser to DrChrono."""
    require_same_site(request)
    require_edit(user, connection_id)
    base = base_url(request)
    if connection_id not in connections_in_database():
        return result_page(
            "Unknown connection",
            f"Airflow's database holds no connection {connection_id!r} of type drchrono.",
            f"{base}{LIST_PATH}",
            status=404,
        )
    redirect_uri = f"{base}{CALLBACK_PATH}"
    try:
        settings = find_authorization(connection_id).settings
        check_redirect_uri(redirect_uri)
    except ConfigurationError as error:
        return result_page("The connection cannot be authorized", str(error), f"{base}{LIST_PATH}", status=400)
    state = pending.begin(connection_id, str(user.get_id()), redirect_uri)
    return RedirectResponse(authorization_url(settings, redirect_uri, state), 303)


@app.get("/callback")
def finish(
    request: Request,
    user: GetUserDep,
    state: Annotated[str, Query()] = "",
    code: Annotated[str, Query()] = "",
    error: Annotated[str, Query()] = "",
) -> Response:
    """Take DrChrono's answer."""
    back = f"{base_url(request)}{LIST_PATH}"
    try:
        begun = pending.take(state, str(user.get_id()))
    except pending.PendingError as refusal:
        return result_page("The answer was not accepted", REFUSALS[refusal.reason], back, status=400)
    require_edit(user, begun.conn_id)
    try:
        answer = {"state": state, "error": error} if error else {"state": state, "code": code}
        token = find_authorization(begun.conn_id).accept(code_in(answer, state), begun.redirect_uri)
    except DrChronoError as problem:
        return result_page("The connection was not authorized", str(problem), back, status=400)
    log.info("User %s has authorized the DrChrono connection %s", user.get_id(), begun.conn_id)
    status = status_of(begun.conn_id, time.time())
    details = [f"{len(token.scope)} scopes were granted."] if token.scope else []
    if status.missing:
        details.append(f"Not granted: {', '.join(status.missing)}")
    message = f"The connection {begun.conn_id} is authorized. Its token renews itself from now on."
    return result_page("Authorized", message, back, good=True, details=details)


def _status(conn_id: str) -> ConnectionStatus:
    """Return how it stands with a connection; one that cannot be read must not hide the others."""
    try:
        return status_of(conn_id, time.time())
    except Exception as error:
        log.warning("The status of the connection %s cannot be read (%s)", conn_id, type(error).__name__)
        return ConnectionStatus(conn_id, "unusable", problem=f"It cannot be read ({type(error).__name__}); check it")


def base_url(request: Request) -> str:
    """Return the address of Airflow's UI as browsers know it, without a slash at its end."""
    configured = conf.get("api", "base_url", fallback=None)
    return (configured or f"{request.url.scheme}://{request.url.netloc}").rstrip("/")


def may_edit(user: BaseUser, conn_id: str | None = None) -> bool:
    """Tell whether a user may edit a connection, or connections at all."""
    team = Connection.get_team_name(conn_id) if conn_id else None
    details = ConnectionDetails(conn_id=conn_id, team_name=team)
    return get_auth_manager().is_authorized_connection(method="PUT", details=details, user=user)


def require_edit(user: BaseUser, conn_id: str | None = None) -> None:
    """Refuse a user who may not edit a connection."""
    if not may_edit(user, conn_id):
        raise NotAllowedError("Only users who may edit connections may authorize them.")


def require_same_site(request: Request) -> None:
    """Refuse what a page of another site made the browser send."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        allowed = site in ("same-origin", "none")
    else:
        hosts = {request.url.netloc, urlsplit(base_url(request)).netloc}
        allowed = origin is None or urlsplit(origin).netloc in hosts
    if not allowed:
        raise NotAllowedError("Another site has sent this request. Use the button on the page of the connections.")
