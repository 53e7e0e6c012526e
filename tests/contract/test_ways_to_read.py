"""One change of a list arrives in whichever way it is read: list operator, sensor, watched asset and warehouse sync."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_drchrono.assets import drchrono_asset
from airflow_provider_drchrono.catalog import Field, Resource, load
from airflow_provider_drchrono.cli import index
from airflow_provider_drchrono.incremental.canonical import canonical
from airflow_provider_drchrono.incremental.cursor import MemoryCursorStore
from airflow_provider_drchrono.operators.assets import DrChronoChangedRecordsOperator
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.sensors.base import IncrementalSensor
from airflow_provider_drchrono.transfers.drchrono_to_warehouse import DrChronoToWarehouseOperator
from airflow_provider_drchrono.warehouses.table import DIGEST, EXTRA, digest
from tests.support.events import make_event
from tests.support.examples import operator_class
from tests.support.running import connected_sandbox, execute

LISTS = [resource for resource in load().resources.values() if resource.list_operation]
SENSORS = {row["resource"]: row["sensor"] for row in index.triggers()}
NOBODY = 99_999_999
STAMPS = ("created_at", "updated_at", "timestamp", "received_at")
REQUIRED = {"payer_type": "emdeon"}
COPIED = {"line_items": ("patient", "doctor")}
"""Fields that a record takes over from its appointment, so that no test can choose them."""

Record = dict[str, Any]


@dataclass
class World:
    """A practice whose clock stands still, and what is remembered of it."""

    sandbox: Sandbox
    warehouse: Path
    cursors: MemoryCursorStore = field(default_factory=MemoryCursorStore)
    deliveries: MemoryCursorStore = field(default_factory=MemoryCursorStore)

    def now(self) -> datetime:
        return self.sandbox.clock.now()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("ways")
    options = {"patients": 3, "appointments_per_patient": 2, "token_lifetime": 10**8}
    with (
        pytest.MonkeyPatch.context() as patch,
        connected_sandbox(patch, start=datetime(2026, 1, 15, 12, tzinfo=UTC), frozen=True, **options) as sandbox,
    ):
        world = World(sandbox, folder / "warehouse.db")
        connection = {"conn_type": "sqlite", "host": str(world.warehouse)}
        patch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
        patch.setenv("AIRFLOW__DRCHRONO__STAGING_PATH", str(folder / "staging"))
        patch.setattr("airflow_provider_drchrono.sensors.base.incremental.utcnow", world.now)
        store = "airflow_provider_drchrono.state.cursor_store"
        patch.setattr(f"{store}.VariableCursorStore", lambda: world.cursors)
        patch.setattr(f"{store}.VariableDeliveriesStore", lambda: world.deliveries)
        yield world


class Change:
    """A record that is created and one that is changed, beside others that the filters leave out."""

    def __init__(self, world: World, resource: Resource) -> None:
        self.practice, self.resource = world.sandbox.practice, resource
        rows = [row for row in self.practice.table(resource.name) if not row.get("deleted_flag")]
        found = ((name, row) for name in filters_of(resource) for row in rows if row.get(name))
        self.filter, self.model = next(found, (None, rows[0]))
        self.number = 0
        self.old = self._create()
        self._create(another=True)

    @property
    def filters(self) -> Record:
        operation = self.resource.list_operation
        assert operation is not None
        required = {each.name: REQUIRED[each.name] for each in operation.parameters if each.required}
        return required | ({self.filter: self.model[self.filter]} if self.filter else {})

    def happen(self) -> int:
        """Change and create; return how many records the filters select of it."""
        self._create()
        self._create(another=True)
        name = changing_field_of(self.resource, self.filter)
        if name is None:
            return 1
        value = self.practice.get(self.resource.name, self.old)[name]
        new = (not value) if isinstance(value, bool) or name.startswith("is_") else "changed"
        self.practice.change(self.resource.name, self.old, {name: new})
        return 2

    def _create(self, *, another: bool = False) -> Any:
        self.number += 1
        key = self.resource.key[0] if self.resource.key else None
        row = {name: value for name, value in self.model.items() if name not in (key, *STAMPS) and name[0] != "_"}
        if key not in (None, "id"):
            known = self.practice.table(self.resource.name).keys[0]
            row[key] = NOBODY + self.number if isinstance(known, int) else f"NEW{self.number}"
        if another and self.filter:
            row[self.filter] = NOBODY
        elif another:
            return None
        if "_payer_type" in self.model:
            row["_payer_type"] = self.model["_payer_type"]
        made = self.practice.create(self.resource.name, row)
        return made[key] if key else None


def filters_of(resource: Resource) -> Iterator[str]:
    """Yield the filters by an id that each record shows."""
    record, operation = load().record_of(resource.name), resource.list_operation
    assert operation is not None
    for parameter in operation.parameters:
        known = record.fields.get(parameter.name) if record else None
        plain = known and known.type == parameter.type == "integer" and not known.verbose
        if (
            parameter.role == "filter"
            and plain
            and parameter.name not in (*resource.key, *COPIED.get(resource.name, ()))
        ):
            yield parameter.name


def changing_field_of(resource: Resource, chosen: str | None) -> str | None:
    """Return a field that may hold any text, or else a switch; None where records have neither."""
    record = load().record_of(resource.name)
    fields = list(record.fields.values()) if record and resource.key else []
    taken = (*resource.key, *STAMPS, "code", "deleted_flag", chosen)

    def is_free(each: Field) -> bool:
        return not (each.format or each.enum or each.verbose or each.refers_to or each.name in taken)

    texts = [each.name for each in fields if each.type == "string" and is_free(each)]
    switches = [each.name for each in fields if each.type == "boolean" and is_free(each)]
    return next(iter(texts + switches), None)


def context(resource: Resource, run_id: str, *events: Any) -> dict[str, Any]:
    ti = SimpleNamespace(dag_id="a_dag", task_id=resource.name, run_id=run_id, map_index=-1, try_number=1)
    found = [SimpleNamespace(extra={"payload": each.payload()}) for each in events]
    return {
        "ti": ti,
        "dag_run": SimpleNamespace(run_type="asset_triggered"),
        "triggering_asset_events": SimpleNamespace(get=lambda *_: found, values=lambda: [found]),
    }


def by_list(resource: Resource, filters: Record) -> list[Record]:
    assert resource.list_operation is not None
    result = execute(operator_class(resource.list_operation.id)(task_id="a_task", filters=filters))
    assert isinstance(result, list)
    return result


def by_sensor(resource: Resource, filters: Record, run_id: str) -> list[Record]:
    module, _, name = SENSORS[resource.name].rpartition(".")
    kind: type[IncrementalSensor] = getattr(import_module(module), name)
    found = kind(task_id=resource.name, filters=filters).poke(context(resource, run_id))  # type: ignore[arg-type]
    return found.xcom_value if found else []  # type: ignore[union-attr, return-value]


def by_asset(world: World, resource: Resource, filters: Record, run_id: str) -> list[Record]:
    asset = drchrono_asset(resource.name, filters=filters)  # type: ignore[call-overload]
    event = make_event(world.cursors, asset, world.now)
    if event is None:
        return []
    reader = DrChronoChangedRecordsOperator(task_id="a_task", asset=asset)
    records: list[Record] = execute(reader, context(resource, run_id, event))
    key = resource.key[0] if resource.key else None
    assert event.count == len(records)
    assert sorted(map(str, event.ids)) == sorted(str(each[key]) for each in records if key)
    return records


def by_sync(world: World, resource: Resource, filters: Record, run_id: str) -> dict[str, Any]:
    operator = DrChronoToWarehouseOperator(
        task_id="a_task", resource=resource.name, warehouse_conn_id="warehouse", filters=filters
    )
    result: dict[str, Any] = execute(operator, context(resource, run_id))
    return result


def assert_in_table(world: World, resource: Resource, records: list[Record]) -> None:
    """Find each record in the table, whole and in this version."""
    key = resource.key[0] if resource.key else None
    with closing(sqlite3.connect(world.warehouse)) as connection:
        if key is None:
            digests = {each for (each,) in connection.execute(f'SELECT "{DIGEST}" FROM "{resource.name}"')}
            assert {digest(canonical(record)) for record in records} <= digests
            return
        rows = connection.execute(f'SELECT "{key}", "{DIGEST}", "{EXTRA}" FROM "{resource.name}"').fetchall()
    stored = {str(identifier): (kept, json.loads(extra or "{}")) for identifier, kept, extra in rows}
    for record in records:
        kept, beside = stored[str(record[key])]
        assert kept == digest(canonical(record), beside)


def lines(records: list[Record]) -> list[bytes]:
    return sorted(map(canonical, records))


@pytest.mark.parametrize("resource", LISTS, ids=lambda resource: resource.name)
def test_the_same_change_arrives_in_each_way(world: World, resource: Resource) -> None:
    assert resource.list_operation is not None
    world.sandbox.clock.advance(86_400 * 2)
    begun = world.sandbox.clock.local()
    change = Change(world, resource)
    filters = change.filters
    is_synced, is_incremental = resource.record is not None, resource.incremental is not None
    world.sandbox.clock.advance(600)
    if is_synced:
        by_sync(world, resource, filters, "first")
    if is_incremental:
        assert by_asset(world, resource, filters, "first") == []
    if resource.name in SENSORS:
        assert by_sensor(resource, filters, "first") == []
    world.sandbox.clock.advance(3600)

    # Some lists show one record, which is there already.
    expected = change.happen() if resource.list_operation.response.shape == "page" else 0
    world.sandbox.clock.advance(60)

    since = {resource.incremental.filter: begun.isoformat()} if resource.incremental else {}
    listed = by_list(resource, filters | since)
    if is_synced:
        result = by_sync(world, resource, filters, "second")
        changed = (min(expected, 1), max(expected - 1, 0))
        assert (result["rows_new"], result["rows_changed"], result["records_set_aside"]) == (*changed, 0)
        assert_in_table(world, resource, listed)
    if not is_incremental:
        return
    assert len(listed) == 2
    new = listed if expected == 2 else listed[-1:]
    arrived = by_asset(world, resource, filters, "second")
    assert lines(arrived) == lines(new)
    if resource.name in SENSORS:
        assert lines(by_sensor(resource, filters, "second")) == lines(new)
