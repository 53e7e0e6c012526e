"""``airflow drchrono sample``: synthetic records, to see the shape of a list before there is a connection."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from airflow_provider_drchrono.testing import sample_records

WIDEST = 32
"""Characters of a value in the table; the other formats have all of it."""


def sample(args: Namespace) -> None:
    """Print synthetic records of a list, as the sandbox answers them, without a connection and without a call.

    :param args: ``resource``; ``count``, how many records; ``verbose``, with the fields of ``verbose=true``;
        ``conn_id``, a connection in whose time zone the times are written; and ``format``: ``json``, ``ndjson``, or
        ``table``, in which fields that are empty in all records are left out.
    :raises SystemExit: there is no such list, or the count is out of bounds; the message offers the nearest names.
    """
    timezone = None
    if args.conn_id:
        from airflow_provider_drchrono.hooks.drchrono import DrChronoHook

        timezone = DrChronoHook(args.conn_id).settings.timezone
    try:
        records = sample_records(args.resource, args.count, verbose=args.verbose, timezone=timezone)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    if args.format == "json":
        print(json.dumps(records, indent=2, ensure_ascii=False))
    elif args.format == "ndjson":
        print("\n".join(json.dumps(each, ensure_ascii=False) for each in records))
    else:
        _print_table(records)


def _print_table(records: list[dict[str, Any]]) -> None:
    from airflow.cli.simple_table import AirflowConsole

    fields = {name: None for each in records for name, value in each.items() if value not in (None, "", [], {})}
    rows = [
        {"field": name} | {f"record {n}": _cell(each.get(name)) for n, each in enumerate(records, 1)} for name in fields
    ]
    AirflowConsole().print_as(rows, "table")


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = " ".join(text.split())
    return line if len(line) <= WIDEST else f"{line[: WIDEST - 3]}..."
