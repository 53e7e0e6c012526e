"""What Airflow, databases, hosts and Redis keep for this provider is on one page; a renamed value is a lost value."""

import importlib
import json
import pkgutil
import re
from dataclasses import fields
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from airflow_provider_drchrono import operators, sensors, transfers
from airflow_provider_drchrono.assets import uri
from airflow_provider_drchrono.client.quota import stores
from airflow_provider_drchrono.hooks.connection import CONNECTION_TYPE, EXTRA_FIELDS
from airflow_provider_drchrono.hooks.drchrono import DrChronoHook
from airflow_provider_drchrono.incremental import cursor
from airflow_provider_drchrono.incremental.events import deliveries, event
from airflow_provider_drchrono.operators.base.links import DrChronoPatientLink
from airflow_provider_drchrono.state import lease, names, sent_marker, token_store
from airflow_provider_drchrono.transfers import export_folder, export_manifest
from airflow_provider_drchrono.triggers import bulk, incremental
from airflow_provider_drchrono.warehouses import base, sql, table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "stored-names.md"

REMEDY = (
    "a stored name has changed, and what is kept under the old one is not found any more. If it has to be, write a "
    "line in CHANGELOG.md and update docs/reference/stored-names.md"
)

CLASS_PATH = re.compile(r"airflow_provider_drchrono\.(operators|sensors|transfers)\.[a-z_.]+\.DrChrono[A-Za-z0-9]+")


def variables() -> list[str]:
    from airflow_provider_drchrono.plugin import pending

    ti = SimpleNamespace(dag_id="a_dag", run_id="a_run", task_id="a_task", map_index=-1)
    task, mapped = cursor.CursorName("a_dag", "a_task"), cursor.CursorName("a_dag", "a_task", 3)
    asset = cursor.CursorName.of_asset("an_asset")
    versions = {
        names.token_variable("a-client-id"): token_store.VERSION,
        names.token_lease("a-client-id"): lease.VERSION,
        names.variable_of(task): cursor.VERSION,
        names.variable_of(mapped): cursor.VERSION,
        names.variable_of(asset): cursor.VERSION,
        names.lease_of(names.CURSOR, *names.cursor_parts(task)): lease.VERSION,
        names.variable_of(task, names.DELIVERIES): deliveries.VERSION,
        names.lease_of(names.DELIVERIES, *names.cursor_parts(task)): lease.VERSION,
        names.sent_marker_variable(ti): sent_marker.VERSION,
        names.authorization_variable("a-state"): pending.VERSION,
    }
    return [f"{name} {version}" for name, version in versions.items()]


def outside_of_variables(folder: Path) -> list[str]:
    store = stores.FileQuotaStore(folder, names.quota_key("a-client-id"))
    redis = stores.RedisQuotaStore("redis://127.0.0.1", names.quota_key("a-client-id"))
    files = sorted(path.name for path in folder.iterdir())
    assert store.path.name in files
    return [f"{names.SENT_MARKER_KEY} {sent_marker.VERSION}", redis._key, *files]


def triggers() -> list[str]:
    common: dict[str, Any] = {"drchrono_conn_id": "drchrono_default", "resource": "patients"}
    waiting = incremental.DrChronoIncrementalTrigger(**common)
    watching = incremental.DrChronoIncrementalTrigger(**common, watch="an_asset")
    pages = bulk.DrChronoBulkListTrigger(**common, uuids=["a"], ends=1.0, poll_interval=1.0)
    found = []
    for trigger in (waiting, watching, pages):
        path, arguments = trigger.serialize()
        found += [path, *arguments]
    return found


def events() -> list[str]:
    change = event.ChangeEvent("an_asset", "patients", None, "2026-01-01T00:00:00+00:00", 0, ())
    poll, pages = incremental.PollEvent("changes", "patients"), bulk.BulkEvent("complete", ("a",))
    found = []
    for each in (change, poll, pages):
        payload = each.payload()
        found += [f"{type(each).__name__} {payload.pop('version')}", *sorted(payload)]
        assert set(payload) == {field.name for field in fields(each)}
    return found


def warehouse() -> list[str]:
    return [
        base.STATE_TABLE,
        *(column.name for column in base.STATE_COLUMNS),
        *(column.name for column in (*table.METADATA, *table.OWNERSHIP, *table.DELETION)),
        table.NUMBER,
        table.VALID_FROM,
        table.VALID_TO,
        sql.STAGE,
        sql.SEQUENCE,
    ]


