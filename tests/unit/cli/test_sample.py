"""``airflow drchrono sample``: records of every list, in three formats, without a connection."""

import json
from datetime import datetime, timedelta

import pytest

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.testing import sample_records
from tests.unit.cli.test_index import run

CATALOG = load()
LISTS = [name for name, each in CATALOG.resources.items() if each.list_operation]


@pytest.mark.parametrize("resource", LISTS)
def test_each_list_has_as_many_records_as_are_asked_for(resource: str) -> None:
    records = sample_records(resource, 7, verbose=True)
    record = CATALOG.record(CATALOG.resource(resource).list_operation.response.record)

    assert len(records) == 7
    assert {name for each in records for name in each} <= set(record.fields)


def test_they_are_what_a_sandbox_answers() -> None:
    patient = sample_records("patients", 1)[0]
    with_more = sample_records("patients", 1, verbose=True)[0]
    served = Sandbox(patients=1).practice.records("patients")[0]

    assert {name: type(value) for name, value in patient.items()} == {name: type(each) for name, each in served.items()}
    assert patient.keys() < with_more.keys()


def test_json_is_an_array_and_ndjson_has_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    run("sample", "doctors", "--count", "2")
    array = json.loads(capsys.readouterr().out)
    run("sample", "doctors", "--count", "2", "--format", "ndjson")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert [each["id"] for each in array] == [each["id"] for each in lines]
    assert len(lines) == 2


def test_a_table_has_a_row_for_each_field_that_is_not_empty(capsys: pytest.CaptureFixture[str]) -> None:
    run("sample", "patients", "--format", "table")

    shown = capsys.readouterr().out
    assert "record 3" in shown
    assert "first_name" in shown
    assert "patient_photo_date" not in shown


def test_times_follow_the_zone_of_a_connection(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def newest(*arguments: str) -> datetime:
        run("sample", "audit_log", "--count", "50", *arguments)
        return max(datetime.fromisoformat(each["created_at"]) for each in json.loads(capsys.readouterr().out))

    with Sandbox(patients=1, timezone="Pacific/Auckland") as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_PRACTICE", sandbox.connection_json())

        assert newest("--conn-id", "practice") - newest() > timedelta(hours=12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["patient"], "There is no list 'patient' (did you mean 'patients' or 'patients_summary' or "),
        (["availability"], "There is no list 'availability'"),
        (["patients", "--count", "0"], "count must be a whole number from 1 to 10000, not 0"),
    ],
)
def test_what_cannot_be_sampled_is_said_in_a_line(arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as ended:
        run("sample", *arguments)

    assert str(ended.value).startswith(message)
    assert "\n" not in str(ended.value)
