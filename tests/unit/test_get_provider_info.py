import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono import __version__
from airflow_provider_drchrono.get_provider_info import OPERATOR_DOMAINS, get_provider_info

ROOT = Path(__file__).resolve().parents[2]
FIELDS: dict[str, Any] = get_provider_info()["connection-types"][0]["conn-fields"]


def test_the_version_is_a_list_as_airflow_wants_it() -> None:
    assert get_provider_info()["versions"] == [__version__]


def test_it_is_what_airflow_reads_and_what_registries_read() -> None:
    import airflow
    import jsonschema

    for name in ("provider_info.schema.json", "provider.yaml.schema.json"):
        schema = json.loads(Path(airflow.__path__[0], name).read_text())
        # Of a provider.yaml, these are what a release of Airflow's own adds.
        schema["required"] = [each for each in schema.get("required", ()) if each in get_provider_info()]
        schema["additionalProperties"] = True
        jsonschema.validate(get_provider_info(), schema)


def test_guides_and_logo_are_where_it_says() -> None:
    (integration,) = get_provider_info()["integrations"]
    for path in (*integration["how-to-guide"], integration["logo"]):
        assert (ROOT / path.removeprefix("/")).is_file(), path


def test_each_call_answers_with_data_of_its_own() -> None:
    get_provider_info()["connection-types"].clear()

    assert get_provider_info()["connection-types"]


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_may_be_left_empty(name: str) -> None:
    assert "null" in FIELDS[name]["schema"]["type"]


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_explains_itself(name: str) -> None:
    assert FIELDS[name]["label"]
    assert FIELDS[name]["description"].endswith(".")


@pytest.mark.parametrize("name", FIELDS)
def test_only_secrets_are_hidden_and_airflow_masks_them_by_their_names(name: str) -> None:
    from airflow.sdk._shared.secrets_masker import should_hide_value_for_key

    hidden = FIELDS[name]["schema"].get("format") == "password"

    assert should_hide_value_for_key(name) == hidden


def test_every_module_of_operators_is_named() -> None:
    from airflow_provider_drchrono import operators

    modules = {path.stem for path in Path(operators.__file__).parent.glob("*.py")} - {"__init__"}
    assert modules | {"assets"} == set(OPERATOR_DOMAINS)