def exports() -> list[str]:
    return [export_folder.MANIFESTS, *(each.name for each in fields(export_manifest.Manifest))]


def connections_and_assets() -> list[str]:
    return [
        CONNECTION_TYPE,
        *EXTRA_FIELDS,
        uri.SHAPE,
        "watch",
        *uri.WATCH_OPTIONS,
        *sorted(uri.TABLE_KEYS),
        uri.EXPORT_KEY,
    ]


def classes_of(package: ModuleType) -> list[type]:
    found = []
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if ".base" in info.name or ".types" in info.name:
            continue
        module = importlib.import_module(info.name)
        found += [
            each
            for each in vars(module).values()
            if isinstance(each, type) and each.__module__ == module.__name__ and hasattr(each, "template_fields")
        ]
    return found


def modules() -> list[str]:
    classes = [each for package in (operators, sensors, transfers) for each in classes_of(package)]
    wrong = [each for each in classes if not CLASS_PATH.fullmatch(f"{each.__module__}.{each.__qualname__}")]
    assert wrong == []
    others = [f"{each.__module__}.{each.__qualname__}" for each in (DrChronoHook, DrChronoPatientLink)]
    return sorted({each.__module__ for each in classes}) + others


def on_page(section: str) -> list[str]:
    """Return the first cells of a section's tables, without their backticks."""
    text = PAGE.read_text(encoding="utf-8")
    _, found, rest = text.partition(f"\n## {section}\n")
    assert found, f"{PAGE} has no section {section!r}"
    rows = re.findall(r"^\| `([^`]+)`(?: \\\| `([^`]+)`)? \|", rest.partition("\n## ")[0], flags=re.MULTILINE)
    return [" ".join(filter(None, row)) for row in rows]


@pytest.mark.parametrize(
    ("section", "read"),
    [
        pytest.param("Airflow variables", variables, id="variables"),
        pytest.param("Triggers", triggers, id="triggers"),
        pytest.param("Events", events, id="events"),
        pytest.param("Warehouse", warehouse, id="warehouse"),
        pytest.param("Exports", exports, id="exports"),
        pytest.param("Connections and assets", connections_and_assets, id="connections"),
        pytest.param("Class paths", modules, id="classes"),
    ],
)
def test_the_page_lists_what_the_code_stores(section: str, read: Any) -> None:
    assert read() == on_page(section), REMEDY


def test_the_page_lists_what_is_stored_outside_of_variables(tmp_path: Path) -> None:
    assert outside_of_variables(tmp_path) == on_page("Task state store, files and Redis"), REMEDY


def of_another_release(payload: dict[str, Any]) -> dict[str, Any]:
    assert payload["version"] == 1
    return payload | {"version": 2}


@pytest.mark.parametrize(
    ("read", "payload"),
    [
        pytest.param(
            event.ChangeEvent.read,
            event.ChangeEvent("an_asset", "patients", None, "2026-01-01T00:00:00+00:00", 0, ()).payload(),
            id="asset event",
        ),
        pytest.param(incremental.PollEvent.read, incremental.PollEvent("changes", "patients").payload(), id="poll"),
        pytest.param(bulk.BulkEvent.read, bulk.BulkEvent("complete", ("a",)).payload(), id="bulk"),
        pytest.param(
            lambda state: cursor.read_cursor(json.dumps(state)),
            json.loads(cursor.Cursor("patients").dump()),
            id="cursor",
        ),
        pytest.param(
            lambda state: deliveries.read_deliveries(json.dumps(state)),
            json.loads(deliveries.dump_deliveries({})),
            id="deliveries",
        ),
    ],
)
def test_a_value_of_another_release_is_refused_and_says_so(read: Any, payload: dict[str, Any]) -> None:
    read(payload)

    with pytest.raises((ValueError, cursor.CursorError), match=r"version '?2'?, and this release\s+reads version 1"):
        read(of_another_release(payload))


def test_airflow_masks_the_variables_with_tokens_and_shows_who_holds_a_lease() -> None:
    from airflow.sdk._shared.secrets_masker import should_hide_value_for_key
    from airflow.sdk.log import mask_secret  # noqa: F401 - loads the masker as tasks do

    assert should_hide_value_for_key(names.token_variable("a-client-id"))
    assert not should_hide_value_for_key(names.token_lease("a-client-id"))
    assert not should_hide_value_for_key(names.variable_of(cursor.CursorName("a_dag", "a_task")))
