"""A practice that lives for many days while its tables are synced, with everything that goes wrong in such a time.

After each day the rows that are not marked as deleted have to be the practice's records, and none may be marked that is
there. In the end the history has to give back each day.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.sandbox import Fault, Sandbox
from airflow_provider_drchrono.sandbox.churn import churn
from airflow_provider_drchrono.sandbox.wire import Request, Response
from airflow_provider_drchrono.state import lease as variable_lease
from tests.airflow.warehouse_checks import Fetch, differences

Record = dict[str, Any]

DAYS, PATIENTS = (100, 40) if os.environ.get("THOROUGH_TESTS") else (6, 12)
SEED = int(os.environ.get("SIMULATION_SEED", "1"))

EACH_RUN = timedelta(0)
TROUBLES = ("killed", "omitted", "quota", "killed", "scopes", "none", "truncated", "none")
"""What happens to a table's sync, in turn: none of it may be seen in the table."""


class Killed(BaseException):
    """The process dies: nothing may catch this."""


@dataclass(frozen=True)
class Followed:
    """A table that is kept up.

    :param flag: the field that says that a record is deleted.
    :param removed: whether people delete such records for good.
    :param doctor: only records of this doctor are synced.
    """

    resource: str
    table: str
    flag: str | None = None
    removed: bool = False
    doctor: int | None = None
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether each run reads the whole list."""
        return "complete_every" in self.arguments or load().resource(self.resource).incremental is None


class Simulation:
    """The practice and its tables.

    :param fetch: runs a query in the warehouse.
    :param connect: lets Airflow use another grant, given its refresh token; None: the first one.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        fetch: Fetch,
        patch: pytest.MonkeyPatch,
        connect: Callable[[str | None], None],
        seed: int,
    ) -> None:
        self.rng = random.Random(seed)
        self.sandbox = sandbox
        self.practice = sandbox.practice
        self.fetch = fetch
        self.connect = connect
        self.happened: Counter[str] = Counter()
        self.removed: dict[str, list[Record]] = {}
        self.ever_removed: set[str] = set()
        self.omit: Callable[[list[Record]], list[Record]] | None = None
        self.days: list[tuple[str, dict[str, dict[str, str]]]] = []
        self._patch = patch
        self._runs = 0
        doctor = self.practice.records("doctors")[0]["id"]
        self.followed = (
            Followed("appointments", "appointments", flag="deleted_flag"),
            Followed("line_items", "line_items", removed=True),
            Followed("tasks", "tasks", flag="archived"),
            Followed("patients", "patients", removed=True, arguments={"complete_every": EACH_RUN}),
            Followed("transactions", "transactions", removed=True, arguments={"complete_every": EACH_RUN}),
            Followed("problems", "problems", removed=True),
            Followed(
                "patients",
                "patients_of_one",
                doctor=doctor,
                arguments={"complete_every": EACH_RUN, "filters": {"doctor": doctor}},
            ),
        )
        handle = sandbox.app.handle
        patch.setattr(sandbox.app, "handle", lambda request: self._omitting(request, handle(request)))

    def run(self, days: int) -> None:
        """Live so many days, and check each."""
        for day in range(days):
            self._people_work(day)
            self.sandbox.clock.advance(3600)
            for number, each in enumerate(self.followed):
                self._bring_up_to_date(each, TROUBLES[(day + number) % len(TROUBLES)])
            self.sandbox.clock.advance(3600)
            self._check(day)
            self.sandbox.clock.advance(86_400 - 2 * 3600)
        self._check_history()
        for each in self.followed:
            if each.doctor is None and each.flag != "archived" and each.resource != "problems":
                assert differences(self.sandbox, each.resource, self.fetch) == []

    def _people_work(self, day: int) -> None:
        churn(self.practice, seed=self.rng.randrange(2**32), changes=self.rng.randrange(3, 12))
        for charge in self._some("line_items", 2):
            self.happened["backdated"] += 1
            self.practice.change("line_items", charge["id"], {"posted_date": "2025-11-30", "billed": f"{day}.50"})
        doctors = [each["id"] for each in self.practice.records("doctors")]
        for patient in self._some("patients", 2):
            self.happened["moved"] += 1
            self.practice.change("patients", patient["id"], {"doctor": self.rng.choice(doctors)})
        for each in self.followed:
            if each.flag:
                for record in self._some(each.resource, 2):
                    self.happened["flagged" if not record[each.flag] else "unflagged"] += 1
                    self.practice.change(each.resource, record["id"], {each.flag: not record[each.flag]})
            elif each.removed:
                self._remove_and_restore(each.resource)

    def _remove_and_restore(self, resource: str) -> None:
        gone = self.removed.setdefault(resource, [])
        if gone and self.rng.random() < 0.5:
            record = gone.pop(self.rng.randrange(len(gone)))
            table = self.practice.table(resource)
            with self.practice.lock:
                table.put(record["id"], record)
            self.practice.change(resource, record["id"], {})
            self.happened["restored"] += 1
        for record in self._some(resource, 1):
            gone.append(self.practice.remove(resource, record["id"]))
            self.ever_removed.add(str(record["id"]))
            self.happened["removed"] += 1
            if resource == "line_items":
                trace = {"billing_line_item_id": record["id"], "appointment_id": record["appointment"]}
                self.practice.create("line_item_deletions", trace)

    def _some(self, resource: str, most: int) -> list[Record]:
        records = self.practice.records(resource)
        return self.rng.sample(records, min(len(records), self.rng.randrange(most + 1)))

    def _bring_up_to_date(self, each: Followed, trouble: str) -> None:
        """Try until it works, as Airflow does, whatever happens in between."""
        if trouble == "killed":
            with self._dying(), pytest.raises(Killed):
                self._sync(each)
            self.happened[trouble] += 1
        elif trouble == "quota":
            self._run_out_of_quota(each)
        elif each.is_complete and trouble == "scopes":
            wanted = set(load().service.scopes) - set(load().resource(each.resource).list_operation.scopes)  # type: ignore[union-attr]
            self.connect(self.sandbox.new_refresh_token(*wanted))
            result = self._sync(each)
            assert (result["rows_read"], result["rows_deleted"]) == (0, 0)
            self._check_marks(each, "a read without the scope")
            self.connect(None)
            self.happened[trouble] += 1
        elif each.is_complete and trouble == "omitted":
            # Records moved from one page to another while the pages were read.
            self.omit = lambda records: records[self.rng.randrange(1, 4) :]
            self._sync(each)
            self.omit = None
            self._check_marks(each, "a read that left some out")
            self.happened[trouble] += 1
        elif each.is_complete and trouble == "truncated":
            self.omit = lambda records: records[: self.rng.randrange(len(records) + 1)]
            self._sync(each)
            self.omit = None
            self._check_marks(each, "a read that was cut off")
            self.happened[trouble] += 1
        self.sandbox.clock.advance(5)
        self._sync(each)

    def _run_out_of_quota(self, each: Followed) -> None:
        from airflow.sdk.exceptions import AirflowRescheduleException

        self.sandbox.faults.add(Fault(kind="throttle", resource=each.resource, seconds=1800, retry_after=True))
        with pytest.raises(AirflowRescheduleException):
            self._sync(each)
        self.sandbox.clock.advance(1800)
        self.happened["quota"] += 1

    @contextmanager
    def _dying(self) -> Iterator[None]:
        from airflow_provider_drchrono.transfers import sync as module

        place = self.rng.choice(("a page was read", "the pages are loaded", "missing records are looked up"))

        def die(*arguments: Any, **options: Any) -> Any:
            raise Killed

        with self._patch.context() as patch:
            if place == "a page was read":
                patch.setattr(module.Staging, "add", die)
            elif place == "the pages are loaded":
                patch.setattr(module, "Run", die)
            else:
                patch.setattr(module, "settle_missing", die)
            yield

    def _sync(self, each: Followed) -> dict[str, Any]:
        from airflow_provider_drchrono.transfers.drchrono_to_warehouse import DrChronoToWarehouseOperator

        self._runs += 1
        operator = DrChronoToWarehouseOperator(
            task_id="sync",
            resource=each.resource,
            table=each.table,
            warehouse_conn_id="drchrono_warehouse",
            history=True,
            **each.arguments,
        )
        ti = SimpleNamespace(dag_id="dag", task_id=each.table, map_index=-1, run_id=f"run {self._runs}")
        return operator.execute({"ti": ti})  # type: ignore[typeddict-item]

    def _omitting(self, request: Request, response: Response) -> Response:
        if self.omit is None or request.method != "GET" or response.status != 200 or request.path.count("/") != 2:
            return response
        body = json.loads(response.body)
        key = next((name for name in ("results", "data") if name in body), None)
        if key:
            body[key] = self.omit(body[key])
            response.body = json.dumps(body).encode()
        return response

    def _alive(self, each: Followed) -> dict[str, str]:
        """The fingerprints of the records that are there, by id."""
        records = self.practice.records(each.resource)
        return {
            str(record["id"]): fingerprint(record)
            for record in records
            if not (each.flag and record[each.flag]) and each.doctor in (None, record.get("doctor"))
        }

    def _check(self, day: int) -> None:
        alive = {each.table: self._alive(each) for each in self.followed}
        for each in self.followed:
            mine = f'"doctor" = {each.doctor} AND' if each.doctor else ""
            rows = self.fetch(
                f'SELECT id, "_drchrono_digest" FROM "{each.table}" WHERE {mine} "_drchrono_deleted_at" IS NULL'
            )
            found = {str(identifier): digest for identifier, digest in rows}
            assert found == alive[each.table], f"{each.table} after day {day}: {compared(found, alive[each.table])}"
            self._check_marks(each, f"day {day}")
        self.days.append((self.sandbox.clock.now().isoformat(" ", "seconds"), alive))

    def _check_marks(self, each: Followed, after: str) -> None:
        marked = self.fetch(f'SELECT id FROM "{each.table}" WHERE "_drchrono_deleted_at" IS NOT NULL')
        false = {str(identifier) for (identifier,) in marked} & self._never_gone(each, self._alive(each))
        if after.startswith("a read"):
            # What came back today is seen by the next whole read.
            false -= self.ever_removed
        assert not false, f"{each.table} after {after}: {sorted(false)} are marked as deleted"

    def _never_gone(self, each: Followed, alive: dict[str, str]) -> set[str]:
        """The records that may not be marked: those that are there.

        One that was gone, and came back to another doctor, is none that the filters of a table can see again.
        """
        if each.flag:
            return set(alive)
        there = {str(record["id"]) for record in self.practice.records(each.resource)}
        return there - self.ever_removed if each.doctor else there

    def _check_history(self) -> None:
        for day, (instant, alive) in enumerate(self.days):
            for each in self.followed:
                mine = f'"doctor" = {each.doctor} AND' if each.doctor else ""
                rows = self.fetch(
                    f'SELECT id, "_drchrono_digest" FROM "{each.table}_history" WHERE {mine} '
                    f"\"_drchrono_valid_from\" <= '{instant}' "
                    f'AND ("_drchrono_valid_to" > \'{instant}\' OR "_drchrono_valid_to" IS NULL)'
                )
                found = {str(identifier): digest for identifier, digest in rows}
                assert len(rows) == len(found)
                expected = alive[each.table]
                assert found == expected, f"{each.table} as of day {day}: {compared(found, expected)}"


