"""``airflow drchrono operations`` and ``triggers``, called as Airflow's own parser calls them."""

import argparse
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from airflow_provider_drchrono import catalog
from airflow_provider_drchrono.cli import index
from airflow_provider_drchrono.cli.definition import get_drchrono_cli_commands

ROOT = Path(__file__).resolve().parents[3]


def run(*words: str) -> None:
    """Run ``airflow drchrono`` with these words, through the commands that Airflow is given."""
    parser = argparse.ArgumentParser(prog="airflow")
    (group,) = get_drchrono_cli_commands()
    commands = parser.add_subparsers().add_parser(group.name).add_subparsers(required=True)
    for command in group.subcommands:
        sub = commands.add_parser(command.name, help=command.help)
        for arg in command.args:
            arg.add_to_parser(sub)
        sub.set_defaults(func=command.func)
    args = parser.parse_args(["drchrono", *words])
    args.func(args)


def test_an_underscore_is_a_space_to_a_search() -> None:
    rows = [{"action": "Create Patient"}, {"action": "Create Task"}]

    assert index.selected(rows, None, "create_patient") == index.selected(rows, None, "patient create") == rows[:1]
    assert index.selected(rows, None, None) == index.selected(rows, None, "_") == rows


def test_json_lists_every_operation_with_its_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    run("operations", "-o", "json")

    rows = json.loads(capsys.readouterr().out)
    assert {each["operation_id"] for each in rows} == set(catalog.load().operations)
    assert set(rows[0]) == {"operation_id", "method", "path", "operator", "action", "category", "parameters"}
    (patient,) = [each for each in rows if each["operation_id"] == "patients_read"]
    assert patient["parameters"][0] == {"argument": "patient_id", "name": "id", "place": "path", "required": True}


@pytest.mark.parametrize("output", ["table", "plain"])
def test_people_see_one_line_an_operation(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    run("operations", "-o", output, "--search", "onpatient")

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if "OnPatient" in line] == [
        "patients_onpatient_access_read",
        "patients_onpatient_access_create",
        "patients_onpatient_access_delete",
    ]


def test_plain_names_can_be_imported_as_they_stand(capsys: pytest.CaptureFixture[str]) -> None:
    run("operations", "-o", "plain", "--search", "onpatient")

    paths = re.findall(rf"{index.PACKAGE}\.operators\.\S+", capsys.readouterr().out)
    assert len(paths) == 3
    for path in paths:
        module, _, name = path.rpartition(".")
        assert getattr(import_module(module), name).operation_id.startswith("patients_onpatient_access")


@pytest.mark.parametrize("category", ["Lab & Diagnostics", "lab & diagnostics", "diagnos"])
def test_a_category_by_name_or_a_part_of_it(category: str, capsys: pytest.CaptureFixture[str]) -> None:
    run("operations", "-o", "json", "--category", category)

    rows = json.loads(capsys.readouterr().out)
    assert {each["category"] for each in rows} == {"Lab & Diagnostics"}


def test_a_name_that_is_a_category_is_not_taken_as_a_part_of_others() -> None:
    rows = [{"category": "Task"}, {"category": "Task templates"}]

    assert index.selected(rows, "task", None) == [{"category": "Task"}]


def test_an_unknown_category_is_refused_with_those_there_are() -> None:
    with pytest.raises(SystemExit, match=r"There is no category 'dentistry'.*Clinical Notes"):
        run("operations", "--category", "dentistry")


def test_all_words_of_a_search_must_occur(capsys: pytest.CaptureFixture[str]) -> None:
    run("operations", "-o", "json", "--search", "PATCH pharmacy")

    assert [each["operation_id"] for each in json.loads(capsys.readouterr().out)] == [
        "medications_append_to_pharmacy_note"
    ]


def test_a_search_that_finds_nothing_prints_an_empty_list(capsys: pytest.CaptureFixture[str]) -> None:
    run("operations", "-o", "json", "--search", "no such words")

    assert json.loads(capsys.readouterr().out) == []


def test_triggers_are_those_of_the_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    run("triggers", "-o", "json")

    rows = json.loads(capsys.readouterr().out)
    assert [(each["title"], each["resource"]) for each in rows] == [
        (each.title, each.resource) for each in catalog.load().triggers
    ]
    assert set(rows[0]) == {"title", "category", "sensor", "trigger", "resource"}


def test_triggers_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    run("triggers", "--category", "system")

    assert "New or Updated Audit Logs" in capsys.readouterr().out


@pytest.fixture
def package_of_sensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    package = tmp_path / "somebodys_sensors"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "base.py").write_text("class BaseSensor: ...\n")
    (package / "patients.py").write_text(
        "from somebodys_sensors.base import BaseSensor\nclass PatientSensor(BaseSensor): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return package.name


def test_a_class_is_found_where_it_is_defined(package_of_sensors: str) -> None:
    assert index.class_path(package_of_sensors, "PatientSensor") == "somebodys_sensors.patients.PatientSensor"
    assert index.class_path(package_of_sensors, "BaseSensor") == "somebodys_sensors.base.BaseSensor"


def test_a_class_that_nobody_defines_is_none(package_of_sensors: str) -> None:
    assert index.class_path(package_of_sensors, "TaskSensor") is None
    assert index.class_path("no_such_package", "TaskSensor") is None


def test_defining_the_commands_loads_nothing_of_the_provider() -> None:
    script = (
        "import sys\nfrom airflow_provider_drchrono.cli.definition import get_drchrono_cli_commands\n"
        "get_drchrono_cli_commands()\n"
        "print(*(name for name in sys.modules if name.startswith('airflow_provider_drchrono')))"
    )
    listing = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)

    loaded = set(listing.stdout.splitlines()[-1].split())
    # Airflow itself asks for the provider info while it starts, which describes the form of the connection.
    of_provider_info = {
        "airflow_provider_drchrono.get_provider_info",
        "airflow_provider_drchrono.client",
        "airflow_provider_drchrono.client.settings_table",
    }
    assert loaded - of_provider_info == {
        "airflow_provider_drchrono",
        "airflow_provider_drchrono.cli",
        "airflow_provider_drchrono.cli.definition",
    }
