"""``airflow drchrono cursor``: shows, sets and resets the cursors of sensors and assets, and what tasks read of assets.

Three things are kept in the same way: the cursor of a sensor, that of an asset's watcher, and what the runs of a
task were given of an asset's events.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

from airflow_provider_drchrono.incremental.cursor import Cursor, CursorError, CursorName, read_cursor
from airflow_provider_drchrono.incremental.events.deliveries import read_deliveries
from airflow_provider_drchrono.state.cursor_store import VariableCursorStore, VariableDeliveriesStore
from airflow_provider_drchrono.state.names import CURSOR, DELIVERIES, prefix_of, variable_of

Row = dict[str, Any]

HOW_TO_SHOW = "airflow drchrono cursor show"


def cursor(args: Namespace) -> None:
    """Show, set or reset what is remembered.

    :param args: ``action``, ``dag_id``, ``task_id``, ``map_index``, ``asset``, ``to`` and ``output`` as parsed by
        Airflow.
    :raises SystemExit: it cannot be done; the message says what to do.
    """
    if args.asset is not None and args.dag_id is not None:
        raise SystemExit("Give a DAG with its task, or --asset, not both: an asset's cursor belongs to no DAG")
    if args.action == "show":
        _show(args)
        return
    if args.asset is not None:
        name = CursorName.of_asset(args.asset)
    elif args.dag_id and args.task_id:
        name = CursorName(args.dag_id, args.task_id, args.map_index)
    else:
        raise SystemExit(
            f"airflow drchrono cursor {args.action} needs the ids of a DAG and of its sensor, or --asset NAME"
        )
    if args.action == "set":
        _set(name, args.to)
    else:
        _reset(name)


def _show(args: Namespace) -> None:
    cursors = [
        {"cursor": _shown_name(key), **_described(text)}
        for key, text in sorted(_stored(CURSOR).items())
        if _is_wanted(key, CURSOR, args)
    ]
    readers = [
        {"reader": key.removeprefix(prefix_of(DELIVERIES)), **row}
        for key, text in sorted(_stored(DELIVERIES).items())
        if _is_wanted(key, DELIVERIES, args)
        for row in _described_deliveries(text)
        if args.asset in (None, row["asset"])
    ]
    if args.output == "json":
        print(json.dumps([*cursors, *readers], indent=2))
        return
    if not cursors and not readers:
        print("There is no such cursor: none of these sensors or assets has polled yet, or its cursor was reset")
        return
    from airflow.cli.simple_table import AirflowConsole

    for rows in filter(None, (cursors, readers)):
        shown = [{key: "" if value is None else str(value) for key, value in row.items()} for row in rows]
        AirflowConsole().print_as(data=shown, output=args.output)


def _shown_name(key: str) -> str:
    name = key.removeprefix(prefix_of(CURSOR))
    return f"asset {name[1:]}" if name.startswith(":") else name


def _is_wanted(key: str, family: str, args: Namespace) -> bool:
    if args.asset is not None:
        return family == DELIVERIES or key == variable_of(CursorName.of_asset(args.asset), family)
    if args.dag_id is None:
        return True
    if args.task_id is None:
        return key.startswith(f"{prefix_of(family)}{args.dag_id}:")
    whole = variable_of(CursorName(args.dag_id, args.task_id, args.map_index), family)
    return key == whole or (args.map_index < 0 and key.startswith(f"{whole}:"))


def _described(text: str) -> Row:
    row: Row = {
        "resource": None,
        "polled_until": None,
        "next_since": None,
        "start": None,
        "fingerprints": None,
        "runs": None,
    }
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
        "fingerprints": len(position.fingerprints) if position else 0,
        "runs": len(found.runs),
        "problem": None,
    }


def _described_deliveries(text: str) -> Iterator[Row]:
    try:
        deliveries = read_deliveries(text)
    except CursorError as error:
        yield {"asset": None, "runs": None, "last_event": None, "problem": str(error)}
        return
    for asset, each in deliveries.items():
        yield {"asset": asset, "runs": len(each.runs), "last_event": each.last, "problem": None}


def _set(name: CursorName, to: str | None) -> None:
    try:
        moment = datetime.fromisoformat(to or "")
    except ValueError:
        raise SystemExit(
            "--to must be a date or a time such as 2026-01-31T08:00:00, by the practice's clock or with an offset"
        ) from None
    if assets := _assets_read_by(name):
        raise SystemExit(
            f"{name} has no cursor of its own, it reads the events of an asset. To have these made again: "
            f"{' or '.join(f'airflow drchrono cursor set {each.arguments} --to {to}' for each in assets)}"
        )
    store = VariableCursorStore()
    with store.lease(name):
        text = store.load(name)
        try:
            before = read_cursor(text) if text else None
        except CursorError as error:
            raise SystemExit(
                f"The cursor of {name} is {error}: reset it first, with: airflow drchrono cursor reset {name.arguments}"
            ) from None
        start = moment.isoformat() if len(to or "") > len(date.min.isoformat()) else moment.date().isoformat()
        store.save(name, (before or Cursor("")).restarted(start).dump())
    if name.dag_id:
        print(f"The next run of {name} is given what changed since {start}, also what earlier runs were given")
    else:
        print(
            f"The next poll of {name} makes an event of what changed since {start}, also of what earlier events named"
        )


def _assets_read_by(name: CursorName) -> list[CursorName]:
    """Return the assets that a task reads, if it has no cursor."""
    if VariableCursorStore().load(name) is not None or (text := VariableDeliveriesStore().load(name)) is None:
        return []
    return [CursorName.of_asset(row["asset"] or "NAME") for row in _described_deliveries(text)]


def _reset(name: CursorName) -> None:
    from airflow_provider_drchrono.compat.database import Variable

    cursor_key, deliveries_key = variable_of(name), variable_of(name, DELIVERIES)
    has_cursor, has_deliveries = cursor_key in _stored(CURSOR), deliveries_key in _stored(DELIVERIES)
    if not has_cursor and not has_deliveries:
        raise SystemExit(f"{name} has no cursor. Those there are: {HOW_TO_SHOW}")
    if has_cursor:
        Variable.delete(cursor_key)
        print(f"The cursor of {name} is gone: {_after_reset(name)}")
    if has_deliveries:
        Variable.delete(deliveries_key)
        print(
            f"What the runs of {name} have read is deleted: a run that is cleared reads what its asset events "
            "name, also if another run has read it; the next run that the asset does not trigger reads nothing"
        )


def _after_reset(name: CursorName) -> str:
    if name.dag_id:
        return "its next run begins where the sensor's argument start says"
    return (
        "its watcher begins at its next poll where the asset's argument start says, and events from before that are "
        "not read yet cannot be read any more"
    )


def _stored(family: str) -> dict[str, str]:
    """Return the texts that are kept in variables of one family; one that cannot be decrypted is empty."""
    from airflow_provider_drchrono.compat.database import Variable, create_session, select

    with create_session() as session:
        found = session.scalars(
            select(Variable).where(Variable.key.startswith(prefix_of(family), autoescape=True))
        ).all()
        return {str(each.key): str(each.val or "") for each in found}
