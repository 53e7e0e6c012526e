"""The operators inside real DAG runs: all named actions at once, mapping, rendering, deferral and lost answers."""

import gzip
import json
import logging
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.sandbox import Fault, Sandbox
from tests.support import all_actions
from tests.support.running import unlimited

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("quick_dags")]

RunDag = Callable[..., Any]

IMPORTS = """
from datetime import timedelta
from airflow.sdk import DAG, task
from airflow_provider_drchrono.operators.documents import DrChronoCreateDocumentOperator
from airflow_provider_drchrono.operators.medications import DrChronoCreateMedicationOperator
from airflow_provider_drchrono.operators.patients import (
    DrChronoCreatePatientOperator,
    DrChronoCreatePatientsListOperator,
    DrChronoDeletePatientOperator,
    DrChronoGetPatientOperator,
    DrChronoListPatientsOperator,
    DrChronoUpdatePatientOperator,
)
"""


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox(patients=5, appointments_per_patient=2, quota_per_hour=None, quota_per_second=None) as running:
        monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(running))
        yield running


@pytest.fixture
def run_tasks(run_dag: RunDag) -> RunDag:
    """Runs the given lines as the body of a DAG."""

    def run(lines: str, settings: str = "", **arguments: Any) -> Any:
        body = textwrap.indent(textwrap.dedent(lines), "    ")
        return run_dag(f'{IMPORTS}\nwith DAG("a_dag", schedule=None{settings}) as dag:\n{body}', **arguments)

    return run


