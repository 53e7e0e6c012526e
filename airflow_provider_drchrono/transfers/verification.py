"""Compares a table with the API after a load: how many records there are, and whether rows at random are theirs."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from airflow_provider_drchrono.client.errors import DrChronoError
from airflow_provider_drchrono.common.arguments import InvalidArgumentError, check_choice
from airflow_provider_drchrono.incremental.canonical import canonical
from airflow_provider_drchrono.incremental.lists import moment_of, needed_start
from airflow_provider_drchrono.incremental.window import next_start
from airflow_provider_drchrono.transfers.bulk_reading import LONGEST_LOOK, WORKER_PATIENCE
from airflow_provider_drchrono.transfers.deletions import looked_up, lookup_of, present
from airflow_provider_drchrono.transfers.extraction import ListFacts
from airflow_provider_drchrono.warehouses.table import DIGEST, RowMaker

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_drchrono.catalog import Operation
    from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
    from airflow_provider_drchrono.incremental.window import SyncState
    from airflow_provider_drchrono.transfers.sync import SyncRequest
    from airflow_provider_drchrono.warehouses.base import SyncKey, Warehouse

log = logging.getLogger(__name__)

OnDifference: TypeAlias = Literal["warn", "fail"]
"""What follows where a table is not what DrChrono has: a warning in the log, or a task that fails after its load."""

ON_DIFFERENCE: tuple[OnDifference, ...] = get_args(OnDifference)

MOST_SAMPLED = 200
"""Rows that one run may look up. The hour has 500 calls."""


class TableDifferentError(DrChronoError):
    """A table was loaded, and does not hold what the API has."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What a comparison has found; numbers only.

    :param calls: that it has spent.
    :param records: how many records DrChrono counts; None where it does not count them.
    :param missing: how many of these are not in the table, and have not come after the load, at least.
    :param surplus: how many rows the table has beyond them: records that were deleted, and not found to be so yet.
    :param sampled: rows that were compared with their records.
    :param stale: those whose record had changed before the load.
    :param gone: those whose record is not there any more.
    """

    calls: int
    records: int | None
    missing: int | None
    surplus: int | None
    sampled: int
    stale: int
    gone: int

    @property
    def is_different(self) -> bool:
        """Whether the table lacks what it should have. Deletions that show later are no difference."""
        return bool(self.missing or self.stale)

    def summary(self) -> dict[str, Any]:
        """Return it as it goes to XCom."""
        return {"is_different": self.is_different, **asdict(self)}


def check_verification(where: str, verify: object, verify_sample: object) -> None:
    """Judge the arguments of a comparison.

    :param where: what has these arguments, for messages.
    :raises InvalidArgumentError: one of them cannot be right.
    """
    if verify is not None:
        check_choice(where, "verify", verify, ON_DIFFERENCE)
    if isinstance(verify_sample, bool) or not isinstance(verify_sample, int) or not 0 <= verify_sample <= MOST_SAMPLED:
        raise InvalidArgumentError(
            f"{where}: verify_sample has to be a number of rows from 0 to {MOST_SAMPLED}, not {verify_sample!r}"
        )


class Verifier:
    """Compares the table of one sync.

    :param key: what the state of the sync is kept under.
    :param set_aside: records that came without an id in this run, and so are in no table.
    """

    def __init__(
        self,
        request: SyncRequest,
        *,
        hook: DrChronoHook,
        open_warehouse: Callable[[], Warehouse],
        key: SyncKey,
        set_aside: int = 0,
    ) -> None:
        self._request = request
        self._hook = hook
        self._open_warehouse = open_warehouse
        self._key = key
        self._set_aside = set_aside

    def verify(self, sample: int, on_difference: OnDifference) -> Verification | None:
        """Compare, and say what differs.

        Where the API does not answer, nothing is concluded: the load is done, and the next run compares again.

        :param sample: rows to look up.
        :return: None if the API did not answer.
        :raises TableDifferentError: it differs, and ``on_difference`` is ``fail``.
        """
        client = self._hook.get_conn()
        calls = -client.calls
        try:
            with closing(self._open_warehouse()) as warehouse:
                state = warehouse.state(self._request.table, self._key)
                in_table = warehouse.expected_rows(self._request.table, self._key) if self._is_counted else None
                rows = self._rows(warehouse, sample)
            records, missing, surplus = self._counted(state, in_table)
            sampled, stale, gone = self._compared(state, rows)
        except DrChronoError as error:
            log.warning("%s was loaded, and could not be compared with DrChrono: %s", self._request.table.label, error)
            return None
        found = Verification(calls + client.calls, records, missing, surplus, sampled, stale, gone)
        self._tell(found, on_difference)
        return found

    @property
    def _is_counted(self) -> bool:
        """Whether DrChrono counts these records."""
        request, resource = self._request, self._request.resource
        if resource.incremental is None or request.extra_filters:
            return False
        return ListFacts.of(self._hook.catalog, resource, request.filters).bulk_size is not None

    @property
    def _lookup(self) -> Operation | None:
        """The operation by which a row's record is looked up; None where that cannot be, as by a masked id."""
        shield = self._request.shield
        if shield is not None and shield.masks_the_key:
            return None
        return lookup_of(self._request.resource, self._request.table)

    def _rows(self, warehouse: Warehouse, sample: int) -> list[tuple[Any, ...]]:
        if self._lookup is None:
            return []
        return warehouse.sample(self._request.table, self._key, selects_all=self._request.selects_all, limit=sample)

    def _later(self, state: SyncState) -> datetime | None:
        """Return from when on, by the practice's clock, the next run will read what has changed."""
        return next_start(state, state.practice, state.start, self._request.lookback, full_refresh=False).since

    def _counted(self, state: SyncState | None, in_table: int | None) -> tuple[int | None, int | None, int | None]:
        """Return how many records there are, how many are missing in the table, and how many it has beyond them.

        :param in_table: how many there should be; None where that is not known, or nothing is counted.
        """
        from airflow_provider_drchrono.client import BulkPacing

        request, resource = self._request, self._request.resource
        if in_table is None or state is None:
            return None, None, None
        start = state.start or needed_start(resource.requires_one_of, request.filters)
        client = self._hook.get_conn()
        # Those that have changed since the load may all have been created since. They are asked for later than the
        # others, so that none of the others is left out of them.
        uuids = [
            client.bulk_start(
                resource.name,
                {**request.filters, **request.since_filter(moment.isoformat() if moment else None)},
                page_size=1,
            )
            for moment in (start, self._later(state))
        ]
        pacing = BulkPacing(time.time() + WORKER_PATIENCE, longest=LONGEST_LOOK)
        results = [client.bulk_wait(resource.name, uuid, pacing, raw=True) for uuid in uuids]
        records, later = (None if each is None else each.count for each in results)
        if records is None or later is None:
            return records, None, None
        return records, max(0, records - later - in_table - self._set_aside), max(0, in_table - records)

    def _compared(self, state: SyncState | None, rows: list[tuple[Any, ...]]) -> tuple[int, int, int]:
        """Return how many rows were compared with their records, how many of these are stale, and how many gone."""
        request, table, operation = self._request, self._request.table, self._lookup
        if operation is None or state is None:
            return 0, 0, 0
        maker = RowMaker(table, request.zone_of_rows(state.practice, self._hook.settings.timezone))
        columns = [column.name for column in table.all_columns]
        since = self._later(state)
        held = request.shield.line if request.shield else canonical
        verbose = request.verbose and operation.takes("verbose")
        client = self._hook.get_conn()
        stale = gone = 0
        for identifier, digest, *changed in rows:
            record = looked_up(client, request.resource, identifier, verbose=verbose)
            if record is None:
                gone += 1
                continue
            row = maker.row(held(record), present(client).isoformat(" "))
            if row is None or row[columns.index(DIGEST)] == digest or not changed or table.changed is None:
                continue
            # Only the time of change tells whether the load should have met what is there now.
            before, now = _moment(changed[0]), _moment(row[columns.index(table.changed)])
            stale += now is not None and before != now and since is not None and now < since
        return len(rows), stale, gone

    def _tell(self, found: Verification, on_difference: OnDifference) -> None:
        label = self._request.table.label
        if found.surplus or found.gone:
            log.info(
                "%s rows of %s, and %s of %s rows taken at random, are of records that are gone in DrChrono; reads of "
                "the whole list mark them",
                f"{found.surplus or 0:,}",
                label,
                found.gone,
                found.sampled,
            )
        if not found.is_different:
            counted = "" if found.records is None else f"{found.records:,} records counted, none missing; "
            log.info("%s agrees with DrChrono: %s%s rows looked up, none stale", label, counted, found.sampled)
            return
        problems = []
        if found.missing:
            problems.append(f"{found.missing:,} of {found.records:,} records are missing")
        if found.stale:
            problems.append(
                f"{found.stale} of {found.sampled} rows taken at random are older than their records were at the load"
            )
        message = (
            f"{label} is loaded, and is not what DrChrono has: {', and '.join(problems)}. Read everything again with "
            f"full_refresh=True; if that happens again, raise lookback"
        )
        if on_difference == "fail":
            raise TableDifferentError(message)
        log.warning("%s", message)


def _moment(value: object) -> datetime | None:
    """Return a time of a row, which some databases give back as text."""
    return value if isinstance(value, datetime) else moment_of(value)
