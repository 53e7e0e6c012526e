"""Asks the API what became of records: the log of deletions, and one by one those that a complete read did not see."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from zoneinfo import ZoneInfo

from airflow_provider_drchrono.catalog import Operation, Resource, load
from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.incremental.canonical import canonical
from airflow_provider_drchrono.incremental.clocks import earlier_clock, own_clock
from airflow_provider_drchrono.incremental.window import ZONES_LAST, Practice
from airflow_provider_drchrono.transfers.staging import Checkpoint
from airflow_provider_drchrono.warehouses.base import (
    KnownPractice,
    LoadCounts,
    LoggedDeletion,
    SyncKey,
    SyncTarget,
    Warehouse,
)
from airflow_provider_drchrono.warehouses.deletions import MOST_LOOKUPS
from airflow_provider_drchrono.warehouses.table import RowMaker, Table

if TYPE_CHECKING:
    from airflow_provider_drchrono.client import DrChronoClient

log = logging.getLogger(__name__)

OnSuspiciousSync: TypeAlias = Literal["warn", "fail", "accept"]
"""What follows where a read may hide records: a warning, a task that fails, or nothing: the read is taken as it is."""


def grant_of(hook: DrChronoHook) -> str:
    """Return the id of the authorization that a connection uses; it is no secret, and no call is made for it."""
    token = hook.token_store.load()
    return token.grant_id if token else hook.token_store.grant_id


def known_practice(
    hook: DrChronoHook, warehouse: SyncTarget, table: Table, grant_id: str, staged: Checkpoint | None
) -> KnownPractice:
    """Return the practice of a connection, asking the API no more often than once a day.

    :param table: a table that is prepared.
    :param grant_id: of :func:`grant_of`.
    :param staged: an extraction of this authorization that may be resumed.
    """
    known = warehouse.practice_of(table, hook.settings.base_url, grant_id)
    now = own_clock().replace(microsecond=0)
    if known is not None and now - known.read_at < ZONES_LAST:
        return known
    if staged is not None and staged.plan.practice_key:
        return KnownPractice(grant_id, staged.plan.practice_key, datetime.fromisoformat(staged.touched))
    return KnownPractice(grant_id, hook.practice_key, now)


def logged_deletions(
    hook: DrChronoHook, log_resource: str, resource: Resource, since: str | None, practice: Practice
) -> list[LoggedDeletion]:
    """Return the deletions that the API has logged since a time, less the lookback of the log.

    Where the grant may not read the log, it says so and returns none: complete reads find the deletions later.

    :param log_resource: the resource whose list is the log.
    :param resource: the one whose deletions are wanted.
    :param since: wall-clock time of the practice, in ISO 8601; None: all.
    """
    from airflow_provider_drchrono.client import PermissionDeniedError

    found = load().resource(log_resource)
    record = load().record(found.record or "")
    incremental = found.incremental
    assert incremental is not None  # noqa: S101 - a contract test holds it for every log
    assert incremental.cursor_field is not None  # noqa: S101
    identifier = next(each.name for each in record.fields.values() if each.refers_to == resource.name)
    filters: dict[str, Any] = {}
    if since:
        start = datetime.fromisoformat(since) - timedelta(seconds=incremental.lookback)
        filters[incremental.filter] = start.isoformat()
    zones = (incremental.timezone,) if incremental.timezone else practice.timezones
    deletions = []
    try:
        for page in hook.get_conn().pages(log_resource, filters):
            for each in page.records:
                at = _latest_instant(each.get(incremental.cursor_field), zones)
                if each.get(identifier) not in (None, "") and at is not None:
                    found_at = earlier_clock(page.server_time, own_clock()).replace(microsecond=0)
                    deletions.append(LoggedDeletion((each[identifier],), at, found_at))
    except PermissionDeniedError:
        log.warning(
            "The grant may not read %s, so deletions of %s show in complete reads only", log_resource, resource.plural
        )
    return deletions


def settle_missing(
    hook: DrChronoHook,
    warehouse: Warehouse,
    table: Table,
    key: SyncKey,
    resource: Resource,
    *,
    selects_all: bool,
    verbose: bool,
    zone: str | None,
    held: Callable[[Mapping[str, Any]], bytes] = canonical,
) -> LoadCounts | None:
    """Look up rows that are noted as missing, and mark those that the API knows no more; None if there are none.

    A record can be absent from a list and be there: it moved from one page to another while they were read, or out of
    what the filters select. The rest waits for the next run.

    :param zone: IANA name of the zone of the records' timestamps.
    :param held: returns what may be held of a record, as JSON.
    """
    if table.is_appended:
        return None
    suspects = warehouse.missing(table, key, selects_all=selects_all, limit=MOST_LOOKUPS)
    operation = lookup_of(resource, table)
    if not suspects or operation is None:
        return None
    maker = RowMaker(table, zone)
    rows, gone = [], []
    client = hook.get_conn()
    for suspect in suspects:
        try:
            record = looked_up(client, resource, suspect[0], verbose=verbose and operation.takes("verbose"))
        except DrChronoError as error:
            log.info("Not all missing records could be looked up (%s); the next run goes on", type(error).__name__)
            break
        if record is None:
            gone.append(suspect)
            continue
        row = maker.row(held(record), present(client).isoformat(" "))
        if row is not None and str(record.get(table.key[0])) == str(suspect[0]):
            rows.append(row)
    if not rows and not gone:
        return None
    counts = warehouse.settle(table, key, rows, gone)
    log.info(
        "Of the records that a read of all %s did not see, %s are deleted and %s are still there",
        resource.plural,
        f"{len(gone):,}",
        f"{len(rows):,}",
    )
    return counts


def lookup_of(resource: Resource, table: Table) -> Operation | None:
    """Return the operation by which a row's record is looked up; None where its id is not enough for that."""
    operation = next((each for each in resource.operations.values() if each.kind == "read"), None)
    if operation is None or len(table.key) != 1:
        return None
    needs_more = any(each.required and each.place == "query" for each in operation.parameters)
    return None if needs_more else operation


def looked_up(client: DrChronoClient, resource: Resource, identifier: Any, *, verbose: bool) -> dict[str, Any] | None:
    """Return a record; None if the API knows none with this id."""
    from airflow_provider_drchrono.client import NotFoundError

    try:
        return client.read(resource.name, identifier, verbose=verbose)
    except NotFoundError:
        return None


def present(client: DrChronoClient) -> datetime:
    """Return the present, by the clock that is behind: the API's or this machine's."""
    own = own_clock()
    return earlier_clock(client.server_time or own, own).replace(microsecond=0)


def _latest_instant(value: Any, timezones: Sequence[str]) -> datetime | None:
    """Return the last instant that a wall-clock time of the practice can mean."""
    try:
        moment = datetime.fromisoformat(value).replace(tzinfo=None, fold=1)
    except (ValueError, TypeError):
        return None
    return max(moment.replace(tzinfo=ZoneInfo(name)).astimezone(UTC) for name in timezones)
