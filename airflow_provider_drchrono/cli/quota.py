"""Shows how much of DrChrono's hourly quota is used, how much is left, and who used it."""

from __future__ import annotations

import json
from argparse import Namespace
from datetime import UTC, datetime
from typing import Any

from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.client.quota.state import QuotaStatus


def show_quota(args: Namespace) -> None:
    """Print the quota of a connection; no call of the API is made for it.

    :param args: ``conn_id`` and ``output`` as parsed by Airflow.
    :raises SystemExit: the connection or its count cannot be read; the message says why.
    """
    from airflow_provider_drchrono.hooks.authorization import settings_seen
    from airflow_provider_drchrono.hooks.connection import quota_of

    try:
        quota = quota_of(settings_seen(args.conn_id), args.conn_id)
        status = quota.status() if quota else None
    except DrChronoError as error:
        raise SystemExit(str(error)) from None
    if status is None:
        raise SystemExit(f"The connection {args.conn_id} has no limit, so its calls are not counted")
    rows = [{"connection": name, "host": host, "calls": calls} for name, host, calls in status.by]
    if args.output == "json":
        print(json.dumps(_summary(args.conn_id, status) | {"by": rows}, indent=2))
        return
    print(_sentence(args.conn_id, status, datetime.now(UTC)))
    if rows:
        from airflow.cli.simple_table import AirflowConsole

        AirflowConsole().print_as(data=[{**row, "calls": str(row["calls"])} for row in rows], output=args.output)


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
