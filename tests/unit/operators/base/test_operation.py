"""What all operators share: what they cost a DAG that is parsed, and whom they ask."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException

from airflow_provider_drchrono.operators.base import DrChronoOperationOperator, InvalidArgumentError
from airflow_provider_drchrono.operators.clinical_notes import DrChronoGetYellowNotepadOperator
from airflow_provider_drchrono.operators.patients import DrChronoGetPatientOperator, DrChronoListPatientsOperator
from airflow_provider_drchrono.sandbox import Sandbox
from tests.support.examples import operations, operator_class
from tests.support.running import connected_sandbox, execute, unlimited

PARSE_A_DAG = """
import json, sys
from airflow_provider_drchrono.operators.patients import DrChronoCreatePatientOperator, DrChronoListPatientsOperator
from airflow_provider_drchrono.operators.billing import DrChronoCreateLineItemsListOperator
DrChronoCreatePatientOperator(task_id="a", data={"doctor": 1, "gender": "Other"}, if_exists="skip")
DrChronoListPatientsOperator(task_id="b", filters={"doctor": 1}, output_path="s3://a/b.gz")
DrChronoCreateLineItemsListOperator(task_id="c")
print(json.dumps(sorted(name for name in sys.modules if name.startswith("airflow_provider_drchrono."))))
"""


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with connected_sandbox(monkeypatch, patients=1) as running:
        yield running


def test_parsing_a_dag_loads_nothing_that_sends_or_validates() -> None:
    printed = subprocess.run([sys.executable, "-c", PARSE_A_DAG], capture_output=True, text=True, check=True).stdout

    loaded = [name.split(".")[1:] for name in json.loads(printed.splitlines()[-1])]
    # Airflow asks for the provider info whatever a DAG does.
    loaded = [name for name in loaded if name != ["get_provider_info"]]
    assert {name[0] for name in loaded} == {"catalog", "client", "common", "compat", "incremental", "operators"}
    assert {name[1] for name in loaded if name[0] == "incremental" and name[1:]} == {"suspicion"}
    # The table of settings comes with the provider info.
    allowed = {"errors", "filters", "permissions", "settings_table", "values"}
    assert {name[1] for name in loaded if name[0] == "client" and name[1:]} <= allowed


@pytest.mark.parametrize("operation_id", [each.id for each in operations()])
def test_everything_that_is_rendered_is_there_and_rendered_readably(operation_id: str) -> None:
    kind = operator_class(operation_id)

    assert issubclass(kind, DrChronoOperationOperator)
    assert {"drchrono_conn_id", *kind.path_arguments, *kind.query_arguments} <= set(kind.template_fields)
    for name in {"data", "filters"} & set(kind.template_fields):
        assert kind.template_fields_renderers[name] == "json"


def test_the_connection_may_be_a_template_and_has_to_exist(sandbox: Sandbox) -> None:
    operator = DrChronoListPatientsOperator(task_id="list", drchrono_conn_id="drchrono_{{ practice }}")
    operator.render_template_fields({"practice": "default"})
    assert len(execute(operator)) == 1

    operator = DrChronoListPatientsOperator(task_id="list", drchrono_conn_id="nowhere")
    with pytest.raises(AirflowNotFoundException, match="nowhere"):
        execute(operator)


def test_a_connection_that_cannot_work_fails_without_retries(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DRCHRONO_DEFAULT", unlimited(sandbox, timezone="Nowhere/At_all"))

    with pytest.raises(AirflowFailException, match=r"drchrono_default cannot be used.*timezone") as refused:
        execute(DrChronoGetPatientOperator(task_id="get", patient_id=1))
    assert sandbox.client_secret not in str(refused.value)


def test_the_client_is_closed_whatever_happens(sandbox: Sandbox) -> None:
    operator = DrChronoGetPatientOperator(task_id="get", patient_id=4711)
    with pytest.raises(AirflowFailException):
        execute(operator)
    assert operator.hook._client is None


def test_a_query_option_is_named_as_the_dag_names_it(sandbox: Sandbox) -> None:
    with pytest.raises(InvalidArgumentError, match="yellow_notepad_retrieve: template_id is missing"):
        execute(DrChronoGetYellowNotepadOperator(task_id="get", appointment_id=1, template_id=""))
    assert sandbox.journal.calls() == []
