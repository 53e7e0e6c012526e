"""What Airflow itself makes of the provider's metadata."""

import json
import logging
from importlib import import_module
from importlib.resources import files
from typing import Any

import airflow
import jsonschema
import pytest
from airflow.providers_manager import ProviderInfo, ProvidersManager

from airflow_provider_drchrono.get_provider_info import get_provider_info
from airflow_provider_drchrono.hooks.connection import EXTRA_FIELDS

pytestmark = pytest.mark.airflow

PACKAGE = "airflow-provider-drchrono"
# Read since Airflow 3.3; before, the name is taken from the hook's class.
READ_LATER = {"/connection-types/hook-name"}
# Handed on to the browser as they are.
OPAQUE = ("/schema/", "/relabeling/", "/placeholders/")


class WatchedDict(dict[str, Any]):
    """Notes which of its keys are read, and those of the dictionaries in it."""

    def __init__(self, values: dict[str, Any], path: str, read: set[str]) -> None:
        super().__init__(values)
        self._path = path
        self._read = read

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        self._read.add(f"{self._path}/{key}")
        return watch(value, f"{self._path}/{key}", self._read)

    def __contains__(self, key: object) -> bool:
        self._read.add(f"{self._path}/{key}")
        return super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default

    def items(self) -> Any:
        return [(key, self[key]) for key in self]


def watch(value: Any, path: str, read: set[str]) -> Any:
    if isinstance(value, list):
        return [watch(each, path, read) for each in value]
    return WatchedDict(value, path, read) if isinstance(value, dict) else value


def keys_in(value: Any, path: str = "") -> set[str]:
    if isinstance(value, list):
        return {key for each in value for key in keys_in(each, path)}
    if not isinstance(value, dict):
        return set()
    below = {key for name, each in value.items() for key in keys_in(each, f"{path}/{name}")}
    return {f"{path}/{name}" for name in value} | below


@pytest.fixture
def providers() -> ProvidersManager:
    manager = ProvidersManager()
    manager.initialize_providers_hooks()
    return manager


def test_airflow_finds_the_provider(providers: ProvidersManager) -> None:
    assert providers.providers[PACKAGE].version == get_provider_info()["versions"][0]


@pytest.mark.filterwarnings("ignore:ProvidersManager.hooks is deprecated")
@pytest.mark.parametrize("connection_class", ["airflow.models.connection", "airflow.sdk.definitions.connection"])
def test_a_connection_of_the_type_makes_the_hook(connection_class: str, caplog: pytest.LogCaptureFixture) -> None:
    connection = import_module(connection_class).Connection(conn_id="practice", conn_type="drchrono")

    with caplog.at_level(logging.WARNING):
        hook = connection.get_hook()

    assert type(hook).__module__ == "airflow_provider_drchrono.hooks.drchrono"
    assert hook.drchrono_conn_id == "practice"
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_the_metadata_follows_airflows_schema() -> None:
    schema = json.loads((files(airflow) / "provider_info.schema.json").read_text())

    jsonschema.validate(get_provider_info(), schema)
    # Airflow takes the versions from the provider's metadata without naming them in its schema.
    assert set(get_provider_info()) - {"versions"} <= set(schema["properties"])


def test_every_module_that_the_metadata_names_can_be_imported() -> None:
    info = get_provider_info()
    named = [name for kind in info.values() if isinstance(kind, list) for entry in kind for name in modules_in(entry)]

    assert named
    for name in named:
        import_module(name)


def modules_in(entry: Any) -> list[str]:
    if not isinstance(entry, dict):
        return []
    return [*entry.get("python-modules", ()), *filter(None, [entry.get("python-module")])]


def test_the_integrations_that_the_metadata_names_exist(providers: ProvidersManager) -> None:
    info = get_provider_info()
    existing = {
        integration["integration-name"]
        for provider in providers.providers.values()
        for integration in provider.data.get("integrations", ())
    }
    named = {transfer[key] for transfer in info["transfers"] for key in transfer if key.endswith("integration-name")}

    assert named <= existing


def test_airflow_reads_every_key_of_the_connection_form(
    providers: ProvidersManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    types = {"connection-types": get_provider_info()["connection-types"]}
    read: set[str] = set()
    watched = ProviderInfo(version="0", data=watch(types, "", read))
    monkeypatch.setattr(providers, "_provider_dict", {PACKAGE: watched})
    for name in ("_connection_form_widgets", "_field_behaviours"):
        monkeypatch.setattr(providers, name, {})

    providers._load_ui_metadata()

    ignored = {key for key in keys_in(types) - read if not any(part in key for part in OPAQUE)}
    assert ignored <= READ_LATER


def test_the_form_has_the_fields_that_the_hook_reads(providers: ProvidersManager) -> None:
    prefix = "extra__drchrono__"
    shown = {
        key.removeprefix(prefix): widget.field
        for key, widget in providers.connection_form_widgets.items()
        if key.startswith(prefix)
    }
    declared = get_provider_info()["connection-types"][0]["conn-fields"]

    assert set(shown) == set(EXTRA_FIELDS)
    for name, field in shown.items():
        assert field["schema"]["title"] == declared[name]["label"]
        assert field["description"] == declared[name]["description"]


def test_the_standard_fields_are_named_for_drchrono(providers: ProvidersManager) -> None:
    behaviour = providers.field_behaviours["drchrono"]

    assert behaviour["relabeling"] == {
        "login": "Client ID",
        "password": "Client secret",
        "host": "Base URL",
    }
    # The connection test of Airflow 3.3.2 needs a port, see docs/connection.md.
    assert behaviour["hidden_fields"] == ["schema"]
    assert behaviour["placeholders"]["port"] == "443"
