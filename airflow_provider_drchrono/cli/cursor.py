"""``airflow drchrono cursor``: shows how far sensors have come, and sets one to another time or back to nothing."""

from __future__ import annotations

import json
from argparse import Namespace
from datetime import date, datetime
from typing import Any

from airflow_provider_drchrono.changes.cursor import Cursor, CursorError, CursorName, read_cursor
from airflow_provider_drchrono.hooks.cursor_store import PREFIX, VariableCursorStore, variable_of

Row = dict[str, Any]


def cursor(args: Namespace) -> None:
    """Show, set or reset cursors.

    :param args: ``action``, ``dag_id``, ``task_id``, ``map_index``, ``to`` and ``output`` as parsed by Airflow.
    :raises SystemExit: it cannot be done; the message says what to do.
    """
    if args.action == "show":
        _show(args)
        return
    if not args.dag_id or not args.task_id:
        raise SystemExit(f"airflow drchrono cursor {args.action} needs the ids of a DAG and of its sensor")
    name = CursorName(args.dag_id, args.task_id, args.map_index)
    if args.action == "set":
        _set(name, args.to)
    else:
        _reset(name)


def _show(args: Namespace) -> None:
    rows = [
        {"cursor": key.removeprefix(PREFIX), **_described(text)}
        for key, text in sorted(_stored().items())
        if _is_of(key, args.dag_id, args.task_id, args.map_index)
    ]
    if args.output == "json":
        print(json.dumps(rows, indent=2))
        return
    if not rows:
        print("There is no such cursor: none of these sensors has polled yet, or its cursor was reset")
        return
    from airflow.cli.simple_table import AirflowConsole

    shown = [{key: "" if value is None else str(value) for key, value in row.items()} for row in rows]
    AirflowConsole().print_as(data=shown, output=args.output)


def _is_of(key: str, dag_id: str | None, task_id: str | None, map_index: int) -> bool:
    if dag_id is None:
        return True
    if task_id is None:
        return key.startswith(f"{PREFIX}{dag_id}:")
    whole = variable_of(CursorName(dag_id, task_id, map_index))
    return key == whole or (map_index < 0 and key.startswith(f"{whole}:"))


def _described(text: str) -> Row:
    row: Row = {"resource": None, "polled_until": None, "next_since": None, "start": None, "marks": None, "runs": None}
    try:
        found = read_cursor(text)
    except CursorError as error:
        return row | {"problem": str(error)}
    position = found.position
    return row | {
        "resource": found.resource,
        "polled_until": position.until.isoformat() if position else None,
        "next_since": position.since.isoformat() if position and position.since else None,
        "start": found.start,
        "marks": len(position.seen) if position else 0,
        "runs": len(found.runs),
        "problem": None,
    }


def _set(name: CursorName, to: str | None) -> None:
    try:
        moment = datetime.fromisoformat(to or "")
    except ValueError:
        raise SystemExit(
            "--to must be a date or a time such as 2026-01-31T08:00:00, by the practice's clock or with an offset"
        ) from None
    store = VariableCursorStore()
    with store.lease(name):
        text = store.load(name)
        try:
            before = read_cursor(text) if text else None
        except CursorError as error:
            raise SystemExit(
                f"The cursor of {name} is {error}: reset it first, with: airflow drchrono cursor reset {name.words}"
            ) from None
        start = moment.isoformat() if len(to or "") > len(date.min.isoformat()) else moment.date().isoformat()
        store.save(name, (before or Cursor("")).restarted(start).dump())
    print(f"The next run of {name} is given what changed since {start}, also what earlier runs were given")


def _reset(name: CursorName) -> None:
    key = variable_of(name)
    if key not in _stored():
        raise SystemExit(f"{name} has no cursor. Those there are: airflow drchrono cursor show")
    from airflow.models.variable import Variable

    Variable.delete(key)
    print(f"The cursor of {name} is gone: its next run begins where the sensor's argument start says")


def _stored() -> dict[str, str]:
    """Return the texts of all cursors by their variables; one that cannot be decrypted is empty."""
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = session.scalars(select(Variable).where(Variable.key.startswith(PREFIX, autoescape=True))).all()
        return {str(each.key): str(each.val or "") for each in found}
