"""The table of settings beside everything that spells them: classes, form, reader, remedies and documentation."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from airflow_provider_drchrono.client.settings import REMEDIES, ClientOptions, ClientSettings
from airflow_provider_drchrono.client.settings_table import SETTINGS, Setting, markdown_rows
from airflow_provider_drchrono.get_provider_info import get_provider_info

ROOT = Path(__file__).resolve().parents[3]
NAMES = [each.name for each in SETTINGS]
TYPES = {
    "text": "str",
    "words": "Sequence[str]",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "mapping": "Mapping",
}

each_setting = pytest.mark.parametrize("setting", SETTINGS, ids=lambda each: each.name)


def test_the_classes_have_the_settings_of_the_table_and_no_other() -> None:
    assert list(ClientOptions.__annotations__) == list(ClientSettings.model_fields)
    assert sorted(ClientSettings.model_fields) == sorted(NAMES) == sorted(REMEDIES)


@each_setting
def test_the_classes_agree_with_the_table(setting: Setting) -> None:
    field = ClientSettings.model_fields[setting.name]
    assert field.is_required() == setting.required
    if not setting.required:
        assert (field.default, type(field.default)) == (setting.default, type(setting.default))
    assert (SecretStr.__name__ in str(field.annotation)) == setting.secret
    assert TYPES[setting.kind] in str(ClientOptions.__annotations__[setting.name])


@each_setting
def test_the_docstring_tells_every_setting(setting: Setting) -> None:
    assert re.search(rf":param {setting.name}: \S", inspect.getdoc(ClientSettings) or "")


@each_setting
def test_what_the_form_says_of_an_empty_field_is_the_default(setting: Setting) -> None:
    if told := re.search(r"Empty: (\d+|v\d|https://[a-z.]+[a-z])", setting.description):
        assert told[1] == (f"{setting.default:g}" if isinstance(setting.default, int | float) else setting.default)
    elif isinstance(setting.default, str | float) and setting.place == "extra" and setting.kind != "boolean":
        pytest.fail(f"{setting.name} does not say its default")


def test_the_form_has_the_fields_of_the_extra() -> None:
    form = get_provider_info()["connection-types"][0]
    assert list(form["conn-fields"]) == [each.name for each in SETTINGS if each.place == "extra"]
    assert form["ui-field-behaviour"]["relabeling"] == {
        "login": "Client ID", "password": "Client secret", "host": "Base URL",
    }  # fmt: skip


def test_the_page_has_the_rows_of_the_table() -> None:
    page = (ROOT / "docs/connection.md").read_text()
    rows = page.partition("| field of the form")[2].partition("\n\n")[0].splitlines()[2:]
    assert rows == markdown_rows(), "put these rows into docs/connection.md:\n" + "\n".join(markdown_rows())


def test_the_table_is_read_without_the_libraries_of_the_client() -> None:
    code = (
        "import sys, airflow_provider_drchrono.get_provider_info as info; info.get_provider_info(); "
        "print(sorted({'pydantic', 'httpx', 'authlib', 'airflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
