"""The practice as a whole: finds tables, stamps what is written, and keeps related records in step."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from airflow_provider_drchrono.catalog import Catalog, Resource
from airflow_provider_drchrono.sandbox.clock import Clock
from airflow_provider_drchrono.sandbox.files import FileLinks
from airflow_provider_drchrono.sandbox.practice.audit import UNLOGGED, Author, entry
from airflow_provider_drchrono.sandbox.practice.blank import blank
from airflow_provider_drchrono.sandbox.practice.table import HIDDEN_CHANGE, Key, Row, Table
from airflow_provider_drchrono.sandbox.sandbox_options import Options

KEYS_APART = 10_000_000
"""Each resource numbers its records from a range of its own, so that an id of another resource is never found."""

PRACTICES_APART = 1_000_000_000
"""Each practice group has ranges of its own, as DrChrono never gives two practices the same id."""

SAME_RECORDS = {
    "lab_orders_summary": "lab_orders",
    "patients_summary": "patients",
    "recurring_appointment_instances": "appointments",
}
"""Resources that show the records of another one."""

IN_UTC = frozenset({"message_threads"})
"""Resources whose times show in UTC with a Z, unlike those of all others."""

Rule = Callable[["Practice", Row, Row | None], None]


class Practice:
    """The records of a practice, with what the API does to them when they are written.

    Its methods may be called while it is being served; they take the lock that requests take.

    :param rules: by table: completes a row that is about to be stored; is given the row that it replaces, or None.
    :param effects: by table: changes other rows once a row is stored; is given the same.
    """

    def __init__(
        self,
        catalog: Catalog,
        clock: Clock,
        options: Options,
        rules: Mapping[str, Rule] | None = None,
        effects: Mapping[str, Rule] | None = None,
    ) -> None:
        self.lock = threading.RLock()
        self.catalog = catalog
        self.clock = clock
        self.options = options
        self.rules = dict(rules or {})
        self.effects = dict(effects or {})
        self.author = Author()
        self.file_links = FileLinks(clock, options.seed, options.file_seconds)
        self.random = random.Random(f"{options.seed}:writes")  # noqa: S311 - synthetic data
        self._same = {
            catalog.operation(resource.bulk.start).resource: resource.name
            for resource in catalog.resources.values()
            if resource.bulk
        } | SAME_RECORDS
        own = [each for each in catalog.resources.values() if each.name not in self._same and _is_kept(each)]
        ids = (options.practice_group - 1) * PRACTICES_APART + 1
        self.tables = {
            each.name: self._table(each, ids + number * KEYS_APART) for number, each in enumerate(own, start=1)
        }

    def serve_at(self, origin: str) -> None:
        """Let links in records begin with this scheme, host and port."""
        for table in self.tables.values():
            table.serve_at(origin)

    def table(self, resource: str) -> Table:
        """Return the table that a resource reads and writes."""
        return self.tables[self._same.get(resource, resource)]

    def records(self, resource: str, *, verbose: bool = False, deleted: bool = False) -> list[Row]:
        """Return all records of a resource as the API shows them, in the order of their list.

        :param deleted: with the deleted visits, which lists show on demand only.
        """
        table = self.table(resource)
        listing = self.catalog.resource(resource).list_operation
        order = (listing.order if listing else None) or "id"
        with self.lock:
            rows = [row for row in table if deleted or not row.get("deleted_flag")]
            if order != "id":
                rows.sort(key=lambda row: str(row.get(order)))
            return [table.view(row, verbose=verbose) for row in rows]

    def count(self, resource: str) -> int:
        """Return how many records a list of a resource shows when it is not asked for deleted ones."""
        table = self.table(resource)
        if "deleted_flag" not in table.plain:
            return len(table)
        with self.lock:
            return sum(not row.get("deleted_flag") for row in table)

    def get(self, resource: str, identifier: Any, *, verbose: bool = False) -> Row:
        """Return one record as the API shows it.

        :raises KeyError: there is no such record.
        """
        table = self.table(resource)
        with self.lock:
            return table.view(table[self._key(table, identifier)], verbose=verbose)

    def create(self, resource: str, fields: Mapping[str, Any]) -> Row:
        """Store a new record, stamped with the clock where no stamp is given, and return its row."""
        table = self.table(resource)
        row = (blank(table.record) if table.record else {}) | dict(fields)
        with self.lock:
            key = self._number(table, row)
            self._stamp_new(table, row)
            self._store(table, key, row, None)
        return row

    def adopt(self, resource: str, row: Row, fields: Mapping[str, Any]) -> Row:
        """Store one day of a recurring visit, which was only worked out until now, under the id it has."""
        table = self.table(resource)
        with self.lock:
            changed = row | dict(fields) | {"id": row["id"]}
            self._touch(table, changed, given=fields)
            self._store(table, table.take_key(), changed, row)
        return changed

    def change(self, resource: str, identifier: Any, fields: Mapping[str, Any]) -> Row:
        """Change fields of a record, move its change time to now unless one is given, and return the new row."""
        table = self.table(resource)
        with self.lock:
            key = self._key(table, identifier)
            before = table[key]
            row = before | dict(fields)
            if table.key in before:
                # Where the key is a field that may be written, a write must not make the record another one.
                row[table.key] = before[table.key]
            self._touch(table, row, given=fields)
            self._store(table, key, row, before)
        return row

    def remove(self, resource: str, identifier: Any) -> Row:
        """Take a record out of the practice and return it."""
        table = self.table(resource)
        with self.lock:
            row = table.remove(self._key(table, identifier))
            self._log(table, "Delete", row, None)
        return row

    def now(self, table: Table) -> str:
        """Return the wall clock by which a kind of record is stamped."""
        zone = self.options.clocks.get(table.name)
        return self.clock.stamp(zone)

    def refers(self, resource: str, identifier: Any) -> Row | None:
        """Return the row that a reference points at, or None."""
        table = self.tables.get(self._same.get(resource, resource))
        key = table.find(identifier) if table is not None and identifier is not None else None
        return table[key] if table is not None and key is not None else None

    def unsettled_tables(self) -> list[Table]:
        """Return the tables with writes that lists do not show yet."""
        return [table for table in self.tables.values() if table.unsettled]

    def _touch(self, table: Table, row: Row, *, given: Mapping[str, Any]) -> None:
        """Move the change time of a row to now; rows whose change time is their birth keep it."""
        now = self.now(table)
        for name in {table.changed_field, "updated_at"} - set(given):
            if name == HIDDEN_CHANGE or (name in table.plain and name != "created_at"):
                row[name] = now

    def _key(self, table: Table, identifier: Any) -> Key:
        key = table.find(identifier)
        if key is None:
            raise KeyError(f"{table.name} has no record {identifier}")
        return key

    def _number(self, table: Table, row: Row) -> Key:
        if table.key is None:
            return table.take_key()
        value = row.get(table.key)
        if table.key != "id" and value not in (None, ""):
            return int(value) if str(value).isdigit() else str(value)
        key = table.take_key()
        field = table.record.fields.get(table.key) if table.record else None
        row[table.key] = str(key) if field is not None and field.type == "string" else key
        return key

    def _stamp_new(self, table: Table, row: Row) -> None:
        now = self.now(table)
        for name in ("created_at", "updated_at", "timestamp", "received_at", table.changed_field):
            field = table.record.fields.get(name) if table.record else None
            if (name == HIDDEN_CHANGE or field is not None) and not row.get(name):
                row[name] = now
        for name in ("posted_date", "date_signed", "query_date"):
            field = table.record.fields.get(name) if table.record else None
            if field is not None and field.read_only and not row.get(name):
                row[name] = now[:10]

    def _store(self, table: Table, key: Key, row: Row, before: Row | None) -> None:
        rule = self.rules.get(table.name)
        if rule is not None:
            rule(self, row, before)
        table.put(key, row)
        self._log(table, "Update" if before else "Create", row, before)
        effect = self.effects.get(table.name)
        if effect is not None:
            effect(self, row, before)
        if self.options.write_lag > 0:
            # A write whose time has come is shown, or the next one would hide it again.
            table.settle(self.clock.now().timestamp())
            wait = timedelta(seconds=self.random.uniform(0, self.options.write_lag))
            table.delay(key, (self.clock.now() + wait).timestamp(), before)

    def _log(self, table: Table, action: str, row: Row, before: Row | None) -> None:
        if table.name in UNLOGGED or "audit_log" not in self.tables:
            return
        if before is not None and any(row.get(name) and not before.get(name) for name in ("deleted_flag", "archived")):
            action = "Delete"
        self.create("audit_log", entry(self, self.author, table, action, row, before))

    def _table(self, resource: Resource, first_key: int) -> Table:
        record = self.catalog.record(resource.record) if resource.record else None
        key = resource.key[0] if len(resource.key) == 1 else None
        changed = resource.incremental.cursor_field if resource.incremental else None
        if changed is None and record is not None and "updated_at" in record.fields:
            changed = "updated_at"
        table = Table(resource.name, record, key=key, changed_field=changed, first_key=first_key)
        table.spelling = self.options.timestamps
        table.features = frozenset(self.options.features)
        table.links = self.file_links
        table.zone = self.clock.zone if resource.name in IN_UTC else None
        return table


def _is_kept(resource: Resource) -> bool:
    """Tell whether a resource has records of its own, and is not worked out from others."""
    return resource.record is not None and (bool(resource.key) or resource.list_operation is not None)