def xcom(run: Any, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
    ti = run.get_task_instance(task_id, map_index=map_index)
    return ti.xcom_pull(task_ids=task_id, key=key, map_indexes=map_index)


def test_all_named_actions_run_in_one_dag(sandbox: Sandbox, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_actions, "served", [sandbox])

    run = run_dag("from tests.support.all_actions import build  # Airflow's DAG file\n\ndag = build()\n")

    actions = all_actions.named_actions()
    assert len(actions) == 174
    assert {ti.task_id: str(ti.state) for ti in run.get_task_instances() if ti.state != "success"} == {}
    assert {each.id for each in actions} <= {call.operation_id for call in sandbox.journal.calls()}


def test_created_records_are_mapped_over_and_updated(sandbox: Sandbox, run_tasks: RunDag) -> None:
    doctor = sandbox.practice.records("doctors")[0]["id"]

    run = run_tasks(
        f"""
        @task
        def newcomers():
            return [{{"doctor": {doctor}, "gender": "Female", "last_name": f"Newcomer{{n}}"}} for n in range(3)]

        @task
        def changes(patients):
            return [
                {{"patient_id": each["id"], "data": {{"nick_name": f"nick {{each['id']}}"}}}} for each in patients
            ]

        created = DrChronoCreatePatientOperator.partial(task_id="create").expand(data=newcomers())
        DrChronoUpdatePatientOperator.partial(task_id="update").expand_kwargs(changes(created.output))
        """
    )

    assert run.state == "success"
    made = sandbox.practice.records("patients")[-3:]
    assert {each["last_name"] for each in made} == {"Newcomer0", "Newcomer1", "Newcomer2"}
    assert [each["nick_name"] for each in made] == [f"nick {each['id']}" for each in made]
    updated = [xcom(run, "update", map_index=index) for index in range(3)]
    assert sorted(each["id"] for each in updated) == [each["id"] for each in made]


def test_a_list_from_an_xcom_is_created_by_one_call(sandbox: Sandbox, run_tasks: RunDag) -> None:
    doctor = sandbox.practice.records("doctors")[0]["id"]

    run = run_tasks(
        f"""
        @task
        def newcomers():
            return [{{"doctor": {doctor}, "gender": "Male", "last_name": f"Listed{{n}}"}} for n in range(3)]

        DrChronoCreatePatientOperator(task_id="create", data=newcomers())
        """
    )

    assert run.state == "success"
    assert [each["last_name"] for each in xcom(run, "create")] == ["Listed0", "Listed1", "Listed2"]
    assert len(sandbox.journal.calls(operation_id="patients_create")) == 1


@pytest.mark.parametrize("native", [False, True], ids=["rendered as text", "rendered as objects"])
def test_templates_of_all_depths_are_rendered_and_coerced(sandbox: Sandbox, run_tasks: RunDag, native: bool) -> None:
    patient, doctor = (sandbox.practice.records(name)[0]["id"] for name in ("patients", "doctors"))

    run = run_tasks(
        """
        DrChronoUpdatePatientOperator(
            task_id="nested",
            patient_id="{{ params.patient }}",
            data={
                "doctor": "{{ params.doctor }}",
                "disable_sms_messages": "{{ 1 == 1 }}",
                "primary_insurance": {"insurance_group_number": "{{ params.group }}"},
                "offices": "{{ params.offices }}",
            },
        )
        DrChronoUpdatePatientOperator(
            task_id="whole", patient_id="{{ params.patient }}", data="{{ params.changes }}", read_back=True
        )
        """,
        settings=f", render_template_as_native_obj={native}, params="
        + repr(
            {
                "patient": patient,
                "doctor": doctor,
                "group": "G-7",
                "offices": [sandbox.practice.records("offices")[0]["id"]],
                "changes": {"city": "Springfield"},
            }
        ),
    )

    assert run.state == "success"
    (first, second) = sandbox.journal.calls(operation_id="patients_partial_update")
    whole, nested = sorted((first.body, second.body), key=len)
    assert whole == {"city": "Springfield"}
    assert nested["doctor"] == doctor
    assert nested["disable_sms_messages"] is True
    assert nested["primary_insurance"] == {"insurance_group_number": "G-7"}
    assert nested["offices"] == [sandbox.practice.records("offices")[0]["id"]]
    assert xcom(run, "whole")["city"] == "Springfield"


def test_a_file_travels_from_one_task_to_the_next(sandbox: Sandbox, run_tasks: RunDag, tmp_path: Path) -> None:
    patient, doctor = (sandbox.practice.records(name)[0]["id"] for name in ("patients", "doctors"))
    (tmp_path / "scan.pdf").write_bytes(b"%PDF-1.4 from disk")
    fields = f'"patient": {patient}, "doctor": {doctor}, "date": "2026-02-01", "description": "scan"'

    run = run_tasks(
        f"""
        import base64

        @task
        def scan():
            return {{"name": "scan.pdf", "content": base64.b64encode(b"%PDF-1.4 from a task").decode()}}

        DrChronoCreateDocumentOperator(task_id="from_task", data={{{fields}, "document": scan()}})
        DrChronoCreateDocumentOperator(task_id="literal", data={{{fields}, "document": b"%PDF-1.4 literal"}})
        DrChronoCreateDocumentOperator(task_id="path", data={{{fields}, "document": "{tmp_path}/scan.pdf"}})
        DrChronoCreateDocumentOperator(task_id="url", data={{{fields}, "document": "file://{tmp_path}/scan.pdf"}})
        """
    )

    assert run.state == "success"
    sizes = sorted(call.body["document"]["size"] for call in sandbox.journal.calls(operation_id="documents_create"))
    assert sizes == [16, 18, 18, 20]


@pytest.mark.parametrize("deferrable", [False, True], ids=["on the worker", "in the triggerer"])
def test_a_bulk_list_is_one_step(
    sandbox: Sandbox, run_tasks: RunDag, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    from airflow_provider_drchrono.sandbox import bulk

    smaller = bulk.BulkLists.start

    def start(self: Any, *arguments: Any, **options: Any) -> Any:
        return smaller(self, *arguments, **options | {"largest": 2})

    # Pages of two, so that five patients take three.
    monkeypatch.setattr(bulk.BulkLists, "start", start)

    run = run_tasks(
        f"""
        DrChronoCreatePatientsListOperator(
            task_id="patients", verbose=True, fields=["id", "primary_insurance"], order_by="id",
            deferrable={deferrable}, poll_interval=0.05,
        )
        """
    )

    assert run.state == "success"
    ids = [each["id"] for each in sandbox.practice.records("patients")]
    assert [each["id"] for each in xcom(run, "patients")] == ids
    assert all(set(each) == {"id", "primary_insurance"} for each in xcom(run, "patients"))
    assert len(sandbox.journal.calls(operation_id="patients_list_create")) == 3


def test_a_list_goes_to_a_file(sandbox: Sandbox, run_tasks: RunDag, tmp_path: Path) -> None:
    run = run_tasks(
        f"""
        DrChronoListPatientsOperator(
            task_id="list", output_path="file://{tmp_path}/{{{{ run_id }}}}/patients.ndjson.gz"
        )
        """,
        run_conf={},
    )

    written = xcom(run, "list")
    assert written["count"] == 5
    lines = gzip.decompress(Path(written["path"].removeprefix("file://")).read_bytes()).decode().splitlines()
    assert [json.loads(line) for line in lines] == sandbox.practice.records("patients")


def test_a_retry_finds_what_the_lost_answer_was_about(sandbox: Sandbox, run_tasks: RunDag) -> None:
    doctor, patient = (sandbox.practice.records(name)[0]["id"] for name in ("doctors", "patients"))
    before = len(sandbox.practice.records("medications"))
    sandbox.faults.add(Fault(kind="drop", operation="medications_create", after=True))

    run = run_tasks(
        f"""
        DrChronoCreateMedicationOperator(
            task_id="prescribe",
            data={{"doctor": {doctor}, "patient": {patient}, "name": "Aspirin 100 mg"}},
            match_on=["patient", "name"],
            retries=1,
            retry_delay=timedelta(0),
        )
        """
    )

    assert run.state == "success"
    made = sandbox.practice.records("medications")[before:]
    assert len(made) == 1
    assert xcom(run, "prescribe")["id"] == made[0]["id"]
    assert len(sandbox.journal.calls(operation_id="medications_create")) == 1


def test_a_create_that_cannot_be_looked_for_is_not_repeated(sandbox: Sandbox, run_tasks: RunDag) -> None:
    doctor, patient = (sandbox.practice.records(name)[0]["id"] for name in ("doctors", "patients"))
    sandbox.faults.add(Fault(kind="drop", operation="medications_create", after=True))

    run = run_tasks(
        f"""
        DrChronoCreateMedicationOperator(
            task_id="prescribe",
            data={{"doctor": {doctor}, "patient": {patient}}},
            retries=3,
            retry_delay=timedelta(0),
        )
        """
    )

    assert run.state == "failed"
    assert len(sandbox.journal.calls(operation_id="medications_create")) == 1


def test_the_marker_of_a_sent_create_lives_in_a_variable_where_there_is_no_task_store(
    sandbox: Sandbox, run_tasks: RunDag
) -> None:
    run = run_tasks(
        """
        @task
        def marked(ti=None):
            from airflow.sdk import Variable
            from airflow_provider_drchrono.state.sent_marker import SentMarker

            seen = []
            for change in ("is_set", "set", "is_set", "clear", "is_set"):
                marker = SentMarker({"ti": ti})
                seen.append(getattr(marker, change)())
            return seen

        marked()
        """
    )

    assert xcom(run, "marked") == [False, None, True, None, False]


def test_missing_records_skip_and_their_followers_too(sandbox: Sandbox, run_tasks: RunDag) -> None:
    run = run_tasks(
        """
        read = DrChronoGetPatientOperator(task_id="read", patient_id=4711, on_missing="skip")
        read >> DrChronoDeletePatientOperator(task_id="delete", patient_id=4711)
        DrChronoGetPatientOperator(task_id="none", patient_id=4711, on_missing="none")
        """
    )

    assert {ti.task_id: str(ti.state) for ti in run.get_task_instances()} == {
        "read": "skipped",
        "delete": "skipped",
        "none": "success",
    }
    assert sandbox.journal.calls(operation_id="patients_delete") == []


def test_the_record_is_linked_and_outputs_are_split(sandbox: Sandbox, run_tasks: RunDag) -> None:
    patient = sandbox.practice.records("patients")[0]

    run = run_tasks(
        f"""
        DrChronoGetPatientOperator(task_id="read", patient_id={patient["id"]}, multiple_outputs=True)
        DrChronoGetPatientOperator(task_id="quiet", patient_id={patient["id"]}, do_xcom_push=False)
        """
    )

    assert xcom(run, "read", key="_link_DrChronoPatientLink") == f"{sandbox.url}/patients/{patient['id']}"
    assert xcom(run, "read", key="last_name") == patient["last_name"]
    assert xcom(run, "quiet") is None


def test_nothing_of_a_patient_or_a_secret_is_logged(
    sandbox: Sandbox, run_tasks: RunDag, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    doctor, patient = (sandbox.practice.records(name)[0]["id"] for name in ("doctors", "patients"))
    caplog.set_level(logging.DEBUG)
    data = f'"doctor": {doctor}, "last_name": "Canaryname"'

    run_tasks(
        f"""
        from airflow.sdk import TriggerRule

        steps = [
            DrChronoCreatePatientOperator(task_id="good", data={{{data}, "gender": "Other"}}),
            DrChronoCreatePatientOperator(task_id="enum", data={{{data}, "gender": "canarygender"}}),
            DrChronoCreatePatientOperator(task_id="refused", data={{{data}, "gender": "Other", "offices": [99]}}),
            DrChronoUpdatePatientOperator(task_id="type", patient_id={patient}, data={{"copay": "canarycopay"}}),
            DrChronoUpdatePatientOperator(task_id="id", patient_id="canary/id", data={{"copay": "1"}}),
            DrChronoListPatientsOperator(task_id="list", filters={{"last_name": "Canaryname"}}),
            DrChronoListPatientsOperator(task_id="bound", filters={{"last_name": "Canaryname"}}, max_records=1),
            DrChronoCreatePatientOperator(task_id="twice", data={{{data}, "gender": "Other"}}, if_exists="fail"),
        ]
        for step in steps:
            step.trigger_rule = TriggerRule.ALL_DONE
        """
    )

    printed = capfd.readouterr()
    everything = (caplog.text + printed.out + printed.err).lower()
    assert "patients_create" in everything
    assert "canary" not in everything
    assert sandbox.client_secret not in everything
    assert sandbox.refresh_token not in everything