def fingerprint(record: Record) -> str:
    """Return the digest that a row of a record has, by a rule of its own."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def compared(found: dict[str, str], expected: dict[str, str]) -> str:
    """Say how two sets of records differ."""
    return (
        f"too many {sorted(found.keys() - expected.keys())}, missing {sorted(expected.keys() - found.keys())}, "
        f"different {sorted(key for key in found.keys() & expected.keys() if found[key] != expected[key])}"
    )


def simulate(warehouse: str | dict[str, Any], fetch: Fetch, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Let a practice live while it is synced into a database, and check each day.

    :param warehouse: the Airflow connection of an empty database.
    :param fetch: runs a query in it, and returns instants in UTC.
    """
    print(f"SIMULATION_SEED={SEED}")
    # Tasks run one after another here, so a claim to the token need not settle.
    patch.setattr(variable_lease, "Timing", partial(variable_lease.Timing, write_limit=30.0, settle=0.0))
    patch.setenv("AIRFLOW__DRCHRONO__STAGING_PATH", str(folder / "staging"))
    patch.setenv("AIRFLOW_CONN_DRCHRONO_WAREHOUSE", warehouse if isinstance(warehouse, str) else json.dumps(warehouse))
    options: dict[str, Any] = {"quota_per_hour": None, "quota_per_second": None, "missing_scope": "empty"}
    # In a hundred days from then on, the wall clock is changed.
    start = datetime(2026, 1, 15, 12, tzinfo=UTC)
    with Sandbox(
        patients=PATIENTS, appointments_per_patient=2, start=start, frozen=True, order="updated_at", **options
    ) as sandbox:

        def connect(refresh_token: str | None) -> None:
            connection = json.loads(sandbox.connection_json())
            connection["extra"] |= {"refresh_token": refresh_token} if refresh_token else {}
            patch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", json.dumps(connection))

        connect(None)
        simulation = Simulation(sandbox, fetch, patch, connect, SEED)

        simulation.run(DAYS)

    expected = ("backdated", "moved", "removed", "flagged", "killed", "quota", "omitted", "scopes")
    assert [each for each in expected if not simulation.happened[each]] == []
