"""Shows how much of DrChrono's hourly quota is used, how much is left, and who used it; or forgets it."""

from __future__ import annotations

import json
from argparse import Namespace
from datetime import UTC, datetime
from typing import Any

from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.client.quota.state import QuotaStatus

DEFAULT_CONN_ID = "drchrono_default"

ACTIONS = ("show", "reset")


def quota(args: Namespace) -> None:
    """Print the quota of a connection, or forget what is believed of it; no call of the API is made for either.

    :param args: ``action``, which may be left out, ``conn_id`` and ``output`` as parsed by Airflow.
    :raises SystemExit: the connection or its count cannot be read; the message says why.
    """
    from airflow_provider_drchrono.hooks.authorization import settings_seen
    from airflow_provider_drchrono.hooks.connection import quota_of

    action, conn_id = _words(args.action, args.conn_id)
    try:
        counted = quota_of(settings_seen(conn_id), conn_id)
        status = None if counted is None else counted.status() if action == "show" else counted.reset()
    except DrChronoError as error:
        raise SystemExit(str(error)) from None
    if status is None:
        raise SystemExit(f"The connection {conn_id} has no limit, so its calls are not counted")
    rows = [{"connection": name, "host": host, "calls": calls} for name, host, calls in status.by]
    if args.output == "json":
        print(json.dumps(_summary(conn_id, status) | {"by": rows}, indent=2))
        return
    print(_sentence(conn_id, status, datetime.now(UTC)) if action == "show" else _forgotten(status))
    if rows:
        from airflow.cli.simple_table import AirflowConsole

        AirflowConsole().print_as(data=[{**row, "calls": str(row["calls"])} for row in rows], output=args.output)


def _words(first: str | None, second: str | None) -> tuple[str, str]:
    """Return what to do and with which connection, either of which may be left out."""
    if first is None or first in ACTIONS:
        return first or ACTIONS[0], second or DEFAULT_CONN_ID
    if second is not None:
        raise SystemExit(f"quota has no action {first!r}; there is {' and '.join(ACTIONS)}")
    return ACTIONS[0], first


def _forgotten(status: QuotaStatus) -> str:
    until = status.refused_until
    return (
        f"Forgotten: that the application has made {status.used} calls in this clock hour"
        f"{f', and that DrChrono takes no more until {until:%H:%M:%S} UTC' if until else ''}. DrChrono itself goes on "
        "counting. Tasks that were put off go on at their time; clear them to let them go on now."
    )


def _summary(conn_id: str, status: QuotaStatus) -> dict[str, Any]:
    return {
        "connection": conn_id,
        "used": status.used,
        "limit": status.limit,
        "left": status.left,
        "resets_at": status.resets_at.isoformat(),
        "refused_until": status.refused_until.isoformat() if status.refused_until else None,
    }


def _sentence(conn_id: str, status: QuotaStatus, now: datetime) -> str:
    minutes = max(0, round((status.resets_at - now).total_seconds() / 60))
    text = f"The application has made {status.used} calls in this clock hour. "
    if status.refused_until:
        text += f"DrChrono takes no more until {status.refused_until:%H:%M:%S} UTC. "
    if status.left is None:
        text += f"{conn_id} has no hourly limit."
    else:
        text += f"{conn_id} may make {status.left} more of its {status.limit}."
    return f"{text} The next hour begins at {status.resets_at:%H:%M} UTC, in {minutes} min."
