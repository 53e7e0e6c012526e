"""What an operator takes that its own constructor does not state: the options of its kind, and Airflow's."""

import datetime
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.definitions.mappedoperator import MappedOperator

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.common.colours import COLOURS
from airflow_provider_drchrono.operators.base import GetOperator, InvalidArgumentError
from airflow_provider_drchrono.operators.patients import (
    DrChronoCreatePatientOperator,
    DrChronoGetPatientOperator,
    DrChronoListPatientsOperator,
    DrChronoUpdatePatientOperator,
)
from airflow_provider_drchrono.operators.tasks import DrChronoGetTaskOperator
from airflow_provider_drchrono.sensors.patients import DrChronoNewOrUpdatedPatientsSensor

UNKNOWN = r"verbos"


def test_options_reach_the_base_class_and_airflow() -> None:
    operator = DrChronoGetPatientOperator(
        task_id="get", patient_id=1, verbose=True, fields=["id"], on_missing="skip", retries=3, drchrono_conn_id="north"
    )

    assert (operator.patient_id, operator.verbose, operator.fields, operator.on_missing) == (1, True, ["id"], "skip")
    assert (operator.retries, operator.drchrono_conn_id) == (3, "north")


def test_default_args_give_options_to_those_that_take_them() -> None:
    defaults = {
        "drchrono_conn_id": "north",
        "on_missing": "skip",
        "max_records": 7,
        "retry_delay": datetime.timedelta(seconds=9),
        "patient_id": 42,
    }
    with DAG("a_dag", schedule=None, default_args=defaults):
        get: Any = DrChronoGetPatientOperator
        got = get(task_id="get")
        listed = DrChronoListPatientsOperator(task_id="list", max_records=8)
        other = DrChronoGetTaskOperator(task_id="other", drchrono_task_id=1)

    assert (got.patient_id, got.on_missing, got.drchrono_conn_id) == (42, "skip", "north")
    assert (listed.max_records, listed.drchrono_conn_id) == (8, "north")
    assert other.drchrono_task_id == 1
    assert other.retry_delay == datetime.timedelta(seconds=9)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (DrChronoGetPatientOperator, {"patient_id": 1}),
        (DrChronoListPatientsOperator, {}),
        (DrChronoNewOrUpdatedPatientsSensor, {}),
    ],
)
def test_an_unknown_argument_is_refused_by_name(kind: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=UNKNOWN):
        kind(task_id="a_task", verbos=True, **arguments)
    with pytest.raises(TypeError, match=UNKNOWN):
        kind.partial(task_id="a_task", verbos=True)


def test_a_missing_argument_is_refused_by_name() -> None:
    get: Any = DrChronoGetPatientOperator
    with pytest.raises(TypeError, match="patient_id"):
        get(task_id="get")


def test_a_mapped_operator_takes_options_of_its_base() -> None:
    with DAG("a_dag", schedule=None):
        mapped = DrChronoUpdatePatientOperator.partial(
            task_id="mapped", data={"city": "Reno"}, read_back=True, drchrono_conn_id="north", retries=2
        ).expand(patient_id=[1, 2])

    assert isinstance(mapped, MappedOperator)
    assert mapped.partial_kwargs["read_back"] is True
    assert tuple(mapped.template_fields) == ("patient_id", "data", "extra_fields", "drchrono_conn_id")
    assert mapped.ui_color == COLOURS["patients"]
    copy = mapped.unmap({"patient_id": 1, "data": {"city": "Reno"}, "read_back": True, "drchrono_conn_id": "north"})
    assert copy.patient_id == 1


def test_the_facts_of_the_body_come_from_the_catalogue() -> None:
    with pytest.raises(InvalidArgumentError, match="has no field 'frist_name'"):
        DrChronoCreatePatientOperator(
            task_id="create",
            data={"doctor": 1, "gender": "Male", "frist_name": "A"},  # type: ignore[arg-type]
        )


def test_what_an_operator_states_itself_is_rendered_and_nothing_that_it_lacks() -> None:
    assert tuple(DrChronoGetPatientOperator.template_fields) == ("patient_id", "fields", "drchrono_conn_id")
    assert tuple(DrChronoListPatientsOperator.template_fields) == (
        "filters",
        "extra_filters",
        "fields",
        "output_path",
        "drchrono_conn_id",
    )


def test_an_operator_of_somebody_else_keeps_the_fields_of_the_one_it_extends() -> None:
    class Loud(DrChronoGetPatientOperator):
        def __init__(self, *, loud: bool = True, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.loud = loud

    assert Loud.template_fields == DrChronoGetPatientOperator.template_fields
    assert Loud.ui_color == COLOURS["patients"]
    assert issubclass(Loud, GetOperator)


def test_every_domain_has_a_colour_of_its_own() -> None:
    assert set(COLOURS) == {each.domain for each in load().resources.values()}
    assert len(set(COLOURS.values())) == len(COLOURS)
    assert DrChronoGetPatientOperator.ui_color == DrChronoNewOrUpdatedPatientsSensor.ui_color == COLOURS["patients"]
    assert DrChronoGetTaskOperator.ui_color == COLOURS["tasks"]
