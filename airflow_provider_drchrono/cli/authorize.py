"""``airflow drchrono authorize``, ``status`` and ``revoke``: the grant of a connection, from a terminal."""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
import webbrowser
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from airflow_provider_drchrono.cli.redirect import port_of, wait_for_answer
from airflow_provider_drchrono.client.authorization import authorization_url, code_in
from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.compat.command_line import action_cli
from airflow_provider_drchrono.hooks.authorization import (
    Authorization,
    ConnectionStatus,
    connections_in_database,
    find_authorization,
    status_of,
)

STATES = {
    "never": "never authorized",
    "unused": "refresh token entered, not used yet",
    "authorized": "authorized",
    "expired": "authorized, renewed at the next use",
    "refused": "renewal refused",
    "unusable": "cannot be used",
}


@action_cli  # type: ignore[untyped-decorator]
def authorize(args: Namespace) -> None:
    """Let a person allow the application in a browser, and keep what DrChrono grants.

    :param args: ``conn_id``, ``port``, ``redirect_uri``, ``no_browser`` and ``timeout`` (seconds).
    """
    try:
        authorization = find_authorization(args.conn_id)
        redirect_uri = args.redirect_uri or f"http://localhost:{args.port}/"
        state = secrets.token_urlsafe(32)
        url = authorization_url(authorization.settings, redirect_uri, state)
        _explain(redirect_uri, url)
        if not args.no_browser and _has_browser():
            webbrowser.open(url)
        answer = wait_for_answer(redirect_uri, state, sys.stdin, args.timeout, _say)
        if answer is None:
            raise SystemExit(f"No answer came within {args.timeout:g} seconds; nothing was changed. Run this again.")
        token = authorization.accept(code_in(answer, state), redirect_uri)
    except DrChronoError as error:
        raise SystemExit(str(error)) from None
    print(f"The connection {args.conn_id} is authorized until {_moment(token.expires_at)}, and renews itself.")
    print(_where(authorization))
    missing = status_of(args.conn_id, time.time()).missing
    if missing:
        print(f"Not granted: {', '.join(missing)}")


def status(args: Namespace) -> None:
    """Show the state of the authorization of one connection, or of all in Airflow's database.

    :param args: ``conn_id`` (None: all) and ``output``.
    """
    names = [args.conn_id] if args.conn_id else connections_in_database()
    if not names:
        raise SystemExit("Airflow's database holds no connection of type drchrono; name one from elsewhere")
    found = [status_of(name, time.time()) for name in names]
    _show(args.output, found)
    if any(each.state in ("refused", "unusable") for each in found):
        raise SystemExit(1)


@action_cli  # type: ignore[untyped-decorator]
def revoke(args: Namespace) -> None:
    """End the grant of a connection at DrChrono, and forget its tokens.

    :param args: ``conn_id`` and ``yes``, to be asked nothing.
    """
    try:
        authorization = find_authorization(args.conn_id)
        if not args.yes:
            question = f"End the authorization of {args.conn_id}? Its tasks fail until it is authorized again. [y/N] "
            if input(question).strip().lower() not in ("y", "yes"):
                raise SystemExit("Nothing was changed.")
        revoked = authorization.revoke()
    except DrChronoError as error:
        raise SystemExit(str(error)) from None
    if not revoked:
        raise SystemExit(f"The connection {args.conn_id} has no token; there is nothing to revoke.")
    print(f"DrChrono has ended the authorization of {args.conn_id}, and its tokens are forgotten.")
    if not authorization.in_database and authorization.settings.refresh_token:
        print("Its refresh token is worth nothing now; take it out of the connection.")


def _explain(redirect_uri: str, url: str) -> None:
    _say(
        f"The redirect URI {redirect_uri} has to be registered with the application on DrChrono's API management page."
    )
    _say("Open this address in a browser, signed in to DrChrono as the user whose data is wanted:")
    _say("")
    _say(f"    {url}")
    _say("")
    listening = "Waiting for the browser to come back. " if port_of(redirect_uri) else ""
    _say(f"{listening}If its page does not load, paste the address that it shows here:")


def _has_browser() -> bool:
    # A text browser that the module would find as a last resort would take over the terminal.
    if os.environ.get("SSH_CONNECTION"):
        return False
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _where(authorization: Authorization) -> str:
    if authorization.in_database:
        return "The refresh token is on the connection, and its successors are kept in an Airflow variable."
    return (
        f"The tokens are kept in the Airflow variable {authorization.store.key}, because the connection is not in "
        f"Airflow's database; leave the connection as it is."
    )


def _show(output: str, found: Sequence[ConnectionStatus]) -> None:
    if output == "json":
        print(json.dumps([_in_json(each) for each in found], indent=2))
        return
    from airflow.cli.simple_table import AirflowConsole

    AirflowConsole().print_as(data=[_in_a_table(each) for each in found], output=output)


def _in_json(each: ConnectionStatus) -> dict[str, Any]:
    return asdict(each) | {"expires_at": _iso(each.expires_at), "refused_at": _iso(each.refused_at)}


def _in_a_table(each: ConnectionStatus) -> dict[str, str]:
    return {
        "conn_id": each.conn_id,
        "state": STATES[each.state],
        "valid_until": _moment(each.expires_at) if each.expires_at else "",
        "scopes_granted": str(len(each.granted)) if each.granted else "",
        "scopes_missing": ", ".join(each.missing),
        "calls_left": "" if each.calls_left is None else str(each.calls_left),
        "problem": each.problem,
    }


def _iso(moment: float | None) -> str | None:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds") if moment else None


def _moment(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"


def _say(line: str) -> None:
    # Not on standard output, which a script may want to read.
    print(line, file=sys.stderr, flush=True)
